//! How the agents of a run come to be: which mounts, beside which container, in whose place. Their name is the lock on the server, so that who
//! finds it taken waits for a look, and for nothing else.

use std::time::{Duration, Instant};

use super::{
    BackupPlace, CHECK_PREFIX, RETIRE_GRACE, Wanted, backup, find_agent, moving, no_data, rehearsal,
};
use crate::{
    engine::{
        ContainerInspect, EngineError,
        agents::{AgentKind, AgentMount, AgentSpec, DEFAULT_MEMORY, Launched, SOCKET_FOLDER},
    },
    error::StepError,
    surroundings::Host,
};

/// Where the copy is mounted in the volume agent.
const BACKUP: &str = "/backup";
/// A look takes seconds; what takes longer than this is stuck, and loses nothing.
const LOOK_PATIENCE: Duration = Duration::from_secs(60);
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// Without a proxy for so many pauses: nobody looks.
const LOOK_OBSERVATIONS: u32 = 8;

/// Starts the sidecar beside a running server.
///
/// # Errors
/// When the engine refuses, or another run holds the server.
pub async fn launch_sidecar(
    host: &Host,
    server: &ContainerInspect,
    run: &str,
) -> Result<Launched, StepError> {
    let kind = match rehearsal::copy_of(host, run).await? {
        Some(copy) => AgentKind::Observer { state: Some(copy) },
        // Who only looks needs no way to change anything.
        None if run.starts_with(CHECK_PREFIX) => AgentKind::Observer { state: None },
        None => match moving::volume_beside(host, server, run).await? {
            Some(volume) => AgentKind::Mover { volume },
            None => AgentKind::Sidecar,
        },
    };
    let beside = Beside::Container(server.id());
    launch(host, server.name(), beside, run, kind, Vec::new()).await
}

/// Starts the agent that has the server's data and the backup only.
///
/// # Errors
/// When the engine refuses, or another run holds the server.
pub async fn launch_volume_agent(
    host: &Host,
    server: &ContainerInspect,
    wanted: &Wanted<'_>,
) -> Result<Launched, StepError> {
    let beside = Beside::Container(server.id());
    launch_on_data(host, server, beside, wanted).await
}

/// Starts the volume agent where no container has the data at the moment: a unit makes another at each start, and this one is down.
/// `mounts` stands for it, with its mounts alone.
///
/// # Errors
/// As [`launch_volume_agent`].
pub async fn launch_volume_agent_alone(
    host: &Host,
    mounts: &ContainerInspect,
    wanted: &Wanted<'_>,
) -> Result<Launched, StepError> {
    let ids = backup::ids(host, &wanted.place(mounts)?).await?;
    launch_on_data(host, mounts, Beside::Nobody { ids: &ids }, wanted).await
}

async fn launch_on_data(
    host: &Host,
    server: &ContainerInspect,
    beside: Beside<'_>,
    wanted: &Wanted<'_>,
) -> Result<Launched, StepError> {
    let data = wanted.data;
    let mount = server.mount_at(data).ok_or_else(|| no_data(server, data))?;
    let source = if mount.name.is_empty() {
        &mount.source
    } else {
        &mount.name
    };
    let mounts = [
        (source.clone(), data),
        (wanted.place(server)?.source(), BACKUP),
    ];
    let mounts = mounts.map(|(source, destination)| AgentMount {
        source,
        destination: destination.to_owned(),
        read_only: false,
    });
    let kind = AgentKind::Volume {
        mounts: mounts.into(),
    };
    launch(host, wanted.name, beside, wanted.run, kind, Vec::new()).await
}

/// Starts an agent on a backup, which it can only read, and on a new volume when there is one to
/// restore into. It keeps its ledger beside its socket: neither of the two is changed by its being there. `ids` is
/// the user namespace that the owners in the backup are seen from.
///
/// # Errors
/// When the engine refuses, or another run is at work on the backup.
pub async fn launch_on_backup(
    host: &Host,
    backup: &BackupPlace,
    restore_to: Option<(&str, &str)>,
    run: &str,
    ids: &str,
) -> Result<Launched, StepError> {
    let mut mounts = vec![AgentMount {
        source: backup.source(),
        destination: BACKUP.to_owned(),
        read_only: true,
    }];
    if let Some((volume, data)) = restore_to {
        mounts.push(AgentMount {
            source: volume.to_owned(),
            destination: data.to_owned(),
            read_only: false,
        });
    }
    let kind = AgentKind::Volume { mounts };
    let args = vec!["--state".to_owned(), SOCKET_FOLDER.to_owned()];
    let beside = Beside::Nobody { ids };
    launch(host, &backup.name(), beside, run, kind, args).await
}

/// The limit of an agent that walks trees, on a host with so much memory: a quarter of it.
///
/// Why more than others: the kernel keeps what it knows of each file that was looked at, about a kibibyte, and counts it as the
/// agent's. The pass behind the stop looks at every file and its copy again; what had no room is read from the disk then, in the downtime. All of
/// it is given back when the host needs memory.
fn memory_for_trees(host: u64) -> Option<i64> {
    let quarter = i64::try_from(host / 4).ok()?;
    (quarter > DEFAULT_MEMORY).then_some(quarter)
}

/// What an agent is started for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Beside<'a> {
    /// A container, by id.
    Container(&'a str),
    /// None; `ids` is the user namespace that owners are seen from.
    Nobody { ids: &'a str },
}

pub(super) async fn launch(
    host: &Host,
    name: &str,
    beside: Beside<'_>,
    run: &str,
    kind: AgentKind,
    mut args: Vec<String>,
) -> Result<Launched, StepError> {
    args.extend(host.agent_arguments.iter().cloned());
    let image = host.engine.load_agent_image(&host.agent_binary).await?;
    let memory = if kind.walks_trees() {
        memory_for_trees(host.engine.info().await?.memory)
    } else {
        None
    };
    let (container, ids) = match beside {
        Beside::Container(id) => (id, ""),
        Beside::Nobody { ids } => ("", ids),
    };
    let mut spec = AgentSpec {
        server: name.to_owned(),
        container: container.to_owned(),
        ids: ids.to_owned(),
        run: run.to_owned(),
        image,
        kind,
        args,
        memory,
    };
    let mut launched = host.engine.launch(&spec).await;
    if launched.is_err() && !host.engine.has_image(&spec.image).await? {
        // Another ferryctl has declared a crossing finished right now, and removed the image.
        spec.image = host.engine.load_agent_image(&host.agent_binary).await?;
        launched = host.engine.launch(&spec).await;
    }
    match launched {
        Err(EngineError::HeldByRun { run: holder, .. }) if holder.starts_with(CHECK_PREFIX) => {
            // A run is begun after a look of its own and takes precedence; two looks take turns.
            if run.starts_with(CHECK_PREFIX) {
                let began = Instant::now();
                while is_looking(host, &holder).await? && began.elapsed() < LOOK_PATIENCE {
                    tokio::time::sleep(LOOK_PAUSE).await;
                }
            }
            host.engine
                .retire(name, &spec.kind, &holder, RETIRE_GRACE)
                .await?;
            Ok(host.engine.launch(&spec).await?)
        }
        other => Ok(other?),
    }
}

/// Whether somebody is still behind a look, or it was cut off and left an agent that does nothing.
///
/// Who looks is connected to the agent by a proxy, which ends with its owner, however that ends. At
/// the begin and at the end of a look there is none for a moment, hence several observations.
async fn is_looking(host: &Host, run: &str) -> Result<bool, StepError> {
    for _ in 0..LOOK_OBSERVATIONS {
        if find_agent(host, run, "sidecar").await?.is_none() {
            return Ok(false);
        }
        let proxy = find_agent(host, run, "dial").await?;
        if proxy.is_some_and(|proxy| proxy.state == "running") {
            return Ok(true);
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_get_a_quarter_of_the_memory_and_never_less_than_others() {
        assert_eq!(memory_for_trees(24 << 30), Some(6 << 30));
        assert_eq!(memory_for_trees(2 << 30), None);
        // An engine that does not say.
        assert_eq!(memory_for_trees(0), None);
    }
}
