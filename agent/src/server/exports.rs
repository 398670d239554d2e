//! What PMM 3 drops or shows otherwise, as files that a person can read (`facts/pmm.md` 6, rows 13 and 16).
//!
//! Why beside the dumps, which hold it too: who has to make alerting rules anew, or mend a dashboard, wants to read them a week later
//! without making a database again first. From the tables and not from the API, as the facts: it needs nobody's password.

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::facts::with_removed_panels;
use super::postgres::Postgres;
use super::{Result, ServerError};

/// Tables of PMM 2's alerting: what PMM 3 drops of them, and the templates that the rules were made of.
const ALERTING: [&str; 3] = ["ia_channels", "ia_rules", "ia_templates"];
/// The name of their export.
const ALERTING_FILE: &str = "export-alerting.json";

/// A dashboard is seldom larger than a mebibyte, and an answer may have 32 of them.
pub const DASHBOARDS_AT_ONCE: usize = 16;

/// A file for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Its name: letters, digits, `-` and a suffix.
    pub name: String,
    /// JSON. Of alerting it may hold the secrets of notification channels.
    pub json: Vec<u8>,
}

impl Postgres {
    /// Alerting's channels, rules and templates and the address of an Alertmanager outside, in one file; `None` where nothing of it is used.
    ///
    /// # Errors
    /// The database refuses, or answers with something else than JSON.
    pub async fn export_alerting(&self) -> Result<Option<Export>> {
        let mut all = Map::new();
        let mut is_used = false;
        for table in ALERTING {
            if !self.has_table("pmm-managed", table).await? {
                continue;
            }
            let sql = format!("SELECT coalesce(json_agg(t ORDER BY t::text), '[]') FROM {table} t");
            let rows = self.query_one("pmm-managed", &sql).await?;
            let rows: Value = parse(&rows.unwrap_or_default())?;
            // Templates alone are PMM 3's as well.
            is_used |= table != "ia_templates" && rows.as_array().is_some_and(|it| !it.is_empty());
            all.insert(table.to_owned(), rows);
        }
        let sql = "SELECT nullif(settings->>'alert_manager_url', '') FROM settings";
        if let Some(url) = self.query_one("pmm-managed", sql).await? {
            is_used = true;
            all.insert("alert_manager_url".to_owned(), Value::String(url));
        }
        if !is_used {
            return Ok(None);
        }
        Ok(Some(Export {
            name: ALERTING_FILE.to_owned(),
            json: format!("{:#}\n", Value::Object(all)).into_bytes(),
        }))
    }

    /// The dashboards that `facts` tells of, by `id` in Grafana's table: people's own, with panels of removed kinds.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn dashboards_to_export(&self) -> Result<Vec<u64>> {
        let which = with_removed_panels(self).await?;
        let sql = format!("SELECT id {which} ORDER BY 1");
        let rows = self.query("grafana", &sql).await?;
        Ok(rows
            .into_iter()
            .filter_map(|row| row.into_iter().next()??.parse().ok())
            .collect())
    }

    /// Some of them, as Grafana imports them. Who asks for [`DASHBOARDS_AT_ONCE`] has each of them whole in memory, and one call of `psql`.
    ///
    /// # Errors
    /// The database refuses, or one of them is no JSON.
    pub async fn export_dashboards(&self, ids: &[u64]) -> Result<Vec<Export>> {
        let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
        let ids = ids.join(", ");
        let sql = format!("SELECT id, data FROM dashboard WHERE id IN ({ids}) ORDER BY 1");
        let mut exports = Vec::new();
        for row in self.query("grafana", &sql).await? {
            let [Some(id), Some(data)] = row.as_slice() else {
                continue;
            };
            // It stays as it is, with the order of its fields.
            let IgnoredAny = parse(data)?;
            exports.push(Export {
                name: format!("export-dashboard-{id}.json"),
                json: data.clone().into_bytes(),
            });
        }
        Ok(exports)
    }
}

fn parse<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| ServerError::Missing {
        what: "what PMM 3 drops",
        why: error.to_string(),
    })
}
