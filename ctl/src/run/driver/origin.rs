//! What is looked at before a run goes on whose server's data has come from another machine, when it was left alone behind the last pull:
//! whether the old one has served meanwhile.
//!
//! Why: a run that is held, or whose host is switched off, may lie for hours, and the old machine is whole: a person, or its own boot, starts
//! it. What it gathers then would be on it alone, while this run says that all has come.

use ferry_proto::v1::{self, Failure, Place, Step, action::Kind};

use super::{CallEnd, DriverError, Session, forward::join_hints, session::kind};
use crate::{
    connect::Agents,
    run::{events::RunEvent, journal},
};

/// The step that does it is in no plan. It has a name of its own each time: the agent's ledger would answer with what was found before.
const PULL: &str = "pull-again";

impl<A: Agents> Session<'_, '_, A> {
    /// Pulls once more what changed, when step `index` is about to be done and the last pull was another session's. It is refused while a
    /// program runs there. A server that was started here may have written to what was pulled: then it is looked at the old one alone. Says how
    /// that ended when the step is not to be done now.
    ///
    /// It is asked before the step is begun, which tells by that alone whether it ever was.
    pub(super) async fn pull_again_before(
        &mut self,
        index: usize,
    ) -> Result<Option<CallEnd>, DriverError> {
        // Behind the proof the new server is the one that serves.
        let is_proven = matches!(
            kind(&self.record.plan.steps[index]),
            Some(Kind::RetireAgents(_))
        );
        let is_known = self.pulled || self.driver.options.origin_gone;
        if !self.resumed || is_known || is_proven {
            return Ok(None);
        }
        let Some((id, mut pull)) = self.last_pull() else {
            return Ok(None);
        };
        pull.look_only = self.was_started();
        let pull = Step {
            id: format!("{PULL}-{}", journal::now()),
            place: Place::Host.into(),
            action: Some(v1::Action {
                kind: Some(Kind::PullData(pull)),
            }),
            ..Step::default()
        };
        match self.call_beside(index, 1, pull, false).await? {
            CallEnd::Finished(outcome) => {
                let text = format!("the old machine is still down: {}", outcome.summary);
                self.log(RunEvent::Note { step: id, text }).await?;
                self.pulled = true;
                Ok(None)
            }
            CallEnd::GaveUp(failure) => {
                let alone = format!(
                    "where that machine is gone for good, `ferryctl resume {} --origin-gone` goes on with what has come",
                    self.run()
                );
                let hint = join_hints(&failure.hint, &alone);
                Ok(Some(CallEnd::GaveUp(Failure { hint, ..failure })))
            }
            end => Ok(Some(end)),
        }
    }

    fn was_started(&self) -> bool {
        let mut steps = self.record.plan.steps.iter().zip(&self.record.steps);
        steps.any(|(step, state)| {
            matches!(kind(step), Some(Kind::StartServer(_))) && state.attempt > 0
        })
    }

    /// The step, and what it pulls, once that is done.
    fn last_pull(&self) -> Option<(usize, v1::PullData)> {
        let steps = self.record.plan.steps.iter().zip(&self.record.steps);
        let mut done = steps
            .enumerate()
            .filter(|(_, (_, state))| state.status.is_done());
        done.find_map(|(id, (step, _))| Some((id, final_pull(step)?.clone())))
    }
}

/// What a step brings that changed behind the stop on another machine.
pub(super) fn final_pull(step: &Step) -> Option<&v1::PullData> {
    match kind(step) {
        Some(Kind::PullData(pull)) if pull.final_pass => Some(pull),
        _ => None,
    }
}
