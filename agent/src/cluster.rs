//! What a host agent is where a cluster's API server takes the place of a container engine.
//!
//! Why a seam: the client of a cluster is large, and `ferryd` never needs it: its image stays small. The host agent beside a cluster
//! lives in its controller, and is this crate's own: the same runner, ledger, events and tunnel. What it does at the cluster comes from
//! a crate that `ferryctl` alone is linked with.
//!
//! Rejected: a feature of this crate. Cargo unites the features of what it builds together, and `ferryd` and `ferryctl` are.

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use ferry_proto::v1::{Facts, GetFactsRequest, Step, TunnelTarget};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{error::StepError, steps::Work};

/// A byte stream in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// The means of a host agent beside a cluster.
#[async_trait]
pub trait Cluster: Debug + Send + Sync {
    /// What the cluster says of a server, and of the image that it shall become.
    ///
    /// # Errors
    /// When the server is not there at all, or the cluster does not answer.
    async fn observe(&self, request: &GetFactsRequest) -> Result<Facts, StepError>;

    /// The work of a step of the host agent.
    ///
    /// # Errors
    /// When it is no step that is done beside a cluster.
    fn work(self: Arc<Self>, step: &Step) -> Result<Box<dyn Work>, StepError>;

    /// A byte stream to an agent of a run, which is started where it is not there.
    ///
    /// # Errors
    /// When there is no such agent, or it cannot be reached.
    async fn dial(&self, target: &TunnelTarget) -> Result<Box<dyn ByteStream>, StepError>;
}
