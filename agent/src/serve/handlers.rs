//! The calls of the API. They convert and call; what a call does is elsewhere.

use std::sync::Arc;

use ferry_proto::{
    failure_to_status,
    v1::{
        AgentInfo, AttachStepRequest, CancelStepRequest, CancelStepResponse, Facts,
        GetFactsRequest, GetInfoRequest, ListStepsRequest, ListStepsResponse, RunStepRequest,
        StepEvent, agent_service_server::AgentService,
    },
};
use futures_util::{Stream, StreamExt as _};
use tonic::{Code, Request, Response, Status};

use crate::{
    error::StepError,
    facts,
    ledger::{now_ms, timestamp},
    runner::{Runner, Undo},
};

type Events = std::pin::Pin<Box<dyn Stream<Item = Result<StepEvent, Status>> + Send>>;

/// The agent service over a runner.
#[derive(Debug, Clone)]
pub(super) struct Handlers {
    runner: Arc<Runner>,
    started_ms: u64,
}

impl Handlers {
    pub(super) fn new(runner: Arc<Runner>) -> Self {
        Self {
            runner,
            started_ms: now_ms(),
        }
    }

    async fn start(&self, request: RunStepRequest, undo: bool) -> Result<Response<Events>, Status> {
        let step = request
            .step
            .ok_or_else(|| Status::invalid_argument("the request names no step"))?;
        let undo = undo.then_some(Undo {
            has_outcome: request.has_outcome,
            accept_damaged_copy: request.accept_damaged_copy,
            keep_copy: request.keep_copy,
            data_in_doubt: request.data_in_doubt,
        });
        let stream = self
            .runner
            .start_with(&request.run, &step, request.attempt, undo, request.api_key)
            .await;
        Ok(events(stream.map_err(status)?))
    }
}

#[tonic::async_trait]
impl AgentService for Handlers {
    async fn get_info(
        &self,
        _request: Request<GetInfoRequest>,
    ) -> Result<Response<AgentInfo>, Status> {
        let surroundings = self.runner.surroundings();
        Ok(Response::new(AgentInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            place: surroundings.place().into(),
            capabilities: surroundings.capabilities(),
            started: Some(timestamp(self.started_ms)),
            uid: users::get_effective_uid(),
        }))
    }

    async fn get_facts(
        &self,
        request: Request<GetFactsRequest>,
    ) -> Result<Response<Facts>, Status> {
        let mut request = request.into_inner();
        let (around, policy) = (self.runner.surroundings(), self.runner.policy());
        policy
            .bound_facts(around, &mut request)
            .await
            .map_err(status)?;
        let mut facts = facts::observe(around, &request).await.map_err(status)?;
        policy.retain_backups(&mut facts.backups);
        Ok(Response::new(facts))
    }

    type RunStepStream = Events;
    async fn run_step(&self, request: Request<RunStepRequest>) -> Result<Response<Events>, Status> {
        self.start(request.into_inner(), false).await
    }

    type UndoStepStream = Events;
    async fn undo_step(
        &self,
        request: Request<RunStepRequest>,
    ) -> Result<Response<Events>, Status> {
        self.start(request.into_inner(), true).await
    }

    type AttachStepStream = Events;
    async fn attach_step(
        &self,
        request: Request<AttachStepRequest>,
    ) -> Result<Response<Events>, Status> {
        let request = request.into_inner();
        let stream = self
            .runner
            .attach(&request.run, &request.step, request.from);
        Ok(events(stream.map_err(status)?))
    }

    async fn cancel_step(
        &self,
        request: Request<CancelStepRequest>,
    ) -> Result<Response<CancelStepResponse>, Status> {
        let request = request.into_inner();
        let was_running = self.runner.cancel(&request.run, &request.step);
        Ok(Response::new(CancelStepResponse { was_running }))
    }

    async fn list_steps(
        &self,
        request: Request<ListStepsRequest>,
    ) -> Result<Response<ListStepsResponse>, Status> {
        let entries = self
            .runner
            .list(&request.into_inner().run)
            .map_err(status)?;
        Ok(Response::new(ListStepsResponse { entries }))
    }
}

fn events(stream: crate::runner::EventStream) -> Response<Events> {
    Response::new(Box::pin(stream.map(Ok)))
}

/// The one mapping of our errors to gRPC's codes.
pub(super) fn status(error: StepError) -> Status {
    let code = match error.code() {
        "bad-name" | "unknown-step" | "bad-parameter" => Code::InvalidArgument,
        "no-such-container" | "no-such-image" | "no-such-volume" | "step-not-running" => {
            Code::NotFound
        }
        "wrong-place" | "step-being-undone" | "step-busy" | "server-locked" => {
            Code::FailedPrecondition
        }
        "policy-denied" => Code::PermissionDenied,
        "cancelled" => Code::Cancelled,
        "ledger-damaged" | "ledger-format" => Code::DataLoss,
        _ => Code::Internal,
    };
    failure_to_status(code, &error.into())
}
