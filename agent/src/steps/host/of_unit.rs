//! What stopping and starting the server comes to where a unit of systemd makes its container, or starts it.
//!
//! The container is always stopped by the engine first, with Ferry's own grace: a unit may give it ten seconds and then have it killed.
//! And Ferry's agent beside the server goes before that: Podman removes no container whose processes another one shares, so that a unit
//! could neither remove its own nor make the next one (seen on Podman 4.3.1). It comes again when somebody asks for it.

use std::time::Duration;

use ferry_proto::v1::ServiceUnit;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    engine::{ContainerInspect, Engine},
    error::StepError,
    fence, places,
    surroundings::Host,
    unit::Service,
};

const POLL: Duration = Duration::from_millis(100);
/// What a unit gets, once it says that it has started, until its container runs: the image is there.
const APPEARS: Duration = Duration::from_secs(120);

/// The unit of a step that is about nothing else.
///
/// # Errors
/// `bad-parameter`: it names none.
pub(super) fn named(unit: Option<&ServiceUnit>) -> Result<&ServiceUnit, StepError> {
    unit.ok_or_else(|| StepError::new("bad-parameter", "the step names no unit"))
}

/// Stops the container of the unit, and the unit, without an agent of the run beside them. The exit code, where the container is still there
/// to tell it.
///
/// # Errors
/// When one of them does not end.
pub(super) async fn stop(
    host: &Host,
    run: &str,
    unit: &ServiceUnit,
    grace: Duration,
) -> Result<Option<i64>, StepError> {
    let (engine, name) = (&host.engine, &unit.container);
    places::retire(host, run, "sidecar").await?;
    let found = engine.find_container(name).await?;
    if let Some(container) = found.filter(ContainerInspect::running)
        && let Err(error) = places::stop(engine, container.id(), grace).await
    {
        // With `--rm` there is nobody left to ask how it ended.
        let there = engine.find_container(container.id()).await?;
        if there.is_some_and(|it| it.running()) {
            return Err(error);
        }
    }
    Service::named(engine, unit)?.stop().await?;
    let left = engine.find_container(name).await?;
    let Some(left) = left else {
        return Ok(None);
    };
    if left.running() {
        return Err(StepError::new(
            "still-running",
            format!(
                "`{}` is stopped, and container `{name}` runs all the same",
                unit.name
            ),
        )
        .hint("find out who started it: another unit, a supervisor of containers, or a person"));
    }
    // The unit removes it when it makes the next one; until then nobody starts its programs.
    fence::close(engine, left.id()).await?;
    Ok(Some(left.exit_code()))
}

/// Starts the unit, and waits until the container that it makes or starts runs.
///
/// # Errors
/// When it does not, or makes it of another image than `image`.
pub(super) async fn start(
    engine: &Engine,
    unit: &ServiceUnit,
    image: &str,
) -> Result<ContainerInspect, StepError> {
    let service = Service::named(engine, unit)?;
    service.start().await?;
    let began = Instant::now();
    loop {
        // Not found, or not running yet: a simple service has started before its container has.
        if let Some(made) = running(engine, &unit.container).await? {
            if made.image_id() == image {
                return Ok(made);
            }
            return Err(StepError::new(
                "unit-made-other",
                format!(
                    "`{}` has started a container of image {} and not of {image}",
                    unit.name,
                    made.image_id()
                ),
            ));
        }
        let state = service.state().await?;
        if !state.runs() || began.elapsed() > APPEARS {
            return Err(StepError::new(
                "unit-not-running",
                format!(
                    "`{}` was started and is {}, and container `{}` does not run",
                    unit.name, state.active, unit.container
                ),
            )
            .hint(format!("`{}` says why", service.journal())));
        }
        sleep(POLL).await;
    }
}

async fn running(engine: &Engine, name: &str) -> Result<Option<ContainerInspect>, StepError> {
    let found = engine.find_container(name).await?;
    Ok(found.filter(ContainerInspect::running))
}

/// Refuses a unit whose service manager has not read what holds it.
///
/// # Errors
/// `not-fenced`.
pub(super) async fn check_held(engine: &Engine, unit: &ServiceUnit) -> Result<(), StepError> {
    let service = Service::named(engine, unit)?;
    if service.state().await?.unread {
        return Err(StepError::new(
            "not-fenced",
            format!("systemd has not read what holds `{}`", unit.name),
        )
        .hint(format!(
            "`{} daemon-reload` makes it read that",
            service.systemctl()
        )));
    }
    Ok(())
}

/// What stands for the container of a unit that is down: the mount of the server's data, and nothing else.
pub(super) fn mounts(unit: &ServiceUnit) -> ContainerInspect {
    let mounts = unit.data.iter().map(|data| {
        json!({
            "Type": data.kind, "Name": data.name, "Source": data.source, "Destination": data.destination, "RW": !data.read_only,
        })
    });
    ContainerInspect::new(json!({ "Mounts": mounts.collect::<Vec<_>>() }))
}

/// Refuses a container that does not have the server's data where it must be.
///
/// # Errors
/// `wrong-volume`.
pub(super) fn check_data(made: &ContainerInspect, unit: &ServiceUnit) -> Result<(), StepError> {
    let Some(wanted) = &unit.data else {
        return Ok(());
    };
    let found = made.mount_at(&wanted.destination);
    let right = found.is_some_and(|it| {
        it.kind == wanted.kind && it.name == wanted.name && it.source == wanted.source
    });
    if right {
        return Ok(());
    }
    Err(StepError::new(
        "wrong-volume",
        format!(
            "the container that `{}` has made does not mount the old one's data at `{}`",
            unit.name, wanted.destination
        ),
    ))
}
