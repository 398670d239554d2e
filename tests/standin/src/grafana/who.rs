//! Who is asking: a user with a password, an API key, a service account's token, or an API key that has become one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio_postgres::Client;

use crate::Result;
use crate::http::Request;

/// By what somebody was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    User,
    ApiKey,
    ServiceAccount,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ApiKey => "api-key",
            Self::ServiceAccount => "service-account",
        }
    }
}

/// Somebody who was recognised.
pub(crate) struct Who {
    pub(crate) login: String,
    pub(crate) org: i64,
    pub(crate) role: String,
    pub(crate) kind: Kind,
}

/// How secrets are kept.
pub(crate) fn hash(secret: &str) -> String {
    blake3::hash(secret.as_bytes()).to_hex().to_string()
}

/// The key as its owner holds it.
pub(crate) fn key_string(org: i64, name: &str, secret: &str) -> String {
    STANDARD.encode(serde_json::json!({ "k": secret, "n": name, "id": org }).to_string())
}

/// Looks at the credentials; `None` when they are not good.
pub(crate) async fn ask(client: &Client, request: &Request) -> Result<Option<Who>> {
    let Some(header) = request.header("authorization") else {
        return Ok(None);
    };
    if let Some(token) = header.strip_prefix("Bearer ") {
        return by_token(client, token).await;
    }
    let Some(decoded) = header
        .strip_prefix("Basic ")
        .and_then(|b| STANDARD.decode(b).ok())
        .and_then(|b| String::from_utf8(b).ok())
    else {
        return Ok(None);
    };
    let Some((user, password)) = decoded.split_once(':') else {
        return Ok(None);
    };
    if user == "api_key" || user == "service_token" {
        return by_token(client, password).await;
    }
    let row = client
        .query_opt(
            "SELECT id::bigint, password, salt, org_id FROM \"user\" WHERE login = $1 AND NOT is_disabled AND NOT is_service_account",
            &[&user],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (id, stored, salt): (i64, Option<String>, Option<String>) =
        (row.get(0), row.get(1), row.get(2));
    if stored != Some(hash(&format!("{}{password}", salt.unwrap_or_default()))) {
        return Ok(None);
    }
    let org = request
        .header("x-grafana-org-id")
        .and_then(|v| v.parse().ok())
        .unwrap_or_else(|| row.get(3));
    let role = client
        .query_opt(
            "SELECT role FROM org_user WHERE org_id = $1 AND user_id = $2",
            &[&org, &id],
        )
        .await?;
    Ok(role.map(|role| Who {
        login: user.to_owned(),
        org,
        role: role.get(0),
        kind: Kind::User,
    }))
}

async fn by_token(client: &Client, token: &str) -> Result<Option<Who>> {
    let secret = match token.strip_prefix("glsa_") {
        Some(secret) => secret.to_owned(),
        None => {
            let parsed: Option<Value> = STANDARD
                .decode(token)
                .ok()
                .and_then(|b| serde_json::from_slice(&b).ok());
            let Some(secret) = parsed.and_then(|v| v["k"].as_str().map(str::to_owned)) else {
                return Ok(None);
            };
            secret
        }
    };
    let row = client
        .query_opt(
            "SELECT k.org_id, k.role, k.name, k.service_account_id, u.login, o.role FROM api_key k \
             LEFT JOIN \"user\" u ON u.id = k.service_account_id AND NOT u.is_disabled \
             LEFT JOIN org_user o ON o.user_id = u.id AND o.org_id = k.org_id \
             WHERE k.key = $1 AND NOT coalesce(k.is_revoked, false) \
             AND (k.expires IS NULL OR k.expires > extract(epoch FROM now()))",
            &[&hash(&secret)],
        )
        .await?;
    Ok(row.and_then(|row| {
        let account: Option<i64> = row.get(3);
        let (login, role): (Option<String>, Option<String>) = (row.get(4), row.get(5));
        Some(match account {
            None => Who {
                login: row.get(2),
                org: row.get(0),
                role: row.get(1),
                kind: Kind::ApiKey,
            },
            Some(_) => Who {
                login: login?,
                org: row.get(0),
                role: role?,
                kind: Kind::ServiceAccount,
            },
        })
    }))
}
