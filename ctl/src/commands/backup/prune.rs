//! `ferryctl backup prune`: removes what is not needed any more, after it has said what that is.

use super::{End, Session, View, unplanned};
use crate::{
    backups::{
        Backup,
        policy::{Verdict, Wish, judge},
    },
    cli::Prune,
    commands::upkeep,
    exit::Exit,
    recipes,
    report::{self, Judged},
    run::{events::RunState, journal::now},
    units::counted,
};

pub(super) async fn run(arguments: &Prune, session: &Session) -> End {
    let host = session.host().await?;
    let view = View::look(session, &host).await?;
    let least = arguments.older_than;
    let wish = Wish {
        older_than: least.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
        keep: arguments.keep,
        orphans: arguments.orphans,
    };
    let verdicts = judge(&view.backups, wish, now());
    let judged: Vec<Judged<'_>> = view
        .backups
        .iter()
        .zip(&verdicts)
        .map(|(backup, verdict)| Judged {
            backup,
            verdict: *verdict,
        })
        .collect();
    let going: Vec<&Backup> = judged
        .iter()
        .filter(|it| it.verdict == Verdict::Remove)
        .map(|it| it.backup)
        .collect();
    let stderr = session.printer.settings().stderr;
    session.printer.say(&report::judged(&judged, stderr));
    if going.is_empty() {
        return Ok(Exit::Done);
    }
    let question = format!("Remove {} for good?", counted(going.len() as u64, "backup"));
    session.confirm(arguments.yes, &question).await?;
    let journal = session.journal()?;
    let mut exit = Exit::Done;
    for backup in going {
        let plan = recipes::upkeep::prune(&view.about(backup));
        let plan = plan.map_err(|error| unplanned(&error))?;
        let key = view.key(backup);
        let result = upkeep::begin(session, &host, &plan, &key, &backup.run).await?;
        let end = upkeep::tell(session, &journal, &result)?;
        if end != Exit::Done {
            exit = end;
        }
        if matches!(result.state, RunState::Running | RunState::RollingBack) {
            break;
        }
    }
    Ok(exit)
}
