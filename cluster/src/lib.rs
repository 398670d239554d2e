//! Beside a Kubernetes cluster: what takes the place of a container engine for a host agent.
//!
//! A server is the pod of a StatefulSet, as PMM's Helm chart makes it. The agent beside it is an ephemeral container, the one with its
//! data a pod of its own, and both are reached by `exec` of `ferryd dial` in them, whose standard streams carry the bytes: no port is
//! opened. The server is stopped by giving the StatefulSet no pod, and carried over by a new template for it.
//!
//! - `api`: the API server's objects as they are, in JSON. A typed object would lose on its way back what this release does not know.
//! - `look`: facts. `backups`: which copies there are. `image`: what an image is. `successor`: the new template, a pure function.
//! - `sidecar`, `volume`, `dial`: the agents. `workload`: scaling and waiting. `claims`: those that runs make. `record`, `opened`: what is
//!   kept in the cluster.
//! - `steps`: the host agent's steps.

mod api;
mod backups;
mod claims;
mod dial;
mod error;
mod image;
mod look;
mod opened;
mod permissions;
mod pod;
mod record;
mod sidecar;
mod steps;
mod successor;
mod values;
mod volume;
mod workload;

use std::sync::Arc;

use async_trait::async_trait;
use ferry_agent::{
    cluster::{ByteStream, Cluster},
    error::StepError,
    steps::Work,
};
use ferry_proto::v1::{Facts, GetFactsRequest, Place, Step, TunnelTarget, action::Kind};

use self::api::Api;
pub use self::error::ClusterError;

/// A cluster, as this user's `kubectl` would reach it.
#[derive(Debug)]
pub struct Kubernetes {
    api: Api,
    /// The agent's image, as the cluster is to fetch it.
    agent_image: String,
}

impl Kubernetes {
    /// Connects to the cluster of the current context. Agents there are made of `agent_image`.
    ///
    /// # Errors
    /// When no context is chosen, or the API server does not answer.
    pub async fn connect(agent_image: &str) -> Result<Arc<dyn Cluster>, StepError> {
        let api = Api::connect().await?;
        Ok(Arc::new(Self {
            api,
            agent_image: agent_image.to_owned(),
        }))
    }
}

#[async_trait]
impl Cluster for Kubernetes {
    async fn observe(&self, request: &GetFactsRequest) -> Result<Facts, StepError> {
        if request.container.is_empty() {
            return backups::observe(self, request).await;
        }
        look::observe(self, request).await
    }

    fn work(self: Arc<Self>, step: &Step) -> Result<Box<dyn Work>, StepError> {
        let kind = step.action.as_ref().and_then(|action| action.kind.clone());
        Ok(match kind {
            Some(Kind::PullImage(it)) => Box::new(steps::FetchImage(self, it)),
            Some(Kind::LaunchAgents(it)) => Box::new(steps::LaunchAgents(self, it)),
            Some(Kind::StopServer(it)) => Box::new(steps::StopServer(self, it)),
            Some(Kind::PatchStatefulSet(it)) => Box::new(steps::PatchStatefulSet(self, it)),
            Some(Kind::StartServer(it)) => Box::new(steps::StartServer(self, it)),
            Some(Kind::RetireAgents(it)) => Box::new(steps::RetireAgents(self, it)),
            Some(Kind::OpenBackup(it)) => Box::new(steps::OpenBackup(self, it)),
            Some(Kind::RemoveBackup(it)) => Box::new(steps::RemoveBackup(self, it)),
            Some(Kind::FinishRun(it)) => Box::new(steps::FinishRun(self, it)),
            _ => {
                return Err(StepError::new(
                    "unknown-step",
                    format!("step `{}` is none that is done beside a cluster", step.id),
                )
                .hint("see docs/kubernetes.md for what there is; the plan was made for an engine, or by another release"));
            }
        })
    }

    async fn dial(&self, target: &TunnelTarget) -> Result<Box<dyn ByteStream>, StepError> {
        let server = workload::Name::parse(&target.container)?;
        let (pod, container) = match target.place() {
            Place::Container => sidecar::launch(self, &server, &target.run).await?,
            Place::Volume => {
                self.check_down(&server, &target.run).await?;
                volume::launch(self, &server, &target.run).await?
            }
            _ => {
                return Err(StepError::new(
                    "bad-parameter",
                    "in a cluster a tunnel leads beside the server, or to its data",
                ));
            }
        };
        Ok(dial::dial(self, &server.namespace, &pod, &container).await?)
    }
}
