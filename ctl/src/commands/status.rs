//! `ferryctl status`: where a run stands, or all that are not over.

use super::{End, Session, rows};
use crate::{exit::Exit, report, run::journal::Journal};

pub(super) fn run(arguments: &crate::cli::Status, session: &Session) -> End {
    let journal = session.journal()?;
    match &arguments.run {
        Some(name) => one(session, &journal, name),
        None => all(session, &journal),
    }
}

/// One run in full.
pub(super) fn one(session: &Session, journal: &Journal, name: &str) -> End {
    let row = journal.run(name)?;
    let status = rows::status(&row, &journal.record(&row.run)?);
    session.printer.data(
        |look| report::status(&status, look),
        || report::json::status(&status),
    );
    Ok(Exit::Done)
}

fn all(session: &Session, journal: &Journal) -> End {
    let mut open = Vec::new();
    for row in journal.runs()?.iter().filter(|row| !row.state.is_over()) {
        open.push(rows::row(row, &journal.record(&row.run)?));
    }
    if open.is_empty() {
        session
            .printer
            .say("No run is under way. `ferryctl runs` lists those that are over.");
    }
    session.printer.data(
        |look| report::runs(&open, look),
        || report::json::runs(&open),
    );
    Ok(Exit::Done)
}
