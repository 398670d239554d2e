//! `ferryctl watch`: follows a run that another `ferryctl` drives, from its journal.

use std::time::Duration;

use super::{End, Session, status};
use crate::{cli::Watch, exit::Exit, report::live, run::events::RunEvent};

const POLL: Duration = Duration::from_millis(250);

pub(super) async fn run(arguments: &Watch, session: &Session) -> End {
    let journal = session.journal()?;
    let row = journal.run(&arguments.run)?;
    let mut reporter = live::reporter(session.printer.settings());
    let (mut next, mut seen_progress) = (1, None);
    loop {
        let mut ended = false;
        for entry in journal.events(&row.run, next)? {
            next = entry.index + 1;
            // A resumed run is not at its end, whatever it said before.
            ended = matches!(entry.event, RunEvent::Ended { .. });
            reporter.event(&row.plan, &entry.event);
        }
        let progress = journal.progress(&row.run)?;
        if let Some(it) = progress.filter(|it| !ended && seen_progress != Some(it.time)) {
            seen_progress = Some(it.time);
            let (step, undo, progress) = (it.step, it.undo, it.progress);
            reporter.event(
                &row.plan,
                &RunEvent::Progress {
                    step,
                    progress,
                    undo,
                },
            );
        }
        if ended {
            drop(reporter);
            return status::one(session, &journal, &row.run);
        }
        let pause = session
            .shutdown
            .run_until_cancelled(tokio::time::sleep(POLL));
        if pause.await.is_none() {
            return Ok(Exit::Done);
        }
    }
}
