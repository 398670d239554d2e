//! The agent with the server's data and the copy: a pod of its own.
//!
//! It gives way to the server's pod, and follows it: a claim of one writer can be used on one node at a time, and the scheduler does not
//! know that Ferry's pod holds it. So before the server starts its pod is removed, and made again, when it is asked for, on the node
//! where the server is by then.

use std::time::Duration;

use ferry_agent::error::StepError;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    Kubernetes,
    api::{Kind, text},
    pod::{self, State},
    record::{Record, labels},
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

/// Makes the claim for the copy, as large as the data's own.
pub(crate) async fn make_backup(
    cluster: &Kubernetes,
    server: &Name,
    run: &str,
    record: &Record,
) -> Result<(), StepError> {
    let namespace = &server.namespace;
    if cluster
        .api
        .find(Kind::Claims, namespace, &record.backup)
        .await?
        .is_some()
    {
        return Ok(());
    }
    let data = cluster
        .api
        .get(Kind::Claims, namespace, &record.claim)
        .await?;
    let spec = &data["spec"];
    // It may have been made larger than it was asked for.
    let size = match &data["status"]["capacity"]["storage"] {
        Value::Null => &spec["resources"]["requests"]["storage"],
        size => size,
    };
    let mut body = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": { "name": record.backup, "labels": labels(server, run, "backup") },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": size } } },
    });
    if !spec["storageClassName"].is_null() {
        body["spec"]["storageClassName"] = spec["storageClassName"].clone();
    }
    match cluster.api.create(Kind::Claims, namespace, &body).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_conflict() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes the claim of a copy.
pub(crate) async fn remove_backup(
    cluster: &Kubernetes,
    server: &Name,
    run: &str,
    backup: &str,
) -> Result<(), StepError> {
    let there = cluster
        .api
        .find(Kind::Claims, &server.namespace, backup)
        .await?;
    let Some(there) = there else { return Ok(()) };
    if there["metadata"]["labels"]["ferry.run"] != run {
        return Err(StepError::new(
            "not-ours",
            format!("claim `{backup}` was not made by run {run}, and is left alone"),
        ));
    }
    cluster
        .api
        .delete(Kind::Claims, &server.namespace, backup, None)
        .await?;
    Ok(())
}

fn body(
    cluster: &Kubernetes,
    server: &Name,
    run: &str,
    record: &Record,
    template: &Value,
    node: &str,
) -> Value {
    let mut body = pod::own(
        &pod_name(server),
        &labels(server, run, "volume"),
        template,
        node,
    );
    let claim = |name: &str| json!({ "persistentVolumeClaim": { "claimName": name } });
    let (mut data, mut backup) = (claim(&record.claim), claim(&record.backup));
    data["name"] = json!("data");
    backup["name"] = json!("backup");
    body["spec"]["volumes"] = json!([data, backup]);
    body["spec"]["terminationGracePeriodSeconds"] = json!(GRACE_SECONDS);
    body["spec"]["containers"] = json!([{
        "name": AGENT,
        "image": cluster.agent_image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["volume"],
        "volumeMounts": [{ "name": "data", "mountPath": pod::DATA }, { "name": "backup", "mountPath": BACKUP }],
        "securityContext": {
            "runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": false, "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"], "add": CAPABILITIES },
        },
    }]);
    body
}

/// Makes sure that the agent runs. Gives the pod's name and the container's.
pub(crate) async fn launch(
    cluster: &Kubernetes,
    server: &Name,
    run: &str,
) -> Result<(String, String), StepError> {
    let name = pod_name(server);
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        let found = cluster
            .api
            .find(Kind::Pods, &server.namespace, &name)
            .await?;
        let Some(found) = found else {
            make(cluster, server, run).await?;
            continue;
        };
        let holder = text(&found["metadata"]["labels"]["ferry.run"]);
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

async fn make(cluster: &Kubernetes, server: &Name, run: &str) -> Result<(), StepError> {
    let record = cluster.record(server, run).await?.ok_or_else(|| {
        StepError::new(
            "no-agent",
            format!("run {run} has no agent at the data of {server}"),
        )
        .hint(format!("`ferryctl rollback {run}`"))
    })?;
    let set = cluster.set(server).await?;
    let node = match cluster.pod(server).await? {
        Some(pod) => text(&pod["spec"]["nodeName"]).to_owned(),
        None => String::new(),
    };
    let body = body(
        cluster,
        server,
        run,
        &record,
        &set["spec"]["template"],
        &node,
    );
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
    let name = pod_name(server);
    let Some(found) = cluster
        .api
        .find(Kind::Pods, &server.namespace, &name)
        .await?
    else {
        return Ok(());
    };
    if found["metadata"]["labels"]["ferry.run"] != run {
        return Ok(());
    }
    cluster
        .api
        .delete(Kind::Pods, &server.namespace, &name, None)
        .await?;
    cluster.gone(&server.namespace, &name, "its grace").await
}
