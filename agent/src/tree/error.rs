//! What can go wrong with a tree, as sentences for the operator.

use std::{fmt, io};

/// How many names a list of problems keeps; the count goes on beyond it.
const FIRST: usize = 20;

/// A bounded list of entries that something is wrong with: all are counted, the first are named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    /// How many there are.
    pub count: u64,
    /// The first of them, each with its reason where there is one.
    pub first: Vec<String>,
}

impl Problems {
    /// Adds one; the sentence is only made while the list still takes names.
    pub(super) fn add(&mut self, sentence: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < FIRST {
            self.first.push(sentence());
        }
    }

    /// Adds all of another list.
    pub(super) fn merge(&mut self, other: Self) {
        self.count += other.count;
        let room = FIRST - self.first.len().min(FIRST);
        self.first.extend(other.first.into_iter().take(room));
    }

    /// No problem at all.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first.join("; "))?;
        let more = self
            .count
            .saturating_sub(u64::try_from(self.first.len()).unwrap_or(u64::MAX));
        if more > 0 {
            write!(f, "; and {more} more")?;
        }
        Ok(())
    }
}

/// Why work on a tree ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The root could not be opened without following a link.
    #[error("the tree `{path}` cannot be opened: {source}")]
    Open {
        /// The root as it was asked for.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The root lies on another file system than the plan was made for.
    #[error(
        "the tree `{path}` lies on device {found}, and the plan was made for device {expected}"
    )]
    WrongDevice {
        /// The root as it was asked for.
        path: String,
        /// `st_dev` of the plan.
        expected: u64,
        /// `st_dev` found.
        found: u64,
    },
    /// One call failed that nothing can go on without.
    #[error("{action} failed for `{path}`: {source}")]
    Io {
        /// What was tried, as a noun.
        action: &'static str,
        /// Path below the root.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The caller asked to stop.
    #[error("the work on the tree was cancelled")]
    Cancelled,
    /// Some entries failed; all others were done, the root's own mark was not set.
    #[error("{action} failed for {} entries: {problems}", problems.count)]
    Entries {
        /// What was tried, as a noun.
        action: &'static str,
        /// Which entries, and why.
        problems: Problems,
    },
    /// Files of the tree have names outside it as well; those files were not touched.
    #[error(
        "{} files have hard links outside the tree and were left alone: {problems}", problems.count
    )]
    LinksOutside {
        /// The files, each with how many of its names were met.
        problems: Problems,
    },
    /// The file system of the copy is about to be full.
    #[error(
        "no room for `{path}`: it needs {needed} bytes, {free} are free, and {reserve} of them are \
         left for others"
    )]
    NoSpace {
        /// What was about to be written.
        path: String,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are never used.
        reserve: u64,
    },
    /// The file system of the copy is full.
    #[error("no room for `{path}`: {source}; {free} bytes and {inodes} inodes are free")]
    Full {
        /// What was about to be written.
        path: String,
        /// Bytes that are free.
        free: u64,
        /// Inodes that are free; 0 too where the file system does not count them.
        inodes: u64,
        /// What the system says.
        source: io::Error,
    },
    /// What was just written reads differently.
    #[error("`{path}` does not read as it was written: {what}")]
    CopyDiffers {
        /// Path below the root.
        path: String,
        /// In what it differs.
        what: &'static str,
    },
    /// What is to be brought back is not what was copied once.
    #[error("the backup's `{path}` is not what its manifest says; it was not brought back")]
    BackupDiffers {
        /// Path below the root.
        path: String,
    },
    /// A pass has no manifest, or has not finished it.
    #[error("there is no manifest `{path}`: the copy was not finished")]
    ManifestMissing {
        /// Where it should be.
        path: String,
    },
    /// The manifest cannot be believed.
    #[error("the manifest of the copy is damaged at byte {offset}: {reason}")]
    ManifestDamaged {
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// The manifest was written by another version.
    #[error("the manifest of the copy has format {found}, and this version reads format {known}")]
    ManifestVersion {
        /// Format in the file.
        found: u32,
        /// The format that is understood.
        known: u32,
    },
    /// Somebody asked for a name or path that can be none.
    #[error("a path or name was asked for that can be none of the tree")]
    Request,
    /// Entries that nobody can give away, root neither; they were left alone.
    #[error(
        "immutable or append-only entries were left alone, {} of them: {problems}", problems.count
    )]
    Immutable {
        /// The entries.
        problems: Problems,
    },
    /// The record of former owners cannot be believed.
    #[error("the record of former owners is damaged at byte {offset}: {reason}")]
    RecordDamaged {
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// The record was written by a newer version.
    #[error("the record of former owners has format {found}, and this version reads up to {known}")]
    RecordVersion {
        /// Format in the file.
        found: u32,
        /// Newest format that is understood.
        known: u32,
    },
    /// The record belongs to another transfer.
    #[error("the record of former owners was written for owner {recorded}, not for {wanted}")]
    RecordOfOther {
        /// `uid:gid` in the record.
        recorded: String,
        /// `uid:gid` asked for now.
        wanted: String,
    },
}

impl TreeError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Open { .. } => "tree-open",
            Self::WrongDevice { .. } => "tree-wrong-device",
            Self::Io { .. } => "tree-io",
            Self::Cancelled => "tree-cancelled",
            Self::Entries { .. } => "tree-entries-failed",
            Self::LinksOutside { .. } => "tree-links-outside",
            Self::NoSpace { .. } | Self::Full { .. } => "no-space",
            Self::CopyDiffers { .. } => "copy-differs",
            Self::BackupDiffers { .. } => "backup-differs",
            Self::ManifestMissing { .. } => "manifest-missing",
            Self::ManifestDamaged { .. } => "manifest-damaged",
            Self::ManifestVersion { .. } => "manifest-version",
            Self::Request => "tree-request",
            Self::Immutable { .. } => "tree-immutable",
            Self::RecordDamaged { .. } => "tree-record-damaged",
            Self::RecordVersion { .. } => "tree-record-version",
            Self::RecordOfOther { .. } => "tree-record-of-other",
        }
    }

    /// What the operator may do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::WrongDevice { .. } => Some("the volume was replaced or remounted: plan again"),
            Self::Entries { .. } => Some(
                "look for the immutable attribute (`lsattr`), a read-only mount or a full disk, \
                 then run the step again: what is right already is skipped",
            ),
            Self::LinksOutside { .. } => {
                Some("find the other names with `find -inum`, remove or copy them, and run again")
            }
            Self::NoSpace { .. } | Self::Full { .. } => Some(
                "make room there, or choose another place for the copy; what is copied already is \
                 not copied again",
            ),
            Self::CopyDiffers { .. } => Some(
                "look at the disk that it was written to (`dmesg`, `smartctl`), then try again",
            ),
            Self::BackupDiffers { .. } => Some(
                "`ferryctl backup verify` names all such files; look at the disk of the backup (`dmesg`, `smartctl`), and bring what is \
                 named from another backup of yours",
            ),
            Self::ManifestMissing { .. } | Self::ManifestDamaged { .. } => {
                Some("copy again: the pass writes a new manifest, and copies what changed only")
            }
            Self::ManifestVersion { .. } => {
                Some("use the release that made the copy, or copy again with this one")
            }
            Self::Immutable { .. } => Some(
                "take the attribute off with `chattr -i -a` (`lsattr -d` shows it), and run again",
            ),
            Self::RecordDamaged { .. } => {
                Some("nothing was changed from it; restore the owners from the backup instead")
            }
            Self::RecordVersion { .. } => Some("use the release of Ferry that began this run"),
            Self::RecordOfOther { .. } => {
                Some("`ferryctl rollback` first takes back what was recorded, then plan again")
            }
            _ => None,
        }
    }

    pub(super) fn io(action: &'static str, path: &[u8], source: impl Into<io::Error>) -> Self {
        Self::Io {
            action,
            path: show(path),
            source: source.into(),
        }
    }
}

/// A path for people: control characters and bytes that are not UTF-8 are escaped.
pub(super) fn show(path: &[u8]) -> String {
    if path.is_empty() {
        return ".".into();
    }
    match std::str::from_utf8(path) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => path.escape_ascii().to_string(),
    }
}

/// `dir` and `name` as one path for people.
pub(super) fn show_in(dir: &[u8], name: &[u8]) -> String {
    show(&join(dir, name))
}

/// `dir/name`, or the name alone at the root.
pub(super) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(dir.len() + 1 + name.len());
    path.extend_from_slice(dir);
    if !dir.is_empty() && !name.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}
