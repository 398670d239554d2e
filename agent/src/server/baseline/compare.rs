//! Is it the same server still? A pure comparison of two baselines (`facts/pmm.md` 3.3, 3.4).
//!
//! Less than before is a failure, more is a warning: clients go on registering and sending while a server is migrated,
//! but nothing that was there may be lost.

use std::fmt::Display;

use super::super::pmm::{AgentCount, Agents};
use super::Baseline;

/// What lies between the two baselines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareMode {
    /// The same major: a rollback, or an upgrade within it.
    SameMajor,
    /// A migration from one major to the next.
    AcrossMajors,
}

/// How bad a difference is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something was lost.
    Failure,
    /// Somebody should look.
    Warning,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Difference {
    /// How bad.
    pub severity: Severity,
    /// A stable name of this kind of difference.
    pub code: String,
    /// What differs.
    pub what: String,
    /// What it was.
    pub before: String,
    /// What it is.
    pub after: String,
}

/// Compares what a server answered before with what it answers now. Failures come first.
#[must_use]
pub fn compare(before: &Baseline, after: &Baseline, mode: CompareMode) -> Vec<Difference> {
    let mut found = Found {
        mode,
        all: Vec::new(),
    };
    found.major(before, after);
    found.part("nodes", &before.nodes, &after.nodes, |f, a, b| {
        f.nodes(a, b)
    });
    found.part("services", &before.services, &after.services, |f, a, b| {
        f.services(a, b)
    });
    found.part("agents", &before.agents, &after.agents, Found::agents);
    found.part("targets that are up", &before.up, &after.up, |f, a, b| {
        f.up(a, b)
    });
    found.part(
        "history of metrics",
        &before.history,
        &after.history,
        |f, a, b| f.history(a, b),
    );
    found.part(
        "Query Analytics",
        &before.qan,
        &after.qan,
        |found, before, after| {
            if before.window != after.window {
                found.fail(
                    "qan-window",
                    "the window of Query Analytics",
                    "one window",
                    "another",
                );
            }
            // Both count the same rows. One way that is closed now (PMM 3 gives ClickHouse a
            // password) is no loss while the other still finds them.
            let held = |before: Option<u64>, after: Option<u64>| {
                before
                    .zip(after)
                    .is_some_and(|(before, after)| after >= before)
            };
            let by_table = held(before.table, after.table);
            let by_report = held(before.report, after.report);
            found.part_unless(
                by_table,
                "the report of Query Analytics",
                &before.report,
                &after.report,
                |f, a, b| {
                    f.count("qan-queries", "queries in Query Analytics", *a, *b, true);
                },
            );
            found.part_unless(
                by_report,
                "the table of Query Analytics",
                &before.table,
                &after.table,
                |f, a, b| {
                    f.count("qan-rows", "rows of Query Analytics", *a, *b, true);
                },
            );
        },
    );
    let none = Vec::new();
    let accounts = after.service_accounts.as_ref().unwrap_or(&none);
    found.part("API keys", &before.api_keys, &after.api_keys, |f, a, b| {
        f.keys(a, b, accounts, after)
    });
    found.part(
        "service accounts",
        &before.service_accounts,
        &after.service_accounts,
        |f, a, b| f.accounts(a, b),
    );
    found.part(
        "dashboards",
        &before.dashboards,
        &after.dashboards,
        |f, a, b| {
            f.count(
                "dashboards-own",
                "dashboards made by users",
                a.own,
                b.own,
                false,
            );
            if b.total < a.total {
                f.warn("dashboards-total", "dashboards in all", a.total, b.total);
            }
        },
    );
    found.part("rows of tables", &before.rows, &after.rows, |f, a, b| {
        for (table, rows) in a {
            match b.get(table) {
                Some(now) if now < rows && f.is_lenient(table) => {
                    f.warn("table-rows", &format!("rows of `{table}`"), rows, now);
                }
                Some(now) => f.count(
                    "table-rows",
                    &format!("rows of `{table}`"),
                    *rows,
                    *now,
                    false,
                ),
                None if f.is_lenient(table) => {
                    f.warn(
                        "table-missing",
                        &format!("table `{table}`"),
                        rows,
                        "no such table",
                    );
                }
                None => f.fail(
                    "table-missing",
                    &format!("table `{table}`"),
                    rows,
                    "no such table",
                ),
            }
        }
    });
    found.part(
        "schema version",
        &before.schema,
        &after.schema,
        |f, a, b| {
            if b < a {
                f.fail("schema-older", "pmm-managed's schema", a, b);
            }
        },
    );
    found.backups(before, after);
    found.all.sort();
    found.all
}

pub(super) struct Found {
    pub(super) mode: CompareMode,
    all: Vec<Difference>,
}

impl Found {
    fn add(&mut self, severity: Severity, code: &str, what: &str, before: String, after: String) {
        let (code, what) = (code.to_owned(), what.to_owned());
        self.all.push(Difference {
            severity,
            code,
            what,
            before,
            after,
        });
    }

    pub(super) fn fail(
        &mut self,
        code: &str,
        what: &str,
        before: impl Display,
        after: impl Display,
    ) {
        self.add(
            Severity::Failure,
            code,
            what,
            before.to_string(),
            after.to_string(),
        );
    }

    pub(super) fn warn(
        &mut self,
        code: &str,
        what: &str,
        before: impl Display,
        after: impl Display,
    ) {
        self.add(
            Severity::Warning,
            code,
            what,
            before.to_string(),
            after.to_string(),
        );
    }

    /// Compares a part that both have. One that only the later lacks cannot be proven, which is a failure.
    fn part<T>(
        &mut self,
        what: &str,
        before: &Option<T>,
        after: &Option<T>,
        compare: impl FnOnce(&mut Self, &T, &T),
    ) {
        self.part_unless(false, what, before, after, compare);
    }

    /// As [`Found::part`]; with `proven` another part has shown the same, and a missing one is no
    /// failure.
    fn part_unless<T>(
        &mut self,
        proven: bool,
        what: &str,
        before: &Option<T>,
        after: &Option<T>,
        compare: impl FnOnce(&mut Self, &T, &T),
    ) {
        match (before, after) {
            (Some(before), Some(after)) => compare(self, before, after),
            (Some(_), None) if proven => {
                self.warn(
                    "unobserved-after",
                    what,
                    "observed",
                    "could not be observed",
                );
            }
            (Some(_), None) => self.fail(
                "unobserved-after",
                what,
                "observed",
                "could not be observed",
            ),
            (None, Some(_)) => {
                self.warn(
                    "unobserved-before",
                    what,
                    "could not be observed",
                    "observed",
                );
            }
            (None, None) => {
                self.warn(
                    "unobserved",
                    what,
                    "could not be observed",
                    "could not be observed",
                );
            }
        }
    }

    pub(super) fn count(
        &mut self,
        code: &str,
        what: &str,
        before: u64,
        after: u64,
        tell_more: bool,
    ) {
        if after < before {
            self.fail(code, what, before, after);
        } else if after > before && tell_more {
            self.warn(code, what, before, after);
        }
    }

    /// Three majors of Grafana lie between the two, and data sources, playlists and preferences are
    /// partly its own: only what people and clients made must be there row by row.
    fn is_lenient(&self, table: &str) -> bool {
        const MADE_BY_PEOPLE: [&str; 5] = [
            "pmm-managed.nodes",
            "pmm-managed.services",
            "grafana.org",
            "grafana.user",
            "grafana.alert_rule",
        ];
        self.mode == CompareMode::AcrossMajors && !MADE_BY_PEOPLE.contains(&table)
    }

    fn major(&mut self, before: &Baseline, after: &Baseline) {
        let (Some(old), Some(new)) = (before.major, after.major) else {
            return;
        };
        let fits = match self.mode {
            CompareMode::SameMajor => old == new,
            CompareMode::AcrossMajors => old < new,
        };
        if !fits {
            let version = |baseline: &Baseline| baseline.version.clone().unwrap_or_default();
            self.fail(
                "major",
                "the major version",
                version(before),
                version(after),
            );
        }
    }

    /// Nothing is lost with them, and nobody would hear of it before the next one is due.
    fn backups(&mut self, before: &Baseline, after: &Baseline) {
        let known = before.backups_astray.as_deref().unwrap_or_default();
        for name in after.backups_astray.iter().flatten() {
            if !known.contains(name) {
                self.warn(
                    "backup-astray",
                    &format!("the scheduled backup `{name}`"),
                    "whole",
                    "without its service or its location, which it names by an id of PMM 2: schedule it again",
                );
            }
        }
    }

    fn agents(&mut self, before: &Agents, after: &Agents) {
        for (kind, old) in &before.by_kind {
            let what = format!("agents of kind `{kind}`");
            match after.by_kind.get(kind) {
                Some(new) => {
                    let users = |count: &AgentCount| count.total.saturating_sub(count.of_server);
                    self.count("agents", &what, users(old), users(new), true);
                    let what = format!("the server's own {what}");
                    match self.mode {
                        CompareMode::AcrossMajors if new.of_server < old.of_server => {
                            self.warn("agents-of-server", &what, old.of_server, new.of_server);
                        }
                        _ => self.count(
                            "agents-of-server",
                            &what,
                            old.of_server,
                            new.of_server,
                            true,
                        ),
                    }
                }
                None if old.total == 0 => {}
                // PMM 3 lists all kinds that it knows, so this one was removed.
                None if self.mode == CompareMode::AcrossMajors => {
                    self.warn("agents-removed-kind", &what, old.total, "no such kind");
                }
                None => self.fail("agents", &what, old.total, 0),
            }
        }
        let known = |kind: &String| before.by_kind.contains_key(kind);
        for (kind, new) in after
            .by_kind
            .iter()
            .filter(|(kind, new)| !known(kind) && new.total > 0)
        {
            self.warn("agents", &format!("agents of kind `{kind}`"), 0, new.total);
        }
        let (old, new) = (&before.connected, &after.connected);
        let gone: Vec<&str> = old
            .iter()
            .filter(|id| !new.contains(id))
            .map(String::as_str)
            .collect();
        if new.len() < old.len() {
            let told = format!("{}; not connected: {}", new.len(), gone.join(", "));
            self.fail(
                "connected",
                "pmm-agents that are connected",
                old.len(),
                told,
            );
        } else if !gone.is_empty() {
            let told = format!(
                "{}; others than before, without {}",
                new.len(),
                gone.join(", ")
            );
            self.warn(
                "connected",
                "pmm-agents that are connected",
                old.len(),
                told,
            );
        }
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
