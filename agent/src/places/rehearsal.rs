//! What a rehearsal has beside a server that goes on serving: a copy of its data, an agent that can only read there, a
//! workshop with the server's own programs, and later a second server in a network of its own.
//!
//! The workshop has the name of a volume agent, which is the lock on the server: a rehearsal and a crossing of one server
//! exclude each other.
//!
//! ```text
//!  server ── /srv ──(read-only)──► observer, workshop
//!                                     │        │
//!                 copy (volume) ◄──state──┘  └── is its /srv, later the second server's
//! ```

use std::collections::BTreeMap;

use crate::{
    engine::{
        ContainerInspect,
        agents::{AgentKind, AgentMount, Launched},
        containers::DEFAULT_GRACE,
        labels::{COPY_LABEL, ROLE_LABEL, RUN_LABEL, SERVER_LABEL},
    },
    error::StepError,
    surroundings::Host,
};

use super::{Beside, backup::check_volume, check_ours, find_agent, launch, no_data, retire, stop};

/// Where the workshop sees the data of the running server.
const LIVE: &str = "/live";

/// The name of all that a rehearsal makes for the server called `server`: container, network, volume.
#[must_use]
pub fn rehearsal_name(server: &str, run: &str) -> String {
    format!("{server}-rehearsal-{run}")
}

/// The labels of what a rehearsal makes.
fn labels(run: &str, server: &str) -> BTreeMap<String, String> {
    let labels = [
        (RUN_LABEL, run),
        (ROLE_LABEL, "rehearsal"),
        (SERVER_LABEL, server),
    ];
    labels
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// The volume of the copy when this run is a rehearsal; it stands on the run's workshop.
pub(super) async fn copy_of(host: &Host, run: &str) -> Result<Option<String>, StepError> {
    let Some(agent) = find_agent(host, run, "volume").await? else {
        return Ok(None);
    };
    let agent = host.engine.find_container(&agent.id).await?;
    Ok(agent.and_then(|agent| agent.label(COPY_LABEL).map(str::to_owned)))
}

/// Makes the volume of the copy, and starts workshop and observer.
///
/// # Errors
/// The engine refuses, the volume's name is taken, or another run holds the server.
pub async fn launch_rehearsal(
    host: &Host,
    server: &ContainerInspect,
    data: &str,
    run: &str,
) -> Result<String, StepError> {
    let mount = server.mount_at(data).ok_or_else(|| no_data(server, data))?;
    let source = if mount.name.is_empty() {
        mount.source
    } else {
        mount.name
    };
    let copy = rehearsal_name(server.name(), run);
    match host.engine.find_volume(&copy).await? {
        Some(volume) => check_volume(&volume, run)?,
        None => {
            let labels = labels(run, server.name());
            host.engine.create_volume(&copy, &labels).await?;
        }
    }
    let mounts = [(source, LIVE, true), (copy.clone(), data, false)];
    let mounts = mounts.map(|(source, destination, read_only)| AgentMount {
        source,
        destination: destination.to_owned(),
        read_only,
    });
    let workshop = AgentKind::Workshop {
        mounts: mounts.into(),
        image: server.image_id().to_owned(),
        program: host.agent_binary.clone(),
        copy: copy.clone(),
    };
    let beside = Beside::Container(server.id());
    launch(host, server.name(), beside, run, workshop, Vec::new()).await?;
    super::launch_sidecar(host, server, run).await?;
    Ok(copy)
}

/// Starts the sidecar beside the second server. `server` is the name of the first.
///
/// # Errors
/// The engine refuses.
pub async fn launch_second(
    host: &Host,
    server: &str,
    copy: &ContainerInspect,
    run: &str,
) -> Result<Launched, StepError> {
    let beside = Beside::Container(copy.id());
    launch(host, server, beside, run, AgentKind::Second, Vec::new()).await
}

/// Makes the network of the second server, or accepts the one that this run made before.
///
/// # Errors
/// The engine refuses, or a network of that name is there that this run did not make.
pub async fn make_network(host: &Host, server: &str, run: &str) -> Result<String, StepError> {
    let name = rehearsal_name(server, run);
    match host.engine.find_network(&name).await? {
        Some(labels) => check_network(&name, &labels, run)?,
        None => {
            let labels = labels(run, server);
            host.engine.create_internal_network(&name, &labels).await?;
        }
    }
    Ok(name)
}

fn check_network(
    name: &str,
    labels: &BTreeMap<String, String>,
    run: &str,
) -> Result<(), StepError> {
    if labels.get(RUN_LABEL).map(String::as_str) == Some(run) {
        return Ok(());
    }
    Err(StepError::new(
        "network-taken",
        format!("network `{name}` is there and not of run {run}"),
    )
    .hint(format!(
        "`docker network inspect {name}`; remove it when it is not needed"
    )))
}

/// Ends the agents; what they worked on stays.
///
/// # Errors
/// One does not end.
pub async fn retire_rehearsal(host: &Host, run: &str) -> Result<(), StepError> {
    for role in ["second", "sidecar", "volume"] {
        retire(host, run, role).await?;
    }
    Ok(())
}

/// Stops and removes the second server and its network, and its copy too where `copy` says so. Only what carries the
/// run's label is touched; gone already is fine.
///
/// # Errors
/// Something is not of this run, or the engine refuses.
pub async fn discard(host: &Host, server: &str, run: &str, copy: bool) -> Result<(), StepError> {
    let (engine, name) = (&host.engine, rehearsal_name(server, run));
    retire(host, run, "second").await?;
    if let Some(container) = engine.find_container(&name).await? {
        check_ours(&container, run)?;
        if container.running() {
            stop(engine, container.id(), DEFAULT_GRACE).await?;
        }
        engine.remove_container(container.id()).await?;
    }
    if let Some(labels) = engine.find_network(&name).await? {
        check_network(&name, &labels, run)?;
        engine.remove_network(&name).await?;
    }
    if !copy {
        return Ok(());
    }
    retire_rehearsal(host, run).await?;
    if let Some(volume) = engine.find_volume(&name).await? {
        check_volume(&volume, run)?;
        engine.remove_volume(&name).await?;
    }
    Ok(())
}
