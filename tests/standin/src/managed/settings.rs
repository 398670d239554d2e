//! The settings, with what the environment says on top: a server that lost a variable on the way shows it here.

use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::Result;
use crate::environment::{duration_ns, go_bool};

/// Writes what the environment orders into the stored settings, as pmm-managed does at each start.
pub(crate) async fn apply_environment(client: &Client, v3: bool) -> Result<()> {
    let mut settings = read(client).await?;
    let get = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let retention = if v3 {
        "PMM_DATA_RETENTION"
    } else {
        "DATA_RETENTION"
    };
    if let Some(value) = get(retention).and_then(|v| duration_ns(&v)) {
        settings["data_retention"] = json!(value);
    }
    for (v2_name, v3_name, v2_field, v3_field) in [
        (
            "DISABLE_TELEMETRY",
            "PMM_ENABLE_TELEMETRY",
            "telemetry",
            "telemetry",
        ),
        (
            "DISABLE_UPDATES",
            "PMM_ENABLE_UPDATES",
            "updates",
            "updates",
        ),
        ("DISABLE_ALERTING", "PMM_ENABLE_ALERTING", "ia", "alerting"),
        (
            "DISABLE_BACKUP_MANAGEMENT",
            "PMM_ENABLE_BACKUP_MANAGEMENT",
            "backup_management",
            "backup_management",
        ),
    ] {
        let (name, field, key) = if v3 {
            (v3_name, v3_field, "enabled")
        } else {
            (v2_name, v2_field, "disabled")
        };
        if let Some(value) = get(name).and_then(|v| go_bool(&v)) {
            settings[field][key] = json!(value);
        }
    }
    let statement = "UPDATE settings SET settings = $1::text::jsonb";
    client.execute(statement, &[&settings.to_string()]).await?;
    Ok(())
}

async fn read(client: &Client) -> Result<Value> {
    let row = client
        .query_one("SELECT settings::text FROM settings", &[])
        .await?;
    Ok(serde_json::from_str(row.get(0))?)
}

/// The answer of Settings/Get.
pub(crate) async fn show(client: &Client, v3: bool) -> Result<Value> {
    let s = read(client).await?;
    let on = |field: &str| {
        if v3 {
            s[field]["enabled"] == json!(true)
        } else {
            s[field]["disabled"] != json!(true)
        }
    };
    let seconds = |v: &Value| format!("{}s", v.as_u64().unwrap_or(0) / 1_000_000_000);
    let r = &s["metrics_resolutions"];
    let alerting = on(if v3 { "alerting" } else { "ia" });
    Ok(json!({ "settings": {
        "updates_enabled": on("updates"), "telemetry_enabled": on("telemetry"),
        (if v3 { "advisor_enabled" } else { "stt_enabled" }): true, "alerting_enabled": alerting,
        "backup_management_enabled": on("backup_management"),
        "metrics_resolutions": { "hr": seconds(&r["hr"]), "mr": seconds(&r["mr"]), "lr": seconds(&r["lr"]) },
        "data_retention": seconds(&s["data_retention"]),
        "pmm_public_address": std::env::var("PMM_PUBLIC_ADDRESS").unwrap_or_default(),
    } }))
}
