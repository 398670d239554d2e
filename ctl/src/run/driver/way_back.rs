//! What is looked at before a way back is gone that restores data: the copy it would be restored from.
//!
//! Why before the target is stopped: a copy that was damaged since it was made leads nowhere, and then the target that serves is all there
//! is. Found half way through the restore, it would leave neither of the two.

use ferry_proto::v1::{self, Failure, Place, Step, action::Kind};

use super::{CallEnd, DriverError, Session, session::kind};
use crate::{connect::Agents, run::events::RunEvent};

/// The step that does it is in no plan. For each try it has a name of its own in the agent's ledger, which would answer with what was found
/// days ago otherwise.
const PROOF: &str = "prove-way-back";

impl<A: Agents> Session<'_, '_, A> {
    /// Proves the copy, when taking back step `index` is the first that cannot be done without it. Says how that ended when the step is
    /// not to be taken back now.
    pub(super) async fn prove_copy_before(
        &mut self,
        index: usize,
        attempt: u32,
    ) -> Result<Option<CallEnd>, DriverError> {
        let known = self.way_back_proven || self.driver.options.accept_damaged_copy;
        if known || !self.restores_from(index) {
            return Ok(None);
        }
        let proof = self.proof(&format!("{PROOF}-{index}-{attempt}"));
        let end = self.call_beside(index, attempt, proof, true).await?;
        Ok(Some(match end {
            CallEnd::Finished(outcome) => {
                let text = format!("the copy is what its manifest says: {}", outcome.summary);
                self.log(RunEvent::Note { step: index, text }).await?;
                self.way_back_proven = true;
                return Ok(None);
            }
            CallEnd::Failed(failure) => CallEnd::Failed(self.no_way_back(index, failure)),
            end => end,
        }))
    }

    /// Whether the data is restored after this step is taken back, or by that.
    fn restores_from(&self, index: usize) -> bool {
        let steps = || self.record.plan.steps.iter().zip(&self.record.steps);
        let restores = steps().any(|(step, state)| is_hand_over(step) && state.status.needs_undo());
        let step = &self.record.plan.steps[index];
        restores && (step.point_of_no_return || is_hand_over(step))
    }

    /// With the digest that the journal has: a manifest beside the copy could be another one.
    fn proof(&self, id: &str) -> Step {
        let steps = self.record.plan.steps.iter().zip(&self.record.steps);
        let digest = steps
            .filter(
                |(step, _)| matches!(kind(step), Some(Kind::CopyVolume(copy)) if copy.final_pass),
            )
            .find_map(|(_, state)| state.outcome.as_ref()?.values.get("manifest").cloned());
        let prove = Kind::ProveCopy(v1::ProveCopy {
            final_manifest: true,
            digest: digest.unwrap_or_default(),
            bytes_per_second: 0,
            room_for_restore: true,
        });
        Step {
            id: id.to_owned(),
            place: Place::Volume.into(),
            action: Some(v1::Action { kind: Some(prove) }),
            ..Step::default()
        }
    }

    /// Its own hint is for a run that has changed nothing yet, and may copy again.
    fn no_way_back(&self, index: usize, failure: Failure) -> Failure {
        let is_room = failure.code == "no-space-for-restore";
        if !(is_room || failure.code == "copy-not-proven" || failure.code.starts_with("manifest-"))
        {
            return failure;
        }
        let run = self.run();
        let stands = match is_hand_over(&self.record.plan.steps[index]) {
            true => "nothing was restored".to_owned(),
            false => {
                let version = &self.record.plan.to_version;
                format!("nothing was restored, and PMM {version} was not stopped")
            }
        };
        let hint = match is_room {
            true => format!("{stands}: free space there, then `ferryctl rollback {run}` again"),
            false => format!(
                "{stands}: put right what is named, or restore what the copy has with `ferryctl rollback {run} --accept-damaged-copy`"
            ),
        };
        Failure { hint, ..failure }
    }
}

fn is_hand_over(step: &Step) -> bool {
    matches!(kind(step), Some(Kind::HandOverVolume(_)))
}
