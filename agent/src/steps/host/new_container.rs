//! The container that a run makes, between its making and its turn.
//!
//! It mounts the server's data from the start, so whoever starts it too early runs the newer version on data that nobody has handed over.
//! It is fenced from its making, and the step that starts it takes the fence off. Somebody may do that too: then what it wrote is told, and
//! nothing is thrown away that it may have gathered.

use crate::{
    context::Context,
    engine::{ContainerInspect, Engine, containers::DEFAULT_GRACE},
    error::StepError,
    fence, ledger, places,
};

/// The step that starts it, as plans call it.
pub(super) const START: &str = "start-server";
/// In the run's folder: it ran before that step began, and unfenced.
const RAN_EARLY: &str = "new-server-ran-early";

/// Takes the fence off and starts it. `Some`: somebody was earlier.
///
/// # Errors
/// When the engine refuses.
pub(super) async fn start(
    engine: &Engine,
    made: &ContainerInspect,
    pids_limit: i64,
) -> Result<Option<String>, StepError> {
    let was_started = fence::put_down(engine, made).await?;
    if was_started || !made.running() {
        fence::open(engine, made.id(), pids_limit).await?;
        engine.start(made.id()).await?;
    }
    Ok(was_started.then(|| fruitless(made)))
}

/// Removes it. `Some`: somebody has started it before its turn.
///
/// # Errors
/// When it does not stop, or the engine refuses.
pub(super) async fn remove(
    cx: &Context,
    made: &ContainerInspect,
) -> Result<Option<String>, StepError> {
    let engine = &cx.surroundings.host()?.engine;
    let early = made.has_run() && !ledger::was_begun(&cx.run_dir, &cx.run, START)?;
    let mut told = early.then(|| fruitless(made));
    if early && !fence::is_shut(engine, made).await? {
        cx.run_dir.replace(RAN_EARLY, b"")?;
        told = Some(format!(
            "somebody started the new container `{}` before its turn, and without its fence: it may have written to the data",
            made.name()
        ));
    }
    if made.running() {
        places::stop(engine, made.id(), DEFAULT_GRACE).await?;
    }
    engine.remove_container(made.id()).await?;
    Ok(told)
}

/// Whether it has run on the data: in its turn, or before.
///
/// # Errors
/// When a ledger cannot be read.
pub(super) fn has_run(cx: &Context) -> Result<bool, StepError> {
    Ok(ran_early(cx)? || ledger::was_begun(&cx.run_dir, &cx.run, START)?)
}

/// Whether somebody had it run on the data before its turn. Known when it is removed.
///
/// # Errors
/// The run's folder cannot be read.
pub(super) fn ran_early(cx: &Context) -> Result<bool, StepError> {
    Ok(cx.run_dir.read(RAN_EARLY)?.is_some())
}

fn fruitless(made: &ContainerInspect) -> String {
    format!(
        "somebody started the new container `{}` before its turn; fenced as it was it could not do anything",
        made.name()
    )
}
