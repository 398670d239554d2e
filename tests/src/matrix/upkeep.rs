//! What is done about a crossing after it: its backup proven, or restored to a new volume.

use std::path::PathBuf;

use super::observed::{Observed, forget_kills};
use super::server::ledgers_on;
use super::{Scene, Victim};
use crate::command::docker;
use crate::kill::{Call, Tool};
use crate::server::{Options, Seed, TestServer};
use crate::{Error, Result, images};

/// A server that was carried over, and its backup.
#[derive(Debug)]
pub struct UpkeepScene {
    server: TestServer,
    tool: Tool,
    /// The crossing.
    crossing: String,
    verb: &'static str,
}

impl UpkeepScene {
    /// Carries one over, whose backup is then worked on by `ferryctl backup VERB`.
    ///
    /// # Errors
    /// When it cannot be started, or does not cross.
    pub fn new(verb: &'static str) -> Result<Self> {
        let server = TestServer::used(Options {
            seed: Seed {
                odd: true,
                ..Seed::default()
            },
            ..Options::default()
        })?;
        let tool = Tool::new()?;
        let (address, to) = (server.address(), images::ensure()?.pmm3);
        let mut call = tool.start(&["migrate", &address, "--to", &to, "--yes"])?;
        let crossing = call.run_name()?;
        let done = call.end()?;
        if done.code != 0 {
            return Err(Error::of(format!("it does not cross: {done:?}")));
        }
        Ok(Self {
            server,
            tool,
            crossing,
            verb,
        })
    }
}

impl UpkeepScene {
    /// It is called after the backup, which is called after the volume with the data.
    fn agent_at_backup(&self) -> String {
        format!(
            "ferry-volume-{}-ferry-{}",
            self.server.volume, self.crossing
        )
    }
}

impl Scene for UpkeepScene {
    fn name(&self) -> &'static str {
        match self.verb {
            "restore" => "backup-restore",
            _ => "backup-verify",
        }
    }

    fn tool(&self) -> &Tool {
        &self.tool
    }

    fn begin(&self) -> Result<Call> {
        self.tool.start(&["backup", self.verb, &self.crossing])
    }

    fn observed(&self, run: Option<&str>) -> Result<Observed> {
        Observed::of(&self.server, run)
    }

    fn has(&self) -> &'static [Victim] {
        &[Victim::VolumeAgent]
    }

    fn agent(&self, victim: Victim) -> Option<String> {
        (victim == Victim::VolumeAgent).then(|| self.agent_at_backup())
    }

    fn ledgers(&self, run: &str) -> Result<Vec<PathBuf>> {
        Ok(vec![self.tool.ledgers(run)])
    }

    fn makes_ledgers(&self) -> bool {
        true
    }

    /// The agent leaves nothing on the backup: it has its ledgers where its socket is.
    fn made_ledgers(&self, run: &str) -> Result<Option<PathBuf>> {
        let beside = format!("{}-socket", self.agent_at_backup());
        Ok(ledgers_on(&beside, run))
    }

    fn goes_back(&self) -> bool {
        false
    }

    fn forget_kills(&self) -> Result<()> {
        forget_kills(&self.server.mountpoint()?)
    }

    /// A volume that was made of a backup is the operator's.
    fn reset(&self) -> Result<()> {
        let restored = format!("{}-restored-{}", self.server.volume, self.crossing);
        docker(&["volume", "rm", "--force", &restored]).map(drop)
    }
}
