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

/// What became of a directory that a walk came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walked {
    /// All its entries were looked at.
    Whole,
    /// It was removed since its name was read.
    Gone,
    /// Something else took its place: a symbolic link, another kind of entry, a mount.
    Replaced(Errno),
}

/// Looks at all entries of `dir`; a name that is gone by then is passed over. What a directory that
/// is gone or replaced means is the caller's to say: normal in a tree in use, wrong in one at rest.
pub(super) fn scan(
    root: &Root,
    dir: &RelPath,
    scratch: &mut Scratch,
    meter: &Meter<'_>,
    each: impl FnMut(BorrowedFd<'_>, &CStr, Seen<'_>) -> Result<(), TreeError>,
) -> Result<Walked, TreeError> {
    match root.open_dir(dir) {
        Ok(fd) => scan_open(root, (dir, fd.as_fd()), scratch, meter, each),
        Err(Errno::NOENT) => Ok(Walked::Gone),
        Err(e) if is_replaced(e) => Ok(Walked::Replaced(e)),
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
) -> Result<Walked, TreeError> {
    const BATCH: u64 = 1024;
    match scratch.lister.read(fd, &mut scratch.names) {
        Ok(()) => {}
        // Removed since it was opened: the kernel lists nothing of it any more, not even `.`.
        Err(Errno::NOENT) => return Ok(Walked::Gone),
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
    meter.add(seen, 0)?;
    Ok(Walked::Whole)
}

/// What the kernel says of a path one of whose names was a directory and is something else now.
pub(super) fn is_replaced(error: Errno) -> bool {
    matches!(error, Errno::LOOP | Errno::NOTDIR | Errno::XDEV)
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
