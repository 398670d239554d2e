//! Puts the restored cluster in the place of the server's PostgreSQL. Why by exchanging the two: there is one folder of that
//! name at each moment, no byte is copied in the downtime, and the former cluster lies whole where the new one lay, for the
//! way back and for whoever wants to look at what was wrong with it.
//!
//! The new one gets the server's own settings, and the target's owner: the owners of the rest are transferred already, those
//! of the former cluster too, so that undoing both in reverse finds every entry where its record says.

use std::os::fd::{AsFd as _, BorrowedFd};

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};
use rustix::{
    fs::{AtFlags, RenameFlags, Timespec, Timestamps, fstat, renameat_with, statat},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::{
    as_copied,
    place_databases::{SETTINGS, copy_settings, open},
};
use crate::{
    context::Context,
    error::StepError,
    steps::{
        Work,
        container::{CLUSTER_NAME, SCRATCH},
        count, done, done_with, in_doubt, same_cluster,
    },
    tree::{self, RecordWriter, Root, TransferOptions},
};

pub(in crate::steps) struct RenewCluster(pub(in crate::steps) v1::RenewCluster);

/// The cluster in its folder, before and after.
const CLUSTER: &str = "data";
/// Who owned the entries of the new cluster, in the run's folder.
const RECORD: &str = "renewed.record";
/// The mode of a cluster's folder; PostgreSQL refuses a wider one (facts/pmm.md 1.3).
const MODE: u32 = 0o700;

/// Both clusters before the exchange. Where they are afterwards is told by their inodes, whoever was cut off when.
#[derive(Serialize, Deserialize)]
struct Before {
    name: String,
    former: u64,
    renewed: u64,
    /// The data folder's mtime, which the exchange changes and undo sets back.
    mtime: (i64, i64),
}

#[async_trait]
impl Work for RenewCluster {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let owner = super::owner(self.0.owner.as_ref())?;
        let data = open(rustix::fs::CWD, &cx.surroundings.volume()?.data)?;
        let scratch = open(cx.run_dir.fd(), SCRATCH.as_ref())?;
        let before = match cx.first_kept::<Before>()? {
            Some(before) => before,
            None => {
                let before = look(cx, data.as_fd(), scratch.as_fd())?;
                same_cluster::check_stop(cx, data.as_fd(), &before.name)?;
                cx.keep(&before)?;
                before
            }
        };
        if inode(scratch.as_fd(), CLUSTER)? == Some(before.renewed) {
            let (former, renewed) = (
                open(data.as_fd(), before.name.as_ref())?,
                open(scratch.as_fd(), CLUSTER.as_ref())?,
            );
            for settings in SETTINGS {
                copy_settings(former.as_fd(), renewed.as_fd(), settings)?;
            }
            let path = cx.run_dir.path().join(SCRATCH).join(CLUSTER);
            let record = cx.run_dir.open_file(RECORD)?;
            super::on_tree(cx, 0, move |watch| {
                let root = Root::open(&path, None)?;
                let options = TransferOptions::default();
                tree::transfer(&root, owner, RecordWriter::open(record)?, &options, watch)
            })
            .await?;
            // It was restored without waiting for the disk.
            rustix::fs::syncfs(&renewed).map_err(|error| failed("sync", &before.name, error))?;
            exchange(scratch.as_fd(), data.as_fd(), &before.name)?;
        }
        Ok(done(format!(
            "`{}` is the restored cluster, the former one is kept in `{}`",
            before.name,
            cx.run_dir.path().join(SCRATCH).display()
        )))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let owner = super::owner(self.0.owner.as_ref())?;
        let name = cx.first_kept::<Before>()?.map(|before| before.name);
        let cluster = cx
            .surroundings
            .volume()?
            .data
            .join(name.unwrap_or_default());
        let wrong = |why: String| {
            StepError::new(
                "cluster-not-renewed",
                format!("`{}` {why}", cluster.display()),
            )
            .hint("`ferryctl rollback` puts the former cluster back")
        };
        let stat = rustix::fs::lstat(&cluster).map_err(|error| wrong(error.to_string()))?;
        let whole = |name: &str| cluster.join(name).exists();
        if !whole("PG_VERSION") || !whole("pg_hba.conf") || whole("postmaster.pid") {
            return Err(wrong("is no whole cluster at rest".to_owned()));
        }
        if stat.st_mode & 0o777 != MODE {
            return Err(wrong(format!(
                "has mode {:o}, not {MODE:o}",
                stat.st_mode & 0o777
            )));
        }
        let path = cluster.clone();
        let found = super::on_tree(cx, 0, move |watch| {
            tree::verify_owner(&Root::open(&path, None)?, owner, watch)
        })
        .await?;
        if found.wrong.is_empty() {
            return Ok(());
        }
        let number = count(found.wrong.count, "entry");
        Err(wrong(format!("has {number} that do not belong to {owner}")).details(found.wrong.first))
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let Some(before) = cx.first_kept::<Before>()? else {
            return Ok(done("no cluster was put in place"));
        };
        let name = &before.name;
        if as_copied::was_restored(cx)? {
            // What lies aside was there for as long as the target ran, and nobody has looked at it.
            return Ok(done(format!("`{name}` came from the copy of the data")));
        }
        let data = open(rustix::fs::CWD, &cx.surroundings.volume()?.data)?;
        let aside = cx.run_dir.names()?.iter().any(|name| name == SCRATCH);
        if aside {
            let scratch = open(cx.run_dir.fd(), SCRATCH.as_ref())?;
            if inode(scratch.as_fd(), CLUSTER)? == Some(before.former) {
                if !is_cluster(scratch.as_fd())? {
                    return Ok(lost(cx, name));
                }
                exchange(scratch.as_fd(), data.as_fd(), &before.name)?;
            }
        }
        if inode(data.as_fd(), &before.name)? != Some(before.former) {
            return Ok(lost(cx, name));
        }
        set_mtime(data.as_fd(), before.mtime)?;
        Ok(done(format!("`{}` is the former cluster", before.name)))
    }
}

/// The end of an undo whose former cluster somebody has removed: it comes from the copy of the data, where it has not come from there yet.
/// What takes its place meanwhile stays: no server starts before the comparison, which is told that there is something to find.
fn lost(cx: &Context, name: &str) -> Outcome {
    let scratch = cx.run_dir.path().join(SCRATCH);
    let warning = format!(
        "somebody has removed the former cluster, which is neither `{name}` nor whole in `{}`: it comes back from the copy of the data",
        scratch.display()
    );
    in_doubt(done_with(
        format!("`{name}` is left for the comparison with the copy"),
        vec![warning],
    ))
}

/// Whether what lies aside has what no cluster is without (facts/pmm.md 1.3).
fn is_cluster(scratch: BorrowedFd<'_>) -> Result<bool, StepError> {
    let cluster = open(scratch, CLUSTER.as_ref())?;
    let (version, control) = (
        inode(cluster.as_fd(), "PG_VERSION")?,
        inode(cluster.as_fd(), "global/pg_control")?,
    );
    Ok(version.is_some() && control.is_some())
}

fn look(cx: &Context, data: BorrowedFd<'_>, scratch: BorrowedFd<'_>) -> Result<Before, StepError> {
    let missing = |what: &str| {
        StepError::new("cluster-missing", format!("there is no {what}"))
            .hint("`ferryctl rollback`, then migrate again")
    };
    let name = cx.run_dir.read(CLUSTER_NAME)?;
    let name = name
        .and_then(|name| String::from_utf8(name).ok())
        .filter(|name| !name.is_empty() && !name.contains('/') && name != "..")
        .ok_or_else(|| missing("word of where the server's cluster is"))?;
    let stat = fstat(data).map_err(|error| failed("look at", &name, error))?;
    Ok(Before {
        former: inode(data, &name)?.ok_or_else(|| missing("cluster of the server"))?,
        renewed: inode(scratch, CLUSTER)?.ok_or_else(|| missing("restored cluster"))?,
        mtime: (
            stat.st_mtime,
            i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
        ),
        name,
    })
}

fn inode(at: BorrowedFd<'_>, name: &str) -> Result<Option<u64>, StepError> {
    match statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat.st_ino)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(failed("look at", name, error)),
    }
}

/// The cluster aside and the one in place change places; where none is in place, the other is put there.
fn exchange(scratch: BorrowedFd<'_>, data: BorrowedFd<'_>, name: &str) -> Result<(), StepError> {
    let renamed = match renameat_with(scratch, CLUSTER, data, name, RenameFlags::EXCHANGE) {
        Err(Errno::NOENT) => renameat_with(scratch, CLUSTER, data, name, RenameFlags::NOREPLACE),
        other => other,
    };
    renamed.map_err(|error| failed("exchange", name, error))?;
    for folder in [scratch, data] {
        rustix::fs::fsync(folder).map_err(|error| failed("sync", name, error))?;
    }
    Ok(())
}

fn set_mtime(folder: BorrowedFd<'_>, (tv_sec, tv_nsec): (i64, i64)) -> Result<(), StepError> {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_OMIT,
        },
        last_modification: Timespec { tv_sec, tv_nsec },
    };
    rustix::fs::futimens(folder, &times).map_err(|error| failed("set the time of", ".", error))
}

fn failed(verb: &str, name: &str, error: Errno) -> StepError {
    let error = std::io::Error::from(error);
    StepError::new(
        "cluster-not-renewed",
        format!("cannot {verb} `{name}`: {error}"),
    )
    .hint("nothing is lost: look at the volume's disk, then `ferryctl resume`, or `ferryctl rollback`")
}
