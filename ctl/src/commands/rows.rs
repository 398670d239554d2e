//! What the journal holds, in the words of the reports.

use ferry_proto::v1::Step;
use pbjson_types::Timestamp;

use crate::{
    recipes::{pmm_client_upgrade, pmm_move_appliance, upkeep},
    report::{RunRow, RunStatus, StepRow},
    run::{
        events::RunState,
        journal::{self, now},
        record::RunRecord,
    },
};

/// One run in one line.
pub(super) fn row(run: &journal::RunRow, record: &RunRecord) -> RunRow {
    let at = record.current_step().filter(|_| !run.state.is_over());
    let title = at
        .and_then(|step| record.plan.steps.get(step))
        .map(|step| step.title.clone());
    let title = match title {
        Some(title) if record.plan.is_rehearsal() => Some(format!("rehearsal: {title}")),
        None if record.plan.is_rehearsal() => Some("rehearsal".to_owned()),
        title => title,
    };
    // Of a run that is no crossing the table would not say otherwise what it was.
    let what = run
        .subject
        .as_ref()
        .map(|subject| format!("{} of run {subject}", upkeep::words(&run.plan)));
    let title = what.or(title);
    let container = record
        .plan
        .facts
        .as_ref()
        .and_then(|facts| facts.container.as_ref());
    let down = record.downtime.total_ms(now());
    let ever_down = record.downtime.since.is_some() || down > 0;
    RunRow {
        run: run.run.clone(),
        server: pmm_client_upgrade::client_of(&record.plan)
            .map(|client| client.host.clone())
            .or(container.map(|it| it.name.clone()))
            .unwrap_or_default(),
        state: run.state,
        step: at.map_or(record.plan.steps.len(), |step| step + 1),
        steps: record.plan.steps.len(),
        title: title.unwrap_or_default(),
        since: Some(timestamp(run.updated)),
        downtime_ms: ever_down.then_some(down),
    }
}

/// One run in full.
pub(super) fn status(run: &journal::RunRow, record: &RunRecord) -> RunStatus {
    let steps = record.plan.steps.iter().zip(&record.steps);
    let all = steps.map(|(step, state)| {
        let outcome = state.undo_outcome.as_ref().or(state.outcome.as_ref());
        StepRow {
            id: step.id.clone(),
            place: Step::place(step),
            title: step.title.clone(),
            status: state.status,
            summary: outcome.map(|it| it.summary.clone()).unwrap_or_default(),
            elapsed_ms: outcome.map(|it| it.elapsed_ms),
        }
    });
    let name = &run.run;
    let next = match run.state {
        RunState::Running | RunState::RollingBack | RunState::Held => {
            format!("`ferryctl resume {name}` goes on, `ferryctl rollback {name}` takes it back")
        }
        RunState::Done if run.subject.is_some() => String::new(),
        RunState::Done
            if pmm_client_upgrade::client_of(&record.plan).is_some()
                || pmm_move_appliance::origin_of(&record.plan).is_some() =>
        {
            format!("`ferryctl rollback {name}` takes it back")
        }
        RunState::Done => format!(
            "`ferryctl rollback {name}` takes it back, `ferryctl finish {name}` removes what it keeps for that"
        ),
        RunState::Finished => "`ferryctl backup list` shows whether its backup is kept".to_owned(),
        RunState::RolledBack => String::new(),
    };
    RunStatus {
        row: row(run, record),
        from_version: record.plan.from_version.clone(),
        to_version: record.plan.to_version.clone(),
        all: all.collect(),
        failure: record.failure.clone(),
        next,
    }
}

fn timestamp(millis: i64) -> Timestamp {
    Timestamp {
        seconds: millis.div_euclid(1000),
        nanos: i32::try_from(millis.rem_euclid(1000) * 1_000_000).unwrap_or(0),
    }
}
