//! One case, from the begin of a run to the proof that the server is as it should be.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use super::stage::told;
use super::{AWAY, Case, Event, Leg, Observed, RUN, Scene, Stage, Undisturbed, Victim, Way, turn};
use crate::engine::{Containers, PrivateEngine};
use crate::kill::{Call, Ended};
use crate::{Error, Result};

/// How often a held run is gone on with. Once must do; the second time tells a run that is stuck from one that was unlucky twice.
const MOST_RESUMES: usize = 2;

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
    let (call, run) = match case.leg {
        Leg::There => {
            let mut call = stage.begin()?;
            let run = call.run_name()?;
            (call, run)
        }
        Leg::Back => {
            let mut call = stage.begin()?;
            let run = call.run_name()?;
            stage.expect(&call.end()?, 0)?;
            (stage.start(&["rollback", &run, "--yes"])?, run)
        }
        Leg::Early => {
            let turn = turn(&undisturbed.steps)
                .ok_or_else(|| Error::of("no run of this plan is taken back early".to_owned()))?;
            let run = stage.begin_and_turn(&undisturbed.steps[turn])?;
            (stage.start(&["rollback", &run, "--yes"])?, run)
        }
    };
    let played = Played {
        stage,
        engine,
        undisturbed,
        case,
        run,
        holds: Cell::new(0),
        gave_up: Cell::new(false),
    };
    let (struck, blow) = played.strike(call)?;
    if case.leg.undoes() {
        played.back(struck)?;
    } else {
        played.forward(struck)?;
    }
    Ok(Course {
        blow,
        holds: played.holds.get(),
        gave_up: played.gave_up.get(),
    })
}

struct Played<'a, S> {
    stage: &'a Stage<S>,
    engine: Option<&'a PrivateEngine>,
    undisturbed: &'a Undisturbed,
    case: &'a Case,
    run: String,
    holds: Cell<usize>,
    gave_up: Cell<bool>,
}

impl<S: Scene> Played<'_, S> {
    /// Waits for the moment, and kills.
    fn strike(&self, mut call: Call) -> Result<(Struck, Blow)> {
        let mut blow = Blow::Hit;
        let (word, of_run) = (self.case.event.word(), self.case.step == RUN);
        // Its start was waited for to learn the run's name.
        if word != "started" {
            call.wait_for(&self.case.to_string(), |line| {
                let of_step =
                    || line["step_id"] == self.case.step && line["undo"] == self.case.leg.undoes();
                line["event"] == word && (of_run || of_step())
            })?;
        }
        if let Event::Within(milliseconds) = self.case.event {
            std::thread::sleep(Duration::from_millis(milliseconds));
        }
        match self.case.victim {
            Victim::Controller => {}
            victim @ (Victim::Sidecar
            | Victim::VolumeAgent
            | Victim::SecondAgent
            | Victim::ClientAgent
            | Victim::ApplianceAgent) => {
                if self.stage.scene.kill(victim).is_err() {
                    blow = Blow::Missed;
                }
            }
            Victim::ApiServer => self.stage.scene.kill(Victim::ApiServer)?,
            Victim::Engine(containers) => {
                let engine = self
                    .engine
                    .ok_or_else(|| Error::of("a private engine is needed".to_owned()))?;
                engine.kill()?;
                // Its controller is left without an engine for a while, or dies together with it.
                if self.case.way == Way::Rollback {
                    drop(call);
                    engine.revive(containers)?;
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

    fn forward(&self, struck: Struck) -> Result<()> {
        if self.case.way == Way::Rollback {
            return self.rolled_back();
        }
        let ended = match struck {
            Struck::Alive(call) => call.end()?,
            Struck::Dead => self.resume()?,
        };
        let ended = self.unheld(ended)?;
        let rolled_back = ended.report()["state"] == "rolled-back";
        if rolled_back && self.case.may_fail() {
            self.gave_up.set(true);
            self.stage.expect(&ended, 1)?;
            return self.as_before();
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
        self.case.victim == Victim::Engine(Containers::Die)
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
