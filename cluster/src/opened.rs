//! What an agent on a backup alone has before it. It is kept in the cluster, so that the agent's pod is made again where it went away,
//! though the server that the backup is a copy of may not be there any more.

use ferry_agent::error::StepError;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Kubernetes,
    api::Kind,
    record::{self, labels},
    workload::Name,
};

/// A backup that a run works with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Opened {
    /// The claim that has it.
    pub(crate) backup: String,
    /// The new claim that it is restored into; empty: it is only read.
    pub(crate) restore_to: String,
}

/// What the run's ConfigMap is called, and its agent's pod.
pub(crate) fn name(run: &str) -> String {
    format!("ferry-backup-{run}")
}

impl Kubernetes {
    /// Keeps it, in the place of the one before.
    pub(crate) async fn keep_opened(
        &self,
        server: &Name,
        run: &str,
        opened: &Opened,
    ) -> Result<(), StepError> {
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": name(run), "labels": labels(server, run, "opened") },
            "data": { record::FIELD: record::written(opened)? },
        });
        self.put_map(&server.namespace, &body).await
    }

    pub(crate) async fn opened(
        &self,
        namespace: &str,
        run: &str,
    ) -> Result<Option<Opened>, StepError> {
        self.read_map(namespace, &name(run), run).await
    }

    pub(crate) async fn forget_opened(&self, namespace: &str, run: &str) -> Result<(), StepError> {
        self.api
            .delete(Kind::ConfigMaps, namespace, &name(run), None)
            .await?;
        Ok(())
    }
}
