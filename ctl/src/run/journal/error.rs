//! What can be wrong with the journal, as sentences for the operator.

use std::path::PathBuf;

use super::schema::VERSION;
use crate::run::record::Illegal;

/// Why the journal does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The state folder cannot be used.
    #[error("the state folder `{}` cannot be used: {source}", folder.display())]
    Folder {
        /// Which folder.
        folder: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Written by a newer release.
    #[error(
        "the journal `{}` has version {found}, this release reads version {VERSION}",
        path.display()
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// What it says.
        found: i64,
    },
    /// It is no journal any more.
    #[error("the journal `{}` is damaged: {why}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// SQLite failed: the disk is full, the file is no database, …
    #[error("the journal cannot be read or written: {0}")]
    Database(#[from] rusqlite::Error),
    /// A value cannot be written or read as JSON.
    #[error("the journal holds something that is no JSON of ours: {0}")]
    Json(#[from] serde_json::Error),
    /// The plan is not the one that was made.
    #[error(transparent)]
    Plan(#[from] ferry_proto::PlanError),
    /// What is recorded cannot have happened.
    #[error("the journal of run {run} is damaged at event {index}: {why}")]
    Damaged {
        /// Which run.
        run: String,
        /// Which event, from 1; 0 for the run itself.
        index: u64,
        /// What cannot be.
        why: String,
    },
    /// An event was to be written that cannot follow what is there.
    #[error("an event cannot be added to the journal of run {run}: {source}")]
    Illegal {
        /// Which run.
        run: String,
        /// What cannot be.
        source: Illegal,
    },
    /// No run is called so.
    #[error("no run is called `{run}`")]
    NoSuchRun {
        /// What was asked for.
        run: String,
    },
    /// Several runs begin so.
    #[error("`{prefix}` is the beginning of several runs: {}", runs.join(", "))]
    AmbiguousRun {
        /// What was asked for.
        prefix: String,
        /// Which begin so.
        runs: Vec<String>,
    },
    /// A run on this server is not over.
    #[error("the server {server} is locked by run {run}, which is {state}")]
    ServerLocked {
        /// The server's key.
        server: String,
        /// The run that locks it.
        run: String,
        /// Where that run stands.
        state: &'static str,
    },
    /// A later run changed the server since.
    #[error("run {run} cannot be taken up again: run {newer} has changed its server since")]
    Superseded {
        /// The run that was to be taken up.
        run: String,
        /// The later one.
        newer: String,
    },
    /// Another `ferryctl` drives the run.
    #[error(
        "run {run} is driven by another ferryctl{}",
        pid.map_or_else(String::new, |pid| format!(", process {pid}"))
    )]
    RunDriven {
        /// Which run.
        run: String,
        /// The other's process id, when it could be read.
        pid: Option<u32>,
    },
    /// Work on the journal was given up because the program ends.
    #[error("the journal was not written: ferryctl is shutting down")]
    Closed,
}

/// What to do about a journal that cannot be believed.
const KEEP: &str = "nothing was done; keep `ferry.db`, `ferry.db-wal` and `ferry.db-shm` as they \
                    are, and put a sound copy in their place, or `ferryctl --state-dir OTHER check \
                    ADDRESS`: it tells which run has left its state on the server's data";

/// The file is no database, or its pages contradict one another; as opposed to a full disk.
fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
    )
}

impl JournalError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Folder { .. } => "state-folder",
            Self::Newer { .. } => "journal-newer",
            Self::Database(error) if is_damage(error) => "journal-damaged",
            Self::Database(_) | Self::Json(_) | Self::Closed => "journal-failed",
            Self::Plan(error) => error.code(),
            Self::Unreadable { .. } | Self::Damaged { .. } | Self::Illegal { .. } => {
                "journal-damaged"
            }
            Self::NoSuchRun { .. } => "no-such-run",
            Self::AmbiguousRun { .. } => "ambiguous-run",
            Self::ServerLocked { .. } => "server-locked",
            Self::Superseded { .. } => "run-superseded",
            Self::RunDriven { .. } => "run-driven",
        }
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Folder { .. } => Some("name another folder with `--state-dir`".into()),
            Self::Newer { .. } => {
                Some("use the ferryctl that wrote it, or another `--state-dir`".into())
            }
            Self::Unreadable { .. } | Self::Damaged { .. } | Self::Illegal { .. } => {
                Some(KEEP.into())
            }
            Self::Database(error) if is_damage(error) => Some(KEEP.into()),
            Self::NoSuchRun { .. } | Self::AmbiguousRun { .. } => {
                Some("`ferryctl runs` lists them".into())
            }
            Self::ServerLocked { run, .. } => Some(format!(
                "`ferryctl resume {run}` goes on with it, `ferryctl rollback {run}` takes it back"
            )),
            Self::Superseded { newer, .. } => Some(format!(
                "`ferryctl rollback {newer}` takes the later run back first"
            )),
            Self::RunDriven { run, .. } => {
                Some(format!("`ferryctl watch {run}` shows what it does"))
            }
            Self::Database(_) => Some(
                "see that the state folder can be written and has space; \
                 `ferryctl resume` then goes on with a run that was under way"
                    .into(),
            ),
            Self::Json(_) | Self::Plan(_) | Self::Closed => None,
        }
    }
}
