//! What is done about a crossing after it, as runs of their own: how such a run is begun, gone on
//! with, and told.

use ferry_proto::v1::{Outcome, Plan, action::Kind};

use super::{End, Failed, Session, session::Way};
use crate::{
    backups::{self, Known},
    cli::OnFailure,
    connect::{ConnectedHost, address::EngineChoice},
    exit::Exit,
    recipes::upkeep,
    report::{self, Upkeep},
    run::{
        driver::RunResult,
        events::RunState,
        journal::{Journal, RunRow},
    },
};

/// Drives a plan about the run `subject`: a run of the same kind that was cut off is gone on with,
/// when it does the same; else a new one is made, which locks `key`.
pub(super) async fn begin(
    session: &Session,
    host: &ConnectedHost,
    plan: &Plan,
    key: &str,
    subject: &str,
) -> Result<RunResult, Failed> {
    let journal = session.journal()?;
    let open = journal.open_upkeep(subject, &plan.recipe)?;
    let row = match open.filter(|open| open.plan.steps == plan.steps) {
        Some(open) => open,
        None => journal.run(&journal.create_upkeep(plan, key, subject)?)?,
    };
    go_on(session, host, &journal, &row).await
}

/// Drives such a run the way it goes.
pub(super) async fn go_on(
    session: &Session,
    host: &ConnectedHost,
    journal: &Journal,
    row: &RunRow,
) -> Result<RunResult, Failed> {
    let policy = Some(OnFailure::Rollback);
    session
        .drive_run(host, journal, &row.run, &row.plan, policy, &Way::Onward)
        .await
}

/// Says what came of a run, and how the program ends for it.
pub(super) fn tell(session: &Session, journal: &Journal, result: &RunResult) -> End {
    let upkeep = told(journal, result)?;
    session.printer.data(
        |look| report::upkeep(&upkeep, look),
        || report::json::upkeep(&upkeep),
    );
    Ok(exit(result.state))
}

pub(super) fn exit(state: RunState) -> Exit {
    match state {
        RunState::Done | RunState::Finished => Exit::Done,
        RunState::RolledBack => Exit::RolledBack,
        RunState::Held | RunState::Running | RunState::RollingBack => Exit::Held,
    }
}

pub(super) fn told(journal: &Journal, result: &RunResult) -> Result<Upkeep, Failed> {
    let row = journal.run(&result.run)?;
    let subject = row.subject.clone().unwrap_or_default();
    let crossing = known(journal, &subject)?;
    let plan = &result.record.plan;
    let facts = plan.facts.as_ref();
    let container = facts.and_then(|facts| facts.container.as_ref());
    let steps = result.record.steps.iter();
    let outcomes: Vec<&Outcome> = steps
        .filter_map(|step| step.undo_outcome.as_ref().or(step.outcome.as_ref()))
        .collect();
    let done = result.state == RunState::Done;
    let mut upkeep = Upkeep {
        run: result.run.clone(),
        subject,
        recipe: plan.recipe.clone(),
        server: container.map(|it| it.name.clone()).unwrap_or_default(),
        backup: backup_of(plan, crossing.as_ref()),
        state: result.state,
        proof: outcome(result, "prove-copy"),
        restored_to: String::new(),
        said: Vec::new(),
        warnings: outcomes.iter().flat_map(|it| it.warnings.clone()).collect(),
        lost: String::new(),
        next: Vec::new(),
        failure: result.failure.clone(),
    };
    if let Some(failure) = upkeep.failure.as_mut()
        && matches!(failure.code.as_str(), "copy-not-proven" | "manifest-other")
    {
        // The step's own advice is for a run that has just made the copy.
        failure.hint = "do not rely on this backup; look at the disk that it is on (`dmesg`), and \
                        keep the old server's data by other means while you have it"
            .to_owned();
    }
    match plan.recipe.as_str() {
        upkeep::RESTORE if done => restored(&mut upkeep, plan, crossing.as_ref()),
        upkeep::FINISH if done => {
            upkeep.said = outcomes.iter().map(|it| it.summary.clone()).collect();
            let removed = plan.steps.iter().any(|step| step.id == "remove-backup");
            if !removed && let Some((row, _)) = &crossing {
                let option = EngineChoice::of(plan).option();
                upkeep.next = vec![
                    format!("ferryctl backup restore {}", row.run),
                    format!("ferryctl backup prune{option}"),
                ];
            }
            if removed {
                upkeep.backup.clear();
            }
        }
        upkeep::PRUNE if done => {
            upkeep.said = outcomes.iter().map(|it| it.summary.clone()).collect();
        }
        _ => {}
    }
    if !result.state.is_over() {
        upkeep.next = vec![
            format!("ferryctl resume {}", result.run),
            format!("ferryctl rollback {}", result.run),
        ];
    }
    Ok(upkeep)
}

fn outcome(result: &RunResult, step: &str) -> String {
    let steps = result.record.plan.steps.iter().zip(&result.record.steps);
    let mut of_it = steps.filter(|(planned, _)| planned.id == step);
    of_it
        .find_map(|(_, state)| state.outcome.as_ref())
        .map(|outcome| outcome.summary.clone())
        .unwrap_or_default()
}

/// Where the backup is that a plan is about.
fn backup_of(plan: &Plan, crossing: Option<&Known>) -> String {
    let mut steps = plan.steps.iter();
    let place =
        steps.find_map(
            |step| match step.action.as_ref().and_then(|it| it.kind.as_ref())? {
                Kind::OpenBackup(it) => it.backup.as_ref(),
                Kind::RemoveBackup(it) => it.backup.as_ref(),
                _ => None,
            },
        );
    let named = place.map(backups::words);
    let known = || crossing.and_then(|(_, record)| backups::whereabouts(record));
    named.or_else(known).unwrap_or_default()
}

/// What a person does with a restored volume, and what is not in it.
fn restored(upkeep: &mut Upkeep, plan: &Plan, crossing: Option<&Known>) {
    let opened = plan.steps.iter().find_map(|step| {
        match step.action.as_ref().and_then(|it| it.kind.as_ref())? {
            Kind::OpenBackup(it) => Some(it),
            _ => None,
        }
    });
    let Some(opened) = opened else { return };
    let claim = opened.backup.as_ref().map_or("", |it| &it.claim);
    let namespace = claim.split_once('/').map(|(namespace, _)| namespace);
    let name = &opened.restore_to;
    upkeep.restored_to = namespace.map_or_else(|| name.clone(), |it| format!("{it}/{name}"));
    upkeep.said = vec![format!("every byte of {} was compared", upkeep.restored_to)];
    let row: Option<&RunRow> = crossing.map(|(row, _)| row);
    let stopped = row.and_then(|row| row.downtime_started);
    let since = stopped.map_or_else(
        || "since the backup was made".to_owned(),
        |at| format!("since {}, when the server was stopped", report::when(at)),
    );
    upkeep.lost =
        format!("what PMM has gathered {since}, is not in it, and no backup of Ferry's has it");
    if let Some(namespace) = namespace {
        upkeep.next = vec![format!(
            "kubectl describe persistentvolumeclaim {name} --namespace {namespace}"
        )];
        return;
    }
    let image = row.and_then(|row| row.plan.facts.as_ref()?.image.as_ref());
    let image = image.map_or("percona/pmm-server:2.44.1", |image| {
        if image.digest.contains('@') {
            &image.digest
        } else {
            &image.reference
        }
    });
    upkeep.next = vec![format!(
        "docker run --detach --name {}-restored --volume {name}:/srv --publish 8443:443 {image}",
        upkeep.server
    )];
}

/// A run with all its events, when the journal has it.
pub(super) fn known(journal: &Journal, run: &str) -> Result<Option<Known>, Failed> {
    use crate::run::journal::JournalError;
    match journal.run(run) {
        Ok(row) if row.run == run => {
            let record = journal.record(run)?;
            Ok(Some((row, record)))
        }
        Ok(_) | Err(JournalError::NoSuchRun { .. } | JournalError::AmbiguousRun { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
