//! Claims that runs make: made like one that is there, known by their labels, and gone only when the cluster says so.
//!
//! Why waited for: the cluster answers at once, and keeps a claim that was removed for as long as a pod uses it.

use std::{fmt, time::Duration};

use ferry_agent::engine::labels::{ROLE_LABEL, RUN_LABEL};
use ferry_agent::error::StepError;
use ferry_proto::v1;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    Kubernetes,
    api::{Kind, entries, text},
};

/// The code of an error that says that a claim is another's.
pub(crate) const TAKEN: &str = "claim-taken";

const POLL: Duration = Duration::from_millis(200);
/// Nobody uses it: this is the cluster's own work alone.
const GONE_PATIENCE: Duration = Duration::from_secs(120);

/// A claim in its namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "claim `{}/{}`", self.namespace, self.name)
    }
}

impl Claim {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The backup that a step names, and the run that made it.
    pub(crate) fn of(place: Option<&v1::BackupPlace>) -> Result<(Self, String), StepError> {
        let bad = |why: &str| StepError::new("bad-parameter", format!("the step names {why}"));
        let place = place.ok_or_else(|| bad("no backup"))?;
        let parts = place.claim.split_once('/');
        match parts {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
                Ok((Self::new(namespace, name), place.run.clone()))
            }
            _ => Err(bad("no NAMESPACE/CLAIM")),
        }
    }

    /// As the cluster has it, where it is there and this run's.
    pub(crate) async fn find(
        &self,
        cluster: &Kubernetes,
        run: &str,
    ) -> Result<Option<Value>, StepError> {
        let found = cluster.api.find(Kind::Claims, &self.namespace, &self.name);
        let Some(found) = found.await? else {
            return Ok(None);
        };
        if found["metadata"]["labels"][RUN_LABEL] == run {
            return Ok(Some(found));
        }
        Err(StepError::new(
            TAKEN,
            format!("{self} is there and not of run {run}"),
        )
        .hint(format!(
            "look what it holds; `kubectl delete persistentvolumeclaim {} --namespace {}` when it is not needed",
            self.name, self.namespace
        )))
    }

    /// Makes it as large as `like` and of the same class, or accepts the one that this run made before.
    pub(crate) async fn make(
        &self,
        cluster: &Kubernetes,
        run: &str,
        like: &Value,
        labels: &Value,
    ) -> Result<(), StepError> {
        if self.find(cluster, run).await?.is_some() {
            return Ok(());
        }
        let body = body(&self.name, like, labels);
        match cluster
            .api
            .create(Kind::Claims, &self.namespace, &body)
            .await
        {
            // Somebody was quicker: this says who.
            Err(error) if error.is_conflict() => self.find(cluster, run).await.map(drop),
            other => Ok(other.map(drop)?),
        }
    }

    /// The pods that have it mounted, by name.
    pub(crate) async fn users(&self, cluster: &Kubernetes) -> Result<Vec<String>, StepError> {
        let pods = cluster.api.list(Kind::Pods, &self.namespace, "").await?;
        Ok(users(&pods, &self.name))
    }

    /// The pods that use it and are not Ferry's, but those that have ended.
    pub(crate) async fn strangers(&self, cluster: &Kubernetes) -> Result<Vec<String>, StepError> {
        let mut pods = cluster.api.list(Kind::Pods, &self.namespace, "").await?;
        pods.retain(|pod| {
            let has_ended = ["Succeeded", "Failed"].contains(&text(&pod["status"]["phase"]));
            pod["metadata"]["labels"][ROLE_LABEL].is_null() && !has_ended
        });
        Ok(users(&pods, &self.name))
    }

    /// Removes it and waits until it is gone; gone already is fine.
    pub(crate) async fn remove(&self, cluster: &Kubernetes, run: &str) -> Result<(), StepError> {
        if self.find(cluster, run).await?.is_none() {
            return Ok(());
        }
        cluster
            .api
            .delete(Kind::Claims, &self.namespace, &self.name, None)
            .await?;
        let deadline = Instant::now() + GONE_PATIENCE;
        while self.find(cluster, run).await?.is_some() {
            if Instant::now() > deadline {
                return Err(StepError::new(
                    "claim-still-there",
                    format!("{self} was removed and is still there after {} s", GONE_PATIENCE.as_secs()),
                )
                .hint(format!(
                    "`kubectl describe persistentvolumeclaim {} --namespace {}` says what it waits for, then the same command again",
                    self.name, self.namespace
                )));
            }
            sleep(POLL).await;
        }
        Ok(())
    }
}

/// Somebody has removed it, and it stays for a pod that uses it.
pub(crate) fn is_leaving(claim: &Value) -> bool {
    !claim["metadata"]["deletionTimestamp"].is_null()
}

/// Which of these pods have a claim mounted.
pub(crate) fn users(pods: &[Value], claim: &str) -> Vec<String> {
    let has_it = |pod: &&Value| {
        let mut volumes = entries(&pod["spec"]["volumes"]);
        volumes.any(|it| it["persistentVolumeClaim"]["claimName"] == claim)
    };
    let names = pods.iter().filter(has_it);
    names
        .map(|pod| text(&pod["metadata"]["name"]).to_owned())
        .collect()
}

fn body(name: &str, like: &Value, labels: &Value) -> Value {
    let spec = &like["spec"];
    // It may have been made larger than it was asked for.
    let size = match &like["status"]["capacity"]["storage"] {
        Value::Null => &spec["resources"]["requests"]["storage"],
        size => size,
    };
    let mut body = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": { "name": name, "labels": labels },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": size } } },
    });
    if !spec["storageClassName"].is_null() {
        body["spec"]["storageClassName"] = spec["storageClassName"].clone();
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_named_with_its_namespace() {
        let of = |claim: &str| {
            Claim::of(Some(&v1::BackupPlace {
                run: "7f3a9c21".into(),
                claim: claim.into(),
                ..Default::default()
            }))
        };
        let (claim, run) = of("monitoring/data-ferry-7f3a9c21").unwrap();
        assert_eq!(claim, Claim::new("monitoring", "data-ferry-7f3a9c21"));
        assert_eq!(run, "7f3a9c21");
        for wrong in ["", "data", "/data", "monitoring/"] {
            assert_eq!(of(wrong).unwrap_err().code(), "bad-parameter", "{wrong}");
        }
        assert_eq!(Claim::of(None).unwrap_err().code(), "bad-parameter");
    }

    #[test]
    fn a_claim_is_as_large_as_the_one_it_is_made_like() {
        let like = json!({
            "spec": {
                "storageClassName": "fast", "volumeName": "pv-1", "accessModes": ["ReadWriteMany"],
                "resources": { "requests": { "storage": "10Gi" } },
            },
            "status": { "capacity": { "storage": "20Gi" } },
        });
        let labels = json!({ "ferry.run": "r" });
        let made = body("new", &like, &labels);
        assert_eq!(
            made["spec"],
            json!({
                "accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
                "resources": { "requests": { "storage": "20Gi" } },
            })
        );
        assert_eq!(made["metadata"]["labels"], labels);
        // One that waits for its first pod has no capacity yet; without a class the cluster has its own.
        let waiting = json!({ "spec": { "resources": { "requests": { "storage": "10Gi" } } } });
        let made = body("new", &waiting, &labels);
        assert_eq!(made["spec"]["resources"]["requests"]["storage"], "10Gi");
        assert!(made["spec"]["storageClassName"].is_null());
    }

    #[test]
    fn who_has_a_claim_mounted_is_told() {
        let pod = |name: &str, claim: &str| {
            json!({
                "metadata": { "name": name },
                "spec": { "volumes": [{ "name": "a", "emptyDir": {} }, { "name": "b", "persistentVolumeClaim": { "claimName": claim } }] },
            })
        };
        let pods = [pod("pmm-0", "data"), pod("other", "copy"), json!({})];
        assert_eq!(users(&pods, "data"), ["pmm-0"]);
        assert_eq!(users(&pods, "nothing"), [""; 0]);
    }
}
