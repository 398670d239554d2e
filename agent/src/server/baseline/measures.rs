//! The parts of a comparison that measure: targets, history, keys.

use std::collections::BTreeMap;

use super::super::keys::{ApiKey, ServiceAccount};
use super::super::pmm::{PMM_SERVER, normal_job};
use super::super::victoria::{HistoryPoint, UpTargets};
use super::Baseline;
use super::compare::{CompareMode, Found};

/// Scrape jobs of programs that PMM 3 does not have (`facts/pmm.md` 1.4).
const REMOVED_JOBS: [&str; 4] = [
    "alertmanager",
    "dbaas-controller",
    "dbaas_controller",
    "prometheus",
];

impl Found {
    pub(super) fn up(&mut self, before: &[UpTargets], after: &[UpTargets]) {
        let across = self.mode == CompareMode::AcrossMajors;
        // What the server watches of itself differs between the majors; what it watches of others must not.
        let strict = |target: &&UpTargets| {
            !across || !(target.node_name.is_empty() || target.node_name == PMM_SERVER)
        };
        let node = |target: &UpTargets| target.node_name.clone();
        let job = |target: &UpTargets| normal_job(&target.job);
        let new_nodes = sum(after.iter().filter(strict), node);
        let mut nodes_hold = true;
        for (name, old) in &sum(before.iter().filter(strict), node) {
            let new = new_nodes.get(name).copied().unwrap_or_default();
            nodes_hold &= new >= *old;
            let what = if name.is_empty() {
                "targets up without a node".to_owned()
            } else {
                format!("targets up on node `{name}`")
            };
            self.count("up-node", &what, *old, new, false);
        }
        let new_jobs = sum(after.iter().filter(strict), job);
        for (name, old) in &sum(before.iter().filter(strict), job) {
            let what = format!("targets up in job `{name}`");
            match new_jobs.get(name) {
                Some(new) => self.count("up-job", &what, *old, *new, false),
                // The next major may call a job otherwise; each node's count tells whether it is still there.
                None if across && nodes_hold => self.warn("up-job-renamed", &what, old, 0),
                None => self.fail("up-job", &what, old, 0),
            }
        }
        let own = |target: &&UpTargets| !strict(target);
        let new_own = sum(after.iter().filter(own), job);
        for (name, old) in &sum(before.iter().filter(own), job) {
            let new = new_own.get(name).copied().unwrap_or_default();
            if new < *old && !REMOVED_JOBS.contains(&name.as_str()) {
                let what = format!("the server's own targets up in job `{name}`");
                self.warn("up-of-server", &what, old, new);
            }
        }
    }

    pub(super) fn history(&mut self, before: &[HistoryPoint], after: &[HistoryPoint]) {
        for old in before {
            let what = format!("metrics {} before the baseline", ago(before, old));
            let told = |p: &HistoryPoint| format!("{} samples of {} series", p.samples, p.series);
            match after.iter().find(|new| new.at == old.at) {
                None => self.fail("history", &what, told(old), "not asked"),
                Some(new) if (new.series, new.samples) == (old.series, old.samples) => {}
                // Retention takes the oldest away; what came late is no loss.
                Some(new)
                    if old.oldest || (new.series >= old.series && new.samples >= old.samples) =>
                {
                    self.warn("history", &what, told(old), told(new));
                }
                Some(new) => self.fail("history", &what, told(old), told(new)),
            }
        }
    }

    /// Every key of every organisation must be found again, with its role, and be good for the version that it is on now.
    pub(super) fn keys(
        &mut self,
        before: &[ApiKey],
        after: &[ApiKey],
        accounts: &[ServiceAccount],
        now: &Baseline,
    ) {
        for old in before {
            let what = format!("API key {}", old.title());
            let told = |key: &ApiKey| {
                format!(
                    "{}{}",
                    key.role,
                    if key.migrated {
                        ", of a service account"
                    } else {
                        ""
                    }
                )
            };
            match after
                .iter()
                .find(|new| (new.org, &new.name) == (old.org, &old.name))
            {
                Some(new) if new.role != old.role => {
                    self.fail("key-role", &what, told(old), told(new));
                }
                Some(new) if new.migrated => {}
                Some(new) if self.mode == CompareMode::AcrossMajors => {
                    let still = format!("{}, still a key", told(new));
                    if rejects_keys(now) && !new.is_dead(now.taken_at) {
                        self.fail("key-unmigrated", &what, told(old), still);
                    } else {
                        self.warn("key-unmigrated", &what, told(old), still);
                    }
                }
                Some(_) => {}
                None => {
                    let made = |account: &&ServiceAccount| {
                        account.org == old.org && account.tokens > 0 && is_made_from(account, old)
                    };
                    if accounts.iter().find(made).is_none() {
                        self.fail("key-missing", &what, told(old), "missing");
                    }
                }
            }
        }
    }

    pub(super) fn accounts(&mut self, before: &[ServiceAccount], after: &[ServiceAccount]) {
        for old in before {
            let what = format!(
                "tokens of service account `{}` of organisation {}",
                old.name, old.org
            );
            match after
                .iter()
                .find(|new| (new.org, &new.login) == (old.org, &old.login))
            {
                Some(new) => self.count(
                    "service-account-tokens",
                    &what,
                    old.tokens,
                    new.tokens,
                    false,
                ),
                None => self.fail(
                    "service-account-missing",
                    &what,
                    old.tokens,
                    "no such account",
                ),
            }
        }
    }
}

/// Adds up targets by a key.
fn sum<'a>(
    targets: impl Iterator<Item = &'a UpTargets>,
    key: impl Fn(&UpTargets) -> String,
) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for target in targets {
        *sums.entry(key(target)).or_default() += target.count;
    }
    sums
}

/// Whether the server takes keys of service accounts only: from Grafana 11.6 on, which came with PMM 3.2 and turns them all at
/// its start (facts/pmm.md 4.2).
fn rejects_keys(server: &Baseline) -> bool {
    let version = server.version.as_deref().unwrap_or_default();
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= (3, 2),
        _ => false,
    }
}

/// Whether Grafana made the account from that key (`facts/pmm.md` 4.1).
fn is_made_from(account: &ServiceAccount, key: &ApiKey) -> bool {
    let name = key.name.to_lowercase();
    account.name.to_lowercase() == format!("sa-autogen-{name}")
        || account.login.to_lowercase()
            == format!("sa-autogen-{}-{}", key.org, name.replace(' ', "-"))
}

/// How long a point lies before the newest of all, in words.
fn ago(points: &[HistoryPoint], point: &HistoryPoint) -> String {
    let newest = points
        .iter()
        .map(|point| point.at)
        .max()
        .unwrap_or(point.at);
    // The newest point is one hour old when the baseline is taken.
    let hours = (newest - point.at) / 3600 + 1;
    if hours < 48 {
        format!("{hours} h")
    } else {
        format!("{} d", hours / 24)
    }
}
