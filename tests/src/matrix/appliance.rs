//! An appliance that moves to a new machine. The new one's engine may die, and the old one never dies with it: two machines fail one at a time.

use std::ops::Deref;
use std::path::PathBuf;

use super::observed::{Observed, forget_kills};
use super::scene::agent_beside;
use super::server::ledgers_on;
use super::{Scene, Victim};
use crate::appliance::{Appliance, NewServer};
use crate::command::{Elsewhere, docker};
use crate::kill::{Call, Ended, Tool, kill_container, path_in, pid_of};
use crate::{Error, Result, images, witness};

/// The old machine. It is on the machine's own engine, whichever this thread means.
#[derive(Debug)]
struct OldMachine(Option<Appliance>);

impl OldMachine {
    fn start() -> Result<Self> {
        let _own = Elsewhere::at_own();
        Ok(Self(Some(Appliance::start(|_| {})?)))
    }

    /// Asks it something.
    fn ask<T>(&self, what: impl FnOnce(&Appliance) -> Result<T>) -> Result<T> {
        let _own = Elsewhere::at_own();
        what(self)
    }
}

impl Deref for OldMachine {
    type Target = Appliance;

    fn deref(&self) -> &Appliance {
        self.0.as_ref().expect("it goes when this is dropped")
    }
}

impl Drop for OldMachine {
    fn drop(&mut self) {
        let _own = Elsewhere::at_own();
        self.0.take();
    }
}

/// The old machine, what it becomes on the new one, and the tool there.
#[derive(Debug)]
pub struct ApplianceScene {
    old: OldMachine,
    tool: Tool,
    target: String,
    plans: tempfile::TempDir,
}

impl ApplianceScene {
    /// Starts the old machine.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start() -> Result<Self> {
        let old = OldMachine::start()?;
        Ok(Self {
            tool: Tool::new()?,
            target: images::ensure()?.pmm3,
            plans: tempfile::tempdir()?,
            old,
        })
    }

    fn new_server(&self) -> NewServer {
        self.old.new_server()
    }

    fn plan_file(&self) -> String {
        let file = self.plans.path().join("plan.json");
        file.to_string_lossy().into_owned()
    }

    fn planned(&self) -> Result<Ended> {
        let words = self.old.words("plan", &self.target);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let plan = self.plan_file();
        self.tool.run(&[&words[..], &["--out", &plan]].concat())
    }
}

fn is_port_taken(planned: &Ended) -> bool {
    planned.code == 3 && format!("{:?}", planned.lines).contains("port-taken")
}

impl Scene for ApplianceScene {
    fn name(&self) -> &'static str {
        "appliance"
    }

    fn tool(&self) -> &Tool {
        &self.tool
    }

    /// One command would go on to the crossing, which has journeys of its own.
    fn begin(&self) -> Result<Call> {
        let mut planned = self.planned()?;
        if is_port_taken(&planned) && !self.new_server().is_there()? {
            // A Docker whose daemon is killed in the middle of a start may keep the port for a container that is gone, over restarts.
            self.old.take_another_port()?;
            planned = self.planned()?;
        }
        if planned.code != 0 {
            return Err(Error::of(format!("no plan: {planned:?}")));
        }
        let (plan, tls) = (self.plan_file(), self.old.tls());
        self.tool.start(&["apply", &plan, "--yes", "--tls", &tls])
    }

    fn reach(&self) -> Vec<String> {
        vec!["--tls".to_owned(), self.old.tls()]
    }

    /// The server, wherever it is now. A volume that stays without one is not looked at.
    fn observed(&self, run: Option<&str>) -> Result<Observed> {
        let srv = self.old.ask(|old| old.server.mountpoint())?;
        let new = self.new_server();
        let serving = if new.is_there()? {
            let data = new.data()?;
            let data = data.ok_or_else(|| Error::of("a server without its volume".to_owned()))?;
            Observed::inside(&new.container, &data)?
        } else {
            self.old.ask(|old| Observed::inside(&old.server, &srv))?
        };
        let programs = self.old.ask(|old| old.server.programs())?;
        let programs = programs.into_iter();
        let programs = programs.map(|(name, state)| (format!("{name} on the old machine"), state));
        let mut beside = witness::beside(&self.old.server.name)?;
        beside.retain(|it| *it != format!("volume {}", new.volume));
        let serving = serving.described_by(programs.collect(), run);
        let serving = serving.and_owners_of("old machine", &srv)?;
        let serving = serving.and_beside(&self.old.server, beside, run)?;
        serving.saying(&new.port.to_string(), "PORT")
    }

    fn has(&self) -> &'static [Victim] {
        &[Victim::Sidecar, Victim::ApplianceAgent]
    }

    fn agent(&self, victim: Victim) -> Option<String> {
        agent_beside(&self.new_server().container.name, victim)
    }

    fn lives(&self, victim: Victim) -> bool {
        victim == Victim::ApplianceAgent || self.agent(victim).is_some_and(|it| pid_of(&it).is_ok())
    }

    fn kill(&self, victim: Victim) -> Result<()> {
        match self.agent(victim) {
            Some(container) => kill_container(&container),
            // Its unit starts it again.
            None => self.old.ask(|old| {
                old.end_agent()?;
                old.start_agent()
            }),
        }
    }

    fn ledgers(&self, run: &str) -> Result<Vec<PathBuf>> {
        let folder = format!("/var/lib/ferry/appliance/runs/{run}");
        let old = self.old.ask(|old| path_in(&old.server.name, &folder))?;
        Ok(vec![self.tool.ledgers(run), old])
    }

    fn makes_ledgers(&self) -> bool {
        true
    }

    fn made_ledgers(&self, run: &str) -> Result<Option<PathBuf>> {
        Ok(ledgers_on(&self.new_server().volume, run))
    }

    fn forget_kills(&self) -> Result<()> {
        match self.new_server().data()? {
            Some(data) => forget_kills(&data),
            None => Ok(()),
        }
    }

    /// A volume that a server ran on that was proven is kept, and another could not be made by its name.
    fn reset(&self) -> Result<()> {
        docker(&["volume", "rm", "--force", &self.new_server().volume]).map(drop)
    }
}
