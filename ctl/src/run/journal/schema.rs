//! The tables, and how a store of another release is met.

use std::{os::unix::fs::DirBuilderExt as _, path::Path, time::Duration};

use fs_err::os::unix::fs::OpenOptionsExt as _;
use rusqlite::Connection;

use super::JournalError;
use crate::run::events::RunState;

/// The version of the tables that this release writes.
pub(super) const VERSION: i64 = 1;

/// The SQL condition for a run that locks its server.
pub(super) const OPEN: &str = "state NOT IN ('done', 'rolled-back')";

// The partial index is the lock on a server, kept by the database itself: whatever a program gets
// wrong, two open runs on one server cannot be stored.
const TABLES: &str = "
    CREATE TABLE runs (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        server_key TEXT NOT NULL,
        plan TEXT NOT NULL,
        state TEXT NOT NULL,
        backward INTEGER NOT NULL,
        created INTEGER NOT NULL,
        updated INTEGER NOT NULL,
        downtime_started INTEGER,
        downtime_ended INTEGER,
        progress TEXT
    ) STRICT;
    CREATE TABLE events (
        run TEXT NOT NULL REFERENCES runs (id),
        idx INTEGER NOT NULL,
        time INTEGER NOT NULL,
        event TEXT NOT NULL,
        PRIMARY KEY (run, idx)
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX one_open_run ON runs (server_key)
        WHERE state NOT IN ('done', 'rolled-back');
";

pub(super) fn open_database(folder: &Path) -> Result<Connection, JournalError> {
    let path = folder.join("ferry.db");
    let refused = |source| JournalError::Folder {
        folder: folder.to_owned(),
        source,
    };
    // Only what is made here gets the mode: a folder that somebody chose stays as it is.
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(refused)?;
    // The file is made before SQLite opens it, because its `-wal` and `-shm` take over its mode.
    fs_err::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(refused)?;
    let mut database = Connection::open(&path)?;
    database.busy_timeout(Duration::from_secs(10))?;
    database.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    database.pragma_update(None, "synchronous", "FULL")?;
    database.pragma_update(None, "foreign_keys", true)?;

    let tx = database.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let found: i64 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > VERSION {
        return Err(JournalError::Newer { path, found });
    }
    if found == 0 {
        tx.execute_batch(TABLES)?;
        tx.pragma_update(None, "user_version", VERSION)?;
    }
    tx.commit()?;
    Ok(database)
}

pub(super) fn state_word(state: RunState) -> &'static str {
    match state {
        RunState::Running => "running",
        RunState::RollingBack => "rolling-back",
        RunState::Done => "done",
        RunState::RolledBack => "rolled-back",
        RunState::Held => "held",
    }
}

pub(super) fn state_from_word(word: &str) -> Option<RunState> {
    Some(match word {
        "running" => RunState::Running,
        "rolling-back" => RunState::RollingBack,
        "done" => RunState::Done,
        "rolled-back" => RunState::RolledBack,
        "held" => RunState::Held,
        _ => return None,
    })
}
