//! Grafana's API keys and the service accounts that replace them.
//!
//! Why by SQL: it needs nobody's password, covers all organisations at once, and works on every version, while the API
//! for keys was removed on the way (`facts/pmm.md` 4.2, 4.4). Key hashes are never read.

use serde_json::{Value, json};

use super::http::{Credentials, Local};
use super::postgres::Postgres;
use super::{Result, ServerError};

const GRAFANA: &str = "grafana";

/// An API key, or the token that it became.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ApiKey {
    /// The organisation's number.
    pub org: i64,
    /// The organisation's name; `None` when it was removed and left the key behind, which is good for nothing then.
    #[serde(default)]
    pub org_name: Option<String>,
    /// Its name.
    pub name: String,
    /// `Viewer`, `Editor`, `Admin`: of its service account, where it has one.
    pub role: String,
    /// When it ends, in seconds since 1970.
    pub expires: Option<i64>,
    /// Whether it belongs to a service account already.
    pub migrated: bool,
}

/// A service account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ServiceAccount {
    /// The organisation's number.
    pub org: i64,
    /// Its name.
    pub name: String,
    /// Its login, `sa-autogen-…` where Grafana made it from a key.
    pub login: String,
    /// How many tokens it has.
    pub tokens: u64,
}

/// What asking Grafana to migrate its keys did, over all organisations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyMigration {
    /// Whether this Grafana has the call at all; where it has not, it migrates by itself.
    pub offered: bool,
    /// Keys that were found.
    pub total: u64,
    /// Keys that were migrated.
    pub migrated: u64,
    /// Keys that could not be.
    pub failed: u64,
    /// Grafana's reasons.
    pub details: Vec<String>,
    /// Organisations whose keys could not be asked for, and why.
    pub refused: Vec<(i64, String)>,
}

impl ApiKey {
    /// The key in words: name and organisation.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.org_name {
            Some(name) => format!("`{}` of organisation {} ({name})", self.name, self.org),
            None => format!("`{}` of organisation {}", self.name, self.org),
        }
    }

    /// Whether it opens nothing at `now`, in seconds since 1970, on any version.
    #[must_use]
    pub fn is_dead(&self, now: i64) -> bool {
        self.org_name.is_none() || self.expires.is_some_and(|end| end <= now)
    }
}

/// All API keys, sorted.
///
/// # Errors
/// As [`Postgres::query`].
pub async fn api_keys(postgres: &Postgres) -> Result<Vec<ApiKey>> {
    // A Grafana that was never started has no tables, and one of the far future no keys.
    if !has_column(postgres, "api_key", "name").await? {
        return Ok(Vec::new());
    }
    // The role that counts is the account's, once there is one.
    let (account, role, join) = if has_column(postgres, "api_key", "service_account_id").await? {
        let join =
            "LEFT JOIN org_user u ON u.user_id = k.service_account_id AND u.org_id = k.org_id";
        let role = "coalesce(u.role, k.role)";
        ("k.service_account_id IS NOT NULL", role, join)
    } else {
        ("false", "k.role", "")
    };
    let sql = format!(
        "SELECT k.org_id, o.name, k.name, {role}, k.expires, {account} FROM api_key k \
         LEFT JOIN org o ON o.id = k.org_id {join} ORDER BY 1, 3"
    );
    let mut keys: Vec<ApiKey> = postgres
        .query(GRAFANA, &sql)
        .await?
        .into_iter()
        .filter_map(|row| {
            let [org, org_name, name, role, expires, migrated] = row.try_into().ok()?;
            Some(ApiKey {
                org: org?.parse().ok()?,
                org_name,
                name: name?,
                role: role.unwrap_or_default(),
                expires: expires.and_then(|expires: String| expires.parse().ok()),
                migrated: migrated.as_deref() == Some("t"),
            })
        })
        .collect();
    keys.sort();
    Ok(keys)
}

/// All service accounts, sorted; none where Grafana has none yet.
///
/// # Errors
/// As [`Postgres::query`].
pub async fn service_accounts(postgres: &Postgres) -> Result<Vec<ServiceAccount>> {
    if !has_column(postgres, "user", "is_service_account").await?
        || !has_column(postgres, "api_key", "service_account_id").await?
    {
        return Ok(Vec::new());
    }
    let sql = "SELECT u.org_id, u.name, u.login, count(k.id) FROM \"user\" u \
               LEFT JOIN api_key k ON k.service_account_id = u.id \
               WHERE u.is_service_account GROUP BY u.id, u.org_id, u.name, u.login";
    let mut accounts: Vec<ServiceAccount> = postgres
        .query(GRAFANA, sql)
        .await?
        .into_iter()
        .filter_map(|row| {
            let [org, name, login, tokens] = row.try_into().ok()?;
            Some(ServiceAccount {
                org: org?.parse().ok()?,
                name: name.unwrap_or_default(),
                login: login.unwrap_or_default(),
                tokens: tokens?.parse().ok()?,
            })
        })
        .collect();
    accounts.sort();
    Ok(accounts)
}

async fn has_column(postgres: &Postgres, table: &str, column: &str) -> Result<bool> {
    let sql = format!(
        "SELECT 1 FROM information_schema.columns WHERE table_schema = 'public' \
         AND table_name = '{table}' AND column_name = '{column}'"
    );
    Ok(!postgres.query(GRAFANA, &sql).await?.is_empty())
}

/// Asks Grafana to turn all API keys of `orgs` into service accounts. The keys' own text stays valid. An organisation that
/// refuses does not keep the others from being asked.
pub async fn migrate_keys(
    port: u16,
    orgs: &[i64],
    credentials: Option<Credentials>,
) -> KeyMigration {
    let mut sum = KeyMigration::default();
    for org in orgs {
        let local = Local::port(port)
            .with_credentials(credentials.clone())
            .with_header("X-Grafana-Org-Id", org.to_string());
        // Grafana is told to live below `/graph`, but not all versions serve their own port that way.
        for path in [
            "/api/serviceaccounts/migrate",
            "/graph/api/serviceaccounts/migrate",
        ] {
            match local.post_json(path, &json!({})).await {
                Ok(answer) => {
                    sum.offered = true;
                    sum.add(&answer);
                    break;
                }
                Err(ServerError::HttpStatus {
                    status: 301 | 302 | 307 | 308 | 404,
                    ..
                }) => {}
                Err(error) => {
                    sum.refused.push((*org, error.to_string()));
                    break;
                }
            }
        }
    }
    sum
}

impl KeyMigration {
    /// Adds an answer; older versions tell nothing but that it was done.
    fn add(&mut self, answer: &Value) {
        let count = |key| answer.get(key).and_then(Value::as_u64).unwrap_or_default();
        self.total += count("total");
        self.migrated += count("migrated");
        self.failed += count("failed");
        let details = answer.get("failedDetails").and_then(Value::as_array);
        self.details.extend(
            details
                .into_iter()
                .flatten()
                .filter_map(|d| Some(d.as_str()?.to_owned())),
        );
    }
}
