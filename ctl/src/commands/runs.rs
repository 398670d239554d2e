//! `ferryctl runs`: all runs, the newest last.

use super::{End, Session, rows};
use crate::{exit::Exit, report};

pub(super) fn run(session: &Session) -> End {
    let journal = session.journal()?;
    let runs = journal.runs()?;
    let rows: Vec<report::RunRow> = runs
        .iter()
        .map(|row| Ok(rows::row(row, &journal.record(&row.run)?)))
        .collect::<Result<_, super::Failed>>()?;
    session.printer.data(
        |look| report::runs(&rows, look),
        || report::json::runs(&rows),
    );
    Ok(Exit::Done)
}
