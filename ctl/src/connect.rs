//! From a server's address to the agents that serve it.
//!
//! There is one way to do things, a step at an agent, and so one kind of connection: a gRPC channel.
//! The host agent is in this process or elsewhere; every other agent is reached through the host
//! agent's tunnel, so that no port is opened beside the server.

pub mod address;
pub mod binary;
mod channel;
mod embedded;
mod error;
mod host;
mod remote;
mod run;
mod server;
mod settle;
mod tunnel;

use async_trait::async_trait;
use ferry_proto::{
    MAX_MESSAGE_BYTES,
    v1::{Place, agent_service_client::AgentServiceClient},
};
use tonic::transport::Channel;

pub use self::{
    channel::{open_channel, open_in_memory},
    embedded::{LocalEngine, start_beside_cluster, start_embedded},
    error::{ConnectError, Refusal, refusal},
    host::ConnectedHost,
    remote::{TlsError, TlsFolder, connect_client, connect_origin, connect_remote},
    run::RunAgents,
    server::{HostAgent, ServerAgents},
    tunnel::Tunnel,
};

pub(crate) use self::settle::settle;

/// A client of one agent.
pub type AgentClient = AgentServiceClient<Channel>;

/// The agents of one server, by place.
#[async_trait]
pub trait Agents: Send + Sync {
    /// The agent at a place. It was connected when this returns, and may be lost right after.
    ///
    /// # Errors
    /// [`ConnectError`] when it cannot be reached now.
    async fn at(&self, place: Place) -> Result<AgentClient, ConnectError>;

    /// The host agent.
    ///
    /// # Errors
    /// As [`Agents::at`].
    async fn host(&self) -> Result<AgentClient, ConnectError> {
        self.at(Place::Host).await
    }

    /// Forgets the connection to a place: it was lost, or another agent is there now.
    async fn forget(&self, place: Place);
}

fn agent_client(channel: Channel) -> AgentClient {
    AgentServiceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

#[cfg(test)]
mod tests;
