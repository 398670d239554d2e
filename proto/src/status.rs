//! How a step moves from one status to the next: one pure function, so that the agent's ledger,
//! the controller's journal and the tests cannot disagree on what may follow what.

use crate::v1::StepStatus;

/// What happens to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusEvent {
    /// The intent was written down.
    Intend,
    /// The agent began to act.
    Begin,
    /// The agent ended with this result: `Succeeded`, `Warned` or `Skipped`.
    End(StepStatus),
    /// The agent ended with a failure.
    Fail,
    /// The way back was begun.
    BeginUndo,
    /// The way back ended well.
    EndUndo,
    /// The way back failed; a person must look.
    FailUndo,
}

/// A transition that must never happen: a fault of the program or of a damaged record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a step that is {from} cannot take the event {event:?}", from = .from.word())]
pub struct IllegalTransition {
    /// Where the step stood.
    pub from: StepStatus,
    /// What was to happen to it.
    pub event: StatusEvent,
}

/// The status after `event`, or an error when that must not happen.
///
/// `Intend` and `Begin` are accepted again on a step that was begun or failed: a step is idempotent
/// and is run again after a crash. `BeginUndo` is accepted on every step that was ever intended,
/// because a step whose outcome is unknown must be undone too, and after `UndoFailed`, because a
/// person may have removed the cause.
///
/// # Errors
/// [`IllegalTransition`] when the step cannot take the event where it stands.
pub fn next_status(from: StepStatus, event: StatusEvent) -> Result<StepStatus, IllegalTransition> {
    use StepStatus as S;
    let illegal = Err(IllegalTransition { from, event });
    match event {
        StatusEvent::Intend => match from {
            S::Planned | S::Intended | S::Running | S::Failed | S::Undone => Ok(S::Intended),
            _ => illegal,
        },
        StatusEvent::Begin => match from {
            S::Intended | S::Running => Ok(S::Running),
            _ => illegal,
        },
        StatusEvent::End(result @ (S::Succeeded | S::Warned | S::Skipped)) => match from {
            S::Intended | S::Running => Ok(result),
            _ => illegal,
        },
        StatusEvent::End(_) => illegal,
        StatusEvent::Fail => match from {
            S::Intended | S::Running => Ok(S::Failed),
            _ => illegal,
        },
        StatusEvent::BeginUndo => match from {
            S::Intended
            | S::Running
            | S::Succeeded
            | S::Warned
            | S::Skipped
            | S::Failed
            | S::Undoing
            | S::UndoFailed => Ok(S::Undoing),
            _ => illegal,
        },
        StatusEvent::EndUndo if from == S::Undoing => Ok(S::Undone),
        StatusEvent::FailUndo if from == S::Undoing => Ok(S::UndoFailed),
        StatusEvent::EndUndo | StatusEvent::FailUndo => illegal,
    }
}

impl StepStatus {
    /// The step ended as it should.
    #[must_use]
    pub fn is_done(self) -> bool {
        matches!(self, Self::Succeeded | Self::Warned | Self::Skipped)
    }

    /// The step may have changed something that has not been taken back.
    #[must_use]
    pub fn needs_undo(self) -> bool {
        !matches!(self, Self::Unknown | Self::Planned | Self::Undone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use StepStatus as S;

    const ALL: [StepStatus; 11] = [
        S::Unknown,
        S::Planned,
        S::Intended,
        S::Running,
        S::Succeeded,
        S::Warned,
        S::Skipped,
        S::Failed,
        S::Undoing,
        S::Undone,
        S::UndoFailed,
    ];

    fn walk(events: &[StatusEvent]) -> Result<StepStatus, IllegalTransition> {
        events
            .iter()
            .try_fold(S::Planned, |status, event| next_status(status, *event))
    }

    #[test]
    fn the_straight_way_ends_done() {
        let end = walk(&[
            StatusEvent::Intend,
            StatusEvent::Begin,
            StatusEvent::End(S::Succeeded),
        ]);
        assert_eq!(end, Ok(S::Succeeded));
    }

    #[test]
    fn a_crash_between_intent_and_outcome_is_run_again() {
        let end = walk(&[
            StatusEvent::Intend,
            StatusEvent::Begin,
            StatusEvent::Intend,
            StatusEvent::Begin,
            StatusEvent::End(S::Warned),
        ]);
        assert_eq!(end, Ok(S::Warned));
    }

    #[test]
    fn an_undo_that_failed_can_be_tried_again_but_not_run_forward() {
        let stuck = walk(&[
            StatusEvent::Intend,
            StatusEvent::BeginUndo,
            StatusEvent::FailUndo,
        ]);
        assert_eq!(stuck, Ok(S::UndoFailed));
        assert_eq!(
            next_status(S::UndoFailed, StatusEvent::BeginUndo),
            Ok(S::Undoing)
        );
        assert!(next_status(S::UndoFailed, StatusEvent::Intend).is_err());
    }

    #[test]
    fn nothing_is_done_twice_and_nothing_untouched_is_undone() {
        for done in [S::Succeeded, S::Warned, S::Skipped] {
            assert!(next_status(done, StatusEvent::Intend).is_err());
            assert!(next_status(done, StatusEvent::End(S::Succeeded)).is_err());
        }
        for untouched in [S::Planned, S::Undone, S::Unknown] {
            assert!(next_status(untouched, StatusEvent::BeginUndo).is_err());
        }
    }

    #[test]
    fn only_results_end_a_step() {
        for status in ALL {
            let ended = next_status(S::Running, StatusEvent::End(status));
            assert_eq!(ended.is_ok(), status.is_done(), "{status:?}");
        }
    }

    #[test]
    fn what_needs_undo_can_begin_it() {
        for status in ALL {
            assert_eq!(
                status.needs_undo(),
                next_status(status, StatusEvent::BeginUndo).is_ok(),
                "{status:?}"
            );
        }
    }
}
