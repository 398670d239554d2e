//! Which event may happen to a run in which state. The store keeps this much of every run, so that
//! it can refuse an event without reading all those before it.

use ferry_proto::{IllegalTransition, v1::StepStatus};

use crate::run::events::{RunEvent, RunState};

/// Where a run as a whole stands: its state, and which way it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The state.
    pub state: RunState,
    /// It goes, or went, backward.
    pub backward: bool,
}

impl Default for Position {
    fn default() -> Self {
        Self {
            state: RunState::Running,
            backward: false,
        }
    }
}

impl Position {
    /// Where the run stands after `event`.
    ///
    /// # Errors
    /// [`Illegal::Event`] when the event cannot happen to a run that stands here.
    pub fn after(self, event: &RunEvent) -> Result<Self, Illegal> {
        let Self { state, backward } = self;
        let illegal = Err(Illegal::Event {
            state,
            event: event_word(event),
        });
        let moving = matches!(state, RunState::Running | RunState::RollingBack);
        match event {
            RunEvent::Started { .. } | RunEvent::RollingBack { .. }
                if state == RunState::Finished =>
            {
                illegal
            }
            RunEvent::DeclaredFinished if state == RunState::Done => Ok(Self {
                state: RunState::Finished,
                backward,
            }),
            RunEvent::Started { .. } if state == RunState::RolledBack => illegal,
            RunEvent::Started { .. } => Ok(Self {
                state: if backward {
                    RunState::RollingBack
                } else {
                    RunState::Running
                },
                backward,
            }),
            // One event takes a run up and turns it round: after a crash right here nobody may
            // think that it was to go forward.
            RunEvent::RollingBack { .. } if !backward => Ok(Self {
                state: RunState::RollingBack,
                backward: true,
            }),
            RunEvent::Ended { state: end, .. } if moving => match end {
                RunState::Done if !backward => Ok(Self {
                    state: *end,
                    backward,
                }),
                RunState::RolledBack if backward => Ok(Self {
                    state: *end,
                    backward,
                }),
                RunState::Held => Ok(Self {
                    state: *end,
                    backward,
                }),
                _ => illegal,
            },
            RunEvent::Intended { undo, .. }
            | RunEvent::Finished { undo, .. }
            | RunEvent::Failed { undo, .. }
                if moving && *undo == backward =>
            {
                Ok(self)
            }
            RunEvent::Progress { .. }
            | RunEvent::Note { .. }
            | RunEvent::Reconnecting { .. }
            | RunEvent::DowntimeStarted
            | RunEvent::DowntimeEnded { .. }
                if moving =>
            {
                Ok(self)
            }
            _ => illegal,
        }
    }
}

/// Why an event cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    /// Not to a run in this state.
    #[error("a run that is {} cannot take the event {event}", state.word())]
    Event {
        /// Where the run stands.
        state: RunState,
        /// Which event.
        event: &'static str,
    },
    /// Not to a step in this status.
    #[error("step {}: {source}", index + 1)]
    Step {
        /// Which step, from 0.
        index: usize,
        /// What cannot be.
        source: IllegalTransition,
    },
    /// The plan has no such step.
    #[error("the plan has no step {}", index + 1)]
    NoStep {
        /// Which step, from 0.
        index: usize,
    },
    /// Tries are numbered upward.
    #[error("step {}: try {attempt} follows try {before}", index + 1)]
    Attempt {
        /// Which step, from 0.
        index: usize,
        /// The try of the event.
        attempt: u32,
        /// The try before it.
        before: u32,
    },
    /// Something was left when the run was said to be over.
    #[error("the run cannot be {} while step {} is {}", end.word(), index + 1, status.word())]
    Unfinished {
        /// What the run was said to be.
        end: RunState,
        /// The first step that says otherwise, from 0.
        index: usize,
        /// Where that step stands.
        status: StepStatus,
    },
    /// An event is missing.
    #[error("event {expected} is missing")]
    Gap {
        /// The index that should have come.
        expected: u64,
    },
    /// Downtime began twice, or ended without having begun.
    #[error("the downtime {0}")]
    Downtime(&'static str),
}

fn event_word(event: &RunEvent) -> &'static str {
    match event {
        RunEvent::Started { .. } => "started",
        RunEvent::Intended { undo: false, .. } => "intended",
        RunEvent::Intended { undo: true, .. } => "intended to undo",
        RunEvent::Progress { .. } => "progress",
        RunEvent::Note { .. } => "note",
        RunEvent::Reconnecting { .. } => "reconnecting",
        RunEvent::Finished { undo: false, .. } => "finished",
        RunEvent::Finished { undo: true, .. } => "undone",
        RunEvent::Failed { undo: false, .. } => "failed",
        RunEvent::Failed { undo: true, .. } => "undo failed",
        RunEvent::RollingBack { .. } => "rolling back",
        RunEvent::DowntimeStarted => "downtime started",
        RunEvent::DowntimeEnded { .. } => "downtime ended",
        RunEvent::Ended { .. } => "ended",
        RunEvent::DeclaredFinished => "declared finished",
    }
}
