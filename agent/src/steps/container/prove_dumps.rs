//! Proves that the dumps are worth something: restores them into a scratch cluster, and compares its tables and their
//! rows with what was counted in the dumps' own snapshots. A backup that fails this ends the run before anything of the
//! server was changed.
//!
//! The cluster lies in the run's folder, runs as the database's user behind the server's own programs, and is gone when
//! the step ends. One that a killed agent left behind is ended by its own pid file, by the next attempt or the undo.

use std::{
    collections::BTreeMap,
    num::NonZeroU8,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use ferry_proto::{
    proof_bytes,
    v1::{self, Outcome},
};

use super::{
    dump_databases::{CLUSTER, Dumped, dumped},
    room,
};
use crate::{
    blocking,
    context::Context,
    error::StepError,
    server::postgres::{Postgres, ProofRequest, ToProve, verify_manifest},
    steps::{Work, count, done},
    tree::{self, CancelFlag, RoomWatch, Root, fs_space},
};

pub(in crate::steps) struct ProveDumps(pub(in crate::steps) v1::ProveDumps);

/// The scratch cluster's folder in the run's folder.
pub(in crate::steps) const SCRATCH: &str = "proof";
/// The name of the folder whose place the cluster takes, in the run's folder: who puts it there sees no PostgreSQL.
pub(in crate::steps) const CLUSTER_NAME: &str = "cluster-name";
/// How many differences an error shows.
const SHOWN: usize = 10;

type Rows = BTreeMap<String, u64>;

#[async_trait]
impl Work for ProveDumps {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let postgres = super::postgres(cx.surroundings.container()?).await?;
        let mut expected = BTreeMap::new();
        let mut dumps = Vec::new();
        let mut bytes: u64 = 0;
        for database in &self.0.databases {
            let Dumped {
                folder,
                archive,
                dump,
            } = dumped(cx, database)?;
            let folder = cx.run_dir.path().join(folder);
            verify_manifest(&folder, &dump.manifest).await?;
            bytes = bytes.saturating_add(dump.database_size);
            dumps.push(ToProve {
                database: database.clone(),
                dump: match archive {
                    Some(file) => folder.join(file),
                    None => folder,
                },
            });
            expected.insert(database.clone(), dump.rows);
        }
        if self.stays(cx)? {
            let name = cluster_name(&postgres.data_dir, &cx.surroundings.container()?.data)?;
            cx.run_dir.replace(CLUSTER_NAME, name.as_bytes())?;
        }
        clear(cx, &postgres).await?;
        check_space(cx, proof_bytes(bytes))?;
        let jobs = u8::try_from(self.0.jobs).ok().and_then(NonZeroU8::new);
        let request = ProofRequest {
            dumps,
            scratch: scratch(cx),
            jobs: jobs.unwrap_or(NonZeroU8::MIN),
            cluster_sql: self.cluster_sql(cx, &postgres).await?,
            heal_roles: self.0.heal_roles.clone(),
        };
        let mut steps_done = 0;
        let mut report = |what: &str| {
            cx.progress(steps_done, 0, "parts", what);
            steps_done += 1;
        };
        let watch = RoomWatch::of(cx.run_dir.fd())?;
        let (of, request) = (&postgres, &request);
        let found = room::watched(
            || watch.look(),
            &cx.cancel.token,
            |stop| async move { of.prove_dumps(request, &mut report, &stop).await },
        );
        let compared = match found.await {
            Ok(found) => compare(&expected, &found),
            Err(ended) if ended.is_short() => {
                clear(cx, &postgres).await?;
                let what = "the cluster that the dumps are proven in";
                return Err(ended.told(what, cx.run_dir.path()));
            }
            Err(ended) => {
                let error = ended.told("", cx.run_dir.path());
                Err(error.during("a dump cannot be restored"))
            }
        };
        if compared.is_err() || !self.0.keep {
            let cleared = clear(cx, &postgres).await;
            compared?;
            cleared?;
        }
        let (tables, rows) = totals(&expected);
        let mut outcome = done(format!(
            "{}, {}",
            count(tables, "table"),
            count(rows, "row")
        ));
        for (name, value) in [("tables", tables), ("rows", rows), ("bytes", bytes)] {
            outcome.values.insert(name.to_owned(), value.to_string());
        }
        Ok(outcome)
    }

    /// The proof itself compares; what is left to see is that nothing of it runs or lies around.
    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let names = cx.run_dir.names()?;
        let there = names.iter().any(|name| name == SCRATCH);
        let runs = there && scratch(cx).join("data/postmaster.pid").exists();
        if runs || there != self.0.keep {
            return Err(StepError::new(
                "scratch-left",
                format!(
                    "the scratch cluster in `{}` is not as the proof should leave it",
                    scratch(cx).display()
                ),
            ));
        }
        Ok(())
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let there = cx.run_dir.names()?.iter().any(|name| name == SCRATCH);
        if !there {
            return Ok(done("nothing is left of the proof"));
        }
        let postgres = super::postgres(cx.surroundings.container()?).await?;
        clear(cx, &postgres).await?;
        Ok(done("the scratch cluster is removed"))
    }
}

impl ProveDumps {
    /// The cluster is to become the running server's own, rather than that of a copy.
    fn stays(&self, cx: &Context) -> Result<bool, StepError> {
        Ok(self.0.keep && !cx.surroundings.container()?.at_rest)
    }

    /// A cluster that stays needs the roles' passwords too. They are asked for now, while PostgreSQL runs, and go from one
    /// cluster to the other without being written down.
    async fn cluster_sql(&self, cx: &Context, postgres: &Postgres) -> Result<String, StepError> {
        if !self.stays(cx)? {
            return cluster_sql(cx);
        }
        let sql = postgres.cluster_sql(&self.0.databases, true).await?;
        let extensions = postgres.extension_sql().await?;
        Ok(format!("{sql};\n{extensions}"))
    }
}

/// The cluster's folder directly below the data.
pub(in crate::steps) fn cluster_name(cluster: &Path, data: &Path) -> Result<String, StepError> {
    let name = cluster.strip_prefix(data).ok().and_then(Path::to_str);
    name.filter(|name| !name.is_empty() && !name.contains('/'))
        .map(str::to_owned)
        .ok_or_else(|| {
            StepError::new(
                "cluster-elsewhere",
                format!(
                    "PostgreSQL's data is in `{}`, not directly in `{}`: no other cluster can be put in its place",
                    cluster.display(),
                    data.display()
                ),
            )
            .hint("use the recipe `pmm-in-place`")
        })
}

fn cluster_sql(cx: &Context) -> Result<String, StepError> {
    let sql = cx.run_dir.read(CLUSTER)?;
    sql.and_then(|sql| String::from_utf8(sql).ok())
        .ok_or_else(|| {
            StepError::new(
                "dump-missing",
                "there is no dump of the cluster's roles and databases",
            )
        })
}

/// The cluster's folder, which has the same name for the agent and in the server.
fn scratch(cx: &Context) -> PathBuf {
    cx.run_dir.path().join(SCRATCH)
}

/// Ends what an earlier attempt left running, and removes it.
async fn clear(cx: &Context, postgres: &Postgres) -> Result<(), StepError> {
    if postgres.end_scratch(&scratch(cx)).await? {
        cx.note("the scratch cluster of an attempt that was cut off was ended");
    }
    let parent = cx.run_dir.fd().try_clone_to_owned()?;
    // Not the step's own flag: what is cancelled has to be cleared away as well.
    let removed =
        blocking::run(move || tree::remove(parent.as_fd(), SCRATCH, &CancelFlag::new())).await;
    removed?;
    Ok(())
}

fn check_space(cx: &Context, needed: u64) -> Result<(), StepError> {
    let space = fs_space(&Root::open(cx.run_dir.path(), None)?)?;
    let (free, reserve) = (space.free_bytes, space.reserve_bytes());
    if free >= needed.saturating_add(reserve) {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    Err(StepError::new(
        "no-space-for-proof",
        format!(
            "proving the dumps needs {} MiB in `{}` and leaves {} MiB to others, and {} MiB are free",
            mib(needed),
            cx.run_dir.path().display(),
            mib(reserve),
            mib(free)
        ),
    )
    .hint("free space on the server's volume, then `ferryctl migrate` again"))
}

fn totals(expected: &BTreeMap<String, Rows>) -> (u64, u64) {
    let counts = || expected.values().flat_map(BTreeMap::values);
    (counts().count() as u64, counts().sum())
}

/// Every table with its exact number of rows, and no other table.
fn compare(
    expected: &BTreeMap<String, Rows>,
    found: &BTreeMap<String, Rows>,
) -> Result<(), StepError> {
    let none = Rows::new();
    let mut differences = Vec::new();
    for (database, expected) in expected {
        let found = found.get(database).unwrap_or(&none);
        let tables: std::collections::BTreeSet<&String> =
            expected.keys().chain(found.keys()).collect();
        for table in tables {
            let words = |rows: Option<&u64>| match rows {
                Some(rows) => count(*rows, "row"),
                None => "no such table".to_owned(),
            };
            let (was, is) = (expected.get(table), found.get(table));
            if was != is {
                let (was, is) = (words(was), words(is));
                differences.push(format!("{database}, {table}: {was} dumped, {is} restored"));
            }
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    let number = differences.len() as u64;
    differences.truncate(SHOWN);
    Err(StepError::new(
        "dump-not-proven",
        format!(
            "what was restored from the dumps differs from what was dumped in {}",
            count(number, "table")
        ),
    )
    .details(differences)
    .hint("the dumps are no backup: look at the server's PostgreSQL log and its disk, then `ferryctl migrate` again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(list: &[(&str, u64)]) -> BTreeMap<String, Rows> {
        let tables = list.iter().map(|(table, rows)| ((*table).into(), *rows));
        BTreeMap::from([("grafana".to_owned(), tables.collect())])
    }

    #[test]
    fn every_row_of_every_table_counts() {
        let dumped = rows(&[("a", 1), ("b", 0)]);
        compare(&dumped, &dumped).unwrap();
        assert_eq!(totals(&dumped), (2, 1));
        for (other, sentence) in [
            (
                rows(&[("a", 1)]),
                "grafana, b: 0 rows dumped, no such table restored",
            ),
            (
                rows(&[("a", 2), ("b", 0)]),
                "grafana, a: 1 row dumped, 2 rows restored",
            ),
            (
                rows(&[("a", 1), ("b", 0), ("c", 3)]),
                "grafana, c: no such table dumped, 3 rows restored",
            ),
        ] {
            let failure = v1::Failure::from(compare(&dumped, &other).unwrap_err());
            assert_eq!(failure.code, "dump-not-proven");
            assert_eq!(failure.details, [sentence]);
        }
        let failure = v1::Failure::from(compare(&dumped, &BTreeMap::new()).unwrap_err());
        assert!(failure.message.ends_with("in 2 tables"), "{failure:?}");
    }
}
