//! Keeps the old server down while its data is half changed, and after it was handed over; and the new one before its turn, and while a
//! rollback restores.
//!
//! The restart policy that is off stops the engine from starting it, but not a person, a cron job or
//! a script with `docker start`; and an old server that runs on data of the newer version destroys
//! both. So the stopped container is given a limit of one process: whoever starts it gets a first
//! process that cannot start another one, hence no service that could touch the data. That
//! limit is the one setting of a container which an engine changes while it is stopped, which keeps its programs
//! from running, and which can be taken back whole.
//!
//! An engine that has no call for that (Podman 4.3), or does not keep the limit, gets a closed gate in front of the container instead: the
//! engine itself then refuses to start it (`engine::gate`).
//!
//! Rejected: a lower limit of memory (an engine does not take it back to "none"); the gate everywhere (it writes into the container's own
//! layer, which the limit does not); renaming the data (the old server makes itself an empty one).

use std::time::Duration;

use crate::{
    engine::{ContainerInspect, Engine, EngineError, RestartPolicy},
    error::StepError,
    places,
};

/// The first process, and none beside it.
const LIMIT: i64 = 1;
/// What a fenced container's only process gets to end: it has nothing to finish.
const GRACE: Duration = Duration::from_secs(30);

/// The limit of processes that a container is made with which must not run before its turn; none where the engine could not take it back.
/// Whoever makes it closes it behind that ([`close`]), which is without effect where this was enough.
///
/// # Errors
/// When the engine does not answer.
pub(crate) async fn from_birth(engine: &Engine) -> Result<Option<i64>, StepError> {
    Ok(engine.can_update().await?.then_some(LIMIT))
}

/// Fences a container that does not run. `Some` is the sentence for an engine that cannot.
///
/// # Errors
/// When the engine does not answer.
pub(crate) async fn close(engine: &Engine, id: &str) -> Result<Option<String>, StepError> {
    if is_closed(&engine.inspect_container(id).await?) {
        return Ok(None);
    }
    let refused = engine.update_pids_limit(id, LIMIT).await.err();
    let container = engine.inspect_container(id).await?;
    if is_closed(&container) {
        return Ok(None);
    }
    let why = refused.map_or_else(
        || "it keeps no limit of processes".to_owned(),
        |e| e.to_string(),
    );
    match engine.close_gate(&container).await {
        Ok(()) => Ok(None),
        Err(EngineError::Gate { reason, .. }) => Ok(Some(format!(
            "the engine cannot fence container `{}` ({why}; {reason}): nobody must start it",
            container.name()
        ))),
        Err(error) => Err(error.into()),
    }
}

/// Gives a container its own limit back (0: none) and opens its gate.
///
/// # Errors
/// When the engine refuses.
pub(crate) async fn open(engine: &Engine, id: &str, limit: i64) -> Result<(), StepError> {
    let container = engine.inspect_container(id).await?;
    if container.pids_limit() != limit && engine.can_update().await? {
        engine.update_pids_limit(id, limit).await?;
    }
    Ok(engine.open_gate(&container).await?)
}

/// Takes the restart policy off. `false`: the engine cannot, and keeps it.
///
/// # Errors
/// When the engine refuses.
pub(crate) async fn policy_off(engine: &Engine, id: &str) -> Result<bool, StepError> {
    let policy = engine.inspect_container(id).await?.restart_policy();
    if policy.is_off() {
        return Ok(true);
    }
    match engine
        .update_restart_policy(id, &RestartPolicy::off())
        .await
    {
        Ok(()) => Ok(true),
        Err(EngineError::Unsupported { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Why the engine could not fence this container once it has stopped; empty when it can.
///
/// # Errors
/// When the engine does not answer.
pub(crate) async fn obstacle(
    engine: &Engine,
    container: &ContainerInspect,
) -> Result<String, StepError> {
    if engine.can_update().await? {
        return Ok(String::new());
    }
    match engine.check_gate(container).await {
        Ok(()) => Ok(String::new()),
        Err(EngineError::Gate { reason, .. }) => Ok(reason),
        Err(error) => Err(error.into()),
    }
}

/// Whether the container is fenced by its limit.
fn is_closed(container: &ContainerInspect) -> bool {
    container.pids_limit() == LIMIT
}

/// Whether the container is fenced, by its limit or by its gate.
///
/// # Errors
/// When the engine does not answer.
pub(crate) async fn is_shut(
    engine: &Engine,
    container: &ContainerInspect,
) -> Result<bool, StepError> {
    Ok(is_closed(container) || engine.is_gate_closed(container).await?)
}

/// Stops a container that runs although it is fenced by its limit. Whether it was so.
///
/// # Errors
/// When it does not stop.
pub(crate) async fn put_down(
    engine: &Engine,
    container: &ContainerInspect,
) -> Result<bool, StepError> {
    if !container.running() || !is_closed(container) {
        return Ok(false);
    }
    places::stop(engine, container.id(), GRACE).await?;
    Ok(true)
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
    if !put_down(engine, &old).await? {
        return Err(StepError::new(
            "old-server-runs",
            format!("the old container `{name}` runs again: two servers must not share the data"),
        )
        .hint("find out who started it, and stop it"));
    }
    Ok(Some(format!(
        "somebody started the old container `{name}`; fenced as it was it could not do anything, and was stopped again"
    )))
}
