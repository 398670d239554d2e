//! What cases are played on. The rest of the matrix knows of it what stands here, so that a server in a container, one in a cluster and a
//! client's host are hit at the same moments and by the same rules.

use super::{Observed, Victim};
use crate::Result;
use crate::kill::{Call, Tool};

/// Something that a run changes, and everybody who works on it.
pub trait Scene {
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

    /// Whether an agent lives.
    fn lives(&self, victim: Victim) -> bool;

    /// Kills an agent.
    ///
    /// # Errors
    /// When it does not live.
    fn kill(&self, victim: Victim) -> Result<()>;

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
