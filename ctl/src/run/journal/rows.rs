//! Rows of the tables as values, and the two questions that a server's lock turns on.

use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::{
    JournalError, RunRow,
    schema::{self, state_from_word},
};
use crate::run::{events::RunState, record::Position};

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
        run,
    })
}

pub(super) fn exists(tx: &Transaction<'_>, run: &str) -> Result<bool, JournalError> {
    let query = "SELECT EXISTS (SELECT 1 FROM runs WHERE id = ?1)";
    Ok(tx.query_row(query, [run], |row| row.get(0))?)
}

pub(super) fn position(
    tx: &Transaction<'_>,
    run: &str,
) -> Result<(String, Position), JournalError> {
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
    let query = format!(
        "SELECT id, state FROM runs WHERE server_key = ?1 AND id IS NOT ?2 AND {}",
        schema::OPEN
    );
    let holder = tx
        .query_row(&query, params![server_key, except], |row| {
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
    let query = "SELECT id FROM runs WHERE server_key = ?1 AND state IN ('done', 'finished')
                 AND subject IS NULL AND number > (SELECT number FROM runs WHERE id = ?2) ORDER BY number DESC LIMIT 1";
    let newer: Option<String> = tx
        .query_row(query, [server_key, run], |row| row.get(0))
        .optional()?;
    match newer {
        Some(newer) => Err(JournalError::Superseded {
            run: run.to_owned(),
            newer,
        }),
        None => Ok(()),
    }
}
