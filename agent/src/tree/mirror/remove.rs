//! Takes an entry out of a copy with all below it: by descriptor, across no mount, however deep.

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
    super::{
        list::{Lister, Names},
        meta::{Kind, Meta},
        root::DIR,
    },
    Mirror,
};

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

impl Mirror<'_> {
    /// Removes an entry with all below it, never across a mount.
    pub(super) fn remove(&self, parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        let meta = Meta::at(parent, name)?;
        if !meta.same_mount(self.dst.meta()) {
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
        self.descend(&mut way, name.into(), &mut lister)?;
        while let Some(level) = way.levels.last_mut() {
            if let Some(child) = level.below.pop() {
                self.descend(&mut way, child, &mut lister)?;
                continue;
            }
            let Some(level) = way.levels.pop() else { break };
            way.open.pop_back();
            unlinkat(way.here()?, &level.name, AtFlags::REMOVEDIR)?;
        }
        Ok(())
    }

    /// Enters the directory `name`, and removes all of it that is no directory with something in it.
    fn descend(&self, way: &mut Way<'_>, name: CString, lister: &mut Lister) -> Result<(), Errno> {
        if self.meter.cancel().is_cancelled() {
            return Err(Errno::CANCELED);
        }
        let fd = openat(way.here()?, &name, DIR, Mode::empty())?;
        let mut names = Names::default();
        lister.read(fd.as_fd(), &mut names)?;
        let mut below = Vec::new();
        for name in names.iter() {
            let meta = Meta::at(&fd, name)?;
            if !meta.same_mount(self.dst.meta()) {
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
}
