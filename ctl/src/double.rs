//! A double of the agents for the tests: it keeps a ledger as an agent does, so that a step is done
//! once however often it is asked for, and it writes down every effect in order. Connections to it
//! can be cut at any event; its steps go on all the same.

mod tunnel;

use std::{
    collections::{HashMap, HashSet},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use ferry_proto::v1::{
    AgentInfo, AttachStepRequest, CancelStepRequest, CancelStepResponse, Facts, Failure,
    GetFactsRequest, GetInfoRequest, ListStepsRequest, ListStepsResponse, Outcome, Place, Progress,
    RunStepRequest, Started, StepEvent, StepStatus,
    action::Kind as Action,
    agent_service_server::{AgentService, AgentServiceServer},
    step_event::Kind,
    tunnel_service_server::TunnelServiceServer,
};
use futures_util::Stream;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::connect::{AgentClient, Agents, ConnectError, HostAgent, open_channel};

/// What is to happen, and what did.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Everything that was done, once each: `do copy-volume`, `undo copy-volume`.
    pub(crate) effects: Vec<String>,
    /// Every call for a step: `run copy-volume 1`, `undo copy-volume 1`, `cancel copy-volume`.
    pub(crate) asked: Vec<String>,
    /// Which of them came with a key of the operator's: `run capture-baseline`.
    pub(crate) keyed: Vec<String>,
    /// Steps that fail, forward (`false`) or back (`true`).
    pub(crate) fail: HashSet<(String, bool)>,
    /// Steps that fail because the machine that the server comes from is out of reach.
    pub(crate) origin_away: HashSet<String>,
    /// How often a step, forward (`false`) or back (`true`), says that its engine does not answer before it does its work.
    pub(crate) engine_away: HashMap<(String, bool), u32>,
    /// What the proof of a copy fails with, where it does.
    pub(crate) unproven: Option<&'static str>,
    /// The manifests that a copy was to be proven by.
    pub(crate) proven_by: Vec<String>,
    /// Undos that were asked for with a copy that may be damaged.
    pub(crate) accepting: Vec<String>,
    /// Steps that do their work and then never end, until `release`d or cancelled.
    pub(crate) hang: HashSet<String>,
    /// Steps whose outcome has a status that is none.
    pub(crate) babble: HashSet<String>,
    /// Cut all connections instead of sending this event, counted from 0.
    pub(crate) cut_at: Option<usize>,
    /// How many step events were sent.
    pub(crate) sent: usize,
    /// What cannot prove, taken back, that the data is what its copy has.
    pub(crate) uncompared: HashSet<String>,
    /// What was asked to leave the copy where it is.
    pub(crate) keeping: Vec<String>,
    /// How many connections were made.
    pub(crate) dials: usize,
    /// Nobody can be reached.
    pub(crate) down: bool,
    /// What `GetFacts` answers: at the host, and when it walks.
    pub(crate) facts: (Facts, Facts),
    /// `GetFacts` beside the server fails.
    pub(crate) blind: bool,
    /// Of each pull that was asked for, whether it was to bring nothing.
    pub(crate) pulls: Vec<bool>,
    /// What pulls end with that are in no plan.
    pub(crate) no_pull: Option<&'static str>,
    works: HashMap<(String, String, bool), Work>,
}

#[derive(Debug)]
struct Work {
    attempt: u32,
    events: Vec<StepEvent>,
    ended: bool,
}

/// The double. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Double {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    cuts: watch::Sender<u64>,
}

impl Double {
    pub(crate) fn new() -> Self {
        Self {
            state: Arc::default(),
            changed: watch::Sender::new(0),
            cuts: watch::Sender::new(0),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Cuts every connection there is.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|n| *n += 1);
    }

    /// Lets the steps that hang end.
    pub(crate) fn release(&self) {
        let mut state = self.state();
        state.hang.clear();
        for ((_, step, undo), work) in &mut state.works {
            if !work.ended {
                end(work, step, *undo, Ok(StepStatus::Succeeded));
            }
        }
        drop(state);
        self.changed.send_modify(|n| *n += 1);
    }

    /// A new connection, that `cut` cuts.
    pub(crate) fn connect(&self) -> DuplexStream {
        let (ours, mut near) = tokio::io::duplex(64 * 1024);
        let (mut far, theirs) = tokio::io::duplex(64 * 1024);
        let mut cuts = self.cuts.subscribe();
        cuts.mark_unchanged();
        tokio::spawn(async move {
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                _ = cuts.changed() => {}
            }
        });
        let server = tonic::transport::Server::builder()
            .add_service(AgentServiceServer::new(self.clone()))
            .add_service(TunnelServiceServer::new(self.clone()));
        let incoming = tokio_stream::once(Ok::<_, std::io::Error>(theirs));
        tokio::spawn(server.serve_with_incoming(incoming));
        self.state().dials += 1;
        ours
    }

    /// The double as a host agent.
    pub(crate) async fn host(&self) -> HostAgent {
        let double = self.clone();
        let dial = move || std::future::ready(Ok::<_, std::io::Error>(double.connect()));
        HostAgent::over(open_channel("host", dial).await.unwrap())
    }

    /// The double as all agents of a server, without tunnels.
    pub(crate) fn agents(&self) -> DoubleAgents {
        DoubleAgents {
            double: self.clone(),
            clients: Mutex::default(),
        }
    }

    fn ask(&self, request: RunStepRequest, undo: bool) -> Events {
        let asked = request.step.unwrap();
        let (step, kind) = (asked.id, asked.action.and_then(|it| it.kind));
        let key = (request.run, step.clone(), undo);
        let mut state = self.state();
        if request.accept_damaged_copy {
            state.accepting.push(step.clone());
        }
        if request.keep_copy {
            state.keeping.push(step.clone());
        }
        let word = if undo { "undo" } else { "run" };
        state
            .asked
            .push(format!("{word} {step} {}", request.attempt));
        if request.api_key.is_some() {
            state.keyed.push(format!("{word} {step}"));
        }
        let away = state.engine_away.get_mut(&(step.clone(), undo));
        if let Some(times) = away.filter(|times| **times > 0) {
            *times -= 1;
            return Box::pin(tokio_stream::iter(engine_unreachable(&step)));
        }
        let again = state.works.get(&key).is_none_or(|work| {
            let failed = matches!(work.events.last().unwrap().kind, Some(Kind::Failed(_)));
            work.ended && failed && work.attempt < request.attempt
        });
        if again {
            let mut work = Work {
                attempt: request.attempt,
                events: Vec::new(),
                ended: false,
            };
            push(
                &mut work,
                Kind::Started(Started {
                    attempt: request.attempt,
                    undo,
                }),
            );
            work.events.push(StepEvent {
                kind: Some(Kind::Progress(Progress {
                    done: 1,
                    total: 2,
                    ..Progress::default()
                })),
                ..StepEvent::default()
            });
            push(&mut work, Kind::Note(format!("{word} {step}")));
            state
                .effects
                .push(format!("{} {step}", if undo { "undo" } else { "do" }));
            if let Some(Action::ProveCopy(prove)) = &kind {
                state.proven_by.push(prove.digest.clone());
            }
            let pull = match &kind {
                Some(Action::PullData(pull)) => {
                    state.pulls.push(pull.look_only);
                    state.no_pull.filter(|_| step.starts_with("pull-again"))
                }
                _ => None,
            };
            let unproven = state
                .unproven
                .filter(|_| matches!(kind, Some(Action::ProveCopy(_))));
            if let Some(code) = unproven.or(pull) {
                end(&mut work, &step, undo, Err(code));
            } else if !undo && state.origin_away.contains(&step) {
                end(&mut work, &step, undo, Err("origin-lost"));
            } else if state.fail.contains(&(step.clone(), undo)) {
                end(&mut work, &step, undo, Err("broken"));
            } else if state.babble.contains(&step) {
                end(&mut work, &step, undo, Ok(StepStatus::Unknown));
            } else if undo && state.uncompared.contains(&step) {
                let kept = (ferry_proto::KEEP_COPY.to_owned(), "true".to_owned());
                let outcome = Outcome {
                    values: [kept].into(),
                    ..outcome(StepStatus::Undone)
                };
                push(&mut work, Kind::Finished(outcome));
                work.ended = true;
            } else if undo || !state.hang.contains(&step) {
                end(&mut work, &step, undo, Ok(StepStatus::Succeeded));
            }
            state.works.insert(key.clone(), work);
        }
        drop(state);
        self.events(key)
    }

    fn events(&self, key: (String, String, bool)) -> Events {
        let (sender, receiver) = mpsc::channel(1);
        let double = self.clone();
        tokio::spawn(async move {
            let mut changed = double.changed.subscribe();
            let mut next = 0;
            loop {
                let (event, ended) = {
                    let mut state = double.state();
                    let work = &state.works[&key];
                    let (event, ended) = (work.events.get(next).cloned(), work.ended);
                    if event.is_some() {
                        let number = state.sent;
                        state.sent += 1;
                        if state.cut_at == Some(number) {
                            break;
                        }
                    }
                    (event, ended)
                };
                match event {
                    Some(event) => {
                        if sender.send(Ok(event)).await.is_err() {
                            return;
                        }
                        next += 1;
                    }
                    None if ended => return,
                    None => {
                        tokio::select! {
                            _ = changed.changed() => {}
                            () = sender.closed() => return,
                        }
                    }
                }
            }
            // What was sent before is heard: only this event and those after it are lost.
            tokio::time::sleep(Duration::from_millis(5)).await;
            double.cut();
        });
        Box::pin(ReceiverStream::new(receiver))
    }
}

fn push(work: &mut Work, kind: Kind) {
    let index = 1 + work
        .events
        .iter()
        .map(|event| event.index)
        .max()
        .unwrap_or(0);
    work.events.push(StepEvent {
        index,
        time: None,
        kind: Some(kind),
    });
}

fn end(work: &mut Work, step: &str, undo: bool, how: Result<StepStatus, &str>) {
    let kind = match how {
        Ok(StepStatus::Succeeded) if undo => Kind::Finished(outcome(StepStatus::Undone)),
        Ok(StepStatus::Succeeded) if step == "copy-changes" => Kind::Finished(Outcome {
            values: [("manifest".to_owned(), "of the copy".to_owned())].into(),
            ..outcome(StepStatus::Succeeded)
        }),
        Ok(status) => Kind::Finished(outcome(status)),
        Err(code) => Kind::Failed(Failure {
            code: code.into(),
            message: format!("{step} is broken"),
            ..Failure::default()
        }),
    };
    push(work, kind);
    work.ended = true;
}

/// All that a step says whose engine does not answer.
fn engine_unreachable(step: &str) -> Vec<Result<StepEvent, Status>> {
    let mut work = Work {
        attempt: 1,
        events: Vec::new(),
        ended: false,
    };
    push(&mut work, Kind::Started(Started::default()));
    end(&mut work, step, false, Err("engine-unreachable"));
    work.events.into_iter().map(Ok).collect()
}

fn outcome(status: StepStatus) -> Outcome {
    Outcome {
        status: status.into(),
        ..Outcome::default()
    }
}

type Events = Pin<Box<dyn Stream<Item = Result<StepEvent, Status>> + Send>>;

#[tonic::async_trait]
impl AgentService for Double {
    type RunStepStream = Events;
    type UndoStepStream = Events;
    type AttachStepStream = Events;

    async fn get_info(&self, _: Request<GetInfoRequest>) -> Result<Response<AgentInfo>, Status> {
        Ok(Response::new(AgentInfo {
            version: "double".into(),
            ..AgentInfo::default()
        }))
    }

    async fn get_facts(
        &self,
        request: Request<GetFactsRequest>,
    ) -> Result<Response<Facts>, Status> {
        let mut state = self.state();
        let walk = request.get_ref().walk;
        if request.get_ref().api_key.is_some() {
            state.keyed.push(format!("look, walk {walk}"));
        }
        if walk && state.blind {
            return Err(Status::permission_denied("no ptrace here"));
        }
        Ok(Response::new(if walk {
            state.facts.1.clone()
        } else {
            state.facts.0.clone()
        }))
    }

    async fn run_step(&self, request: Request<RunStepRequest>) -> Result<Response<Events>, Status> {
        Ok(Response::new(self.ask(request.into_inner(), false)))
    }

    async fn undo_step(
        &self,
        request: Request<RunStepRequest>,
    ) -> Result<Response<Events>, Status> {
        Ok(Response::new(self.ask(request.into_inner(), true)))
    }

    async fn attach_step(
        &self,
        request: Request<AttachStepRequest>,
    ) -> Result<Response<Events>, Status> {
        let AttachStepRequest {
            run, step, undo, ..
        } = request.into_inner();
        Ok(Response::new(self.events((run, step, undo))))
    }

    async fn cancel_step(
        &self,
        request: Request<CancelStepRequest>,
    ) -> Result<Response<CancelStepResponse>, Status> {
        let CancelStepRequest { run, step } = request.into_inner();
        let mut state = self.state();
        state.asked.push(format!("cancel {step}"));
        let work = state.works.get_mut(&(run, step.clone(), false));
        let running = work.filter(|work| !work.ended);
        let was_running = running.is_some();
        if let Some(work) = running {
            end(work, &step, false, Err("cancelled"));
        }
        drop(state);
        self.changed.send_modify(|n| *n += 1);
        Ok(Response::new(CancelStepResponse { was_running }))
    }

    async fn list_steps(
        &self,
        _: Request<ListStepsRequest>,
    ) -> Result<Response<ListStepsResponse>, Status> {
        Ok(Response::new(ListStepsResponse::default()))
    }
}

/// The double at every place of a server.
#[derive(Debug)]
pub(crate) struct DoubleAgents {
    double: Double,
    clients: Mutex<HashMap<Place, AgentClient>>,
}

#[async_trait::async_trait]
impl Agents for DoubleAgents {
    async fn at(&self, place: Place) -> Result<AgentClient, ConnectError> {
        if self.double.state().down {
            return Err(ConnectError::Unreachable {
                what: place.word().into(),
                why: "nobody is there".into(),
            });
        }
        if let Some(client) = self.clients.lock().unwrap().get(&place) {
            return Ok(client.clone());
        }
        let double = self.double.clone();
        let dial = move || std::future::ready(Ok::<_, std::io::Error>(double.connect()));
        let client = AgentClient::new(open_channel(place.word(), dial).await?);
        self.clients.lock().unwrap().insert(place, client.clone());
        Ok(client)
    }

    async fn forget(&self, place: Place) {
        self.clients.lock().unwrap().remove(&place);
    }
}
