//! Makes one tree equal to another: the backup's copy, and its restore.
//!
//! The copy itself is the memory of what was copied. A file of the copy has the
//! source's size and mtime, and a ctime of when it was finished. A source whose ctime is older than
//! that has not changed since, whatever was done to its mtime. So a pass that was killed goes on
//! where it was, and the final pass costs two looks at each entry and a copy of what changed.
//! A file that changed while the live pass read it is marked by an impossible mtime, and copied
//! again by the next pass.
//!
//! A pass also writes a manifest where that is wanted, with the hash of what it copied. It reads
//! earlier ones for the hashes of what did not change. Whether something has changed is decided by
//! looking at both sides, so a lost or stale manifest costs time only.
//!
//! A clock that was put back between copy and change makes the source look older than its copy. The bytes
//! of both are compared where that can be: where the manifest has seen the source with another ctime, by whatever
//! clock, and where no manifest knows it and the copy's ctime is still to come. What a manifest knows is not read,
//! and without a jump neither is seen but of what a killed pass copied, whose hash has to be found anyway.
//!
//! The final pass is its own proof, because a second walk would double the downtime: it looks at
//! both sides of every entry, reads back from the disk every byte that it wrote, or that a killed one before it wrote, and looks at the
//! attributes that it set. What it found unchanged was read back before, by the proof of the live pass.
//!
//! Rejected: an index as the memory of what was copied (it can be lost, or disagree with the copy);
//! hard links into an older copy (they share the inode, hence the owner).
//!
//! Not seen: a store through a shared mapping into a page that was dirty already when the live pass read it. The kernel stamps a file at
//! the first store into a clean page, and not at the next ones until it has written the page back, nor at the program's end. No
//! program of PMM keeps what it must not lose by such stores; PostgreSQL, ClickHouse and VictoriaMetrics write by calls.
//! Neither is a change that kept size and mtime of a file that no manifest knows, under a clock that was put back
//! and has passed by the copy's time again.

mod content;
mod dir;
mod entry;
mod extra;
mod links;
mod read_back;

use std::sync::{Mutex, PoisonError, atomic::AtomicBool};

use rustix::io::Errno;

use super::{
    Manifest, ManifestFolder, Problems, Root, Threads, TreeError, Watch,
    manifest::Keeper,
    pool,
    pool::Queue,
    progress::Meter,
    root::RelPath,
    space::{self, Room},
    temporary::Temporary,
};
pub(super) use content::{
    BUFFER, Limiter, Stop, fill, forget, hash_of, room_for, same_bytes, seek_data,
};
pub(super) use entry::{STALE, is_recent, open_source, set_times, sync_attributes};

use dir::Found;
use read_back::{ReadBack, Written};

/// Which pass of a backup it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// The source is in use: what vanishes or changes meanwhile is normal.
    Live,
    /// Nobody writes to the source: a file that vanishes or changes makes the pass fail.
    Final,
}

/// How a copy is made.
#[derive(Debug, Clone, Copy)]
pub struct CopyOptions<'a> {
    /// Workers: by default those for writing in a live pass, and those for looking in a final one.
    pub threads: Threads,
    /// Whether the source is in use.
    pub pass: Pass,
    /// Upper bound of bytes of content a second, for a live pass beside a busy server.
    pub bytes_per_second: Option<u64>,
    /// Where the pass writes its manifest and reads earlier ones; outside both trees.
    pub manifest: Option<&'a ManifestFolder>,
}

impl CopyOptions<'_> {
    /// Defaults for the given pass.
    pub fn new(pass: Pass) -> Self {
        Self {
            threads: match pass {
                Pass::Live => Threads::WRITING,
                Pass::Final => Threads::LOOKING,
            },
            pass,
            bytes_per_second: None,
            manifest: None,
        }
    }
}

/// When a file of the tree counts as equal to that of the backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trust {
    /// Same size and mtime.
    #[default]
    Times,
    /// Same bytes.
    Bytes,
}

/// How a restore is made.
#[derive(Debug, Clone, Copy)]
pub struct RestoreOptions<'a> {
    /// Workers.
    pub threads: Threads,
    /// When a file is left as it is.
    pub trust: Trust,
    /// Takes what the backup does not have, and what it has otherwise (another kind of entry); an
    /// empty folder on the same mount, best below the state folder.
    pub aside: &'a Root,
    /// The backup's manifest: with [`Trust::Bytes`] the data is held against its hashes, and so is what is brought back. A file of the
    /// backup that is not what stands there ends the restore.
    pub manifest: Option<&'a Manifest>,
    /// Such a file does not end it: it is brought back as the backup has it, and named in the report. Data that is still what the
    /// manifest says is left alone.
    pub accept_damaged: bool,
}

impl<'a> RestoreOptions<'a> {
    /// Defaults, with the folder for what is moved aside.
    pub fn new(aside: &'a Root) -> Self {
        Self {
            threads: Threads::LOOKING,
            trust: Trust::default(),
            aside,
            manifest: None,
            accept_damaged: false,
        }
    }
}

/// What making a tree equal to another took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyReport {
    /// Entries of the source, the root included.
    pub entries: u64,
    /// Files whose content was written.
    pub files_copied: u64,
    /// Bytes of content written.
    pub bytes_copied: u64,
    /// Entries whose owner, mode, times or extended attributes were set without their content.
    pub attributes_set: u64,
    /// Entries of the source that vanished meanwhile.
    pub vanished: u64,
    /// Files of the source that changed while they were read; the next pass copies them again.
    pub changed_meanwhile: u64,
    /// Entries removed from the copy, or moved aside by a restore; a folder counts as one.
    pub extras: u64,
    /// Mounts met in the source, not entered.
    pub mounts: u64,
    /// Bytes of unchanged files that were read because no manifest knew their hash.
    pub bytes_hashed: u64,
    /// Files that were brought back although the backup's are not what its manifest says.
    pub damaged: Problems,
    /// BLAKE3 of the manifest, in hexadecimal, where one was written.
    pub manifest: Option<String>,
}

/// What happens to an entry that the source does not have.
#[derive(Clone, Copy)]
enum Extra<'a> {
    Remove,
    Aside(&'a Root),
}

/// When a file counts as unchanged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Same {
    /// Size and mtime agree, and the source's ctime is older than the copy's.
    SinceCopied,
    Times,
    Bytes,
}

/// One run: source, destination, and how.
struct Mirror<'a> {
    src: &'a Root,
    dst: &'a Root,
    meter: Meter<'a>,
    extra: Extra<'a>,
    same: Same,
    live: bool,
    limiter: Option<Limiter>,
    keeper: Option<Keeper<'a>>,
    /// What the source's files hash to, for a restore.
    proven: Option<&'a Manifest>,
    /// What is not that may be brought back all the same.
    accept_damaged: bool,
    /// Looked at before something is written; a restore takes what there is.
    room: Option<Room>,
    /// Cleared once the file systems have refused.
    can_clone: AtomicBool,
    can_copy_range: AtomicBool,
    temporary: Temporary,
    problems: Mutex<Problems>,
}

impl Mirror<'_> {
    fn problem(&self, sentence: impl FnOnce() -> String) {
        self.problems
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(sentence);
    }

    /// The error of a write that failed for good: a full file system is told as such.
    fn write_failed(&self, path: &[u8], error: Errno) -> TreeError {
        match error {
            Errno::NOSPC | Errno::DQUOT => space::full(self.dst, path, error),
            _ => TreeError::io("write", path, error),
        }
    }

    fn run(mut self, threads: Threads, action: &'static str) -> Result<CopyReport, TreeError> {
        let queue = Queue::new();
        queue.push([RelPath::from([])]);
        let mut found = Found::default();
        for mut local in pool::run(&self, &queue, threads)? {
            if let Some(keeper) = &self.keeper {
                keeper.hand_on(&mut local.tally, false)?;
            }
            found.merge(local);
        }
        self.sync_links(&mut found)?;
        self.finish_dirs(&mut found)?;
        rustix::fs::syncfs(self.dst).map_err(|e| self.write_failed(b"", e))?;
        let problems = std::mem::take(&mut self.problems)
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if !problems.is_empty() {
            return Err(TreeError::Entries { action, problems });
        }
        self.read_back(std::mem::take(&mut found.written), threads)?;
        if let Some(keeper) = self.keeper {
            keeper.hand_on(&mut found.tally, false)?;
            found.report.manifest = Some(keeper.finish()?);
        }
        Ok(CopyReport {
            entries: found.report.entries + 1,
            ..found.report
        })
    }
}

impl Mirror<'_> {
    /// Behind the sync.
    fn read_back(&self, written: Vec<Written>, threads: Threads) -> Result<(), TreeError> {
        let job = ReadBack {
            copy: self.dst,
            meter: &self.meter,
        };
        let queue = Queue::new();
        queue.push(written);
        pool::run(&job, &queue, threads).map(drop)
    }
}

/// Makes `dst` a copy of `src`: content, owners, modes, times, extended attributes, hard links and
/// holes. What `src` does not have (any more) is removed from `dst`. Synced when it returns.
///
/// # Errors
/// [`TreeError::Entries`], [`TreeError::NoSpace`], [`TreeError::CopyDiffers`], [`TreeError::Io`],
/// [`TreeError::Cancelled`].
pub fn copy(
    src: &Root,
    dst: &Root,
    options: &CopyOptions<'_>,
    watch: &Watch<'_>,
) -> Result<CopyReport, TreeError> {
    let mirror = Mirror {
        src,
        dst,
        meter: Meter::new(watch),
        extra: Extra::Remove,
        same: Same::SinceCopied,
        live: options.pass == Pass::Live,
        limiter: options.bytes_per_second.map(Limiter::new),
        keeper: match options.manifest {
            Some(folder) => Some(Keeper::begin(folder, options.pass)?),
            None => None,
        },
        proven: None,
        accept_damaged: false,
        room: Some(Room::of(dst)?),
        can_clone: AtomicBool::new(true),
        can_copy_range: AtomicBool::new(true),
        temporary: Temporary::new(),
        problems: Mutex::default(),
    };
    mirror.run(options.threads, "copy")
}

/// Makes `dst` equal to the backup `copy`, touching only what differs. Nothing that the backup does
/// not have is deleted: it is moved aside. Can be repeated, and taken up again after a kill.
///
/// It finds a bad file when it comes to it, and what the backup has lost it cannot know: prove the backup before.
///
/// # Errors
/// [`TreeError::BackupDiffers`], [`TreeError::Entries`], [`TreeError::NoSpace`], [`TreeError::Io`], [`TreeError::Cancelled`].
pub fn restore(
    copy: &Root,
    dst: &Root,
    options: &RestoreOptions<'_>,
    watch: &Watch<'_>,
) -> Result<CopyReport, TreeError> {
    let mirror = Mirror {
        src: copy,
        dst,
        meter: Meter::new(watch),
        extra: Extra::Aside(options.aside),
        same: match options.trust {
            Trust::Times => Same::Times,
            Trust::Bytes => Same::Bytes,
        },
        live: false,
        limiter: None,
        keeper: None,
        proven: options.manifest,
        accept_damaged: options.accept_damaged,
        room: None,
        can_clone: AtomicBool::new(true),
        can_copy_range: AtomicBool::new(true),
        temporary: Temporary::new(),
        problems: Mutex::default(),
    };
    mirror.run(options.threads, "restore")
}
