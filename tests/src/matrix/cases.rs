//! The cases, computed from a plan and from what an undisturbed run was seen to do. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::engine::Containers;
use crate::random::Random;
use crate::{Error, Result};

/// A step that takes this long is also hit somewhere in its middle.
const LONG: Duration = Duration::from_millis(400);

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// `ferryctl`.
    Controller,
    /// The agent beside the server's processes.
    Sidecar,
    /// The agent with the server's data alone.
    VolumeAgent,
    /// The agent beside the second server, of a rehearsal.
    SecondAgent,
    /// The agent on a client's host.
    ClientAgent,
    /// The agent on an appliance, the old machine.
    ApplianceAgent,
    /// A cluster's API server, which is away for a moment.
    ApiServer,
    /// The engine's daemon.
    Engine(Containers),
    /// All there is, as when a host is switched off: the controller, the engine, its containers.
    Machine,
}

impl Victim {
    /// Those that live on the machine's own engine, which itself must not be killed.
    pub const PROCESSES: [Self; 7] = [
        Self::Controller,
        Self::Sidecar,
        Self::VolumeAgent,
        Self::SecondAgent,
        Self::ClientAgent,
        Self::ApplianceAgent,
        Self::ApiServer,
    ];
    /// Those that are there at some moments, or on some scenes, only.
    pub const PASSING: [Self; 6] = [
        Self::Sidecar,
        Self::VolumeAgent,
        Self::SecondAgent,
        Self::ClientAgent,
        Self::ApplianceAgent,
        Self::ApiServer,
    ];
    /// The agents, which live at some moments only.
    pub const AGENTS: [Self; 5] = [
        Self::Sidecar,
        Self::VolumeAgent,
        Self::SecondAgent,
        Self::ClientAgent,
        Self::ApplianceAgent,
    ];
    /// A private engine's daemon, in both ways that it may treat its containers, and alone or with all else.
    pub const ENGINES: [Self; 3] = [
        Self::Engine(Containers::Die),
        Self::Engine(Containers::Live),
        Self::Machine,
    ];
    const ALL: [Self; 10] = [
        Self::Controller,
        Self::Sidecar,
        Self::VolumeAgent,
        Self::SecondAgent,
        Self::ClientAgent,
        Self::ApplianceAgent,
        Self::ApiServer,
        Self::ENGINES[0],
        Self::ENGINES[1],
        Self::ENGINES[2],
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Sidecar => "sidecar",
            Self::VolumeAgent => "volume-agent",
            Self::SecondAgent => "second-agent",
            Self::ClientAgent => "client-agent",
            Self::ApplianceAgent => "appliance-agent",
            Self::ApiServer => "api-server",
            Self::Engine(Containers::Die) => "engine",
            Self::Engine(Containers::Live) => "engine-live-restore",
            Self::Machine => "machine",
        }
    }
}

/// When, seen from a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The journal says that it is intended.
    Intended,
    /// The journal says that it is finished.
    Finished,
    /// So many milliseconds after it was intended.
    Within(u64),
    /// The journal says that it has failed: its ledger cannot be written, so that it has done nothing.
    Failed,
    /// The journal says that it has failed: it has acted, and its ledger cannot be written any more.
    Unrecorded,
    /// The journal says that an agent is looked for: all that were there when the step was intended are dead.
    Reconnecting,
    /// The journal says this of the run as a whole, which has the place of the step then.
    OfRun(&'static str),
}

impl Event {
    /// The word of the journal that comes before the blow.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Intended | Self::Within(_) => "intended",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Unrecorded => "unrecorded",
            Self::Reconnecting => "reconnecting",
            Self::OfRun(word) => word,
        }
    }

    /// Whether the step is made to fail.
    #[must_use]
    pub fn fails(self) -> bool {
        matches!(self, Self::Failed | Self::Unrecorded)
    }

    /// What the journal says of a run, by its word.
    #[must_use]
    pub fn of_run(word: &str) -> Option<Self> {
        const OF_RUN: [&str; 5] = [
            "started",
            "rolling-back",
            "downtime-started",
            "downtime-ended",
            "ended",
        ];
        let known = OF_RUN.into_iter().find(|it| *it == word);
        known.map(Self::OfRun)
    }
}

/// In the place of a step's name, where the run as a whole is meant.
pub const RUN: &str = "run";

/// A part of the journey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// The run.
    There,
    /// A way back from before the target could write: the steps are reversed.
    Early,
    /// A way back from the end: data is restored.
    Back,
}

impl Leg {
    /// Whether steps are undone.
    #[must_use]
    pub fn undoes(self) -> bool {
        self != Self::There
    }

    /// Before the event's name in a case's.
    fn prefix(self) -> &'static str {
        match self {
            Self::There => "",
            Self::Early => "early-undo-",
            Self::Back => "undo-",
        }
    }
}

/// The step at which a run is cut off for an early way back: the last one before the target may write. Only a run that has such a step, and
/// others before it, can be taken back early.
#[must_use]
pub fn turn(steps: &[String]) -> Option<usize> {
    let lets_write = |step: &String| ["hand-over-volume", "start-server"].contains(&step.as_str());
    let turn = steps.iter().position(lets_write)?.checked_sub(1)?;
    (turn > 0).then_some(turn)
}

/// What is asked for afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `ferryctl resume`.
    Resume,
    /// `ferryctl rollback`.
    Rollback,
}

/// One crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The step's name in the plan.
    pub step: String,
    /// On which part of the journey.
    pub leg: Leg,
    /// When.
    pub event: Event,
    /// Who.
    pub victim: Victim,
    /// What next.
    pub way: Way,
}

impl Case {
    /// Whether somebody is away whom a step has to ask.
    fn misses_somebody(&self) -> bool {
        Victim::ENGINES.contains(&self.victim) || self.victim == Victim::ApiServer
    }

    /// Whether the run may be held: somebody is away whom a step has to ask, or cannot write its ledger.
    #[must_use]
    pub fn may_fail(&self) -> bool {
        self.misses_somebody() || self.event.fails()
    }

    /// Whether the run may be taken back for it by itself.
    #[must_use]
    pub fn may_give_up(&self) -> bool {
        self.misses_somebody()
            && !self.event.fails()
            && self.way == Way::Resume
            && !self.leg.undoes()
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.way {
            Way::Resume => "resume",
            Way::Rollback => "rollback",
        };
        write!(f, "{}:{}", self.step, self.leg.prefix())?;
        match self.event {
            Event::Intended => f.write_str("intended")?,
            Event::Finished => f.write_str("finished")?,
            Event::Within(ms) => write!(f, "within-{ms}ms")?,
            Event::Failed | Event::Unrecorded | Event::Reconnecting | Event::OfRun(_) => {
                f.write_str(self.event.word())?;
            }
        }
        write!(f, ":{}:{way}", self.victim.word())
    }
}

impl FromStr for Case {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let parts: Vec<&str> = text.split(':').collect();
        let [step, event, victim, way] = parts[..] else {
            return Err(());
        };
        let legs = [Leg::Early, Leg::Back];
        let (leg, event) = legs
            .into_iter()
            .find_map(|leg| Some((leg, event.strip_prefix(leg.prefix())?)))
            .unwrap_or((Leg::There, event));
        let within = |event: &str| {
            event
                .strip_prefix("within-")?
                .strip_suffix("ms")?
                .parse()
                .ok()
        };
        Ok(Self {
            step: step.to_owned(),
            leg,
            event: match event {
                "intended" => Event::Intended,
                "finished" => Event::Finished,
                "failed" => Event::Failed,
                "unrecorded" => Event::Unrecorded,
                "reconnecting" => Event::Reconnecting,
                other => match within(other) {
                    Some(ms) => Event::Within(ms),
                    None => Event::of_run(other).ok_or(())?,
                },
            },
            victim: *Victim::ALL
                .iter()
                .find(|it| it.word() == victim)
                .ok_or(())?,
            way: match way {
                "resume" => Way::Resume,
                "rollback" => Way::Rollback,
                _ => return Err(()),
            },
        })
    }
}

/// A word of the journal about a step or the run, as an undisturbed run had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The step.
    pub step: String,
    /// On which part of the journey.
    pub leg: Leg,
    /// `Intended`, `Finished` or `OfRun`: nothing fails in an undisturbed run.
    pub event: Event,
    /// Those of [`Victim::PASSING`] that lived then.
    pub agents: Vec<Victim>,
    /// Since the start of the run.
    pub at: Duration,
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
/// moments, and somewhere within it when it is long (elsewhere for each victim), when it has failed, and when its agents are looked for; and
/// each word about the run as a whole.
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
            if Victim::PASSING.contains(&victim) && !moment.agents.contains(&victim) {
                continue;
            }
            // They are dead already.
            if event == Event::Reconnecting && Victim::AGENTS.contains(&victim) {
                continue;
            }
            for way in [Way::Resume, Way::Rollback] {
                // Who rolls back finds the same where the engine's daemon died with its containers: then the controller died with them.
                if victim == Victim::Machine && way == Way::Rollback {
                    continue;
                }
                all.push(Case {
                    step: step.to_owned(),
                    leg,
                    event,
                    victim,
                    way,
                });
            }
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
            hits.extend(is_long.then_some((Hit::Within(took), intended)));
            hits.push((Hit::At(Event::Finished), finished));
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
        }
        let of_run = |it: &&Moment| it.leg == leg && matches!(it.event, Event::OfRun(_));
        for moment in moments.iter().filter(of_run) {
            add(RUN, leg, Hit::At(moment.event), moment);
        }
    }
    Ok(all)
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
