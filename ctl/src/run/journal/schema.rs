//! The tables, and how a store of another release is met.

use std::{os::unix::fs::DirBuilderExt as _, path::Path, time::Duration};

use fs_err::os::unix::fs::OpenOptionsExt as _;
use rusqlite::Connection;

use super::{JournalError, log};
use crate::run::events::RunState;

/// The version of the tables that this release writes.
///
/// 1: the first. 2: the text of an event begins with its checksum, and events that version 1 wrote are read without one; a run
/// may have a subject, and may be declared finished.
pub(super) const VERSION: i64 = 2;

/// The SQL condition for a run that locks its server.
pub(super) const OPEN: &str = "state NOT IN ('done', 'rolled-back', 'finished')";

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
        progress TEXT,
        -- How many events there are: keys have no checksum, and an event with another run's key would not be missed.
        events INTEGER,
        -- The run whose backup this one proves, restores or removes, or that it declares finished.
        subject TEXT
    ) STRICT;
    CREATE TABLE events (
        run TEXT NOT NULL REFERENCES runs (id),
        idx INTEGER NOT NULL,
        time INTEGER NOT NULL,
        event TEXT NOT NULL,
        PRIMARY KEY (run, idx)
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX one_open_run ON runs (server_key)
        WHERE state NOT IN ('done', 'rolled-back', 'finished');
";

/// From version 1: it knew neither runs about other runs, nor finished ones. Goes with release 1.0.
const FROM_1: &str = "
    ALTER TABLE runs ADD COLUMN events INTEGER;
    UPDATE runs SET events = (SELECT count(*) FROM events WHERE run = id);
    ALTER TABLE runs ADD COLUMN subject TEXT;
    DROP INDEX one_open_run;
    CREATE UNIQUE INDEX one_open_run ON runs (server_key)
        WHERE state NOT IN ('done', 'rolled-back', 'finished');
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
    let damaged = |why: String| JournalError::Unreadable {
        path: path.clone(),
        why,
    };
    // SQLite forgets the rest of a damaged log as it opens it.
    if let Some(why) = log::damage(&path).map_err(refused)? {
        return Err(damaged(why));
    }
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
    // A store that lost its pages must not pass for a new one: the locks on servers were in it.
    if found == 0
        && std::fs::read_dir(folder.join("runs")).is_ok_and(|mut runs| runs.next().is_some())
    {
        return Err(damaged(
            "it is empty, and runs were driven from this folder".into(),
        ));
    }
    match found {
        0 => tx.execute_batch(TABLES)?,
        1 => tx.execute_batch(FROM_1)?,
        _ => {}
    }
    if found < VERSION {
        tx.pragma_update(None, "user_version", VERSION)?;
    }
    tx.commit()?;
    let sound: String = database.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if sound != "ok" {
        return Err(damaged(sound.replace('\n', ", ")));
    }
    Ok(database)
}

/// The event as it is stored: with a checksum, because SQLite has none of its own, and what is
/// undone rests on what stands here.
pub(super) fn stored(run: &str, index: i64, time: i64, json: &str) -> String {
    format!("{} {json}", checksum(run, index, time, json))
}

/// The JSON of a stored event; `None` where its checksum does not fit.
pub(super) fn unstored<'a>(run: &str, index: i64, time: i64, text: &'a str) -> Option<&'a str> {
    if text.starts_with('{') {
        return Some(text); // of version 1
    }
    let (sum, json) = text.split_once(' ')?;
    (sum == checksum(run, index, time, json)).then_some(json)
}

fn checksum(run: &str, index: i64, time: i64, json: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(run.as_bytes());
    hasher.update(&index.to_le_bytes());
    hasher.update(&time.to_le_bytes());
    hasher.update(json.as_bytes());
    hasher.finalize().to_hex().chars().take(16).collect()
}

pub(super) fn state_word(state: RunState) -> &'static str {
    match state {
        RunState::Running => "running",
        RunState::RollingBack => "rolling-back",
        RunState::Done => "done",
        RunState::RolledBack => "rolled-back",
        RunState::Held => "held",
        RunState::Finished => "finished",
    }
}

pub(super) fn state_from_word(word: &str) -> Option<RunState> {
    Some(match word {
        "running" => RunState::Running,
        "rolling-back" => RunState::RollingBack,
        "done" => RunState::Done,
        "rolled-back" => RunState::RolledBack,
        "held" => RunState::Held,
        "finished" => RunState::Finished,
        _ => return None,
    })
}
