//! The driver against a double of the agents. Most tests go over every step or every event of a
//! plan: cut, kill or fail there, and the end must be the one of an undisturbed run.

mod bench;
mod origin;
mod way_back;

use std::time::Duration;

use self::bench::{Bench, done, ids, quick, undone};
use super::*;
use crate::recipes::pmm_kubernetes;

fn position(events: &[RunEvent], wanted: impl Fn(&RunEvent) -> bool) -> usize {
    events.iter().position(wanted).unwrap()
}

#[tokio::test]
async fn a_run_goes_through_and_downtime_is_what_the_plan_says() {
    let bench = Bench::new();
    let (mut driver, heard) = bench.driver_that_dies(quick(), usize::MAX);
    let result = driver.apply(&bench.run).await.unwrap();
    assert_eq!(result.state, RunState::Done);
    assert_eq!(result.failure, None);
    assert_eq!(bench.effects(), done(&ids()));
    bench.check(&result);

    let events = bench.logged();
    assert_eq!(
        *heard.lock().unwrap(),
        events,
        "all that is kept is told, in order"
    );
    let started = position(&events, |event| *event == RunEvent::DowntimeStarted);
    let ended = position(&events, |event| {
        matches!(event, RunEvent::DowntimeEnded { .. })
    });
    let stop = position(&events, |event| {
        matches!(event, RunEvent::Intended { step: 3, .. })
    });
    let start = position(&events, |event| {
        matches!(event, RunEvent::Finished { step: 6, .. })
    });
    assert_eq!((started + 1, ended), (stop, start + 1));
    assert!(bench.journal.progress(&bench.run).unwrap().is_some());
    assert_eq!(
        driver.apply(&bench.run).await.unwrap_err().code(),
        "run-over"
    );
}

#[tokio::test]
async fn a_failed_step_is_undone_with_all_before_it_last_first() {
    for (k, id) in ids().iter().enumerate() {
        let bench = Bench::new();
        bench.double.state().fail.insert((id.clone(), false));
        let result = bench.apply().await;
        assert_eq!(result.state, RunState::RolledBack, "{id}");
        assert_eq!(result.failure.as_ref().unwrap().code, "broken");
        let begun = &ids()[..=k];
        assert_eq!(bench.effects(), [done(begun), undone(begun)].concat());
        bench.check(&result);
    }
}

#[tokio::test]
async fn a_connection_that_is_lost_at_any_event_changes_nothing() {
    let calm = Bench::new();
    calm.apply().await;
    let events = calm.double.state().sent;
    let notes = |bench: &Bench| {
        bench
            .logged()
            .into_iter()
            .filter(|event| matches!(event, RunEvent::Note { .. }))
            .count()
    };
    for n in 0..events {
        let bench = Bench::new();
        bench.double.state().cut_at = Some(n);
        let result = bench.apply().await;
        assert_eq!(result.state, RunState::Done, "cut at {n}");
        assert_eq!(bench.effects(), calm.effects(), "cut at {n}");
        assert_eq!(
            notes(&bench),
            notes(&calm),
            "no note is told twice, cut at {n}"
        );
        let lost = |event: &RunEvent| matches!(event, RunEvent::Reconnecting { .. });
        assert!(bench.logged().iter().any(lost), "cut at {n}");
        assert!(
            result.record.steps.iter().all(|step| step.attempt == 1),
            "the same try goes on"
        );
        bench.check(&result);
    }
}

#[tokio::test]
async fn a_key_goes_to_the_steps_that_try_it_and_into_no_file() {
    const KEY: &str = "eyJrIjoib3duIiwibiI6ImNpIn0=";
    let keyed = |bench: &Bench| bench.double.state().keyed.clone();
    for failing in [None, Some("retire-agents")] {
        let bench = Bench::with_baselines();
        let fail = failing.map(|id| (id.to_owned(), false));
        bench.double.state().fail.extend(fail);
        let (driver, heard) = bench.driver_that_dies(quick(), usize::MAX);
        let mut driver = driver.with_api_key(Some(Secret::new(KEY)));
        let result = driver.apply(&bench.run).await.unwrap();
        assert_eq!(result.state == RunState::Done, failing.is_none());
        // Not on the way back either.
        assert_eq!(
            keyed(&bench),
            ["run capture-baseline", "run compare-baseline"]
        );
        let told = format!("{result:?} {:?}", heard.lock().unwrap());
        assert!(!told.contains(KEY));
        drop(driver);
        let mut files = 0;
        for entry in walk(bench.folder.path()) {
            let bytes = fs_err::read(&entry).unwrap();
            let found = bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes());
            assert!(!found, "{} has the key", entry.display());
            files += 1;
        }
        assert!(files > 0, "the journal is a file");
    }
    let bench = Bench::with_baselines();
    bench.apply().await;
    assert!(keyed(&bench).is_empty());
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(walk(&path));
        } else if path.is_file() {
            all.push(path);
        }
    }
    all
}

#[tokio::test]
async fn a_driver_killed_at_any_event_is_gone_on_with() {
    for failing in [None, Some("transfer-ownership")] {
        let prepare = || {
            let bench = Bench::new();
            bench
                .double
                .state()
                .fail
                .extend(failing.map(|id| (id.to_owned(), false)));
            bench
        };
        let calm = prepare();
        let expected = calm.apply().await;
        let events = calm.logged().len();
        for n in 0..events {
            let bench = prepare();
            let mut driver = bench.driver_that_dies(quick(), n).0;
            let run = bench.run.clone();
            let killed = tokio::spawn(async move { driver.apply(&run).await.is_ok() }).await;
            assert!(killed.is_err(), "the driver was to die after event {n}");
            assert_eq!(bench.logged().len(), n + 1);

            if n + 1 < events {
                let result = bench.apply().await;
                assert_eq!(result.state, expected.state, "killed after {n}");
                assert_eq!(result.failure, expected.failure, "killed after {n}");
                bench.check(&result);
            } else {
                let refused = bench.driver(quick()).apply(&bench.run).await.unwrap_err();
                assert_eq!(refused.code(), "run-over");
            }
            // A step that failed is tried again when the failure was all that was known.
            let mut effects = bench.effects();
            effects.dedup();
            assert_eq!(effects, calm.effects(), "killed after {n}");
            if failing.is_none() {
                assert_eq!(bench.effects(), calm.effects(), "killed after {n}");
            }
        }
    }
}

#[tokio::test]
async fn a_driver_killed_while_a_step_works_attaches_to_it() {
    for id in ids() {
        let bench = Bench::new();
        bench.double.state().hang.insert(id.clone());
        let mut driver = bench.driver(quick());
        let run = bench.run.clone();
        let driving = tokio::spawn(async move { driver.apply(&run).await.is_ok() });
        let effect = format!("do {id}");
        while bench.effects().last() != Some(&effect) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        driving.abort();
        assert!(driving.await.unwrap_err().is_cancelled());

        bench.double.release();
        let result = bench.apply().await;
        assert_eq!(result.state, RunState::Done, "{id}");
        assert_eq!(bench.effects(), done(&ids()), "{id}");
        bench.check(&result);
    }
}

#[tokio::test]
async fn losses_on_top_of_a_crash_change_nothing_either() {
    for failing in [None, Some("start-server")] {
        let prepare = || {
            let bench = Bench::new();
            bench
                .double
                .state()
                .fail
                .extend(failing.map(|id| (id.to_owned(), false)));
            bench
        };
        let calm = prepare();
        let expected = calm.apply().await;
        let (events, sent) = (calm.logged().len(), calm.double.state().sent);
        for (n, m) in (0..events - 2).step_by(4).zip((0..sent).step_by(3)) {
            let bench = prepare();
            bench.double.state().cut_at = Some(m);
            let mut driver = bench.driver_that_dies(quick(), n).0;
            let run = bench.run.clone();
            assert!(
                tokio::spawn(async move { driver.apply(&run).await.is_ok() })
                    .await
                    .is_err()
            );
            let sent = bench.double.state().sent;
            bench.double.state().cut_at = Some(sent + n % 5);

            let result = bench.apply().await;
            assert_eq!(result.state, expected.state, "killed after {n}, cut at {m}");
            let mut effects = bench.effects();
            effects.dedup();
            assert_eq!(effects, calm.effects(), "killed after {n}, cut at {m}");
            bench.check(&result);
        }
    }
}

#[tokio::test]
async fn what_is_done_can_be_taken_back_and_then_nothing_is_left() {
    let bench = Bench::new();
    bench.apply().await;
    let mut driver = bench.driver(quick());
    let result = driver.rollback(&bench.run).await.unwrap();
    assert_eq!(result.state, RunState::RolledBack);
    assert_eq!(result.failure, None);
    assert_eq!(bench.effects(), [done(&ids()), undone(&ids())].concat());
    let started = |event: &&RunEvent| **event == RunEvent::DowntimeStarted;
    assert_eq!(
        bench.logged().iter().filter(started).count(),
        2,
        "once each way"
    );
    bench.check(&result);
    assert_eq!(
        driver.rollback(&bench.run).await.unwrap_err().code(),
        "run-over"
    );
    assert_eq!(
        driver.apply(&bench.run).await.unwrap_err().code(),
        "run-over"
    );
}

#[tokio::test]
async fn a_run_of_which_nothing_was_done_is_taken_back_without_an_agent() {
    let bench = Bench::new();
    bench.double.state().down = true;
    let result = bench.driver(quick()).rollback(&bench.run).await.unwrap();
    assert_eq!(result.state, RunState::RolledBack);
    assert!(bench.effects().is_empty());
    bench.check(&result);
}

#[tokio::test]
async fn a_failed_undo_holds_and_says_what_is_where() {
    let bench = Bench::new();
    bench
        .double
        .state()
        .fail
        .insert(("transfer-ownership".into(), false));
    bench
        .double
        .state()
        .fail
        .insert(("stop-services".into(), true));
    let held = bench.apply().await;
    assert_eq!(held.state, RunState::Held);
    bench.check(&held);
    let failure = held.failure.unwrap();
    assert!(
        failure
            .hint
            .contains(&format!("ferryctl resume {}", bench.run)),
        "{}",
        failure.hint
    );
    let places: Vec<_> = failure.details.iter().map(String::as_str).collect();
    assert_eq!(
        places,
        [
            "step 1 (host) pull image: done",
            "step 2 (host) launch agents: done",
            "step 3 (container) capture baseline: done",
            "step 4 (container) stop services: undo failed",
            "step 5 (host) stop server: undone",
            "step 6 (volume) transfer ownership: undone",
        ]
    );
    assert!(
        held.record.downtime.since.is_some(),
        "the server does not serve"
    );

    bench.double.state().fail.clear();
    let result = bench.apply().await;
    assert_eq!(result.state, RunState::RolledBack);
    assert_eq!(
        result.failure.as_ref().unwrap().message,
        "transfer-ownership is broken"
    );
    assert_eq!(result.record.steps[3].undo_attempt, 2);
    bench.check(&result);
}

#[tokio::test]
async fn the_policy_may_hold_and_resuming_tries_the_step_again() {
    let bench = Bench::new();
    bench
        .double
        .state()
        .fail
        .insert(("stop-server".into(), false));
    let hold = Options {
        on_failure: Some(OnFailure::Hold),
        ..quick()
    };
    let held = bench.driver(hold).apply(&bench.run).await.unwrap();
    assert_eq!(held.state, RunState::Held);
    assert_eq!(bench.effects(), done(&ids()[..5]), "nothing is undone");
    bench.check(&held);

    // Whoever goes on need not say it again, and may say otherwise.
    assert_eq!(bench.apply().await.state, RunState::Held);
    let mut taken_back = bench.journal.record(&bench.run).unwrap();
    assert_eq!(taken_back.on_failure, OnFailure::Hold);
    let otherwise = RunEvent::Started {
        run: bench.run.clone(),
        resumed: true,
        on_failure: Some(OnFailure::Rollback),
    };
    taken_back.apply(0, &otherwise).unwrap();
    assert_eq!(taken_back.on_failure, OnFailure::Rollback);

    bench.double.state().fail.clear();
    let result = bench.apply().await;
    assert_eq!(result.state, RunState::Done);
    assert_eq!(result.record.steps[4].attempt, 3);
    bench.check(&result);
}

#[tokio::test]
async fn a_driver_that_is_asked_to_stop_leaves_the_step_to_its_agent() {
    let bench = Bench::new();
    bench.double.state().hang.insert("stop-services".into());
    let mut driver = bench.driver(quick());
    let stop = driver.shutdown.clone();
    let double = bench.double.clone();
    let watch = async move {
        while double
            .state()
            .effects
            .last()
            .is_none_or(|last| last != "do stop-services")
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stop.cancel();
    };
    let (result, ()) = tokio::join!(driver.apply(&bench.run), watch);
    let result = result.unwrap();
    assert!(result.is_interrupted());
    assert_eq!(result.state, RunState::Running);
    assert_eq!(result.failure.as_ref().unwrap().code, "interrupted");
    bench.check(&result);
    let asked = bench.double.state().asked.clone();
    assert!(
        !asked.iter().any(|call| call.starts_with("cancel")),
        "{asked:?}"
    );

    // Taken back while it still works: it is asked to stop first.
    let result = bench.driver(quick()).rollback(&bench.run).await.unwrap();
    assert_eq!(result.state, RunState::RolledBack);
    let asked = bench.double.state().asked.clone();
    let cancel = asked
        .iter()
        .position(|call| call == "cancel stop-services")
        .unwrap();
    assert_eq!(asked[cancel + 1], "undo stop-services 1");
    assert_eq!(
        bench.effects(),
        [done(&ids()[..4]), undone(&ids()[..4])].concat()
    );
    bench.check(&result);
}

#[tokio::test]
async fn an_agent_that_stays_away_holds_the_run_until_it_is_resumed() {
    let bench = Bench::new();
    bench.double.state().down = true;
    let patience = Duration::from_millis(30);
    let held = bench
        .driver(Options {
            patience,
            ..quick()
        })
        .apply(&bench.run)
        .await
        .unwrap();
    assert_eq!(held.state, RunState::Held);
    let failure = held.failure.as_ref().unwrap();
    assert_eq!(failure.code, "connection-lost");
    assert!(failure.message.contains("nobody is there"), "{failure}");
    let told = |event: &&RunEvent| matches!(event, RunEvent::Reconnecting { .. });
    assert_eq!(
        bench.logged().iter().filter(told).count(),
        1,
        "an outage is told once"
    );
    bench.check(&held);

    bench.double.state().down = false;
    let result = bench.apply().await;
    assert_eq!(result.state, RunState::Done);
    assert_eq!(bench.effects(), done(&ids()));
    bench.check(&result);
}

#[tokio::test]
async fn an_engine_that_is_away_for_a_while_is_waited_for_there_and_back() {
    let bench = Bench::new();
    // More often than an agent may be lost: what counts is how long.
    for undo in [false, true] {
        let away = ("stop-server".to_owned(), undo);
        bench.double.state().engine_away.insert(away, 40);
    }
    let patient = Options {
        patience: Duration::from_secs(60),
        ..quick()
    };
    let result = bench.driver(patient).apply(&bench.run).await.unwrap();
    assert_eq!(result.state, RunState::Done);
    let result = bench.driver(patient).rollback(&bench.run).await.unwrap();
    assert_eq!(result.state, RunState::RolledBack);
    let told = |event: &&RunEvent| matches!(event, RunEvent::Reconnecting { step: 4, .. });
    assert_eq!(bench.logged().iter().filter(told).count(), 2);
    bench.check(&result);
}

#[tokio::test]
async fn an_engine_that_stays_away_holds_the_run_until_it_is_resumed() {
    let bench = Bench::new();
    let away = ("stop-server".to_owned(), false);
    bench
        .double
        .state()
        .engine_away
        .insert(away.clone(), u32::MAX);
    let hasty = Options {
        patience: Duration::from_millis(50),
        ..quick()
    };
    let held = bench.driver(hasty).apply(&bench.run).await.unwrap();
    assert_eq!(held.state, RunState::Held);
    let failure = held.failure.unwrap();
    assert_eq!(failure.code, "connection-lost");
    assert!(failure.message.contains("engine"), "{}", failure.message);
    bench.double.state().engine_away.clear();
    let result = bench.apply().await;
    assert_eq!(result.state, RunState::Done);
    bench.check(&result);
}

#[tokio::test]
async fn every_outage_of_a_long_step_is_told_and_has_its_own_patience() {
    let bench = Bench::new();
    bench.double.state().hang.insert("capture-baseline".into());
    let cutting = async {
        for calls in 1..=3 {
            let call = "run capture-baseline 1";
            while bench
                .double
                .state()
                .asked
                .iter()
                .filter(|asked| *asked == call)
                .count()
                < calls
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // Let it be heard: an agent that says nothing was not found again.
            tokio::time::sleep(Duration::from_millis(20)).await;
            if calls == 3 {
                bench.double.release()
            } else {
                bench.double.cut()
            }
        }
    };
    let (result, ()) = tokio::join!(bench.apply(), cutting);
    assert_eq!(result.state, RunState::Done);
    let told = |event: &&RunEvent| matches!(event, RunEvent::Reconnecting { step: 2, .. });
    assert_eq!(bench.logged().iter().filter(told).count(), 2);
    assert_eq!(bench.effects(), done(&ids()));
}

#[tokio::test]
async fn an_outcome_that_says_nothing_is_a_failure() {
    let bench = Bench::new();
    bench.double.state().babble.insert("pull-image".into());
    let result = bench.apply().await;
    // Neither doing nor undoing is taken for done.
    assert_eq!(result.state, RunState::Held);
    assert_eq!(
        result.record.rollback_why.as_ref().unwrap().code,
        "agent-protocol"
    );
    assert_eq!(result.failure.as_ref().unwrap().code, "agent-protocol");
    bench.check(&result);
}

#[tokio::test]
async fn connections_beside_the_server_are_made_anew_after_it_was_stopped() {
    let bench = Bench::new();
    bench.apply().await;
    // The host once; the container before the stop and after the start; the volume once.
    assert_eq!(bench.double.state().dials, 4);
}

/// A cluster looks who uses the data when somebody dials.
#[tokio::test]
async fn in_a_cluster_the_agent_on_the_data_is_dialled_for_each_step() {
    for (recipe, more) in [("pmm-in-place", 0), (pmm_kubernetes::NAME, 2)] {
        let bench = Bench::by_recipe(recipe);
        bench.apply().await;
        // As above; the last pass, the owners and the hand-over are on the volume.
        assert_eq!(bench.double.state().dials, 4 + more, "{recipe}");
    }
}

#[tokio::test]
async fn a_run_has_one_driver() {
    let bench = Bench::new();
    let _held = bench.journal.drive(&bench.run).unwrap();
    let refused = bench.driver(quick()).apply(&bench.run).await.unwrap_err();
    assert_eq!(refused.code(), "run-driven");
    assert!(bench.logged().is_empty());
}

/// What has come from a machine that is away for a while is kept for whoever goes on.
#[tokio::test]
async fn a_run_whose_origin_is_away_is_held_and_goes_on_when_it_is_back() {
    let bench = Bench::new();
    let step = "transfer-ownership".to_owned();
    bench.double.state().origin_away.insert(step.clone());
    let held = bench.apply().await;
    assert_eq!(held.state, RunState::Held);
    let failure = held.failure.unwrap();
    assert_eq!(failure.code, "origin-lost");
    for way in ["ferryctl resume", "ferryctl rollback"] {
        assert!(failure.hint.contains(way), "{failure:?}");
    }
    let undone = |bench: &Bench| bench.effects().iter().any(|it| it.starts_with("undo"));
    assert!(!undone(&bench));
    bench.double.state().origin_away.remove(&step);
    let done = bench.apply().await;
    assert_eq!(done.state, RunState::Done);
    assert!(!undone(&bench));
}
