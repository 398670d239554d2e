//! The way back: killed at any event, and where it restores data, by a copy that is proven before the target is stopped.

use super::{
    super::*,
    bench::{Bench, quick},
};

fn places(bench: &Bench) -> (usize, usize, usize) {
    let effects = bench.effects();
    let at = |wanted: &str| {
        effects
            .iter()
            .position(|it| it.starts_with(wanted))
            .unwrap()
    };
    (
        at("do prove-way-back"),
        at("undo start-server"),
        at("undo hand-over-volume"),
    )
}

#[tokio::test]
async fn the_copy_is_proven_once_and_before_the_target_is_stopped() {
    let bench = Bench::with_hand_over();
    bench.apply().await;
    let result = bench.driver(quick()).rollback(&bench.run).await.unwrap();
    assert_eq!(result.state, RunState::RolledBack);
    let (proof, start, hand_over) = places(&bench);
    assert_eq!((proof + 1, start + 1), (start, hand_over));
    assert_eq!(bench.double.state().proven_by, ["of the copy"]);
    let told = |event: &RunEvent| matches!(event, RunEvent::Note { text, .. } if text.starts_with("the copy is"));
    assert!(bench.logged().iter().any(told));
    bench.check(&result);
}

/// Before the data is handed over nothing is restored, and a run that fails there needs no copy.
#[tokio::test]
async fn no_copy_is_proven_where_nothing_is_restored() {
    let bench = Bench::with_hand_over();
    let failing = ("transfer-ownership".to_owned(), false);
    bench.double.state().fail.insert(failing);
    let result = bench.apply().await;
    assert_eq!(result.state, RunState::RolledBack);
    assert!(bench.double.state().proven_by.is_empty());

    // What a crossing fails with behind it is taken back by the copy.
    let bench = Bench::with_hand_over();
    let failing = ("start-server".to_owned(), false);
    bench.double.state().fail.insert(failing);
    assert_eq!(bench.apply().await.state, RunState::RolledBack);
    let (proof, start, _) = places(&bench);
    assert!(proof < start);
}

#[tokio::test]
async fn a_copy_that_is_not_proven_holds_the_run_with_its_target_up() {
    for code in ["copy-not-proven", "manifest-missing", "manifest-other"] {
        let bench = Bench::with_hand_over();
        bench.apply().await;
        bench.double.state().unproven = Some(code);
        for tries in 1..3 {
            let result = bench.driver(quick()).rollback(&bench.run).await.unwrap();
            assert_eq!(result.state, RunState::Held);
            let failure = result.failure.as_ref().unwrap();
            assert_eq!(failure.code, code);
            assert!(failure.hint.contains("was not stopped"), "{}", failure.hint);
            let way = format!("ferryctl rollback {} --accept-damaged-copy", bench.run);
            assert!(failure.hint.contains(&way), "{}", failure.hint);
            let effects = bench.effects();
            assert!(!effects.contains(&"undo start-server".to_owned()));
            // It is looked at again each time: somebody may have put it right.
            assert_eq!(bench.double.state().proven_by.len(), tries);
            bench.check(&result);
        }
        let right = code == "manifest-other";
        let accept_damaged_copy = !right;
        if right {
            bench.double.state().unproven = None;
        }
        let options = Options {
            accept_damaged_copy,
            ..quick()
        };
        let result = bench.driver(options).rollback(&bench.run).await.unwrap();
        assert_eq!(result.state, RunState::RolledBack);
        let accepting = bench.double.state().accepting.clone();
        assert_eq!(
            accepting.contains(&"hand-over-volume".to_owned()),
            accept_damaged_copy
        );
        bench.check(&result);
    }
}

/// What was found of the copy days ago says nothing of it now.
#[tokio::test]
async fn a_copy_is_proven_again_by_each_that_goes_on() {
    let bench = Bench::with_hand_over();
    bench.apply().await;
    let failing = ("start-server".to_owned(), true);
    bench.double.state().fail.insert(failing.clone());
    for tries in 1..3 {
        let result = bench.driver(quick()).rollback(&bench.run).await.unwrap();
        assert_eq!(result.state, RunState::Held);
        assert_eq!(bench.double.state().proven_by.len(), tries);
    }
    bench.double.state().fail.remove(&failing);
    let result = bench.driver(quick()).rollback(&bench.run).await.unwrap();
    assert_eq!(result.state, RunState::RolledBack);
    assert_eq!(bench.double.state().proven_by.len(), 3);
    bench.check(&result);
}

#[tokio::test]
async fn a_restore_without_room_holds_the_run_until_there_is_some() {
    let bench = Bench::with_hand_over();
    bench.apply().await;
    bench.double.state().unproven = Some("no-space-for-restore");
    let result = bench.driver(quick()).rollback(&bench.run).await.unwrap();
    assert_eq!(result.state, RunState::Held);
    let hint = &result.failure.as_ref().unwrap().hint;
    let ways = ["was not stopped", "free space there", "ferryctl rollback"];
    assert!(ways.iter().all(|way| hint.contains(way)), "{hint}");
    // The copy is whole: nothing of it has to be accepted.
    assert!(!hint.contains("--accept"), "{hint}");
    assert!(!bench.effects().contains(&"undo start-server".to_owned()));
    bench.double.state().unproven = None;
    let result = bench.driver(quick()).rollback(&bench.run).await.unwrap();
    assert_eq!(result.state, RunState::RolledBack);
    bench.check(&result);
}

#[tokio::test]
async fn a_way_back_that_is_killed_at_any_event_proves_the_copy_before_it_restores() {
    a_rollback_is_killed_at_any_event(Bench::with_hand_over).await;
}

#[tokio::test]
async fn a_rollback_killed_at_any_event_is_gone_on_with_backward() {
    a_rollback_is_killed_at_any_event(Bench::new).await;
}

async fn a_rollback_is_killed_at_any_event(make: fn() -> Bench) {
    let calm = make();
    calm.apply().await;
    let forward = calm.logged().len();
    calm.driver(quick()).rollback(&calm.run).await.unwrap();
    let events = calm.logged().len() - forward;
    for n in 0..events - 1 {
        let bench = make();
        bench.apply().await;
        let mut driver = bench.driver_that_dies(quick(), n).0;
        let run = bench.run.clone();
        let killed = tokio::spawn(async move { driver.rollback(&run).await.is_ok() }).await;
        assert!(killed.is_err(), "the driver was to die after event {n}");

        let result = bench.apply().await;
        assert_eq!(result.state, RunState::RolledBack, "killed after {n}");
        // Who goes on proves the copy anew, and nothing else is done twice.
        let (proofs, steps) = proofs_apart(&bench);
        let (calm_proofs, calm_steps) = proofs_apart(&calm);
        assert_eq!(steps, calm_steps, "killed after {n}");
        assert_eq!(proofs.first(), calm_proofs.first(), "killed after {n}");
        assert!(proofs.len() <= calm_proofs.len() * 2, "killed after {n}");
        bench.check(&result);
    }
}

/// Where in its effects a bench has proven the copy, and what it did beside that.
fn proofs_apart(bench: &Bench) -> (Vec<usize>, Vec<String>) {
    let effects = bench.effects();
    let is_proof = |effect: &String| effect.starts_with("do prove-way-back");
    let proofs = effects.iter().enumerate();
    let proofs = proofs.filter_map(|(at, effect)| is_proof(effect).then_some(at));
    (
        proofs.collect(),
        effects.iter().filter(|it| !is_proof(it)).cloned().collect(),
    )
}

/// Whoever goes on with the rollback keeps it too.
#[tokio::test]
async fn a_copy_that_nothing_could_be_compared_with_is_kept() {
    let bench = Bench::with_hand_over();
    let failing = ("transfer-ownership".to_owned(), false);
    let held = ("launch-agents".to_owned(), true);
    let uncompared = "copy-changes".to_owned();
    {
        let mut state = bench.double.state();
        state.fail.extend([failing, held.clone()]);
        state.uncompared.insert(uncompared.clone());
    }
    assert_eq!(bench.apply().await.state, RunState::Held);
    bench.double.state().fail.remove(&held);
    let result = bench.driver(quick()).rollback(&bench.run).await.unwrap();
    assert_eq!(result.state, RunState::RolledBack);
    let keeping = bench.double.state().keeping.clone();
    let asked = keeping.iter().filter(|step| **step == "launch-agents");
    assert_eq!(asked.count(), 2);
    assert!(!keeping.contains(&uncompared), "{keeping:?}");

    let bench = Bench::with_hand_over();
    bench.apply().await;
    bench.driver(quick()).rollback(&bench.run).await.unwrap();
    assert!(bench.double.state().keeping.is_empty());
}
