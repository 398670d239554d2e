//! What a journal means: a pure fold over its events, so that a resumed run, `ferryctl status` and
//! the tests cannot disagree on where a run stands.
//!
//! An event that cannot follow what was before it is an error, never skipped: a journal that is not
//! understood must not be acted upon.

mod position;

use ferry_proto::{
    StatusEvent, next_status,
    v1::{Failure, Outcome, Plan, Step, StepStatus},
};

pub use self::position::{Illegal, Position};
use super::events::{OnFailure, RunEvent, RunState};

/// Where a step of a run stands.
#[derive(Debug, Clone, PartialEq)]
pub struct StepState {
    /// Its status by the journal. `Intended` while the agent works on it.
    pub status: StepStatus,
    /// How often it was tried; 0 for never.
    pub attempt: u32,
    /// How often taking it back was tried; 0 for never.
    pub undo_attempt: u32,
    /// How it ended, once it did.
    pub outcome: Option<Outcome>,
    /// Why the last try failed, forward or back.
    pub failure: Option<Failure>,
    /// How taking it back ended.
    pub undo_outcome: Option<Outcome>,
    /// When its status last changed, in milliseconds since the epoch; 0 for never.
    pub updated: i64,
}

/// How long the server did not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Downtime {
    /// Since when it does not, in milliseconds since the epoch.
    pub since: Option<i64>,
    /// The times that are over, in milliseconds.
    pub over_ms: u64,
}

impl Downtime {
    /// All of it until `now` (milliseconds since the epoch), in milliseconds.
    #[must_use]
    pub fn total_ms(&self, now: i64) -> u64 {
        let open = self.since.map_or(0, |since| passed(since, now));
        self.over_ms.saturating_add(open)
    }
}

/// Milliseconds from one time to another by a clock that may have been put back meanwhile: then none that is known of.
fn passed(from: i64, to: i64) -> u64 {
    u64::try_from(to.saturating_sub(from)).unwrap_or(0)
}

/// A run as its journal has it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// What is executed.
    pub plan: Plan,
    /// Where the run stands.
    pub position: Position,
    /// Where each step stands, in the order of the plan.
    pub steps: Vec<StepState>,
    /// How long the server did not serve.
    pub downtime: Downtime,
    /// The failure that made it roll back; absent when a person asked for it.
    pub rollback_why: Option<Failure>,
    /// Why it is held or was rolled back.
    pub failure: Option<Failure>,
    /// What a failed step means for it.
    pub on_failure: OnFailure,
}

impl RunRecord {
    /// A run of which nothing has happened yet.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let untouched = StepState {
            status: StepStatus::Planned,
            attempt: 0,
            undo_attempt: 0,
            outcome: None,
            failure: None,
            undo_outcome: None,
            updated: 0,
        };
        Self {
            steps: vec![untouched; plan.steps.len()],
            plan,
            position: Position::default(),
            downtime: Downtime::default(),
            rollback_why: None,
            failure: None,
            on_failure: OnFailure::default(),
        }
    }

    /// Where the run stands.
    #[must_use]
    pub fn state(&self) -> RunState {
        self.position.state
    }

    /// Whether a step that was taken back has told something, by a value of its outcome.
    #[must_use]
    pub fn was_told(&self, value: &str) -> bool {
        let outcomes = self.steps.iter().filter_map(|it| it.undo_outcome.as_ref());
        outcomes
            .flat_map(|it| it.values.keys())
            .any(|key| key == value)
    }

    /// The step that is worked on, was interrupted or failed last: what `ferryctl status` names.
    #[must_use]
    pub fn current_step(&self) -> Option<usize> {
        if self.position.backward {
            self.steps.iter().rposition(|step| step.status.needs_undo())
        } else {
            self.steps.iter().position(|step| !step.status.is_done())
        }
    }

    /// Steps with downtime that `wanted` says something of.
    pub(super) fn any_downtime_step(&self, wanted: impl Fn(StepStatus) -> bool) -> bool {
        self.downtime_steps().any(|(_, state)| wanted(state.status))
    }

    /// When the downtime that is open was over by the journal: at the last change of a step with
    /// downtime. A controller that was away for an hour must not be counted.
    pub(super) fn downtime_millis(&self) -> Option<u64> {
        let since = self.downtime.since?;
        let last = self
            .downtime_steps()
            .map(|(_, state)| state.updated)
            .max()
            .unwrap_or(since);
        Some(passed(since, last))
    }

    fn downtime_steps(&self) -> impl Iterator<Item = (&Step, &StepState)> {
        self.plan
            .steps
            .iter()
            .zip(&self.steps)
            .filter(|(step, _)| step.downtime)
    }

    /// Takes in one more event, that happened at `time` (milliseconds since the epoch). When it is
    /// refused, the record is as before.
    ///
    /// # Errors
    /// [`Illegal`] when the event cannot follow what was before it.
    pub fn apply(&mut self, time: i64, event: &RunEvent) -> Result<(), Illegal> {
        let position = self.position.after(event)?;
        match event {
            RunEvent::Started { on_failure, .. } => {
                self.failure = None;
                self.on_failure = on_failure.unwrap_or(self.on_failure);
            }
            RunEvent::Intended {
                step,
                attempt,
                undo,
            } => {
                let before = self.step(*step)?;
                let before = if *undo {
                    before.undo_attempt
                } else {
                    before.attempt
                };
                if *attempt <= before {
                    return Err(Illegal::Attempt {
                        index: *step,
                        attempt: *attempt,
                        before,
                    });
                }
                let event = if *undo {
                    StatusEvent::BeginUndo
                } else {
                    StatusEvent::Intend
                };
                let state = self.advance(*step, time, event)?;
                *if *undo {
                    &mut state.undo_attempt
                } else {
                    &mut state.attempt
                } = *attempt;
            }
            RunEvent::Finished {
                step,
                outcome,
                undo: false,
            } => {
                let state = self.advance(*step, time, StatusEvent::End(outcome.status()))?;
                state.outcome = Some(outcome.clone());
                state.failure = None;
            }
            RunEvent::Finished {
                step,
                outcome,
                undo: true,
            } => {
                let state = self.advance(*step, time, StatusEvent::EndUndo)?;
                state.undo_outcome = Some(outcome.clone());
            }
            RunEvent::Failed {
                step,
                failure,
                undo,
            } => {
                let event = if *undo {
                    StatusEvent::FailUndo
                } else {
                    StatusEvent::Fail
                };
                self.advance(*step, time, event)?.failure = Some(failure.clone());
            }
            RunEvent::Progress { step, .. }
            | RunEvent::Note { step, .. }
            | RunEvent::Reconnecting { step, .. } => {
                self.step(*step)?;
            }
            RunEvent::DeclaredFinished => {}
            RunEvent::RollingBack { why } => {
                self.rollback_why.clone_from(why);
                self.failure = None;
            }
            RunEvent::DowntimeStarted if self.downtime.since.is_some() => {
                return Err(Illegal::Downtime("began while it lasted"));
            }
            RunEvent::DowntimeStarted => self.downtime.since = Some(time),
            RunEvent::DowntimeEnded { millis } => {
                if self.downtime.since.take().is_none() {
                    return Err(Illegal::Downtime("ended without having begun"));
                }
                self.downtime.over_ms = self.downtime.over_ms.saturating_add(*millis);
            }
            RunEvent::Ended { state, failure } => {
                self.check_end(*state)?;
                self.failure.clone_from(failure);
            }
        }
        self.position = position;
        Ok(())
    }

    fn check_end(&self, end: RunState) -> Result<(), Illegal> {
        let unfinished = self.steps.iter().position(|step| match end {
            RunState::Done => !step.status.is_done(),
            RunState::RolledBack => step.status.needs_undo(),
            _ => false,
        });
        match unfinished {
            Some(index) => Err(Illegal::Unfinished {
                end,
                index,
                status: self.steps[index].status,
            }),
            None => Ok(()),
        }
    }

    fn step(&self, index: usize) -> Result<&StepState, Illegal> {
        self.steps.get(index).ok_or(Illegal::NoStep { index })
    }

    fn advance(
        &mut self,
        index: usize,
        time: i64,
        event: StatusEvent,
    ) -> Result<&mut StepState, Illegal> {
        let state = self.steps.get_mut(index).ok_or(Illegal::NoStep { index })?;
        state.status =
            next_status(state.status, event).map_err(|source| Illegal::Step { index, source })?;
        state.updated = time;
        Ok(state)
    }
}

/// An event with its place in the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Rising by one within a run, from 1.
    pub index: u64,
    /// When it was written, in milliseconds since the epoch.
    pub time: i64,
    /// What happened.
    pub event: RunEvent,
}

/// What the events of a run make of its plan.
///
/// # Errors
/// The index of the first event that cannot be, and why.
pub fn replay(plan: Plan, entries: &[Entry]) -> Result<RunRecord, (u64, Illegal)> {
    let mut record = RunRecord::new(plan);
    for (expected, entry) in (1..).zip(entries) {
        if entry.index != expected {
            return Err((entry.index, Illegal::Gap { expected }));
        }
        record
            .apply(entry.time, &entry.event)
            .map_err(|why| (entry.index, why))?;
    }
    Ok(record)
}

#[cfg(test)]
mod tests;
