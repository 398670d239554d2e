//! Performs a plan, one step after the other, and takes it back when it must.
//!
//! The driver makes no choices of its own: the plan says what is done, the journal says how far it
//! is, and the policy says what a failure means. Before an agent is asked the intent is on disk;
//! what came of it is on disk before anything follows. Whatever moment the driver dies at, another
//! one goes on from the journal, and the agents know a step they were asked for before.

mod backward;
mod call;
mod forward;
mod origin;
mod session;
mod way_back;

use std::time::Duration;

use ferry_proto::{
    Secret,
    v1::{Failure, Plan},
};
use tokio_util::sync::CancellationToken;

use self::{call::CallEnd, session::Session};
use super::{
    events::{OnFailure, RunEvent, RunState},
    journal::{Journal, JournalError},
    record::RunRecord,
};
use crate::connect::Agents;

/// How a driver behaves.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What a failed step means; absent: what the run was told before.
    pub on_failure: Option<OnFailure>,
    /// How long a lost agent is sought before the run is held.
    pub patience: Duration,
    /// The pause before the second try to reach a lost agent; it doubles up to `longest_pause`.
    pub first_pause: Duration,
    /// The longest pause between two tries.
    pub longest_pause: Duration,
    /// Restores from a copy that is not what its manifest says.
    pub accept_damaged_copy: bool,
    /// Goes on with what was pulled from a machine that cannot be asked any more.
    pub origin_gone: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            on_failure: None,
            patience: Duration::from_secs(120),
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(5),
            accept_damaged_copy: false,
            origin_gone: false,
        }
    }
}

/// Why a run is not driven, or no further.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The journal refused or failed. Nothing is done that it does not hold.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// There is nothing to go on with.
    #[error("run {run} is {}: there is nothing left to do", state.word())]
    RunOver {
        /// Which run.
        run: String,
        /// How it ended.
        state: RunState,
    },
}

impl DriverError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Journal(error) => error.code(),
            Self::RunOver { .. } => "run-over",
        }
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Journal(error) => error.hint(),
            Self::RunOver {
                run,
                state: RunState::Finished,
            } => Some(format!(
                "`ferryctl backup restore {run}` makes a new volume of its backup, if that is kept"
            )),
            Self::RunOver {
                run,
                state: RunState::Done,
            } => Some(format!("`ferryctl rollback {run}` takes it back")),
            Self::RunOver { .. } => Some("`ferryctl plan` makes a new plan".into()),
        }
    }
}

/// What became of a run.
#[derive(Debug, Clone)]
pub struct RunResult {
    /// The run's full name.
    pub run: String,
    /// Where it stands: `Done`, `RolledBack`, `Held`; or `Running` or `RollingBack` when the driver
    /// was asked to stop.
    pub state: RunState,
    /// All of it, as the journal has it.
    pub record: RunRecord,
    /// Why it is not done: the cause of a rollback, of holding, or `interrupted`.
    pub failure: Option<Failure>,
}

impl RunResult {
    /// The driver was asked to stop; the run can be gone on with.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        matches!(self.state, RunState::Running | RunState::RollingBack)
    }
}

/// What hears of every event, after it is in the journal.
pub type Reporter<'a> = Box<dyn FnMut(&Plan, &RunEvent) + Send + 'a>;

/// Drives runs whose agents it can reach.
pub struct Driver<'a, A> {
    journal: Journal,
    agents: A,
    options: Options,
    shutdown: CancellationToken,
    report: Reporter<'a>,
    api_key: Option<Secret>,
}

impl<'a, A: Agents> Driver<'a, A> {
    /// A driver for the runs on one server. Cancelling `shutdown` makes it stop waiting; the step
    /// that is performed goes on at its agent.
    pub fn new(
        journal: Journal,
        agents: A,
        options: Options,
        shutdown: CancellationToken,
        report: Reporter<'a>,
    ) -> Self {
        Self {
            journal,
            agents,
            options,
            shutdown,
            report,
            api_key: None,
        }
    }

    /// With a key of the operator's, for the steps that try it. It is kept in memory alone.
    #[must_use]
    pub fn with_api_key(mut self, api_key: Option<Secret>) -> Self {
        self.api_key = api_key;
        self
    }

    /// Performs a run, or goes on with it the way it went: forward, or back when it was being
    /// rolled back. A held run tries again what failed.
    ///
    /// # Errors
    /// [`DriverError::RunOver`], or the journal's.
    pub async fn apply(&mut self, run: &str) -> Result<RunResult, DriverError> {
        let mut session = Session::begin(self, run, RunState::is_over)?;
        session.take_up().await?;
        if session.record.position.backward {
            session.backward().await
        } else {
            session.forward().await
        }
    }

    /// Takes a run back: one that was interrupted, is held, or is done.
    ///
    /// # Errors
    /// [`DriverError::RunOver`] when it is rolled back already, or the journal's.
    pub async fn rollback(&mut self, run: &str) -> Result<RunResult, DriverError> {
        let over = |state| matches!(state, RunState::RolledBack | RunState::Finished);
        let mut session = Session::begin(self, run, over)?;
        if session.record.position.backward {
            session.take_up().await?;
        } else {
            session.log(RunEvent::RollingBack { why: None }).await?;
        }
        session.backward().await
    }
}

#[cfg(test)]
mod tests;
