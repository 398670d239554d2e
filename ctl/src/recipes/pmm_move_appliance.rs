//! A PMM 2 that runs without a container, on an AMI or a virtual appliance, moves to a new machine with an engine and becomes a PMM 2 in a
//! container there. A run of its own before the crossing, which then starts from a server like any other. Two agents are in it: the one
//! on the old machine, which stops the programs and starts them again, and the host agent of the new one, which pulls.
//!
//! ```text
//!  make-volume → capture-baseline (origin) → pull-data → stop-services (origin) → pull-changes → create, start, compare
//!                 undo: found again, there                undo: they start again
//! ```
//!
//! Nothing of the old machine's data is changed, so the old machine is the backup: there is neither a copy nor a dump, and no point of no
//! return. Why the volume is made before the baseline is captured: undone in the other order, what was pulled goes only when the old
//! server has shown all that it had.
//!
//! Rejected: moving and crossing in one run. Its proof would compare a PMM 3 with a PMM 2 on another machine, and its way back would have
//! two places to restore.

mod steps;

use ferry_proto::v1::{
    self, DataFacts, Facts, Finding, ImageFacts, MountFact, NewServer, Plan, Renumber, action::Kind,
};
use pbjson_types::Timestamp;

use self::steps::{RESTART, steps};
use super::{
    PlanRefused, Wishes,
    check::arrival_findings,
    has_blocker,
    pmm_in_place::{refused, steps::Ground},
    space::new_volume_bytes,
};

/// The name of this recipe in a plan.
pub const NAME: &str = "pmm-move-appliance";

/// What was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct MoveWishes {
    /// What is to be made, and the agent on the old machine.
    pub new: NewServer,
    /// Numbers of users, and of groups, that were given by hand.
    pub users: Vec<Renumber>,
    /// The same of groups.
    pub groups: Vec<Renumber>,
    /// The image of the old server's version, and what holds for every recipe.
    pub common: Wishes,
}

/// Makes the plan. `server` is the address of the container that is made.
///
/// # Errors
/// [`PlanRefused`] when a finding is a blocker: a plan is never made with one.
pub fn plan(
    server: &str,
    facts: Facts,
    wishes: &MoveWishes,
    created: Timestamp,
) -> Result<Plan, PlanRefused> {
    let findings = arrival_findings(&facts, wishes);
    let ground = Ground::new(&facts).filter(|_| !has_blocker(&findings));
    let Some(ground) = ground else {
        return Err(refused(findings, "the facts are not complete"));
    };
    let plan = Plan {
        created: Some(created),
        recipe: NAME.to_owned(),
        server: server.to_owned(),
        origin: wishes.new.origin.clone(),
        from_version: ground.version_now().to_owned(),
        to_version: ground.version_then().to_owned(),
        steps: steps(&ground, &facts, wishes),
        findings: findings.clone(),
        facts: Some(facts.clone()),
        ..Plan::default()
    };
    ferry_proto::seal(plan).map_err(|error| refused(findings, &error.to_string()))
}

/// The machine that a plan moves a server away from, by its agent; `None` where it moves none.
#[must_use]
pub fn origin_of(plan: &Plan) -> Option<&str> {
    (plan.recipe == NAME).then_some(plan.origin.as_str())
}

/// The volume that a plan brings a server's data to; empty where it brings none.
#[must_use]
pub fn volume_of(plan: &Plan) -> &str {
    let arrival = plan.facts.as_ref().and_then(|facts| facts.arrival.as_ref());
    arrival.map_or("", |it| it.volume.as_str())
}

/// What was wished for when a plan was made.
#[must_use]
pub fn wishes_of(plan: &Plan) -> MoveWishes {
    let facts = plan.facts.clone().unwrap_or_default();
    let arrival = facts.arrival.unwrap_or_default();
    let pulled = plan.steps.iter().find_map(|step| {
        match step.action.as_ref().and_then(|it| it.kind.as_ref())? {
            Kind::PullData(pull) => Some(pull.clone()),
            _ => None,
        }
    });
    let pulled = pulled.unwrap_or_default();
    MoveWishes {
        new: NewServer {
            container: facts.container.unwrap_or_default().name,
            volume: arrival.volume,
            ports: arrival.ports,
            origin: plan.origin.clone(),
        },
        users: pulled.users,
        groups: pulled.groups,
        common: Wishes::new(facts.target.unwrap_or_default().reference),
    }
}

/// Both agents' views made one: the host agent's of the new machine, and the other's of the server and its data.
#[must_use]
pub fn merge(here: Facts, there: Facts) -> Facts {
    let arrival = here.arrival.clone().unwrap_or_default();
    let data = there.data.map(|data| DataFacts {
        // The data goes to the new machine, and what is free on the old one says nothing.
        backup_free_bytes: arrival.free_bytes,
        backup_free_inodes: arrival.free_inodes,
        backup_reserve_bytes: arrival.reserve_bytes,
        backup_same_disk: false,
        ..data
    });
    Facts {
        server: there.server,
        data,
        observed: there.observed,
        ..here
    }
}

/// The facts of the server as they will be when it has moved, for a look at the crossing that follows.
#[must_use]
pub fn ahead(facts: &Facts, target: Option<ImageFacts>) -> Facts {
    let arrival = facts.arrival.clone().unwrap_or_default();
    let container = facts.container.clone().unwrap_or_default();
    let mount = |data: &DataFacts| MountFact {
        kind: "volume".to_owned(),
        name: arrival.volume.clone(),
        destination: data.destination.clone(),
        ..MountFact::default()
    };
    let data = facts.data.clone();
    let left = |data: &DataFacts| arrival.free_bytes.saturating_sub(new_volume_bytes(data));
    let inodes = |data: &DataFacts| arrival.free_inodes.saturating_sub(data.entries);
    Facts {
        container: Some(v1::ContainerFacts {
            // It has none yet; whoever plans the crossing looks again.
            id: "new".to_owned(),
            running: true,
            status: "running".to_owned(),
            restart_policy: RESTART.to_owned(),
            mounts: data.iter().map(mount).collect(),
            ..container
        }),
        image: facts.target.clone(),
        target,
        data: data.map(|data| DataFacts {
            free_bytes: left(&data),
            free_inodes: inodes(&data),
            backup_free_bytes: left(&data),
            backup_free_inodes: inodes(&data),
            reserve_bytes: arrival.reserve_bytes,
            backup_reserve_bytes: arrival.reserve_bytes,
            backup_same_disk: true,
            // These stay behind, or keep it from moving at all.
            mounts_below: Vec::new(),
            hard_links_outside: Vec::new(),
            hard_links_outside_count: 0,
            immutable: Vec::new(),
            immutable_count: 0,
            other_containers: Vec::new(),
            read_only: false,
            ..data
        }),
        arrival: None,
        ..facts.clone()
    }
}

/// What stands in the way of the crossing, without what the move itself says already.
#[must_use]
pub fn blockers_ahead(found: Vec<Finding>, known: &[Finding]) -> Vec<Finding> {
    let blocks = |it: &Finding| it.severity() == v1::Severity::Blocker;
    let is_known = |it: &Finding| known.iter().any(|other| other.code == it.code);
    let found = found.into_iter();
    found.filter(|it| blocks(it) && !is_known(it)).collect()
}

#[cfg(test)]
mod tests {
    use ferry_proto::v1::Place;

    use super::*;
    use crate::{recipes::findings, samples};

    fn made() -> Plan {
        let (facts, wishes) = samples::arriving();
        plan("docker:pmm-server", facts, &wishes, Timestamp::default()).unwrap()
    }

    #[test]
    fn the_steps_come_in_their_order() {
        let plan = made();
        let steps: Vec<(&str, Place)> = plan.steps.iter().map(|it| (&*it.id, it.place())).collect();
        assert_eq!(
            steps,
            [
                ("pull-image", Place::Host),
                ("make-volume", Place::Host),
                ("capture-baseline", Place::Origin),
                ("pull-data", Place::Host),
                ("stop-services", Place::Origin),
                ("pull-changes", Place::Host),
                ("create-server", Place::Host),
                ("start-server", Place::Host),
                ("launch-sidecar", Place::Host),
                ("wait-until-ready", Place::Container),
                ("compare-baseline", Place::Container),
                ("retire-agents", Place::Host),
            ]
        );
        insta::assert_json_snapshot!(plan.steps);
    }

    #[test]
    fn it_can_be_kept_and_says_where_it_leads() {
        let plan = made();
        ferry_proto::verify(&plan).unwrap();
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(ferry_proto::read_plan(&text).unwrap(), plan);
        assert_eq!(origin_of(&plan), Some("https://old.example.com:7650"));
        assert_eq!(volume_of(&plan), "pmm-data");
        assert_eq!(origin_of(&samples::plan()), None);
        assert_eq!(volume_of(&samples::plan()), "");
        let again = wishes_of(&plan);
        assert_eq!(again.new, samples::arriving().1.new);
        assert_eq!((plan.owner, plan.policy.len()), (None, 0));
        assert_eq!(plan.from_version, plan.to_version);
    }

    /// The old machine keeps all that it has, so there is nothing that a step would have to restore; and a pull that may still go on is
    /// ended before its volume is removed.
    #[test]
    fn nothing_of_it_is_beyond_return() {
        let plan = made();
        for step in &plan.steps {
            assert!(!step.point_of_no_return, "{}", step.id);
        }
        let undone = |id: &str| {
            let step = plan.steps.iter().find(|it| it.id == id).unwrap();
            plan.needs_undo_of(step)
        };
        assert!(undone("pull-data") && undone("make-volume") && undone("stop-services"));
    }

    #[test]
    fn the_pace_is_for_the_live_pass_alone() {
        let (facts, mut wishes) = samples::arriving();
        wishes.common.bytes_per_second = Some(5 << 20);
        let plan = plan("docker:pmm-server", facts, &wishes, Timestamp::default()).unwrap();
        let paces: Vec<u64> = plan
            .steps
            .iter()
            .filter_map(|step| match step.action.as_ref()?.kind.as_ref()? {
                Kind::PullData(pull) => Some(pull.bytes_per_second),
                _ => None,
            })
            .collect();
        assert_eq!(paces, [5 << 20, 0]);
    }

    #[test]
    fn the_crossing_behind_it_is_looked_at_before() {
        let (facts, wishes) = samples::arriving();
        let target = samples::facts().target;
        let known = arrival_findings(&facts, &wishes);
        let look = |facts: &Facts| {
            let found = findings(&ahead(facts, target.clone()), &samples::wishes());
            blockers_ahead(found, &known)
        };
        assert_eq!(look(&facts), []);
        let mut dirty = facts.clone();
        dirty.server.as_mut().unwrap().postgres_local_trust = false;
        let found = look(&dirty);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].code, "postgres-local-not-trusted");
        // Volume and backup both have to fit.
        let mut full = facts;
        full.arrival.as_mut().unwrap().free_bytes = 60 << 30;
        assert_eq!(look(&full)[0].code, "disk-too-small");
    }
}
