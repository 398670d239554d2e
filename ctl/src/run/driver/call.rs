//! One step at its agent, however often the connection to it is lost: the agent goes on without
//! us, so the same try is asked for again and answered with its events or its outcome.

use std::collections::HashMap;

use ferry_proto::v1::{
    Action, Failure, Outcome, Place, RunStepRequest, Step, StepEvent, StepStatus, step_event::Kind,
};

// The runtime's clock, not the machine's: a simulated network has a time of its own.
use tokio::time::Instant;

use super::{DriverError, Session};
use crate::{
    connect::{Agents, Refusal, refusal, settle},
    run::events::RunEvent,
};

/// How the call of a step ended.
pub(super) enum CallEnd {
    /// The agent did it.
    Finished(Outcome),
    /// The agent could not.
    Failed(Failure),
    /// The agent was not found again.
    GaveUp(Failure),
    /// The driver was asked to stop.
    Interrupted,
}

/// How one connection's worth of a call ended.
enum TryEnd {
    Over(CallEnd),
    Lost(String),
}

/// A call as it goes on over several connections.
struct Call {
    index: usize,
    place: Place,
    request: RunStepRequest,
    /// The step is taken back.
    undo: bool,
    /// It belongs to the way back: a step that is taken back, or what is looked at before that.
    back: bool,
    /// Stop what may still run before it is undone.
    settle: bool,
    /// The notes that were told, by their index, so that none is told twice: an agent tells a step
    /// from its beginning to whoever asks again. One that was restarted counts from 1 again.
    told: HashMap<u64, String>,
    /// Since when the agent is not heard of.
    silent: Option<Instant>,
}

/// How often an agent may answer and be lost again in one step. An agent that dies of the step each
/// time (for want of memory, say) would otherwise be started again for ever, in the downtime.
const MOST_LOSSES: u32 = 25;

/// What a host step fails with when the machine that the server comes from does not answer any more, which it has waited for itself. What
/// has come is kept for whoever goes on; taking the run back would need that machine too.
const ORIGIN_LOST: &str = "origin-lost";

impl<A: Agents> Session<'_, '_, A> {
    pub(super) async fn call(
        &mut self,
        index: usize,
        attempt: u32,
        undo: bool,
        settle: bool,
    ) -> Result<CallEnd, DriverError> {
        let step = self.record.plan.steps[index].clone();
        let tries_key = |action: &Action| !undo && action.tries_api_key();
        let api_key = match &step.action {
            Some(action) if tries_key(action) => self.driver.api_key.clone(),
            _ => None,
        };
        let mut call = Call {
            index,
            place: step.place(),
            request: RunStepRequest {
                run: self.run().to_owned(),
                step: Some(step),
                attempt,
                has_outcome: self.record.steps[index].outcome.is_some(),
                accept_damaged_copy: undo && self.driver.options.accept_damaged_copy,
                keep_copy: undo && self.record.was_told(ferry_proto::KEEP_COPY),
                data_in_doubt: undo && self.record.was_told(ferry_proto::DATA_IN_DOUBT),
                api_key,
            },
            undo,
            back: undo,
            settle,
            told: HashMap::new(),
            silent: None,
        };
        self.follow(&mut call).await
    }

    /// Has a step performed that is in no plan, because the run needs it at step `index`; `back` says on which way.
    pub(super) async fn call_beside(
        &mut self,
        index: usize,
        attempt: u32,
        step: Step,
        back: bool,
    ) -> Result<CallEnd, DriverError> {
        let mut call = Call {
            index,
            place: step.place(),
            request: RunStepRequest {
                run: self.run().to_owned(),
                step: Some(step),
                attempt,
                ..RunStepRequest::default()
            },
            undo: false,
            back,
            settle: false,
            told: HashMap::new(),
            silent: None,
        };
        self.follow(&mut call).await
    }

    /// Asks until the step is over, however often the connection is lost.
    async fn follow(&mut self, call: &mut Call) -> Result<CallEnd, DriverError> {
        let index = call.index;
        let mut pause = self.driver.options.first_pause;
        let mut losses = 0;
        loop {
            let why = match self.try_once(call).await? {
                TryEnd::Over(end) => return Ok(end),
                TryEnd::Lost(why) => why,
            };
            self.driver.agents.forget(call.place).await;
            losses += u32::from(call.silent.is_none());
            if losses > MOST_LOSSES {
                return Ok(CallEnd::GaveUp(self.gave_up(call, &why)));
            }
            let since = match call.silent {
                Some(since) => since,
                None => {
                    pause = self.driver.options.first_pause;
                    let why = why.clone();
                    self.log(RunEvent::Reconnecting { step: index, why })
                        .await?;
                    *call.silent.insert(Instant::now())
                }
            };
            if since.elapsed() >= self.driver.options.patience {
                return Ok(CallEnd::GaveUp(self.gave_up(call, &why)));
            }
            let stop = self.driver.shutdown.clone();
            if stop
                .run_until_cancelled(tokio::time::sleep(pause))
                .await
                .is_none()
            {
                return Ok(CallEnd::Interrupted);
            }
            pause = (pause * 2).min(self.driver.options.longest_pause);
        }
    }

    async fn try_once(&mut self, call: &mut Call) -> Result<TryEnd, DriverError> {
        const STOPPED: TryEnd = TryEnd::Over(CallEnd::Interrupted);
        let stop = self.driver.shutdown.clone();
        let dialled = self.driver.agents.at(call.place);
        let mut client = match stop.run_until_cancelled(dialled).await {
            None => return Ok(STOPPED),
            Some(Ok(client)) => client,
            Some(Err(error)) if error.is_final() => {
                return Ok(TryEnd::Over(CallEnd::Failed(error.into())));
            }
            Some(Err(error)) => return Ok(TryEnd::Lost(error.to_string())),
        };
        if call.settle {
            match stop
                .run_until_cancelled(settle(&mut client, &call.request))
                .await
            {
                None => return Ok(STOPPED),
                Some(Err(why)) => return Ok(TryEnd::Lost(why)),
                Some(Ok(())) => call.settle = false,
            }
        }
        let request = call.request.clone();
        let asked = async {
            if call.undo {
                client.undo_step(request).await
            } else {
                client.run_step(request).await
            }
        };
        let silent = call.silent;
        let mut events = match stop.run_until_cancelled(asked).await {
            None => return Ok(STOPPED),
            Some(Ok(answer)) => answer.into_inner(),
            Some(Err(status)) => return Ok(TryEnd::from(refusal(&status))),
        };
        loop {
            let event = match stop.run_until_cancelled(events.message()).await {
                None => return Ok(STOPPED),
                Some(Ok(Some(event))) => event,
                Some(Ok(None)) => {
                    return Ok(TryEnd::Lost(
                        "the agent hung up before the step was over".into(),
                    ));
                }
                Some(Err(status)) => return Ok(TryEnd::from(refusal(&status))),
            };
            call.silent = None;
            match self.hear(call, event).await? {
                None => {}
                Some(CallEnd::Failed(failure)) if is_engine_lost(call, &failure) => {
                    // That the agent said so is no sign of the engine.
                    call.silent = silent;
                    return Ok(TryEnd::Lost(failure.message));
                }
                Some(CallEnd::Failed(failure)) if failure.code == ORIGIN_LOST && !call.undo => {
                    return Ok(TryEnd::Over(CallEnd::GaveUp(self.to_go_on(failure))));
                }
                Some(end) => return Ok(TryEnd::Over(end)),
            }
        }
    }

    async fn hear(
        &mut self,
        call: &mut Call,
        event: StepEvent,
    ) -> Result<Option<CallEnd>, DriverError> {
        match event.kind {
            Some(Kind::Progress(progress)) => {
                self.tell_progress(call.index, call.back, progress).await?;
            }
            Some(Kind::Note(text)) if call.told.get(&event.index) != Some(&text) => {
                call.told.insert(event.index, text.clone());
                self.log(RunEvent::Note {
                    step: call.index,
                    text,
                })
                .await?;
            }
            Some(Kind::Finished(outcome)) => {
                return Ok(Some(check_outcome(outcome, call.undo)));
            }
            Some(Kind::Failed(failure)) => return Ok(Some(CallEnd::Failed(failure))),
            // A kind of event that only a newer agent knows is no reason to stop.
            Some(Kind::Note(_) | Kind::Started(_)) | None => {}
        }
        Ok(None)
    }

    /// With the ways on from here.
    fn to_go_on(&self, failure: Failure) -> Failure {
        let run = self.run();
        let ways = format!(
            "`ferryctl resume {run}` goes on with the run, `ferryctl rollback {run}` takes it back"
        );
        Failure {
            hint: super::forward::join_hints(&failure.hint, &ways),
            details: self.whereabouts(),
            ..failure
        }
    }

    fn gave_up(&self, call: &Call, why: &str) -> Failure {
        let run = self.run();
        Failure {
            code: "connection-lost".into(),
            message: format!(
                "{} was not found again for {} s: {why}",
                match call.place {
                    // The host agent is the engine's neighbour, or in this very process.
                    Place::Host => "the container engine or cluster".to_owned(),
                    place => format!("the {} agent", place.word()),
                },
                self.driver.options.patience.as_secs()
            ),
            hint: format!(
                "when it can be reached, `ferryctl resume {run}` goes on with the run; \
                 `ferryctl rollback {run}` takes it back"
            ),
            details: self.whereabouts(),
        }
    }
}

impl From<Refusal> for TryEnd {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Lost(why) => Self::Lost(why),
            Refusal::Refused(failure) => Self::Over(CallEnd::Failed(failure)),
        }
    }
}

/// Whether a step failed because nobody could be asked. It has its record, and is safe to repeat.
fn is_engine_lost(call: &Call, failure: &Failure) -> bool {
    call.place == Place::Host && failure.is_engine_away()
}

/// An outcome that says nothing of ours must not be taken for success.
fn check_outcome(outcome: Outcome, undo: bool) -> CallEnd {
    let fits = if undo {
        outcome.status() == StepStatus::Undone
    } else {
        outcome.status().is_done()
    };
    if fits {
        return CallEnd::Finished(outcome);
    }
    CallEnd::Failed(Failure {
        code: "agent-protocol".into(),
        message: format!(
            "the agent ended {} with the status `{}`, which is no end of it",
            if undo {
                "taking the step back"
            } else {
                "the step"
            },
            outcome.status().word()
        ),
        hint: "use a ferryctl and a ferryd of the same release".into(),
        details: Vec::new(),
    })
}
