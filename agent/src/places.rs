//! The agents of a run beside its server: launched, found, reached and retired by their labels. What
//! the engine is asked for is `engine::agents`; what a run needs is here.

pub mod backup;
pub mod moving;

use std::time::{Duration, Instant};

mod in_use;
mod rehearsal;

pub use in_use::{check_unused, users_of_data};
pub use rehearsal::{
    discard, launch_rehearsal, launch_second, make_network, rehearsal_name, retire_rehearsal,
};

use ferry_proto::v1::{Place, TunnelTarget};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    engine::{
        ContainerInspect, Engine, EngineError,
        agents::{
            AgentKind, AgentMount, AgentSpec, DEFAULT_MEMORY, Launched, Retired, SOCKET_FOLDER,
        },
        containers::{ContainerEntry, StopOutcome},
        labels::{RUN_LABEL, role_filter},
        streams::LogRange,
    },
    error::StepError,
    surroundings::Host,
};

pub use self::backup::{BackupPlace, Wanted};

/// Runs that only look have names that begin so.
pub const CHECK_PREFIX: &str = "check-";

/// Where the copy is mounted in the volume agent.
const BACKUP: &str = "/backup";
/// How much of a log an error shows.
const LOG_LINES: u32 = 15;
/// What an agent gets to finish a safe piece of work when it is retired.
const RETIRE_GRACE: Duration = Duration::from_secs(60);
/// A look takes seconds; what takes longer than this is stuck, and loses nothing.
const LOOK_PATIENCE: Duration = Duration::from_secs(60);
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// Without a proxy for so many pauses: nobody looks.
const LOOK_OBSERVATIONS: u32 = 8;

/// Proves that the way back is there: the old container, its image, and the copy of the data.
/// `name` is the server's own, which the old container no longer has.
///
/// # Errors
/// With what is missing; nothing was touched then.
pub async fn check_way_back(
    host: &Host,
    old_container: &str,
    wanted: &Wanted<'_>,
) -> Result<ContainerInspect, StepError> {
    let old = check_old_container(host, old_container).await?;
    check_copy(host, &old, old.image_id(), wanted).await?;
    Ok(old)
}

/// Proves that the copy of the data is there, and the old image. `server` is a container that has the data.
///
/// # Errors
/// As [`check_way_back`].
pub async fn check_copy(
    host: &Host,
    server: &ContainerInspect,
    old_image: &str,
    wanted: &Wanted<'_>,
) -> Result<(), StepError> {
    if !host.engine.has_image(old_image).await? {
        return Err(gone(format!("somebody removed its image {old_image}")));
    }
    let backup = wanted.place(server)?;
    if !backup::is_there(host, &backup, wanted.run).await? {
        return Err(gone(format!("somebody removed the copy, {backup}")));
    }
    Ok(())
}

/// Proves that the old container is there, and its image.
///
/// # Errors
/// As [`check_way_back`].
pub async fn check_old_container(
    host: &Host,
    old_container: &str,
) -> Result<ContainerInspect, StepError> {
    let old = host.engine.find_container(old_container).await?;
    let old = old.ok_or_else(|| gone("somebody removed the old container".to_owned()))?;
    if !host.engine.has_image(old.image_id()).await? {
        return Err(gone(format!(
            "somebody removed its image {}",
            old.image_id()
        )));
    }
    Ok(old)
}

/// What the old container of a run is called, while it is kept.
#[must_use]
pub fn aside_name(server: &str, version: &str, run: &str) -> String {
    format!("{server}-{version}-{run}")
}

/// Whether a container is called as the old one of a run, whatever version it had. A run has one server: it is not asked what stands between.
#[must_use]
pub fn aside_belongs_to(name: &str, server: &str, run: &str) -> bool {
    let rest = name
        .strip_prefix(server)
        .and_then(|rest| rest.strip_prefix('-'));
    let version = rest
        .and_then(|rest| rest.strip_suffix(run))
        .and_then(|rest| rest.strip_suffix('-'));
    !run.is_empty() && version.is_some()
}

fn gone(what: String) -> StepError {
    StepError::new("way-back-gone", format!("the way back is gone: {what}"))
        .hint("the server is as it was before this command; restore it from a backup of your own")
}

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
enum Beside<'a> {
    /// A container, by id.
    Container(&'a str),
    /// None; `ids` is the user namespace that owners are seen from.
    Nobody { ids: &'a str },
}

async fn launch(
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

/// The agent of a run, when there is one; it may have ended.
///
/// # Errors
/// When the engine does not answer.
pub async fn find_agent(
    host: &Host,
    run: &str,
    role: &str,
) -> Result<Option<ContainerEntry>, StepError> {
    let labels = [format!("{RUN_LABEL}={run}"), role_filter(role)];
    let filters: Vec<(&str, &str)> = labels.iter().map(|it| ("label", it.as_str())).collect();
    Ok(host
        .engine
        .list_containers(&filters)
        .await?
        .into_iter()
        .next())
}

/// Ends an agent of a run and removes it.
///
/// # Errors
/// When it does not end, or is not this run's.
pub async fn retire(host: &Host, run: &str, role: &str) -> Result<(), StepError> {
    let Some(agent) = find_agent(host, run, role).await? else {
        // Whoever began to retire it may have been killed between the agent and its socket.
        return Ok(host.engine.remove_sockets(run, role).await?);
    };
    let prefix = format!("ferry-{role}-");
    let server = agent.name.strip_prefix(&prefix).unwrap_or(&agent.name);
    let kind = match role {
        "sidecar" => AgentKind::Sidecar,
        "second" => AgentKind::Second,
        _ => AgentKind::Volume { mounts: Vec::new() },
    };
    match host.engine.retire(server, &kind, run, RETIRE_GRACE).await? {
        Retired::Removed | Retired::Absent => Ok(()),
        Retired::StillRunning => Err(StepError::new(
            "agent-busy",
            format!(
                "agent `{}` did not end within {} s",
                agent.name,
                RETIRE_GRACE.as_secs()
            ),
        )
        .hint("see its log with `docker logs`")),
    }
}

/// A byte stream to an agent of a run. An agent that has ended is started again: a sidecar ends
/// with its server, and nobody else brings it back.
///
/// # Errors
/// When there is no such agent, or it cannot be reached.
pub async fn dial(
    host: &Host,
    target: &TunnelTarget,
) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>, StepError> {
    let agent = match target.place() {
        Place::Container => {
            let server = host.engine.inspect_container(&target.container).await?;
            booted(host, &server, &target.run).await?;
            launch_sidecar(host, &server, &target.run).await?.id
        }
        Place::Volume => {
            let found = find_agent(host, &target.run, "volume").await?;
            let agent = found.ok_or_else(|| {
                StepError::new(
                    "no-agent",
                    format!("run {} has no volume agent", target.run),
                )
                .hint(format!("`ferryctl rollback {}`", target.run))
            })?;
            if agent.state != "running" {
                host.engine.start(&agent.id).await?;
            }
            agent.id
        }
        Place::Copy => {
            let name = rehearsal_name(&target.container, &target.run);
            let copy = host.engine.inspect_container(&name).await?;
            check_ours(&copy, &target.run)?;
            booted(host, &copy, &target.run).await?;
            launch_second(host, &target.container, &copy, &target.run)
                .await?
                .id
        }
        Place::Host | Place::Client | Place::Origin | Place::Unknown => {
            return Err(StepError::new(
                "bad-parameter",
                "a tunnel leads into a container",
            ));
        }
    };
    Ok(host.engine.dial(&agent).await?)
}

/// Only what this run made is ever stopped, restored under, or removed.
///
/// # Errors
/// When the container is not of this run.
pub fn check_ours(container: &ContainerInspect, run: &str) -> Result<(), StepError> {
    if container.label(RUN_LABEL) == Some(run) {
        return Ok(());
    }
    let name = container.name();
    Err(StepError::new(
        "name-taken",
        format!("a container called `{name}` is there that run {run} did not make"),
    )
    .hint(format!(
        "stop and rename `{name}`, or remove it, then `ferryctl resume {run}`"
    )))
}

/// Stops a container and is sure of it: what still runs after its grace is an error, because what
/// follows relies on nobody using the data.
///
/// # Errors
/// When it still runs.
pub async fn stop(engine: &Engine, id: &str, grace: Duration) -> Result<(), StepError> {
    match engine.stop(id, grace).await? {
        StopOutcome::Stopped { .. } => Ok(()),
        StopOutcome::StillRunning => Err(StepError::new(
            "still-stopping",
            format!(
                "the container is still on its way down after {} s",
                grace.as_secs()
            ),
        )
        .hint("`docker logs` shows what it waits for; when it is down, `ferryctl resume`")),
    }
}

/// Refuses to wait beside a server that does not stay up. Of a container that this run made, one
/// restart is enough: it restarts because it exited.
///
/// # Errors
/// With the end of its log.
pub async fn booted(host: &Host, server: &ContainerInspect, run: &str) -> Result<(), StepError> {
    let ours = server.label(RUN_LABEL) == Some(run);
    let restarts = server.restart_count();
    if server.running() && !(ours && restarts > 0) {
        return Ok(());
    }
    let name = server.name();
    if !ours {
        return Err(StepError::new(
            "server-not-running",
            format!("container `{name}` does not run: nobody can be asked in it"),
        )
        .hint(format!("`docker start {name}`, then try again")));
    }
    let what = if server.oom_killed() {
        "was killed for want of memory".to_owned()
    } else if restarts > 0 {
        format!("exited {restarts} times, code {}", server.exit_code())
    } else {
        format!("exited with code {}", server.exit_code())
    };
    let error = StepError::new("container-exited", format!("the new container {what}"))
        .details(last_lines(host, server.id()).await);
    if server.oom_killed() {
        return Err(error.hint("give the container more memory, then `ferryctl migrate` again"));
    }
    Err(error)
}

async fn last_lines(host: &Host, id: &str) -> Vec<String> {
    let range = LogRange {
        tail: Some(LOG_LINES),
        ..LogRange::default()
    };
    match host.engine.logs(id, range).await {
        Ok(text) => text.lines().map(str::to_owned).collect(),
        Err(error) => vec![format!("its log cannot be read: {error}")],
    }
}

fn no_data(server: &ContainerInspect, data: &str) -> StepError {
    StepError::new(
        "no-data-mount",
        format!(
            "container `{}` has nothing mounted at `{data}`",
            server.name()
        ),
    )
    .hint("its data is in the container itself; `ferryctl migrate … --data-to-volume` copies it to a volume first")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_container_says_by_its_name_which_run_has_set_it_aside() {
        let aside = aside_name("pmm", "2.44.1", "7f3a9c21");
        assert!(aside_belongs_to(&aside, "pmm", "7f3a9c21"));
        for (server, run) in [
            ("pm", "7f3a9c21"),
            ("pmm", "9c21"),
            ("pmm", ""),
            ("", "7f3a9c21"),
        ] {
            assert!(!aside_belongs_to(&aside, server, run), "{server} {run}");
        }
        // Of an image that names no version.
        let unnamed = aside_name("pmm", "", "7f3a9c21");
        assert!(aside_belongs_to(&unnamed, "pmm", "7f3a9c21"));
        assert!(!aside_belongs_to("pmm-7f3a9c21", "pmm", "7f3a9c21"));
    }

    #[test]
    fn trees_get_a_quarter_of_the_memory_and_never_less_than_others() {
        assert_eq!(memory_for_trees(24 << 30), Some(6 << 30));
        assert_eq!(memory_for_trees(2 << 30), None);
        // An engine that does not say.
        assert_eq!(memory_for_trees(0), None);
    }
}
