//! `ferryctl finish`: a person says that a crossing has proven itself. What it kept for the way back
//! is removed, the backup only when that is asked for.

use ferry_proto::v1::{BackupPlace, action::Kind};

use super::{
    End, Failed, Session,
    backup::{moment, not_a_crossing, unplanned},
    upkeep,
};
use crate::{
    backups,
    cli::Finish,
    connect::address::EngineChoice,
    exit::Exit,
    recipes::{self, upkeep::About},
    run::{
        events::RunState,
        journal::{Journal, RunRow, now},
    },
};

pub(super) async fn run(arguments: &Finish, session: &Session) -> End {
    let journal = session.journal()?;
    let row = journal.run(&arguments.run)?;
    check(&row)?;
    let record = journal.record(&row.run)?;
    let place = backups::place(&record);
    let words = place.as_ref().map(backups::words).unwrap_or_default();
    session
        .printer
        .say(&what_goes(&row, &words, arguments.remove_backup));
    session
        .confirm(arguments.yes, "Declare it finished?")
        .await?;

    let facts = row.plan.facts.clone().unwrap_or_default();
    let container = facts.container.unwrap_or_default();
    let backup = arguments.remove_backup && place.is_some();
    let about = About {
        place: BackupPlace {
            run: row.run.clone(),
            ..place.unwrap_or_default()
        },
        server: container.name,
        engine: facts.engine.unwrap_or_default(),
        reached: EngineChoice::of(&row.plan),
        created: moment(now()),
    };
    let others = open_others(&journal, &row)?;
    let made_by = journal.newest_after(&row)?;
    let plan = recipes::upkeep::finish(
        &about,
        &container.id,
        made_by,
        recipes::unit_of(&row.plan),
        !others,
        backup,
    );
    let plan = plan.map_err(|error| unplanned(&error))?;
    let host = session.host(&EngineChoice::of(&row.plan)).await?;
    // The server's own key: while this goes on, nobody can take the crossing back.
    let result = upkeep::begin(session, &host, &plan, &row.server_key, &row.run).await?;
    upkeep::tell(session, &journal, &result)
}

/// Only a crossing that is done can be finished.
fn check(row: &RunRow) -> Result<(), Failed> {
    let run = &row.run;
    if let Some(subject) = &row.subject {
        return Err(not_a_crossing(run, subject));
    }
    if recipes::pmm_client_upgrade::client_of(&row.plan).is_some() {
        return Err(Failed::plain(
            "run-not-a-crossing",
            format!("run {run} has upgraded a client, and keeps nothing on the server"),
        )
        .hint(format!("`ferryctl rollback {run}` takes it back"))
        .exit(Exit::Refused));
    }
    if let Some(origin) = recipes::pmm_move_appliance::origin_of(&row.plan) {
        return Err(Failed::plain(
            "run-not-a-crossing",
            format!("run {run} has moved a server here from {origin}, and keeps nothing on this machine"),
        )
        .hint("finish the crossing that came after it; when nobody goes back to the old machine, switch that off")
        .exit(Exit::Refused));
    }
    let refuse = |code, what: String, hint: String| {
        Err(Failed::plain(code, what).hint(hint).exit(Exit::Refused))
    };
    match row.state {
        RunState::Done => Ok(()),
        RunState::Finished => refuse(
            "run-finished",
            format!("run {run} is declared finished already"),
            "`ferryctl backup list` shows what is kept, `ferryctl backup prune` removes it".into(),
        ),
        RunState::RolledBack => refuse(
            "run-rolled-back",
            format!("run {run} was rolled back: there is no crossing to finish"),
            "`ferryctl plan` makes a new plan".into(),
        ),
        RunState::Running | RunState::RollingBack | RunState::Held => refuse(
            "run-open",
            format!("run {run} is {}: it is not over", row.state.word()),
            format!(
                "`ferryctl resume {run}` goes on with it, `ferryctl rollback {run}` takes it back"
            ),
        ),
    }
}

fn what_goes(row: &RunRow, backup: &str, remove_backup: bool) -> String {
    let aside = row.plan.steps.iter().find_map(|step| {
        match step.action.as_ref().and_then(|it| it.kind.as_ref())? {
            Kind::SetAsideContainer(it) => Some(format!("{}-{}-{}", it.name, it.version, row.run)),
            _ => None,
        }
    });
    let old = aside.map_or_else(
        || "the old container".into(),
        |it| format!("container {it}"),
    );
    let old = match recipes::unit_of(&row.plan) {
        Some(unit) => format!("what is left of the old container of {}", unit.name),
        None => old,
    };
    let old = match recipes::pmm_move_data::volume_of(&row.plan) {
        Some(_) => format!("{old}, with the data that it has in itself,"),
        None => old,
    };
    let old = if row.plan.recipe == recipes::pmm_kubernetes::NAME {
        let facts = row.plan.facts.as_ref();
        let cluster = facts.and_then(|facts| facts.cluster.as_ref());
        let set = cluster.map_or("", |it| &it.stateful_set);
        format!(
            "what StatefulSet {set} was before, ConfigMap ferry-{set}-{},",
            row.run
        )
    } else {
        old
    };
    let rest = match (backup, remove_backup) {
        ("", _) => String::new(),
        (backup, true) => format!(" and the backup, {backup}, are removed for good"),
        (backup, false) => format!(" is removed for good; the backup, {backup}, is kept"),
    };
    let rest = if rest.is_empty() {
        " is removed for good".to_owned()
    } else {
        rest
    };
    format!(
        "Run {}: {old}{rest}. After that there is no `ferryctl rollback {}`.",
        row.run, row.run
    )
}

/// Whether agents of another run may be at work, and need the image that they are made of.
fn open_others(journal: &Journal, this: &RunRow) -> Result<bool, Failed> {
    let runs = journal.runs()?;
    Ok(runs.iter().any(|row| {
        !row.state.is_over() && row.run != this.run && row.subject.as_ref() != Some(&this.run)
    }))
}
