//! The agents of one server: the host agent directly, the others through its tunnel.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use ferry_proto::{
    MAX_MESSAGE_BYTES,
    v1::{Place, TunnelTarget, tunnel_service_client::TunnelServiceClient},
};
use tonic::transport::Channel;

use super::{AgentClient, Agents, ConnectError, Tunnel, agent_client, open_channel};

/// A host agent that is connected, in this process or elsewhere.
#[derive(Debug, Clone)]
pub struct HostAgent {
    channel: Channel,
}

impl HostAgent {
    /// The host agent at the end of a channel, as [`open_channel`] or [`super::open_in_memory`] makes it.
    #[must_use]
    pub fn over(channel: Channel) -> Self {
        Self { channel }
    }

    /// A client of it.
    #[must_use]
    pub fn client(&self) -> AgentClient {
        agent_client(self.channel.clone())
    }

    /// All agents of one run on one server, whose container is called `container`.
    #[must_use]
    pub fn beside(&self, run: &str, container: &str) -> ServerAgents {
        ServerAgents {
            host: self.clone(),
            run: run.to_owned(),
            container: container.to_owned(),
            channels: Mutex::default(),
        }
    }

    pub(super) fn tunnels(&self) -> TunnelServiceClient<Channel> {
        TunnelServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }
}

/// The agents of one run on one server.
#[derive(Debug)]
pub struct ServerAgents {
    host: HostAgent,
    run: String,
    container: String,
    channels: Mutex<HashMap<Place, Channel>>,
}

impl ServerAgents {
    fn channels(&self) -> MutexGuard<'_, HashMap<Place, Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Agents for ServerAgents {
    async fn at(&self, place: Place) -> Result<AgentClient, ConnectError> {
        match place {
            // No host agent leads to another machine.
            Place::Client | Place::Origin | Place::Unknown => {
                return Err(ConnectError::UnknownPlace);
            }
            Place::Host => return Ok(self.host.client()),
            Place::Container | Place::Volume | Place::Copy => {}
        }
        if let Some(channel) = self.channels().get(&place) {
            return Ok(agent_client(channel.clone()));
        }
        let target = TunnelTarget {
            run: self.run.clone(),
            place: place.into(),
            container: self.container.clone(),
        };
        let tunnels = self.host.tunnels();
        // Each dial opens a tunnel of its own: the one before is gone with what was lost.
        let dial = move || Tunnel::open(tunnels.clone(), target.clone());
        let channel = open_channel(place.word(), dial).await?;
        self.channels().insert(place, channel.clone());
        Ok(agent_client(channel))
    }

    async fn forget(&self, place: Place) {
        self.channels().remove(&place);
    }
}
