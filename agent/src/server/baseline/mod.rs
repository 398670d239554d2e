//! What a server answers, written down before it is stopped, to be found again afterwards.
//!
//! Why: a ready page proves nothing; a wrong volume gives a fresh, empty, "healthy" server (`facts/pmm.md` 1.4). Success
//! is the same inventory, the same targets up, the same history, queries and keys.
//!
//! A baseline is plain data, sorted, so that two of the same server are the same bytes. Each part may be missing; why is
//! then in [`Baseline::unobserved`].

mod capture;
mod compare;
mod measures;
mod named;

pub use capture::{Access, capture};
pub use compare::{CompareMode, Difference, Severity, compare};

use std::collections::BTreeMap;

use super::keys::{ApiKey, ServiceAccount};
use super::pmm::{Agents, Major, Node, Service};
use super::qan::QanRows;
use super::victoria::{HistoryPoint, UpTargets};

/// Something that could not be observed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Unobserved {
    /// What.
    pub what: String,
    /// Why not, in a sentence.
    pub why: String,
}

/// The number of dashboards in Grafana.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Dashboards {
    /// All of them.
    pub total: u64,
    /// Those that no package provisions: the users' own.
    pub own: u64,
}

/// What a server answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Baseline {
    /// When, in seconds since 1970.
    pub taken_at: i64,
    /// The version that the API told.
    pub version: Option<String>,
    /// Its major.
    pub major: Option<Major>,
    /// The nodes, sorted.
    pub nodes: Option<Vec<Node>>,
    /// The services, sorted.
    pub services: Option<Vec<Service>>,
    /// The agents by kind, and who is connected.
    pub agents: Option<Agents>,
    /// The scrape targets that are up, sorted.
    pub up: Option<Vec<UpTargets>>,
    /// What is held of the past.
    pub history: Option<Vec<HistoryPoint>>,
    /// What Query Analytics holds.
    pub qan: Option<QanRows>,
    /// Grafana's API keys, sorted.
    pub api_keys: Option<Vec<ApiKey>>,
    /// Grafana's service accounts, sorted.
    pub service_accounts: Option<Vec<ServiceAccount>>,
    /// Grafana's dashboards.
    pub dashboards: Option<Dashboards>,
    /// The rows of tables that people would miss, by `database.table`.
    pub rows: Option<BTreeMap<String, u64>>,
    /// pmm-managed's last schema migration.
    pub schema: Option<u64>,
    /// The scheduled backups whose service or location is not there, by name, sorted.
    pub backups_astray: Option<Vec<String>>,
    /// What could not be observed, sorted.
    pub unobserved: Vec<Unobserved>,
}

impl Baseline {
    /// The parts without which a migration could not be proven, and which are missing. Whoever is about to stop a server
    /// should have none.
    #[must_use]
    pub fn missing_essentials(&self) -> Vec<&'static str> {
        [
            ("nodes", self.nodes.is_some()),
            ("services", self.services.is_some()),
            ("agents", self.agents.is_some()),
            ("targets that are up", self.up.is_some()),
            ("history of metrics", self.history.is_some()),
        ]
        .into_iter()
        .filter_map(|(what, is_there)| (!is_there).then_some(what))
        .collect()
    }
}
