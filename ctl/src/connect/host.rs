//! The host agent that a command works through: in this process, or elsewhere.

use super::{HostAgent, address::EngineChoice, embedded::Embedded};

/// A host agent that is connected, as long as this value lives.
#[derive(Debug)]
pub struct ConnectedHost {
    agent: HostAgent,
    engine: EngineChoice,
    /// The agent itself, where it is in this process.
    embedded: Option<Embedded>,
}

impl ConnectedHost {
    pub(super) fn new(agent: HostAgent, engine: EngineChoice, embedded: Option<Embedded>) -> Self {
        Self {
            agent,
            engine,
            embedded,
        }
    }

    /// The agent.
    #[must_use]
    pub fn agent(&self) -> &HostAgent {
        &self.agent
    }

    /// The engine that it is beside.
    #[must_use]
    pub fn engine(&self) -> &EngineChoice {
        &self.engine
    }

    /// Lets running host steps end at a safe place before this process ends, if they run in it. An agent elsewhere goes on
    /// with its step, and whoever resumes the run attaches to it.
    pub async fn drain(&self) {
        if let Some(embedded) = &self.embedded {
            embedded.drain().await;
        }
    }
}
