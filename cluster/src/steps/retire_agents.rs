//! Ends Ferry's own agents when the crossing is proven. The copy of the data and what the StatefulSet was stay: they are the way back.

use std::sync::Arc;

use async_trait::async_trait;
use ferry_agent::{context::Context, error::StepError, steps::Work};
use ferry_proto::v1::{self, Outcome};

use super::{done, done_with};
use crate::{
    Kubernetes,
    api::{Kind, text},
    claims::Claim,
    image, pod,
    record::Before,
    sidecar, volume,
    workload::Name,
};

pub(crate) struct RetireAgents(pub(crate) Arc<Kubernetes>, pub(crate) v1::RetireAgents);

#[async_trait]
impl Work for RetireAgents {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        if self.1.container.is_empty() {
            return self.close(cx).await;
        }
        let (cluster, server) = (&self.0, Name::parse(&self.1.container)?);
        // The server was proven to be whole: that clean-up fails is told, and is no reason to take the crossing back.
        let mut warnings = Vec::new();
        if let Err(error) = sidecar::end(cluster, &server, &cx.run).await {
            warnings.push(error.into_warning()?);
        }
        if let Err(error) = volume::retire(cluster, &server, &cx.run).await {
            warnings.push(error.into_warning()?);
        }
        if let Err(error) = cluster.unlock(&server, &cx.run).await {
            warnings.push(StepError::from(error).into_warning()?);
        }
        Ok(done_with("the agents have ended", warnings))
    }

    async fn verify(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }

    /// Who goes back needs the server for itself; its agents come when they are asked for.
    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        if self.1.container.is_empty() {
            return Ok(done("the agent stays away"));
        }
        let server = Name::parse(&self.1.container)?;
        let record = self.0.record(&server, &cx.run).await?;
        let Some(record) = record else {
            return Err(gone(&server, &cx.run));
        };
        let claims = Kind::Claims;
        if self
            .0
            .api
            .find(claims, &server.namespace, &record.backup)
            .await?
            .is_none()
        {
            return Err(gone(&server, &cx.run));
        }
        if let Some(before) = &record.before {
            self.check_before(&server, before, &cx.run).await?;
        }
        self.0.lock(&server, &cx.run).await?;
        Ok(done("the way back is there"))
    }
}

impl RetireAgents {
    /// That what the server is taken back to can be had: asked while the new one serves.
    async fn check_before(
        &self,
        server: &Name,
        before: &Before,
        run: &str,
    ) -> Result<(), StepError> {
        let cluster = &self.0;
        let maps = before
            .config_maps
            .keys()
            .map(|it| (Kind::ConfigMaps, "ConfigMap", it));
        let services = before
            .services
            .keys()
            .map(|it| (Kind::Services, "Service", it));
        for (kind, word, name) in maps.chain(services) {
            if cluster
                .api
                .find(kind, &server.namespace, name)
                .await?
                .is_none()
            {
                return Err(StepError::new(
                    "way-back-gone",
                    format!("the way back is gone: somebody removed {word} `{name}` of {server}"),
                )
                .hint(format!(
                    "make one of that name again, with anything in it, then `ferryctl rollback {run}` again"
                )));
            }
        }
        let pod = cluster.pod(server).await?;
        let node = pod
            .as_ref()
            .map_or("", |pod| text(&pod["spec"]["nodeName"]));
        let image = text(&pod::server_container(&before.template["spec"])["image"]);
        let old = image::look(cluster, server, &before.template, node, (image, run)).await;
        if old.present {
            return Ok(());
        }
        Err(StepError::new(
            "way-back-gone",
            format!(
                "the cluster cannot have the old image `{image}`: {}",
                old.failure
            ),
        )
        .hint(format!(
            "have it in the registry again, or on the node, then `ferryctl rollback {run}` again"
        )))
    }

    /// On a backup alone there is no server to care for.
    async fn close(&self, cx: &Context) -> Result<Outcome, StepError> {
        let (backup, _) = Claim::of(self.1.opened.as_ref())?;
        // What was asked for is done: that clean-up fails is told, and takes nothing of it back.
        let closed = volume::close(&self.0, &backup.namespace, &cx.run).await;
        let warnings = match closed {
            Ok(()) => Vec::new(),
            Err(error) => vec![error.into_warning()?],
        };
        Ok(done_with("the agent has ended", warnings))
    }
}

fn gone(server: &Name, run: &str) -> StepError {
    StepError::new(
        "way-back-gone",
        format!("the way back is gone: what run {run} had kept of {server}, or its copy of the data, was removed"),
    )
    .hint("the server is as it was before this command; restore it from a backup of your own")
}
