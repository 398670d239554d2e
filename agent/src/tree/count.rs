//! What a tree holds, before anything is done to it: the figures that checks and estimates rest on.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

use rustix::fs::StatVfsMountFlags;

use super::{
    Owner, Problems, Root, Threads, TreeError, Watch, attrs,
    error::{join, show_in},
    meta::{Kind, Meta},
    pool::{self, Job, Queue},
    progress::Meter,
    root::RelPath,
    scan::{Scratch, Seen, scan, sentence},
};

/// What a tree holds. The root itself is counted as a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreeStats {
    /// All entries.
    pub entries: u64,
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub dirs: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Fifos, sockets, devices.
    pub others: u64,
    /// Sum of the sizes of regular files; a file with several names counts once a name.
    pub bytes_apparent: u64,
    /// Sum of what is allocated on disk.
    pub bytes_allocated: u64,
    /// Entries by owner.
    pub by_owner: BTreeMap<Owner, u64>,
    /// Files that have names outside the tree as well: they cannot be given away safely.
    pub hard_links_outside: Problems,
    /// Mounts directly met below the root, and whether they are read-only. They are not entered.
    pub mounts_below: Vec<(PathBuf, bool)>,
    /// Entries with the immutable or append-only attribute: a change of owner will fail for them.
    pub immutable: Problems,
    /// Entries that could not be looked at.
    pub unreadable: Problems,
}

/// Names met so far of a file that has several.
#[derive(Default)]
pub(super) struct Links {
    met: HashMap<(u64, u64), (u32, u32, String)>,
}

impl Links {
    /// Notes one name of a regular file with several.
    pub(super) fn note(&mut self, meta: &Meta, path: impl FnOnce() -> String) {
        let entry = self.met.entry((meta.dev, meta.ino));
        entry.or_insert_with(|| (0, meta.nlink, path())).0 += 1;
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (inode, (met, links, path)) in other.met {
            self.met.entry(inode).or_insert_with(|| (0, links, path)).0 += met;
        }
    }

    /// Whether all names of the file were met.
    pub(super) fn all_inside(&self, inode: (u64, u64)) -> bool {
        self.met
            .get(&inode)
            .is_some_and(|(met, links, _)| met >= links)
    }

    /// The files with names elsewhere.
    pub(super) fn outside(&self) -> Problems {
        let mut paths: Vec<_> = self
            .met
            .values()
            .filter(|(met, links, _)| met < links)
            .collect();
        paths.sort_by(|a, b| a.2.cmp(&b.2));
        let mut problems = Problems::default();
        for (met, links, path) in paths {
            problems.add(|| format!("{path}: {met} of {links} names are in the tree"));
        }
        problems
    }
}

#[derive(Default)]
struct Local {
    scratch: Scratch,
    stats: TreeStats,
    links: Links,
}

impl Local {
    fn add(&mut self, dir: &[u8], name: &[u8], meta: &Meta) {
        let stats = &mut self.stats;
        stats.entries += 1;
        match meta.kind() {
            Kind::File => {
                stats.files += 1;
                stats.bytes_apparent += meta.size;
            }
            Kind::Dir => stats.dirs += 1,
            Kind::Symlink => stats.symlinks += 1,
            Kind::Fifo | Kind::Socket | Kind::Device => stats.others += 1,
        }
        stats.bytes_allocated += meta.allocated;
        *stats.by_owner.entry(meta.owner).or_default() += 1;
        if meta.immutable {
            stats.immutable.add(|| show_in(dir, name));
        }
        if meta.is_linked() {
            self.links.note(meta, || show_in(dir, name));
        }
    }
}

struct Count<'a> {
    root: &'a Root,
    meter: Meter<'a>,
}

impl Job for Count<'_> {
    type Task = RelPath;
    type Local = Local;

    fn run(
        &self,
        dir: RelPath,
        local: &mut Local,
        queue: &Queue<RelPath>,
    ) -> Result<(), TreeError> {
        let mut below: Vec<RelPath> = Vec::new();
        let mut scratch = std::mem::take(&mut local.scratch);
        scan(
            self.root,
            &dir,
            &mut scratch,
            &self.meter,
            |fd, name, seen| {
                match seen {
                    Seen::Entry(meta) => {
                        local.add(&dir, name.to_bytes(), meta);
                        if meta.kind() == Kind::Dir {
                            below.push(join(&dir, name.to_bytes()).into());
                        }
                    }
                    Seen::Mount => {
                        let read_only = attrs::open_path(fd, name)
                            .and_then(rustix::fs::fstatvfs)
                            .is_ok_and(|s| s.f_flag.contains(StatVfsMountFlags::RDONLY));
                        let path = Root::os_path(&join(&dir, name.to_bytes()));
                        local.stats.mounts_below.push((path, read_only));
                    }
                    Seen::Failed(e) => local.stats.unreadable.add(|| sentence(&dir, name, e)),
                }
                Ok(())
            },
        )?;
        local.scratch = scratch;
        queue.push(below);
        Ok(())
    }
}

/// Counts what the tree holds; changes nothing.
///
/// # Errors
/// [`TreeError::Io`], [`TreeError::Cancelled`].
pub fn count(root: &Root, watch: &Watch<'_>) -> Result<TreeStats, TreeError> {
    let job = Count {
        root,
        meter: Meter::new(watch),
    };
    let queue = Queue::new();
    queue.push([RelPath::from([])]);
    let locals = pool::run(&job, &queue, Threads::default())?;
    let mut all = Local::default();
    let meta = Meta::of(root).map_err(|e| TreeError::io("stat", b"", e))?;
    all.add(b"", b"", &meta);
    for local in locals {
        all.links.merge(local.links);
        let (sum, part) = (&mut all.stats, local.stats);
        sum.entries += part.entries;
        sum.files += part.files;
        sum.dirs += part.dirs;
        sum.symlinks += part.symlinks;
        sum.others += part.others;
        sum.bytes_apparent += part.bytes_apparent;
        sum.bytes_allocated += part.bytes_allocated;
        for (owner, count) in part.by_owner {
            *sum.by_owner.entry(owner).or_default() += count;
        }
        sum.mounts_below.extend(part.mounts_below);
        sum.immutable.merge(part.immutable);
        sum.unreadable.merge(part.unreadable);
    }
    all.stats.mounts_below.sort();
    all.stats.hard_links_outside = all.links.outside();
    Ok(all.stats)
}
