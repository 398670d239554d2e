//! Before a step of which nobody knows whether it still runs is taken back, it is asked to stop:
//! doing and undoing at the same time is neither.

use ferry_proto::v1::{
    AttachStepRequest, CancelStepRequest, RunStepRequest, StepEvent, step_event::Kind,
};
use tonic::{Status, Streaming};

use super::{AgentClient, Refusal, refusal};

/// Asks a step that may still run to stop, and waits until it has. `Err`: the connection was lost.
pub(crate) async fn settle(
    client: &mut AgentClient,
    request: &RunStepRequest,
) -> Result<(), String> {
    let run = request.run.clone();
    let step = request
        .step
        .as_ref()
        .map(|step| step.id.clone())
        .unwrap_or_default();
    let cancel = CancelStepRequest {
        run: run.clone(),
        step: step.clone(),
    };
    let running = match client.cancel_step(cancel).await {
        Ok(answer) => answer.into_inner().was_running,
        Err(status) => return lost_only(&status),
    };
    if !running {
        return Ok(());
    }
    let attach = AttachStepRequest {
        run,
        step,
        from: 0,
        undo: false,
    };
    match client.attach_step(attach).await {
        Ok(answer) => wait_for_end(answer.into_inner()).await,
        Err(status) => lost_only(&status),
    }
}

async fn wait_for_end(mut events: Streaming<StepEvent>) -> Result<(), String> {
    loop {
        match events.message().await {
            Ok(
                Some(StepEvent {
                    kind: Some(Kind::Finished(_) | Kind::Failed(_)),
                    ..
                })
                | None,
            ) => {
                return Ok(());
            }
            Ok(Some(_)) => {}
            Err(status) => return lost_only(&status),
        }
    }
}

/// An agent that does not know the step, or does not let it be stopped, decides for itself what
/// undoing it means.
fn lost_only(status: &Status) -> Result<(), String> {
    match refusal(status) {
        Refusal::Lost(why) => Err(why),
        Refusal::Refused(_) => Ok(()),
    }
}
