//! What a run keeps in the cluster, in ConfigMaps: the lock on the server, and what the StatefulSet was before.
//!
//! Why there: a name is there only once, so the lock holds against every other controller and survives each crash of ours. And what the
//! way back needs has values of variables in it, which must not lie about on an operator's disk; the cluster has them already.

use std::collections::BTreeMap;

use ferry_agent::{
    engine::labels::{ROLE_LABEL, RUN_LABEL, SERVER_LABEL},
    error::StepError,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    Kubernetes,
    api::{Kind, text},
    claims::Claim,
    error::ClusterError,
    workload::Name,
};

/// What a run has kept.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The claim that has the server's data.
    pub(crate) claim: String,
    /// The claim that has the copy.
    pub(crate) backup: String,
    /// What the StatefulSet, its ConfigMaps and its services were before they were changed.
    #[serde(default)]
    pub(crate) before: Option<Before>,
    /// The server has no pod because of this run, and its data is changed or restored.
    #[serde(default)]
    pub(crate) down: bool,
}

/// What was there before.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Before {
    pub(crate) template: Value,
    /// The data of each, by name.
    pub(crate) config_maps: BTreeMap<String, Value>,
    /// The ports of each, by name.
    pub(crate) services: BTreeMap<String, Value>,
}

/// Where a ConfigMap has what it keeps.
pub(crate) const FIELD: &str = "record";

fn lock_name(server: &Name) -> String {
    format!("ferry-{}", server.name)
}

pub(crate) fn record_name(server: &Name, run: &str) -> String {
    format!("ferry-{}-{run}", server.name)
}

pub(crate) fn labels(server: &Name, run: &str, role: &str) -> Value {
    json!({
        "app.kubernetes.io/managed-by": "ferry",
        ROLE_LABEL: role, RUN_LABEL: run, SERVER_LABEL: server.name,
    })
}

/// As a ConfigMap keeps it.
pub(crate) fn written(record: &impl Serialize) -> Result<String, StepError> {
    serde_json::to_string(record)
        .map_err(|error| StepError::new("record", format!("a record cannot be written: {error}")))
}

impl Kubernetes {
    /// Takes the server for a run.
    pub(crate) async fn lock(&self, server: &Name, run: &str) -> Result<(), StepError> {
        let name = lock_name(server);
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": name, "labels": labels(server, run, "lock") },
            "data": { "run": run },
        });
        match self
            .api
            .create(Kind::ConfigMaps, &server.namespace, &body)
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if error.is_conflict() => {
                let there = self
                    .api
                    .get(Kind::ConfigMaps, &server.namespace, &name)
                    .await?;
                let holder = text(&there["data"]["run"]);
                if holder == run {
                    return Ok(());
                }
                Err(StepError::new(
                    "server-held-by-run",
                    format!("run {holder} holds {server}: ConfigMap `{name}` says so"),
                )
                .hint(format!(
                    "`ferryctl resume {holder}` or `ferryctl rollback {holder}`"
                )))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Gives it up, where this run has it.
    pub(crate) async fn unlock(&self, server: &Name, run: &str) -> Result<(), ClusterError> {
        let name = lock_name(server);
        let there = self
            .api
            .find(Kind::ConfigMaps, &server.namespace, &name)
            .await?;
        if there.is_some_and(|it| it["data"]["run"] == run) {
            self.api
                .delete(Kind::ConfigMaps, &server.namespace, &name, None)
                .await?;
        }
        Ok(())
    }

    pub(crate) async fn record(
        &self,
        server: &Name,
        run: &str,
    ) -> Result<Option<Record>, StepError> {
        self.read_map(&server.namespace, &record_name(server, run), run)
            .await
    }

    /// Notes that the server is down, or that it is not any more, where there is a record.
    pub(crate) async fn note_down(
        &self,
        server: &Name,
        run: &str,
        down: bool,
    ) -> Result<(), StepError> {
        match self.record(server, run).await? {
            Some(record) if record.down != down => {
                self.keep(server, run, &Record { down, ..record }).await
            }
            _ => Ok(()),
        }
    }

    /// That nobody uses the data of a server that this run keeps down: what is changed or restored under a program that writes is neither.
    /// A set of no pods is scaled up by whoever finds it so.
    pub(crate) async fn check_down(&self, server: &Name, run: &str) -> Result<(), StepError> {
        let Some(record) = self.record(server, run).await? else {
            return Ok(());
        };
        if !record.down {
            return Ok(());
        }
        let claim = Claim::new(&server.namespace, &record.claim);
        let Some(pod) = claim.strangers(self).await?.into_iter().next() else {
            return Ok(());
        };
        Err(StepError::new(
            "data-in-use",
            format!("pod `{pod}` uses the data of {server}, which is about to be changed or taken back"),
        )
        .hint(format!(
            "find out who made it; `kubectl scale statefulset {} --namespace {} --replicas=0` where the set did, then `ferryctl resume {run}`",
            server.name, server.namespace
        )))
    }

    /// Writes it, in the place of the one before.
    pub(crate) async fn keep(
        &self,
        server: &Name,
        run: &str,
        record: &Record,
    ) -> Result<(), StepError> {
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": record_name(server, run), "labels": labels(server, run, "record") },
            "data": { FIELD: written(record)? },
        });
        self.put_map(&server.namespace, &body).await
    }

    /// What a ConfigMap of a run's keeps; `None` when there is none.
    pub(crate) async fn read_map<T: DeserializeOwned>(
        &self,
        namespace: &str,
        name: &str,
        run: &str,
    ) -> Result<Option<T>, StepError> {
        let found = self.api.find(Kind::ConfigMaps, namespace, name).await?;
        let Some(found) = found else {
            return Ok(None);
        };
        serde_json::from_str(text(&found["data"][FIELD]))
            .map(Some)
            .map_err(|error| {
                StepError::new(
                    "record-damaged",
                    format!(
                        "ConfigMap `{name}` in namespace `{namespace}` is not what run {run} wrote: {error}"
                    ),
                )
                .hint(
                    "nothing was guessed; put it back from a backup of the cluster, then try again",
                )
            })
    }

    /// Makes a ConfigMap, or gives the one that is there this one's data.
    pub(crate) async fn put_map(&self, namespace: &str, body: &Value) -> Result<(), StepError> {
        match self.api.create(Kind::ConfigMaps, namespace, body).await {
            Err(error) if error.is_conflict() => {
                let (name, patch) = (
                    text(&body["metadata"]["name"]),
                    json!({ "data": body["data"] }),
                );
                self.api
                    .merge(Kind::ConfigMaps, namespace, name, &patch)
                    .await?;
                Ok(())
            }
            other => Ok(other.map(drop)?),
        }
    }

    /// Removes it, where this run has written it.
    pub(crate) async fn forget(&self, server: &Name, run: &str) -> Result<(), ClusterError> {
        let name = record_name(server, run);
        let (maps, namespace) = (Kind::ConfigMaps, &server.namespace);
        let there = self.api.find(maps, namespace, &name).await?;
        if there.is_some_and(|it| it["metadata"]["labels"][RUN_LABEL] == run) {
            self.api.delete(maps, namespace, &name, None).await?;
        }
        Ok(())
    }
}
