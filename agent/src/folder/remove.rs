//! Removes what is in a backup's own folder, by descriptor: no link is followed, no mount crossed.

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, openat, unlinkat},
    io::Errno,
};

use super::DIR;

/// Nothing is in it, or this file alone.
pub(super) fn has_only(folder: &OwnedFd, file: &str) -> io::Result<bool> {
    let names = names(folder)?;
    Ok(names.iter().all(|name| name.to_bytes() == file.as_bytes()))
}

/// Removes everything in `folder` except the file `kept`.
pub(super) fn all_but(folder: &OwnedFd, kept: &str) -> io::Result<()> {
    let device = rustix::fs::fstat(folder)?.st_dev;
    // An own stack of open folders: a tree may be deeper than the thread's.
    let mut open: Vec<(OwnedFd, CString)> = Vec::new();
    loop {
        let at = open.last().map_or(folder, |(fd, _)| fd);
        let mut below = None;
        for name in names(at)? {
            if open.is_empty() && name.to_bytes() == kept.as_bytes() {
                continue;
            }
            if !take(at, &name)? {
                below = Some(name);
            }
        }
        if let Some(name) = below {
            let next = match openat(at, &name, DIR, Mode::empty()) {
                Ok(next) => next,
                // Somebody else removes it too, as after a removal whose owner was killed.
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            if rustix::fs::fstat(&next)?.st_dev != device {
                let name = name.to_string_lossy();
                return Err(io::Error::other(format!(
                    "`{name}` in it is a mount of its own: unmount it first"
                )));
            }
            open.push((next, name));
        } else if let Some((_, name)) = open.pop() {
            let above = open.last().map_or(folder.as_fd(), |(fd, _)| fd.as_fd());
            gone(unlinkat(above, &name, AtFlags::REMOVEDIR))?;
        } else {
            return Ok(());
        }
    }
}

/// That nothing is there is what was wanted.
pub(super) fn gone(removed: rustix::io::Result<()>) -> io::Result<()> {
    match removed {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes one entry; false when it is a folder that is not empty.
fn take(at: &OwnedFd, name: &CStr) -> io::Result<bool> {
    let stat = match rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(true),
        Err(error) => return Err(error.into()),
    };
    let folder = FileType::from_raw_mode(stat.st_mode).is_dir();
    let how = if folder {
        AtFlags::REMOVEDIR
    } else {
        AtFlags::empty()
    };
    match unlinkat(at, name, how) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) if folder => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn names(folder: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    let entries = match Dir::read_from(folder) {
        Ok(entries) => entries,
        // It was removed since it was opened.
        Err(Errno::NOENT) => return Ok(names),
        Err(error) => return Err(error.into()),
    };
    for entry in entries {
        let name = entry?.file_name().to_owned();
        if name.to_bytes() != b"." && name.to_bytes() != b".." {
            names.push(name);
        }
    }
    Ok(names)
}
