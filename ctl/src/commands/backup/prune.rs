//! `ferryctl backup prune`: removes what is not needed any more, after it has said what that is. A
//! removal that was cut off comes first, whatever is asked for now: what is left of its backup is none.

use super::{End, Session, View, unplanned};
use crate::{
    backups::{
        Backup, engine_of,
        policy::{Verdict, Wish, judge},
        removal,
    },
    cli::Prune,
    commands::upkeep,
    connect::address::EngineChoice,
    exit::Exit,
    recipes::{self, upkeep::PRUNE},
    report::{self, Judged},
    run::journal::{RunRow, now},
    units::counted,
};

pub(super) async fn run(engine: &EngineChoice, arguments: &Prune, session: &Session) -> End {
    let host = session.host_alone(engine).await?;
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
    let cut_off = cut_off(&view);
    for row in &cut_off {
        session.printer.say(&format!(
            "Run {} was removing the backup of run {}, and is gone on with.",
            row.run,
            row.subject.as_deref().unwrap_or_default()
        ));
    }
    if going.is_empty() && cut_off.is_empty() {
        return Ok(Exit::Done);
    }
    let number = (going.len() + cut_off.len()) as u64;
    let question = format!("Remove {} for good?", counted(number, "backup"));
    session.confirm(arguments.yes, &question).await?;
    let journal = session.journal()?;
    let mut exit = Exit::Done;
    for row in cut_off {
        let result = upkeep::go_on(session, &host, &journal, row).await?;
        let end = upkeep::tell(session, &journal, &result)?;
        if end != Exit::Done {
            exit = end;
        }
        if result.is_interrupted() {
            return Ok(exit);
        }
    }
    for backup in going {
        // The answer may have taken hours, and another run may have made this backup the one to go back to.
        let view = View::look(session, &host).await?;
        let Some(backup) = still_goes(session, &view, backup, wish) else {
            continue;
        };
        let plan = recipes::upkeep::prune(&view.about(backup));
        let plan = plan.map_err(|error| unplanned(&error))?;
        let key = view.key(backup);
        let result = upkeep::begin(session, &host, &plan, &key, &backup.run).await?;
        let end = upkeep::tell(session, &journal, &result)?;
        if end != Exit::Done {
            exit = end;
        }
        if result.is_interrupted() {
            break;
        }
    }
    Ok(exit)
}

/// The backup as it is now, if it may go still; says why when not.
fn still_goes<'a>(
    session: &Session,
    view: &'a View,
    backup: &Backup,
    wish: Wish,
) -> Option<&'a Backup> {
    let verdicts = judge(&view.backups, wish, now());
    let mut now = view.backups.iter().zip(verdicts);
    let why = match now.find(|(it, _)| it.place() == backup.place()) {
        Some((it, Verdict::Remove)) => return Some(it),
        Some((it, verdict)) => format!("stays: {}", verdict.why(it)),
        None => "is not there any more".to_owned(),
    };
    let what = backup.whereabouts();
    session.printer.say(&format!("By now {what} {why}."));
    None
}

/// Runs of this verb that were cut off when something of their backup may have been gone, or all of
/// it. One that had not begun is begun again, when its backup is still one that may go.
fn cut_off(view: &View) -> Vec<&RunRow> {
    let runs = view.removing.iter();
    let open = runs.filter(|(row, _)| row.plan.recipe == PRUNE && !row.state.is_over());
    let here = open.filter(|(row, _)| engine_of(row) == view.engine.id);
    let begun = here.filter(|known| {
        let subject = known.0.subject.as_ref();
        let is_there = view.backups.iter().any(|it| Some(&it.run) == subject);
        !is_there || removal(known).is_some()
    });
    begun.map(|(row, _)| row).collect()
}
