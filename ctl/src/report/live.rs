//! A run while it happens: drawn on a terminal, logged line by line into a pipe, or given to a
//! program as JSON. All three consume the same events, so nothing is known to only one of them.

mod json;
mod line;
mod meter;
mod plain;
mod terminal;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use ferry_proto::v1::{Plan, Step};

pub use json::Json;
pub use plain::Plain;
pub use terminal::Live;

use super::Settings;
use crate::{cli::Output, run::events::RunEvent};

/// Shows what happens during a run.
pub trait Reporter {
    /// One event, in the order in which the driver made it.
    fn event(&mut self, plan: &Plan, event: &RunEvent);
}

/// The time since some moment; tests give their own.
type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

fn clock() -> Clock {
    let start = Instant::now();
    Arc::new(move || start.elapsed())
}

/// The reporter that fits the settings.
#[must_use]
pub fn reporter(settings: &Settings) -> Box<dyn Reporter + Send> {
    match settings.output {
        Output::Json => Box::new(Json::new(io::stdout())),
        Output::Text if settings.live => Box::new(Live::new(settings)),
        Output::Text => Box::new(Plain::new(io::stderr(), settings.quiet)),
    }
}

/// A step's title. An index that the plan does not have comes from a journal of another plan.
fn title(plan: &Plan, step: usize) -> String {
    let title = plan
        .steps
        .get(step)
        .map_or("(not in this plan)", |step: &Step| &step.title);
    super::text::clean(title).into_owned()
}

/// How a run is announced.
fn opening(plan: &Plan, run: &str, resumed: bool) -> String {
    if crate::recipes::upkeep::is_upkeep(plan) {
        return format!(
            "Run {run}{}: {} of {}, {}",
            if resumed { " goes on" } else { "" },
            crate::recipes::upkeep::words(plan),
            super::plan::name(plan),
            crate::units::counted(plan.steps.len() as u64, "step"),
        );
    }
    format!(
        "Run {run}{}: {}, PMM {} → {}, {}",
        if resumed { " goes on" } else { "" },
        super::plan::name(plan),
        plan.from_version,
        plan.to_version,
        crate::units::counted(plan.steps.len() as u64, "step"),
    )
}
