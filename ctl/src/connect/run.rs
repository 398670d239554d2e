//! The agents of a run: those of a server, and, where the run is about one of its clients, the one on that client's host.

use async_trait::async_trait;
use ferry_proto::v1::Place;
use tokio::sync::Mutex;

use super::{
    AgentClient, Agents, ConnectError, HostAgent, ServerAgents, TlsFolder, address::AgentAddress,
    remote::connect_client,
};

/// The agents that one run needs.
#[derive(Debug)]
pub struct RunAgents {
    server: ServerAgents,
    client: Option<ClientHost>,
}

/// Where the agent on a client's host is, and the connection to it once there is one.
#[derive(Debug)]
struct ClientHost {
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
            client: None,
        }
    }

    /// And the one on a client's host, which is connected when it is first needed.
    #[must_use]
    pub fn with_client(self, address: AgentAddress, tls: TlsFolder) -> Self {
        let client = ClientHost {
            address,
            tls,
            connected: Mutex::default(),
        };
        Self {
            client: Some(client),
            ..self
        }
    }
}

#[async_trait]
impl Agents for RunAgents {
    async fn at(&self, place: Place) -> Result<AgentClient, ConnectError> {
        if place != Place::Client {
            return self.server.at(place).await;
        }
        let client = self.client.as_ref().ok_or(ConnectError::UnknownPlace)?;
        let mut connected = client.connected.lock().await;
        let agent = match &*connected {
            Some(agent) => agent.clone(),
            None => connected
                .insert(connect_client(&client.address, &client.tls).await?)
                .clone(),
        };
        Ok(agent.client())
    }

    async fn forget(&self, place: Place) {
        match &self.client {
            Some(client) if place == Place::Client => *client.connected.lock().await = None,
            _ => self.server.forget(place).await,
        }
    }
}
