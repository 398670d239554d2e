//! A tree of another machine is made here: entries as they are there, and of their content what is not here yet.
//!
//! The manifest of the passes before says which files are here: those that have the same inode, size and times there as when they
//! were received. Clocks of two machines cannot be compared, so a file that no manifest knows is sent again only where its hash is
//! another one. Each file is received with the hash that the other side took while it read, and is refused where the bytes that
//! came have another. The new manifest is by what the whole is proven at the end, from this disk.
//!
//! Threat model: the other side is who its certificate says, and may have been taken over. What it sends makes entries in this tree
//! and nowhere else: directories are entered in the order that this side has learnt their names in, every name is looked at, each
//! entry is made under an open directory, and no link is followed. Devices are never made. What it sends too much of ends the pull.
//!
//! Rejected: a stream of an archive (nothing of it can be left out, or taken up again); comparing blocks of large files (most of a
//! server's data is never changed once it is written).

mod confirm;
mod dir;
mod file;
mod read_back;
mod told;

use std::{
    collections::{HashMap, HashSet},
    ffi::{CStr, CString},
};

use ferry_proto::v1::{Failure, FilePiece, ReadFilesRequest, TreePart};
use rustix::io::Errno;

pub use confirm::confirm;
#[doc(hidden)]
pub use told::fuzzed;

use super::{
    ManifestFolder, Pass, Problems, Root, TreeError, Watch,
    error::{join, show, show_in},
    manifest::{Entry, Keeper, Tally},
    mirror::Limiter,
    progress::Meter,
    root::RelPath,
    space::{self, Room},
    temporary::Temporary,
};
use read_back::Written;

/// Where a tree is pulled from. Calls wait for the other side.
pub trait Source {
    /// Begins a list of the whole tree.
    ///
    /// # Errors
    /// [`PullError::Source`].
    fn list(&mut self) -> Result<(), PullError>;

    /// The next part of that list; `None` at its end.
    ///
    /// # Errors
    /// [`PullError::Source`].
    fn next_part(&mut self) -> Result<Option<TreePart>, PullError>;

    /// Begins to read files.
    ///
    /// # Errors
    /// [`PullError::Source`].
    fn read(&mut self, request: ReadFilesRequest) -> Result<(), PullError>;

    /// The next piece of what is read; `None` at its end.
    ///
    /// # Errors
    /// [`PullError::Source`].
    fn next_piece(&mut self) -> Result<Option<FilePiece>, PullError>;
}

/// Why a pull ended early. What has been received stays, and is not sent again.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The tree on this side.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The other side refuses, or cannot be asked any more.
    #[error("{0}")]
    Source(Failure),
    /// The other side sent what no agent of this release sends. Nothing was made of it.
    #[error("what the other side sent of `{path}` is refused: {what}")]
    Unsound {
        /// Where, below the root.
        path: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The bytes that came are not those that were read there. They were thrown away.
    #[error("`{path}` did not arrive as it was read: its hash is another one")]
    Corrupt {
        /// Which file, below the root.
        path: String,
    },
}

impl PullError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Tree(error) => error.code(),
            Self::Source(failure) => &failure.code,
            Self::Unsound { .. } => "pull-unsound",
            Self::Corrupt { .. } => "pull-corrupt",
        }
    }

    /// What the operator may do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Tree(error) => error.hint(),
            Self::Source(failure) if !failure.hint.is_empty() => Some(&failure.hint),
            Self::Source(_) => Some("pull again: what is here is not sent again"),
            Self::Unsound { .. } => {
                Some("use the same release on both sides; find out who answers there")
            }
            Self::Corrupt { .. } => Some(
                "pull again; if it happens again look at memory and disk of both machines (`dmesg`)",
            ),
        }
    }
}

/// How a tree is pulled.
#[derive(Debug, Clone, Copy)]
pub struct PullOptions<'a> {
    /// Whether the source is in use.
    pub pass: Pass,
    /// Upper bound of bytes of content received a second.
    pub bytes_per_second: Option<u64>,
    /// Where manifests lie; outside the tree or below its state folder.
    pub manifest: &'a ManifestFolder,
    /// Reads back what it writes, for who does not prove the whole afterwards.
    pub read_back: bool,
}

/// What a pull took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullReport {
    /// Entries of the source, the root included.
    pub entries: u64,
    /// Files whose content was received.
    pub files_received: u64,
    /// Bytes of content received.
    pub bytes_received: u64,
    /// Files that a manifest knew to be here.
    pub files_known: u64,
    /// Files that were here by their hash.
    pub files_same: u64,
    /// Entries that were given other attributes without their content.
    pub attributes_set: u64,
    /// Entries of the source that vanished meanwhile.
    pub vanished: u64,
    /// Files of the source that changed while they were read; the next pass receives them again.
    pub changed_meanwhile: u64,
    /// Entries removed here because the source does not have them; a folder counts as one.
    pub extras: u64,
    /// BLAKE3 of the manifest, in hexadecimal.
    pub manifest: String,
}

/// The first name of an inode that has several.
struct First {
    dir: RelPath,
    name: CString,
    entry: Entry,
}

type Inode = (u64, u64);

/// One pull.
struct Pull<'a> {
    dst: &'a Root,
    meter: Meter<'a>,
    live: bool,
    read_back: bool,
    /// What is to be read back.
    written: Vec<Written>,
    limiter: Option<Limiter>,
    keeper: Keeper<'a>,
    room: Room,
    tally: Tally,
    report: PullReport,
    problems: Problems,
    /// Directories whose names were told, and that are not told themselves yet.
    expected: HashSet<RelPath>,
    first: HashMap<Inode, First>,
    /// Which inode of the source a local one with several names stands for.
    claimed: HashMap<u64, Inode>,
    temporary: Temporary,
    buffer: Vec<u8>,
}

impl Pull<'_> {
    fn problem(&mut self, dir: &[u8], name: &CStr, what: &str) {
        let path = || format!("{}: {}", show_in(dir, name.to_bytes()), fit_to_show(what));
        self.problems.add(path);
    }

    /// Notes a problem; a full or broken file system ends the work.
    fn failed(&mut self, dir: &[u8], name: &CStr, error: Errno) -> Result<(), TreeError> {
        if matches!(error, Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::IO) {
            let path = join(dir, name.to_bytes());
            return Err(match error {
                Errno::NOSPC | Errno::DQUOT => space::full(self.dst, &path, error),
                _ => TreeError::io("write", &path, error),
            });
        }
        self.problem(dir, name, &error.to_string());
        Ok(())
    }

    fn vanished(&mut self, dir: &[u8], name: &CStr) {
        self.report.vanished += 1;
        if !self.live {
            self.problem(
                dir,
                name,
                "it vanished, although nobody should write to the tree",
            );
        }
    }

    fn run(mut self, source: &mut dyn Source) -> Result<PullReport, PullError> {
        source.list()?;
        self.expected.insert(RelPath::from([]));
        let mut open: Option<dir::Open> = None;
        while let Some(part) = source.next_part()? {
            let mut dir = match open.take() {
                None => self.enter(&part.dir)?,
                Some(dir) if *dir.path == *part.dir => dir,
                Some(dir) => return Err(unsound(&dir.path, c"", "its last part is missing")),
            };
            if part.gone {
                self.gone(dir)?;
                continue;
            }
            self.part(&mut dir, part.entries, source)?;
            match part.own {
                Some(own) => self.finish(dir, own)?,
                None => open = Some(dir),
            }
        }
        if open.is_some() || !self.expected.is_empty() {
            return Err(unsound(b"", c"", "the list ends too early"));
        }
        rustix::fs::syncfs(self.dst).map_err(|e| TreeError::io("sync", b"", e))?;
        if !self.problems.is_empty() {
            return Err(TreeError::Entries {
                action: "pull",
                problems: self.problems,
            }
            .into());
        }
        self.read_back()?;
        self.keeper.hand_on(&mut self.tally, false)?;
        self.report.manifest = self.keeper.finish()?;
        Ok(self.report)
    }
}

/// A reason is often the other side's own words, and goes to a terminal.
fn fit_to_show(what: &str) -> String {
    let short: String = what.chars().take(200).collect();
    show(short.as_bytes())
}

fn unsound(dir: &[u8], name: &CStr, what: &'static str) -> PullError {
    PullError::Unsound {
        path: show_in(dir, name.to_bytes()),
        what,
    }
}

/// Makes `dst` what the tree of `source` is: content, owners, modes, times, extended attributes, hard links and holes. What the
/// source does not have (any more) is removed. Synced when it returns.
///
/// # Errors
/// [`PullError`]. Entries that cannot be carried (devices, other file systems) are in [`TreeError::Entries`].
pub fn pull(
    source: &mut dyn Source,
    dst: &Root,
    options: &PullOptions<'_>,
    watch: &Watch<'_>,
) -> Result<PullReport, PullError> {
    let pull = Pull {
        dst,
        meter: Meter::new(watch),
        live: options.pass == Pass::Live,
        read_back: options.read_back,
        written: Vec::new(),
        limiter: options.bytes_per_second.map(Limiter::new),
        keeper: Keeper::begin(options.manifest, options.pass)?,
        room: Room::of(dst)?,
        tally: Tally::default(),
        report: PullReport::default(),
        problems: Problems::default(),
        expected: HashSet::new(),
        first: HashMap::new(),
        claimed: HashMap::new(),
        temporary: Temporary::new(),
        buffer: Vec::new(),
    };
    pull.run(source)
}
