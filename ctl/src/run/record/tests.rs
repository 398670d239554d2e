use ferry_proto::v1::{Step, StepStatus};
use proptest::prelude::*;

use super::*;

fn plan(steps: usize) -> Plan {
    let steps = (0..steps).map(|n| Step {
        id: format!("step-{n}"),
        downtime: n == 1,
        ..Step::default()
    });
    Plan {
        steps: steps.collect(),
        ..Plan::default()
    }
}

fn started(resumed: bool) -> RunEvent {
    RunEvent::Started {
        run: "7f3a9c21".into(),
        resumed,
        on_failure: None,
    }
}

fn intended(step: usize, attempt: u32, undo: bool) -> RunEvent {
    RunEvent::Intended {
        step,
        attempt,
        undo,
    }
}

fn finished(step: usize, undo: bool) -> RunEvent {
    let status = if undo {
        StepStatus::Undone
    } else {
        StepStatus::Succeeded
    };
    let outcome = Outcome {
        status: status.into(),
        ..Outcome::default()
    };
    RunEvent::Finished {
        step,
        outcome,
        undo,
    }
}

fn failed(step: usize, undo: bool) -> RunEvent {
    let failure = Failure {
        code: "broken".into(),
        ..Failure::default()
    };
    RunEvent::Failed {
        step,
        failure,
        undo,
    }
}

fn ended(state: RunState) -> RunEvent {
    RunEvent::Ended {
        state,
        failure: None,
    }
}

fn entries(events: impl IntoIterator<Item = RunEvent>) -> Vec<Entry> {
    let numbered = (1..).zip(events);
    numbered
        .map(|(index, event)| Entry {
            index,
            time: 1000 * index as i64,
            event,
        })
        .collect()
}

fn refused(steps: usize, events: impl IntoIterator<Item = RunEvent>) -> (u64, String) {
    let (index, why) = replay(plan(steps), &entries(events)).unwrap_err();
    (index, why.to_string())
}

#[test]
fn a_straight_run_is_done() {
    let events = [
        started(false),
        intended(0, 1, false),
        finished(0, false),
        RunEvent::DowntimeStarted,
        intended(1, 1, false),
        finished(1, false),
        RunEvent::DowntimeEnded { millis: 2000 },
        ended(RunState::Done),
    ];
    let record = replay(plan(2), &entries(events)).unwrap();
    assert_eq!(record.state(), RunState::Done);
    assert_eq!(record.current_step(), None);
    assert_eq!(
        record.downtime,
        Downtime {
            since: None,
            over_ms: 2000
        }
    );
    assert!(
        record
            .steps
            .iter()
            .all(|step| step.status == StepStatus::Succeeded)
    );
}

#[test]
fn downtime_counts_to_the_last_step_of_it_and_not_to_the_return_of_the_controller() {
    let events = [
        started(false),
        RunEvent::DowntimeStarted,
        intended(1, 1, false),
        finished(1, false),
    ];
    let mut all = entries(events);
    all.push(Entry {
        index: 5,
        time: 3_600_000,
        event: started(true),
    });
    let record = replay(plan(2), &all).unwrap();
    assert_eq!(record.downtime_millis(), Some(2000));
    assert_eq!(record.downtime.total_ms(5000), 3000);
}

#[test]
fn a_clock_that_was_put_back_during_the_downtime_takes_none_of_it_away() {
    let mut all = entries([started(false), RunEvent::DowntimeStarted]);
    let began = all[1].time;
    for (index, event) in [(3, intended(1, 1, false)), (4, finished(1, false))] {
        // An hour before the downtime began.
        let time = began - 3_600_000;
        all.push(Entry { index, time, event });
    }
    let record = replay(plan(2), &all).unwrap();
    assert_eq!(record.downtime_millis(), Some(0));
    assert_eq!(record.downtime.total_ms(began - 3_600_000), 0);
}

/// A crossing and its way back, with a downtime in each, and a controller that died in between.
fn there_and_back() -> Vec<RunEvent> {
    vec![
        started(false),
        RunEvent::DowntimeStarted,
        intended(0, 1, false),
        finished(0, false),
        intended(1, 1, false),
        started(true),
        intended(1, 2, false),
        failed(1, false),
        RunEvent::RollingBack { why: None },
        intended(1, 1, true),
        finished(1, true),
        intended(0, 1, true),
        finished(0, true),
    ]
}

proptest! {
    /// What stands in a journal of time is never a reason to act otherwise, however the clock jumped: the events alone say where the
    /// run is, and no time that passed is negative or beyond any number.
    #[test]
    fn a_clock_that_jumps_changes_nothing_but_times(
        times in proptest::collection::vec(prop_oneof![any::<i64>(), 0..2_000_000_000_000_i64], 13),
        now in any::<i64>(),
    ) {
        let straight = entries(there_and_back());
        let mut jumping = straight.clone();
        for (entry, time) in jumping.iter_mut().zip(&times) {
            entry.time = *time;
        }
        for length in 1..=straight.len() {
            let is = replay(plan(2), &jumping[..length]).unwrap();
            let was = replay(plan(2), &straight[..length]).unwrap();
            prop_assert_eq!(&is.position, &was.position);
            let told = |record: &RunRecord| {
                let steps = record.steps.iter().map(|it| (it.status, it.attempt, it.undo_attempt));
                (steps.collect::<Vec<_>>(), record.downtime.over_ms, record.current_step())
            };
            prop_assert_eq!(told(&is), told(&was));
            let most = u64::try_from(i64::MAX).unwrap();
            prop_assert!(is.downtime.total_ms(now) <= most);
            prop_assert!(is.downtime_millis().unwrap_or(0) <= most);
        }
    }
}

#[test]
fn a_journal_that_cannot_be_is_refused_at_the_event_that_says_so() {
    let (index, why) = refused(1, [started(false), finished(0, false)]);
    assert_eq!((index, why.contains("step 1")), (2, true), "{why}");
    let twice = [started(false), intended(0, 1, false), intended(0, 1, false)];
    assert_eq!(refused(1, twice), (3, "step 1: try 1 follows try 1".into()));
    assert_eq!(
        refused(1, [started(false), intended(7, 1, false)]),
        (2, "the plan has no step 8".into())
    );
    assert_eq!(
        refused(1, [started(false), ended(RunState::Done)]),
        (2, "the run cannot be done while step 1 is planned".into())
    );
    assert_eq!(
        refused(1, [started(false), RunEvent::DowntimeEnded { millis: 1 }]),
        (2, "the downtime ended without having begun".into())
    );
    let (index, why) = refused(1, [started(false), intended(0, 1, true)]);
    assert_eq!(
        (index, why.as_str()),
        (
            2,
            "a run that is running cannot take the event intended to undo"
        )
    );
}

#[test]
fn nothing_follows_the_end_but_taking_it_up_again() {
    let over = [started(false), ended(RunState::Held)];
    let (index, _) = refused(1, over.clone().into_iter().chain([intended(0, 1, false)]));
    assert_eq!(index, 3);
    let again = over
        .into_iter()
        .chain([started(true), intended(0, 1, false)]);
    assert_eq!(
        replay(plan(1), &entries(again)).unwrap().state(),
        RunState::Running
    );

    let back = [
        started(false),
        RunEvent::RollingBack { why: None },
        ended(RunState::RolledBack),
        started(true),
    ];
    assert_eq!(refused(1, back).0, 4);
}

#[test]
fn a_missing_event_is_noticed() {
    let mut torn = entries([started(false), intended(0, 1, false), finished(0, false)]);
    torn.remove(1);
    let (index, why) = replay(plan(1), &torn).unwrap_err();
    assert_eq!((index, why.to_string().as_str()), (3, "event 2 is missing"));
}

#[test]
fn a_refused_event_leaves_the_record_as_it_was() {
    let events = entries([started(false), intended(0, 1, false)]);
    let mut record = replay(plan(2), &events).unwrap();
    let before = record.clone();
    for event in [
        intended(0, 1, false),
        finished(1, false),
        ended(RunState::Done),
        finished(0, true),
    ] {
        record.apply(1, &event).unwrap_err();
        assert_eq!(record, before, "{event:?}");
    }
}

const STEPS: usize = 4;

/// A run as a driver would make it, choice by choice: what the bytes do not decide, the driver's
/// own rules do.
fn drive(choices: &[u8]) -> Vec<Entry> {
    let mut record = RunRecord::new(plan(STEPS));
    let mut events = Vec::new();
    let mut log = |record: &mut RunRecord, event: RunEvent| {
        record.apply(1000 * events.len() as i64, &event).unwrap();
        events.push(event);
    };
    log(&mut record, started(false));
    for choice in choices {
        let state = record.state();
        if state == RunState::RolledBack {
            break;
        }
        if matches!(state, RunState::Done | RunState::Held) || choice % 7 == 0 {
            log(&mut record, started(true));
            continue;
        }
        let back = record.position.backward;
        let Some(step) = record.current_step() else {
            log(
                &mut record,
                ended(if back {
                    RunState::RolledBack
                } else {
                    RunState::Done
                }),
            );
            continue;
        };
        let status = record.steps[step].status;
        let event = match (status, back) {
            (StepStatus::Intended, false) if choice % 3 == 0 => failed(step, false),
            (StepStatus::Intended, false) => finished(step, false),
            (StepStatus::Undoing, true) if choice % 3 == 0 => failed(step, true),
            (StepStatus::Undoing, true) => finished(step, true),
            (StepStatus::Failed, false) if choice % 2 == 0 => RunEvent::RollingBack { why: None },
            (StepStatus::Failed, false) => ended(RunState::Held),
            (StepStatus::UndoFailed, true) if choice % 2 == 0 => ended(RunState::Held),
            (_, true) => intended(step, record.steps[step].undo_attempt + 1, true),
            (_, false) => intended(step, record.steps[step].attempt + 1, false),
        };
        log(&mut record, event);
    }
    entries(events)
}

proptest! {
    /// A crash leaves any beginning of a journal: it must be understood, and a driver that goes on
    /// from there must be able to end the run both ways.
    #[test]
    fn every_beginning_of_a_run_replays_and_can_be_gone_on_with(
        choices in prop::collection::vec(any::<u8>(), 0..60),
        cut in any::<prop::sample::Index>(),
    ) {
        let all = drive(&choices);
        let kept = &all[..cut.index(all.len() + 1)];
        let record = replay(plan(STEPS), kept).unwrap();
        prop_assert_eq!(record.steps.len(), STEPS);
        if record.state() == RunState::RolledBack {
            return Ok(());
        }

        let mut back = record.clone();
        back.apply(1, &started(true)).unwrap();
        if !back.position.backward {
            back.apply(1, &RunEvent::RollingBack { why: None }).unwrap();
        }
        for step in (0..STEPS).rev().filter(|step| record.steps[*step].status.needs_undo()) {
            let attempt = back.steps[step].undo_attempt + 1;
            back.apply(1, &intended(step, attempt, true)).unwrap();
            back.apply(1, &finished(step, true)).unwrap();
        }
        back.apply(1, &ended(RunState::RolledBack)).unwrap();

        if !record.position.backward {
            let mut forward = record.clone();
            forward.apply(1, &started(true)).unwrap();
            for step in (0..STEPS).filter(|step| !record.steps[*step].status.is_done()) {
                let attempt = forward.steps[step].attempt + 1;
                forward.apply(1, &intended(step, attempt, false)).unwrap();
                forward.apply(1, &finished(step, false)).unwrap();
            }
            forward.apply(1, &ended(RunState::Done)).unwrap();
        }
    }

    /// The store keeps only the position of a run: it must be the record's own.
    #[test]
    fn the_position_alone_goes_the_same_way(choices in prop::collection::vec(any::<u8>(), 0..60)) {
        let all = drive(&choices);
        let mut position = Position::default();
        for (n, entry) in all.iter().enumerate() {
            position = position.after(&entry.event).unwrap();
            prop_assert_eq!(position, replay(plan(STEPS), &all[..=n]).unwrap().position);
        }
    }

    /// An event survives being written down.
    #[test]
    fn events_are_read_as_they_were_written(choices in prop::collection::vec(any::<u8>(), 0..60)) {
        for entry in drive(&choices) {
            let text = serde_json::to_string(&entry.event).unwrap();
            prop_assert_eq!(serde_json::from_str::<RunEvent>(&text).unwrap(), entry.event);
        }
    }
}
