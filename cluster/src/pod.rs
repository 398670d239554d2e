//! Reading pods: what runs in them, where their data is, and why they do not start.

use serde_json::{Value, json};

use crate::api::{entries, text};

/// Where PMM keeps its data (facts/pmm.md 1.3).
pub(crate) const DATA: &str = "/srv";

/// The container of a pod that is the server: the one that has the data.
pub(crate) fn server_container(spec: &Value) -> &Value {
    let mut containers = entries(&spec["containers"]);
    let has_data = |container: &&Value| data_mount(container).is_some();
    containers.find(has_data).unwrap_or(&spec["containers"][0])
}

/// The container's mount of the data.
pub(crate) fn data_mount(container: &Value) -> Option<&Value> {
    let is_it = |mount: &&Value| text(&mount["mountPath"]).trim_end_matches('/') == DATA;
    entries(&container["volumeMounts"]).find(is_it)
}

/// A volume of a pod, by its name.
pub(crate) fn volume<'a>(spec: &'a Value, name: &str) -> Option<&'a Value> {
    entries(&spec["volumes"]).find(|volume| volume["name"] == name)
}

/// Why a container does not start and will not by waiting.
const HOPELESS: [&str; 8] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "CrashLoopBackOff",
    "RunContainerError",
];

/// What a container of a pod does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing is known of it yet, or it is about to start.
    Coming(String),
    /// It runs.
    Running,
    /// It ended, with this code.
    Ended(i64),
    /// It cannot start: the reason.
    Hopeless(String),
}

/// The state by the lists of statuses that a pod has.
pub(crate) fn state(pod: &Value, list: &str, container: &str) -> State {
    let mut statuses = entries(&pod["status"][list]);
    let Some(status) = statuses.find(|status| status["name"] == container) else {
        return unscheduled(pod);
    };
    let state = &status["state"];
    if state["running"].is_object() {
        return State::Running;
    }
    if state["terminated"].is_object() {
        return State::Ended(state["terminated"]["exitCode"].as_i64().unwrap_or(-1));
    }
    let (reason, message) = (
        text(&state["waiting"]["reason"]),
        text(&state["waiting"]["message"]),
    );
    let words = match (reason, message) {
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    };
    if HOPELESS.contains(&reason) {
        State::Hopeless(words)
    } else {
        State::Coming(words)
    }
}

/// When a container of a pod that runs was started, as the node says it: such words can be compared.
pub(crate) fn started_at<'a>(pod: &'a Value, list: &str, container: &str) -> Option<&'a str> {
    let mut statuses = entries(&pod["status"][list]);
    let status = statuses.find(|status| status["name"] == container)?;
    status["state"]["running"]["startedAt"].as_str()
}

/// Nobody has placed the pod yet: why.
fn unscheduled(pod: &Value) -> State {
    let mut conditions = entries(&pod["status"]["conditions"]);
    let why = conditions.find(|it| it["type"] == "PodScheduled" && it["status"] == "False");
    State::Coming(why.map_or("", |it| text(&it["message"])).to_owned())
}

/// How often a container of a pod was started again.
pub(crate) fn restarts(pod: &Value, container: &str) -> i64 {
    let mut statuses = entries(&pod["status"]["containerStatuses"]);
    let found = statuses.find(|status| status["name"] == container);
    found
        .and_then(|it| it["restartCount"].as_i64())
        .unwrap_or(0)
}

/// Whether Kubernetes says that the pod is ready.
pub(crate) fn is_ready(pod: &Value) -> bool {
    let mut conditions = entries(&pod["status"]["conditions"]);
    conditions.any(|it| it["type"] == "Ready" && it["status"] == "True")
}

/// What pods of Ferry's own have in common: on a node where the data can be had, and with nothing of the cluster's rights.
pub(crate) fn own(name: &str, labels: &Value, template: &Value, node: &str) -> Value {
    let spec = &template["spec"];
    let mut own = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": labels },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
        },
    });
    for field in [
        "tolerations",
        "imagePullSecrets",
        "nodeSelector",
        "priorityClassName",
    ] {
        if !spec[field].is_null() {
            own["spec"][field] = spec[field].clone();
        }
    }
    if !node.is_empty() {
        // By affinity and not by name: the scheduler has to see the pod, or a claim that waits for its first pod is never bound.
        let field = json!({ "key": "metadata.name", "operator": "In", "values": [node] });
        let terms = json!({ "nodeSelectorTerms": [{ "matchFields": [field] }] });
        own["spec"]["affinity"] =
            json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": terms } });
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_the_container_with_the_data() {
        let spec = json!({ "containers": [
            { "name": "proxy" },
            { "name": "pmm", "volumeMounts": [{ "name": "d", "mountPath": "/srv/" }] },
        ]});
        assert_eq!(server_container(&spec)["name"], "pmm");
    }

    #[test]
    fn what_will_not_start_is_told_from_what_is_coming() {
        let with = |state: Value| json!({ "status": { "containerStatuses": [{ "name": "pmm", "restartCount": 2, "state": state }] } });
        let of = |pod: &Value| state(pod, "containerStatuses", "pmm");
        let pod = with(json!({ "waiting": { "reason": "ContainerCreating" } }));
        assert_eq!(of(&pod), State::Coming("ContainerCreating".into()));
        assert_eq!(restarts(&pod, "pmm"), 2);
        let pod = with(json!({ "waiting": { "reason": "ErrImagePull", "message": "not found" } }));
        assert_eq!(of(&pod), State::Hopeless("ErrImagePull: not found".into()));
        assert_eq!(
            of(&with(json!({ "terminated": { "exitCode": 137 } }))),
            State::Ended(137)
        );
        let waiting = json!({ "status": { "conditions": [
            { "type": "PodScheduled", "status": "False", "message": "0/3 nodes are available" },
        ]}});
        assert_eq!(
            of(&waiting),
            State::Coming("0/3 nodes are available".into())
        );
    }
}
