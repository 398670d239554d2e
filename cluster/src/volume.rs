//! The agent with the server's data and the copy: a pod of its own.
//!
//! It gives way to the server's pod, and follows it: a claim of one writer can be used on one node at a time, and the scheduler does not
//! know that Ferry's pod holds it. So before the server starts its pod is removed, and made again, when it is asked for, on the node
//! where the server is by then. An agent on a backup alone is another pod, which needs nothing of the server's and goes where its claims are.

use std::time::Duration;

use ferry_agent::{
    engine::{agents::SOCKET_FOLDER, labels::RUN_LABEL},
    error::StepError,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    Kubernetes,
    api::{Kind, text},
    opened,
    pod::{self, State},
    record::labels,
    workload::{Name, START_PATIENCE},
};

const POLL: Duration = Duration::from_millis(100);
const AGENT: &str = "agent";
/// What the agent gets to finish a safe piece of work.
const GRACE_SECONDS: u32 = 60;
/// Where the copy is mounted.
const BACKUP: &str = "/backup";
/// What work on a tree needs, and no more.
const CAPABILITIES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "SETFCAP",
    "MKNOD",
];

fn pod_name(server: &Name) -> String {
    format!("ferry-volume-{}", server.name)
}

/// The claim that a run's copy is kept on.
pub(crate) fn backup_claim(claim: &str, run: &str) -> String {
    format!("{claim}-ferry-{run}")
}

/// The claim that such a one has the copy of.
pub(crate) fn data_claim<'a>(backup: &'a str, run: &str) -> Option<&'a str> {
    backup.strip_suffix(run)?.strip_suffix("-ferry-")
}

/// What an agent's pod has.
#[derive(Debug, PartialEq, Eq)]
struct Post {
    name: String,
    /// The claim at the place of the server's data; empty: none.
    data: String,
    /// The claim with the copy.
    backup: String,
    /// On a backup alone: it can only be read, and the agent's ledger is on neither of the two.
    alone: bool,
}

impl Post {
    async fn of(cluster: &Kubernetes, server: &Name, run: &str) -> Result<Self, StepError> {
        if let Some(record) = cluster.record(server, run).await? {
            return Ok(Self {
                name: pod_name(server),
                data: record.claim,
                backup: record.backup,
                alone: false,
            });
        }
        let opened = cluster.opened(&server.namespace, run).await?;
        let opened = opened.ok_or_else(|| {
            StepError::new(
                "no-agent",
                format!("run {run} has no agent at the data of {server}"),
            )
            .hint(format!("`ferryctl rollback {run}`"))
        })?;
        Ok(Self {
            name: opened::name(run),
            data: opened.restore_to,
            backup: opened.backup,
            alone: true,
        })
    }

    fn body(&self, image: &str, server: &Name, run: &str, template: &Value, node: &str) -> Value {
        let mut body = pod::own(&self.name, &labels(server, run, "volume"), template, node);
        let mut volumes = Vec::new();
        let mut mounts = Vec::new();
        for (name, claim, path, read_only) in [
            ("data", &self.data, pod::DATA, false),
            ("backup", &self.backup, BACKUP, self.alone),
        ] {
            if !claim.is_empty() {
                volumes
                    .push(json!({ "name": name, "persistentVolumeClaim": { "claimName": claim } }));
                mounts.push(json!({ "name": name, "mountPath": path, "readOnly": read_only }));
            }
        }
        let mut words = vec!["volume"];
        if self.alone {
            words.extend(["--state", SOCKET_FOLDER]);
        }
        body["spec"]["volumes"] = json!(volumes);
        body["spec"]["terminationGracePeriodSeconds"] = json!(GRACE_SECONDS);
        body["spec"]["containers"] = json!([{
            "name": AGENT,
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "args": words,
            "volumeMounts": mounts,
            "securityContext": {
                "runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": false, "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"], "add": CAPABILITIES },
            },
        }]);
        body
    }
}

/// Makes sure that the agent runs. Gives the pod's name and the container's.
pub(crate) async fn launch(
    cluster: &Kubernetes,
    server: &Name,
    run: &str,
) -> Result<(String, String), StepError> {
    let post = Post::of(cluster, server, run).await?;
    let name = post.name.clone();
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        let found = cluster
            .api
            .find(Kind::Pods, &server.namespace, &name)
            .await?;
        let Some(found) = found else {
            make(cluster, server, run, &post).await?;
            continue;
        };
        let holder = text(&found["metadata"]["labels"][RUN_LABEL]);
        if holder != run {
            return Err(StepError::new(
                "server-held-by-run",
                format!("run {holder} has pod `{name}` at the data of {server}"),
            )
            .hint(format!(
                "`ferryctl resume {holder}` or `ferryctl rollback {holder}`"
            )));
        }
        let leaves = !found["metadata"]["deletionTimestamp"].is_null();
        let why = match pod::state(&found, "containerStatuses", AGENT) {
            State::Running if !leaves => return Ok((name, AGENT.to_owned())),
            State::Ended(_) if !leaves => {
                cluster
                    .api
                    .delete(Kind::Pods, &server.namespace, &name, Some(0))
                    .await?;
                cluster.gone(&server.namespace, &name, "no grace").await?;
                continue;
            }
            State::Hopeless(why) if !leaves => Some(why),
            State::Coming(why) if Instant::now() > deadline => Some(why),
            _ => None,
        };
        if let Some(why) = why {
            return Err(StepError::new(
                "agent-not-running",
                format!("the agent's pod `{name}` does not run: {why}"),
            )
            .hint(format!(
                "`kubectl describe pod {name} --namespace {}` says more",
                server.namespace
            )));
        }
        sleep(POLL).await;
    }
}

async fn make(
    cluster: &Kubernetes,
    server: &Name,
    run: &str,
    post: &Post,
) -> Result<(), StepError> {
    let (template, node) = if post.alone {
        // Where the server is gone, its settings for pods are too.
        let set = cluster
            .api
            .find(Kind::StatefulSets, &server.namespace, &server.name);
        (set.await?.unwrap_or_default(), String::new())
    } else {
        let pod = cluster.pod(server).await?;
        let node = pod.map_or_else(String::new, |pod| text(&pod["spec"]["nodeName"]).to_owned());
        (cluster.set(server).await?, node)
    };
    let template = &template["spec"]["template"];
    let body = post.body(&cluster.agent_image, server, run, template, &node);
    match cluster
        .api
        .create(Kind::Pods, &server.namespace, &body)
        .await
    {
        // Somebody was quicker: the next look says who.
        Err(error) if error.is_conflict() => Ok(()),
        other => Ok(other.map(drop)?),
    }
}

/// Removes the agent's pod, which gets its grace.
pub(crate) async fn retire(
    cluster: &Kubernetes,
    server: &Name,
    run: &str,
) -> Result<(), StepError> {
    remove(cluster, &server.namespace, &pod_name(server), run).await
}

/// Removes the pod of an agent on a backup alone, and what was kept for it.
pub(crate) async fn close(
    cluster: &Kubernetes,
    namespace: &str,
    run: &str,
) -> Result<(), StepError> {
    remove(cluster, namespace, &opened::name(run), run).await?;
    cluster.forget_opened(namespace, run).await
}

async fn remove(
    cluster: &Kubernetes,
    namespace: &str,
    name: &str,
    run: &str,
) -> Result<(), StepError> {
    let Some(found) = cluster.api.find(Kind::Pods, namespace, name).await? else {
        return Ok(());
    };
    if found["metadata"]["labels"][RUN_LABEL] != run {
        return Ok(());
    }
    cluster
        .api
        .delete(Kind::Pods, namespace, name, None)
        .await?;
    cluster.gone(namespace, name, "its grace").await
}

/// Whether this run's agent on a backup alone runs.
pub(crate) async fn is_open(
    cluster: &Kubernetes,
    namespace: &str,
    run: &str,
) -> Result<bool, StepError> {
    let found = cluster
        .api
        .find(Kind::Pods, namespace, &opened::name(run))
        .await?;
    Ok(found.is_some_and(|it| pod::state(&it, "containerStatuses", AGENT) == State::Running))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_on_a_backup_alone_can_only_read_it() {
        let server = Name::parse("monitoring/pmm").unwrap();
        let template = json!({ "spec": { "imagePullSecrets": [{ "name": "registry" }] } });
        let mut post = Post {
            name: "ferry-backup-r1".into(),
            data: String::new(),
            backup: "copy".into(),
            alone: true,
        };
        let body = post.body("agent:1", &server, "r1", &template, "");
        assert_eq!(
            body["spec"]["volumes"],
            json!([{ "name": "backup", "persistentVolumeClaim": { "claimName": "copy" } }])
        );
        assert_eq!(
            body["spec"]["containers"][0]["volumeMounts"],
            json!([{ "name": "backup", "mountPath": "/backup", "readOnly": true }])
        );
        assert_eq!(
            body["spec"]["containers"][0]["args"],
            json!(["volume", "--state", "/run/ferry"])
        );
        assert_eq!(body["spec"]["imagePullSecrets"][0]["name"], "registry");
        assert!(body["spec"]["affinity"].is_null(), "{body}");

        post.data = "new".into();
        let body = post.body("agent:1", &server, "r1", &Value::Null, "");
        assert_eq!(
            body["spec"]["containers"][0]["volumeMounts"][0],
            json!({ "name": "data", "mountPath": "/srv", "readOnly": false })
        );
        post.alone = false;
        let body = post.body("agent:1", &server, "r1", &template, "node-1");
        let mounts = &body["spec"]["containers"][0]["volumeMounts"];
        assert_eq!(
            (&mounts[0]["readOnly"], &mounts[1]["readOnly"]),
            (&json!(false), &json!(false))
        );
        assert!(body["spec"]["affinity"].is_object());
    }
}
