//! Steps on the server's data, by the agent that has the volumes only and works while the server is
//! down.

mod as_copied;
mod copy_volume;
mod hand_over_volume;
mod keep_encryption_key;
mod place_databases;
mod prove_copy;
mod renew_cluster;
mod restore_backup;
mod set_aside_files;
mod transfer_ownership;

use std::{path::PathBuf, sync::Arc};

pub(super) use copy_volume::CopyVolume;
pub(super) use hand_over_volume::HandOverVolume;
pub(super) use keep_encryption_key::KeepEncryptionKey;
pub(super) use place_databases::PlaceDatabases;
pub(super) use prove_copy::ProveCopy;
pub(super) use renew_cluster::RenewCluster;
pub(super) use restore_backup::RestoreBackup;
pub(super) use set_aside_files::SetAsideFiles;
pub(super) use transfer_ownership::TransferOwnership;

use ferry_proto::v1;
use rustix::fs::Mode;

use crate::{
    blocking,
    context::{Context, EventLog},
    error::StepError,
    surroundings::Volume,
    tree::{Done, Manifest, ManifestFolder, Owner, Pass, Root, TreeError, Watch},
};

/// The server's data in the backup volume; beside it lie the manifests of both passes, and what is
/// Ferry's.
const COPY: &str = "data";

fn copy_path(volume: &Volume) -> PathBuf {
    volume.backup.join(COPY)
}

/// The root of the copy, made when it is missing.
fn open_copy(path: &std::path::Path) -> Result<Root, TreeError> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Root::open(path, None),
        Err(error) => Err(TreeError::Open {
            path: path.display().to_string(),
            source: error.into(),
        }),
    }
}

/// The manifest of a pass, read as a whole.
fn manifest(volume: &Volume, pass: Pass) -> Result<Manifest, TreeError> {
    ManifestFolder::open(&volume.backup)?.read(pass)
}

fn owner(owner: Option<&v1::Owner>) -> Result<Owner, StepError> {
    let owner = owner.ok_or_else(|| StepError::new("bad-parameter", "the step names no owner"))?;
    Ok(Owner {
        uid: owner.uid,
        gid: owner.gid,
    })
}

/// Runs work on a tree on a thread of its own, with the step's progress and cancellation.
pub(in crate::steps) async fn on_tree<T, F>(
    cx: &Context,
    total: u64,
    work: F,
) -> Result<T, StepError>
where
    F: FnOnce(&Watch<'_>) -> Result<T, TreeError> + Send + 'static,
    T: Send + 'static,
{
    watched(cx, total, move |watch| Ok(work(watch)?)).await
}

/// As [`on_tree`], for work that knows more errors.
pub(in crate::steps) async fn watched<T, F>(
    cx: &Context,
    total: u64,
    work: F,
) -> Result<T, StepError>
where
    F: FnOnce(&Watch<'_>) -> Result<T, StepError> + Send + 'static,
    T: Send + 'static,
{
    let events: Arc<EventLog> = Arc::clone(&cx.events);
    let cancel = cx.cancel.flag.clone();
    let result = blocking::run(move || {
        let report = move |done: Done| {
            let unit = "entries".to_owned();
            let progress = v1::Progress {
                done: done.entries,
                total,
                unit,
                ..Default::default()
            };
            events.progress(progress);
        };
        work(&Watch {
            progress: &report,
            cancel,
        })
    });
    let result = result.await;
    if cx.cancel.flag.is_cancelled() && result.is_err() {
        return Err(StepError::cancelled());
    }
    result
}
