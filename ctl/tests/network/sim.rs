//! A controller and three agents on a simulated network: the real driver, journal, channels, services,
//! runner and ledgers. Only the work of the steps is a double, and time is the simulation's.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use ferry_agent::{
    context::Context,
    error::StepError,
    ledger::Ledger,
    policy::Role,
    runner::{Runner, Works},
    serve::Connection,
    steps::Work,
    surroundings::{Surroundings, Volume},
};
use ferry_ctl::{
    connect::{AgentClient, Agents, ConnectError, open_channel},
    run::{
        driver::{Driver, Options, RunResult},
        events::RunEvent,
        journal::Journal,
    },
};
use ferry_proto::v1::{
    Action, LedgerEntry, Outcome, Place, Plan, RunStepRequest, Step, StepStatus, TransferOwnership,
    action::Kind,
};
use tokio_util::sync::CancellationToken;

/// The controller's host on the network; the agents' are called like their places.
pub(crate) const CONTROLLER: &str = "controller";
const PORT: u16 = 7_000;
const SERVER: &str = "docker:engine/pmm";

/// What was done, in order: `do a`, `undo a`.
pub(crate) type Effects = Arc<Mutex<Vec<String>>>;

/// A step that takes a while, and says so: called at its beginning, in its midst and at its end.
type Hook = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// Hears of an event of the driver, with its number.
type OnEvent = Box<dyn Fn(usize, &RunEvent) + Send>;

struct Double {
    effects: Effects,
    hook: Hook,
    fails: bool,
}

impl Double {
    async fn work(&self, cx: &Context, word: &str) -> Result<(), StepError> {
        self.effects
            .lock()
            .unwrap()
            .push(format!("{word} {}", cx.step));
        for part in ["begin", "middle", "end"] {
            cx.note(format!("{word} {}: {part}", cx.step));
            cx.progress(1, 3, "parts", part);
            (self.hook)(&cx.step, &format!("{word} {part}"));
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(400)) => {}
                () = cx.cancel.token.cancelled() => return Err(StepError::cancelled()),
            }
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl Work for Double {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        self.work(cx, "do").await?;
        if self.fails {
            return Err(StepError::new("broken", "the step is broken"));
        }
        Ok(Outcome {
            status: StepStatus::Succeeded.into(),
            summary: format!("{} is done", cx.step),
            ..Outcome::default()
        })
    }

    async fn verify(&self, _: &Context) -> Result<(), StepError> {
        Ok(())
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        self.work(cx, "undo").await?;
        Ok(Outcome::default())
    }
}

/// The agents as the driver reaches them: over the network, by the names of their places.
#[derive(Default)]
struct Network(Mutex<HashMap<Place, AgentClient>>);

pub(crate) async fn dial(place: Place) -> Result<AgentClient, ConnectError> {
    let name = place.word();
    let channel =
        open_channel(name, move || turmoil::net::TcpStream::connect((name, PORT))).await?;
    Ok(AgentClient::new(channel))
}

#[async_trait::async_trait]
impl Agents for Network {
    async fn at(&self, place: Place) -> Result<AgentClient, ConnectError> {
        if let Some(client) = self.0.lock().unwrap().get(&place) {
            return Ok(client.clone());
        }
        let client = dial(place).await?;
        self.0.lock().unwrap().insert(place, client.clone());
        Ok(client)
    }

    async fn forget(&self, place: Place) {
        self.0.lock().unwrap().remove(&place);
    }
}

pub(crate) const PLACES: [Place; 3] = [Place::Host, Place::Container, Place::Volume];

pub(crate) fn plan() -> Plan {
    let step = |id: &str, place: Place| Step {
        id: id.into(),
        place: place.into(),
        title: id.into(),
        action: Some(Action {
            kind: Some(Kind::TransferOwnership(TransferOwnership::default())),
        }),
        downtime: place == Place::Volume,
        ..Step::default()
    };
    ferry_proto::seal(Plan {
        steps: vec![
            step("a", Place::Host),
            step("b", Place::Container),
            step("c", Place::Volume),
            step("d", Place::Volume),
            step("e", Place::Container),
        ],
        server: "docker:pmm".into(),
        ..Plan::default()
    })
    .unwrap()
}

/// What is done to the network, and when.
pub(crate) struct Weather {
    pub(crate) seed: u64,
    /// Hears of every event of the driver, by its number from 0, within the simulation.
    pub(crate) on_event: OnEvent,
    /// Hears of every part of a step's work: the step, and `do begin`, `undo end`, …
    pub(crate) on_work: Hook,
    /// A step that fails.
    pub(crate) fails: Option<&'static str>,
    pub(crate) latency: Duration,
    /// Another client asks for everything too.
    pub(crate) rival: bool,
}

impl Default for Weather {
    fn default() -> Self {
        Self {
            seed: 1,
            on_event: Box::new(|_, _| {}),
            on_work: Arc::new(|_, _| {}),
            fails: None,
            latency: Duration::from_millis(100),
            rival: false,
        }
    }
}

/// How a run ended.
pub(crate) struct End {
    pub(crate) result: RunResult,
    pub(crate) effects: Vec<String>,
    pub(crate) events: Vec<RunEvent>,
    pub(crate) ledgers: Vec<LedgerEntry>,
    /// On the simulation's clock.
    pub(crate) took: Duration,
}

/// Drives the plan in this weather; `again` drives it once more on a calm network when it was held.
pub(crate) fn drive(weather: Weather, again: bool) -> End {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    };
    let effects = Effects::default();
    let mut sim = turmoil::Builder::new()
        .simulation_duration(Duration::from_secs(3600))
        .tick_duration(Duration::from_millis(20))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(weather.latency)
        .rng_seed(weather.seed)
        .build();
    for place in PLACES {
        let data = folder.path().join(place.word());
        std::fs::create_dir(&data).unwrap();
        let (effects, hook, fails) = (effects.clone(), weather.on_work.clone(), weather.fails);
        sim.host(place.word(), move || {
            let (data, effects, hook) = (data.clone(), effects.clone(), hook.clone());
            async move {
                let works = Works::new(move |step| {
                    Ok(Box::new(Double {
                        effects: effects.clone(),
                        hook: hook.clone(),
                        fails: fails == Some(&*step.id),
                    }))
                });
                let volume = Volume {
                    data: data.clone(),
                    live: None,
                    backup: data.clone(),
                };
                let around = Arc::new(Surroundings::Volume(volume));
                let runner = Runner::performing(around, Ledger::at(data, ".ferry"), works);
                let listener = turmoil::net::TcpListener::bind(("0.0.0.0", PORT)).await?;
                let connections = futures_util::stream::unfold(listener, |listener| async move {
                    let taken = listener.accept().await;
                    let taken = taken.map(|(stream, _)| Connection::new(stream, Role::Operator));
                    Some((taken, listener))
                });
                ferry_agent::serve::serve(runner, Box::pin(connections), std::future::pending())
                    .await?;
                Ok(())
            }
        });
    }

    let journal = Journal::open(&folder.path().join("state")).unwrap();
    let run = journal.create_run(&plan(), SERVER).unwrap();
    let result = Arc::new(Mutex::new(None));
    let (to, name, stored) = (result.clone(), run.clone(), journal.clone());
    let (on_event, rival) = (weather.on_event, weather.rival);
    sim.client(CONTROLLER, async move {
        let begun = tokio::time::Instant::now();
        let mut number = 0;
        let report = move |_: &Plan, event: &RunEvent| {
            if matches!(event, RunEvent::Progress { .. }) {
                return;
            }
            if rival
                && let RunEvent::Intended {
                    step,
                    attempt,
                    undo,
                } = event
            {
                tokio::spawn(ask_too(*step, *attempt, *undo));
            }
            on_event(number, event);
            number += 1;
        };
        let stop = CancellationToken::new();
        let mut driver = Driver::new(
            stored,
            Network::default(),
            Options::default(),
            stop,
            Box::new(report),
        );
        let first = driver.apply(&name).await?;
        let took = begun.elapsed();
        let held = !first.state.is_over();
        *to.lock().unwrap() = Some((first, took));
        if held && again {
            for place in PLACES {
                turmoil::repair(CONTROLLER, place.word());
            }
            let second = driver.apply(&name).await?;
            *to.lock().unwrap() = Some((second, begun.elapsed()));
        }
        Ok(())
    });
    sim.run().unwrap();
    let (result, took) = result.lock().unwrap().take().unwrap();
    let ledgers = PLACES.map(|place| {
        let ledger = Ledger::at(folder.path().join(place.word()), ".ferry");
        ledger.entries(&run).unwrap()
    });
    let events = journal.events(&run, 1).unwrap();
    assert_eq!(journal.record(&run).unwrap(), result.record);
    let effects = effects.lock().unwrap().clone();
    End {
        result,
        effects,
        events: events.into_iter().map(|entry| entry.event).collect(),
        ledgers: ledgers.concat(),
        took,
    }
}

/// Asks for a step that the driver asks for, on connections of its own, twice at once.
async fn ask_too(step: usize, attempt: u32, undo: bool) {
    let plan = plan();
    let step = plan.steps[step].clone();
    let place = step.place();
    let request = RunStepRequest {
        run: plan.id.clone(),
        step: Some(step),
        attempt,
        has_outcome: undo,
        ..RunStepRequest::default()
    };
    let ask = || async {
        let Ok(mut client) = dial(place).await else {
            return;
        };
        let answer = if undo {
            client.undo_step(request.clone()).await
        } else {
            client.run_step(request.clone()).await
        };
        if let Ok(answer) = answer {
            let mut events = answer.into_inner();
            while let Ok(Some(_)) = events.message().await {}
        }
    };
    tokio::join!(ask(), ask());
}
