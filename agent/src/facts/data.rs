//! What the server's data is as a tree: how many entries, whose, and what stands in the way.

use std::path::PathBuf;

use ferry_proto::v1::{DataFacts, MountFact, OwnerCount};

use crate::{
    error::StepError,
    ledger::Ledger,
    state_dir::STATE_DIR_NAME,
    tree::{Root, TreeError, Watch, count, fs_space},
};

pub(super) async fn observe(
    data: PathBuf,
    engine_disk: Option<PathBuf>,
) -> Result<DataFacts, StepError> {
    let open_run = open_run(&data)?;
    let work = move || -> Result<DataFacts, TreeError> {
        let root = Root::open(&data, None)?;
        let stats = count(&root, &Watch::default())?;
        let space = fs_space(&root)?;
        // The copy becomes a volume on the engine's own disk, which need not be the data's.
        let (backup, same_disk) = match &engine_disk {
            Some(folder) => {
                let folder = Root::open(folder, None)?;
                (fs_space(&folder)?, folder.dev() == root.dev())
            }
            None => (space, true),
        };
        let owners = stats.by_owner.iter().map(|(owner, entries)| OwnerCount {
            uid: owner.uid,
            gid: owner.gid,
            entries: *entries,
        });
        let below = stats
            .mounts_below
            .iter()
            .map(|(path, read_only)| MountFact {
                destination: path.display().to_string(),
                read_only: *read_only,
                ..MountFact::default()
            });
        Ok(DataFacts {
            destination: data.display().to_string(),
            entries: stats.entries,
            bytes: stats.bytes_allocated,
            free_bytes: space.free_bytes,
            free_inodes: space.free_inodes,
            backup_free_bytes: backup.free_bytes,
            backup_free_inodes: backup.free_inodes,
            backup_same_disk: same_disk,
            open_run,
            owners: owners.collect(),
            hard_links_outside: stats.hard_links_outside.first.clone(),
            hard_links_outside_count: stats.hard_links_outside.count,
            mounts_below: below.collect(),
            immutable: stats.immutable.first.clone(),
            immutable_count: stats.immutable.count,
            ..DataFacts::default()
        })
    };
    Ok(crate::blocking::run(work).await?)
}

/// The steps that change the data for the target.
const CHANGING: [&str; 3] = ["set-aside-files", "transfer-ownership", "hand-over-volume"];

/// A run that has changed the data for a target and was not taken back. Seen on a PMM 2 it means
/// that the data is half changed, or that somebody started the old server on the new one's data.
fn open_run(data: &std::path::Path) -> Result<String, StepError> {
    let entries = Ledger::at(data, STATE_DIR_NAME).entries("")?;
    let open = entries
        .into_iter()
        .find(|entry| CHANGING.contains(&entry.step.as_str()) && entry.status().needs_undo());
    Ok(open.map(|entry| entry.run).unwrap_or_default())
}
