//! The way forward: every step that is not done, in the order of the plan.

use super::{CallEnd, DriverError, RunResult, Session};
use crate::{
    connect::Agents,
    run::events::{OnFailure, RunEvent, RunState},
};

impl<A: Agents> Session<'_, '_, A> {
    pub(super) async fn forward(mut self) -> Result<RunResult, DriverError> {
        for index in 0..self.record.steps.len() {
            if !self.record.steps[index].status.is_done() {
                if self.driver.shutdown.is_cancelled() {
                    return Ok(self.interrupted());
                }
                let end = match self.pull_again_before(index).await? {
                    Some(end) => end,
                    None => self.perform(index, false).await?,
                };
                match end {
                    CallEnd::Finished(_) => {}
                    CallEnd::Interrupted => return Ok(self.interrupted()),
                    CallEnd::GaveUp(failure) => {
                        return self.end(RunState::Held, Some(failure)).await;
                    }
                    CallEnd::Failed(mut failure) => match self.record.on_failure {
                        OnFailure::Rollback => {
                            self.log(RunEvent::RollingBack { why: Some(failure) })
                                .await?;
                            return self.backward().await;
                        }
                        OnFailure::Hold => {
                            let run = self.run();
                            let ways = format!(
                                "`ferryctl resume {run}` tries the step again, with `--on-failure rollback` takes all back when it \
                                 fails again; `ferryctl rollback {run}` takes all back now"
                            );
                            failure.hint = join_hints(&failure.hint, &ways);
                            return self.end(RunState::Held, Some(failure)).await;
                        }
                    },
                }
            }
            if !self.record.any_downtime_step(|status| !status.is_done()) {
                self.end_downtime().await?;
            }
        }
        self.end(RunState::Done, None).await
    }
}

pub(super) fn join_hints(first: &str, second: &str) -> String {
    if first.is_empty() {
        second.to_owned()
    } else {
        format!("{first}; then {second}")
    }
}
