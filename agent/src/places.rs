//! The agents of a run beside its server: launched, found, reached and retired by their labels. What
//! the engine is asked for is `engine::agents`; what a run needs is here.

pub mod backup;
pub mod moving;

use std::time::Duration;

mod in_use;
mod launching;
mod rehearsal;
mod way_back;

pub use in_use::{check_unused, users_of_data};
use launching::{Beside, launch};
pub use launching::{
    launch_on_backup, launch_sidecar, launch_volume_agent, launch_volume_agent_alone,
};
pub use rehearsal::{
    discard, launch_rehearsal, launch_second, make_network, rehearsal_name, retire_rehearsal,
};
pub use way_back::{aside_belongs_to, aside_name, check_copy, check_old_container, check_way_back};

use ferry_proto::v1::{Place, TunnelTarget};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    engine::{
        ContainerInspect, Engine,
        agents::{AgentKind, Retired},
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

/// How much of a log an error shows.
const LOG_LINES: u32 = 15;
/// What an agent gets to finish a safe piece of work when it is retired.
const RETIRE_GRACE: Duration = Duration::from_secs(60);

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
