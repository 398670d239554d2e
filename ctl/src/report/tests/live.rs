//! A run that ends well and one that is rolled back, in each of the three forms.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ferry_proto::v1::{Failure, Outcome, Plan, Progress, StepStatus};
use indicatif::ProgressDrawTarget;

use super::{boot_failure, screen::Screen};
use crate::{
    report::{
        Look,
        live::{Json, Live, Plain, Reporter},
    },
    run::events::{RunEvent, RunState},
    samples,
};

/// A clock that tests set, in milliseconds.
#[derive(Clone, Default)]
struct Hands(Arc<AtomicU64>);

impl Hands {
    fn clock(&self) -> Arc<dyn Fn() -> Duration + Send + Sync> {
        let hands = self.0.clone();
        Arc::new(move || Duration::from_millis(hands.load(Ordering::Relaxed)))
    }

    fn pass(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

/// An event, and how long it took to come.
type Timed = (u64, RunEvent);

fn outcome(status: StepStatus, summary: &str, elapsed_ms: u64) -> Outcome {
    Outcome {
        status: status.into(),
        summary: summary.into(),
        elapsed_ms,
        ..Outcome::default()
    }
}

fn at(plan: &Plan, id: &str) -> usize {
    plan.steps.iter().position(|step| step.id == id).unwrap()
}

fn begin(step: usize, undo: bool) -> Timed {
    (
        0,
        RunEvent::Intended {
            step,
            attempt: 1,
            undo,
        },
    )
}

fn end(step: usize, millis: u64, status: StepStatus, summary: &str) -> Timed {
    let undo = status == StepStatus::Undone;
    (
        millis,
        RunEvent::Finished {
            step,
            outcome: outcome(status, summary, millis),
            undo,
        },
    )
}

fn progress(step: usize, millis: u64, done: u64, total: u64, unit: &str) -> Timed {
    let progress = Progress {
        done,
        total,
        unit: unit.into(),
        current: String::new(),
    };
    (
        millis,
        RunEvent::Progress {
            step,
            progress,
            undo: false,
        },
    )
}

/// Until the transfer is two thirds through.
fn first_half(plan: &Plan) -> Vec<Timed> {
    let mut events = vec![(
        0,
        RunEvent::Started {
            run: plan.id.clone(),
            resumed: false,
            on_failure: None,
        },
    )];
    let copy = at(plan, "copy-volume");
    for step in 0..copy {
        events.push(begin(step, false));
        events.push(match step {
            0 => end(step, 100, StepStatus::Skipped, "present already"),
            _ => end(step, 1_900, StepStatus::Succeeded, ""),
        });
    }
    events.push(begin(copy, false));
    let total = 44_238_163_149;
    for second in 1..=35 {
        events.push(progress(copy, 1_000, total * second / 36, total, "bytes"));
    }
    let why = "the engine closed the connection\r\n\x1b[2J".into();
    events.push((0, RunEvent::Reconnecting { step: copy, why }));
    let mut copied = outcome(StepStatus::Warned, "612,408 entries, 41.2 GiB", 36_000);
    copied
        .warnings
        .push("3 files vanished while they were copied".into());
    events.push((
        1_000,
        RunEvent::Finished {
            step: copy,
            outcome: copied,
            undo: false,
        },
    ));
    events.push((0, RunEvent::DowntimeStarted));
    let transfer = at(plan, "transfer-ownership");
    for step in copy + 1..transfer {
        events.push(begin(step, false));
        events.push(end(
            step,
            800,
            StepStatus::Succeeded,
            "1,204 files, 38.4 MiB",
        ));
    }
    events.push(begin(transfer, false));
    events.push(progress(transfer, 10, 1_000, 611_977, "entries"));
    events.push(progress(transfer, 613, 402_118, 611_977, "entries"));
    events
}

fn successful(plan: &Plan) -> Vec<Timed> {
    let mut events = first_half(plan);
    let transfer = at(plan, "transfer-ownership");
    events.push(end(transfer, 320, StepStatus::Succeeded, "611,977 entries"));
    let ready = at(plan, "wait-until-ready");
    for step in transfer + 1..plan.steps.len() {
        events.push(begin(step, false));
        events.push((
            0,
            RunEvent::Note {
                step,
                text: "a sentence for the log".into(),
            },
        ));
        events.push(end(step, 2_000, StepStatus::Succeeded, ""));
        if step == ready {
            events.push((0, RunEvent::DowntimeEnded { millis: 23_400 }));
        }
    }
    events.push((
        0,
        RunEvent::Ended {
            state: RunState::Done,
            failure: None,
        },
    ));
    events
}

fn rolled_back(plan: &Plan) -> Vec<Timed> {
    let start = at(plan, "start-server");
    let mut events = vec![(
        0,
        RunEvent::Started {
            run: plan.id.clone(),
            resumed: true,
            on_failure: None,
        },
    )];
    events.push(begin(start, false));
    events.push((
        14_200,
        RunEvent::Failed {
            step: start,
            failure: boot_failure(),
            undo: false,
        },
    ));
    events.push((
        0,
        RunEvent::RollingBack {
            why: Some(boot_failure()),
        },
    ));
    for step in (1..=start).rev() {
        events.push(begin(step, true));
        if step == 1 {
            let failure = Failure {
                code: "connection-lost".into(),
                message: "the engine does not answer".into(),
                ..Failure::default()
            };
            events.push((
                0,
                RunEvent::Failed {
                    step,
                    failure,
                    undo: true,
                },
            ));
            events.push((
                0,
                RunEvent::Intended {
                    step,
                    attempt: 2,
                    undo: true,
                },
            ));
        }
        events.push(end(step, 500, StepStatus::Undone, ""));
    }
    events.push((0, RunEvent::DowntimeEnded { millis: 58_000 }));
    let failure = Some(boot_failure());
    events.push((
        0,
        RunEvent::Ended {
            state: RunState::RolledBack,
            failure,
        },
    ));
    events
}

fn play(hands: &Hands, reporter: &mut dyn Reporter, plan: &Plan, events: &[Timed]) {
    for (millis, event) in events {
        hands.pass(*millis);
        reporter.event(plan, event);
    }
}

fn plain(events: fn(&Plan) -> Vec<Timed>, quiet: bool) -> String {
    let (hands, plan, mut out) = (Hands::default(), samples::plan(), Vec::new());
    let mut reporter = Plain::with_clock(&mut out, quiet, hands.clock());
    play(&hands, &mut reporter, &plan, &events(&plan));
    let text = String::from_utf8(out).unwrap();
    assert!(
        !text.chars().any(|c| c.is_control() && c != '\n'),
        "{text:?}"
    );
    text
}

fn drawn(events: fn(&Plan) -> Vec<Timed>, width: u16) -> String {
    let (hands, plan, screen) = (Hands::default(), samples::plan(), Screen::new(width));
    let look = Look::plain(usize::from(width));
    // Without a limit of its rate, which would make the picture depend on the speed of the test.
    let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
    let size = Arc::new(move || usize::from(width));
    let mut reporter = Live::on(target, look, false, size, hands.clock());
    play(&hands, &mut reporter, &plan, &events(&plan));
    // Before the view goes away, which takes the running step's line with it.
    let text = screen.text();
    drop(reporter);
    for line in text.lines() {
        assert!(line.chars().count() <= usize::from(width), "{line:?}");
    }
    text
}

#[test]
fn a_log_of_a_successful_run() {
    insta::assert_snapshot!(plain(successful, false));
}

#[test]
fn a_log_of_a_rollback() {
    insta::assert_snapshot!(plain(rolled_back, false));
}

#[test]
fn a_quiet_log_has_what_went_wrong_only() {
    insta::assert_snapshot!(plain(successful, true) + &plain(rolled_back, true));
}

#[test]
fn progress_is_logged_every_ten_seconds_at_most() {
    let lines = plain(successful, false);
    assert_eq!(
        lines
            .lines()
            .filter(|line| line.contains("copy volume → ") && line.contains('%'))
            .count(),
        3
    );
}

#[test]
fn a_terminal_in_the_middle_of_a_run() {
    insta::assert_snapshot!(drawn(first_half, 100));
    insta::assert_snapshot!(
        "a_narrow_terminal_in_the_middle_of_a_run",
        drawn(first_half, 40)
    );
}

#[test]
fn a_terminal_after_a_successful_run() {
    insta::assert_snapshot!(drawn(successful, 80));
}

#[test]
fn a_terminal_after_a_rollback() {
    insta::assert_snapshot!(drawn(rolled_back, 80));
    insta::assert_snapshot!("a_narrow_terminal_after_a_rollback", drawn(rolled_back, 40));
}

#[test]
fn programs_get_one_object_a_line() {
    let (hands, plan, mut out) = (Hands::default(), samples::plan(), Vec::new());
    play(&hands, &mut Json::new(&mut out), &plan, &rolled_back(&plan));
    let text = String::from_utf8(out).unwrap();
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["kind"], "event");
        // What was written can be read again as the event that it was.
        serde_json::from_value::<RunEvent>(value).unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn an_event_of_another_plan_is_no_reason_to_fall_over() {
    let odd = |_: &Plan| {
        vec![
            begin(usize::MAX, false),
            begin(99, true),
            end(99, 1, StepStatus::Succeeded, ""),
        ]
    };
    assert!(plain(odd, false).contains("(not in this plan)"));
    assert!(drawn(odd, 80).contains("(not in this plan)"));
}
