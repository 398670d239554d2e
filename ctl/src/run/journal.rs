//! The journal store: what a run intends is on disk before it is done, what came of it before
//! anything follows.
//!
//! One SQLite file holds all runs. Every append is a transaction of its own, synced before the call
//! returns: a controller that dies leaves either all of an event or nothing of it. The row of a
//! run that is not over is also the lock on its server: it survives a crash of whoever made it.
//!
//! Rejected: a file of lines a run. The lock on the server and the run's state would be second
//! files, and nothing would make the three agree after a crash.

mod error;
mod log;
mod rows;
mod schema;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ferry_proto::v1::{EngineFacts, Facts, Plan, Progress};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

pub use self::error::JournalError;
use self::{
    rows::{exists, finished_by, insert, read_row, refuse_locked, refuse_turned},
    schema::{open_database, state_word},
};
use super::{
    events::{RunEvent, RunState},
    record::{Entry, RunRecord, replay},
};
use crate::recipes::upkeep::PRUNE;

/// The store of all runs of this state folder. Clones share it; calls block for a disk sync.
#[derive(Debug, Clone)]
pub struct Journal {
    folder: PathBuf,
    database: Arc<Mutex<Connection>>,
}

/// A run, as a list shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    /// Its name.
    pub run: String,
    /// Of two runs of one journal the later has the higher number, whatever the clock said.
    pub number: i64,
    /// What is locked while it is not over: see [`server_key`].
    pub server_key: String,
    /// The plan that it executes.
    pub plan: Plan,
    /// Where it stands.
    pub state: RunState,
    /// When it was made, in milliseconds since the epoch.
    pub created: i64,
    /// When its last event was written.
    pub updated: i64,
    /// When the downtime last began.
    pub downtime_started: Option<i64>,
    /// When that downtime ended; absent while it lasts.
    pub downtime_ended: Option<i64>,
    /// The run that this one is about, when it is no crossing: see [`Journal::create_upkeep`].
    pub subject: Option<String>,
}

/// How far the step of a run is, as `ferryctl status` and `watch` show it. Not an event: the last
/// one overwrites the one before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepProgress {
    /// Which step, from 0.
    pub step: usize,
    /// On the way back.
    pub undo: bool,
    /// How far.
    pub progress: Progress,
    /// When this was so, in milliseconds since the epoch.
    pub time: i64,
}

/// What a server is called in the locks: `docker:<engine id>/<container name>`. The engine's own
/// identity, because two addresses may lead to one engine.
#[must_use]
pub fn server_key(facts: &Facts) -> String {
    let engine = facts.engine.as_ref();
    let kind = engine.map_or("docker".into(), |engine| engine.kind.to_lowercase());
    let id = engine.map_or("", |engine| engine.id.as_str());
    let container = facts
        .container
        .as_ref()
        .map_or("", |container| container.name.as_str());
    format!("{kind}:{id}/{container}")
}

/// What a backup is called in the locks: `docker:<engine id>/backup/<volume or folder>`. A server's
/// name has no slash, so none is locked by it.
#[must_use]
pub fn backup_key(engine: &EngineFacts, place: &str) -> String {
    let kind = engine.kind.to_lowercase();
    format!("{kind}:{}/backup/{place}", engine.id)
}

/// Where runs are kept when nobody says otherwise: `ferry` in the XDG state folder, which is
/// `~/.local/state`. `None` without a home folder.
#[must_use]
pub fn default_state_folder() -> Option<PathBuf> {
    use etcetera::BaseStrategy as _;
    let strategy = etcetera::base_strategy::Xdg::new().ok()?;
    Some(strategy.state_dir()?.join("ferry"))
}

/// The present, in milliseconds since the epoch.
#[must_use]
pub fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

impl Journal {
    /// Opens the store in a state folder, and makes both when they are not there (0700 and 0600).
    ///
    /// # Errors
    /// [`JournalError::Folder`], [`JournalError::Newer`] or [`JournalError::Database`].
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let database = open_database(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            database: Arc::new(Mutex::new(database)),
        })
    }

    /// The state folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a run of a plan and locks the server for it. The run is called like the plan, with
    /// `-2`, `-3`, … when the plan was run before.
    ///
    /// # Errors
    /// [`JournalError::Plan`] for a plan that was changed, [`JournalError::ServerLocked`] when a run
    /// on this server is not over, [`JournalError::Database`].
    pub fn create_run(&self, plan: &Plan, server_key: &str) -> Result<String, JournalError> {
        self.create(plan, server_key, None)
    }

    /// Makes a run that is about another one, `subject`: it proves, restores or removes its backup, or
    /// declares it finished. What it locks is `key`.
    ///
    /// # Errors
    /// As [`Journal::create_run`]. To remove a backup while a run on its server is taken back is [`JournalError::ServerLocked`], too: when
    /// that is over another backup is the one to go back to.
    pub fn create_upkeep(
        &self,
        plan: &Plan,
        key: &str,
        subject: &str,
    ) -> Result<String, JournalError> {
        self.create(plan, key, Some(subject))
    }

    fn create(
        &self,
        plan: &Plan,
        server_key: &str,
        subject: Option<&str>,
    ) -> Result<String, JournalError> {
        ferry_proto::verify(plan)?;
        let text = serde_json::to_string(plan)?;
        self.write(|tx| {
            refuse_locked(tx, server_key, None)?;
            if let Some(subject) = subject.filter(|_| plan.recipe == PRUNE) {
                refuse_turned(tx, subject)?;
            }
            let run = (1..)
                .map(|n| {
                    if n == 1 {
                        plan.id.clone()
                    } else {
                        format!("{}-{n}", plan.id)
                    }
                })
                .find_map(|name| match exists(tx, &name) {
                    Ok(true) => None,
                    Ok(false) => Some(Ok(name)),
                    Err(error) => Some(Err(error)),
                })
                .unwrap_or_else(|| Ok(plan.id.clone()))?;
            tx.execute(
                "INSERT INTO runs (id, server_key, plan, state, backward, created, updated, subject)
                 VALUES (?1, ?2, ?3, ?4, 0, ?5, ?5, ?6)",
                params![
                    run,
                    server_key,
                    text,
                    state_word(RunState::Running),
                    now(),
                    subject
                ],
            )?;
            Ok(run)
        })
    }

    /// Adds an event to a run, now. It is on disk when this returns.
    ///
    /// # Errors
    /// As [`Journal::append_at`].
    pub fn append(&self, run: &str, event: &RunEvent) -> Result<u64, JournalError> {
        self.append_at(run, now(), event)
    }

    /// Adds an event that happened at `time` (milliseconds since the epoch) and returns its index.
    ///
    /// An event that takes up a run that was over locks the server again. The end of a run that
    /// finishes a crossing is the crossing's as well: both are there or neither, because in between
    /// nothing would lock a server whose way back is removed.
    ///
    /// # Errors
    /// [`JournalError::NoSuchRun`], [`JournalError::Illegal`] for an event that cannot follow,
    /// [`JournalError::ServerLocked`] or [`JournalError::Superseded`] when the server was given to
    /// another run since, [`JournalError::Database`].
    pub fn append_at(&self, run: &str, time: i64, event: &RunEvent) -> Result<u64, JournalError> {
        self.write(|tx| {
            let index = insert(tx, run, time, event)?;
            if let RunEvent::Ended {
                state: RunState::Done,
                ..
            } = event
                && let Some(finished) = finished_by(tx, run)?
            {
                insert(tx, &finished, time, &RunEvent::DeclaredFinished)?;
            }
            Ok(index)
        })
    }

    /// The events of a run, from an index on (the first is 1).
    ///
    /// # Errors
    /// [`JournalError::Damaged`] for an event that cannot be read, [`JournalError::Database`].
    pub fn events(&self, run: &str, from: u64) -> Result<Vec<Entry>, JournalError> {
        let database = self.lock();
        // Asked first: another controller may append meanwhile, and then there are more.
        let at_least: u64 = database
            .query_row("SELECT events FROM runs WHERE id = ?1", [run], |row| {
                row.get::<_, Option<i64>>(0)
            })
            .optional()?
            .flatten()
            .map_or(0, i64::unsigned_abs);
        let mut next = from;
        let mut query = database.prepare_cached(
            "SELECT idx, time, event FROM events WHERE run = ?1 AND idx >= ?2 ORDER BY idx",
        )?;
        let first = i64::try_from(from).unwrap_or(i64::MAX);
        let rows = query.query_map(params![run, first], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, String>(2)?,
            ))
        })?;
        let damaged = |index, why: String| JournalError::Damaged {
            run: run.to_owned(),
            index,
            why,
        };
        let mut entries = Vec::new();
        for row in rows {
            let (number, time, text) = row?;
            let index = number.unsigned_abs();
            next = index + 1;
            let damaged = |why| damaged(index, why);
            let json = schema::unstored(run, number, time, &text)
                .ok_or_else(|| damaged("its checksum does not fit".into()))?;
            let event = serde_json::from_str(json).map_err(|why| damaged(why.to_string()))?;
            entries.push(Entry { index, time, event });
        }
        if next <= at_least {
            return Err(damaged(next, "it is missing".into()));
        }
        Ok(entries)
    }

    /// Where a run stands, by all its events.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] when its events cannot have happened, and as [`Journal::run`].
    pub fn record(&self, run: &str) -> Result<RunRecord, JournalError> {
        let row = self.run(run)?;
        let damaged = |index, why: String| JournalError::Damaged {
            run: row.run.clone(),
            index,
            why,
        };
        ferry_proto::verify(&row.plan).map_err(|why| damaged(0, why.to_string()))?;
        let entries = self.events(&row.run, 1)?;
        let record =
            replay(row.plan, &entries).map_err(|(index, why)| damaged(index, why.to_string()))?;
        if record.state() != row.state {
            let (listed, found) = (row.state.word(), record.state().word());
            return Err(damaged(
                0,
                format!("it is listed as {listed}, and is {found} by its events"),
            ));
        }
        Ok(record)
    }

    /// All runs, the newest first.
    ///
    /// # Errors
    /// [`JournalError::Database`], or [`JournalError::Damaged`] for a plan that cannot be read.
    pub fn runs(&self) -> Result<Vec<RunRow>, JournalError> {
        self.select("1 = 1 ORDER BY number DESC", &[])
    }

    /// One run, by its name or by a beginning that only it has.
    ///
    /// # Errors
    /// [`JournalError::NoSuchRun`], [`JournalError::AmbiguousRun`], [`JournalError::Database`].
    pub fn run(&self, name: &str) -> Result<RunRow, JournalError> {
        if let Some(row) = self.select("id = ?1", &[&name])?.pop() {
            return Ok(row);
        }
        let by = "substr(id, 1, length(?1)) = ?1 AND length(?1) > 0 ORDER BY number";
        let mut rows = self.select(by, &[&name])?;
        match (rows.pop(), rows.as_slice()) {
            (Some(row), []) => Ok(row),
            (None, _) => Err(JournalError::NoSuchRun {
                run: name.to_owned(),
            }),
            (Some(last), others) => Err(JournalError::AmbiguousRun {
                prefix: name.to_owned(),
                runs: others
                    .iter()
                    .map(|row| row.run.clone())
                    .chain([last.run])
                    .collect(),
            }),
        }
    }

    /// The run of a recipe about another run that is not over, when there is one.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub fn open_upkeep(&self, subject: &str, recipe: &str) -> Result<Option<RunRow>, JournalError> {
        let by = format!("subject = ?1 AND {} ORDER BY number", schema::OPEN);
        let open = self.select(&by, &[&subject])?;
        Ok(open.into_iter().rfind(|row| row.plan.recipe == recipe))
    }

    /// The last run that was done on the server of `run` after it: the container that is there now is that one's.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub fn newest_after(&self, run: &RunRow) -> Result<Option<String>, JournalError> {
        rows::newest_after(&self.lock(), &run.server_key, &run.run)
    }

    /// The run that locks a server, when there is one.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub fn open_run_for(&self, server_key: &str) -> Result<Option<RunRow>, JournalError> {
        let by = format!("server_key = ?1 AND {}", schema::OPEN);
        Ok(self.select(&by, &[&server_key])?.pop())
    }

    /// Notes how far the step of a run is. Whoever calls this often throttles it.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub fn set_progress(&self, run: &str, progress: &StepProgress) -> Result<(), JournalError> {
        let text = serde_json::to_string(progress)?;
        self.lock()
            .execute("UPDATE runs SET progress = ?2 WHERE id = ?1", [run, &text])?;
        Ok(())
    }

    /// How far the step of a run is, as last noted; `None` when the step has not said yet.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub fn progress(&self, run: &str) -> Result<Option<StepProgress>, JournalError> {
        let query = "SELECT progress FROM runs WHERE id = ?1";
        let text: Option<Option<String>> = self
            .lock()
            .query_row(query, [run], |row| row.get(0))
            .optional()?;
        Ok(text
            .flatten()
            .map(|text| serde_json::from_str(&text))
            .transpose()?)
    }

    fn select(
        &self,
        condition: &str,
        values: &[&dyn rusqlite::ToSql],
    ) -> Result<Vec<RunRow>, JournalError> {
        let database = self.lock();
        let mut query = database.prepare_cached(&format!(
            "SELECT id, server_key, plan, state, created, updated, downtime_started, downtime_ended,
                    subject, number
             FROM runs WHERE {condition}"
        ))?;
        let rows = query.query_map(values, |row| Ok(read_row(row)))?;
        rows.map(|row| row?).collect()
    }

    fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let mut database = self.lock();
        // Immediate: what is read within decides what is written, and another process may write.
        let tx = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = work(&tx)?;
        tx.commit()?;
        Ok(value)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic while it was held rolled its transaction back: the connection is as good as ever.
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod damage;
#[cfg(test)]
mod tests;
