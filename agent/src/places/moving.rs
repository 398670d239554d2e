//! What a run has beside a server whose data lies in the container's own layer: a new volume that the data is copied to, with a
//! volume agent on it, and a sidecar that has the volume beside the server's tree.
//!
//! The volume agent is the lock on the server, as in a crossing. Which volume is the run's is asked of that agent and of nobody else,
//! so that whoever starts a sidecar again, after whichever crash, starts it with the same volume.
//!
//! ```text
//!  server ── its layer, /srv ──(/proc/1/root, read only by intent)──► sidecar
//!                                                                       │
//!                     new volume ◄── data, .ferry ──────────────────────┘
//! ```

use super::{BackupPlace, Beside, backup, find_agent, launch};
use crate::{
    engine::{
        ContainerInspect,
        agents::{AgentKind, AgentMount, Launched},
        carry_over::DATA_FOLDER,
        labels::RUN_LABEL,
    },
    error::StepError,
    surroundings::Host,
};

/// The role of the volume, for whoever looks at its labels later.
const ROLE: &str = "data";

/// Makes the volume, or accepts the one that this run made before, and starts the volume agent on it.
///
/// # Errors
/// The engine refuses, a volume of that name is there that this run did not make, the server has a volume already, or another run
/// holds the server.
pub async fn launch_with_volume(
    host: &Host,
    server: &ContainerInspect,
    name: &str,
    volume: &str,
    run: &str,
) -> Result<Launched, StepError> {
    if let Some(mount) = server.mount_at(DATA_FOLDER) {
        return Err(StepError::new(
            "data-on-volume",
            format!(
                "container `{}` has `{}` mounted at `{DATA_FOLDER}` by now: its data is not in the container itself",
                server.name(),
                if mount.name.is_empty() { &mount.source } else { &mount.name }
            ),
        )
        .hint("nothing has to be moved: `ferryctl migrate` as it is"));
    }
    backup::make_volume(host, volume, ROLE, run, name, server.own_ids()).await?;
    start_on_volume(host, server, name, volume, run).await
}

/// What became of the volume when the run is taken back.
pub enum GivenUp {
    /// There is none of this run.
    Absent,
    /// It stays, for the reason in the sentence.
    Kept(String),
    /// It is gone.
    Removed,
}

/// Removes the volume that the run has made, unless a server has run on it (`used`): then it has what is nowhere else.
///
/// # Errors
/// The engine refuses.
pub async fn give_up(
    host: &Host,
    run: &str,
    volume: &str,
    used: bool,
) -> Result<GivenUp, StepError> {
    if !is_made(host, volume, run).await? {
        return Ok(GivenUp::Absent);
    }
    if used {
        return Ok(GivenUp::Kept(format!(
            "volume `{volume}` is kept: the server has run on it, and what it gathered then is there alone; `docker volume rm {volume}` \
             when that is not needed"
        )));
    }
    backup::remove(host, &BackupPlace::Volume(volume.to_owned()), run).await?;
    Ok(GivenUp::Removed)
}

/// Starts the volume agent of a run again that had one before.
///
/// # Errors
/// Somebody removed the volume, the engine refuses, or another run holds the server.
pub async fn launch_again(
    host: &Host,
    server: &ContainerInspect,
    name: &str,
    volume: &str,
    run: &str,
) -> Result<Launched, StepError> {
    // To mount it would make an empty one.
    if !is_made(host, volume, run).await? {
        return Err(StepError::new(
            "way-back-gone",
            format!(
                "volume `{volume}` is not there any more, or is another one: what run {run} knows of the server is on it"
            ),
        )
        .hint(format!(
            "container `{}` still has the data as it was: remove its limit of processes (`docker update --pids-limit -1`), rename \
             and start it by hand",
            server.name()
        )));
    }
    start_on_volume(host, server, name, volume, run).await
}

async fn start_on_volume(
    host: &Host,
    server: &ContainerInspect,
    name: &str,
    volume: &str,
    run: &str,
) -> Result<Launched, StepError> {
    let mount = AgentMount {
        source: volume.to_owned(),
        destination: DATA_FOLDER.to_owned(),
        read_only: false,
    };
    let kind = AgentKind::Volume {
        mounts: vec![mount],
    };
    let beside = Beside::Container(server.id());
    launch(host, name, beside, run, kind, Vec::new()).await
}

/// Whether the volume is there and this run made it.
///
/// # Errors
/// When the engine does not answer.
pub async fn is_made(host: &Host, volume: &str, run: &str) -> Result<bool, StepError> {
    let found = host.engine.find_volume(volume).await?;
    Ok(found.is_some_and(|it| it.labels.get(RUN_LABEL).map(String::as_str) == Some(run)))
}

/// The volume that a sidecar beside this container needs too: that of the run's volume agent, where the container itself has none.
pub(super) async fn volume_beside(
    host: &Host,
    server: &ContainerInspect,
    run: &str,
) -> Result<Option<String>, StepError> {
    if server.mount_at(DATA_FOLDER).is_some() {
        return Ok(None);
    }
    let Some(agent) = find_agent(host, run, "volume").await? else {
        return Ok(None);
    };
    let agent = host.engine.find_container(&agent.id).await?;
    let mount = agent.and_then(|agent| agent.mount_at(DATA_FOLDER));
    Ok(mount
        .map(|mount| mount.name)
        .filter(|name| !name.is_empty()))
}
