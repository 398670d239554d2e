//! How long a crossing would take the server down, by what its rehearsal measured.
//!
//! A rehearsal does what is done to the data and starts the target; it stops nothing. So the stop, the second pass of the
//! copy and the engine's small calls are taken from the plan of the crossing.

use ferry_proto::v1::{Step, action::Kind};

/// The expected downtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Downtime {
    /// All of it, in milliseconds.
    pub total_ms: u64,
    /// What of it was measured, in milliseconds; the rest is the plan's estimate.
    pub measured_ms: u64,
}

/// What the downtime steps of `crossing` take, with what was `measured` of the rehearsal's steps in their place.
#[must_use]
pub fn expected(
    crossing: &[Step],
    measured: impl Fn(fn(&Kind) -> bool) -> Option<u64>,
) -> Downtime {
    let (mut total_ms, mut measured_ms) = (0_u64, 0_u64);
    for step in crossing.iter().filter(|step| step.downtime) {
        let wanted: Option<fn(&Kind) -> bool> = match kind(step) {
            Some(Kind::TransferOwnership(_)) => {
                Some(|kind| matches!(kind, Kind::TransferOwnership(_)))
            }
            // While nobody writes, of the same databases as in the rehearsal.
            Some(Kind::DumpDatabases(_)) => Some(|kind| matches!(kind, Kind::DumpDatabases(_))),
            Some(Kind::ProveDumps(_)) => Some(|kind| matches!(kind, Kind::ProveDumps(_))),
            Some(Kind::StartServer(_)) => Some(|kind| matches!(kind, Kind::StartRehearsal(_))),
            Some(Kind::WaitUntilReady(_)) => Some(|kind| matches!(kind, Kind::WaitUntilReady(_))),
            _ => None,
        };
        let took = wanted.and_then(&measured);
        measured_ms = measured_ms.saturating_add(took.unwrap_or(0));
        total_ms = total_ms.saturating_add(took.unwrap_or(step.estimate_ms));
    }
    Downtime {
        total_ms,
        measured_ms,
    }
}

fn kind(step: &Step) -> Option<&Kind> {
    step.action.as_ref()?.kind.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        recipes::{Recipe, Wishes, plan},
        samples,
    };

    /// A second dump and its restore are downtime where the recipe has them, and a rehearsal does both.
    #[test]
    fn the_dump_at_rest_counts_as_it_was_measured() {
        let wishes = Wishes {
            recipe: Recipe::PmmDumpRestore,
            ..samples::wishes()
        };
        let crossing = plan("docker:p", samples::facts(), &wishes, Default::default()).unwrap();
        let both = |it: fn(&Kind) -> bool| {
            let dump = Kind::DumpDatabases(Default::default());
            let proof = Kind::ProveDumps(Default::default());
            (it(&dump) || it(&proof)).then_some(60_000)
        };
        let without = expected(&crossing.steps, |_| None);
        let with = expected(&crossing.steps, both);
        assert_eq!(with.measured_ms, 120_000);
        let estimates = crossing.steps.iter().filter(|step| {
            step.downtime
                && matches!(
                    kind(step),
                    Some(Kind::DumpDatabases(_) | Kind::ProveDumps(_))
                )
        });
        let estimates: u64 = estimates.map(|step| step.estimate_ms).sum();
        assert!(estimates > 0);
        assert_eq!(with.total_ms, without.total_ms - estimates + 120_000);
    }

    #[test]
    fn what_was_measured_takes_the_place_of_its_estimate() {
        let steps = samples::plan().steps;
        let planned: u64 = steps
            .iter()
            .filter(|step| step.downtime)
            .map(|step| step.estimate_ms)
            .sum();
        let nothing = expected(&steps, |_| None);
        assert_eq!((nothing.total_ms, nothing.measured_ms), (planned, 0));
        let estimate = |wanted: fn(&Kind) -> bool| {
            let step = steps.iter().find(|step| kind(step).is_some_and(wanted));
            step.unwrap().estimate_ms
        };
        let replaced = estimate(|kind| matches!(kind, Kind::TransferOwnership(_)))
            + estimate(|kind| matches!(kind, Kind::StartServer(_)))
            + estimate(|kind| matches!(kind, Kind::WaitUntilReady(_)));
        let all = expected(&steps, |_| Some(5));
        assert_eq!(
            (all.total_ms, all.measured_ms),
            (planned - replaced + 15, 15)
        );
    }
}
