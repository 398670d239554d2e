//! The cases, computed from a plan and from what an undisturbed run was seen to do. Pure.

use std::time::Duration;

use super::{Case, Event, Leg, RUN, Victim, Way};
use crate::random::Random;
use crate::{Error, Result};

/// A step that takes this long is also hit somewhere in its middle.
const LONG: Duration = Duration::from_millis(400);

/// The step at which a run is cut off for an early way back: the last one before the target may write. Only a run that has such a step, and
/// others before it, can be taken back early.
#[must_use]
pub fn turn(steps: &[String]) -> Option<usize> {
    let lets_write = |step: &String| ["hand-over-volume", "start-server"].contains(&step.as_str());
    let turn = steps.iter().position(lets_write)?.checked_sub(1)?;
    (turn > 0).then_some(turn)
}

/// A word of the journal about a step or the run, as an undisturbed run had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The step.
    pub step: String,
    /// On which part of the journey.
    pub leg: Leg,
    /// `Intended`, `Noted`, `Finished` or `OfRun`: nothing fails in an undisturbed run.
    pub event: Event,
    /// Those of [`Victim::PASSING`] that lived then.
    pub agents: Vec<Victim>,
    /// Those of them that did not, and were seen to live between this moment and the next.
    pub appeared: Vec<Victim>,
    /// Since the start of the run.
    pub at: Duration,
    /// How often the engine, or a cluster's API server, had been asked for something by then.
    pub requests: usize,
}

impl Moment {
    /// Who was seen then and until the next.
    pub(super) fn saw(&self) -> impl Iterator<Item = Victim> {
        self.agents.iter().chain(&self.appeared).copied()
    }
}

/// A moment at which everybody is hit, or a time in which each is, somewhere.
#[derive(Clone, Copy)]
enum Hit {
    At(Event),
    Within(Duration),
}

/// What cases a scene has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds {
    /// A run that is done can be taken back.
    pub goes_back: bool,
    /// Any of its steps can be made to fail.
    pub fails: bool,
}

/// All cases: each step of the plan, there and, where a run goes back, back from its end and from before the target could write, at each of its
/// moments, and somewhere within it when it is long (elsewhere for each victim), when an agent is there that it starts, when it has failed, when
/// its agents are looked for, when it is taken up again, and at some of what it asks the engine for; and each word about the run as a whole.
///
/// # Errors
/// When the undisturbed run said nothing of a step: it would be missing in the matrix.
pub fn cases(
    steps: &[String],
    moments: &[Moment],
    kinds: Kinds,
    random: &mut Random,
) -> Result<Vec<Case>> {
    let mut all = Vec::new();
    let mut add = |step: &str, leg, hit, moment: &Moment| {
        for victim in Victim::ALL {
            let event = match hit {
                Hit::At(event) => event,
                Hit::Within(took) => {
                    let moment = random.up_to(took).as_millis();
                    Event::Within(u64::try_from(moment).unwrap_or(u64::MAX))
                }
            };
            if !is_hit(victim, event, moment) {
                continue;
            }
            all.extend(ways(victim).iter().map(|way| Case {
                step: step.to_owned(),
                leg,
                event,
                victim,
                way: *way,
            }));
        }
    };
    let mut legs = vec![(Leg::There, steps)];
    if kinds.goes_back {
        // Of the step at which it was cut off nobody knows how far it came.
        legs.extend(turn(steps).map(|turn| (Leg::Early, &steps[..turn])));
        legs.push((Leg::Back, steps));
    }
    for (leg, steps) in legs {
        for step in steps {
            let of = |event: Event| {
                let found = moments
                    .iter()
                    .find(|it| it.step == *step && it.leg == leg && it.event == event);
                found.ok_or_else(|| missing(step, leg))
            };
            let (intended, finished) = (of(Event::Intended)?, of(Event::Finished)?);
            let took = finished.at.saturating_sub(intended.at);
            let is_long = took >= LONG;
            let mut hits = vec![(Hit::At(Event::Intended), intended)];
            let visited = visited(moments, intended);
            hits.push((Hit::At(Event::Appeared), &visited));
            hits.extend(is_long.then_some((Hit::Within(took), intended)));
            hits.extend(of(Event::Noted).ok().map(|it| (Hit::At(Event::Noted), it)));
            hits.push((Hit::At(Event::Finished), finished));
            hits.push((Hit::At(Event::Again), intended));
            if kinds.fails {
                hits.push((Hit::At(Event::Failed), intended));
                hits.extend(is_long.then_some((Hit::At(Event::Unrecorded), intended)));
            }
            if intended.agents.iter().any(|it| Victim::AGENTS.contains(it)) {
                hits.push((Hit::At(Event::Reconnecting), intended));
            }
            for (hit, moment) in hits {
                add(step, leg, hit, moment);
            }
            for number in some(finished.requests - intended.requests) {
                add(step, leg, Hit::At(Event::Request(number)), intended);
            }
        }
        let of_run = |it: &&Moment| it.leg == leg && matches!(it.event, Event::OfRun(_));
        for moment in moments.iter().filter(of_run) {
            add(RUN, leg, Hit::At(moment.event), moment);
        }
    }
    Ok(all)
}

/// The begin of a step, with all who came to live until its end. An agent that a step starts and ends may be there at none of its words.
fn visited(moments: &[Moment], intended: &Moment) -> Moment {
    let of_step = moments.iter().filter(|it| {
        it.step == intended.step && it.leg == intended.leg && it.event != Event::Finished
    });
    let mut visited = intended.clone();
    visited.appeared = of_step.flat_map(|it| it.appeared.clone()).collect();
    visited.appeared.sort_unstable();
    visited.appeared.dedup();
    visited
}

/// Whether somebody is hit at a moment.
fn is_hit(victim: Victim, event: Event, moment: &Moment) -> bool {
    match event {
        Event::Request(_) => victim == Victim::Answer,
        _ if victim == Victim::Answer => false,
        Event::Appeared => moment.appeared.contains(&victim),
        // It is the second time, and it is about the run's own memory.
        Event::Again => victim == Victim::Controller,
        // They are dead already.
        Event::Reconnecting if Victim::AGENTS.contains(&victim) => false,
        _ => !Victim::PASSING.contains(&victim) || moment.agents.contains(&victim),
    }
}

/// What is asked for when somebody was hit.
fn ways(victim: Victim) -> &'static [Way] {
    match victim {
        // Who rolls back finds the same where the engine's daemon died with its containers: then the controller died with them.
        Victim::Machine => &[Way::Resume],
        // Nobody dies, and the run says itself what becomes of it.
        Victim::Answer => &[Way::Resume],
        _ => &[Way::Resume, Way::Rollback],
    }
}

/// Some of so many requests: the first, and two behind it. The last would often not come: a step that waits asks the same again, a time more or
/// less.
fn some(number: usize) -> Vec<usize> {
    let mut some = vec![0, number / 3, number * 2 / 3];
    some.dedup();
    some.truncate(number);
    some
}

fn missing(step: &str, leg: Leg) -> Error {
    let way = match leg {
        Leg::There => "crossing",
        Leg::Early => "early rollback",
        Leg::Back => "rollback",
    };
    std::io::Error::other(format!(
        "the undisturbed {way} said nothing of step `{step}`"
    ))
    .into()
}

/// The cases that `parts` names, with commas between: each a part of names, or a whole name. A whole name is played as it is, since the moment
/// within a step differs from run to run, by a stage that has its victim.
#[must_use]
pub fn named(all: Vec<Case>, parts: &str, victims: &[Victim]) -> Vec<Case> {
    let mut chosen = Vec::new();
    let mut names = Vec::new();
    for part in parts.split(',') {
        match part.parse::<Case>() {
            Ok(case) if victims.contains(&case.victim) => chosen.push(case),
            Ok(_) => {}
            Err(()) => names.push(part),
        }
    }
    chosen.extend(all.into_iter().filter(|case| {
        let name = case.to_string();
        names.iter().any(|part| name.contains(part))
    }));
    chosen
}

/// So many of the cases, or all where there are no more, spread evenly over the steps, with the victims taking turns and with both ways. The same each time.
#[must_use]
pub fn slice(all: &[Case], number: usize) -> Vec<Case> {
    if number >= all.len() {
        return all.to_vec();
    }
    let mut victims: Vec<Victim> = all.iter().map(|case| case.victim).collect();
    victims.sort_unstable();
    victims.dedup();
    let mut chosen = Vec::new();
    for part in 0..number {
        // From the middle of each part: the very first step of a run is the dullest.
        let from = all.len() * (2 * part + 1) / (2 * number);
        let (round, turn) = (part / victims.len().max(1), part % victims.len().max(1));
        let Some(&victim) = victims.get(turn) else {
            break;
        };
        // In the next round each goes the other way.
        let back = (round + turn) % 2 == 1;
        let way = if back { Way::Rollback } else { Way::Resume };
        let fits = |case: &&Case| case.victim == victim && case.way == way;
        let after = all[from..].iter().find(fits);
        let found = after.or_else(|| all.iter().rfind(fits));
        // Not everybody goes both ways.
        let found = found.or_else(|| {
            all.iter()
                .rfind(|it| it.victim == victim && !chosen.contains(*it))
        });
        // Where cases are chosen densely two parts may find the same.
        chosen.extend(found.filter(|it| !chosen.contains(*it)).cloned());
    }
    chosen
}

#[cfg(test)]
mod tests;
