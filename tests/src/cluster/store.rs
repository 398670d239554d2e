//! Objects and the rules by which they may be made, changed and removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::answers::Answers;

type Key = (String, String, String);

/// All objects of a cluster.
#[derive(Debug, Default)]
pub(super) struct Store {
    objects: Mutex<Objects>,
    /// What the API server answers instead, where a test says so.
    pub(super) answers: Answers,
}

#[derive(Debug, Default)]
struct Objects {
    all: BTreeMap<Key, Value>,
    version: u64,
    forbidden: BTreeSet<String>,
    no_capabilities: bool,
}

/// An answer, or the status that says why not.
pub(super) type Answer = Result<Value, Value>;

pub(super) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

/// Fields of a StatefulSet's specification that may be changed.
const CHANGEABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

impl Store {
    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn forbid(&self, what: &str) {
        self.objects().forbidden.insert(what.to_owned());
    }

    pub(super) fn refuse_capabilities(&self) {
        self.objects().no_capabilities = true;
    }

    /// Whether verb and resource are allowed.
    pub(super) fn may(&self, verb: &str, resource: &str) -> bool {
        !self
            .objects()
            .forbidden
            .contains(&format!("{verb} {resource}"))
    }

    pub(super) fn get(&self, plural: &str, namespace: &str, name: &str) -> Answer {
        let found = self
            .objects()
            .all
            .get(&key(plural, namespace, name))
            .cloned();
        found.ok_or_else(|| status(404, "NotFound", &format!("{plural} \"{name}\" not found")))
    }

    /// Those with all of the labels `a=b,c=d`.
    pub(super) fn list(&self, plural: &str, namespace: &str, labels: &str) -> Vec<Value> {
        let wanted: Vec<(&str, &str)> = labels
            .split(',')
            .filter_map(|it| it.split_once('='))
            .collect();
        let objects = self.objects();
        let all = objects.all.iter().filter(|((kind, space, _), _)| {
            kind == plural && (namespace.is_empty() || space == namespace)
        });
        all.map(|(_, object)| object.clone())
            .filter(|object| {
                wanted
                    .iter()
                    .all(|(key, value)| object["metadata"]["labels"][key] == *value)
            })
            .collect()
    }

    pub(super) fn create(&self, plural: &str, namespace: &str, mut object: Value) -> Answer {
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let mut objects = self.objects();
        let key = key(plural, namespace, &name);
        if objects.all.contains_key(&key) {
            return Err(status(
                409,
                "AlreadyExists",
                &format!("{plural} \"{name}\" already exists"),
            ));
        }
        if plural == "pods" {
            let containers = object["spec"]["containers"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            objects.admit(&containers)?;
        }
        objects.version += 1;
        let uid = format!("{:08x}-0000-4000-8000-000000000000", objects.version);
        let meta = &mut object["metadata"];
        meta["namespace"] = json!(namespace);
        meta["uid"] = json!(uid);
        meta["resourceVersion"] = json!(objects.version.to_string());
        meta["creationTimestamp"] = json!(now());
        if plural == "persistentvolumeclaims" {
            let size = object["spec"]["resources"]["requests"]["storage"].clone();
            object["status"] = json!({ "phase": "Bound", "capacity": { "storage": size } });
        }
        if plural == "services" {
            for port in object["spec"]["ports"].as_array_mut().into_iter().flatten() {
                if port["targetPort"].is_null() {
                    port["targetPort"] = port["port"].clone();
                }
            }
        }
        objects.all.insert(key, object.clone());
        Ok(object)
    }

    /// Puts an object in the place of the one that its writer has read.
    pub(super) fn replace(
        &self,
        plural: &str,
        namespace: &str,
        name: &str,
        mut object: Value,
    ) -> Answer {
        let mut objects = self.objects();
        let key = key(plural, namespace, name);
        let there = objects.all.get(&key).cloned();
        let there = there
            .ok_or_else(|| status(404, "NotFound", &format!("{plural} \"{name}\" not found")))?;
        let read = &object["metadata"]["resourceVersion"];
        if !read.is_null() && *read != there["metadata"]["resourceVersion"] {
            return Err(status(
                409,
                "Conflict",
                &format!(
                    "Operation cannot be fulfilled on {plural} \"{name}\": the object has been modified; please apply your changes to the latest version and try again"
                ),
            ));
        }
        unchangeable(plural, name, &there, &object)?;
        // A status is written by its own door.
        object["status"] = there["status"].clone();
        Ok(objects.put(key, object))
    }

    pub(super) fn merge(&self, plural: &str, namespace: &str, name: &str, patch: &Value) -> Answer {
        let mut object = self.get(plural, namespace, name)?;
        let read = patch["metadata"]["resourceVersion"].clone();
        merge(&mut object, patch);
        if read.is_null()
            && let Some(meta) = object["metadata"].as_object_mut()
        {
            meta.remove("resourceVersion");
        }
        self.replace(plural, namespace, name, object)
    }

    /// The door for a pod's ephemeral containers: nothing else of it is taken.
    pub(super) fn set_ephemeral(
        &self,
        namespace: &str,
        name: &str,
        sent: &Value,
        dry: bool,
    ) -> Answer {
        let mut objects = self.objects();
        let key = key("pods", namespace, name);
        let Some(mut pod) = objects.all.get(&key).cloned() else {
            return Err(status(
                404,
                "NotFound",
                &format!("pods \"{name}\" not found"),
            ));
        };
        if sent["metadata"]["resourceVersion"] != pod["metadata"]["resourceVersion"] {
            return Err(status(409, "Conflict", "the object has been modified"));
        }
        let list = |pod: &Value| {
            pod["spec"]["ephemeralContainers"]
                .as_array()
                .cloned()
                .unwrap_or_default()
        };
        let (old, new) = (list(&pod), list(sent));
        if !old.iter().all(|container| new.contains(container)) {
            return Err(status(
                422,
                "Invalid",
                "existing ephemeral containers may not be changed or removed",
            ));
        }
        for container in new.iter().filter(|it| !old.contains(it)) {
            let target = &container["targetContainerName"];
            let mut containers = pod["spec"]["containers"].as_array().into_iter().flatten();
            if !containers.any(|it| it["name"] == *target) {
                return Err(status(
                    422,
                    "Invalid",
                    &format!("targetContainerName {target} not found"),
                ));
            }
            for mount in container["volumeMounts"].as_array().into_iter().flatten() {
                let mut volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
                if !mount["subPath"].is_null() || !volumes.any(|it| it["name"] == mount["name"]) {
                    return Err(status(
                        422,
                        "Invalid",
                        &format!("volumeMounts: {mount} not found or with a subPath"),
                    ));
                }
            }
        }
        objects.admit(&new)?;
        pod["spec"]["ephemeralContainers"] = Value::Array(new);
        if dry {
            Ok(pod)
        } else {
            Ok(objects.put(key, pod))
        }
    }

    /// A pod gets a time to end by, and a claim stays for the pods that use it; what else there is goes at once.
    pub(super) fn delete(
        &self,
        plural: &str,
        namespace: &str,
        name: &str,
        grace: Option<u64>,
    ) -> Answer {
        let mut objects = self.objects();
        let key = key(plural, namespace, name);
        let Some(mut object) = objects.all.get(&key).cloned() else {
            return Err(status(
                404,
                "NotFound",
                &format!("{plural} \"{name}\" not found"),
            ));
        };
        if plural == "persistentvolumeclaims" && objects.is_used(namespace, name) {
            object["metadata"]["deletionTimestamp"] = json!(now());
            return Ok(objects.put(key, object));
        }
        if plural != "pods" {
            objects.all.remove(&key);
            return Ok(object);
        }
        if object["metadata"]["deletionTimestamp"].is_null() {
            let own = object["spec"]["terminationGracePeriodSeconds"]
                .as_u64()
                .unwrap_or(30);
            object["metadata"]["deletionTimestamp"] = json!(now());
            object["metadata"]["deletionGracePeriodSeconds"] = json!(grace.unwrap_or(own));
        }
        Ok(objects.put(key, object))
    }

    /// The kubelet's doors: a pod's status, its place, and its end.
    pub(super) fn set_status(&self, plural: &str, namespace: &str, name: &str, status: Value) {
        let mut objects = self.objects();
        let key = key(plural, namespace, name);
        if let Some(mut object) = objects.all.get(&key).cloned()
            && object["status"] != status
        {
            object["status"] = status;
            objects.put(key, object);
        }
    }

    pub(super) fn place(&self, namespace: &str, name: &str, node: &str) {
        let mut objects = self.objects();
        let key = key("pods", namespace, name);
        if let Some(mut pod) = objects.all.get(&key).cloned() {
            pod["spec"]["nodeName"] = json!(node);
            objects.put(key, pod);
        }
    }

    /// It has ended, and its object with it, unless it is another one of that name by now.
    pub(super) fn gone(&self, namespace: &str, name: &str, uid: &Value) {
        let mut objects = self.objects();
        let key = key("pods", namespace, name);
        if objects
            .all
            .get(&key)
            .is_some_and(|pod| pod["metadata"]["uid"] == *uid)
        {
            objects.all.remove(&key);
            objects.let_go(namespace);
        }
    }
}

impl Objects {
    /// Whether a pod has the claim among its volumes.
    fn is_used(&self, namespace: &str, claim: &str) -> bool {
        let of_pods = self
            .all
            .iter()
            .filter(|((plural, space, _), _)| plural == "pods" && space == namespace);
        let mut volumes =
            of_pods.flat_map(|(_, pod)| pod["spec"]["volumes"].as_array().into_iter().flatten());
        volumes.any(|it| it["persistentVolumeClaim"]["claimName"] == *claim)
    }

    /// Claims that were removed and that no pod uses any more.
    fn let_go(&mut self, namespace: &str) {
        let leaves = |((plural, space, _), object): &(&Key, &Value)| {
            plural == "persistentvolumeclaims"
                && space == namespace
                && !object["metadata"]["deletionTimestamp"].is_null()
        };
        let leaving: Vec<Key> = self
            .all
            .iter()
            .filter(leaves)
            .map(|(key, _)| key.clone())
            .collect();
        for key in leaving {
            if !self.is_used(namespace, &key.2) {
                self.all.remove(&key);
            }
        }
    }

    fn put(&mut self, key: Key, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.all.insert(key, object.clone());
        object
    }

    /// What Pod Security's `baseline` says of added capabilities.
    fn admit(&self, containers: &[Value]) -> Result<(), Value> {
        const PLAIN: [&str; 8] = [
            "CHOWN",
            "DAC_OVERRIDE",
            "FOWNER",
            "FSETID",
            "KILL",
            "MKNOD",
            "SETFCAP",
            "SETGID",
        ];
        let added = containers.iter().flat_map(|it| {
            it["securityContext"]["capabilities"]["add"]
                .as_array()
                .into_iter()
                .flatten()
        });
        let mut other = added.filter(|it| !PLAIN.contains(&it.as_str().unwrap_or_default()));
        match other.next() {
            Some(capability) if self.no_capabilities => Err(status(
                403,
                "Forbidden",
                &format!(
                    "violates PodSecurity \"baseline:latest\": non-default capabilities (container must not include {capability} in securityContext.capabilities.add)"
                ),
            )),
            _ => Ok(()),
        }
    }
}

fn unchangeable(plural: &str, name: &str, old: &Value, new: &Value) -> Result<(), Value> {
    let without = |object: &Value, fields: &[&str]| {
        let mut spec = object["spec"].as_object().cloned().unwrap_or_default();
        spec.retain(|key, _| !fields.contains(&key.as_str()));
        spec
    };
    let fixed = match plural {
        "statefulsets" => without(old, &CHANGEABLE) != without(new, &CHANGEABLE),
        "pods" | "persistentvolumeclaims" => old["spec"] != new["spec"],
        _ => false,
    };
    if !fixed {
        return Ok(());
    }
    Err(status(
        422,
        "Invalid",
        &format!(
            "{plural} \"{name}\" is invalid: spec: Forbidden: updates to fields other than {} are forbidden",
            CHANGEABLE.join(", ")
        ),
    ))
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            if let Some(fields) = target.as_object_mut() {
                fields.remove(key);
            }
        } else {
            merge(&mut target[key], value);
        }
    }
}

fn key(plural: &str, namespace: &str, name: &str) -> Key {
    (plural.to_owned(), namespace.to_owned(), name.to_owned())
}

/// This moment, as objects have it.
pub(super) fn now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seconds = since.unwrap_or_default().as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Civil date of a day since 1970, years of 400 in a row (the usual shift of the year to March).
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(image: &str) -> Value {
        json!({ "metadata": { "name": "pmm" }, "spec": { "replicas": 1, "serviceName": "pmm", "template": { "image": image } } })
    }

    #[test]
    fn a_claim_that_was_removed_stays_for_its_pod() {
        let store = Store::default();
        let claims = "persistentvolumeclaims";
        let claim = json!({ "metadata": { "name": "c" }, "spec": {} });
        store.create(claims, "m", claim).unwrap();
        let volumes = json!([{ "name": "v", "persistentVolumeClaim": { "claimName": "c" } }]);
        let pod = json!({ "metadata": { "name": "p" }, "spec": { "volumes": volumes } });
        let pod = store.create("pods", "m", pod).unwrap();
        store.delete(claims, "m", "c", None).unwrap();
        let left = store.get(claims, "m", "c").unwrap();
        assert!(!left["metadata"]["deletionTimestamp"].is_null());
        store.gone("m", "p", &pod["metadata"]["uid"]);
        assert!(store.get(claims, "m", "c").is_err());
        let claim = json!({ "metadata": { "name": "d" }, "spec": {} });
        store.create(claims, "m", claim).unwrap();
        store.delete(claims, "m", "d", None).unwrap();
        assert!(store.get(claims, "m", "d").is_err());
    }

    #[test]
    fn who_has_read_an_older_object_is_refused() {
        let store = Store::default();
        let read = store.create("statefulsets", "m", set("a")).unwrap();
        store
            .merge(
                "statefulsets",
                "m",
                "pmm",
                &json!({ "spec": { "replicas": 0 } }),
            )
            .unwrap();
        let refused = store.replace("statefulsets", "m", "pmm", read).unwrap_err();
        assert_eq!(refused["code"], 409);
        assert_eq!(
            store.create("statefulsets", "m", set("a")).unwrap_err()["reason"],
            "AlreadyExists"
        );
    }

    #[test]
    fn what_cannot_be_changed_of_a_stateful_set_is_refused() {
        let store = Store::default();
        let mut read = store.create("statefulsets", "m", set("a")).unwrap();
        read["spec"]["template"]["image"] = json!("b");
        let mut read = store.replace("statefulsets", "m", "pmm", read).unwrap();
        read["spec"]["serviceName"] = json!("other");
        assert_eq!(
            store.replace("statefulsets", "m", "pmm", read).unwrap_err()["code"],
            422
        );
    }

    #[test]
    fn an_ephemeral_container_stays() {
        let store = Store::default();
        let pod =
            json!({ "metadata": { "name": "p" }, "spec": { "containers": [{ "name": "c" }] } });
        let mut pod = store.create("pods", "m", pod).unwrap();
        pod["spec"]["ephemeralContainers"] = json!([{ "name": "e", "targetContainerName": "c" }]);
        store.set_ephemeral("m", "p", &pod, true).unwrap();
        let mut with = store.set_ephemeral("m", "p", &pod, false).unwrap();
        with["spec"]["ephemeralContainers"] = json!([]);
        assert_eq!(
            store.set_ephemeral("m", "p", &with, false).unwrap_err()["code"],
            422
        );
        assert_eq!(
            store.set_ephemeral("m", "p", &pod, false).unwrap_err()["code"],
            409
        );
    }
}
