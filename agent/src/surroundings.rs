//! Where an agent runs decides what it can do. Each place has its own means, and a step that asks
//! for means that are not there gets an error instead of a guess.

use std::{path::PathBuf, sync::Arc};

use ferry_proto::v1::Place;

use crate::{cluster::Cluster, engine::Engine, error::StepError, server::ServerRoot};

/// What an agent can do that gives a server's data and its baseline to another machine.
const GIVES_DATA: &str = "origin";

/// What an agent has around it.
#[derive(Debug)]
pub enum Surroundings {
    /// Beside the container engine.
    Host(Host),
    /// Beside a cluster's API server.
    Cluster(Arc<dyn Cluster>),
    /// Beside the server's processes.
    Container(Container),
    /// With the server's volumes only.
    Volume(Volume),
    /// On the server's own image, with a copy of its data: the means of both, and no server that runs.
    Workshop(Container, Volume),
    /// On the host of one of the server's clients.
    Client(Client),
}

/// The means of an agent on a client's host: that host's own package manager and service manager, by fixed paths.
#[derive(Debug, Clone, Copy)]
pub struct Client;

/// The means of a host agent.
#[derive(Debug)]
pub struct Host {
    /// The engine's API.
    pub engine: Engine,
    /// The static binary that agents in containers are made of.
    pub agent_binary: PathBuf,
    /// The certificates that it shows to the agent of another machine.
    pub tls: PathBuf,
    /// What agents in containers are started with beside what their work needs: this agent's own bounds.
    pub agent_arguments: Vec<String>,
}

/// The means of an in-container agent.
#[derive(Debug)]
pub struct Container {
    /// The server's own tree: `/proc/1/root` from a sidecar, `/` from inside.
    pub root: ServerRoot,
    /// The server's data, as this agent sees it.
    pub data: PathBuf,
    /// A folder on the engine's own disk, where a copy would be made; the data's when there is none.
    pub engine_disk: Option<PathBuf>,
    /// This agent is itself a program of the server's supervisor, under this name.
    pub own_program: Option<String>,
    /// The folder that has the state folder, where that lies outside the server's tree: the server's programs cannot write there, and
    /// must not elsewhere. It is the root of a volume of the run's own.
    pub state_apart: Option<PathBuf>,
    /// No server runs here; its programs and its data are there.
    pub at_rest: bool,
    /// Agents of other machines may read the data, where the policy names them.
    pub gives_data: bool,
}

/// The means of a volume agent.
#[derive(Debug, Clone)]
pub struct Volume {
    /// The server's data.
    pub data: PathBuf,
    /// Where its copy is kept.
    pub backup: PathBuf,
    /// In a rehearsal `data` is the copy itself, and this the data of the running server, read-only.
    pub live: Option<PathBuf>,
}

impl Surroundings {
    /// Where this agent is.
    #[must_use]
    pub fn place(&self) -> Place {
        match self {
            Self::Host(_) | Self::Cluster(_) => Place::Host,
            Self::Container(_) => Place::Container,
            Self::Volume(_) | Self::Workshop(..) => Place::Volume,
            Self::Client(_) => Place::Client,
        }
    }

    /// What it can do here, for `GetInfo`.
    #[must_use]
    pub fn capabilities(&self) -> Vec<String> {
        let names: &[&str] = match self {
            Self::Host(_) => &["engine", "tunnel"],
            Self::Cluster(_) => &["cluster", "tunnel"],
            Self::Container(container) if container.gives_data => {
                &["supervisor", "postgres", "api", "tree", GIVES_DATA]
            }
            Self::Container(_) => &["supervisor", "postgres", "api", "tree"],
            Self::Volume(_) => &["tree", "backup"],
            Self::Workshop(..) => &["tree", "backup", "postgres"],
            Self::Client(_) => &["client"],
        };
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Whether agents of other machines may read the server's data here.
    #[must_use]
    pub fn gives_data(&self) -> bool {
        matches!(self, Self::Container(container) if container.gives_data)
    }

    /// The means of a host agent.
    ///
    /// # Errors
    /// When this agent is none.
    pub fn host(&self) -> Result<&Host, StepError> {
        match self {
            Self::Host(host) => Ok(host),
            _ => Err(self.misplaced(Place::Host)),
        }
    }

    /// The means of an in-container agent.
    ///
    /// # Errors
    /// When this agent is none.
    pub fn container(&self) -> Result<&Container, StepError> {
        match self {
            Self::Container(container) | Self::Workshop(container, _) => Ok(container),
            _ => Err(self.misplaced(Place::Container)),
        }
    }

    /// The means of a volume agent.
    ///
    /// # Errors
    /// When this agent is none.
    pub fn volume(&self) -> Result<&Volume, StepError> {
        match self {
            Self::Volume(volume) | Self::Workshop(_, volume) => Ok(volume),
            _ => Err(self.misplaced(Place::Volume)),
        }
    }

    /// The means of an agent on a client's host.
    ///
    /// # Errors
    /// When this agent is none.
    pub fn client(&self) -> Result<Client, StepError> {
        match self {
            Self::Client(client) => Ok(*client),
            _ => Err(self.misplaced(Place::Client)),
        }
    }

    fn misplaced(&self, wanted: Place) -> StepError {
        StepError::new(
            "wrong-place",
            format!(
                "this step is for the {} agent, and this is the {} agent",
                wanted.word(),
                self.place().word()
            ),
        )
        .hint("the plan and the agent do not fit; make the plan again with this release")
    }
}
