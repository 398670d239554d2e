//! The container that a run makes, between its making and its turn.
//!
//! It mounts the server's data from the start, so whoever starts it too early runs the newer version on data that nobody has handed over.
//! It is fenced from its making, and the step that starts it takes the fence off. Somebody may do that too: then what it wrote is told, and
//! nothing is thrown away that it may have gathered.

use ferry_proto::v1::Outcome;

use crate::{
    context::Context,
    engine::{ContainerInspect, Engine, containers::DEFAULT_GRACE},
    error::StepError,
    fence, ledger, places,
    steps::{done_with, in_doubt},
};

/// The step that starts it, as plans call it.
pub(super) const START: &str = "start-server";
/// In the run's folder: it ran before that step began, and unfenced.
const RAN_EARLY: &str = "new-server-ran-early";
/// In the run's folder: the limit of processes that it gets with its turn.
const LIMIT: &str = "new-server-pids-limit";

/// Notes the limit of processes that it gets with its turn (0: none); until then it has the fence's.
///
/// # Errors
/// It cannot be written down.
pub(super) fn note_limit(cx: &Context, limit: i64) -> Result<(), StepError> {
    Ok(cx.run_dir.replace(LIMIT, limit.to_string().as_bytes())?)
}

/// Takes the fence off and starts it. `Some`: somebody was earlier; `begun` says that it may have been this step.
///
/// # Errors
/// When the engine refuses, or it is not known which limit it gets.
pub(super) async fn start(
    cx: &Context,
    made: &ContainerInspect,
    begun: bool,
) -> Result<Option<String>, StepError> {
    let engine = &cx.surroundings.host()?.engine;
    let early = told_early(engine, made, !begun && made.has_run()).await?;
    if fence::put_down(engine, made).await? || !made.running() {
        // One that was made by an earlier release has its limit from the start.
        let limit = match cx.run_dir.read(LIMIT)? {
            Some(noted) => noted_limit(&noted)?,
            None => made.pids_limit(),
        };
        fence::open(engine, made.id(), limit).await?;
        engine.start(made.id()).await?;
    }
    Ok(early.map(|early| early.sentence))
}

fn noted_limit(noted: &[u8]) -> Result<i64, StepError> {
    let noted = std::str::from_utf8(noted).ok();
    noted.and_then(|it| it.trim().parse().ok()).ok_or_else(|| {
        StepError::new(
            "limit-unreadable",
            format!("`{LIMIT}` in the run's folder is no number of processes"),
        )
        .hint("write the number there that `docker inspect` shows of the old container (0: none), then `ferryctl resume`")
    })
}

/// Somebody has started it before its turn.
struct Early {
    fenced: bool,
    sentence: String,
}

async fn told_early(
    engine: &Engine,
    made: &ContainerInspect,
    is_early: bool,
) -> Result<Option<Early>, StepError> {
    if !is_early {
        return Ok(None);
    }
    let fenced = fence::is_shut(engine, made).await?;
    let what = match fenced {
        true => "; fenced as it was it could not do anything",
        false => ", and without its fence: it may have written to the data",
    };
    let name = made.name();
    Ok(Some(Early {
        fenced,
        sentence: format!(
            "somebody started the new container `{name}` when it was not its turn{what}"
        ),
    }))
}

/// Removes it.
///
/// # Errors
/// When it does not stop, or the engine refuses.
pub(super) async fn remove(cx: &Context, made: &ContainerInspect) -> Result<Removed, StepError> {
    let engine = &cx.surroundings.host()?.engine;
    // The undo of its start has stopped it, so that what runs was started since.
    let was_its_turn = ledger::was_begun(&cx.run_dir, &cx.run, START)?;
    let is_early = made.has_run() && (!was_its_turn || made.running());
    let early = told_early(engine, made, is_early).await?;
    if early.as_ref().is_some_and(|early| !early.fenced) {
        cx.run_dir.replace(RAN_EARLY, b"")?;
    }
    if made.running() {
        places::stop(engine, made.id(), DEFAULT_GRACE).await?;
    }
    engine.remove_container(made.id()).await?;
    Ok(Removed {
        in_doubt: ran_early(cx)?,
        warning: early.map(|early| early.sentence),
    })
}

/// What is to be known of one that is not there: nothing was made, or an undo that was cut off has removed it.
///
/// # Errors
/// The run's folder cannot be read.
pub(super) fn absent(cx: &Context) -> Result<Outcome, StepError> {
    let removed = Removed {
        in_doubt: ran_early(cx)?,
        warning: None,
    };
    Ok(Outcome {
        summary: "there is no new container".to_owned(),
        ..removed.outcome()
    })
}

/// What is to be known of one that is gone.
pub(super) struct Removed {
    /// It has run on the data before its turn, so that this may not be what it was.
    pub(super) in_doubt: bool,
    /// That somebody has started it before its turn.
    pub(super) warning: Option<String>,
}

impl Removed {
    /// The end of an undo, which tells the controller of the doubt.
    pub(super) fn outcome(self) -> Outcome {
        let outcome = done_with("the new container is removed", Vec::from_iter(self.warning));
        match self.in_doubt {
            true => in_doubt(outcome),
            false => outcome,
        }
    }
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
