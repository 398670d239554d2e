//! What happens during a run, as data: the journal keeps these events, the reports draw them,
//! `--output json` prints them. The driver is the only one that makes them.

use ferry_proto::v1::{Failure, Outcome, Progress};
use serde::{Deserialize, Serialize};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Steps are being performed, or were when the controller went away.
    Running,
    /// Steps are being undone, or were when the controller went away.
    RollingBack,
    /// All steps are done: the server is the new version.
    Done,
    /// All steps are undone: the server is as it was.
    RolledBack,
    /// Stopped where it is; a person must look.
    Held,
    /// Done, and declared finished by a person: there is no way back any more.
    Finished,
}

impl RunState {
    /// The word for it, as in `ferryctl runs`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::RollingBack => "rolling back",
            Self::Done => "done",
            Self::RolledBack => "rolled back",
            Self::Held => "held",
            Self::Finished => "finished",
        }
    }

    /// Nothing is left to do: the server may be given to another run.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::RolledBack | Self::Finished)
    }
}

/// What a failed step means for the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// It is undone together with all before it.
    #[default]
    Rollback,
    /// The run stops where it is and a person decides.
    Hold,
}

/// One thing that happened during a run. `step` is the index in the plan, from 0.
///
/// Everything but [`RunEvent::Progress`] is kept in the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum RunEvent {
    /// The run was taken up, for the first time or after an interruption.
    Started {
        /// The run's name: the plan's id, with `-2`, `-3`, … when the plan was run before.
        run: String,
        /// It goes on from the journal.
        resumed: bool,
        /// What a failed step means from here on; absent where nobody has said it: what it meant before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on_failure: Option<OnFailure>,
    },
    /// Written before the agent is asked: intent before the act.
    Intended {
        /// Which step.
        step: usize,
        /// How often it was tried, from 1.
        attempt: u32,
        /// On the way back.
        undo: bool,
    },
    /// The agent reports how far it is. Not kept.
    Progress {
        /// Which step.
        step: usize,
        /// How far.
        progress: Progress,
        /// On the way back.
        undo: bool,
    },
    /// The agent has something to say.
    Note {
        /// Which step.
        step: usize,
        /// A sentence.
        text: String,
    },
    /// The connection to an agent was lost and is made again; the step goes on meanwhile.
    Reconnecting {
        /// Which step.
        step: usize,
        /// Why it was lost.
        why: String,
    },
    /// A step ended as it should.
    Finished {
        /// Which step.
        step: usize,
        /// How.
        outcome: Outcome,
        /// On the way back.
        undo: bool,
    },
    /// A step failed.
    Failed {
        /// Which step.
        step: usize,
        /// Why.
        failure: Failure,
        /// On the way back.
        undo: bool,
    },
    /// From here steps are undone, last first.
    RollingBack {
        /// The failure that made it so; absent when a person asked for it.
        why: Option<Failure>,
    },
    /// The server stopped serving.
    DowntimeStarted,
    /// The server serves again.
    DowntimeEnded {
        /// How long it did not, in milliseconds.
        millis: u64,
    },
    /// The run is over, or held.
    Ended {
        /// How.
        state: RunState,
        /// Why it is held or was rolled back.
        failure: Option<Failure>,
    },
    /// A person has declared the run finished: what it kept for the way back is gone.
    DeclaredFinished,
}
