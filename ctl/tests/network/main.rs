//! The controller and its agents over a network that is cut, slow, one-sided or doubled: whatever it
//! does, each step is done once, the journal says what the ledgers say, and the run ends or says within
//! the stated time that an agent cannot be reached.

#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test fails the test, as the test itself would"
)]

mod sim;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use ferry_ctl::run::events::{RunEvent, RunState};
use ferry_proto::v1::{Place, StepStatus};
use sim::{CONTROLLER, End, PLACES, Weather, drive, plan};

/// What happens to the way between the controller and an agent.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Trouble {
    /// Nothing passes, for this long.
    Cut(u64),
    /// Nothing passes to the agent.
    Deaf(u64),
    /// Nothing passes from the agent: what it says, its last word among it, is lost.
    Mute(u64),
    /// Everything is held up, and then comes at once.
    Held(u64),
}

/// Longer than the pings' patience, so that the connection is given up and made again.
const LONG: u64 = 50;
const SHORT: u64 = 3;
const ALL: [Trouble; 7] = [
    Trouble::Cut(SHORT),
    Trouble::Cut(LONG),
    Trouble::Deaf(LONG),
    Trouble::Mute(SHORT),
    Trouble::Mute(LONG),
    Trouble::Held(SHORT),
    Trouble::Held(LONG),
];

impl Trouble {
    /// Begins it for every agent, and ends it after its time. Only within the simulation.
    fn begin(self) {
        let agents = PLACES.map(|place| place.word());
        let seconds = match self {
            Self::Cut(s) | Self::Deaf(s) | Self::Mute(s) | Self::Held(s) => s,
        };
        for agent in agents {
            match self {
                Self::Cut(_) => turmoil::partition(CONTROLLER, agent),
                Self::Deaf(_) => turmoil::partition_oneway(CONTROLLER, agent),
                Self::Mute(_) => turmoil::partition_oneway(agent, CONTROLLER),
                Self::Held(_) => turmoil::hold(CONTROLLER, agent),
            }
        }
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            for agent in agents {
                match self {
                    Self::Held(_) => turmoil::release(CONTROLLER, agent),
                    Self::Deaf(_) => turmoil::repair_oneway(CONTROLLER, agent),
                    Self::Mute(_) => turmoil::repair_oneway(agent, CONTROLLER),
                    Self::Cut(_) => turmoil::repair(CONTROLLER, agent),
                }
            }
        });
    }
}

fn ids() -> Vec<String> {
    plan().steps.into_iter().map(|step| step.id).collect()
}

fn done() -> Vec<String> {
    ids().iter().map(|id| format!("do {id}")).collect()
}

/// What always holds of a run that is over.
#[track_caller]
fn assert_sound(end: &End, what: &str) {
    let record = &end.result.record;
    for (step, state) in record.plan.steps.iter().zip(&record.steps) {
        let entry = end.ledgers.iter().find(|entry| entry.step == step.id);
        let status = entry.map_or(StepStatus::Planned, |entry| entry.status());
        assert_eq!(
            status, state.status,
            "{what}: {} by its ledger and by the journal",
            step.id
        );
        if status == StepStatus::Succeeded {
            let summaries = (
                entry
                    .and_then(|entry| entry.outcome.as_ref())
                    .map(|o| &o.summary),
                state.outcome.as_ref().map(|o| &o.summary),
            );
            assert_eq!(summaries.0, summaries.1, "{what}");
        }
    }
    let mut once = BTreeSet::new();
    for effect in &end.effects {
        assert!(
            once.insert(effect),
            "{what}: {effect} twice in {:?}",
            end.effects
        );
    }
    let mut notes = BTreeSet::new();
    for event in &end.events {
        if let RunEvent::Note { step, text } = event {
            assert!(notes.insert((step, text)), "{what}: {text} was told twice");
        }
    }
}

#[track_caller]
fn assert_done(end: &End, what: &str) {
    assert_eq!(
        end.result.state,
        RunState::Done,
        "{what}: {:?}",
        end.result.failure
    );
    assert_eq!(end.effects, done(), "{what}");
    assert_sound(end, what);
}

fn lost(end: &End) -> bool {
    let lost = |event: &RunEvent| matches!(event, RunEvent::Reconnecting { .. });
    end.events.iter().any(lost)
}

/// The events of an undisturbed run, with or without a step that fails.
fn calm(fails: Option<&'static str>) -> End {
    drive(
        Weather {
            fails,
            ..Weather::default()
        },
        false,
    )
}

#[test]
fn a_calm_network_is_a_calm_run() {
    let end = calm(None);
    assert_done(&end, "calm");
    assert!(!lost(&end));
    assert!(end.took < Duration::from_secs(30), "{:?}", end.took);
    let end = calm(Some("d"));
    assert_eq!(end.result.state, RunState::RolledBack);
    assert_sound(&end, "calm and broken");
}

/// Trouble that begins at an event of the driver, one run for each (or each so many).
fn at_events(troubles: &[Trouble], fails: Option<&'static str>, every: usize) {
    let calm = calm(fails);
    let mut losses = 0;
    for n in (0..calm.events.len() - 1).step_by(every) {
        for &trouble in troubles {
            let what = format!("{trouble:?} at event {n}, {:?}", calm.events[n]);
            let weather = Weather {
                seed: n as u64,
                on_event: Box::new(move |number, _| {
                    if number == n {
                        trouble.begin();
                    }
                }),
                fails,
                ..Weather::default()
            };
            let end = drive(weather, false);
            assert_eq!(
                end.result.state, calm.result.state,
                "{what}: {:?}",
                end.result.failure
            );
            assert_eq!(end.effects, calm.effects, "{what}");
            assert_sound(&end, &what);
            losses += u32::from(lost(&end));
        }
    }
    assert!(losses > 0, "it was no trouble");
}

#[test]
fn a_cut_at_any_event_changes_nothing() {
    at_events(&[Trouble::Cut(LONG)], None, 1);
}

#[test]
fn words_of_the_agent_that_are_lost_change_nothing() {
    at_events(&[Trouble::Mute(LONG)], None, 3);
}

#[test]
fn trouble_on_the_way_back_changes_nothing() {
    at_events(&[Trouble::Cut(LONG)], Some("d"), 4);
}

#[test]
#[ignore = "long: every kind of trouble at every event, forward and back"]
fn all_trouble_at_every_event_changes_nothing() {
    at_events(&ALL, None, 1);
    at_events(&ALL, Some("d"), 1);
}

/// Trouble that begins within the work of a step, one run for each of its parts.
fn within_steps(troubles: &[Trouble]) {
    for id in ids() {
        for part in ["do begin", "do middle", "do end"] {
            for &trouble in troubles {
                let what = format!("{trouble:?} within {id}, {part}");
                let once = Arc::new(AtomicBool::new(false));
                let step = id.clone();
                let weather = Weather {
                    on_work: Arc::new(move |at, now| {
                        if at == step && now == part && !once.swap(true, Relaxed) {
                            trouble.begin();
                        }
                    }),
                    ..Weather::default()
                };
                assert_done(&drive(weather, false), &what);
            }
        }
    }
}

#[test]
fn a_step_goes_on_while_nobody_hears_of_it() {
    within_steps(&[Trouble::Cut(LONG), Trouble::Held(SHORT)]);
}

#[test]
#[ignore = "long: every kind of trouble within every step"]
fn a_step_goes_on_through_all_trouble() {
    within_steps(&ALL);
}

/// Cut for ever: the run is held within the stated time, and goes on once the way is there again.
#[test]
fn an_agent_that_stays_away_is_told_within_the_stated_time() {
    cut_for_ever(4);
}

#[test]
#[ignore = "long: at every event"]
fn an_agent_that_stays_away_at_any_event_is_told_within_the_stated_time() {
    cut_for_ever(1);
}

fn cut_for_ever(every: usize) {
    let calm = calm(None);
    for n in (0..calm.events.len() - 1).step_by(every) {
        let what = format!("cut for ever at event {n}, {:?}", calm.events[n]);
        let weather = || Weather {
            on_event: Box::new(move |number, _| {
                if number == n {
                    for place in PLACES {
                        turmoil::partition(CONTROLLER, place.word());
                    }
                }
            }),
            ..Weather::default()
        };
        let end = drive(weather(), false);
        if end.result.state == RunState::Done {
            // The last word had been heard already.
            assert_done(&end, &what);
            continue;
        }
        assert_eq!(end.result.state, RunState::Held, "{what}");
        let failure = end.result.failure.clone().unwrap();
        assert_eq!(failure.code, "connection-lost", "{what}");
        assert!(
            failure.message.contains("was not found again for 120 s"),
            "{}",
            failure.message
        );
        assert!(failure.hint.contains("ferryctl resume"));
        // The time to notice (30 s), the patience (120 s), one last dial (30 s); and the steps before.
        assert!(
            end.took < Duration::from_secs(30 + 120 + 30 + 15),
            "{what}: {:?}",
            end.took
        );
        assert_done(&drive(weather(), true), &format!("{what}, then resumed"));
    }
}

/// A second client asks for the same steps at the same time, over connections of its own.
#[test]
fn whoever_else_asks_for_a_step_gets_the_same_one() {
    for fails in [None, Some("d")] {
        let calm = calm(fails);
        for seed in 0..5 {
            let end = drive(
                Weather {
                    seed,
                    rival: true,
                    fails,
                    ..Weather::default()
                },
                false,
            );
            assert_eq!(end.effects, calm.effects, "seed {seed}");
            assert_sound(&end, &format!("seed {seed}"));
        }
    }
}

fn index(dice: u64) -> usize {
    usize::try_from(dice).unwrap()
}

/// Trouble of every kind at moments that the seed chooses, with a second client at times.
fn at_random(seeds: std::ops::Range<u64>) {
    let broken = [None, Some("b"), Some("d"), Some("e")];
    let calm = broken.map(|fails| calm(fails).effects);
    for seed in seeds {
        // A generator of its own, so that a seed means the same in every release of any crate.
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut dice = move |sides: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % sides
        };
        let mut at = [0; 3].map(|_| (dice(40), ALL[index(dice(7))]));
        at.sort_by_key(|(number, _)| *number);
        let which = index(dice(4));
        let weather = Weather {
            seed,
            latency: Duration::from_millis(20 + dice(800)),
            rival: dice(3) == 0,
            on_event: Box::new(move |number, _| {
                for (_, trouble) in at.iter().filter(|(n, _)| index(*n) == number) {
                    trouble.begin();
                }
            }),
            fails: broken[which],
            ..Weather::default()
        };
        let end = drive(weather, true);
        let what = format!("seed {seed}");
        assert_eq!(end.effects, calm[which], "{what}: {at:?}");
        assert_sound(&end, &what);
    }
}

#[test]
fn many_seeds_change_nothing() {
    at_random(0..15);
}

#[test]
#[ignore = "long: a thousand seeds"]
fn a_thousand_seeds_change_nothing() {
    at_random(15..1015);
}

/// The places are three hosts of the network, each with its own ledger.
#[test]
fn steps_are_done_where_the_plan_says() {
    let end = calm(None);
    let places: Vec<Place> = plan().steps.iter().map(|step| step.place()).collect();
    assert_eq!(places.len(), end.ledgers.len());
}
