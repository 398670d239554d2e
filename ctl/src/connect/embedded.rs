//! The host agent in this process: the one place where the controller knows the agent.
//!
//! A single server needs nothing installed, and still there is one way to do things: the agent here
//! has the same services, ledger and events as one elsewhere, over a stream in memory.

use std::path::{Path, PathBuf};

use ferry_agent::{
    engine::EndpointConfig,
    serve::{HostOptions, InProcessHost},
};
use ferry_proto::v1::Failure;

use super::{ConnectError, HostAgent, address::EngineChoice, open_in_memory};

/// A host agent that lives as long as this value.
#[derive(Debug)]
pub struct EmbeddedHost {
    process: InProcessHost,
    agent: HostAgent,
    engine: EngineChoice,
}

impl EmbeddedHost {
    /// Starts a host agent in this process, at the engine that the `docker` client would use, or at this user's Podman.
    ///
    /// # Errors
    /// [`ConnectError::Refused`] with the agent's own reason: no engine answers there, its state
    /// folder cannot be used, …
    pub async fn start(
        engine: EngineChoice,
        state_dir: &Path,
        agent_binary: PathBuf,
    ) -> Result<Self, ConnectError> {
        let get = |name: &str| std::env::var(name).ok();
        let endpoint = match engine {
            EngineChoice::Docker => EndpointConfig::from_env(get),
            EngineChoice::Podman => {
                EndpointConfig::podman(get, rustix::process::geteuid().as_raw())
            }
        };
        let options = HostOptions {
            endpoint,
            state_dir: state_dir.to_owned(),
            agent_binary,
        };
        let process = InProcessHost::start(options)
            .await
            .map_err(|error| ConnectError::Refused(Failure::from(error)))?;
        let other = process.clone();
        let agent = HostAgent::over(open_in_memory("host", move || other.connect()).await?);
        Ok(Self {
            process,
            agent,
            engine,
        })
    }

    /// The agent.
    #[must_use]
    pub fn agent(&self) -> &HostAgent {
        &self.agent
    }

    /// The engine that it is beside.
    #[must_use]
    pub fn engine(&self) -> EngineChoice {
        self.engine
    }

    /// Lets running host steps end at a safe place, before this process ends.
    pub async fn drain(&self) {
        self.process.drain().await;
    }
}
