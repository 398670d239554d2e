//! The agent beside the server: an ephemeral container in its pod, which sees the processes of the server's container and has its data.
//!
//! A pod never loses an ephemeral container, and none is started twice: one that has ended stays in the pod's list, until the pod
//! itself is made anew. So each gets a number behind the run's name.

use std::time::Duration;

use ferry_agent::{engine::agents::SOCKET, error::StepError, places::CHECK_PREFIX};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    Kubernetes,
    api::{entries, text},
    dial,
    pod::{self, State},
    workload::{Name, START_PATIENCE, not_running},
};

const POLL: Duration = Duration::from_millis(100);
const STATUSES: &str = "ephemeralContainerStatuses";
/// What an agent gets to finish a safe piece of work.
const END_PATIENCE: Duration = Duration::from_secs(60);
/// How often a pod that somebody else changes is read again.
const ATTEMPTS: u32 = 5;

fn prefix(run: &str) -> String {
    format!("ferry-{run}-")
}

/// This run's agents in a pod, running or not.
fn own<'a>(pod: &'a Value, run: &str) -> Vec<&'a str> {
    let prefix = prefix(run);
    let names = entries(&pod["spec"]["ephemeralContainers"]).map(|it| text(&it["name"]));
    names.filter(|name| name.starts_with(&prefix)).collect()
}

/// Whether the server's container was started since this run's agent is beside it, by a pod made anew or by a restart: an agent that went in
/// such an event is beside nobody's programs.
pub(crate) fn has_restarted(pod: &Value, run: &str) -> bool {
    let server = text(&pod::server_container(&pod["spec"])["name"]).to_owned();
    let since = pod::started_at(pod, "containerStatuses", &server);
    let agents = own(pod, run).into_iter();
    let last = agents.filter_map(|name| pod::started_at(pod, STATUSES, name));
    since.is_some_and(|since| last.max().is_none_or(|last| last < since))
}

/// The pod with one agent more.
pub(crate) fn with_agent(cluster: &Kubernetes, pod: &Value, run: &str) -> (Value, String) {
    let name = format!("{}{}", prefix(run), own(pod, run).len() + 1);
    let server = pod::server_container(&pod["spec"]);
    let data = pod::data_mount(server).map_or("", |mount| text(&mount["name"]));
    let looks_only = run.starts_with(CHECK_PREFIX);
    let agent = json!({
        "name": name,
        "image": cluster.agent_image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["sidecar"],
        "targetContainerName": server["name"],
        "volumeMounts": [{ "name": data, "mountPath": pod::DATA, "readOnly": looks_only }],
        // The server's first process may run as another user: its root is then readable with this alone.
        "securityContext": { "runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": false, "capabilities": { "add": ["SYS_PTRACE"] } },
    });
    let mut with = pod.clone();
    let list = &mut with["spec"]["ephemeralContainers"];
    match list.as_array_mut() {
        Some(list) => list.push(agent),
        None => *list = json!([agent]),
    }
    (with, name)
}

/// Makes sure that the agent runs. Gives the pod's name and the container's.
pub(crate) async fn launch(
    cluster: &Kubernetes,
    server: &Name,
    run: &str,
) -> Result<(String, String), StepError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let pod = cluster
            .pod(server)
            .await?
            .ok_or_else(|| not_running(server))?;
        if run.starts_with(CHECK_PREFIX) {
            if cluster.server_state(&pod) != State::Running {
                return Err(not_running(server));
            }
        } else {
            cluster.booted(server, run).await?;
        }
        let running = own(&pod, run)
            .into_iter()
            .find(|name| pod::state(&pod, STATUSES, name) == State::Running);
        if let Some(name) = running {
            return Ok((server.pod(), name.to_owned()));
        }
        let (with, name) = with_agent(cluster, &pod, run);
        match cluster
            .api
            .set_ephemeral(&server.namespace, &with, false)
            .await
        {
            Ok(_) => return started(cluster, server, name).await,
            // The pod's status alone changes often enough.
            Err(error) if error.is_conflict() && attempt < ATTEMPTS => {}
            Err(error) => return Err(error.into()),
        }
    }
}

async fn started(
    cluster: &Kubernetes,
    server: &Name,
    name: String,
) -> Result<(String, String), StepError> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        let pod = cluster
            .pod(server)
            .await?
            .ok_or_else(|| not_running(server))?;
        let why = match pod::state(&pod, STATUSES, &name) {
            State::Running => return Ok((server.pod(), name)),
            State::Ended(code) => format!("it ended at once with code {code}"),
            State::Hopeless(why) => why,
            State::Coming(_) if Instant::now() < deadline => {
                sleep(POLL).await;
                continue;
            }
            State::Coming(why) => format!("it does not start: {why}"),
        };
        return Err(StepError::new(
            "agent-not-running",
            format!(
                "the agent `{name}` in pod `{}` does not run: {why}",
                server.pod()
            ),
        )
        .hint(format!(
            "the cluster has to be able to fetch `{}`; name another image with `--agent-image`",
            cluster.agent_image
        )));
    }
}

/// Ends this run's agents in the server's pod, if there are any.
pub(crate) async fn end(cluster: &Kubernetes, server: &Name, run: &str) -> Result<(), StepError> {
    let deadline = Instant::now() + END_PATIENCE;
    let mut asked = Vec::new();
    loop {
        let Some(pod) = cluster.pod(server).await? else {
            return Ok(());
        };
        let mut running = own(&pod, run).into_iter().filter(|name| {
            matches!(
                pod::state(&pod, STATUSES, name),
                State::Running | State::Coming(_)
            )
        });
        let Some(name) = running.next() else {
            return Ok(());
        };
        let starts = matches!(pod::state(&pod, STATUSES, name), State::Coming(_));
        if Instant::now() > deadline {
            return Err(StepError::new(
                "agent-busy",
                format!(
                    "the agent `{name}` in pod `{}` did not end within {} s",
                    server.pod(),
                    END_PATIENCE.as_secs()
                ),
            )
            .hint(format!(
                "see its log: `kubectl logs {} --namespace {} --container {name}`",
                server.pod(),
                server.namespace
            )));
        }
        if !starts && !asked.iter().any(|it| it == name) {
            asked.push(name.to_owned());
            let words = ["/ferryd", "end", SOCKET];
            let ended = dial::exec(cluster, &server.namespace, &server.pod(), name, &words).await;
            match ended {
                // Joined below by looking at the agent itself: it takes the process with it.
                Ok(process) => {
                    drop(tokio::time::timeout(Duration::from_secs(5), process.join()).await)
                }
                // Between the look and the call it may have ended.
                Err(error) => tracing::debug!(%error, "the agent was not asked to end"),
            }
        }
        sleep(POLL).await;
    }
}

/// Whether an agent of this run runs beside the server.
pub(crate) async fn runs(
    cluster: &Kubernetes,
    server: &Name,
    run: &str,
) -> Result<bool, StepError> {
    let pod = cluster.pod(server).await?;
    Ok(pod.is_some_and(|pod| {
        let mut own = own(&pod, run).into_iter();
        own.any(|name| pod::state(&pod, STATUSES, name) == State::Running)
    }))
}

/// Why the cluster takes no agent beside the server; empty when it does. All its rules are asked, and nothing is done.
pub(crate) async fn refusal(cluster: &Kubernetes, server: &Name, pod: &Value) -> String {
    let (with, _) = with_agent(cluster, pod, "check-0");
    match cluster
        .api
        .set_ephemeral(&server.namespace, &with, true)
        .await
    {
        Ok(_) => String::new(),
        // Somebody else's change says nothing about ours.
        Err(error) if error.is_conflict() => String::new(),
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_started_behind_the_last_agent_has_restarted() {
        let running = |name: &str, at: &str| json!({ "name": name, "state": { "running": { "startedAt": at } } });
        let pod = |server: Value, agents: &[Value]| {
            let names = agents.iter().map(|it| json!({ "name": it["name"] }));
            json!({
                "spec": { "containers": [{ "name": "pmm" }], "ephemeralContainers": names.collect::<Vec<_>>() },
                "status": { "containerStatuses": [server], "ephemeralContainerStatuses": agents },
            })
        };
        let server = || running("pmm", "2026-11-21T10:00:05Z");
        let agent = |at| running("ferry-r1-1", at);
        let late = agent("2026-11-21T10:00:09Z");
        assert!(!has_restarted(&pod(server(), &[late]), "r1"));
        let early = agent("2026-11-21T10:00:01Z");
        assert!(has_restarted(
            &pod(server(), std::slice::from_ref(&early)),
            "r1"
        ));
        let second = running("ferry-r1-2", "2026-11-21T10:00:05Z");
        assert!(!has_restarted(&pod(server(), &[early, second]), "r1"));
        // A pod that was made anew has none, or another run's.
        assert!(has_restarted(&pod(server(), &[]), "r1"));
        let others = running("ferry-r2-1", "2026-11-21T10:00:09Z");
        assert!(has_restarted(&pod(server(), &[others]), "r1"));
        // Nothing runs in one that ends or does not come up.
        let ended = json!({ "name": "pmm", "state": { "terminated": { "exitCode": 0 } } });
        assert!(!has_restarted(&pod(ended, &[]), "r1"));
    }
}
