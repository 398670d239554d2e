//! The agents of a run: those of a server, and one elsewhere: on a client's host where the run is about that client, on the old machine
//! where the server moves away from it.

use async_trait::async_trait;
use ferry_proto::v1::Place;
use tokio::sync::Mutex;

use super::{
    AgentClient, Agents, ConnectError, HostAgent, ServerAgents, TlsFolder,
    address::AgentAddress,
    remote::{connect_client, connect_origin},
};

/// The agents that one run needs.
#[derive(Debug)]
pub struct RunAgents {
    server: ServerAgents,
    other: Option<Other>,
}

/// Where the agent elsewhere is, and the connection to it once there is one.
#[derive(Debug)]
struct Other {
    place: Place,
    address: AgentAddress,
    tls: TlsFolder,
    connected: Mutex<Option<HostAgent>>,
}

impl RunAgents {
    /// The agents of a server alone.
    #[must_use]
    pub fn of(server: ServerAgents) -> Self {
        Self {
            server,
            other: None,
        }
    }

    /// And the one on a client's host, which is connected when it is first needed.
    #[must_use]
    pub fn with_client(self, address: AgentAddress, tls: TlsFolder) -> Self {
        self.with(Place::Client, address, tls)
    }

    /// And the one on the machine that the server moves away from, which is connected when it is first needed.
    #[must_use]
    pub fn with_origin(self, address: AgentAddress, tls: TlsFolder) -> Self {
        self.with(Place::Origin, address, tls)
    }

    fn with(self, place: Place, address: AgentAddress, tls: TlsFolder) -> Self {
        let other = Other {
            place,
            address,
            tls,
            connected: Mutex::default(),
        };
        Self {
            other: Some(other),
            ..self
        }
    }

    fn other(&self, place: Place) -> Option<&Other> {
        self.other.as_ref().filter(|other| other.place == place)
    }
}

impl Other {
    async fn connect(&self) -> Result<HostAgent, ConnectError> {
        match self.place {
            Place::Client => connect_client(&self.address, &self.tls).await,
            _ => connect_origin(&self.address, &self.tls).await,
        }
    }
}

#[async_trait]
impl Agents for RunAgents {
    async fn at(&self, place: Place) -> Result<AgentClient, ConnectError> {
        let Some(other) = self.other(place) else {
            return self.server.at(place).await;
        };
        let mut connected = other.connected.lock().await;
        let agent = match &*connected {
            Some(agent) => agent.clone(),
            None => connected.insert(other.connect().await?).clone(),
        };
        Ok(agent.client())
    }

    async fn forget(&self, place: Place) {
        match self.other(place) {
            Some(other) => *other.connected.lock().await = None,
            None => self.server.forget(place).await,
        }
    }
}
