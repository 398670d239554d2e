//! The host agent inside `ferryctl`: the same services, ledger and events as a remote one, over an
//! in-memory channel. With nothing installed this is how a single server is carried across.

use std::{io, path::PathBuf, sync::Arc};

use tokio::{
    io::DuplexStream,
    sync::mpsc::{UnboundedSender, unbounded_channel},
};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::connection::Connection;
use crate::{
    cluster::Cluster,
    engine::{EndpointConfig, Engine},
    error::StepError,
    ledger::Ledger,
    policy::Role,
    runner::{Runner, Works},
    surroundings::{Host, Surroundings},
};

/// Bytes under way in each direction.
const BUFFER_BYTES: usize = 256 * 1024;

/// What a host agent needs to know.
#[derive(Debug)]
pub struct HostOptions {
    /// How the engine is reached.
    pub endpoint: EndpointConfig,
    /// Where its ledger is kept.
    pub state_dir: PathBuf,
    /// The static binary that agents in containers are made of.
    pub agent_binary: PathBuf,
    /// The certificates to show to the agent of another machine.
    pub tls: PathBuf,
}

/// A host agent in this process. It serves as long as a clone of this value lives.
#[derive(Debug, Clone)]
pub struct InProcessHost {
    runner: Arc<Runner>,
    connections: UnboundedSender<io::Result<Connection<DuplexStream>>>,
}

impl InProcessHost {
    /// Connects to the engine and begins to serve.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn start(options: HostOptions) -> Result<Self, StepError> {
        let engine = Engine::connect(&options.endpoint).await?;
        let ledger = Ledger::at(options.state_dir, "host");
        let host = Host {
            engine,
            agent_binary: options.agent_binary,
            tls: options.tls,
            agent_arguments: Vec::new(),
        };
        Ok(Self::serving(Runner::new(
            Arc::new(Surroundings::Host(host)),
            ledger,
        )))
    }

    /// Begins to serve beside a cluster.
    #[must_use]
    pub fn beside(cluster: &Arc<dyn Cluster>, state_dir: PathBuf) -> Self {
        let ledger = Ledger::at(state_dir, "host");
        let own = Arc::clone(cluster);
        let works = Works::new(move |step| Arc::clone(&own).work(step));
        let around = Surroundings::Cluster(Arc::clone(cluster));
        Self::serving(Runner::performing(Arc::new(around), ledger, works))
    }

    fn serving(runner: Arc<Runner>) -> Self {
        let (connections, incoming) = unbounded_channel();
        let served = Arc::clone(&runner);
        tokio::spawn(async move {
            let incoming = UnboundedReceiverStream::new(incoming);
            if let Err(error) = super::listen::serve(served, incoming, std::future::pending()).await
            {
                tracing::warn!("the in-process host agent stopped serving: {error}");
            }
        });
        Self {
            runner,
            connections,
        }
    }

    /// A new connection to it. Should it have stopped serving, the connection is closed at once.
    #[must_use]
    pub fn connect(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(BUFFER_BYTES);
        // Whoever runs this process is the only caller.
        let far = Connection::new(far, Role::Operator);
        let _stopped = self.connections.send(Ok(far));
        near
    }

    /// Tells running steps to stop at a safe place, and waits until they have.
    pub async fn drain(&self) {
        self.runner.drain().await;
    }
}
