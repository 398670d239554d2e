//! PMM 2 → 3 with a new PostgreSQL cluster: the databases are dumped while nobody writes to them, restored into a cluster made
//! for them by the server's own programs, and that takes the former one's place. For a cluster that is damaged below what SQL
//! shows, or came from elsewhere with owners, settings or collations that nobody trusts any more.
//!
//! Everything else is [`pmm_in_place`]'s: the proof before the stop, the copy by two passes, the fence, the way back.
//!
//! Rejected: restoring beside the running PMM 3, which has made itself an empty cluster. It starts three times instead of once,
//! its own first rows must be thrown away, and a restore that fails does so behind the point of no return. Here every row is
//! counted in the new cluster while the old server still stands, and PMM 3's first start already has the data.

use ferry_proto::v1::{self, Facts, Place, Plan, ServicesPart, Step, action::Kind};
use pbjson_types::Timestamp;

use super::{
    PlanRefused, Wishes, estimate,
    pmm_in_place::{
        self,
        steps::{Ground, Refine as _, step},
    },
};

/// The name of this recipe in a plan.
pub const NAME: &str = "pmm-dump-restore";

/// Makes the plan for one server.
///
/// # Errors
/// [`PlanRefused`] when a finding is a blocker: a plan is never made with one.
pub fn plan(
    server: &str,
    facts: Facts,
    wishes: &Wishes,
    created: Timestamp,
) -> Result<Plan, PlanRefused> {
    pmm_in_place::made(NAME, server, facts, wishes, created, |ground| {
        steps(ground, wishes)
    })
}

/// The other recipe's steps, with these between them.
fn steps(ground: &Ground<'_>, wishes: &Wishes) -> Vec<Step> {
    let mut steps = Vec::new();
    for step in ground.steps(wishes) {
        match step.action.as_ref().and_then(|action| action.kind.as_ref()) {
            Some(Kind::StopServices(_)) => steps.extend(restored(ground, wishes)),
            // With the owners of the former cluster transferred, the two can change places; undo has them as they were.
            Some(Kind::TransferOwnership(_)) => steps.extend([step, renewed(ground)]),
            _ => steps.push(step),
        }
    }
    steps
}

/// From the stop of whoever writes until PostgreSQL is down too.
fn restored(ground: &Ground<'_>, wishes: &Wishes) -> [Step; 4] {
    let stop = |part: ServicesPart| Kind::StopServices(v1::StopServices { part: part.into() });
    let mut restore = ground.proof(wishes).id("restore-databases");
    "restore them into a new cluster, count rows".clone_into(&mut restore.title);
    if let Some(Kind::ProveDumps(prove)) = restore.action.as_mut().and_then(|it| it.kind.as_mut()) {
        prove.keep = true;
    }
    let mut dump = ground.dump(wishes).id("dump-at-rest");
    "dump them again, at rest".clone_into(&mut dump.title);
    let steps = [
        step(
            Place::Container,
            "stop services, all but PostgreSQL",
            estimate::STOP_SERVICES,
            stop(ServicesPart::Clients),
        ),
        dump,
        restore,
        step(
            Place::Container,
            "stop PostgreSQL",
            estimate::ENGINE_CALL,
            stop(ServicesPart::Database),
        )
        .id("stop-database"),
    ];
    steps.map(|step| Step {
        downtime: true,
        ..step
    })
}

fn renewed(ground: &Ground<'_>) -> Step {
    let renew = Kind::RenewCluster(v1::RenewCluster {
        owner: ground.owner(),
    });
    Step {
        downtime: true,
        ..step(
            Place::Volume,
            "put the new cluster in place",
            estimate::ENGINE_CALL,
            renew,
        )
    }
}

#[cfg(test)]
mod tests {
    use ferry_proto::v1::Plan;

    use crate::{
        recipes::{Recipe, Wishes, plan},
        samples,
    };

    fn made(recipe: Recipe) -> Plan {
        let wishes = Wishes {
            recipe,
            ..samples::wishes()
        };
        plan("docker:p", samples::facts(), &wishes, Default::default()).unwrap()
    }

    fn ids(plan: &Plan) -> Vec<&str> {
        plan.steps.iter().map(|step| step.id.as_str()).collect()
    }

    #[test]
    fn a_plan_names_the_recipe_that_was_wished_for() {
        for recipe in [Recipe::PmmInPlace, Recipe::PmmDumpRestore] {
            assert_eq!(made(recipe).recipe, recipe.name());
            assert_eq!(Recipe::of(&made(recipe)), recipe);
        }
    }

    #[test]
    fn it_is_the_other_recipe_with_four_steps_more() {
        let (plan, other) = (made(Recipe::PmmDumpRestore), made(Recipe::PmmInPlace));
        let own = [
            "dump-at-rest",
            "restore-databases",
            "stop-database",
            "renew-cluster",
        ];
        let common: Vec<&str> = ids(&plan)
            .into_iter()
            .filter(|id| !own.contains(id))
            .collect();
        assert_eq!(common, ids(&other));
    }

    #[test]
    fn nothing_is_restored_behind_the_point_of_no_return() {
        let plan = made(Recipe::PmmDumpRestore);
        let at = |id: &str| ids(&plan).iter().position(|it| *it == id).unwrap();
        let order = [
            "prove-dumps",
            "prove-copy",
            "stop-services",
            "dump-at-rest",
            "restore-databases",
            "stop-database",
            "stop-server",
            "copy-changes",
            "transfer-ownership",
            "renew-cluster",
            "start-server",
        ];
        assert!(
            order.windows(2).all(|pair| at(pair[0]) < at(pair[1])),
            "{:?}",
            ids(&plan)
        );
        let down: Vec<usize> = (0..plan.steps.len())
            .filter(|it| plan.steps[*it].downtime)
            .collect();
        assert_eq!(
            down,
            (at("stop-services")..=at("wait-until-ready")).collect::<Vec<_>>()
        );
    }
}
