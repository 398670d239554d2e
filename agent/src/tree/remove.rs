//! Removing an entry with all below it: by descriptor, never through a symbolic link, never across a mount.
//!
//! Rejected: `std::fs::remove_dir_all`, which goes into whatever is mounted below.

use std::{
    collections::VecDeque,
    ffi::{CStr, CString},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, Mode, openat, unlinkat},
    io::Errno,
};

use super::{
    CancelFlag, TreeError,
    list::{Lister, Names},
    meta::{Kind, Meta},
    root::DIR,
};

/// Removes what is called `name` in the open directory `parent`; false when there is nothing.
///
/// # Errors
/// [`TreeError::Io`]: something below cannot be removed, or is a mount. What was reached before is gone then.
pub fn remove(parent: BorrowedFd<'_>, name: &str, cancel: &CancelFlag) -> Result<bool, TreeError> {
    let fail = |error: Errno| TreeError::io("remove", name.as_bytes(), error);
    let c_name = CString::new(name).map_err(|_| fail(Errno::INVAL))?;
    let mount = Meta::of(parent).map_err(fail)?;
    match remove_at(parent, &c_name, &mount, cancel) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(Errno::CANCELED) => Err(TreeError::Cancelled),
        Err(error) => Err(fail(error)),
    }
}

/// Directories held open at a time: a tree may be deeper than a process may have files open.
const HELD: usize = 64;

/// A directory on the way down, and what of it is still to be emptied.
struct Level {
    name: CString,
    below: Vec<CString>,
}

/// The directories from the top down to where the work is; the last of them are open.
struct Way<'a> {
    parent: BorrowedFd<'a>,
    levels: Vec<Level>,
    open: VecDeque<OwnedFd>,
}

impl Way<'_> {
    fn enter(&mut self, fd: OwnedFd, level: Level) {
        self.levels.push(level);
        self.open.push_back(fd);
        if self.open.len() > HELD {
            self.open.pop_front();
        }
    }

    /// The innermost directory. Where it was closed for want of room, it is opened again with as
    /// many of those above it as may be open.
    fn here(&mut self) -> Result<BorrowedFd<'_>, Errno> {
        if self.open.is_empty() {
            for level in &self.levels {
                let from = self.open.back().map_or(self.parent, |fd| fd.as_fd());
                let fd = openat(from, &level.name, DIR, Mode::empty())?;
                self.open.push_back(fd);
                if self.open.len() > HELD {
                    self.open.pop_front();
                }
            }
        }
        Ok(self.open.back().map_or(self.parent, |fd| fd.as_fd()))
    }
}

/// The same for an entry of a tree whose mount is known.
pub(super) fn remove_at(
    parent: BorrowedFd<'_>,
    name: &CStr,
    mount: &Meta,
    cancel: &CancelFlag,
) -> Result<(), Errno> {
    let meta = Meta::at(parent, name)?;
    if !meta.same_mount(mount) {
        return Err(Errno::XDEV);
    }
    if meta.kind() != Kind::Dir {
        return unlinkat(parent, name, AtFlags::empty());
    }
    // A way of our own: a tree may be deeper than the thread's stack.
    let mut way = Way {
        parent,
        levels: Vec::new(),
        open: VecDeque::new(),
    };
    let mut lister = Lister::default();
    descend(&mut way, name.into(), &mut lister, (mount, cancel))?;
    while let Some(level) = way.levels.last_mut() {
        if let Some(child) = level.below.pop() {
            descend(&mut way, child, &mut lister, (mount, cancel))?;
            continue;
        }
        let Some(level) = way.levels.pop() else { break };
        way.open.pop_back();
        unlinkat(way.here()?, &level.name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Enters the directory `name`, and removes all of it that is no directory with something in it.
fn descend(
    way: &mut Way<'_>,
    name: CString,
    lister: &mut Lister,
    (mount, cancel): (&Meta, &CancelFlag),
) -> Result<(), Errno> {
    if cancel.is_cancelled() {
        return Err(Errno::CANCELED);
    }
    let fd = openat(way.here()?, &name, DIR, Mode::empty())?;
    let mut names = Names::default();
    lister.read(fd.as_fd(), &mut names)?;
    let mut below = Vec::new();
    for name in names.iter() {
        let meta = Meta::at(&fd, name)?;
        if !meta.same_mount(mount) {
            return Err(Errno::XDEV);
        }
        if meta.kind() == Kind::Dir {
            match unlinkat(&fd, name, AtFlags::REMOVEDIR) {
                Ok(()) => {}
                Err(Errno::NOTEMPTY | Errno::EXIST) => below.push(name.into()),
                Err(e) => return Err(e),
            }
        } else {
            unlinkat(&fd, name, AtFlags::empty())?;
        }
    }
    way.enter(fd, Level { name, below });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_below_goes_and_nothing_behind_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let kept = tempfile::tempdir().unwrap();
        std::fs::write(kept.path().join("f"), "x").unwrap();
        std::fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
        std::fs::write(dir.path().join("a/b/f"), "x").unwrap();
        std::os::unix::fs::symlink(kept.path(), dir.path().join("a/b/link")).unwrap();
        let parent = std::fs::File::open(dir.path()).unwrap();
        let cancel = CancelFlag::default();
        assert!(remove(parent.as_fd(), "a", &cancel).unwrap());
        assert!(!remove(parent.as_fd(), "a", &cancel).unwrap());
        assert!(!dir.path().join("a").exists());
        assert!(kept.path().join("f").exists());
        let stopped = CancelFlag::default();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        stopped.cancel();
        assert!(matches!(
            remove(parent.as_fd(), "a", &stopped),
            Err(TreeError::Cancelled)
        ));
    }
}
