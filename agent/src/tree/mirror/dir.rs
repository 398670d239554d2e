//! One directory of the source, and the same one of the destination.

use std::{
    collections::HashSet,
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{Mode, mkdirat},
    io::Errno,
};

use super::{
    super::{
        TreeError,
        error::{join, show_in},
        list::{Lister, Names},
        meta::{Kind, Meta},
        pool::{Job, Queue},
        root::RelPath,
        scan::{Scratch, Seen, Walked, scan},
    },
    CopyReport, Extra, Mirror,
    content::Stop,
    links::{Elsewhere, LinkedName},
};

/// What one worker did, and what it leaves for the end.
#[derive(Default)]
pub(super) struct Found {
    scratch: Scratch,
    lister: Lister,
    pub(super) report: CopyReport,
    pub(super) linked: Vec<LinkedName>,
    pub(super) dirs: Vec<RelPath>,
}

impl Found {
    pub(super) fn merge(&mut self, other: Self) {
        let (sum, part) = (&mut self.report, other.report);
        sum.entries += part.entries;
        sum.files_copied += part.files_copied;
        sum.bytes_copied += part.bytes_copied;
        sum.attributes_set += part.attributes_set;
        sum.vanished += part.vanished;
        sum.changed_meanwhile += part.changed_meanwhile;
        sum.extras += part.extras;
        sum.mounts += part.mounts;
        self.linked.extend(other.linked);
        self.dirs.extend(other.dirs);
    }
}

/// The same directory on both sides.
pub(super) struct Pair<'a> {
    pub(super) path: &'a RelPath,
    pub(super) src: BorrowedFd<'a>,
    pub(super) dst: BorrowedFd<'a>,
}

impl Job for Mirror<'_> {
    type Task = RelPath;
    type Local = Found;

    fn run(
        &self,
        path: RelPath,
        found: &mut Found,
        queue: &Queue<RelPath>,
    ) -> Result<(), TreeError> {
        let dst = match self.dst.open_dir(&path) {
            Ok(fd) => fd,
            Err(e) => {
                self.entry_failed(&path, c"", e)?;
                return Ok(());
            }
        };
        let mut before = Names::default();
        found
            .lister
            .read(dst.as_fd(), &mut before)
            .map_err(|e| TreeError::io("reading the directory", &path, e))?;
        let mut scratch = std::mem::take(&mut found.scratch);
        let mut alive: HashSet<Box<[u8]>> = HashSet::new();
        let mut below = Vec::new();
        let walked = scan(
            self.src,
            &path,
            &mut scratch,
            &self.meter,
            |src, name, seen| {
                if self.dst.excludes(&path, name.to_bytes()) {
                    return Ok(());
                }
                alive.insert(name.to_bytes().into());
                match seen {
                    Seen::Entry(meta) => {
                        found.report.entries += 1;
                        let pair = Pair {
                            path: &path,
                            src,
                            dst: dst.as_fd(),
                        };
                        self.entry(&pair, name, meta, found, &mut below)
                    }
                    Seen::Mount => {
                        found.report.mounts += 1;
                        Ok(())
                    }
                    Seen::Failed(e) => self.entry_failed(&path, name, e),
                }
            },
        )?;
        found.scratch = scratch;
        if walked != Walked::Whole {
            return self.vanished(&path, c"", found);
        }
        for name in before.iter() {
            let bytes = name.to_bytes();
            let left_out = self.dst.excludes(&path, bytes) || self.src.excludes(&path, bytes);
            if !left_out && !alive.contains(bytes) {
                if self.is_mount_to_keep(dst.as_fd(), name) {
                    found.report.mounts += 1;
                    continue;
                }
                self.put_away(&path, dst.as_fd(), name, found)?;
            }
        }
        found.dirs.push(path);
        queue.push(below);
        Ok(())
    }
}

/// What the kernel says of an entry that is of another kind by now than it was when it was looked
/// at: a folder that is a link or a file, a file that is a link or a socket, a link that is none.
fn is_other(error: Errno) -> bool {
    matches!(
        error,
        Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::ISDIR | Errno::INVAL
    )
}

impl Mirror<'_> {
    /// One entry of the source.
    fn entry(
        &self,
        pair: &Pair<'_>,
        name: &CStr,
        meta: &Meta,
        found: &mut Found,
        below: &mut Vec<RelPath>,
    ) -> Result<(), TreeError> {
        if meta.is_linked() {
            found.linked.push(LinkedName {
                inode: (meta.dev, meta.ino),
                dir: pair.path.clone(),
                name: name.into(),
            });
            return Ok(());
        }
        let result = match meta.kind() {
            Kind::Dir => self.dir_entry(pair, name, found).map(|()| {
                below.push(join(pair.path, name.to_bytes()).into());
            }),
            _ => self.sync_entry(pair, name, meta, Elsewhere(false), found),
        };
        self.settle(pair.path, name, result, found)
    }

    /// Sorts what became of an entry into normal, a problem, or the end.
    pub(super) fn settle(
        &self,
        dir: &[u8],
        name: &CStr,
        result: Result<(), Stop>,
        found: &mut Found,
    ) -> Result<(), TreeError> {
        match result {
            Ok(()) => Ok(()),
            Err(Stop::Work(error)) => Err(error),
            Err(Stop::Entry(Errno::NOENT)) => self.vanished(dir, name, found),
            // Something else has its name by now; the next pass sees what.
            Err(Stop::Entry(error)) if self.live && is_other(error) => {
                self.vanished(dir, name, found)
            }
            Err(Stop::Entry(error)) => self.entry_failed(dir, name, error),
        }
    }

    fn vanished(&self, dir: &[u8], name: &CStr, found: &mut Found) -> Result<(), TreeError> {
        found.report.vanished += 1;
        if !self.live {
            self.problem(|| {
                let path = show_in(dir, name.to_bytes());
                format!("{path}: it vanished, although nobody should write to the tree")
            });
        }
        Ok(())
    }

    /// A restore leaves mounts of the tree alone: a copy has none of them, since none was entered.
    fn is_mount_to_keep(&self, dst: BorrowedFd<'_>, name: &CStr) -> bool {
        matches!(self.extra, Extra::Aside(_))
            && Meta::at(dst, name).is_ok_and(|meta| !meta.same_mount(self.dst.meta()))
    }

    /// Notes a problem; a full or broken file system ends the work, the rest would fail likewise.
    pub(super) fn entry_failed(
        &self,
        dir: &[u8],
        name: &CStr,
        error: Errno,
    ) -> Result<(), TreeError> {
        if matches!(error, Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::IO) {
            return Err(TreeError::io("write", &join(dir, name.to_bytes()), error));
        }
        self.problem(|| format!("{}: {error}", show_in(dir, name.to_bytes())));
        Ok(())
    }

    /// Sees to it that a directory is there; its owner, mode and times come when it is full.
    fn dir_entry(&self, pair: &Pair<'_>, name: &CStr, found: &mut Found) -> Result<(), Stop> {
        match Meta::at(pair.dst, name) {
            Ok(meta) if !meta.same_mount(self.dst.meta()) => return Err(Errno::XDEV.into()),
            Ok(meta) if meta.kind() == Kind::Dir => return Ok(()),
            Ok(_) => self.put_away(pair.path, pair.dst, name, found)?,
            Err(Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(mkdirat(pair.dst, name, Mode::RWXU)?)
    }

    /// Gives all directories their owners, modes, extended attributes and times, the root last.
    pub(super) fn finish_dirs(&self, found: &mut Found) -> Result<(), TreeError> {
        let mut dirs = std::mem::take(&mut found.dirs);
        dirs.sort_by(|a, b| b.cmp(a));
        for path in dirs {
            let both = || -> Result<(OwnedFd, OwnedFd), Errno> {
                Ok((self.src.open_dir(&path)?, self.dst.open_dir(&path)?))
            };
            let result = both().and_then(|(src, dst)| {
                let (want, have) = (Meta::of(&src)?, Meta::of(&dst)?);
                self.sync_attributes(src.as_fd(), dst.as_fd(), &want, &have)
            });
            match result {
                Ok(true) => found.report.attributes_set += 1,
                Ok(false) => {}
                Err(e) => self.settle(&path, c"", Err(Stop::Entry(e)), found)?,
            }
        }
        Ok(())
    }
}
