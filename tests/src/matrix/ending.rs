//! What ends a crossing: it is declared finished, or what it kept is removed after that. Neither can be taken back, so that each case has a
//! server and a crossing of its own, which are compared by what is beside them; a server itself notices nothing of either.

use std::cell::RefCell;
use std::path::PathBuf;

use super::{Observed, Scene, Victim};
use crate::kill::{Call, Tool};
use crate::server::{Options, TestServer};
use crate::{Error, Result, images};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// `finish --remove-backup`.
    Finish,
    /// `backup prune` of a crossing that is finished.
    Prune,
}

/// Servers that were carried over, one after the other.
#[derive(Debug)]
pub struct EndingScene {
    ending: Ending,
    tool: Tool,
    crossed: RefCell<Crossed>,
}

#[derive(Debug)]
struct Crossed {
    server: TestServer,
    /// The crossing.
    run: String,
    /// Something was done about it that nobody can take back.
    used: bool,
}

impl EndingScene {
    /// Carries the first over.
    ///
    /// # Errors
    /// When it cannot be started, or does not cross.
    pub fn new(ending: Ending) -> Result<Self> {
        let tool = Tool::new()?;
        let crossed = RefCell::new(cross(&tool, ending)?);
        Ok(Self {
            ending,
            tool,
            crossed,
        })
    }
}

fn cross(tool: &Tool, ending: Ending) -> Result<Crossed> {
    let server = TestServer::used(Options::default())?;
    let (address, to) = (server.address(), images::ensure()?.pmm3);
    let mut call = tool.start(&["migrate", &address, "--to", &to, "--yes"])?;
    let run = call.run_name()?;
    let mut done = call.end()?;
    if done.code == 0 && ending == Ending::Prune {
        done = tool.run(&["finish", &run, "--yes"])?;
    }
    if done.code != 0 {
        return Err(Error::of(format!("it does not come so far: {done:?}")));
    }
    Ok(Crossed {
        server,
        run,
        used: false,
    })
}

impl Scene for EndingScene {
    fn name(&self) -> &'static str {
        match self.ending {
            Ending::Finish => "finish",
            Ending::Prune => "prune",
        }
    }

    fn tool(&self) -> &Tool {
        &self.tool
    }

    fn begin(&self) -> Result<Call> {
        let mut crossed = self.crossed.borrow_mut();
        crossed.used = true;
        match self.ending {
            Ending::Finish => {
                let words = ["finish", &crossed.run, "--remove-backup", "--yes"];
                self.tool.start(&words)
            }
            Ending::Prune => self.tool.start(&["backup", "prune", "--yes"]),
        }
    }

    fn observed(&self, _run: Option<&str>) -> Result<Observed> {
        let crossed = self.crossed.borrow();
        let server = &crossed.server;
        let observed = Observed::outside(server, Some(&crossed.run))?;
        observed.calling(&server.name, "SERVER")
    }

    fn has(&self) -> &'static [Victim] {
        &[]
    }

    /// Nobody but the engine and the controller has a part in it.
    fn agent(&self, _victim: Victim) -> Option<String> {
        None
    }

    /// All is done by who has the engine.
    fn ledgers(&self, run: &str) -> Result<Vec<PathBuf>> {
        Ok(vec![self.tool.ledgers(run)])
    }

    fn goes_back(&self) -> bool {
        false
    }

    fn keeps_container(&self) -> bool {
        false
    }

    /// The next server knows of no kill.
    fn forget_kills(&self) -> Result<()> {
        Ok(())
    }

    fn reset(&self) -> Result<()> {
        if self.crossed.borrow().used {
            self.crossed.replace(cross(&self.tool, self.ending)?);
        }
        Ok(())
    }
}
