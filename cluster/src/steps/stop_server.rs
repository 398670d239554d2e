//! Gives the StatefulSet no pod. Its programs were stopped by their supervisor before, in order and with their own grace. A pod that was made anew
//! in between, or started again, runs them once more: it gets as long for them, not the chart's 30 seconds.

use std::sync::Arc;

use async_trait::async_trait;
use ferry_agent::{context::Context, error::StepError, steps::Work};
use ferry_proto::v1::{self, Outcome};
use serde_json::Value;

use super::done;
use crate::{Kubernetes, volume, workload::Name};

pub(crate) struct StopServer(pub(crate) Arc<Kubernetes>, pub(crate) v1::StopServer);

#[async_trait]
impl Work for StopServer {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let server = Name::parse(&self.1.container_id)?;
        cx.keep(&true)?;
        self.0.stop_stopped(&server, &cx.run).await?;
        self.0.note_down(&server, &cx.run, true).await?;
        Ok(done("no pod"))
    }

    async fn verify(&self, _cx: &Context) -> Result<(), StepError> {
        let server = Name::parse(&self.1.container_id)?;
        let replicas = self.0.set(&server).await?["spec"]["replicas"].clone();
        if replicas == 0 && self.0.pod(&server).await?.is_none() {
            return Ok(());
        }
        Err(StepError::new(
            "still-running",
            format!("{server} has {replicas} pods again"),
        )
        .hint("find out who scales it: an autoscaler, an operator, or a person"))
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let (cluster, server) = (&self.0, Name::parse(&self.1.container_id)?);
        if cx.first_kept::<bool>()?.is_none() {
            return Ok(done("the server was not stopped"));
        }
        let pod = cluster.pod(&server).await?;
        let replicas = cluster.set(&server).await?["spec"]["replicas"].clone();
        let is_going = |pod: &Value| !pod["metadata"]["deletionTimestamp"].is_null();
        match pod {
            None => volume::retire(cluster, &server, &cx.run).await?,
            // It is on its way down, or about to be: started again it must be whole.
            Some(pod) if replicas == 0 || is_going(&pod) => cluster.stop(&server).await?,
            // An earlier try has started it, and was cut off before it could say so; or somebody else has.
            Some(_) => cluster.check_down(&server, &cx.run).await?,
        }
        cluster.note_down(&server, &cx.run, false).await?;
        cluster.scale(&server, 1).await?;
        cluster.started(&server).await?;
        Ok(done(format!("pod `{}` runs again", server.pod())))
    }
}
