//! One crash or failure, and its name, which is enough to repeat it.

use std::fmt;
use std::str::FromStr;

use super::Victim;

/// When, seen from a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The journal says that it is intended.
    Intended,
    /// The journal says that it is finished.
    Finished,
    /// So many milliseconds after it was intended.
    Within(u64),
    /// When so many requests were answered since it was intended, by the engine or by a cluster's API server.
    Request(usize),
    /// The journal has a note of it.
    Noted,
    /// Its victim is there, who was not when it was intended.
    Appeared,
    /// The controller was killed when it was intended, and its successor's journal says something of it.
    Again,
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
            Self::Intended | Self::Within(_) | Self::Request(_) | Self::Appeared | Self::Again => {
                "intended"
            }
            Self::Noted => "note",
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

    /// Whether an answer to the tool is an error. What becomes of the step is for the step to say: it may ask again, do without, or fail.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.victim == Victim::Answer
    }

    /// Whether the run may be held: somebody is away whom a step has to ask or answers with an error, or it cannot write its ledger.
    #[must_use]
    pub fn may_fail(&self) -> bool {
        self.misses_somebody() || self.is_refused() || self.event.fails()
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
            Event::Request(number) => write!(f, "request-{number}")?,
            Event::Appeared => f.write_str("appeared")?,
            Event::Again => f.write_str("again")?,
            Event::Failed
            | Event::Unrecorded
            | Event::Reconnecting
            | Event::Noted
            | Event::OfRun(_) => {
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
            let moment = event.strip_prefix("within-")?.strip_suffix("ms")?;
            moment.parse().ok().map(Event::Within)
        };
        let request = |event: &str| {
            let number = event.strip_prefix("request-")?;
            number.parse().ok().map(Event::Request)
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
                "note" => Event::Noted,
                "appeared" => Event::Appeared,
                "again" => Event::Again,
                other => within(other)
                    .or_else(|| request(other))
                    .or_else(|| Event::of_run(other))
                    .ok_or(())?,
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
