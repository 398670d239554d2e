//! Everything about a server that the checks need, observed from beside its processes.
//!
//! Why one call: the checks are pure functions of facts, so the facts are gathered in one place, at one time. Nothing
//! that fails ends it: a server may be stopped, half broken or unusual, and what could not be observed is a fact too.

mod certificates;
mod databases;
mod uses;

use std::path::PathBuf;

use super::baseline::{Access, Unobserved};
use super::pmm::{Major, Pmm, Version};
use super::postgres::{Hba, Postgres, Role};
use super::qan::{Qan, QanSchema};
use super::supervisor::{Process, ProcessState, Supervisor};
use super::users::Users;
use super::{Result, ServerRoot};

pub use certificates::CertificateProblem;
pub use databases::Elsewhere;
pub(super) use uses::with_removed_panels;
pub use uses::{Logins, OldDashboards, Uses};

/// The largest small file that is read, in bytes.
const MAX_FILE: u64 = 4 << 20;

/// What says which version a server is. They differ in the middle of an upgrade.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionEvidence {
    /// `PERCONA_DASHBOARDS_VERSION` on the volume: what last ran on it.
    pub volume: Option<String>,
    /// The dashboards' version in the image.
    pub image: Option<String>,
    /// What the API tells.
    pub api: Option<Version>,
}

/// A program of the server, with the user it runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramFacts {
    /// The program.
    pub process: Process,
    /// The user in the supervisor's configuration; the supervisor's own if `None`.
    pub user: Option<String>,
    /// How long it is given to stop, in seconds.
    pub stop_wait: u64,
}

/// What was observed of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresFacts {
    /// Where it is and how it runs.
    pub cluster: Postgres,
    /// Whether PMM 3 can get in over the local socket.
    pub trusts_local: Option<bool>,
    /// Its roles.
    pub roles: Option<Vec<Role>>,
    /// Its databases and their sizes in bytes.
    pub databases: Option<Vec<(String, u64)>>,
    /// pmm-managed's last schema migration.
    pub schema: Option<u64>,
    /// Backups that are scheduled.
    pub scheduled_backups: Option<u64>,
}

/// What was observed of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerObservation {
    /// Its version.
    pub version: VersionEvidence,
    /// `docker`, `ovf`, `ami`, `digitalocean`.
    pub distribution: Option<String>,
    /// The supervisor's version.
    pub supervisor: Option<String>,
    /// The user that PID 1 runs as.
    pub pid1_uid: Option<u32>,
    /// Its programs.
    pub programs: Vec<ProgramFacts>,
    /// Whether PMM's own update runs.
    pub update_running: bool,
    /// Whether what PMM does at each start has ended well; `None` where there is no such program.
    pub started_up: Option<bool>,
    /// Whether a database of the server's own is missing, because another one is used.
    pub external_postgres: bool,
    /// The same of ClickHouse.
    pub external_clickhouse: bool,
    /// The server's variables that name another machine's databases.
    pub elsewhere: Elsewhere,
    /// PostgreSQL.
    pub postgres: Option<PostgresFacts>,
    /// Query Analytics' schema.
    pub qan_schema: Option<QanSchema>,
    /// Rule files that hold alerting rules, which PMM 3 stumbles over (`facts/pmm.md` 6 row 12). In the server's names.
    pub alert_rules: Vec<PathBuf>,
    /// Certificates and keys that PMM 3 could not read.
    pub certificates: Vec<CertificateProblem>,
    /// What it uses that PMM 3 does not have.
    pub uses: Uses,
    /// The server's users and groups.
    pub users: Users,
    /// What could not be observed.
    pub unobserved: Vec<Unobserved>,
}

impl ServerObservation {
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

    /// The state of a program, if there is one of that name.
    #[must_use]
    pub fn state_of(&self, name: &str) -> Option<ProcessState> {
        let program = self
            .programs
            .iter()
            .find(|program| program.process.is_named(name));
        program.map(|program| program.process.state)
    }

    /// The major version: what the API tells, else what last ran on the volume, else what the image holds.
    #[must_use]
    pub fn major(&self) -> Option<Major> {
        let api = self
            .version
            .api
            .as_ref()
            .map(|version| version.version.as_str());
        let version = api
            .or(self.version.volume.as_deref())
            .or(self.version.image.as_deref())?;
        match version.split('.').next() {
            Some("2") => Some(Major::V2),
            Some("3") => Some(Major::V3),
            _ => None,
        }
    }
}

/// Observes a server.
pub async fn observe(root: &ServerRoot, access: &Access) -> ServerObservation {
    let mut seen = ServerObservation::default();
    files(&mut seen, root);
    programs(&mut seen, root).await;
    let api = Pmm::detect(&access.ports, access.credentials.clone()).await;
    seen.version.api = seen.keep("PMM's API", api).map(|pmm| pmm.version().clone());
    if seen.external_postgres {
        tracing::debug!("the server has no PostgreSQL of its own");
    } else {
        postgres(&mut seen, root).await;
    }
    if !seen.external_clickhouse {
        let major = seen.major().unwrap_or(Major::V2);
        let schema = Qan::on(&access.ports, major).schema().await;
        seen.qan_schema = seen.keep("Query Analytics' schema", schema);
    }
    seen
}

fn files(seen: &mut ServerObservation, root: &ServerRoot) {
    let mut line = |what: &str, path: &str| {
        let text = seen.keep(what, root.read_text(path, MAX_FILE)).flatten();
        text.map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    };
    let volume = line(
        "the volume's version",
        "srv/grafana/PERCONA_DASHBOARDS_VERSION",
    );
    let image = line(
        "the image's version",
        "usr/share/percona-dashboards/VERSION",
    );
    let distribution = line("the distribution", "srv/pmm-distribution");
    seen.version.volume = volume;
    seen.version.image = image;
    seen.distribution = distribution;
    let uid = pid1_uid();
    if uid.is_none() {
        let why = "`/proc/1/status` does not tell it".into();
        seen.unobserved.push(Unobserved {
            what: "the user of PID 1".into(),
            why,
        });
    }
    seen.pid1_uid = uid;
    let elsewhere = databases::elsewhere();
    seen.elsewhere = seen
        .keep("the server's variables", elsewhere)
        .unwrap_or_default();
    let users = Users::of(root);
    seen.users = seen.keep("users and groups", users).unwrap_or_default();
    let rules = alert_rules(root);
    seen.alert_rules = seen.keep("alert rules", rules).unwrap_or_default();
    let certificates = certificates::problems(root);
    seen.certificates = seen.keep("certificates", certificates).unwrap_or_default();
    let prometheus = uses::prometheus_data(root);
    seen.uses.prometheus_data = seen.keep("Prometheus' data", prometheus);
    seen.uses.leftovers = uses::leftovers(root);
}

/// The effective user of PID 1, which is the server's where the PID namespace is shared.
fn pid1_uid() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/1/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

async fn programs(seen: &mut ServerObservation, root: &ServerRoot) {
    let Some(supervisor) = seen.keep("the supervisor", Supervisor::at(root)) else {
        return;
    };
    let version = supervisor.version().await;
    seen.supervisor = seen.keep("the supervisor's version", version);
    let processes = supervisor.processes().await;
    let Some(processes) = seen.keep("programs", processes) else {
        return;
    };
    let has = |name: &str| processes.iter().any(|process| process.is_named(name));
    seen.external_postgres = !has("postgresql");
    seen.external_clickhouse = !has("clickhouse");
    // `-init` runs at each start and is no update; this one is PMM's own upgrade (facts/pmm.md 6 row 28).
    seen.update_running = processes
        .iter()
        .any(|process| process.is_named("pmm-update-perform") && !process.state.is_down());
    seen.started_up = processes
        .iter()
        .find(|process| ["pmm-update-perform-init", "pmm-init"].contains(&process.name.as_str()))
        .map(|process| process.state == ProcessState::Exited && process.exit_status == 0);
    let config = supervisor.config();
    seen.programs = processes
        .into_iter()
        .map(|process| ProgramFacts {
            user: config
                .program(&process.group, &process.name)
                .and_then(|program| program.user),
            stop_wait: config.stop_wait(&process.group, &process.name).as_secs(),
            process,
        })
        .collect();
}

async fn postgres(seen: &mut ServerObservation, root: &ServerRoot) {
    let processes: Vec<Process> = seen.programs.iter().map(|p| p.process.clone()).collect();
    let Some(cluster) = seen.keep("PostgreSQL", Postgres::find(root, &processes)) else {
        return;
    };
    let hba = Hba::read(root, &cluster.data_dir);
    let trusts_local = seen
        .keep("pg_hba.conf", hba)
        .map(|hba| hba.trusts_local_superuser());
    let mut facts = PostgresFacts {
        trusts_local,
        roles: None,
        databases: None,
        schema: None,
        scheduled_backups: None,
        cluster,
    };
    let roles = facts.cluster.role_passwords().await;
    facts.roles = seen.keep("database roles", roles);
    let databases = sizes(&facts.cluster).await;
    facts.databases = seen.keep("databases", databases);
    let schema = facts.cluster.schema_version().await;
    facts.schema = seen.keep("pmm-managed's schema", schema).flatten();
    let sql = "SELECT count(*) FROM scheduled_tasks WHERE type LIKE '%backup%' AND NOT disabled";
    let backups = facts.cluster.query_one("pmm-managed", sql).await;
    facts.scheduled_backups = seen
        .keep("scheduled backups", backups)
        .flatten()
        .and_then(|count| count.parse().ok());
    // PMM 3 has most of these tables no more, and what was lost with them is told beforehand or never.
    if seen.major() != Some(Major::V3) {
        let mut uses = std::mem::take(&mut seen.uses);
        let ask = uses.ask(&facts.cluster, |what, error| {
            let _: Option<()> = seen.keep(what, Err(error));
        });
        ask.await;
        seen.uses = uses;
    }
    seen.postgres = Some(facts);
}

async fn sizes(cluster: &Postgres) -> Result<Vec<(String, u64)>> {
    let mut sizes = Vec::new();
    for database in cluster.databases().await? {
        let size = cluster.database_size(&database).await?;
        sizes.push((database, size));
    }
    Ok(sizes)
}

/// The rule files that hold an alerting rule.
fn alert_rules(root: &ServerRoot) -> Result<Vec<PathBuf>> {
    let dir = PathBuf::from("/srv/prometheus/rules");
    let mut found = Vec::new();
    for name in root.list(&dir)? {
        let path = dir.join(&name);
        if path.extension().is_none_or(|extension| extension != "yml") {
            continue;
        }
        let text = root.read_text(&path, MAX_FILE)?.unwrap_or_default();
        if text.lines().any(is_alert) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Whether a line of YAML gives a rule the key `alert`.
fn is_alert(line: &str) -> bool {
    let key = line
        .trim_start()
        .trim_start_matches("- ")
        .trim_start()
        .trim_start_matches('{')
        .trim_start();
    let key = key.trim_start_matches(['"', '\'']);
    key.strip_prefix("alert").is_some_and(|rest| {
        rest.trim_start_matches(['"', '\''])
            .trim_start()
            .starts_with(':')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerting_rules_are_told_from_recording_rules() {
        for line in [
            "  - alert: Down",
            "alert: x",
            "- \"alert\" : x",
            "- {alert: x}",
        ] {
            assert!(is_alert(line), "{line}");
        }
        for line in [
            "- record: alert",
            "# - alert: x",
            "alerts: 3",
            "  expr: alert",
        ] {
            assert!(!is_alert(line), "{line}");
        }
    }

    #[test]
    fn the_api_counts_most_for_the_major() {
        let mut seen = ServerObservation::default();
        assert_eq!(seen.major(), None);
        seen.version.image = Some("2.44.0".into());
        assert_eq!(seen.major(), Some(Major::V2));
        seen.version.volume = Some("3.8.1".into());
        assert_eq!(seen.major(), Some(Major::V3));
    }
}
