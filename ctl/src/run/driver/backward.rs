//! The way back: every step that may have changed something, last first. What cannot be undone is
//! left as it is and said exactly; nothing is guessed and nothing is skipped.

use ferry_proto::v1::StepStatus;

use super::{CallEnd, DriverError, RunResult, Session, forward::join_hints};
use crate::{connect::Agents, run::events::RunState};

impl<A: Agents> Session<'_, '_, A> {
    pub(super) async fn backward(mut self) -> Result<RunResult, DriverError> {
        for index in (0..self.record.steps.len()).rev() {
            if !self.record.steps[index].status.needs_undo() {
                continue;
            }
            if self.driver.shutdown.is_cancelled() {
                return Ok(self.interrupted());
            }
            match self.perform(index, true).await? {
                CallEnd::Finished(_) => {}
                CallEnd::Interrupted => return Ok(self.interrupted()),
                CallEnd::GaveUp(failure) => return self.end(RunState::Held, Some(failure)).await,
                CallEnd::Failed(mut failure) => {
                    let again = format!("`ferryctl resume {}` tries it again", self.run());
                    failure.hint = join_hints(&failure.hint, &again);
                    failure.details.extend(self.whereabouts());
                    return self.end(RunState::Held, Some(failure)).await;
                }
            }
            if !self.record.any_downtime_step(StepStatus::needs_undo) {
                self.end_downtime().await?;
            }
        }
        self.end_downtime().await?;
        let why = self.record.rollback_why.clone();
        self.end(RunState::RolledBack, why).await
    }
}
