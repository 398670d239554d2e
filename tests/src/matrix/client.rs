//! A client on a host of its own, and its server.

use std::path::PathBuf;

use super::observed::{Observed, forget_kills};
use super::scene::agent_beside;
use super::{Scene, Victim};
use crate::Result;
use crate::client_host::{CONFIG, ClientHost, Manager, NEW, OLD, OWN, QUERIES};
use crate::kill::{Call, Tool, kill_container, pid_of};
use crate::server::{Image, Options, TestServer};

/// A client of PMM 2 whose server is PMM 3, and the tool.
#[derive(Debug)]
pub struct ClientScene {
    // Its container goes before the server, after which it is called.
    host: ClientHost,
    server: TestServer,
    tool: Tool,
    /// Of the client's agent. It is asked for its first step at once, so this is known before.
    ledgers: PathBuf,
}

impl ClientScene {
    /// A client by packages of this kind.
    ///
    /// # Errors
    /// When the server or the client cannot be started.
    pub fn new(manager: Manager) -> Result<Self> {
        let server = TestServer::start(&Options {
            image: Image::Pmm3,
            ..Options::default()
        })?;
        server.wait_ready()?;
        let host = ClientHost::start(manager, &server, &[NEW])?;
        Ok(Self {
            ledgers: host.ledgers()?,
            host,
            tool: Tool::new()?,
            server,
        })
    }

    /// The client as the host has it, with names for what differs.
    fn files(&self) -> Result<Vec<(String, String)>> {
        let mut files = vec![
            ("installed".to_owned(), self.host.installed()?),
            ("starts by itself".to_owned(), self.host.enabled()?),
            ("names".to_owned(), self.host.names()?),
        ];
        for package in [OLD, NEW] {
            for path in [CONFIG, QUERIES, OWN] {
                // One of the two is not there, or has these files alone.
                let text = self.host.file(package, path).unwrap_or_default();
                files.push((format!("{path} of {}", package.name), text));
            }
        }
        Ok(files)
    }
}

impl Scene for ClientScene {
    fn name(&self) -> &'static str {
        "client"
    }

    fn tool(&self) -> &Tool {
        &self.tool
    }

    fn begin(&self) -> Result<Call> {
        let (client, server) = (self.host.address(), self.server.address());
        let words = ["clients", "upgrade", &client, "--server", &server, "--yes"];
        let reach = self.reach();
        let reach: Vec<&str> = reach.iter().map(String::as_str).collect();
        self.tool.start(&[&words[..], &reach].concat())
    }

    fn reach(&self) -> Vec<String> {
        vec![
            "--tls".to_owned(),
            self.host.tls().to_string_lossy().into_owned(),
        ]
    }

    fn observed(&self, run: Option<&str>) -> Result<Observed> {
        // An agent that was killed a moment ago may have left the client being started.
        self.server.wait_until("the client", 30, || {
            self.host
                .told_by(&self.server)
                .is_ok_and(|(connected, _)| connected)
        })?;
        let mut files = self.files()?;
        let (connected, version) = self.host.told_by(&self.server)?;
        files.push(("told".to_owned(), format!("{version}, {connected}")));
        Ok(Observed::outside(&self.server, run)?.described_by(files, run))
    }

    fn has(&self) -> &'static [Victim] {
        &[Victim::Sidecar, Victim::ClientAgent]
    }

    /// The observer beside the server.
    fn agent(&self, victim: Victim) -> Option<String> {
        agent_beside(&self.server.name, victim)
    }

    fn lives(&self, victim: Victim) -> bool {
        victim == Victim::ClientAgent || self.agent(victim).is_some_and(|it| pid_of(&it).is_ok())
    }

    fn kill(&self, victim: Victim) -> Result<()> {
        match self.agent(victim) {
            Some(container) => kill_container(&container),
            None => self.host.kill_agent(),
        }
    }

    fn ledgers(&self, run: &str) -> Result<Vec<PathBuf>> {
        Ok(vec![self.tool.ledgers(run), self.ledgers.join(run)])
    }

    fn forget_kills(&self) -> Result<()> {
        forget_kills(&self.server.mountpoint()?)
    }

    fn reset(&self) -> Result<()> {
        Ok(())
    }
}
