//! What case after case is played on, and the undisturbed run that the cases are measured against.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Event, Journey, Leg, Moment, Observed, RUN, Scene, ServerScene, Victim, turn};
use crate::answers::Answers;
use crate::command::Elsewhere;
use crate::kill::{Call, Ended};
use crate::proxy::EngineProxy;
use crate::server::{Options, TestServer};
use crate::{Error, Result};

/// A scene, and how it was before anything.
#[derive(Debug)]
pub struct Stage<S = ServerScene> {
    /// Where a run takes place.
    pub scene: S,
    /// The scene as it is at the begin and the end of each case.
    pub before: Observed,
    /// Of who answers the tool, where that is counted and may be errors.
    pub(super) answers: Option<Answers>,
    /// What the tool asks in the place of the engine, where that is who answers.
    proxy: Option<EngineProxy>,
}

/// What a run does when nobody dies.
#[derive(Debug)]
pub struct Undisturbed {
    /// The plan's steps.
    pub steps: Vec<String>,
    /// What the journal said of them, there and back.
    pub moments: Vec<Moment>,
    /// The scene after the run.
    pub after: Observed,
}

impl Stage {
    /// A server that gives the plan of the first journey all its steps.
    ///
    /// # Errors
    /// When it cannot be started or is not ready in time.
    pub fn new() -> Result<Self> {
        Self::with(Options::default(), |_| Ok(()))
    }

    /// One with settings of its own, to which something is done before anybody looks.
    ///
    /// # Errors
    /// As [`Stage::new`], and what `prepare` fails with.
    pub fn with(options: Options, prepare: impl FnOnce(&TestServer) -> Result<()>) -> Result<Self> {
        Self::on(ServerScene::new(Journey::InPlace, options, prepare)?)
    }
}

impl<S: Scene> Stage<S> {
    /// Looks at a scene before anything.
    ///
    /// # Errors
    /// When something does not answer.
    pub fn on(scene: S) -> Result<Self> {
        Ok(Self {
            before: scene.observed(None)?,
            scene,
            answers: None,
            proxy: None,
        })
    }

    /// As [`Stage::on`], where whoever the tool asks may answer with errors: the machine's own engine by a proxy, or an API server by itself.
    ///
    /// # Errors
    /// As [`Stage::on`].
    pub(super) fn with_answers(scene: S) -> Result<Self> {
        let stage = Self::on(scene)?;
        let (answers, proxy) = match stage.scene.answers() {
            Some(own) => (own, None),
            None => {
                let proxy = EngineProxy::start()?;
                (proxy.answers.clone(), Some(proxy))
            }
        };
        Ok(Self {
            answers: Some(answers),
            proxy,
            ..stage
        })
    }

    /// While the result lives, what this thread starts asks the proxy, where there is one. What a test itself asks is not counted.
    fn enter(&self) -> Option<Elsewhere> {
        self.proxy.as_ref().map(EngineProxy::enter)
    }

    /// Starts a run.
    ///
    /// # Errors
    /// When the tool cannot be started.
    pub fn begin(&self) -> Result<Call> {
        let _there = self.enter();
        self.scene.begin()
    }

    /// Runs a verb about a run.
    ///
    /// # Errors
    /// When the tool cannot be started or falls silent.
    pub fn run(&self, words: &[&str]) -> Result<Ended> {
        self.start(words)?.end()
    }

    /// Starts a verb about a run.
    ///
    /// # Errors
    /// When the tool cannot be started.
    pub fn start(&self, words: &[&str]) -> Result<Call> {
        let reach = self.scene.reach();
        let reach: Vec<&str> = reach.iter().map(String::as_str).collect();
        let _there = self.enter();
        self.scene.tool().start(&[words, &reach].concat())
    }

    /// A run and its return that nobody disturbs, with an eye on who lives at each moment.
    ///
    /// # Errors
    /// When one of them does not end well.
    pub fn undisturbed(&self) -> Result<Undisturbed> {
        let mut moments = Vec::new();
        let mut call = self.begin()?;
        let run = call.run_name()?;
        let started = Event::OfRun("started");
        let began = call.heard();
        moments.push(self.moment(RUN, Leg::There, started, (began, began), None));
        self.watch(&mut call, Leg::There, &mut moments)?;
        self.expect(&call.end()?, 0)?;
        let steps = self.steps(&run)?;
        let after = self.scene.observed(Some(&run))?;
        if self.scene.goes_back() {
            self.taken_back(&run, Leg::Back, &mut moments)?;
            if let Some(turn) = turn(&steps) {
                let run = self.begin_and_turn(&steps[turn])?;
                self.taken_back(&run, Leg::Early, &mut moments)?;
            }
        } else {
            self.scene.reset()?;
            self.assert_as_before()?;
        }
        Ok(Undisturbed {
            steps,
            moments,
            after,
        })
    }

    /// A rollback that nobody disturbs.
    fn taken_back(&self, run: &str, leg: Leg, moments: &mut Vec<Moment>) -> Result<()> {
        let mut call = self.start(&["rollback", run, "--yes"])?;
        self.watch(&mut call, leg, moments)?;
        self.expect(&call.end()?, 0)?;
        self.assert_as_before()
    }

    /// Begins a run, and ends its controller when it has come to this step. Returns the run's name.
    ///
    /// # Errors
    /// When it does not come there.
    pub(super) fn begin_and_turn(&self, step: &str) -> Result<String> {
        let mut call = self.begin()?;
        let run = call.run_name()?;
        call.wait_for(&format!("the begin of {step}"), |line| {
            line["event"] == "intended" && line["step_id"] == step
        })?;
        drop(call);
        Ok(run)
    }

    /// The steps of the plan that the tool made, in order.
    fn steps(&self, run: &str) -> Result<Vec<String>> {
        let status = self.scene.tool().run(&["status", run])?;
        let steps = status.last("status")["plan_steps"].as_array();
        let ids = steps.into_iter().flatten();
        let steps: Vec<String> = ids
            .filter_map(|step| Some(step["id"].as_str()?.to_owned()))
            .collect();
        if steps.is_empty() {
            return Err(Error::of(format!("no steps: {status:?}")));
        }
        Ok(steps)
    }

    /// Follows a run to its end.
    fn watch(&self, call: &mut Call, leg: Leg, moments: &mut Vec<Moment>) -> Result<()> {
        let mut began = None;
        loop {
            let mut look = Sightings::of(&self.scene, moments.last_mut());
            let is_moment = |line: &Value| event_of(line).is_some();
            let line = call.wait_for_watching("the end of the run", is_moment, || look.look())?;
            let Some(event) = event_of(&line) else {
                return Ok(());
            };
            let step = line["step_id"].as_str().unwrap_or(RUN);
            // Looking at who lives takes longer than many a step.
            let heard = call.heard();
            let began = *began.get_or_insert(heard);
            moments.push(self.moment(step, leg, event, (began, heard), moments.last()));
            if event.word() == "ended" {
                return Ok(());
            }
        }
    }

    /// What is so at a word of the journal, behind the moment `last`.
    fn moment(
        &self,
        step: &str,
        leg: Leg,
        event: Event,
        (began, heard): (Instant, Instant),
        last: Option<&Moment>,
    ) -> Moment {
        let alive = Victim::PASSING
            .into_iter()
            .filter(|it| self.scene.lives(*it));
        // Whoever looks is behind the word. What a step's begin finds for the first time was started by the step; what its end does, before it.
        let was_there = |victim: &Victim| {
            event == Event::Finished || last.is_none_or(|last| last.saw().any(|it| it == *victim))
        };
        let (agents, appeared) = alive.partition(was_there);
        Moment {
            step: step.to_owned(),
            leg,
            event,
            agents,
            appeared,
            at: heard.saturating_duration_since(began),
            requests: self.answers.as_ref().map_or(0, |it| it.requests(heard)),
        }
    }

    /// That a verb ended with this code.
    pub(super) fn expect(&self, ended: &Ended, code: i32) -> Result<()> {
        if ended.code == code {
            return Ok(());
        }
        Err(Error::of(format!(
            "it ended with {}, not {code}: {} {} {}",
            ended.code,
            ended.report(),
            ended.last("error"),
            ended.stderr
        )))
    }

    /// That the scene is what it was before the first case, and nothing of a run is left; then makes it so again for the next case
    /// where a rollback rightly leaves something.
    ///
    /// # Errors
    /// With all that differs.
    pub fn assert_as_before(&self) -> Result<()> {
        self.same(&self.scene.observed(None)?)?;
        self.scene.reset()
    }

    /// As [`Stage::assert_as_before`] where the fault itself ended the server's programs: the engine's daemon killed them, or a full disk
    /// made them end.
    ///
    /// # Errors
    /// With all that differs.
    pub fn assert_as_before_but_killed(&self) -> Result<()> {
        self.same(&self.scene.observed(None)?.forgiving_kills())?;
        self.scene.forget_kills()?;
        self.scene.reset()
    }

    fn same(&self, now: &Observed) -> Result<()> {
        let mut changes = if self.scene.keeps_container() {
            self.before.changes_of_the_same(now)
        } else {
            self.before.changes(now)
        };
        let open = self.scene.tool().run(&["status"])?;
        if (open.code, open.lines.len()) != (0, 0) {
            changes.push(format!("a run is open: {:?}", open.lines));
        }
        told("not as before", &changes)
    }
}

/// An error with the first of many differences.
pub(super) fn told(what: &str, changes: &[String]) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let first = &changes[..changes.len().min(5)];
    Err(Error::of(format!(
        "{what}, in {} ways: {first:?}",
        changes.len()
    )))
}

/// What the line says of a step or of the run, when that is a moment.
fn event_of(line: &Value) -> Option<Event> {
    match line["event"].as_str()? {
        "intended" => Some(Event::Intended),
        "finished" => Some(Event::Finished),
        "note" => Some(Event::Noted),
        word => Event::of_run(word),
    }
}

/// How often it is looked who lives. A look asks the engine, and an agent that is to be seen lives as long as some questions take.
const BETWEEN_LOOKS: Duration = Duration::from_millis(80);

/// Who comes to live between a moment and the next.
struct Sightings<'a, S> {
    scene: &'a S,
    moment: Option<&'a mut Moment>,
    looked: Instant,
}

impl<'a, S: Scene> Sightings<'a, S> {
    fn of(scene: &'a S, moment: Option<&'a mut Moment>) -> Self {
        Self {
            scene,
            moment,
            looked: Instant::now(),
        }
    }

    fn look(&mut self) {
        let Some(moment) = self.moment.as_mut() else {
            return;
        };
        if self.looked.elapsed() < BETWEEN_LOOKS {
            return;
        }
        for victim in self.scene.has() {
            let is_known = moment.saw().any(|it| it == *victim);
            if !is_known && self.scene.lives(*victim) {
                moment.appeared.push(*victim);
            }
        }
        self.looked = Instant::now();
    }
}
