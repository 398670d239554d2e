//! Keeps the old server down while its data is half changed, and after it was handed over.
//!
//! The restart policy that is off stops the engine from starting it, but not a person, a cron job or
//! a script with `docker start`; and an old server that runs on data of the newer version destroys
//! both. So the stopped container is given a limit of one process: whoever starts it gets a first
//! process that cannot start another one, hence no service that could touch the data. That
//! limit is the one setting of a container which an engine changes while it is stopped, which keeps its programs
//! from running, and which can be taken back whole.
//!
//! Rejected: a lower limit of memory (an engine does not take it back to "none"); changing the
//! entry point in the container's own files; renaming the data (the old server makes itself an empty one).

use std::time::Duration;

use crate::{
    engine::{ContainerInspect, Engine},
    error::StepError,
    places,
};

/// The first process, and none beside it.
const LIMIT: i64 = 1;
/// What a fenced container's only process gets to end: it has nothing to finish.
const GRACE: Duration = Duration::from_secs(30);

/// Fences a container. `Some` is the sentence for an engine that cannot.
///
/// # Errors
/// When the engine does not answer.
pub(crate) async fn close(engine: &Engine, id: &str) -> Result<Option<String>, StepError> {
    let refused = engine.update_pids_limit(id, LIMIT).await.err();
    if is_closed(&engine.inspect_container(id).await?) {
        return Ok(None);
    }
    let why = refused.map_or_else(
        || "it keeps no limit of processes".to_owned(),
        |e| e.to_string(),
    );
    Ok(Some(format!(
        "the engine cannot fence the old container ({why}): nobody must start it"
    )))
}

/// Gives a container its own limit back; 0: none.
///
/// # Errors
/// When the engine refuses.
pub(crate) async fn open(engine: &Engine, id: &str, limit: i64) -> Result<(), StepError> {
    if engine.inspect_container(id).await?.pids_limit() == limit {
        return Ok(());
    }
    Ok(engine.update_pids_limit(id, limit).await?)
}

/// Whether the container is fenced.
pub(crate) fn is_closed(container: &ContainerInspect) -> bool {
    container.pids_limit() == LIMIT
}

/// Stops a fenced container that somebody started. `Some` is the sentence that tells of it.
///
/// # Errors
/// When it runs and is not fenced: then its services may have written to the data, and only a
/// person can know what. When it does not stop.
pub(crate) async fn keep_down(engine: &Engine, id: &str) -> Result<Option<String>, StepError> {
    let old = engine.inspect_container(id).await?;
    if !old.running() {
        return Ok(None);
    }
    let name = old.name();
    if !is_closed(&old) {
        return Err(StepError::new(
            "old-server-runs",
            format!("the old container `{name}` runs again: two servers must not share the data"),
        )
        .hint("find out who started it, and stop it"));
    }
    places::stop(engine, id, GRACE).await?;
    Ok(Some(format!(
        "somebody started the old container `{name}`; fenced as it was it could not do anything, and was stopped again"
    )))
}
