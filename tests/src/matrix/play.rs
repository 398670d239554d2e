//! One case, from the begin of a run to the proof that the server is as it should be.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::sealed::{Fails, Sealed};
use super::stage::told;
use super::{AWAY, Case, Event, Leg, Observed, RUN, Scene, Stage, Undisturbed, Victim, Way, turn};
use crate::answers::{Answer, Rule};
use crate::engine::{Containers, PrivateEngine};
use crate::kill::{Call, Ended};
use crate::{Error, Result};

/// How often a held run is gone on with. Once must do; the second time tells a run that is stuck from one that was unlucky twice.
const MOST_RESUMES: usize = 2;

/// How many milliseconds a request waits whose answer may be an error: no tool is quicker with it than the case with its rule.
const BEFORE_REQUEST: u64 = 20;

/// What the blow came to for the controller.
enum Struck {
    /// It is dead.
    Dead,
    /// It lives, and the run goes on.
    Alive(Call),
}

/// How a case went that is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// Whom the blow hit.
    pub blow: Blow,
    /// How often the run was held and had to be gone on with by somebody.
    pub holds: usize,
    /// Whether the run was taken back by itself, where it was to be gone on with.
    pub gave_up: bool,
}

impl fmt::Display for Course {
    /// What of it is worth a word.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.blow == Blow::Missed {
            f.write_str(", but its victim was gone by then")?;
        }
        if self.holds > 0 {
            f.write_str(", held on the way")?;
        }
        if self.gave_up {
            f.write_str(", taken back by itself")?;
        }
        Ok(())
    }
}

/// Whom the blow hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// Its victim.
    Hit,
    /// Nobody: a quick machine was past the moment at which the undisturbed run saw the victim.
    Missed,
}

/// Plays a case, and says how it went. Afterwards the server is as before, whatever the case was.
///
/// # Errors
/// With what was not as it should be.
pub fn play<S: Scene>(
    stage: &Stage<S>,
    engine: Option<&PrivateEngine>,
    undisturbed: &Undisturbed,
    case: &Case,
) -> Result<Course> {
    let fails = |run: &str| Fails::prepare(&stage.scene, run, case);
    if let (true, Some(answers)) = (case.is_refused(), &stage.answers) {
        answers.wait(BEFORE_REQUEST);
    }
    let (call, run, fails) = match case.leg {
        Leg::There => {
            let mut call = stage.begin()?;
            let run = call.run_name()?;
            // The first step may be asked for at once.
            call.signal(Signal::STOP)?;
            let fails = fails(&run)?;
            call.signal(Signal::CONT)?;
            (call, run, fails)
        }
        Leg::Back | Leg::Early => {
            let run = begun(stage, undisturbed, case.leg)?;
            let fails = fails(&run)?;
            (stage.start(&["rollback", &run, "--yes"])?, run, fails)
        }
    };
    let played = Played {
        stage,
        engine,
        undisturbed,
        case,
        run,
        failed: Cell::new(false),
        holds: Cell::new(0),
        gave_up: Cell::new(false),
        was_taken_back: Cell::new(false),
    };
    let (struck, blow) = played.strike(call, fails)?;
    if case.leg.undoes() {
        played.back(struck)?;
    } else {
        played.forward(struck)?;
    }
    if blow == Blow::Hit {
        played.was_asked_again()?;
    }
    Ok(Course {
        blow,
        holds: played.holds.get(),
        gave_up: played.gave_up.get(),
    })
}

/// A run that is over, or cut off at its turn, to be taken back.
fn begun<S: Scene>(stage: &Stage<S>, undisturbed: &Undisturbed, leg: Leg) -> Result<String> {
    if leg == Leg::Early {
        let turn = turn(&undisturbed.steps)
            .ok_or_else(|| Error::of("no run of this plan is taken back early".to_owned()))?;
        return stage.begin_and_turn(&undisturbed.steps[turn]);
    }
    let mut call = stage.begin()?;
    let run = call.run_name()?;
    stage.expect(&call.end()?, 0)?;
    Ok(run)
}

struct Played<'a, S> {
    stage: &'a Stage<S>,
    engine: Option<&'a PrivateEngine>,
    undisturbed: &'a Undisturbed,
    case: &'a Case,
    run: String,
    /// The step was made to fail.
    failed: Cell<bool>,
    holds: Cell<usize>,
    gave_up: Cell<bool>,
    /// By itself, for an answer.
    was_taken_back: Cell<bool>,
}

impl<S: Scene> Played<'_, S> {
    fn is_of_step(&self, line: &Value) -> bool {
        line["step_id"] == self.case.step && line["undo"] == self.case.leg.undoes()
    }

    /// The step is over, or the run is.
    fn is_past(&self, line: &Value) -> bool {
        let word = line["event"].as_str().unwrap_or_default();
        let is_end = ["failed", "finished"].contains(&word);
        self.is_of_step(line) && is_end || word == "ended"
    }

    /// Waits until the step has been made to fail, and gives what makes it; `None` where the run went on without.
    fn fails(&self, call: &mut Call, mut fails: Fails) -> Result<Option<Sealed>> {
        let name = self.case.to_string();
        let is = |line: &Value, word: &str| self.is_of_step(line) && line["event"] == word;
        let is_over = |line: &Value| line["event"] == "ended";
        let made = || self.stage.scene.made_ledgers(&self.run);
        // Its step or another makes the volume, with an agent on it that asks for a ledger when it is there.
        let is_begun = |line: &Value| is(line, "intended") || is_over(line);
        let mut begun = None;
        if self.stage.scene.makes_ledgers() && made()?.is_none() {
            begun = call.wait_for_or(&name, is_begun, || matches!(made(), Ok(Some(_))))?;
        }
        if let Some(folder) = made()? {
            fails.add(&folder, &self.case.step)?;
        }
        let sealed = match fails {
            Fails::Not => return Ok(None),
            Fails::Sealed(sealed) => Some(sealed),
            Fails::Unsealed(unsealed) => {
                let line = match begun.take() {
                    Some(line) => line,
                    None => call.wait_for(&name, is_begun)?,
                };
                match is_over(&line) {
                    true => None,
                    false => unsealed.seal_when_begun()?,
                }
            }
        };
        if begun.is_some_and(|line| is_over(&line)) {
            return Ok(None);
        }
        let Some(sealed) = sealed else {
            return Ok(None);
        };
        let line = call.wait_for(&name, |line| {
            is(line, "failed") || is(line, "finished") || is_over(line)
        })?;
        Ok(is(&line, "failed").then_some(sealed))
    }

    /// Waits for the moment; `false` where the run is over without it.
    fn comes(&self, call: &mut Call) -> Result<bool> {
        let of_step = |line: &Value| self.is_of_step(line);
        let is_over = |line: &Value| line["event"] == "ended";
        let (name, of_run) = (self.case.to_string(), self.case.step == RUN);
        let word = match self.case.event {
            // Its start was waited for to learn the run's name.
            Event::OfRun("started") => return Ok(true),
            // It does not say of which way it is.
            Event::Noted => {
                let is_noted =
                    |line: &Value| line["event"] == "note" && line["step_id"] == self.case.step;
                let line = call.wait_for(&name, |line| is_noted(line) || is_over(line))?;
                return Ok(is_noted(&line));
            }
            Event::Reconnecting => "intended",
            event => event.word(),
        };
        call.wait_for(&name, |line| {
            line["event"] == word && (of_run || of_step(line))
        })?;
        match self.case.event {
            Event::Request(number) => return self.refuse(call, number),
            Event::Within(milliseconds) => std::thread::sleep(Duration::from_millis(milliseconds)),
            Event::Appeared => {
                let is_past = |line: &Value| self.is_past(line);
                let lives = || self.stage.scene.lives(self.case.victim);
                return Ok(call.wait_for_or(&name, is_past, lives)?.is_none());
            }
            // Whoever is asked next is looked for, by this step or by one behind it.
            Event::Reconnecting => {
                for agent in self.agents() {
                    let _may_be_gone = self.stage.scene.kill(agent);
                }
                let lost = |line: &Value| line["event"] == "reconnecting";
                let line = call.wait_for(&name, |line| lost(line) || is_over(line))?;
                return Ok(lost(&line));
            }
            _ => {}
        }
        Ok(true)
    }

    /// Waits until a successor's journal says something of the step; `false` where the run is over without.
    fn comes_again(&self, call: &mut Call) -> Result<bool> {
        let is_over = |line: &Value| line["event"] == "ended" || line["kind"] == "error";
        let name = self.case.to_string();
        let line = call.wait_for(&name, |line| self.is_of_step(line) || is_over(line))?;
        Ok(!is_over(&line))
    }

    /// Lets a request of the step be answered with an error, and says whether it was. Behind the step all is well again.
    fn refuse(&self, call: &mut Call, number: usize) -> Result<bool> {
        let answers = self.stage.answers.as_ref();
        let answers = answers.ok_or_else(|| Error::of("nobody's answers are errors".to_owned()))?;
        let before = answers.hits();
        let rule = Rule::on(&["HTTP/"], Answer::Error);
        answers.add(rule.after(number).times(1));
        let ended = call.wait_for(&self.case.to_string(), |line| self.is_past(line));
        answers.heal();
        ended?;
        Ok(answers.hits() > before)
    }

    /// That no run was held or taken back because a question was answered with an error once: it is asked again. A question that becomes a stream is
    /// not, nor is the first, by which an engine is found.
    fn was_asked_again(&self) -> Result<()> {
        const OTHERS: [&str; 4] = ["/exec", "/attach", "/events", "/version"];
        let Some(answers) = self
            .stage
            .answers
            .as_ref()
            .filter(|_| self.case.is_refused())
        else {
            return Ok(());
        };
        let line = answers.last();
        let is_other = OTHERS.iter().any(|it| line.contains(it));
        let is_question = line.starts_with("GET ") && !is_other;
        if is_question && (self.was_taken_back.get() || self.holds.get() > 0) {
            return Err(Error::of(format!("it did not ask again: {line}")));
        }
        Ok(())
    }

    /// Those that an undisturbed run had when the step was intended.
    fn agents(&self) -> impl Iterator<Item = Victim> {
        let case = self.case;
        let moments = self.undisturbed.moments.iter();
        let found = moments
            .filter(|it| it.step == case.step && it.leg == case.leg && it.event == Event::Intended);
        found
            .flat_map(|it| it.agents.iter().copied())
            .filter(|it| Victim::AGENTS.contains(it))
    }

    /// Waits for the moment, and kills.
    fn strike(&self, mut call: Call, fails: Fails) -> Result<(Struck, Blow)> {
        let mut blow = Blow::Hit;
        if self.case.event.fails() {
            let Some(sealed) = self.fails(&mut call, fails)? else {
                return Ok((Struck::Alive(call), Blow::Missed));
            };
            self.failed.set(true);
            // It fails once, and what comes of that finds a disk that can be written to.
            call.signal(Signal::STOP)?;
            drop(sealed);
            if self.case.victim != Victim::Controller {
                call.signal(Signal::CONT)?;
            }
        } else if !self.comes(&mut call)? {
            return Ok((Struck::Alive(call), Blow::Missed));
        }
        if self.case.event == Event::Again {
            // Dropped, it is killed: only then can there be another.
            drop(call);
            call = self.stage.start(&["resume", &self.run])?;
            if !self.comes_again(&mut call)? {
                return Ok((Struck::Alive(call), Blow::Missed));
            }
        }
        match self.case.victim {
            Victim::Controller | Victim::Answer => {}
            victim @ (Victim::Sidecar
            | Victim::VolumeAgent
            | Victim::SecondAgent
            | Victim::ClientAgent
            | Victim::ApplianceAgent) => {
                // A step that was made to fail was hit, whoever has gone since.
                if self.stage.scene.kill(victim).is_err() && !self.failed.get() {
                    blow = Blow::Missed;
                }
            }
            Victim::ApiServer => self.stage.scene.kill(Victim::ApiServer)?,
            victim @ (Victim::Engine(_) | Victim::Machine) => {
                let engine = self
                    .engine
                    .ok_or_else(|| Error::of("a private engine is needed".to_owned()))?;
                let containers = match victim {
                    Victim::Engine(containers) => containers,
                    _ => Containers::Die,
                };
                engine.kill()?;
                // Its controller is left without an engine for a while, or dies together with it.
                if victim == Victim::Machine || self.case.way == Way::Rollback {
                    drop(call);
                    engine.revive(containers)?;
                    self.rests(containers)?;
                    return Ok((Struck::Dead, blow));
                }
                std::thread::sleep(AWAY);
                engine.revive(containers)?;
            }
        }
        if self.case.victim == Victim::Controller || self.case.way == Way::Rollback {
            // It may be over by itself at the last of its words.
            drop(call);
            return Ok((Struck::Dead, blow));
        }
        Ok((Struck::Alive(call), blow))
    }

    /// An engine that comes back starts containers again that it had. Nobody goes on with the run yet, and what was fenced runs nothing.
    fn rests(&self, containers: Containers) -> Result<()> {
        match containers {
            Containers::Die => self.stage.scene.assert_fenced_rest(&self.run),
            Containers::Live => Ok(()),
        }
    }

    fn forward(&self, struck: Struck) -> Result<()> {
        if self.case.way == Way::Rollback {
            // Where the blow found nobody it may live, and nobody else could drive the run.
            drop(struck);
            return self.rolled_back();
        }
        // Who is told to go on tries the step again that has failed.
        let must_go_back = self.failed.get() && matches!(struck, Struck::Alive(_));
        let ended = match struck {
            Struck::Alive(call) => call.end()?,
            Struck::Dead => self.resume()?,
        };
        let ended = self.unheld(ended)?;
        let rolled_back = ended.report()["state"] == "rolled-back";
        let failed = self.failed.get();
        let may_fail = failed || self.case.is_refused();
        if rolled_back && (may_fail || self.case.may_give_up()) {
            self.gave_up.set(!may_fail);
            self.was_taken_back.set(!failed);
            self.stage.expect(&ended, 1)?;
            return self.as_before();
        }
        if must_go_back {
            let report = ended.report();
            return Err(Error::of(format!("it failed and went on: {report}")));
        }
        if ended.last("error")["code"] != "run-over" {
            self.stage.expect(&ended, 0)?;
        }
        let now = self.forgiving(self.stage.scene.observed(Some(&self.run))?);
        told(
            "not as after an undisturbed run",
            &self.undisturbed.after.changes(&now),
        )?;
        if self.stage.scene.goes_back() {
            return self.rolled_back();
        }
        self.stage.scene.reset()?;
        self.as_before()
    }

    /// A rollback that was struck.
    fn back(&self, struck: Struck) -> Result<()> {
        let ended = match (struck, self.case.way) {
            (Struck::Alive(call), _) => self.unheld(call.end()?)?,
            (Struck::Dead, Way::Rollback) => return self.rolled_back(),
            (Struck::Dead, Way::Resume) => self.resume()?,
        };
        let ended = self.unheld(ended)?;
        // Who resumes does not ask for the rollback: its end is not what a run is for.
        let over = ended.last("error")["code"] == "run-over";
        if !over && ended.report()["state"] != "rolled-back" {
            return Err(Error::of(format!(
                "it is not rolled back: {}",
                ended.report()
            )));
        }
        self.as_before()
    }

    fn resume(&self) -> Result<Ended> {
        self.stage.run(&["resume", &self.run])
    }

    /// Where the engine was away a run may be held, and says so; with the engine it goes on.
    fn unheld(&self, mut ended: Ended) -> Result<Ended> {
        for _ in 0..MOST_RESUMES {
            if ended.code != 4 || !self.case.may_fail() {
                break;
            }
            let told = ended.report()["next"].to_string();
            if !told.contains(&format!("ferryctl resume {}", self.run)) {
                return Err(Error::of(format!(
                    "held without a way on: {}",
                    ended.report()
                )));
            }
            self.holds.set(self.holds.get() + 1);
            ended = self.resume()?;
        }
        Ok(ended)
    }

    fn rolled_back(&self) -> Result<()> {
        let mut ended = self.stage.run(&["rollback", &self.run, "--yes"])?;
        // The blow may have come after the last word.
        if ended.last("error")["code"] == "nothing-to-take-back" {
            self.stage.scene.reset()?;
        } else if ended.last("error")["code"] != "run-over" {
            ended = self.unheld(ended)?;
            if ended.report()["state"] != "rolled-back" {
                self.stage.expect(&ended, 0)?;
            }
        }
        self.as_before()
    }

    fn kills_programs(&self) -> bool {
        matches!(
            self.case.victim,
            Victim::Engine(Containers::Die) | Victim::Machine
        )
    }

    fn forgiving(&self, now: Observed) -> Observed {
        if self.kills_programs() {
            now.forgiving_kills()
        } else {
            now
        }
    }

    fn as_before(&self) -> Result<()> {
        if self.kills_programs() {
            return self.stage.assert_as_before_but_killed();
        }
        self.stage.assert_as_before()
    }
}
