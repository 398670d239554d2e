//! What people use that PMM 3 does not have, or has in another way (`facts/pmm.md` 1.10).
//!
//! Why from the tables and not from the API: it needs nobody's password, and PMM 2 hides what is switched off while the
//! rows are still there to be lost.

use std::path::PathBuf;

use super::super::postgres::Postgres;
use super::super::{Result, ServerError, ServerRoot};

/// Kinds of panels that need Angular, which Grafana 11 and 12 took out: the core ones, and plugins that are written with it.
const ANGULAR_PANELS: [&str; 13] = [
    "graph",
    "singlestat",
    "table-old",
    "grafana-piechart-panel",
    "grafana-worldmap-panel",
    "natel-discrete-panel",
    "natel-plotly-panel",
    "jdbranham-diagram-panel",
    "briangann-datatable-panel",
    "michaeldmoore-multistat-panel",
    "vonage-status-panel",
    "digiapulssi-breadcrumb-panel",
    "petrslavotinek-carpetplot-panel",
];
/// How many titles are told; all are counted.
const TITLES: u32 = 10;
/// What updates of PMM 2 left behind (`facts/pmm.md` 1.3 and 6 row 31).
const LEFTOVERS: [&str; 2] = ["postgres11", "grafana/grafana.db"];
/// The letters of a block's name, which is a ULID.
const BLOCK_NAME: usize = 26;

/// What is used. `None`: not observed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uses {
    /// Notification channels of Integrated Alerting.
    pub alerting_channels: Option<u64>,
    /// Its rules.
    pub alerting_rules: Option<u64>,
    /// Whether alerts go to an Alertmanager outside.
    pub external_alertmanager: Option<bool>,
    /// Kubernetes clusters that are registered for DBaaS.
    pub dbaas_clusters: Option<u64>,
    /// Whether the server is connected to Percona Platform.
    pub platform_connected: Option<bool>,
    /// Users' own dashboards with panels of removed kinds.
    pub dashboards: Option<OldDashboards>,
    /// Who can log in.
    pub logins: Option<Logins>,
    /// Whether there is data in Prometheus' own format.
    pub prometheus_data: Option<bool>,
    /// What earlier updates left on the volume, relative to it.
    pub leftovers: Vec<String>,
}

/// Dashboards with panels that a newer Grafana does not show as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OldDashboards {
    /// How many.
    pub count: u64,
    /// The first titles, sorted.
    pub titles: Vec<String>,
}

/// Who can log in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Logins {
    /// Enabled users, no service accounts, without a password of the server's own.
    pub outside: u64,
    /// Enabled administrators with one.
    pub local_admins: u64,
}

impl Uses {
    /// Asks `postgres` one thing after the other; `failed` hears what could not be told, and why.
    pub async fn ask(
        &mut self,
        postgres: &Postgres,
        mut failed: impl FnMut(&str, ServerError) + Send,
    ) {
        let mut keep = |what: &str, result: Result<u64>| {
            let kept = result.map_err(|error| failed(what, error));
            kept.ok()
        };
        let channels = managed(postgres, "SELECT count(*) FROM ia_channels").await;
        self.alerting_channels = keep("alerting channels", channels);
        let rules = managed(postgres, "SELECT count(*) FROM ia_rules").await;
        self.alerting_rules = keep("alerting rules", rules);
        let clusters = managed(postgres, "SELECT count(*) FROM kubernetes_clusters").await;
        self.dbaas_clusters = keep("clusters of DBaaS", clusters);
        let platform = managed(postgres, "SELECT count(*) FROM percona_sso_details").await;
        let platform = keep("the connection to Percona Platform", platform);
        self.platform_connected = platform.map(|details| details > 0);
        let sql = "SELECT count(*) FROM settings WHERE coalesce(settings->>'alert_manager_url', '') <> ''";
        let urls = keep("the external Alertmanager", managed(postgres, sql).await);
        self.external_alertmanager = urls.map(|urls| urls > 0);
        let dashboards = dashboards(postgres).await;
        self.dashboards = dashboards
            .map_err(|error| failed("panels of dashboards", error))
            .ok();
        let logins = logins(postgres).await;
        self.logins = logins.map_err(|error| failed("logins", error)).ok();
    }
}

/// A count in pmm-managed's database.
async fn managed(postgres: &Postgres, sql: &str) -> Result<u64> {
    number(postgres.query_one("pmm-managed", sql).await?)
}

async fn dashboards(postgres: &Postgres) -> Result<OldDashboards> {
    let which = with_removed_panels(postgres).await?;
    let sql = format!("SELECT count(*) OVER (), title {which} ORDER BY 2 LIMIT {TITLES}");
    let mut found = OldDashboards::default();
    for row in postgres.query("grafana", &sql).await? {
        let mut columns = row.into_iter();
        found.count = number(columns.next().flatten())?;
        found.titles.extend(columns.next().flatten());
    }
    Ok(found)
}

/// From where and which: people's own dashboards with panels of removed kinds. Percona's own come anew with PMM 3.
pub(in crate::server) async fn with_removed_panels(postgres: &Postgres) -> Result<String> {
    // Newer versions of Grafana keep what they provision elsewhere.
    let provisioned = postgres
        .has_table("grafana", "dashboard_provisioning")
        .await?;
    let own = if provisioned {
        "AND NOT EXISTS (SELECT FROM dashboard_provisioning p WHERE p.dashboard_id = d.id)"
    } else {
        ""
    };
    let kinds = ANGULAR_PANELS.join("|");
    Ok(format!(
        "FROM dashboard d WHERE NOT is_folder AND coalesce(plugin_id, '') = '' {own} \
         AND data::text ~ '\"type\"[[:space:]]*:[[:space:]]*\"({kinds})\"'"
    ))
}

async fn logins(postgres: &Postgres) -> Result<Logins> {
    // A password that was never set is empty or null: such a user is known by another service only.
    let sql = "SELECT count(*) FILTER (WHERE coalesce(password, '') = ''), \
               count(*) FILTER (WHERE coalesce(password, '') <> '' AND (is_admin OR EXISTS \
               (SELECT FROM org_user o WHERE o.user_id = u.id AND o.role = 'Admin'))) \
               FROM \"user\" u WHERE NOT is_disabled AND NOT coalesce(is_service_account, false)";
    let row = postgres.query("grafana", sql).await?.into_iter().next();
    let mut columns = row.into_iter().flatten();
    Ok(Logins {
        outside: number(columns.next().flatten())?,
        local_admins: number(columns.next().flatten())?,
    })
}

fn number(answer: Option<String>) -> Result<u64> {
    let parsed = answer.and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| ServerError::Missing {
        what: "a count",
        why: "the answer is none".into(),
    })
}

/// Whether a block of Prometheus' is left from before VictoriaMetrics.
pub(super) fn prometheus_data(root: &ServerRoot) -> Result<bool> {
    let names = root.list("/srv/prometheus/data")?;
    let block = |name: &str| {
        name.len() == BLOCK_NAME
            && name
                .bytes()
                .all(|it| it.is_ascii_digit() || it.is_ascii_uppercase())
    };
    Ok(names.iter().filter_map(|name| name.to_str()).any(block))
}

/// What earlier updates left.
pub(super) fn leftovers(root: &ServerRoot) -> Vec<String> {
    let there = |path: &&&str| {
        let path = root.join(PathBuf::from("/srv").join(path));
        std::fs::symlink_metadata(path).is_ok()
    };
    LEFTOVERS
        .iter()
        .filter(there)
        .map(|path| (*path).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_on_the_volume_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let root = ServerRoot::new(dir.path());
        assert!(!prometheus_data(&root).unwrap());
        assert!(leftovers(&root).is_empty());
        let make = |path: &str| std::fs::create_dir_all(dir.path().join(path)).unwrap();
        make("srv/prometheus/data/wal");
        make("srv/postgres11");
        assert!(!prometheus_data(&root).unwrap());
        make("srv/prometheus/data/01BKGV7JBM69T2G1BGBGM6KB12");
        assert!(prometheus_data(&root).unwrap());
        assert_eq!(leftovers(&root), ["postgres11"]);
    }
}
