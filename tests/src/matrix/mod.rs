//! Every step of a plan, every word of the journal about it, everybody who may die: what a crash at that moment leaves is resumed to
//! where an undisturbed run ends, and rolled back to where it began.
//!
//! Nothing here knows a step. The steps are those of the plan that the tool itself makes, and one undisturbed run and its return
//! tells which agents there are at each moment and how long each step takes. So a new step is in the matrix by being in the plan, and
//! an agent is a victim wherever it is seen to live.
//!
//! Each case has a name, such as `transfer-ownership:intended:volume-agent:resume`, and is played alone by `FERRY_MATRIX_CASE=NAME`. What the
//! journal says of the run as a whole is `run:downtime-started:…`.
//! A scene is used for case after case, because each ends with the proof that all is as it was.

mod appliance;
mod case;
mod cases;
mod client;
mod cluster;
mod ending;
mod homes;
mod journey;
mod observed;
mod play;
mod scene;
mod sealed;
mod server;
mod stage;
mod upkeep;
mod victim;

pub use appliance::ApplianceScene;
pub use case::{Case, Event, Leg, RUN, Way};
pub use cases::{Kinds, Moment, cases, named, slice, turn};
pub use client::ClientScene;
pub use cluster::ClusterScene;
pub use ending::{Ending, EndingScene};
pub use journey::Journey;
pub use observed::Observed;
pub use play::{Blow, Course, play};
pub use scene::Scene;
pub use server::ServerScene;
pub use stage::{Stage, Undisturbed};
pub use upkeep::UpkeepScene;
pub use victim::Victim;

use std::time::Duration;

use crate::engine::PrivateEngine;
use crate::random::Random;
use crate::{Error, Result};

/// Cases by name, or by parts of names with commas between, instead of those that a test would choose.
const CHOSEN: &str = "FERRY_MATRIX_CASE";
/// How long an engine or an API server is away: long enough for whatever asks it to notice.
const AWAY: Duration = Duration::from_millis(700);
/// One of so many blows may find its victim gone; on a busy machine it was one of 25.
const MOST_MISSED: usize = 8;
/// And so many beside them: a slice has few blows.
const FREE_MISSES: usize = 2;
/// One run of so many may be taken back by itself; of 17 it was none.
const MOST_GIVEN_UP: usize = 3;
/// No more than so many of the cases, spread evenly over them.
const NUMBER: &str = "FERRY_MATRIX_NUMBER";

/// Plays, on a scene, every `workers`-th of the cases that `choose` leaves, from the `worker`-th on, and tells of each: on a private engine those
/// whose victim is its daemon, on the machine's own all others. A case that fails does not keep the others from
/// being played, on another scene that is made like the first.
///
/// # Errors
/// All failures together, with the names that repeat them; what a stage cannot be set up for at once.
pub fn work<S: Scene>(
    make: impl Fn() -> Result<S>,
    worker: usize,
    workers: usize,
    engine: Option<&PrivateEngine>,
    choose: impl Fn(Vec<Case>) -> Vec<Case>,
) -> Result<()> {
    let _there = engine.map(PrivateEngine::enter);
    let mut random = Random::new();
    // A private engine is asked itself: it dies, and its answers are another part's.
    let stage_on = |scene| match engine {
        Some(_) => Stage::on(scene),
        None => Stage::with_answers(scene),
    };
    let mut stage = stage_on(make()?)?;
    let mut undisturbed = stage.undisturbed()?;
    for moment in undisturbed
        .moments
        .iter()
        .filter(|it| it.event == Event::Finished)
    {
        let back = match moment.leg {
            Leg::There => "done",
            Leg::Early => "undone early",
            Leg::Back => "undone",
        };
        random.tell(&format!(
            "{:>7} ms: {} {back}",
            moment.at.as_millis(),
            moment.step
        ));
    }
    homes::check(&stage.scene, &undisturbed)?;
    let kinds = Kinds {
        goes_back: stage.scene.goes_back(),
        fails: !stage.scene.ledgers("no-run")?.is_empty(),
    };
    let mut all = cases(&undisturbed.steps, &undisturbed.moments, kinds, &mut random)?;
    let victims: &[Victim] = match engine {
        Some(_) => &Victim::ENGINES,
        None => &Victim::ON_OWN_ENGINE,
    };
    all.retain(|case| victims.contains(&case.victim));
    let chosen = match std::env::var(CHOSEN) {
        Ok(parts) => named(all, &parts, victims),
        Err(_) => choose(all),
    };
    let chosen = match std::env::var(NUMBER).map(|number| number.parse()) {
        Ok(Ok(number)) => slice(&chosen, number),
        Ok(Err(_)) => return Err(Error::of(format!("{NUMBER} is no number"))),
        Err(_) => chosen,
    };
    // Two by two: of two that stand beside each other one is gone on with, which takes longer than going back.
    let is_mine = |(at, _): &(usize, Case)| at / 2 % workers == worker;
    let mine = chosen.into_iter().enumerate().filter(is_mine);
    let mine: Vec<Case> = mine.map(|(_, case)| case).collect();
    random.tell(&format!("{} cases", mine.len()));
    if mine.is_empty() {
        return Err(Error::of("nobody has such a case".to_owned()));
    }
    let mut failed = Vec::new();
    let (mut missed, mut gave_up) = (0, 0);
    for case in &mine {
        let began = std::time::Instant::now();
        let end = play(&stage, engine, &undisturbed, case);
        let seconds = began.elapsed().as_secs();
        match end {
            Ok(course) => {
                // Whether anybody looks for an agent that is dead depends on whose step it was.
                let counts = case.event != Event::Reconnecting;
                missed += usize::from(counts && course.blow == Blow::Missed);
                gave_up += usize::from(course.gave_up);
                random.tell(&format!("{case}: as it should be, {seconds} s{course}"));
            }
            Err(error) => {
                random.tell(&format!("{case}: FAILED after {seconds} s: {error}"));
                failed.push(format!("{CHOSEN}={case}: {error}"));
                // What the failure left is nobody's starting point, and another server is measured by its own undisturbed run.
                drop(stage);
                stage = stage_on(make()?)?;
                undisturbed = stage.undisturbed()?;
            }
        }
    }
    // A victim may be gone by chance. Where it is so again and again nobody is hit.
    if missed > FREE_MISSES + mine.len() / MOST_MISSED {
        failed.push(format!("{missed} blows hit nobody"));
    }
    // A run may be taken back where nobody could be asked. One that always is does not wait for anybody.
    let could = mine.iter().filter(|case| case.may_give_up()).count();
    if gave_up > 1 + could / MOST_GIVEN_UP {
        failed.push(format!(
            "{gave_up} of {could} runs were taken back for an engine that was away for a moment"
        ));
    }
    if !failed.is_empty() {
        return Err(Error::of(format!(
            "{} of {} cases failed:\n{}",
            failed.len(),
            mine.len(),
            failed.join("\n")
        )));
    }
    Ok(())
}
