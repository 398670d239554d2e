//! What cases are played on. The rest of the matrix knows of it what stands here, so that a server in a container, one in a cluster and a
//! client's host are hit at the same moments and by the same rules.

use std::path::PathBuf;

use super::{Observed, Victim};
use crate::answers::Answers;
use crate::kill::{Call, Tool, kill_container, pid_of};
use crate::{Error, Result};

/// Something that a run changes, and everybody who works on it.
pub trait Scene {
    /// What it is called where it is said which steps are played on it.
    fn name(&self) -> &'static str;

    /// The tool with its journals.
    fn tool(&self) -> &Tool;

    /// Starts the run.
    ///
    /// # Errors
    /// When the tool cannot be started.
    fn begin(&self) -> Result<Call>;

    /// What every later verb about the run has to be told: where certificates are, for one.
    fn reach(&self) -> Vec<String> {
        Vec::new()
    }

    /// What it is now. `run` made it so, when one did.
    ///
    /// # Errors
    /// When something does not answer.
    fn observed(&self, run: Option<&str>) -> Result<Observed>;

    /// Those of [`Victim::PASSING`] that are there at some moment. One that is never seen would not be hit, and nobody would miss it.
    fn has(&self) -> &'static [Victim];

    /// The engine's container of an agent, whether it lives or not; `None` for whoever has none.
    fn agent(&self, victim: Victim) -> Option<String>;

    /// Whether somebody of [`Victim::PASSING`] lives.
    fn lives(&self, victim: Victim) -> bool {
        self.agent(victim).is_some_and(|it| pid_of(&it).is_ok())
    }

    /// Kills somebody of [`Victim::PASSING`].
    ///
    /// # Errors
    /// When it does not live.
    fn kill(&self, victim: Victim) -> Result<()> {
        match self.agent(victim) {
            Some(container) => kill_container(&container),
            None => Err(Error::of(format!("{victim:?} is no container"))),
        }
    }

    /// What whoever is asked answers, where that is not the engine.
    fn answers(&self) -> Option<Answers> {
        None
    }

    /// The folders in which agents have the ledgers of a run's steps; empty where nobody makes steps fail.
    ///
    /// # Errors
    /// When something does not answer.
    fn ledgers(&self, _run: &str) -> Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }

    /// Whether a run makes a volume on which agents have ledgers too.
    fn makes_ledgers(&self) -> bool {
        false
    }

    /// The folder of ledgers there; `None` while it is not made.
    ///
    /// # Errors
    /// When something does not answer.
    fn made_ledgers(&self, _run: &str) -> Result<Option<PathBuf>> {
        Ok(None)
    }

    /// That nothing runs in the containers that are fenced, a while after the engine came back; where there is no such engine, nothing.
    ///
    /// # Errors
    /// When something runs.
    fn assert_fenced_rest(&self, _run: &str) -> Result<()> {
        Ok(())
    }

    /// Whether a run that is done can be taken back. One that only looks leaves nothing that could be.
    fn goes_back(&self) -> bool {
        true
    }

    /// Whether a way back ends with the very container that was there before.
    fn keeps_container(&self) -> bool {
        true
    }

    /// Removes what programs noted of having been killed.
    ///
    /// # Errors
    /// When a note cannot be removed.
    fn forget_kills(&self) -> Result<()>;

    /// Makes it what it was before the first case, where a rollback rightly leaves something.
    ///
    /// # Errors
    /// When something does not answer.
    fn reset(&self) -> Result<()>;
}

/// The container of an agent beside a server of this name.
pub(super) fn agent_beside(server: &str, victim: Victim) -> Option<String> {
    let role = match victim {
        Victim::Sidecar => "sidecar",
        Victim::VolumeAgent => "volume",
        Victim::SecondAgent => "second",
        _ => return None,
    };
    Some(format!("ferry-{role}-{server}"))
}
