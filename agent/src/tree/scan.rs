//! One directory looked at: every name with its metadata, mounts and vanished names told apart.

use std::{
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::io::Errno;

use super::{
    Root, TreeError,
    error::show_in,
    list::{Lister, Names},
    meta::{Kind, Meta},
    progress::Meter,
    root::RelPath,
};

/// Kept by each worker from one directory to the next.
#[derive(Default)]
pub(super) struct Scratch {
    lister: Lister,
    names: Names,
}

/// What lies under a name.
pub(super) enum Seen<'a> {
    /// An entry on the tree's own mount.
    Entry(&'a Meta),
    /// Another file system or bind mount: not to be entered or changed.
    Mount,
    /// It cannot be looked at.
    Failed(Errno),
}

/// Looks at all entries of `dir`; a directory or name that is gone by then is passed over.
/// Returns whether the directory was there.
pub(super) fn scan(
    root: &Root,
    dir: &RelPath,
    scratch: &mut Scratch,
    meter: &Meter<'_>,
    each: impl FnMut(BorrowedFd<'_>, &CStr, Seen<'_>) -> Result<(), TreeError>,
) -> Result<bool, TreeError> {
    match root.open_dir(dir) {
        Ok(fd) => scan_open(root, (dir, fd.as_fd()), scratch, meter, each).map(|()| true),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(TreeError::io("open", dir, e)),
    }
}

/// As [`scan`], of a directory that is open as `fd`.
pub(super) fn scan_open(
    root: &Root,
    (dir, fd): (&RelPath, BorrowedFd<'_>),
    scratch: &mut Scratch,
    meter: &Meter<'_>,
    mut each: impl FnMut(BorrowedFd<'_>, &CStr, Seen<'_>) -> Result<(), TreeError>,
) -> Result<(), TreeError> {
    const BATCH: u64 = 1024;
    match scratch.lister.read(fd, &mut scratch.names) {
        Ok(()) => {}
        // Removed since it was opened: nothing is in it any more.
        Err(Errno::NOENT) => scratch.names.clear(),
        Err(e) => return Err(TreeError::io("reading the directory", dir, e)),
    }
    let mut seen = 0;
    for name in scratch.names.iter() {
        if root.excludes(dir, name.to_bytes()) {
            continue;
        }
        match Meta::at(fd, name) {
            Ok(meta) if meta.same_mount(root.meta()) => each(fd, name, Seen::Entry(&meta))?,
            Ok(_) => each(fd, name, Seen::Mount)?,
            Err(Errno::NOENT) => {}
            Err(e) => each(fd, name, Seen::Failed(e))?,
        }
        seen += 1;
        if seen == BATCH {
            meter.add(seen, 0)?;
            seen = 0;
        }
    }
    meter.add(seen, 0)
}

/// Whether an entry of this kind is given an owner. A device is not: who owns a device node owns
/// the hardware behind it. Sockets and fifos are: in a sticky directory only the owner of a stale
/// one can remove it.
pub(super) fn has_owner(kind: Kind) -> bool {
    kind != Kind::Device
}

/// The sentence for an entry that failed.
pub(super) fn sentence(dir: &[u8], name: &CStr, error: Errno) -> String {
    format!("{}: {error}", show_in(dir, name.to_bytes()))
}
