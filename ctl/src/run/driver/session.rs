//! What forward and backward have in common: how an event is written down, and how one step is
//! performed or taken back.

use std::time::{Duration, Instant};

use ferry_proto::v1::{Failure, Outcome, Place, Progress, Step, StepStatus, action::Kind};

use super::{CallEnd, Driver, DriverError, RunResult, origin::final_pull};
use crate::{
    connect::Agents,
    recipes::pmm_kubernetes,
    run::{
        events::{RunEvent, RunState},
        journal::{self, Journal, JournalError, StepProgress},
        lock::DriverLock,
        record::{Illegal, RunRecord},
    },
};

/// One driver at work on one run, with the proof that it is the only one.
pub(super) struct Session<'d, 'a, A> {
    pub(super) driver: &'d mut Driver<'a, A>,
    lock: DriverLock,
    pub(super) record: RunRecord,
    /// Something of the run is in the journal already.
    pub(super) resumed: bool,
    /// This session has brought what changed on another machine, or has looked that nothing did.
    pub(super) pulled: bool,
    progress_noted: Option<Instant>,
    /// The copy that the data is restored from was proven, since this session began.
    pub(super) way_back_proven: bool,
}

impl<'d, 'a, A: Agents> Session<'d, 'a, A> {
    pub(super) fn begin(
        driver: &'d mut Driver<'a, A>,
        run: &str,
        is_over: impl Fn(RunState) -> bool,
    ) -> Result<Self, DriverError> {
        let run = driver.journal.run(run)?.run;
        let lock = driver.journal.drive(&run)?;
        // Read under the lock: until it was taken another driver may have gone on.
        let record = driver.journal.record(&run)?;
        if is_over(record.state()) {
            return Err(DriverError::RunOver {
                run,
                state: record.state(),
            });
        }
        let resumed = !driver.journal.events(&run, 1)?.is_empty();
        Ok(Self {
            driver,
            lock,
            record,
            resumed,
            pulled: false,
            progress_noted: None,
            way_back_proven: false,
        })
    }

    pub(super) async fn take_up(&mut self) -> Result<(), DriverError> {
        let run = self.run().to_owned();
        self.log(RunEvent::Started {
            run,
            resumed: self.resumed,
            on_failure: self.driver.options.on_failure,
        })
        .await
    }

    pub(super) fn run(&self) -> &str {
        self.lock.run()
    }

    /// Writes an event down and tells it. The only way anything happens to a run.
    pub(super) async fn log(&mut self, event: RunEvent) -> Result<(), DriverError> {
        let time = journal::now();
        let run = self.lock.run().to_owned();
        self.record
            .apply(time, &event)
            .map_err(|source: Illegal| JournalError::Illegal {
                run: run.clone(),
                source,
            })?;
        let (event, written) = blocking(&self.driver.journal, move |journal| {
            let written = journal.append_at(&run, time, &event);
            (event, written)
        })
        .await?;
        written?;
        (self.driver.report)(&self.record.plan, &event);
        Ok(())
    }

    /// Tells how far a step is, and notes it now and then for those who look from elsewhere.
    pub(super) async fn tell_progress(
        &mut self,
        step: usize,
        undo: bool,
        progress: Progress,
    ) -> Result<(), DriverError> {
        const PAUSE: Duration = Duration::from_millis(500);
        if self.progress_noted.is_none_or(|at| at.elapsed() >= PAUSE) {
            self.progress_noted = Some(Instant::now());
            let run = self.run().to_owned();
            let time = journal::now();
            let noted = StepProgress {
                step,
                undo,
                progress: progress.clone(),
                time,
            };
            let write = move |journal: Journal| journal.set_progress(&run, &noted);
            // Of no weight: what must not be lost is written as an event.
            if let Err(error) = blocking(&self.driver.journal, write).await? {
                tracing::warn!(%error, "progress was not noted");
            }
        }
        (self.driver.report)(
            &self.record.plan,
            &RunEvent::Progress {
                step,
                progress,
                undo,
            },
        );
        Ok(())
    }

    /// Performs or undoes one step: the intent, the act, and what came of it.
    pub(super) async fn perform(
        &mut self,
        index: usize,
        undo: bool,
    ) -> Result<CallEnd, DriverError> {
        let before = &self.record.steps[index];
        // Nobody may know how it stands: asked to stop, it ends before it is taken back.
        let settle = undo && before.status == StepStatus::Intended;
        let attempt = 1 + if undo {
            before.undo_attempt
        } else {
            before.attempt
        };
        let step = self.record.plan.steps[index].clone();
        if step.downtime && self.record.downtime.since.is_none() {
            self.log(RunEvent::DowntimeStarted).await?;
        }
        self.progress_noted = None;
        self.log(RunEvent::Intended {
            step: index,
            attempt,
            undo,
        })
        .await?;
        let end = if undo && !self.record.plan.needs_undo_of(&step) {
            CallEnd::Finished(nothing_to_take_back())
        } else {
            let unproven = match undo {
                true => self.prove_copy_before(index, attempt).await?,
                false => None,
            };
            match unproven {
                Some(end) => end,
                None => self.call(index, attempt, undo, settle).await?,
            }
        };
        match &end {
            CallEnd::Finished(outcome) => {
                let outcome = outcome.clone();
                self.pulled |= !undo && final_pull(&step).is_some();
                self.log(RunEvent::Finished {
                    step: index,
                    outcome,
                    undo,
                })
                .await?;
            }
            CallEnd::Failed(failure) => {
                let failure = failure.clone();
                self.log(RunEvent::Failed {
                    step: index,
                    failure,
                    undo,
                })
                .await?;
            }
            CallEnd::GaveUp(_) | CallEnd::Interrupted => {}
        }
        if moves_agents(&step) {
            self.driver.agents.forget(Place::Container).await;
            self.driver.agents.forget(Place::Volume).await;
            self.driver.agents.forget(Place::Copy).await;
        } else if self.record.plan.recipe == pmm_kubernetes::NAME {
            // A cluster looks who uses the data when its agent is dialled, and anybody may scale the server up between two steps.
            self.driver.agents.forget(Place::Volume).await;
        }
        Ok(end)
    }

    pub(super) async fn end_downtime(&mut self) -> Result<(), DriverError> {
        match self.record.downtime_millis() {
            Some(millis) => self.log(RunEvent::DowntimeEnded { millis }).await,
            None => Ok(()),
        }
    }

    pub(super) async fn end(
        mut self,
        state: RunState,
        failure: Option<Failure>,
    ) -> Result<RunResult, DriverError> {
        self.log(RunEvent::Ended {
            state,
            failure: failure.clone(),
        })
        .await?;
        Ok(RunResult {
            run: self.run().to_owned(),
            state,
            record: self.record,
            failure,
        })
    }

    pub(super) fn interrupted(self) -> RunResult {
        let run = self.run().to_owned();
        let failure = Failure {
            code: "interrupted".into(),
            message: format!("run {run} was interrupted; the step it is at may go on at its agent"),
            hint: format!(
                "`ferryctl resume {run}` goes on with it, `ferryctl rollback {run}` takes it back"
            ),
            details: self.whereabouts(),
        };
        let state = self.record.state();
        RunResult {
            run,
            state,
            record: self.record,
            failure: Some(failure),
        }
    }

    /// What is where: every step that was begun, with its status.
    pub(super) fn whereabouts(&self) -> Vec<String> {
        let steps = self
            .record
            .plan
            .steps
            .iter()
            .zip(&self.record.steps)
            .zip(1..);
        steps
            .filter(|((_, state), _)| state.status != StepStatus::Planned)
            .map(|((step, state), n)| {
                format!(
                    "step {n} ({}) {}: {}",
                    step.place().word(),
                    step.title,
                    state.status.word()
                )
            })
            .collect()
    }
}

/// A synced write may take long on a busy disk; the agent in this process must go on meanwhile.
async fn blocking<T: Send + 'static>(
    journal: &Journal,
    work: impl FnOnce(Journal) -> T + Send + 'static,
) -> Result<T, JournalError> {
    let journal = journal.clone();
    tokio::task::spawn_blocking(move || work(journal))
        .await
        .map_err(|_| JournalError::Closed)
}

pub(super) fn kind(step: &Step) -> Option<&Kind> {
    step.action.as_ref().and_then(|action| action.kind.as_ref())
}

/// After such a step the agents beside the server are other ones, or none.
fn moves_agents(step: &Step) -> bool {
    matches!(
        kind(step),
        Some(
            Kind::LaunchAgents(_)
                | Kind::StopServer(_)
                | Kind::StartServer(_)
                | Kind::RetireAgents(_)
                | Kind::PrepareRehearsal(_)
                | Kind::StartRehearsal(_)
                | Kind::EndRehearsal(_)
        )
    )
}

fn nothing_to_take_back() -> Outcome {
    Outcome {
        status: StepStatus::Undone.into(),
        summary: "nothing to take back".to_owned(),
        ..Outcome::default()
    }
}
