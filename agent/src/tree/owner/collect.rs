//! Finds what has another owner than wanted, and describes it for the record.
//!
//! Looking costs half as much as changing. A directory that has not changed since a manifest was written
//! holds the very inodes that the manifest names (a name that is made, removed or exchanged gives its
//! directory new times), so one look at the directory stands for a look at each of its plain files. What
//! may lose more than its owner, or lie outside the tree under another name, is looked at itself all the
//! same. Without a manifest every file is asked for its capability, which `chown` takes from a file that nobody may
//! execute as well: measured, that is twice what `statx` costs, 0.4 s for 100,000 files and one worker.
//! Where the file system has no attributes, one file is asked. What somebody does in between to a single file, its owner, its mode or a second name elsewhere, does
//! not show in its directory and would not be seen: there is nobody, the container has stopped. The step's
//! verification looks at every entry's owner.

use std::{
    ffi::CStr,
    mem,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::io::Errno;

use super::{
    super::{
        Root, TreeError, attrs,
        count::Links,
        error::{join, show_in},
        manifest::{self, Manifest},
        meta::{Kind, Meta},
        pool::Queue,
        progress::Meter,
        record::{Item, Part},
        root::RelPath,
        scan::{Scratch, Seen, Walked, has_owner, is_replaced, scan_open, sentence},
    },
    Owner,
    apply::Refused,
};

/// Entries described together: one sync serves thousands of changes. An eighth of it was measured
/// too, and gained nothing.
pub(super) const BULK: usize = 8192;
/// A huge directory is handed on in pieces of this size, so that its change does not wait for its
/// end and a second worker can help.
const PIECE: usize = 4096;

/// Entries of some directories that are to change.
#[derive(Default)]
pub(super) struct Bulk {
    pub(super) files: Vec<Part>,
    pub(super) dirs: Vec<Part>,
    pub(super) len: usize,
}

/// A name of a file that has several, and is to change.
pub(super) struct LinkedName {
    pub(super) dir: RelPath,
    pub(super) name: Box<CStr>,
    pub(super) inode: (u64, u64),
    pub(super) item: Item,
}

/// What is looked for, and by what help.
pub(super) struct Wanted<'a> {
    pub(super) root: &'a Root,
    pub(super) target: Owner,
    /// What the tree held a moment ago.
    pub(super) known: Option<&'a Manifest>,
    pub(super) meter: &'a Meter<'a>,
}

impl Wanted<'_> {
    /// All that the manifest says of the directory that is open as `fd`, where it still holds exactly that.
    fn unchanged(
        &self,
        dir: &RelPath,
        fd: BorrowedFd<'_>,
    ) -> Result<Option<manifest::Part>, TreeError> {
        // A part that cannot be read any more is no reason to fail: its directory is looked at instead.
        let part = self.known.and_then(|known| known.part(dir).ok().flatten());
        let Some(part) = part else { return Ok(None) };
        let meta = Meta::of(fd).map_err(|e| TreeError::io("stat", dir, e))?;
        let same = part.own.as_ref().is_some_and(|own| own.describes(&meta));
        Ok(same.then_some(part))
    }
}

/// One directory, while it is gone over.
struct Folder<'a> {
    dir: &'a RelPath,
    target: Owner,
    files: Part,
    dirs: Part,
    below: Vec<RelPath>,
}

impl<'a> Folder<'a> {
    fn new(dir: &'a RelPath, target: Owner) -> Self {
        Self {
            dir,
            target,
            files: Part::new(dir),
            dirs: Part::new(dir),
            below: Vec::new(),
        }
    }
}

/// What one worker found.
#[derive(Default)]
pub(super) struct Found {
    scratch: Scratch,
    pub(super) bulk: Bulk,
    pub(super) entries: u64,
    pub(super) right: u64,
    pub(super) skipped: u64,
    pub(super) mounts: u64,
    pub(super) refused: Refused,
    pub(super) links: Links,
    pub(super) linked: Vec<LinkedName>,
    pub(super) changed: u64,
    /// A device whose file system knows no extended attributes.
    no_attributes: Option<u64>,
}

impl Found {
    pub(super) fn merge(&mut self, other: Self) {
        self.entries += other.entries;
        self.right += other.right;
        self.skipped += other.skipped;
        self.mounts += other.mounts;
        self.refused.merge(other.refused);
        self.links.merge(other.links);
        self.linked.extend(other.linked);
        self.changed += other.changed;
    }

    /// Looks at one directory; `flush` takes the bulk when it is large enough.
    pub(super) fn collect<T>(
        &mut self,
        what: Wanted<'_>,
        dir: &RelPath,
        queue: &Queue<T>,
        task: impl Fn(RelPath) -> T,
        flush: impl Fn(Bulk) -> Result<(), TreeError>,
    ) -> Result<(), TreeError> {
        let fd = match what.root.open_dir(dir) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(()),
            Err(e) if is_replaced(e) => {
                self.refused.problems.add(|| sentence(dir, c"", e));
                return Ok(());
            }
            Err(e) => return Err(TreeError::io("open", dir, e)),
        };
        let mut folder = Folder::new(dir, what.target);
        match what.unchanged(dir, fd.as_fd())? {
            Some(known) => self.recall(&what, &known, fd.as_fd(), &mut folder, &flush)?,
            None => self.look(&what, fd.as_fd(), &mut folder, &flush)?,
        }
        queue.push(folder.below.into_iter().map(task));
        self.put(folder.files, Some(folder.dirs), &flush)
    }

    /// Takes the plain files from what a manifest says, and looks at the rest.
    fn recall(
        &mut self,
        what: &Wanted<'_>,
        known: &manifest::Part,
        fd: BorrowedFd<'_>,
        folder: &mut Folder<'_>,
        flush: &impl Fn(Bulk) -> Result<(), TreeError>,
    ) -> Result<(), TreeError> {
        for (name, entry) in known.names.iter().zip(&known.entries) {
            if what.root.excludes(folder.dir, name.to_bytes()) {
                continue;
            }
            match entry.as_ref().and_then(manifest::Entry::plain_file) {
                Some((_, owner)) if owner == what.target => {
                    self.entries += 1;
                    self.right += 1;
                }
                Some((mode, owner)) => {
                    self.entries += 1;
                    let item = Item {
                        mode,
                        owner,
                        linked: false,
                        capability: None,
                    };
                    self.take(folder, name, item, flush)?;
                }
                None => match Meta::at(fd, name) {
                    Ok(meta) if meta.same_mount(what.root.meta()) => {
                        self.note(folder, (fd, name), &meta, flush)?;
                    }
                    Ok(_) => self.mounts += 1,
                    Err(Errno::NOENT) => {}
                    Err(e) => self.refused.problems.add(|| sentence(folder.dir, name, e)),
                },
            }
        }
        let entries = u64::try_from(known.entries.len()).unwrap_or(u64::MAX);
        what.meter.add(entries, 0)
    }

    /// Looks at every entry.
    fn look(
        &mut self,
        what: &Wanted<'_>,
        fd: BorrowedFd<'_>,
        folder: &mut Folder<'_>,
        flush: &impl Fn(Bulk) -> Result<(), TreeError>,
    ) -> Result<(), TreeError> {
        let mut scratch = mem::take(&mut self.scratch);
        let dir = folder.dir;
        let walked = scan_open(
            what.root,
            (dir, fd),
            &mut scratch,
            what.meter,
            |fd, name, seen| match seen {
                Seen::Entry(meta) => self.note(folder, (fd, name), meta, flush),
                Seen::Mount => {
                    self.mounts += 1;
                    Ok(())
                }
                Seen::Failed(e) => {
                    self.refused.problems.add(|| sentence(dir, name, e));
                    Ok(())
                }
            },
        )?;
        self.scratch = scratch;
        if let Walked::Replaced(e) = walked {
            self.refused.problems.add(|| sentence(dir, c"", e));
        }
        Ok(())
    }

    /// Sorts one entry that was looked at.
    fn note(
        &mut self,
        folder: &mut Folder<'_>,
        (fd, name): (BorrowedFd<'_>, &CStr),
        meta: &Meta,
        flush: &impl Fn(Bulk) -> Result<(), TreeError>,
    ) -> Result<(), TreeError> {
        let dir = folder.dir;
        self.entries += 1;
        let kind = meta.kind();
        if kind == Kind::Dir {
            folder.below.push(join(dir, name.to_bytes()).into());
        }
        if meta.is_linked() {
            self.links.note(meta, || show_in(dir, name.to_bytes()));
        }
        if !has_owner(kind) {
            self.skipped += 1;
        } else if meta.owner == folder.target {
            self.right += 1;
        } else if meta.immutable {
            self.refused.immutable.add(|| show_in(dir, name.to_bytes()));
        } else if kind == Kind::Dir {
            folder.dirs.names.push(name);
            folder.dirs.items.push(plain(meta));
        } else {
            match self.describe(fd, name, meta) {
                Ok(item) => {
                    if item.linked {
                        self.linked.push(LinkedName {
                            dir: dir.clone(),
                            name: name.into(),
                            inode: (meta.dev, meta.ino),
                            item: item.clone(),
                        });
                    }
                    self.take(folder, name, item, flush)?;
                }
                Err(e) => self.refused.problems.add(|| sentence(dir, name, e)),
            }
        }
        Ok(())
    }

    /// What the record says of an entry, its capability included.
    fn describe(&mut self, dir: BorrowedFd<'_>, name: &CStr, meta: &Meta) -> Result<Item, Errno> {
        let mut item = plain(meta);
        if self.no_attributes != Some(meta.dev) {
            match attrs::get_at(dir, name, attrs::CAPABILITY) {
                Ok(capability) => item.capability = capability.map(Into::into),
                Err(Errno::NOTSUP) => self.no_attributes = Some(meta.dev),
                Err(e) => return Err(e),
            }
        }
        Ok(item)
    }

    /// Takes an entry that is to change.
    fn take(
        &mut self,
        folder: &mut Folder<'_>,
        name: &CStr,
        item: Item,
        flush: &impl Fn(Bulk) -> Result<(), TreeError>,
    ) -> Result<(), TreeError> {
        let files = &mut folder.files;
        if files.items.is_empty() {
            files.items.reserve(32);
        }
        files.names.push(name);
        files.items.push(item);
        if files.items.len() < PIECE {
            return Ok(());
        }
        let full = mem::replace(files, Part::new(folder.dir));
        self.put(full, None, flush)
    }

    fn put(
        &mut self,
        files: Part,
        dirs: Option<Part>,
        flush: impl Fn(Bulk) -> Result<(), TreeError>,
    ) -> Result<(), TreeError> {
        for (part, list) in [
            (Some(files), &mut self.bulk.files),
            (dirs, &mut self.bulk.dirs),
        ] {
            if let Some(part) = part.filter(|p| !p.items.is_empty()) {
                self.bulk.len += part.items.len();
                list.push(part);
            }
        }
        if self.bulk.len >= BULK {
            flush(mem::take(&mut self.bulk))
        } else {
            Ok(())
        }
    }
}

/// What the record says of an entry that loses nothing but its owner.
pub(super) fn plain(meta: &Meta) -> Item {
    Item {
        mode: meta.mode,
        owner: meta.owner,
        linked: meta.is_linked(),
        capability: None,
    }
}
