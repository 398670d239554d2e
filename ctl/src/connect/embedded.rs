//! The host agent in this process: the one place where the controller knows the agent.
//!
//! A single server needs nothing installed, and still there is one way to do things: the agent here
//! has the same services, ledger and events as one elsewhere, over a stream in memory.

use std::path::{Path, PathBuf};

use ferry_agent::{
    engine::EndpointConfig,
    serve::{HostOptions, InProcessHost},
};
use ferry_cluster::Kubernetes;
use ferry_proto::v1::Failure;

use super::{
    ConnectError, ConnectedHost, HostAgent, TlsFolder,
    address::{EngineChoice, InCluster},
    open_in_memory,
};

/// Which engine of this machine's user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalEngine {
    /// The engine that the `docker` client would use.
    Docker,
    /// This user's Podman.
    Podman,
}

/// A host agent that lives as long as this value.
#[derive(Debug)]
pub(super) struct Embedded(InProcessHost);

impl Embedded {
    pub(super) async fn drain(&self) {
        self.0.drain().await;
    }
}

/// Starts a host agent in this process, beside the cluster that this user's `kubectl` would reach. Agents there are made of the image of
/// `place`, which the cluster can fetch; without one it starts none.
///
/// # Errors
/// As [`start_embedded`].
pub async fn start_beside_cluster(
    place: InCluster,
    state_dir: &Path,
) -> Result<ConnectedHost, ConnectError> {
    let image = place.agent_image.as_deref().unwrap_or_default();
    let cluster = Kubernetes::connect(image).await;
    let cluster = cluster.map_err(|error| ConnectError::Refused(Failure::from(error)))?;
    let process = InProcessHost::beside(&cluster, state_dir.to_owned());
    connected(process, EngineChoice::Kubernetes(place)).await
}

/// Starts a host agent in this process, at the engine that the `docker` client would use, or at this user's Podman. `tls` is what it shows
/// to an agent on another machine.
///
/// # Errors
/// [`ConnectError::Refused`] with the agent's own reason: no engine answers there, its state
/// folder cannot be used, …
pub async fn start_embedded(
    engine: LocalEngine,
    state_dir: &Path,
    agent_binary: PathBuf,
    tls: &TlsFolder,
) -> Result<ConnectedHost, ConnectError> {
    let get = |name: &str| std::env::var(name).ok();
    let (endpoint, choice) = match engine {
        LocalEngine::Docker => (EndpointConfig::from_env(get), EngineChoice::Docker),
        LocalEngine::Podman => {
            let uid = rustix::process::geteuid().as_raw();
            (EndpointConfig::podman(get, uid), EngineChoice::Podman)
        }
    };
    let options = HostOptions {
        endpoint,
        state_dir: state_dir.to_owned(),
        agent_binary,
        tls: tls.path().to_owned(),
    };
    let process = InProcessHost::start(options)
        .await
        .map_err(|error| ConnectError::Refused(Failure::from(error)))?;
    connected(process, choice).await
}

async fn connected(
    process: InProcessHost,
    choice: EngineChoice,
) -> Result<ConnectedHost, ConnectError> {
    let other = process.clone();
    let agent = HostAgent::over(open_in_memory("host", move || other.connect()).await?);
    Ok(ConnectedHost::new(agent, choice, Some(Embedded(process))))
}
