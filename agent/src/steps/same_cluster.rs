//! Whether the server's PostgreSQL is still as it was when its databases were dumped for the last time.
//!
//! A recipe that puts a restored cluster in the place of the server's own loses all that this one has gained since its dump. Nobody writes to
//! it when everything else is stopped; but a host that is switched on again starts the whole server, and so does a person whose run is held.
//! So the start of PostgreSQL is noted when the others are down, and compared when it is stopped itself; and what the stop left of its
//! control file, which each start changes, is compared when the clusters change places.

use std::{
    io::Read as _,
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

use rustix::fs::{Mode, OFlags, openat};

use crate::{context::Context, error::StepError, server::ServerRoot};

/// In the run's folder: the start of PostgreSQL, by itself.
const STARTED: &str = "postgres-start";
/// In the run's folder: the digest of the control file after the stop.
const STOPPED: &str = "postgres-control";
/// In a cluster's folder; no larger than this (PostgreSQL, `PG_CONTROL_FILE_SIZE`).
const CONTROL: &str = "global/pg_control";
const CONTROL_SIZE: u64 = 8192;

/// Notes the start of the PostgreSQL that serves from this folder; each time the others have been stopped.
///
/// # Errors
/// It cannot be read or written.
pub(super) fn note_start(cx: &Context, root: &ServerRoot, data: &Path) -> Result<(), StepError> {
    let started = start(root, data)?.unwrap_or_default();
    Ok(cx.run_dir.replace(STARTED, started.as_bytes())?)
}

/// Refuses one that was started again since. Where it does not run, or nothing was noted, there is nothing to compare.
///
/// # Errors
/// With what that means.
pub(super) fn check_start(cx: &Context, root: &ServerRoot, data: &Path) -> Result<(), StepError> {
    let Some(noted) = cx.run_dir.read(STARTED)? else {
        return Ok(());
    };
    match start(root, data)? {
        Some(now) if now.as_bytes() != noted => Err(restarted()),
        _ => Ok(()),
    }
}

/// Notes what the stop has left.
///
/// # Errors
/// It cannot be read or written.
pub(super) fn note_stop(cx: &Context, root: &ServerRoot, data: &Path) -> Result<(), StepError> {
    let Some(control) = root.read(data.join(CONTROL), CONTROL_SIZE)? else {
        return Ok(());
    };
    Ok(cx.run_dir.replace(STOPPED, digest(&control).as_bytes())?)
}

/// Refuses a cluster that ran since, in the folder `name` of `data`.
///
/// # Errors
/// With what that means.
pub(super) fn check_stop(cx: &Context, data: BorrowedFd<'_>, name: &str) -> Result<(), StepError> {
    let Some(noted) = cx.run_dir.read(STOPPED)? else {
        return Ok(());
    };
    let path = Path::new(name).join(CONTROL);
    // Each folder by itself: none of them may be a link.
    let mut at = data.try_clone_to_owned()?;
    for part in &path {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        at = openat(at.as_fd(), part, flags, Mode::empty()).map_err(std::io::Error::from)?;
    }
    let mut control = Vec::new();
    std::fs::File::from(at)
        .take(CONTROL_SIZE + 1)
        .read_to_end(&mut control)?;
    if digest(&control).as_bytes() == noted {
        return Ok(());
    }
    Err(restarted())
}

fn digest(control: &[u8]) -> String {
    blake3::hash(control).to_hex().to_string()
}

/// The process and the second, as the server notes both of itself; `None` where it does not run.
fn start(root: &ServerRoot, data: &Path) -> Result<Option<String>, StepError> {
    let Some(text) = root.read_text(data.join("postmaster.pid"), 4096)? else {
        return Ok(None);
    };
    let mut lines = text.lines();
    let (pid, second) = (lines.next(), lines.nth(1));
    Ok(pid
        .zip(second)
        .map(|(pid, second)| format!("{pid} {second}")))
}

fn restarted() -> StepError {
    StepError::new(
        "server-restarted",
        "the server's PostgreSQL was started again after its databases were dumped: what it has written since would be lost",
    )
    .hint("find out who starts the server, keep them from it for the run, then `ferryctl migrate` again")
}
