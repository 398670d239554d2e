//! Finds what has another owner than wanted, and describes it for the record.

use std::{ffi::CStr, mem, os::fd::BorrowedFd};

use rustix::io::Errno;

use super::{
    super::{
        Problems, Root, TreeError, attrs,
        count::Links,
        error::{join, show_in},
        meta::{Kind, Meta},
        pool::Queue,
        progress::Meter,
        record::{Item, Part},
        root::RelPath,
        scan::{Scratch, Seen, Walked, has_owner, scan, sentence},
    },
    Owner,
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

/// What one worker found.
#[derive(Default)]
pub(super) struct Found {
    scratch: Scratch,
    pub(super) bulk: Bulk,
    pub(super) entries: u64,
    pub(super) right: u64,
    pub(super) skipped: u64,
    pub(super) mounts: u64,
    pub(super) problems: Problems,
    /// Entries to change that the immutable or append-only attribute keeps from it.
    pub(super) immutable: Problems,
    pub(super) links: Links,
    pub(super) linked: Vec<LinkedName>,
    pub(super) changed: u64,
}

impl Found {
    pub(super) fn merge(&mut self, other: Self) {
        self.entries += other.entries;
        self.right += other.right;
        self.skipped += other.skipped;
        self.mounts += other.mounts;
        self.problems.merge(other.problems);
        self.immutable.merge(other.immutable);
        self.links.merge(other.links);
        self.linked.extend(other.linked);
        self.changed += other.changed;
    }

    /// Looks at one directory; `flush` takes the bulk when it is large enough.
    pub(super) fn collect<T>(
        &mut self,
        (root, target, meter): (&Root, Owner, &Meter<'_>),
        dir: &RelPath,
        queue: &Queue<T>,
        task: impl Fn(RelPath) -> T,
        flush: impl Fn(Bulk) -> Result<(), TreeError>,
    ) -> Result<(), TreeError> {
        let (mut files, mut dirs) = (Part::new(dir), Part::new(dir));
        let mut below = Vec::new();
        let mut scratch = mem::take(&mut self.scratch);
        let walked = scan(root, dir, &mut scratch, meter, |fd, name, seen| {
            let meta = match seen {
                Seen::Entry(meta) => meta,
                Seen::Mount => {
                    self.mounts += 1;
                    return Ok(());
                }
                Seen::Failed(e) => {
                    self.problems.add(|| sentence(dir, name, e));
                    return Ok(());
                }
            };
            self.entries += 1;
            let kind = meta.kind();
            if kind == Kind::Dir {
                below.push(task(join(dir, name.to_bytes()).into()));
            }
            if meta.is_linked() {
                self.links.note(meta, || show_in(dir, name.to_bytes()));
            }
            if !has_owner(kind) {
                self.skipped += 1;
            } else if meta.owner == target {
                self.right += 1;
            } else if meta.immutable {
                self.immutable.add(|| show_in(dir, name.to_bytes()));
            } else if kind == Kind::Dir {
                dirs.names.push(name);
                dirs.items.push(plain(meta));
            } else {
                match describe(fd, name, meta) {
                    Ok(item) => {
                        if item.linked {
                            self.linked.push(LinkedName {
                                dir: dir.clone(),
                                name: name.into(),
                                inode: (meta.dev, meta.ino),
                                item: item.clone(),
                            });
                        }
                        if files.items.is_empty() {
                            files.items.reserve(32);
                        }
                        files.names.push(name);
                        files.items.push(item);
                    }
                    Err(e) => self.problems.add(|| sentence(dir, name, e)),
                }
                if files.items.len() >= PIECE {
                    let full = mem::replace(&mut files, Part::new(dir));
                    self.put(full, None, &flush)?;
                }
            }
            Ok(())
        })?;
        self.scratch = scratch;
        if let Walked::Replaced(e) = walked {
            self.problems.add(|| sentence(dir, c"", e));
        }
        queue.push(below);
        self.put(files, Some(dirs), &flush)
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

/// What the record says of an entry, its capability included.
fn describe(dir: BorrowedFd<'_>, name: &CStr, meta: &Meta) -> Result<Item, Errno> {
    let mut item = plain(meta);
    if meta.may_lose_by_chown() {
        let fd = attrs::open_path(dir, name)?;
        item.capability = attrs::get(&fd, attrs::CAPABILITY)?.map(Into::into);
    }
    Ok(item)
}
