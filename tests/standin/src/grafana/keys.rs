//! API keys, and what becomes of them.

use std::io::Read;

use serde_json::{Value, json};
use tokio_postgres::Client;

use super::who::{Who, hash, key_string};
use super::{Release, message};
use crate::http::{Request, Response};
use crate::{Result, pg};

/// How a turn of keys into service accounts ended.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    total: u32,
    migrated: u32,
    failed: Vec<(i64, String)>,
}

/// Stores a key or, with an account, a token.
pub(crate) async fn insert(
    client: &Client,
    org: i64,
    name: &str,
    role: &str,
    secret: &str,
    expires: Option<i64>,
    account: Option<i64>,
) -> Result<i64> {
    let row = client
        .query_one(
            "INSERT INTO api_key (org_id, name, key, role, expires, service_account_id) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id::bigint",
            &[&org, &name, &hash(secret), &role, &expires, &account],
        )
        .await?;
    Ok(row.get(0))
}

fn secret() -> Result<String> {
    let mut bytes = [0u8; 16];
    fs_err::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// Makes an account; its id.
async fn account(client: &Client, org: i64, login: &str, name: &str, role: &str) -> Result<i64> {
    let row = client
        .query_one(
            "INSERT INTO \"user\" (login, email, name, org_id, is_service_account) VALUES ($1, $1, $2, $3, true) RETURNING id::bigint",
            &[&login, &name, &org],
        )
        .await?;
    let id: i64 = row.get(0);
    client
        .execute(
            "INSERT INTO org_user (org_id, user_id, role) VALUES ($1, $2, $3)",
            &[&org, &id, &role],
        )
        .await?;
    Ok(id)
}

/// Turns keys into service accounts: of one organisation, or of all. The old key strings stay good.
pub(crate) async fn migrate(
    client: &Client,
    release: Release,
    org: Option<i64>,
) -> Result<Outcome> {
    let keys = client
        .query(
            "SELECT id::bigint, org_id, name, role FROM api_key WHERE service_account_id IS NULL AND ($1::bigint IS NULL OR org_id = $1) ORDER BY id",
            &[&org],
        )
        .await?;
    let mut outcome = Outcome::default();
    for row in keys {
        outcome.total += 1;
        let (id, org, name, role): (i64, i64, String, String) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        match turn(client, release, id, org, &name, &role).await? {
            Ok(()) => outcome.migrated += 1,
            Err(why) => outcome
                .failed
                .push((id, format!("API key name: {name} - Error: {why}"))),
        }
    }
    Ok(outcome)
}

async fn turn(
    client: &Client,
    release: Release,
    id: i64,
    org: i64,
    name: &str,
    role: &str,
) -> Result<std::result::Result<(), String>> {
    let wanted = format!("sa-autogen-{org}-{name}");
    let mut login = wanted.clone();
    let mut suffix = 0;
    while client
        .query_opt("SELECT 1 FROM \"user\" WHERE login = $1", &[&login])
        .await?
        .is_some()
    {
        // Up to 11.4 two keys with one login are one too many (facts/pmm.md 4.3).
        if release < Release::V11_6 {
            return Ok(Err(format!(
                "service account with login {login} already exists"
            )));
        }
        suffix += 1;
        login = format!("{wanted}-{suffix}");
    }
    let account = account(client, org, &login, &format!("sa-autogen-{name}"), role).await?;
    client
        .execute(
            "UPDATE api_key SET service_account_id = $1 WHERE id::bigint = $2",
            &[&account, &id],
        )
        .await?;
    Ok(Ok(()))
}

/// The addresses for administrators, by release.
pub(crate) async fn routes(
    client: &Client,
    release: Release,
    who: &Who,
    request: &Request,
    method: &str,
    parts: &[&str],
) -> Result<Response> {
    let old = release < Release::V12_4;
    let body = request.json();
    let text = |field: &str| body[field].as_str().unwrap_or("").to_owned();
    Ok(match (method, parts) {
        ("GET", ["api", "auth", "keys"]) if old => {
            let expired = request.param("includeExpired") == Some("true");
            let query = format!(
                "SELECT id, name, role, to_timestamp(expires) AS expiration, last_used_at AS \"lastUsedAt\" FROM api_key \
                 WHERE org_id = {} AND service_account_id IS NULL AND ({expired} OR expires IS NULL OR expires > extract(epoch FROM now())) ORDER BY id",
                who.org
            );
            let mut keys = pg::rows(client, &query).await?;
            for key in keys.iter_mut().filter_map(Value::as_object_mut) {
                key.retain(|_, v| !v.is_null());
            }
            Response::ok(&json!(keys))
        }
        ("POST", ["api", "auth", "keys"]) if old => {
            let (name, role, secret) = (text("name"), text("role"), secret()?);
            let expires = body["secondsToLive"].as_i64().filter(|s| *s > 0);
            let expires = expires.map(|s| jiff::Timestamp::now().as_second() + s);
            let id = insert(client, who.org, &name, &role, &secret, expires, None).await?;
            Response::ok(
                &json!({ "id": id, "name": name, "key": key_string(who.org, &name, &secret) }),
            )
        }
        ("POST", ["api", "serviceaccounts", "migrate"]) if old => {
            let outcome = migrate(client, release, Some(who.org)).await?;
            match (release, outcome.failed.is_empty()) {
                (Release::V9, true) => message(200, "API keys migrated to service accounts"),
                (Release::V9, false) => message(500, "Internal server error"),
                _ => Response::ok(&json!({
                    "total": outcome.total, "migrated": outcome.migrated, "failed": outcome.failed.len(),
                    "failedApikeyIDs": outcome.failed.iter().map(|f| f.0).collect::<Vec<_>>(),
                    "failedDetails": outcome.failed.iter().map(|f| &f.1).collect::<Vec<_>>(),
                })),
            }
        }
        ("POST", ["api", "serviceaccounts", "migrate", id]) if old => {
            let id: i64 = id.parse()?;
            let key = client
                .query_opt("SELECT name, role FROM api_key WHERE id::bigint = $1 AND org_id = $2 AND service_account_id IS NULL", &[&id, &who.org])
                .await?;
            match key {
                None => message(404, "API key not found"),
                Some(row) => {
                    match turn(client, release, id, who.org, row.get(0), row.get(1)).await? {
                        Ok(()) => message(200, "Service accounts migrated"),
                        Err(why) => message(500, &format!("Error converting API key: {why}")),
                    }
                }
            }
        }
        ("GET", ["api", "serviceaccounts", "search"]) => search(client, who, request).await?,
        ("POST", ["api", "serviceaccounts"]) => {
            let (name, role) = (text("name"), text("role"));
            let login = format!("sa-{}-{name}", who.org);
            let id = account(client, who.org, &login, &name, &role).await?;
            Response::json(
                201,
                &json!({ "id": id, "name": name, "login": login, "orgId": who.org, "isDisabled": false, "role": role, "tokens": 0, "avatarUrl": "" }),
            )
        }
        ("GET", ["api", "serviceaccounts", id, "tokens"]) => {
            let id: i64 = id.parse()?;
            let query = format!(
                "SELECT id, name, created FROM api_key WHERE service_account_id = {id} AND org_id = {} ORDER BY id",
                who.org
            );
            Response::ok(&json!(pg::rows(client, &query).await?))
        }
        ("POST", ["api", "serviceaccounts", account, "tokens"]) => {
            let (account, name, secret): (i64, _, _) = (account.parse()?, text("name"), secret()?);
            let id = insert(
                client,
                who.org,
                &name,
                "Viewer",
                &secret,
                None,
                Some(account),
            )
            .await?;
            Response::ok(&json!({ "id": id, "name": name, "key": format!("glsa_{secret}") }))
        }
        _ => message(404, "Not found"),
    })
}

async fn search(client: &Client, who: &Who, request: &Request) -> Result<Response> {
    let number = |name: &str, default: usize| {
        request
            .param(name)
            .and_then(|v| v.parse().ok())
            .unwrap_or(default)
    };
    let (page, perpage) = (number("page", 1).max(1), number("perpage", 1000).max(1));
    let query = format!(
        "SELECT u.id, u.name, u.login, {org} AS \"orgId\", u.is_disabled AS \"isDisabled\", o.role, \
         (SELECT count(*) FROM api_key k WHERE k.service_account_id = u.id) AS tokens, '' AS \"avatarUrl\" \
         FROM \"user\" u JOIN org_user o ON o.user_id = u.id AND o.org_id = {org} WHERE u.is_service_account ORDER BY u.id",
        org = who.org
    );
    let wanted = request.param("query").unwrap_or("");
    let all: Vec<_> = pg::rows(client, &query)
        .await?
        .into_iter()
        .filter(|a| a["login"].as_str().is_some_and(|l| l.contains(wanted)))
        .collect();
    let shown: Vec<_> = all
        .iter()
        .skip((page - 1) * perpage)
        .take(perpage)
        .collect();
    Ok(Response::ok(
        &json!({ "totalCount": all.len(), "serviceAccounts": shown, "page": page, "perPage": perpage }),
    ))
}
