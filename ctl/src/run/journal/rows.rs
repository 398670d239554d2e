//! Rows of the tables as values, how an event becomes one, and the two questions that a server's
//! lock turns on.

use ferry_proto::{REHEARSAL, v1::Plan};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::{
    JournalError, RunRow,
    schema::{self, state_from_word, state_word},
};
use crate::{
    recipes::upkeep::{FINISH, PRUNE},
    run::{
        events::{RunEvent, RunState},
        record::Position,
    },
};

pub(super) fn read_row(row: &Row<'_>) -> Result<RunRow, JournalError> {
    let run: String = row.get(0)?;
    let plan: String = row.get(2)?;
    let damaged = |why: String| JournalError::Damaged {
        run: run.clone(),
        index: 0,
        why,
    };
    let state: String = row.get(3)?;
    Ok(RunRow {
        server_key: row.get(1)?,
        plan: serde_json::from_str(&plan).map_err(|why| damaged(why.to_string()))?,
        state: state_from_word(&state).ok_or_else(|| damaged(format!("unknown state {state}")))?,
        created: row.get(4)?,
        updated: row.get(5)?,
        downtime_started: row.get(6)?,
        downtime_ended: row.get(7)?,
        subject: row.get(8)?,
        number: row.get(9)?,
        run,
    })
}

pub(super) fn exists(tx: &Transaction<'_>, run: &str) -> Result<bool, JournalError> {
    let query = "SELECT EXISTS (SELECT 1 FROM runs WHERE id = ?1)";
    Ok(tx.query_row(query, [run], |row| row.get(0))?)
}

/// Adds an event to a run, and brings the run's own row up to it.
pub(super) fn insert(
    tx: &Transaction<'_>,
    run: &str,
    time: i64,
    event: &RunEvent,
) -> Result<u64, JournalError> {
    let text = serde_json::to_string(event)?;
    let (server_key, before) = position(tx, run)?;
    let after = before
        .after(event)
        .map_err(|source| JournalError::Illegal {
            run: run.to_owned(),
            source,
        })?;
    if before.state.is_over() && !after.state.is_over() {
        refuse_locked(tx, &server_key, Some(run))?;
        refuse_superseded(tx, &server_key, run)?;
        refuse_pruned(tx, &server_key)?;
    }
    let index: i64 = tx.query_row(
        "SELECT coalesce(max(idx), 0) + 1 FROM events WHERE run = ?1",
        [run],
        |row| row.get(0),
    )?;
    tx.execute(
        "INSERT INTO events (run, idx, time, event) VALUES (?1, ?2, ?3, ?4)",
        params![run, index, time, schema::stored(run, index, time, &text)],
    )?;
    tx.execute(
        "UPDATE runs SET state = ?2, backward = ?3, updated = ?4, events = ?5 WHERE id = ?1",
        params![run, state_word(after.state), after.backward, time, index],
    )?;
    match event {
        RunEvent::DowntimeStarted => tx.execute(
            "UPDATE runs SET downtime_started = ?2, downtime_ended = NULL WHERE id = ?1",
            params![run, time],
        )?,
        RunEvent::DowntimeEnded { millis } => tx.execute(
            "UPDATE runs SET downtime_ended = downtime_started + ?2 WHERE id = ?1",
            params![run, i64::try_from(*millis).unwrap_or(i64::MAX)],
        )?,
        RunEvent::Intended { .. } => {
            tx.execute("UPDATE runs SET progress = NULL WHERE id = ?1", [run])?
        }
        _ => 0,
    };
    Ok(index.unsigned_abs())
}

/// The crossing that is finished when this run is done; `None` when the run does something else, or
/// the crossing is not one that is done.
pub(super) fn finished_by(tx: &Transaction<'_>, run: &str) -> Result<Option<String>, JournalError> {
    let query = "SELECT subject, plan FROM runs WHERE id = ?1 AND subject IS NOT NULL";
    let row = tx
        .query_row(query, [run], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })
        .optional()?;
    let Some((subject, plan)) = row else {
        return Ok(None);
    };
    let plan: Plan = serde_json::from_str(&plan)?;
    if plan.recipe != FINISH || !exists(tx, &subject)? {
        return Ok(None);
    }
    let (_, crossing) = position(tx, &subject)?;
    Ok((crossing.state == RunState::Done).then_some(subject))
}

fn position(tx: &Transaction<'_>, run: &str) -> Result<(String, Position), JournalError> {
    let query = "SELECT server_key, state, backward FROM runs WHERE id = ?1";
    let row = tx
        .query_row(query, [run], |row| {
            Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((server_key, state, backward)) = row else {
        return Err(JournalError::NoSuchRun {
            run: run.to_owned(),
        });
    };
    let state = state_from_word(&state).ok_or_else(|| JournalError::Damaged {
        run: run.to_owned(),
        index: 0,
        why: format!("unknown state {state}"),
    })?;
    Ok((server_key, Position { state, backward }))
}

pub(super) fn refuse_locked(
    tx: &Transaction<'_>,
    server_key: &str,
    except: Option<&str>,
) -> Result<(), JournalError> {
    refuse_holder(tx, server_key, except, "TRUE")
}

/// Refuses while a run on the server of `subject` is on its way back.
pub(super) fn refuse_turned(tx: &Transaction<'_>, subject: &str) -> Result<(), JournalError> {
    let query = "SELECT server_key FROM runs WHERE id = ?1";
    let key: Option<String> = tx
        .query_row(query, [subject], |row| row.get(0))
        .optional()?;
    // Of a run that no journal here knows nothing is taken back from here.
    key.map_or(Ok(()), |key| refuse_holder(tx, &key, None, "backward"))
}

/// Refuses while a backup of this server is being removed, or a removal was cut off: when the run is taken back, that backup may be the one to
/// go back to next.
fn refuse_pruned(tx: &Transaction<'_>, server_key: &str) -> Result<(), JournalError> {
    let query = format!(
        "SELECT id, state FROM runs WHERE {} AND json_extract(plan, '$.recipe') = ?2
             AND subject IN (SELECT id FROM runs WHERE server_key = ?1)",
        schema::OPEN
    );
    held_by(tx, &query, params![server_key, PRUNE], server_key)
}

fn refuse_holder(
    tx: &Transaction<'_>,
    server_key: &str,
    except: Option<&str>,
    condition: &str,
) -> Result<(), JournalError> {
    let query = format!(
        "SELECT id, state FROM runs WHERE server_key = ?1 AND id IS NOT ?2 AND {} AND {condition}",
        schema::OPEN
    );
    held_by(tx, &query, params![server_key, except], server_key)
}

/// An error where the query finds a run.
fn held_by(
    tx: &Transaction<'_>,
    query: &str,
    parameters: impl rusqlite::Params,
    server_key: &str,
) -> Result<(), JournalError> {
    let holder = tx
        .query_row(query, parameters, |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })
        .optional()?;
    match holder {
        Some((run, state)) => Err(JournalError::ServerLocked {
            server: server_key.to_owned(),
            state: state_from_word(&state).map_or("not over", RunState::word),
            run,
        }),
        None => Ok(()),
    }
}

pub(super) fn refuse_superseded(
    tx: &Transaction<'_>,
    server_key: &str,
    run: &str,
) -> Result<(), JournalError> {
    match newest_after(tx, server_key, run)? {
        Some(newer) => Err(JournalError::Superseded {
            run: run.to_owned(),
            newer,
        }),
        None => Ok(()),
    }
}

/// The last run that was done on a server after `run`. A rehearsal has changed nothing of it.
pub(super) fn newest_after(
    database: &Connection,
    server_key: &str,
    run: &str,
) -> Result<Option<String>, JournalError> {
    let query = "SELECT id FROM runs WHERE server_key = ?1 AND state IN ('done', 'finished')
                 AND subject IS NULL AND json_extract(plan, '$.recipe') IS NOT ?3
                 AND number > (SELECT number FROM runs WHERE id = ?2) ORDER BY number DESC LIMIT 1";
    let newest = database
        .query_row(query, [server_key, run, REHEARSAL], |row| row.get(0))
        .optional()?;
    Ok(newest)
}
