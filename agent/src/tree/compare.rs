//! Whether two trees are the same: the proof of a copy, and of a rollback.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::{CStr, CString},
    os::fd::AsFd,
};

use rustix::fs::readlinkat;

use super::{
    Manifest, Problems, Root, Threads, TreeError, Watch, attrs,
    error::{join, show_in},
    manifest::Proven,
    meta::{Kind, Meta},
    mirror::{Stop, forget, open_source, same_bytes},
    pool::{self, Job, Queue},
    progress::Meter,
    root::RelPath,
    scan::{Scratch, Seen, Walked, scan},
};

/// What is compared beyond kind, owner, mode, size, mtime, link target, device and hard links.
#[derive(Debug, Clone, Copy)]
pub struct CompareOptions<'a> {
    /// Every byte of every file.
    pub content: bool,
    /// Extended attributes, ACLs and capabilities among them.
    pub xattrs: bool,
    /// What the second tree was when it was copied, where it is known not to be that any more: a file of the first that looks as it
    /// stands there is right, whatever has become of the second's.
    pub proven: Option<&'a Manifest>,
    /// Workers.
    pub threads: Threads,
}

impl Default for CompareOptions<'_> {
    fn default() -> Self {
        Self {
            content: false,
            xattrs: true,
            proven: None,
            threads: Threads::default(),
        }
    }
}

/// How far two trees are the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompareReport {
    /// Entries of both trees, each path once; the root included.
    pub entries: u64,
    /// Differences: one entry may have several.
    pub differences: Problems,
}

impl CompareReport {
    /// Nothing differs.
    pub fn is_same(&self) -> bool {
        self.differences.is_empty()
    }
}

type Inode = (u64, u64);

#[derive(Default)]
struct Local {
    scratch: Scratch,
    report: CompareReport,
    /// Files with several names on either side.
    shared: Vec<(Inode, Inode, String)>,
}

struct Compare<'a> {
    a: &'a Root,
    b: &'a Root,
    options: CompareOptions<'a>,
    meter: Meter<'a>,
}

impl Compare<'_> {
    /// All entries of a directory; `None` stands for a mount.
    fn list(
        &self,
        root: &Root,
        dir: &RelPath,
        scratch: &mut Scratch,
    ) -> Result<BTreeMap<CString, Option<Meta>>, TreeError> {
        let mut entries = BTreeMap::new();
        let walked = scan(root, dir, scratch, &self.meter, |_, name, seen| {
            // What either side leaves out is left out of both.
            if self.a.excludes(dir, name.to_bytes()) || self.b.excludes(dir, name.to_bytes()) {
                return Ok(());
            }
            let meta = match seen {
                Seen::Entry(meta) => Some(*meta),
                Seen::Mount => None,
                Seen::Failed(e) => {
                    return Err(TreeError::io("stat", &join(dir, name.to_bytes()), e));
                }
            };
            entries.insert(name.to_owned(), meta);
            Ok(())
        })?;
        // Not to be taken for an empty one: what is in its place is in nobody's list.
        if let Walked::Replaced(e) = walked {
            return Err(TreeError::io("open", dir, e));
        }
        Ok(entries)
    }

    fn entry(
        &self,
        dir: &RelPath,
        name: &CStr,
        (a, b): (&Meta, &Meta),
        proven: Option<&Proven>,
        local: &mut Local,
    ) -> Result<(), TreeError> {
        let file = proven.and_then(|it| it.file(name));
        let is_spared = file.is_some_and(|file| file.looks_like(a) && !file.looks_like(b));
        let as_copied = Meta {
            size: a.size,
            mtime: a.mtime,
            ..*b
        };
        let b = if is_spared { &as_copied } else { b };
        let path = || show_in(dir, name.to_bytes());
        let differences = &mut local.report.differences;
        if a.kind() != b.kind() {
            let (a, b) = (a.kind().word(), b.kind().word());
            differences.add(|| format!("{}: {a} and {b}", path()));
            return Ok(());
        }
        looks(path, (a, b), differences);
        if a.is_linked() || b.is_linked() {
            local.shared.push(((a.dev, a.ino), (b.dev, b.ino), path()));
        }
        let read = a.kind() == Kind::Symlink
            || self.options.xattrs
            || (self.options.content && a.kind() == Kind::File && a.size == b.size && !is_spared);
        if !read {
            return Ok(());
        }
        match self.inside(dir, name, a.kind(), a.size == b.size && !is_spared) {
            Ok(None) => Ok(()),
            Ok(Some(what)) => {
                differences.add(|| format!("{}: {what}", path()));
                Ok(())
            }
            Err(Stop::Work(error)) => Err(error),
            Err(Stop::Entry(e)) => {
                differences.add(|| format!("{}: {e}", path()));
                Ok(())
            }
        }
    }

    /// What only the entry itself tells: its target, extended attributes, bytes.
    fn inside(
        &self,
        dir: &RelPath,
        name: &CStr,
        kind: Kind,
        same_size: bool,
    ) -> Result<Option<&'static str>, Stop> {
        let (a, b) = (self.a.open_dir(dir)?, self.b.open_dir(dir)?);
        if kind == Kind::Symlink
            && readlinkat(&a, name, Vec::new())? != readlinkat(&b, name, Vec::new())?
        {
            return Ok(Some("another target"));
        }
        if self.options.xattrs {
            let attributes = |fd| attrs::all(attrs::open_path(fd, name)?);
            if attributes(a.as_fd())? != attributes(b.as_fd())? {
                return Ok(Some("other extended attributes"));
            }
        }
        if self.options.content && kind == Kind::File && same_size {
            let (a, b) = (open_source(a.as_fd(), name)?, open_source(b.as_fd(), name)?);
            for file in [&a, &b] {
                forget(file.as_fd());
            }
            if !same_bytes(a.as_fd(), b.as_fd(), &self.meter)? {
                return Ok(Some("other content"));
            }
        }
        Ok(None)
    }
}

/// What `statx` tells apart. The size of a directory is the file system's affair.
fn looks(path: impl Fn() -> String, (a, b): (&Meta, &Meta), differences: &mut Problems) {
    if a.owner != b.owner {
        differences.add(|| format!("{}: owner {} and {}", path(), a.owner, b.owner));
    }
    if a.mode != b.mode && a.kind() != Kind::Symlink {
        differences.add(|| format!("{}: mode {:o} and {:o}", path(), a.bits(), b.bits()));
    }
    if a.kind() != Kind::Dir && a.size != b.size {
        differences.add(|| format!("{}: size {} and {}", path(), a.size, b.size));
    }
    if a.mtime != b.mtime {
        let (x, y) = (a.mtime, b.mtime);
        let at = move || format!("{}.{:09} and {}.{:09}", x.sec, x.nsec, y.sec, y.nsec);
        differences.add(|| format!("{}: modified at {}", path(), at()));
    }
    if a.kind() == Kind::Device && a.rdev != b.rdev {
        differences.add(|| format!("{}: another device", path()));
    }
}

impl Job for Compare<'_> {
    type Task = RelPath;
    type Local = Local;

    fn run(
        &self,
        dir: RelPath,
        local: &mut Local,
        queue: &Queue<RelPath>,
    ) -> Result<(), TreeError> {
        let mut left = self.list(self.a, &dir, &mut local.scratch)?;
        let right = self.list(self.b, &dir, &mut local.scratch)?;
        let proven = self.options.proven.map(|it| Proven::of(it, &dir));
        let mut below: Vec<RelPath> = Vec::new();
        for (name, b) in right {
            local.report.entries += 1;
            match (left.remove(&name), b) {
                (Some(Some(a)), Some(b)) => {
                    if a.kind() == Kind::Dir && b.kind() == Kind::Dir {
                        below.push(join(&dir, name.to_bytes()).into());
                    }
                    self.entry(&dir, &name, (&a, &b), proven.as_ref(), local)?;
                }
                // Mounts are not part of a tree.
                (_, None) | (Some(None), _) => {}
                (None, Some(_)) => {
                    let path = || show_in(&dir, name.to_bytes());
                    local
                        .report
                        .differences
                        .add(|| format!("{}: only in the second", path()));
                }
            }
        }
        for (name, meta) in left {
            local.report.entries += 1;
            if meta.is_some() {
                let path = || show_in(&dir, name.to_bytes());
                local
                    .report
                    .differences
                    .add(|| format!("{}: only in the first", path()));
            }
        }
        queue.push(below);
        Ok(())
    }
}

/// Compares the trees `a` and `b`; changes nothing. ctime and atime are not compared.
///
/// # Errors
/// [`TreeError::Io`], [`TreeError::Cancelled`]; differences are in the report.
pub fn compare(
    a: &Root,
    b: &Root,
    options: &CompareOptions<'_>,
    watch: &Watch<'_>,
) -> Result<CompareReport, TreeError> {
    let job = Compare {
        a,
        b,
        options: *options,
        meter: Meter::new(watch),
    };
    let stat = |root: &Root| Meta::of(root).map_err(|e| TreeError::io("stat", b"", e));
    let mut all = Local::default();
    all.report.entries = 1;
    looks(
        || ".".to_owned(),
        (&stat(a)?, &stat(b)?),
        &mut all.report.differences,
    );
    if options.xattrs {
        let of = |root: &Root| attrs::all(root).map_err(|e| TreeError::io("listxattr", b"", e));
        if of(a)? != of(b)? {
            all.report
                .differences
                .add(|| ".: other extended attributes".to_owned());
        }
    }
    let queue = Queue::new();
    queue.push([RelPath::from([])]);
    for local in pool::run(&job, &queue, options.threads)? {
        all.report.entries += local.report.entries;
        all.report.differences.merge(local.report.differences);
        all.shared.extend(local.shared);
    }
    shared_alike(all.shared, &mut all.report.differences);
    Ok(all.report)
}

/// Names that share an inode on one side must share one on the other.
fn shared_alike(mut names: Vec<(Inode, Inode, String)>, differences: &mut Problems) {
    names.sort_by(|x, y| x.2.cmp(&y.2));
    let (mut there, mut back): (HashMap<Inode, Inode>, HashMap<Inode, Inode>) = Default::default();
    for (a, b, path) in names {
        let same = *there.entry(a).or_insert(b) == b && *back.entry(b).or_insert(a) == a;
        if !same {
            differences.add(|| format!("{path}: shares its inode with other names"));
        }
    }
}
