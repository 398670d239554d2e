//! Dumps the databases with the server's own tools while it runs: the second safety net beside the
//! copy of the volume, and the one that another major version can read.

use std::{num::NonZeroU8, os::fd::AsFd as _};

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};

use crate::{
    blocking,
    context::Context,
    error::StepError,
    server::postgres::{ARCHIVE, Dump, DumpProgress, DumpRequest, verify_manifest},
    steps::{Work, done, done_with},
    tree::{self, CancelFlag, RoomWatch},
};

use super::{exports, room};

pub(in crate::steps) struct DumpDatabases(pub(in crate::steps) v1::DumpDatabases);

/// The name of a dump's folder in the run's folder; an attempt that was cut off leaves its own.
fn folder(database: &str, attempt: usize) -> String {
    format!("dump-{database}-{attempt}")
}

fn manifest_name(database: &str) -> String {
    format!("dump-{database}.manifest")
}

/// What is known of a dump in the run's folder.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Dumped {
    pub(super) folder: String,
    /// The dump is one file of this name in its folder; otherwise it is the folder.
    #[serde(default)]
    pub(super) archive: Option<String>,
    pub(super) dump: Dump,
}

/// What makes the cluster around the databases again, in the run's folder.
pub(super) const CLUSTER: &str = "dump-cluster.sql";

/// The dump of a database, as it was written down.
pub(super) fn dumped(cx: &Context, database: &str) -> Result<Dumped, StepError> {
    let json = cx.run_dir.read(&manifest_name(database))?.ok_or_else(|| {
        StepError::new("dump-missing", format!("there is no dump of `{database}`"))
    })?;
    serde_json::from_slice(&json).map_err(|e| {
        StepError::new(
            "dump-manifest",
            format!("what is known of the dump of `{database}` cannot be read: {e}"),
        )
    })
}

/// Gives back what this attempt has written: others lack the room.
async fn remove(cx: &Context, made: &[(String, &str)]) -> Result<(), StepError> {
    for (folder, database) in made {
        cx.run_dir.remove(&manifest_name(database))?;
        let (parent, folder) = (cx.run_dir.fd().try_clone_to_owned()?, folder.clone());
        // Not the step's own flag: what is cancelled has to be cleared away as well.
        blocking::run(move || tree::remove(parent.as_fd(), &folder, &CancelFlag::new())).await?;
    }
    Ok(())
}

#[async_trait]
impl Work for DumpDatabases {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let container = cx.surroundings.container()?;
        let postgres = super::postgres(container).await?;
        // A copy that is to be started needs the roles' passwords; the folder is ours alone.
        let cluster = postgres
            .cluster_sql(&self.0.databases, container.state_apart.is_some())
            .await?;
        cx.run_dir.replace(CLUSTER, cluster.as_bytes())?;
        let jobs = u8::try_from(self.0.jobs)
            .ok()
            .and_then(NonZeroU8::new)
            .unwrap_or(NonZeroU8::MIN);
        let mut bytes: u64 = 0;
        let watch = RoomWatch::of(cx.run_dir.fd())?;
        let mut made = Vec::new();
        for database in &self.0.databases {
            cx.check_cancelled()?;
            let taken = cx.run_dir.names()?;
            let name = (1..)
                .map(|attempt| folder(database, attempt))
                .find(|name| !taken.contains(name))
                .unwrap_or_default();
            let request = DumpRequest {
                database: database.clone(),
                dir: cx.run_dir.path().join(&name),
                jobs,
            };
            made.push((name.clone(), database.as_str()));
            let mut report = |progress: DumpProgress| {
                cx.progress(progress.written, 0, "bytes", database);
            };
            let apart = container.state_apart.is_some();
            let archive = apart.then(|| ARCHIVE.to_owned());
            let (postgres, request) = (&postgres, &request);
            let dump = room::watched(
                || watch.look(),
                &cx.cancel.token,
                |stop| async move {
                    if apart {
                        postgres.dump_apart(request, &mut report, &stop).await
                    } else {
                        postgres.dump(request, &mut report, &stop).await
                    }
                },
            );
            let dump = match dump.await {
                Ok(dump) => dump,
                Err(ended) => {
                    if ended.is_short() {
                        remove(cx, &made).await?;
                    }
                    let what = format!("the dump of `{database}`");
                    return Err(ended.told(&what, cx.run_dir.path()));
                }
            };
            bytes += dump.manifest.size();
            let dumped = Dumped {
                folder: name,
                archive,
                dump,
            };
            let json = serde_json::to_vec(&dumped)
                .map_err(|e| StepError::new("dump-manifest", e.to_string()))?;
            cx.run_dir.replace(&manifest_name(database), &json)?;
        }
        let mut summary = format!(
            "{}, {} KiB",
            self.0.databases.join(", "),
            bytes.div_ceil(1024)
        );
        let mut warnings = Vec::new();
        // A rehearsal's folder is discarded.
        if container.state_apart.is_none() {
            let exported;
            (exported, warnings) = exports::export(cx, &postgres).await?;
            summary.extend(exported.map(|words| format!("; {words}")));
        }
        let mut outcome = done_with(summary, warnings);
        outcome.values.insert("bytes".to_owned(), bytes.to_string());
        Ok(outcome)
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        for database in &self.0.databases {
            let Dumped { folder, dump, .. } = dumped(cx, database)?;
            verify_manifest(&cx.run_dir.path().join(folder), &dump.manifest).await?;
        }
        Ok(())
    }

    /// A dump harms nobody and may still be wanted: it stays in the run's folder.
    async fn undo(&self, _cx: &Context) -> Result<Outcome, StepError> {
        Ok(done("the dump stays"))
    }
}
