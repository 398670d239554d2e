//! Asking a server for its baseline.

use std::collections::BTreeMap;

use super::super::http::{Credentials, Ports};
use super::super::keys;
use super::super::pmm::{Major, Pmm};
use super::super::postgres::Postgres;
use super::super::qan::{Qan, Window};
use super::super::victoria::Victoria;
use super::super::{Result, ServerError};
use super::{Baseline, Dashboards, Unobserved};

/// The tables whose rows people made, by database.
const TABLES: [(&str, &[&str]); 2] = [
    (
        "pmm-managed",
        &[
            "nodes",
            "services",
            "artifacts",
            "backup_locations",
            "restore_history",
            "scheduled_tasks",
        ],
    ),
    (
        "grafana",
        &[
            "org",
            "org_user",
            "user",
            "team",
            "team_member",
            "data_source",
            "alert_rule",
            "preferences",
            "playlist",
        ],
    ),
];

/// How a server is asked.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Where its services listen.
    pub ports: Ports,
    /// An administrator, needed only where pmm-managed's own port cannot be reached.
    pub credentials: Option<Credentials>,
    /// When its store of metrics was started, in seconds since 1970: a target is up by what has come since. 0: whenever that was.
    pub metrics_since: i64,
}

/// Asks a running server everything. With `again`, the same past instants and windows are asked as then.
///
/// Nothing that fails ends it; it is recorded instead. `now` is in seconds since 1970.
pub async fn capture(
    access: &Access,
    postgres: Option<&Postgres>,
    again: Option<&Baseline>,
    now: i64,
) -> Baseline {
    let mut baseline = Baseline {
        taken_at: now,
        ..Baseline::default()
    };
    inventory(&mut baseline, access).await;
    metrics(&mut baseline, access, again, now).await;
    let window = again
        .and_then(|before| Some(before.qan?.window))
        .unwrap_or(Window::before(now));
    let qan = Qan::on(&access.ports, baseline.major.unwrap_or(Major::V2));
    let rows = qan.rows(window).await;
    baseline.qan = baseline.keep("Query Analytics", rows);
    match postgres {
        Some(postgres) => databases(&mut baseline, postgres).await,
        None => {
            let error = ServerError::Missing {
                what: "the server's own PostgreSQL",
                why: "it has none, or it does not run".into(),
            };
            let _: Option<()> = baseline.keep("databases", Err(error));
        }
    }
    baseline.unobserved.sort();
    baseline
}

impl Baseline {
    fn keep<T>(&mut self, what: &str, result: Result<T>) -> Option<T> {
        result
            .map_err(|error| {
                self.unobserved.push(Unobserved {
                    what: what.into(),
                    why: error.to_string(),
                });
            })
            .ok()
    }
}

async fn inventory(baseline: &mut Baseline, access: &Access) {
    let found = Pmm::detect(&access.ports, access.credentials.clone()).await;
    let Some(pmm) = baseline.keep("PMM's API", found) else {
        return;
    };
    baseline.version = Some(pmm.version().version.clone());
    baseline.major = Some(pmm.major());
    let nodes = pmm.nodes().await;
    baseline.nodes = baseline.keep("nodes", nodes);
    let services = pmm
        .services(baseline.nodes.as_deref().unwrap_or_default())
        .await;
    baseline.services = baseline.keep("services", services);
    let agents = pmm.agents().await;
    baseline.agents = baseline.keep("agents", agents);
}

async fn metrics(baseline: &mut Baseline, access: &Access, again: Option<&Baseline>, now: i64) {
    let victoria = Victoria::on(access.ports.victoria);
    let up = victoria.up_since(access.metrics_since).await;
    baseline.up = baseline.keep("targets that are up", up);
    let history = match again.and_then(|before| before.history.as_deref()) {
        Some(points) => victoria.history_again(points).await,
        None => victoria.history(now).await,
    };
    baseline.history = baseline.keep("history of metrics", history);
}

async fn databases(baseline: &mut Baseline, postgres: &Postgres) {
    let api_keys = keys::api_keys(postgres).await;
    baseline.api_keys = baseline.keep("API keys", api_keys);
    let accounts = keys::service_accounts(postgres).await;
    baseline.service_accounts = baseline.keep("service accounts", accounts);
    let dashboards = dashboards(postgres).await;
    baseline.dashboards = baseline.keep("dashboards", dashboards);
    let rows = rows(postgres).await;
    baseline.rows = baseline.keep("rows of tables", rows);
    let schema = postgres.schema_version().await;
    baseline.schema = baseline.keep("schema version", schema).flatten();
    let astray = backups_astray(postgres).await;
    baseline.backups_astray = baseline.keep("scheduled backups", astray);
}

/// PMM 3 shortens ids everywhere but within what is scheduled (`facts/pmm.md` 1.5), so a backup may ask for a service by an id that
/// nothing has any more. What is scheduled without a name is called by its own id, without the part that goes.
async fn backups_astray(postgres: &Postgres) -> Result<Vec<String>> {
    for table in ["scheduled_tasks", "backup_locations"] {
        // The oldest had no backups.
        if !postgres.has_table("pmm-managed", table).await? {
            return Ok(Vec::new());
        }
    }
    let sql = "SELECT DISTINCT coalesce(nullif(part.value->>'name', ''), regexp_replace(t.id, '^/[a-z_]+/', '')) \
               FROM scheduled_tasks t, LATERAL jsonb_each(CASE jsonb_typeof(t.data::jsonb) WHEN 'object' THEN t.data::jsonb ELSE '{}' END) part \
               WHERE t.type LIKE '%backup%' AND NOT t.disabled AND jsonb_typeof(part.value) = 'object' \
               AND (NOT EXISTS (SELECT 1 FROM services s WHERE s.service_id = part.value->>'service_id') \
               OR NOT EXISTS (SELECT 1 FROM backup_locations l WHERE l.id = part.value->>'location_id')) ORDER BY 1";
    let rows = postgres.query("pmm-managed", sql).await?;
    Ok(rows.into_iter().flatten().flatten().collect())
}

async fn dashboards(postgres: &Postgres) -> Result<Dashboards> {
    // Newer versions of Grafana keep what they provision elsewhere.
    let provisioned = postgres
        .has_table("grafana", "dashboard_provisioning")
        .await?;
    let own = if provisioned {
        "count(*) FILTER (WHERE NOT EXISTS (SELECT 1 FROM dashboard_provisioning p \
         WHERE p.dashboard_id = d.id))"
    } else {
        "count(*)"
    };
    let sql = format!("SELECT count(*), {own} FROM dashboard d WHERE NOT d.is_folder");
    let rows = postgres.query("grafana", &sql).await?;
    let number = |at: usize| rows.first()?.get(at)?.as_deref()?.parse().ok();
    match (number(0), number(1)) {
        (Some(total), Some(own)) => Ok(Dashboards { total, own }),
        _ => Err(ServerError::Missing {
            what: "the count of dashboards",
            why: "the answer is empty".into(),
        }),
    }
}

async fn rows(postgres: &Postgres) -> Result<BTreeMap<String, u64>> {
    let mut all = BTreeMap::new();
    for (database, tables) in TABLES {
        for (table, count) in postgres.table_rows(database).await? {
            if tables.contains(&table.as_str()) {
                all.insert(format!("{database}.{table}"), count);
            }
        }
    }
    Ok(all)
}
