//! The one-way street from schema 88 to the 100s, in one transaction at the start of pmm-managed (facts/pmm.md 1.5).

use tokio_postgres::Client;

use crate::Result;
use crate::product::Product;

/// The last id of PMM 2, and all that it knows.
pub(crate) const LAST_V2: i32 = 88;

/// Tables and columns that hold ids, for the step that strips their prefixes. The JSON inside `scheduled_tasks.data` is not among
/// them, in the real server neither.
const ID_COLUMNS: &[(&str, &str)] = &[
    ("nodes", "node_id"),
    ("nodes", "machine_id"),
    ("services", "service_id"),
    ("services", "node_id"),
    ("agents", "agent_id"),
    ("agents", "runs_on_node_id"),
    ("agents", "pmm_agent_id"),
    ("agents", "node_id"),
    ("agents", "service_id"),
    ("agent_nodes", "agent_id"),
    ("agent_nodes", "node_id"),
    ("agent_services", "agent_id"),
    ("agent_services", "service_id"),
    ("artifacts", "id"),
    ("artifacts", "location_id"),
    ("artifacts", "service_id"),
    ("backup_locations", "id"),
    ("scheduled_tasks", "id"),
    ("restore_history", "id"),
    ("restore_history", "artifact_id"),
    ("restore_history", "service_id"),
    ("job_results", "id"),
    ("job_results", "pmm_agent_id"),
    ("job_logs", "job_id"),
    ("action_results", "id"),
    ("action_results", "pmm_agent_id"),
];

const PREFIX: &str = "^/(agent_id|node_id|service_id|artifact_id|location_id|scheduled_task_id|job_id|machine_id|action_id|restore_id)/";

/// The highest id of this version of the server.
pub(crate) fn last_of(product: &Product) -> i32 {
    match (product.is_v3(), product.at_least(3, 2, 0)) {
        (false, _) => LAST_V2,
        (true, false) => 107,
        (true, true) => 118,
    }
}

/// The id that the database stands at; `None` when it was never used.
pub(crate) async fn current(client: &Client) -> Result<Option<i32>> {
    let present = client
        .query_one("SELECT to_regclass('schema_migrations') IS NOT NULL", &[])
        .await?
        .get::<_, bool>(0);
    if !present {
        return Ok(None);
    }
    let row = client
        .query_opt(
            "SELECT id FROM schema_migrations ORDER BY id DESC LIMIT 1",
            &[],
        )
        .await?;
    Ok(row.map(|row| row.get(0)))
}

/// Brings the database to `last`, all or nothing.
pub(crate) async fn run(client: &mut Client, from: i32, last: i32) -> Result<()> {
    let transaction = client.transaction().await?;
    for id in from.max(99) + 1..=last {
        println!("migrating to schema {id}");
        for statement in statements(id) {
            transaction.batch_execute(&statement).await?;
        }
        transaction
            .execute("INSERT INTO schema_migrations (id) VALUES ($1)", &[&id])
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

fn statements(id: i32) -> Vec<String> {
    let fixed: &[&str] = match id {
        100 => &["DROP TABLE kubernetes_clusters"],
        101 => &[
            "DROP TABLE ia_channels",
            "DROP TABLE ia_rules",
            "ALTER TABLE ia_templates RENAME TO alert_rule_templates",
            "UPDATE settings SET settings = settings #- '{ia,email_alerting_settings}' #- '{ia,slack_alerting_settings}'",
        ],
        102 => &["UPDATE settings SET settings = settings - 'alert_manager_url'"],
        103 => &["UPDATE settings SET settings = (settings - 'ia') \
             || jsonb_build_object('alerting', jsonb_build_object('enabled', NOT coalesce((settings #>> '{ia,disabled}')::boolean, false)))"],
        104 => &[
            "UPDATE settings SET settings = settings || jsonb_build_object(\
             'telemetry', (settings -> 'telemetry') - 'disabled' || jsonb_build_object('enabled', NOT coalesce((settings #>> '{telemetry,disabled}')::boolean, false)),\
             'updates', jsonb_build_object('enabled', NOT coalesce((settings #>> '{updates,disabled}')::boolean, false)),\
             'backup_management', jsonb_build_object('enabled', NOT coalesce((settings #>> '{backup_management,disabled}')::boolean, false)))",
        ],
        105 => return strip_prefixes(),
        107 => &[
            "ALTER TABLE agents ADD COLUMN exporter_options JSONB, ADD COLUMN qan_options JSONB",
            "UPDATE agents SET exporter_options = jsonb_build_object('push_metrics', push_metrics, 'metrics_path', metrics_path, \
             'metrics_scheme', metrics_scheme, 'disabled_collectors', to_jsonb(disabled_collectors)), \
             qan_options = jsonb_build_object('max_query_length', max_query_length)",
            "ALTER TABLE agents DROP COLUMN push_metrics, DROP COLUMN metrics_path, DROP COLUMN metrics_scheme, \
             DROP COLUMN disabled_collectors, DROP COLUMN max_query_length",
        ],
        110 => &["CREATE TABLE encrypted_items (item VARCHAR PRIMARY KEY)"],
        _ => &[],
    };
    fixed.iter().map(|&s| s.to_owned()).collect()
}

/// Keys refer to one another, so the constraints go first and come back afterwards.
fn strip_prefixes() -> Vec<String> {
    let keys = [
        ("services", "node_id", "nodes", "node_id"),
        ("agents", "runs_on_node_id", "nodes", "node_id"),
        ("agents", "pmm_agent_id", "agents", "agent_id"),
        ("agents", "node_id", "nodes", "node_id"),
        ("agents", "service_id", "services", "service_id"),
        ("artifacts", "location_id", "backup_locations", "id"),
        ("restore_history", "artifact_id", "artifacts", "id"),
    ];
    let drop = keys
        .iter()
        .map(|(t, c, _, _)| format!("ALTER TABLE {t} DROP CONSTRAINT IF EXISTS {t}_{c}_fkey"));
    let strip = ID_COLUMNS.iter().map(|(t, c)| {
        format!("UPDATE {t} SET {c} = regexp_replace({c}, '{PREFIX}', '') WHERE {c} LIKE '/%'")
    });
    let add = keys.iter().map(|(t, c, rt, rc)| {
        format!(
            "ALTER TABLE {t} ADD CONSTRAINT {t}_{c}_fkey FOREIGN KEY ({c}) REFERENCES {rt} ({rc})"
        )
    });
    drop.chain(strip).chain(add).collect()
}
