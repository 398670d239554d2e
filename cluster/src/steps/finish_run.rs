//! Removes what a completed crossing has kept for the way back: what the StatefulSet, its ConfigMaps and its services were. The backup is
//! another step's.
//!
//! Looked at before: the server must run, and with another image than the one that the crossing has replaced. It need not be the
//! template that the run made: `helm upgrade` makes its own of it, as it should.

use std::sync::Arc;

use async_trait::async_trait;
use ferry_agent::{context::Context, error::StepError, steps::Work};
use ferry_proto::v1::{self, Outcome};
use serde_json::Value;

use super::{done, done_with};
use crate::{
    Kubernetes,
    api::text,
    pod::{self, State},
    record::{Record, record_name},
    volume,
    workload::{Name, server_name},
};

pub(crate) struct FinishRun(pub(crate) Arc<Kubernetes>, pub(crate) v1::FinishRun);

#[async_trait]
impl Work for FinishRun {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let (cluster, server) = (&self.0, Name::parse(&self.1.container)?);
        let run = self.1.run.as_str();
        let record = cluster.record(&server, run).await?;
        self.check_successor(&server, record.as_ref()).await?;
        // What the end of the run could not take away is nobody's by now.
        volume::retire(cluster, &server, run).await?;
        cluster.unlock(&server, run).await?;
        if record.is_none() {
            return Ok(done("nothing was left to remove"));
        }
        cx.keep(&true)?;
        cluster.forget(&server, run).await?;
        let name = record_name(&server, run);
        Ok(done(format!("removed: ConfigMap `{name}`")))
    }

    async fn verify(&self, _cx: &Context) -> Result<(), StepError> {
        let (cluster, server) = (&self.0, Name::parse(&self.1.container)?);
        if cluster.record(&server, &self.1.run).await?.is_none() {
            return self.check_successor(&server, None).await;
        }
        Err(StepError::new(
            "record-still-there",
            format!(
                "ConfigMap `{}` was removed and is there again",
                record_name(&server, &self.1.run)
            ),
        ))
    }

    /// What was removed is nowhere else.
    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        if cx.first_kept::<bool>()?.is_none() {
            return Ok(done("nothing was removed"));
        }
        let server = Name::parse(&self.1.container)?;
        if self.0.record(&server, &self.1.run).await?.is_some() {
            return Ok(done("the way back is there"));
        }
        let warning = format!("what {server} was before the run was removed before this failed");
        Ok(done_with("nothing to take back", vec![warning]))
    }
}

impl FinishRun {
    async fn check_successor(
        &self,
        server: &Name,
        record: Option<&Record>,
    ) -> Result<(), StepError> {
        let (cluster, run) = (&self.0, &self.1.run);
        let set = cluster.set(server).await?;
        let before = record.and_then(|record| record.before.as_ref());
        if let Some(image) = before.and_then(|it| put_back(&it.template, &set["spec"]["template"]))
        {
            return Err(StepError::new(
                "not-this-runs",
                format!("{server} has image `{image}` again, which run {run} had replaced"),
            )
            .hint("see who has put it back, with `helm history` for one; what the run has kept is left as it is"));
        }
        let pod = cluster.pod(server).await?;
        if pod.is_some_and(|pod| serves(&pod)) {
            return Ok(());
        }
        Err(StepError::new(
            "server-not-running",
            format!(
                "pod `{}` of {server} does not run, or is not ready: it is not proven that the crossing is of use",
                server.pod()
            ),
        )
        .hint(format!(
            "`kubectl describe pod {} --namespace {}` says why; or `ferryctl rollback {run}`",
            server.pod(),
            server.namespace
        )))
    }
}

/// Whether a pod serves, and goes on: one that leaves is ready until its end.
fn serves(pod: &Value) -> bool {
    let runs = pod::state(pod, "containerStatuses", &server_name(pod)) == State::Running;
    runs && pod::is_ready(pod) && pod["metadata"]["deletionTimestamp"].is_null()
}

/// The image that a template has again.
fn put_back<'a>(before: &Value, now: &'a Value) -> Option<&'a str> {
    let image = |template: &'a Value| text(&pod::server_container(&template["spec"])["image"]);
    let old = text(&pod::server_container(&before["spec"])["image"]);
    Some(image(now)).filter(|now| *now == old)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_that_leaves_or_is_not_ready_does_not_serve() {
        let pod = |ready: &str, leaves: Value| {
            json!({
                "metadata": { "deletionTimestamp": leaves },
                "spec": { "containers": [{ "name": "pmm" }] },
                "status": {
                    "conditions": [{ "type": "Ready", "status": ready }],
                    "containerStatuses": [{ "name": "pmm", "state": { "running": {} } }],
                },
            })
        };
        assert!(serves(&pod("True", Value::Null)));
        assert!(!serves(&pod("False", Value::Null)));
        assert!(!serves(&pod("True", json!("2026-11-20T19:02:11Z"))));
        assert!(!serves(&json!({})));
    }

    #[test]
    fn an_image_that_is_back_is_told_from_one_that_somebody_has_made_newer() {
        let with =
            |image: &str| json!({ "spec": { "containers": [{ "name": "pmm", "image": image }] } });
        let before = with("percona/pmm-server:2.44.1");
        assert_eq!(
            put_back(&before, &before.clone()),
            Some("percona/pmm-server:2.44.1")
        );
        assert_eq!(put_back(&before, &with("percona/pmm-server:3.8.1")), None);
    }
}
