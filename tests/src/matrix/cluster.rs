//! A release of the chart in a cluster, which is a double (`tests/src/cluster.rs`).

use std::path::PathBuf;

use super::observed::{Observed, forget_kills};
use super::server::{ledgers_in, weaken_roles};
use super::{AWAY, Scene, Victim};
use crate::answers::Answers;
use crate::cluster::{Chart, Cluster, agent_image};
use crate::kill::{Call, Tool, kill_container};
use crate::server::{Container, Options, Seed};
use crate::{Error, Result, images};

/// The claim with the server's data.
const CLAIM: &str = "pmm-storage-pmm-0";
/// What of a namespace a run may make.
const KINDS: [&str; 4] = ["pods", "persistentvolumeclaims", "configmaps", "secrets"];

/// The release, and the tool.
#[derive(Debug)]
pub struct ClusterScene {
    cluster: Cluster,
    server: Container,
    target: String,
    tool: Tool,
}

impl ClusterScene {
    /// Installs one that gives the plan all its steps.
    ///
    /// # Errors
    /// When its server cannot be started or is not ready in time.
    pub fn new() -> Result<Self> {
        let cluster = Cluster::start()?;
        let usual = Chart::default();
        let chart = Chart {
            env: vec![("DATA_RETENTION".into(), "480h".into())],
            server: Options {
                seed: Seed {
                    odd: true,
                    ..usual.server.seed
                },
                md5_roles: true,
                ..usual.server.clone()
            },
            ..usual
        };
        let server = chart.install(&cluster)?;
        let tool = Tool::new()?;
        let image = agent_image(tool.agent())?;
        Ok(Self {
            tool: tool
                .env("KUBECONFIG", cluster.kubeconfig())
                .env("FERRY_AGENT_IMAGE", image),
            target: images::ensure()?.pmm3,
            server,
            cluster,
        })
    }
}

impl Scene for ClusterScene {
    fn name(&self) -> &'static str {
        "cluster"
    }

    fn tool(&self) -> &Tool {
        &self.tool
    }

    fn begin(&self) -> Result<Call> {
        let address = Chart::address();
        self.tool
            .start(&["migrate", &address, "--to", &self.target, "--yes"])
    }

    fn observed(&self, run: Option<&str>) -> Result<Observed> {
        let namespace = Chart::namespace();
        let mut beside = Vec::new();
        for kind in KINDS {
            let names = self.cluster.names(kind, namespace).into_iter();
            beside.extend(names.map(|name| format!("{kind} {name}")));
        }
        let settings = serde_json::to_string_pretty(&self.cluster.settings())?;
        let data = self.cluster.mountpoint(CLAIM)?;
        let seen = Observed::inside(&self.server, &data)?;
        // Who looks next may be a check, which asks the cluster.
        self.cluster.wait_ready(&self.server)?;
        let seen = seen.among(beside, run);
        Ok(seen.described_by(vec![("settings".to_owned(), settings)], run))
    }

    fn answers(&self) -> Option<Answers> {
        Some(self.cluster.answers())
    }

    fn has(&self) -> &'static [Victim] {
        &[Victim::Sidecar, Victim::VolumeAgent, Victim::ApiServer]
    }

    /// Each start has a name of its own, so that only one that lives is found.
    fn agent(&self, victim: Victim) -> Option<String> {
        let begin = match victim {
            Victim::Sidecar => "pmm-0-ferry-",
            Victim::VolumeAgent => "ferry-volume-",
            _ => return None,
        };
        self.cluster.running(begin).ok()?.pop()
    }

    fn lives(&self, victim: Victim) -> bool {
        victim == Victim::ApiServer || self.agent(victim).is_some()
    }

    fn kill(&self, victim: Victim) -> Result<()> {
        if victim == Victim::ApiServer {
            self.cluster.kill_api_server();
            std::thread::sleep(AWAY);
            return self.cluster.revive_api_server();
        }
        match self.agent(victim) {
            Some(container) => kill_container(&container),
            None => Err(Error::of(format!("{victim:?} does not live"))),
        }
    }

    fn ledgers(&self, run: &str) -> Result<Vec<PathBuf>> {
        let data = self.cluster.mountpoint(CLAIM)?;
        Ok(vec![self.tool.ledgers(run), ledgers_in(&data, run)])
    }

    /// Each pod has its own.
    fn keeps_container(&self) -> bool {
        false
    }

    fn forget_kills(&self) -> Result<()> {
        forget_kills(&self.cluster.mountpoint(CLAIM)?)
    }

    fn reset(&self) -> Result<()> {
        weaken_roles(&self.server)
    }
}
