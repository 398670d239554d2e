//! Has the other machine's agent stop the server's programs for the last pull, and start them again where that comes to nothing.
//!
//! They are the crossing's own steps, asked for by their own kinds: the baseline is captured, the programs are stopped in order with their
//! own grace. Taken back from the last to the first they start again, and the baseline is found again. What was asked for is noted
//! here before it is asked for, so that whoever is killed in between can be followed by another who goes on, or back.

use std::io;

use ferry_proto::{
    failure_from_status,
    v1::{
        Action, CaptureBaseline, Failure, Outcome, Place, RunStepRequest, Step, StopServices,
        action::Kind, agent_service_client::AgentServiceClient, step_event::Kind as Event,
    },
};
use serde::{Deserialize, Serialize};
use tonic::transport::Channel;

use super::{AGAIN, TRIES, remote::LOST};
use crate::{error::StepError, state_dir::StateDir};

/// The note, in the state folder.
const NOTE: &str = "stop.json";

/// What was asked for, and how often.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Note {
    run: String,
    /// A new number is a new try; the same one is answered by what came of it.
    attempt: u32,
    /// The stop itself was asked for: programs may be down.
    stopping: bool,
}

/// The programs of the old server, in the hands of its agent.
pub(super) struct Programs {
    client: AgentServiceClient<Channel>,
    state: StateDir,
    note: Option<Note>,
}

impl Programs {
    pub(super) fn of(channel: Channel, state: StateDir) -> Result<Self, StepError> {
        let note = match state.read(NOTE)? {
            None => None,
            Some(bytes) => Some(serde_json::from_slice(&bytes).map_err(io::Error::from)?),
        };
        Ok(Self {
            client: AgentServiceClient::new(channel),
            state,
            note,
        })
    }

    /// The stop was asked for, now or by a call that was killed: programs may be down.
    pub(super) fn may_be_down(&self) -> bool {
        self.note.as_ref().is_some_and(|note| note.stopping)
    }

    /// Captures the baseline, then stops the programs.
    pub(super) async fn stop(&mut self) -> Result<(), StepError> {
        let baseline = Kind::CaptureBaseline(CaptureBaseline {});
        if let Err(failure) = self.perform(baseline, false, false).await {
            // A refusal that was not there when they were stopped says nothing of them.
            if !self.may_be_down() {
                self.forget()?;
            }
            return Err(told(failure));
        }
        let before = self.may_be_down();
        let stop = Kind::StopServices(StopServices::default());
        if let Err(failure) = self.perform(stop, false, true).await {
            if !before && is_refusal(&failure) {
                self.forget()?;
            }
            return Err(told(failure));
        }
        Ok(())
    }

    /// Starts them again, and finds the baseline again.
    pub(super) async fn start_again(&mut self) -> Result<String, StepError> {
        let mut said = Vec::new();
        for kind in [
            Kind::StopServices(StopServices::default()),
            Kind::CaptureBaseline(CaptureBaseline {}),
        ] {
            let outcome = self.perform(kind, true, true).await.map_err(told)?;
            said.push(outcome.summary);
        }
        self.forget()?;
        Ok(said.join("; "))
    }

    fn forget(&mut self) -> Result<(), StepError> {
        self.state.remove(NOTE)?;
        self.note = None;
        Ok(())
    }

    async fn perform(
        &mut self,
        kind: Kind,
        undo: bool,
        stopping: bool,
    ) -> Result<Outcome, Failure> {
        let note = self.noted(stopping).map_err(Failure::from)?;
        let action = Action { kind: Some(kind) };
        let name = action.kind_name();
        let request = RunStepRequest {
            run: note.run,
            step: Some(Step {
                id: name.to_owned(),
                place: Place::Container.into(),
                action: Some(action),
                ..Step::default()
            }),
            attempt: note.attempt,
            ..RunStepRequest::default()
        };
        let mut tries = 1;
        loop {
            let word = if undo { "taking back" } else { "asking for" };
            tracing::info!("{word} `{name}` on the other machine");
            match self.ask(request.clone(), undo).await {
                Ok(outcome) => {
                    for warning in &outcome.warnings {
                        tracing::warn!("{warning}");
                    }
                    return Ok(outcome);
                }
                Err(failure) if failure.code == LOST && tries < TRIES => {
                    tracing::warn!("{failure}; trying again");
                    tries += 1;
                    tokio::time::sleep(AGAIN).await;
                }
                Err(failure) => {
                    let message = format!("`{name}` on the other machine: {failure}");
                    return Err(Failure { message, ..failure });
                }
            }
        }
    }

    /// Notes one more try, on disk before it is made.
    fn noted(&mut self, stopping: bool) -> Result<Note, StepError> {
        let mut note = self.note.clone().unwrap_or_else(|| Note {
            run: format!("move-{:08x}", rand::random::<u32>()),
            attempt: 0,
            stopping: false,
        });
        note.stopping |= stopping;
        note.attempt = note.attempt.saturating_add(1);
        let json = serde_json::to_vec(&note).map_err(io::Error::from)?;
        self.state.replace(NOTE, &json)?;
        self.note = Some(note.clone());
        Ok(note)
    }

    async fn ask(&mut self, request: RunStepRequest, undo: bool) -> Result<Outcome, Failure> {
        let lost = |status: tonic::Status| failure_from_status(&status);
        let answer = match undo {
            false => self.client.run_step(request).await,
            true => self.client.undo_step(request).await,
        };
        let mut events = answer.map_err(lost)?.into_inner();
        while let Some(event) = events.message().await.map_err(lost)? {
            match event.kind {
                Some(Event::Finished(outcome)) => return Ok(outcome),
                Some(Event::Failed(failure)) => return Err(failure),
                Some(Event::Note(note)) => tracing::info!("{note}"),
                _ => {}
            }
        }
        Err(Failure {
            code: LOST.to_owned(),
            message: "the connection was lost before the step had ended".to_owned(),
            ..Failure::default()
        })
    }
}

/// The agent there did not even begin.
fn is_refusal(failure: &Failure) -> bool {
    matches!(failure.code.as_str(), "not-allowed" | "policy-denied")
}

fn told(failure: Failure) -> StepError {
    let hint = if is_refusal(&failure) {
        "in the policy there `operators` must name this machine too, and `steps` both kinds (docs/appliance.md)".to_owned()
    } else {
        failure.hint
    };
    let said = format!("{} ({})", failure.message, failure.code);
    StepError::new("pull-step", said)
        .details(failure.details)
        .hint(hint)
}
