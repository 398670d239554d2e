//! What a run keeps in the cluster, in ConfigMaps: the lock on the server, and what the StatefulSet was before.
//!
//! Why there: a name is there only once, so the lock holds against every other controller and survives each crash of ours. And what the
//! way back needs has values of variables in it, which must not lie about on an operator's disk; the cluster has them already.

use std::collections::BTreeMap;

use ferry_agent::error::StepError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Kubernetes,
    api::{Kind, text},
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

const FIELD: &str = "record";

fn lock_name(server: &Name) -> String {
    format!("ferry-{}", server.name)
}

fn record_name(server: &Name, run: &str) -> String {
    format!("ferry-{}-{run}", server.name)
}

pub(crate) fn labels(server: &Name, run: &str, role: &str) -> Value {
    json!({
        "app.kubernetes.io/managed-by": "ferry",
        "ferry.role": role, "ferry.run": run, "ferry.server": server.name,
    })
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
        let name = record_name(server, run);
        let found = self
            .api
            .find(Kind::ConfigMaps, &server.namespace, &name)
            .await?;
        let Some(found) = found else {
            return Ok(None);
        };
        serde_json::from_str(text(&found["data"][FIELD]))
            .map(Some)
            .map_err(|error| {
                StepError::new(
                    "record-damaged",
                    format!(
                        "ConfigMap `{name}` in namespace `{}` is not what run {run} wrote: {error}",
                        server.namespace
                    ),
                )
                .hint(
                    "nothing was guessed; put it back from a backup of the cluster, then try again",
                )
            })
    }

    /// Writes it, in the place of the one before.
    pub(crate) async fn keep(
        &self,
        server: &Name,
        run: &str,
        record: &Record,
    ) -> Result<(), StepError> {
        let value = serde_json::to_string(record).map_err(|error| {
            StepError::new("record", format!("a record cannot be written: {error}"))
        })?;
        let name = record_name(server, run);
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": name, "labels": labels(server, run, "record") },
            "data": { FIELD: value },
        });
        match self
            .api
            .create(Kind::ConfigMaps, &server.namespace, &body)
            .await
        {
            Err(error) if error.is_conflict() => {
                let patch = json!({ "data": { FIELD: value } });
                self.api
                    .merge(Kind::ConfigMaps, &server.namespace, &name, &patch)
                    .await?;
                Ok(())
            }
            other => Ok(other.map(drop)?),
        }
    }

    pub(crate) async fn forget(&self, server: &Name, run: &str) -> Result<(), ClusterError> {
        let name = record_name(server, run);
        self.api
            .delete(Kind::ConfigMaps, &server.namespace, &name, None)
            .await?;
        Ok(())
    }
}
