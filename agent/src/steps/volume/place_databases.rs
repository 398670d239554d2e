//! Puts the proven scratch cluster in the place of the copy's PostgreSQL. Why: the copy was made while PostgreSQL wrote,
//! and a cluster copied so is torn; the scratch cluster holds the same databases, as they were dumped, and is whole.
//!
//! It gets the server's own settings: what these make the target stumble over is what a rehearsal is for.

use std::{
    ffi::CString,
    fs::File,
    io::{Read as _, Write as _},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use async_trait::async_trait;
use ferry_proto::v1::Outcome;
use rustix::{
    fs::{AtFlags, Mode, OFlags, fchmod, fchown, fstat, openat, renameat, statat},
    io::Errno,
};

use crate::{
    context::Context,
    error::StepError,
    steps::{
        Work,
        container::{SCRATCH, cluster_name, postgres},
        done,
    },
};

pub(in crate::steps) struct PlaceDatabases;

/// Where the torn cluster of the copy goes, in the run's folder.
const TORN: &str = "copied-cluster";
/// The settings of a cluster.
pub(super) const SETTINGS: [&str; 4] = [
    "postgresql.conf",
    "postgresql.auto.conf",
    "pg_hba.conf",
    "pg_ident.conf",
];
/// No settings are longer.
const LONGEST: u64 = 4 << 20;

const DIR: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

#[async_trait]
impl Work for PlaceDatabases {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let volume = cx.surroundings.volume()?;
        let name = match cx.first_kept::<String>()? {
            Some(name) => name,
            None => {
                let found = postgres(cx.surroundings.container()?).await?.data_dir;
                let name = cluster_name(&found, &volume.data)?;
                cx.keep(&name)?;
                name
            }
        };
        let data = open(rustix::fs::CWD, &volume.data)?;
        let run = cx.run_dir.fd();
        // Each of the two moves is found done or undone by where the folder is.
        if exists(run, SCRATCH)? {
            if !exists(run, TORN)? {
                moved(data.as_fd(), &name, run, TORN)?;
            }
            let proof = open(run, Path::new(SCRATCH))?;
            if exists(proof.as_fd(), "data")? {
                moved(proof.as_fd(), "data", data.as_fd(), &name)?;
            }
        }
        let (from, to) = (
            open(run, Path::new(TORN))?,
            open(data.as_fd(), Path::new(&name))?,
        );
        for settings in SETTINGS {
            copy_settings(from.as_fd(), to.as_fd(), settings)?;
        }
        Ok(done(format!("`{name}` is the proven cluster")))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let name = cx.first_kept::<String>()?.unwrap_or_default();
        let cluster = cx.surroundings.volume()?.data.join(&name);
        let whole = |name: &str| cluster.join(name).exists();
        if whole("PG_VERSION") && whole("pg_hba.conf") && !whole("postmaster.pid") {
            return Ok(());
        }
        Err(StepError::new(
            "databases-not-placed",
            format!("`{}` is not the proven cluster", cluster.display()),
        ))
    }

    /// It goes with the copy.
    async fn undo(&self, _cx: &Context) -> Result<Outcome, StepError> {
        Ok(done("it goes with the copy"))
    }
}

pub(super) fn open(at: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, StepError> {
    openat(at, path, DIR, Mode::empty()).map_err(|error| failed("open", path, error))
}

fn exists(at: BorrowedFd<'_>, name: &str) -> Result<bool, StepError> {
    match statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(failed("look at", Path::new(name), error)),
    }
}

fn moved(
    from: BorrowedFd<'_>,
    name: &str,
    to: BorrowedFd<'_>,
    new_name: &str,
) -> Result<(), StepError> {
    renameat(from, name, to, new_name).map_err(|error| failed("move", Path::new(name), error))
}

/// Copies one file with owner and mode; one that the server does not have is not made.
pub(super) fn copy_settings(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &str,
) -> Result<(), StepError> {
    let fail = |error: Errno| failed("copy", Path::new(name), error);
    let c_name = CString::new(name).map_err(|_| fail(Errno::INVAL))?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let source = match openat(from, &c_name, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(fail(error)),
    };
    let stat = fstat(&source).map_err(fail)?;
    let mut bytes = Vec::new();
    File::from(source).take(LONGEST).read_to_end(&mut bytes)?;
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let copy = openat(to, &c_name, flags, Mode::RUSR | Mode::WUSR).map_err(fail)?;
    let owner = (
        rustix::fs::Uid::from_raw(stat.st_uid),
        rustix::fs::Gid::from_raw(stat.st_gid),
    );
    fchown(&copy, Some(owner.0), Some(owner.1)).map_err(fail)?;
    fchmod(&copy, Mode::from_raw_mode(stat.st_mode)).map_err(fail)?;
    let mut copy = File::from(copy);
    copy.write_all(&bytes)?;
    Ok(copy.sync_all()?)
}

fn failed(verb: &str, path: &Path, error: Errno) -> StepError {
    let error = std::io::Error::from(error);
    StepError::new(
        "databases-not-placed",
        format!("cannot {verb} `{}`: {error}", path.display()),
    )
}
