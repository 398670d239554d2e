//! A run that was left alone behind its last pull, and is gone on with.

use super::{
    super::*,
    bench::{Bench, quick},
};

/// It is held when this step has failed, and gone on with.
async fn resumed(bench: &Bench, step: &str, options: Options) -> RunResult {
    let hold = Options {
        on_failure: Some(OnFailure::Hold),
        ..quick()
    };
    let failing = (step.to_owned(), false);
    bench.double.state().fail.insert(failing.clone());
    let held = bench.driver(hold).apply(&bench.run).await.unwrap();
    assert_eq!(held.state, RunState::Held);
    assert_eq!(bench.double.state().pulls, [false], "once, by the plan");
    bench.double.state().fail.remove(&failing);
    bench.driver(options).apply(&bench.run).await.unwrap()
}

#[tokio::test]
async fn what_was_pulled_is_pulled_again_before_anything_is_made_of_it() {
    let bench = Bench::with_pull();
    let done = resumed(&bench, "create-server", quick()).await;
    assert_eq!(done.state, RunState::Done);
    assert_eq!(bench.double.state().pulls, [false, false]);
    let effects = bench.effects();
    let at = |wanted: &str| effects.iter().rposition(|it| it.starts_with(wanted));
    assert!(at("do pull-again") < at("do create-server"), "{effects:?}");
    let told = |event: &RunEvent| matches!(event, RunEvent::Note { text, .. } if text.starts_with("the old machine is still down"));
    assert_eq!(bench.logged().iter().filter(|it| told(it)).count(), 1);
    bench.check(&done);
}

/// What it was started on may be other than what was pulled.
#[tokio::test]
async fn behind_a_start_it_is_looked_at_the_old_machine_alone() {
    for step in ["start-server", "compare-baseline"] {
        let bench = Bench::with_pull();
        let done = resumed(&bench, step, quick()).await;
        assert_eq!(done.state, RunState::Done, "{step}");
        assert_eq!(bench.double.state().pulls, [false, true], "{step}");
    }
    // The new one serves by then.
    let bench = Bench::with_pull();
    resumed(&bench, "retire-agents", quick()).await;
    assert_eq!(bench.double.state().pulls, [false]);
}

#[tokio::test]
async fn an_old_machine_that_serves_again_takes_the_run_back() {
    let bench = Bench::with_pull();
    bench.double.state().no_pull = Some("programs-run-again");
    let back = Options {
        on_failure: Some(OnFailure::Rollback),
        ..quick()
    };
    let result = resumed(&bench, "create-server", back).await;
    assert_eq!(result.state, RunState::RolledBack);
    assert_eq!(result.failure.as_ref().unwrap().code, "programs-run-again");
    let started = |it: &String| it.starts_with("do start-server");
    assert!(!bench.effects().iter().any(started));
    bench.check(&result);
}

#[tokio::test]
async fn one_that_is_gone_for_good_need_not_be_asked() {
    let bench = Bench::with_pull();
    bench.double.state().no_pull = Some("origin-lost");
    let held = resumed(&bench, "create-server", quick()).await;
    assert_eq!(held.state, RunState::Held);
    let hint = held.failure.unwrap().hint;
    assert!(hint.contains("--origin-gone"), "{hint}");
    let alone = Options {
        origin_gone: true,
        ..quick()
    };
    let done = bench.driver(alone).apply(&bench.run).await.unwrap();
    assert_eq!(done.state, RunState::Done);
}
