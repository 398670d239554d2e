//! The proof of a copy: every entry and every byte against the manifest, without the source.

use std::{
    collections::HashMap,
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{fs::readlinkat, io::Errno};

use super::{
    super::{
        Problems, Root, Threads, TreeError, Watch, attrs,
        error::{join, show_in},
        meta::{Kind, Meta},
        mirror::{Limiter, Stop, forget, hash_of, open_source},
        pool::{self, Job, Queue},
        progress::Meter,
        root::RelPath,
        scan::{Scratch, Seen, scan_open},
    },
    Digest, Entry, Manifest, What, digest_of_attributes,
};

/// How a copy is proven.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProveOptions {
    /// Workers.
    pub threads: Threads,
    /// Upper bound of bytes read a second, beside a busy server.
    pub bytes_per_second: Option<u64>,
    /// Reads no content: all that was written has been read back before.
    pub looks_only: bool,
}

/// How far a copy is what its manifest says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProveReport {
    /// Entries looked at, the root included.
    pub entries: u64,
    /// Files whose content was read.
    pub files: u64,
    /// Bytes of content that were read.
    pub bytes: u64,
    /// Differences: one entry may have several.
    pub differences: Problems,
}

impl ProveReport {
    /// Nothing differs.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.differences.is_empty()
    }
}

type Inode = (u64, u64);

#[derive(Default)]
struct Local {
    scratch: Scratch,
    buffer: Vec<u8>,
    report: ProveReport,
    /// Files with several names: the source's inode, the copy's, and where.
    shared: Vec<(Inode, Inode, String)>,
}

struct Proof<'a> {
    copy: &'a Root,
    manifest: &'a Manifest,
    looks_only: bool,
    limiter: Option<Limiter>,
    meter: Meter<'a>,
}

enum Task {
    Dir(RelPath),
    /// A file that is worth a worker of its own.
    File(Box<LargeFile>),
}

struct LargeFile {
    dir: RelPath,
    name: Box<CStr>,
    size: u64,
    digest: Digest,
}

/// Files from this size on are read as tasks of their own, so that a folder of large files keeps
/// all workers busy.
const LARGE: u64 = 4 << 20;

impl Job for Proof<'_> {
    type Task = Task;
    type Local = Local;

    fn run(&self, task: Task, local: &mut Local, queue: &Queue<Task>) -> Result<(), TreeError> {
        match task {
            Task::Dir(dir) => self.dir(&dir, local, queue),
            Task::File(file) => {
                let LargeFile {
                    dir,
                    name,
                    size,
                    digest,
                } = *file;
                let result = match self.copy.open_dir(&dir) {
                    Ok(fd) => self.content(fd.as_fd(), &name, (size, &digest), local),
                    Err(e) => Err(e.into()),
                };
                note(&dir, &name, result, local)
            }
        }
    }
}

/// Puts down what is wrong with an entry; ends the work where it must end.
fn note(
    dir: &RelPath,
    name: &CStr,
    result: Result<Option<&'static str>, Stop>,
    local: &mut Local,
) -> Result<(), TreeError> {
    let path = || show_in(dir, name.to_bytes());
    let differences = &mut local.report.differences;
    match result {
        Ok(None) => {}
        Ok(Some(what)) => differences.add(|| format!("{}: {what}", path())),
        Err(Stop::Work(error)) => return Err(error),
        Err(Stop::Entry(e)) => differences.add(|| format!("{}: {e}", path())),
    }
    Ok(())
}

impl Proof<'_> {
    fn dir(&self, dir: &RelPath, local: &mut Local, queue: &Queue<Task>) -> Result<(), TreeError> {
        let mut part = match self.manifest.part(dir)? {
            Some(part) if part.own.is_some() => part,
            _ => return note(dir, c"", Ok(Some("the manifest does not have it")), local),
        };
        let fd = match self.copy.open_dir(dir) {
            Ok(fd) => fd,
            Err(e) => return note(dir, c"", Err(e.into()), local),
        };
        local.report.entries += 1;
        let stat = Meta::of(&fd).map_err(|e| TreeError::io("stat", dir, e))?;
        if let Some(own) = &part.own {
            looks(dir, c"", own, &stat, local);
            let attributes = attrs::all_of_open(&fd).map(|all| digest_of_attributes(&all));
            note(dir, c"", differs(own, attributes), local)?;
        }
        let names = std::mem::take(&mut part.names);
        let mut expected: HashMap<&CStr, Option<Entry>> = names
            .iter()
            .zip(std::mem::take(&mut part.entries))
            .collect();
        let mut scratch = std::mem::take(&mut local.scratch);
        let mut tasks = Vec::new();
        let open = (dir, fd.as_fd());
        scan_open(
            self.copy,
            open,
            &mut scratch,
            &self.meter,
            |fd, name, seen| {
                let meta = match seen {
                    Seen::Entry(meta) => meta,
                    Seen::Mount => return note(dir, name, Ok(Some("a mount")), local),
                    Seen::Failed(e) => return note(dir, name, Err(e.into()), local),
                };
                match expected.remove(name) {
                    None => note(dir, name, Ok(Some("not in the manifest")), local),
                    Some(None) if meta.kind() == Kind::Dir => {
                        tasks.push(Task::Dir(join(dir, name.to_bytes()).into()));
                        Ok(())
                    }
                    Some(Some(entry)) if entry.kind() == meta.kind() => {
                        local.report.entries += 1;
                        self.entry((dir, fd), name, (&entry, meta), local, &mut tasks)
                    }
                    Some(_) => {
                        local.report.entries += 1;
                        let word = meta.kind().word();
                        let path = || show_in(dir, name.to_bytes());
                        let differences = &mut local.report.differences;
                        differences.add(|| format!("{}: now a {word}", path()));
                        Ok(())
                    }
                }
            },
        )?;
        local.scratch = scratch;
        let mut missing: Vec<_> = expected.into_keys().collect();
        missing.sort_unstable();
        for name in missing {
            note(dir, name, Ok(Some("missing in the copy")), local)?;
        }
        queue.push(tasks);
        Ok(())
    }

    fn entry(
        &self,
        (dir, fd): (&RelPath, BorrowedFd<'_>),
        name: &CStr,
        (entry, meta): (&Entry, &Meta),
        local: &mut Local,
        tasks: &mut Vec<Task>,
    ) -> Result<(), TreeError> {
        looks(dir, name, entry, meta, local);
        let attributes =
            attrs::open_path(fd, name).and_then(|fd| Ok(digest_of_attributes(&attrs::all(fd)?)));
        note(dir, name, differs(entry, attributes), local)?;
        match &entry.what {
            What::File {
                size,
                digest,
                linked,
            } => {
                if let Some((dev, _)) = linked {
                    let path = show_in(dir, name.to_bytes());
                    let inodes = ((*dev, entry.source.ino), (meta.dev, meta.ino));
                    local.shared.push((inodes.0, inodes.1, path));
                } else if meta.nlink > 1 {
                    note(
                        dir,
                        name,
                        Ok(Some("shares its inode with other names")),
                        local,
                    )?;
                }
                if *size != meta.size {
                    return note(dir, name, Ok(Some("another size")), local);
                }
                if self.looks_only {
                    return Ok(());
                }
                if *size >= LARGE {
                    tasks.push(Task::File(Box::new(LargeFile {
                        dir: dir.clone(),
                        name: name.into(),
                        size: *size,
                        digest: *digest,
                    })));
                    return Ok(());
                }
                let result = self.content(fd, name, (*size, digest), local);
                note(dir, name, result, local)
            }
            What::Symlink(target) => {
                let result = match readlinkat(fd, name, Vec::new()) {
                    Ok(found) if *found.to_bytes() == **target => Ok(None),
                    Ok(_) => Ok(Some("another target")),
                    Err(e) => Err(e.into()),
                };
                note(dir, name, result, local)
            }
            What::Device(number) if *number != meta.rdev => {
                note(dir, name, Ok(Some("another device")), local)
            }
            What::Device(_) | What::Plain => Ok(()),
        }
    }

    fn content(
        &self,
        dir: BorrowedFd<'_>,
        name: &CStr,
        (size, digest): (u64, &Digest),
        local: &mut Local,
    ) -> Result<Option<&'static str>, Stop> {
        let fd = open_source(dir, name)?;
        // What memory has of it proves nothing of the disk.
        forget(fd.as_fd());
        let found = hash_of(fd.as_fd(), size, &mut local.buffer, &mut |bytes| {
            if let Some(limiter) = &self.limiter {
                limiter.wait(bytes, &self.meter)?;
            }
            self.meter.add(0, bytes)
        })?;
        local.report.files += 1;
        local.report.bytes += size;
        Ok((found != *digest).then_some("other content"))
    }
}

fn differs(
    entry: &Entry,
    attributes: Result<Option<Digest>, Errno>,
) -> Result<Option<&'static str>, Stop> {
    let same = attributes? == entry.attributes;
    Ok((!same).then_some("other extended attributes"))
}

/// What `statx` tells apart, beside the size.
fn looks(dir: &RelPath, name: &CStr, entry: &Entry, meta: &Meta, local: &mut Local) {
    let path = || show_in(dir, name.to_bytes());
    let differences = &mut local.report.differences;
    if entry.owner != meta.owner {
        differences.add(|| format!("{}: owner {}, not {}", path(), meta.owner, entry.owner));
    }
    if entry.mode != meta.mode && meta.kind() != Kind::Symlink {
        let (is, was) = (meta.bits(), entry.mode & 0o7777);
        differences.add(|| format!("{}: mode {is:o}, not {was:o}", path()));
    }
    if entry.mtime != meta.mtime {
        let (is, was) = (meta.mtime, entry.mtime);
        differences.add(|| {
            format!(
                "{}: modified at {}.{:09}, not {}.{:09}",
                path(),
                is.sec,
                is.nsec,
                was.sec,
                was.nsec
            )
        });
    }
}

/// Compares the tree `copy` with its manifest: kinds, owners, modes, times, extended attributes,
/// targets, hard links, and every byte. Changes nothing, and needs no source.
///
/// # Errors
/// [`TreeError::ManifestDamaged`], [`TreeError::Io`], [`TreeError::Cancelled`]; differences are in
/// the report.
pub fn prove(
    copy: &Root,
    manifest: &Manifest,
    options: &ProveOptions,
    watch: &Watch<'_>,
) -> Result<ProveReport, TreeError> {
    let job = Proof {
        copy,
        manifest,
        looks_only: options.looks_only,
        limiter: options.bytes_per_second.map(Limiter::new),
        meter: Meter::new(watch),
    };
    let queue = Queue::new();
    queue.push([Task::Dir(RelPath::from([]))]);
    let (mut report, mut shared) = (ProveReport::default(), Vec::new());
    for local in pool::run(&job, &queue, options.threads)? {
        report.entries += local.report.entries;
        report.files += local.report.files;
        report.bytes += local.report.bytes;
        report.differences.merge(local.report.differences);
        shared.extend(local.shared);
    }
    if report.differences.is_empty() && report.entries != manifest.entries() {
        // All that was reached is right: a directory is there that its parent does not name.
        let (named, met) = (manifest.entries(), report.entries);
        let differences = &mut report.differences;
        differences.add(|| format!("the manifest counts {named} entries, the copy has {met}"));
    }
    shared_alike(shared, &mut report.differences);
    Ok(report)
}

/// Names that shared an inode in the source must share one in the copy.
fn shared_alike(mut names: Vec<(Inode, Inode, String)>, differences: &mut Problems) {
    names.sort_by(|a, b| a.2.cmp(&b.2));
    let (mut there, mut back): (HashMap<Inode, Inode>, HashMap<Inode, Inode>) = Default::default();
    for (a, b, path) in names {
        let same = *there.entry(a).or_insert(b) == b && *back.entry(b).or_insert(a) == a;
        if !same {
            differences.add(|| format!("{path}: shares its inode with other names"));
        }
    }
}
