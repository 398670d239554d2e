//! The controller of StatefulSets: claims and the first pod by the template, a new pod for a new template.

use serde_json::{Value, json};

use super::store::Store;

const REVISION: &str = "controller-revision-hash";

/// Brings each StatefulSet nearer to what is wanted of it.
pub(super) fn reconcile(store: &Store) {
    for set in store.list("statefulsets", "", "") {
        one(store, &set);
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn one(store: &Store, set: &Value) {
    let (namespace, name) = (
        text(&set["metadata"]["namespace"]),
        text(&set["metadata"]["name"]),
    );
    let pod_name = format!("{name}-0");
    let wanted = set["spec"]["replicas"].as_i64().unwrap_or(1) > 0;
    let template = &set["spec"]["template"];
    let revision = blake3::hash(template.to_string().as_bytes()).to_hex()[..10].to_owned();
    let pod = store.get("pods", namespace, &pod_name).ok();
    let ready = pod.as_ref().is_some_and(|pod| {
        let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        conditions.any(|it| it["type"] == "Ready" && it["status"] == "True")
    });
    match &pod {
        None if wanted => make(store, set, namespace, &pod_name, &revision),
        Some(pod) if pod["metadata"]["deletionTimestamp"].is_null() => {
            let old = pod["metadata"]["labels"][REVISION] != *revision;
            if !wanted || old {
                // Between the look and this it may have gone by itself.
                let _ = store.delete("pods", namespace, &pod_name, None);
            }
        }
        _ => {}
    }
    let status = json!({
        "replicas": i64::from(pod.is_some()), "readyReplicas": i64::from(ready), "updateRevision": revision,
    });
    store.set_status("statefulsets", namespace, name, status);
}

fn make(store: &Store, set: &Value, namespace: &str, pod_name: &str, revision: &str) {
    let template = &set["spec"]["template"];
    let account = text(&template["spec"]["serviceAccountName"]);
    if !account.is_empty() && store.get("serviceaccounts", namespace, account).is_err() {
        return;
    }
    let mut pod = template.clone();
    pod["metadata"]["name"] = json!(pod_name);
    pod["metadata"]["labels"][REVISION] = json!(revision);
    let mut volumes = pod["spec"]["volumes"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for claim in set["spec"]["volumeClaimTemplates"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let volume = text(&claim["metadata"]["name"]);
        let claim_name = format!("{volume}-{pod_name}");
        let mut body = claim.clone();
        body["metadata"]["name"] = json!(claim_name);
        // It outlives each pod.
        let _ = store.create("persistentvolumeclaims", namespace, body);
        volumes
            .push(json!({ "name": volume, "persistentVolumeClaim": { "claimName": claim_name } }));
    }
    pod["spec"]["volumes"] = Value::Array(volumes);
    let _ = store.create("pods", namespace, pod);
}
