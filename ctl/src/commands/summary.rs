//! The end of a run in words, from what its steps have left in the journal.

use ferry_proto::v1::{Outcome, action::Kind};

use crate::{
    recipes::{
        self, Compose, Recipe, Unit, Wishes, downtime, pmm_client_upgrade, pmm_move_appliance,
        pmm_move_data, policy,
    },
    report::{RehearsalReport, RunSummary},
    run::{driver::RunResult, events::RunState, journal::now, record::RunRecord},
};

/// The summary of a run as it stands.
pub(super) fn of(result: &RunResult) -> RunSummary {
    let record = &result.record;
    let plan = &record.plan;
    let container = plan
        .facts
        .as_ref()
        .and_then(|facts| facts.container.as_ref());
    let down = record.downtime.total_ms(now());
    let done = result.state == RunState::Done;
    RunSummary {
        run: result.run.clone(),
        server: pmm_client_upgrade::client_of(plan)
            .map(|client| client.host.clone())
            .or(taken_back_to(result).map(str::to_owned))
            .or(container.map(|it| it.name.clone()))
            .unwrap_or_default(),
        state: result.state,
        from_version: plan.from_version.clone(),
        to_version: plan.to_version.clone(),
        downtime_ms: (down > 0).then_some(down),
        held_at: held_at(result),
        moved_to: pmm_move_data::volume_of(plan)
            .unwrap_or(pmm_move_appliance::volume_of(plan))
            .to_owned(),
        found_again: if done {
            found_again(record)
        } else {
            Vec::new()
        },
        proof: if result.state == RunState::RolledBack {
            proof(record)
        } else {
            Vec::new()
        },
        warnings: warnings(record),
        kept: match result.state {
            RunState::RolledBack if record.was_told(ferry_proto::KEEP_COPY) => {
                Vec::from_iter(crate::backups::whereabouts(record))
            }
            RunState::RolledBack => Vec::new(),
            _ => kept(record),
        },
        next: next(result),
        failure: result.failure.clone(),
    }
}

/// The machine that a server is on again that was to leave it.
fn taken_back_to(result: &RunResult) -> Option<&str> {
    let origin = pmm_move_appliance::origin_of(&result.record.plan);
    origin.filter(|_| result.state == RunState::RolledBack)
}

/// The report of a rehearsal as it stands.
pub(super) fn of_rehearsal(result: &RunResult) -> RehearsalReport {
    let record = &result.record;
    let plan = &record.plan;
    let container = plan
        .facts
        .as_ref()
        .and_then(|facts| facts.container.as_ref());
    let done = result.state == RunState::Done;
    let (left_out, mend) = warnings(record)
        .into_iter()
        .partition(|text| text.starts_with("not compared: ") || text.starts_with("not required: "));
    let ended = outcome(record, |kind| matches!(kind, Kind::EndRehearsal(_)), false);
    let kept = ended.and_then(|it| it.values.get("kept")).filter(|_| done);
    RehearsalReport {
        run: result.run.clone(),
        server: container.map(|it| it.name.clone()).unwrap_or_default(),
        address: plan.server.clone(),
        state: result.state,
        from_version: plan.from_version.clone(),
        to_version: plan.to_version.clone(),
        to_image: target(record),
        recipe: Recipe::of(plan),
        downtime: if done {
            expected_downtime(record)
        } else {
            None
        },
        stopped_at: stopped_at(result),
        found_again: if done {
            found_again(record)
        } else {
            Vec::new()
        },
        left_out,
        mend,
        kept: kept.cloned().unwrap_or_default(),
        failure: result.failure.clone(),
        next: Vec::new(),
    }
    .with_ways_on()
}

fn target(record: &RunRecord) -> String {
    let facts = record.plan.facts.as_ref();
    let target = facts.and_then(|facts| facts.target.as_ref());
    target.map(|it| it.reference.clone()).unwrap_or_default()
}

fn expected_downtime(record: &RunRecord) -> Option<downtime::Downtime> {
    let plan = &record.plan;
    let facts = plan.facts.clone()?;
    let wishes = Wishes {
        allowed: policy::Allowed::of(plan),
        compose: Compose::of(plan),
        unit: Unit::of(plan),
        recipe: Recipe::of(plan),
        ..Wishes::new(target(record))
    };
    let crossing = recipes::plan(&plan.server, facts, &wishes, plan.created?).ok()?;
    Some(downtime::expected(&crossing.steps, |wanted| {
        outcome(record, wanted, false).map(|it| it.elapsed_ms)
    }))
}

/// The step that failed, or that the rehearsal stands at.
fn stopped_at(result: &RunResult) -> String {
    let (steps, states) = (&result.record.plan.steps, &result.record.steps);
    let failed = steps
        .iter()
        .zip(states)
        .find(|(_, state)| state.failure.is_some());
    match failed {
        Some((step, _)) => step.title.clone(),
        None => held_at(result),
    }
}

fn held_at(result: &RunResult) -> String {
    if result.state.is_over() {
        return String::new();
    }
    let Some(index) = result.record.current_step() else {
        return String::new();
    };
    let steps = &result.record.plan.steps;
    let title = steps
        .get(index)
        .map(|step| step.title.as_str())
        .unwrap_or_default();
    format!("{}/{} {title}", index + 1, steps.len())
}

/// The outcome of the first step of a kind.
fn outcome(record: &RunRecord, wanted: impl Fn(&Kind) -> bool, undo: bool) -> Option<&Outcome> {
    let index = record.plan.steps.iter().position(|step| {
        step.action
            .as_ref()
            .and_then(|action| action.kind.as_ref())
            .is_some_and(&wanted)
    })?;
    let state = record.steps.get(index)?;
    if undo {
        state.undo_outcome.as_ref()
    } else {
        state.outcome.as_ref()
    }
}

fn found_again(record: &RunRecord) -> Vec<String> {
    let compared = outcome(
        record,
        |kind| matches!(kind, Kind::CompareBaseline(_)),
        false,
    );
    let proven = outcome(
        record,
        |kind| matches!(kind, Kind::AwaitClient(it) if it.back_version.is_empty()),
        false,
    );
    if let Some(proven) = proven {
        return vec![proven.summary.clone()];
    }
    let summary = compared.map(|it| it.summary.as_str()).unwrap_or_default();
    let list = summary.strip_prefix("found again: ").unwrap_or(summary);
    list.split(", ")
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

fn proof(record: &RunRecord) -> Vec<String> {
    let restored = outcome(record, |kind| matches!(kind, Kind::HandOverVolume(_)), true);
    let owners = outcome(
        record,
        |kind| matches!(kind, Kind::TransferOwnership(_)),
        true,
    );
    let baseline = outcome(
        record,
        |kind| matches!(kind, Kind::CaptureBaseline(_)),
        true,
    );
    let client = outcome(record, |kind| matches!(kind, Kind::UpgradeClient(_)), true);
    // The first of its kind is the one whose undo asks the server.
    let seen = outcome(record, |kind| matches!(kind, Kind::AwaitClient(_)), true);
    let parts = [restored, owners, baseline, client, seen]
        .into_iter()
        .flatten();
    parts
        .map(|it| it.summary.clone())
        .filter(|text| !text.is_empty())
        .collect()
}

fn warnings(record: &RunRecord) -> Vec<String> {
    let outcomes = record
        .steps
        .iter()
        .map(|step| step.undo_outcome.as_ref().or(step.outcome.as_ref()));
    outcomes
        .flatten()
        .flat_map(|it| it.warnings.clone())
        .collect()
}

fn kept(record: &RunRecord) -> Vec<String> {
    let mut kept = Vec::new();
    if let Some(of) = outcome(record, |kind| matches!(kind, Kind::KeepClient(_)), false) {
        kept.push(format!("on its host: {}", of.summary));
    }
    if let Some(origin) = pmm_move_appliance::origin_of(&record.plan)
        && outcome(record, |kind| matches!(kind, Kind::StopServices(_)), false).is_some()
    {
        kept.push(format!(
            "the old machine, {origin} (its programs stopped, its data as it was)"
        ));
    }
    let aside = outcome(
        record,
        |kind| matches!(kind, Kind::SetAsideContainer(_)),
        false,
    );
    if let Some(name) = aside.and_then(|it| it.values.get("container")) {
        let what = if pmm_move_data::volume_of(&record.plan).is_some() {
            "stopped, fenced, with the data as it was"
        } else {
            "stopped, fenced"
        };
        kept.push(format!("container {name} ({what})"));
    }
    let edited = outcome(
        record,
        |kind| matches!(kind, Kind::EditComposeFile(_)),
        false,
    );
    if let Some(file) = edited.and_then(|it| it.values.get("kept")) {
        kept.push(format!("Compose's file as it was {file}"));
    }
    let edited = outcome(record, |kind| matches!(kind, Kind::EditUnitFiles(_)), false);
    if let Some(files) = edited.and_then(|it| it.values.get("kept")) {
        kept.push(format!("the unit's files as they were {files}"));
    }
    let launched = outcome(record, |kind| matches!(kind, Kind::LaunchAgents(_)), false);
    if let (Some(place), Some(_)) = (crate::backups::whereabouts(record), launched) {
        let bytes = record
            .plan
            .facts
            .as_ref()
            .and_then(|facts| facts.data.as_ref());
        let size = crate::units::bytes(bytes.map_or(0, |data| data.bytes));
        kept.push(format!("{place} ({size})"));
    }
    kept
}

fn next(result: &RunResult) -> Vec<String> {
    let run = &result.run;
    match result.state {
        RunState::Done => {
            // The old container is the backup of a run that moves data.
            let moves = pmm_move_data::volume_of(&result.record.plan).is_some();
            let verify = (!moves).then(|| format!("ferryctl backup verify {run}"));
            let back = format!("ferryctl rollback {run}");
            let plan = &result.record.plan;
            let keeps_nothing = pmm_client_upgrade::client_of(plan).is_some()
                || pmm_move_appliance::origin_of(plan).is_some();
            if keeps_nothing {
                return vec![back];
            }
            let others = [back, format!("ferryctl finish {run}")];
            verify.into_iter().chain(others).collect()
        }
        RunState::RolledBack | RunState::Finished => Vec::new(),
        RunState::Running | RunState::RollingBack | RunState::Held => {
            vec![
                format!("ferryctl resume {run}"),
                format!("ferryctl rollback {run}"),
            ]
        }
    }
}
