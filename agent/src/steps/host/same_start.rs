//! Whether the server's container is still the one start that it was when it was fenced.
//!
//! Data in a container's own layer can only be read while the container runs, so its last copy is made before the container is
//! stopped. Somebody who starts the container again behind it, a person after a reboot say, starts PMM with it, and what PMM writes
//! then is in no copy. An engine has another time of start then, and the run goes back instead of losing that.

use crate::{
    context::Context,
    engine::{ContainerInspect, Engine},
    error::StepError,
};

/// In the run's folder.
const FILE: &str = "server-start";

/// Puts the time of start down; the first one counts.
///
/// # Errors
/// When the engine does not answer, or it cannot be written.
pub(super) async fn note(engine: &Engine, cx: &Context, id: &str) -> Result<(), StepError> {
    if cx.run_dir.read(FILE)?.is_some() {
        return Ok(());
    }
    let container = engine.inspect_container(id).await?;
    Ok(cx
        .run_dir
        .replace(FILE, container.started_at().as_bytes())?)
}

/// Refuses a container that was started again since.
///
/// # Errors
/// With what that means.
pub(super) fn check(cx: &Context, container: &ContainerInspect) -> Result<(), StepError> {
    let noted = cx.run_dir.read(FILE)?.unwrap_or_default();
    if !noted.is_empty() && noted == container.started_at().as_bytes() {
        return Ok(());
    }
    Err(StepError::new(
        "server-restarted",
        format!(
            "container `{}` was started again after it was fenced: what it has written since is not in the copy of its data",
            container.name()
        ),
    )
    .hint("find out who starts it, keep them from it for the run, then try again"))
}
