//! The data of a PMM 2 that has no volume is copied out of its container, to a new volume; the container is made again with its own
//! settings, its own image and that volume. A run of its own before the crossing, which then starts from a server like any other,
//! with a backup and a way back of its own.
//!
//! Nothing of the old container's data is changed, so the old container is the backup: there is neither a second copy nor a dump, and
//! no point of no return. Everything else is [`pmm_in_place`]'s: the baseline, the order of the stop, the fence, the proof.
//!
//! Of PMM 2 only. The images of PMM 3 declare `/srv` a volume, so that an engine gives their containers one even when nobody asks.
//!
//! Rejected: copying in the crossing itself, straight to PMM 3. Its undo would have two places to put data back to, and the crossing's
//! backup would be of a volume that no server had proven yet.

use ferry_proto::v1::{self, Facts, Place, Plan, Step, action::Kind};
use pbjson_types::Timestamp;

use super::{
    Backup, PlanRefused, Recipe, Wishes, estimate,
    pmm_in_place::{
        self,
        steps::{Ground, Refine as _, step},
    },
    space::new_volume_bytes,
};
use crate::units::bytes;

/// The name of this recipe in a plan.
pub const NAME: &str = "pmm-move-data";

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

/// What is wished for before a crossing: the same, with the server's own image, by id.
#[must_use]
pub fn wishes(crossing: &Wishes, image_id: &str) -> Wishes {
    Wishes {
        target_image: image_id.to_owned(),
        recipe: Recipe::PmmMoveData,
        backup: Backup::NewVolume,
        ..crossing.clone()
    }
}

/// The volume that a plan moves data to; `None` where it moves none.
#[must_use]
pub fn volume_of(plan: &Plan) -> Option<&str> {
    let launched = plan.steps.iter().find_map(|step| {
        match step.action.as_ref().and_then(|it| it.kind.as_ref())? {
            Kind::LaunchAgents(launch) if launch.volume_agent => Some(launch.data_volume.as_str()),
            _ => None,
        }
    });
    launched.filter(|name| !name.is_empty())
}

/// The other recipe's steps, those about backups replaced by the copy to the new volume.
fn steps(ground: &Ground<'_>, wishes: &Wishes) -> Vec<Step> {
    // A plan is not made without: a blocker says so.
    let volume = wishes.data_volume.clone().unwrap_or_default();
    let mut steps = Vec::new();
    for mut step in ground.steps(wishes) {
        let Some(kind) = step.action.as_mut().and_then(|action| action.kind.as_mut()) else {
            continue;
        };
        let mut behind = None;
        match kind {
            // The image is there: the server runs from it.
            Kind::PullImage(_)
            | Kind::DumpDatabases(_)
            | Kind::ProveDumps(_)
            | Kind::ProveCopy(_)
            | Kind::HandOverVolume(_) => continue,
            Kind::CopyVolume(copy) if copy.final_pass => continue,
            Kind::CopyVolume(_) => step = copied(ground, wishes, &volume),
            Kind::LaunchAgents(launch) if launch.volume_agent => {
                launch.data_volume.clone_from(&volume);
                launch.backup_folder.clear();
                step.title = format!("make volume {volume}, launch agents");
            }
            // The last pass needs the container's first process, and no engine that starts the programs again behind it.
            Kind::FenceServer(_) => behind = Some(copied_at_last(ground)),
            Kind::StopServer(stop) => stop.same_start = true,
            Kind::ReplaceContainer(replace) => {
                replace.data_volume.clone_from(&volume);
                step.title = format!("{}, 1 new volume", step.title);
            }
            // Going back leads to a container that still has its data.
            Kind::StartServer(_) => step.point_of_no_return = false,
            Kind::RetireAgents(retire) => {
                retire.data_volume.clone_from(&volume);
                retire.backup_folder.clear();
            }
            _ => {}
        }
        steps.push(step);
        steps.extend(behind);
    }
    steps
}

fn copied(ground: &Ground<'_>, wishes: &Wishes, volume: &str) -> Step {
    let (data, limit) = (ground.data, wishes.bytes_per_second);
    let pace = limit.map_or_else(String::new, |limit| {
        format!(", at most {} a second", bytes(limit))
    });
    let free = data
        .new_volume
        .as_ref()
        .map_or(0, |volume| volume.free_bytes);
    let copy = estimate::copy(data.bytes, data.entries, limit);
    let proof = estimate::prove_copy(data.bytes, data.entries);
    step(
        Place::Container,
        &format!("copy the data → volume {volume}, prove it"),
        copy.saturating_add(proof),
        Kind::CopyDataOut(v1::CopyDataOut {
            data_destination: data.destination.clone(),
            final_pass: false,
            bytes_per_second: limit.unwrap_or_default(),
        }),
    )
    .remark(format!(
        "needs {}, {} free{pace}",
        bytes(new_volume_bytes(data)),
        bytes(free)
    ))
}

fn copied_at_last(ground: &Ground<'_>) -> Step {
    let data = ground.data;
    let pass = estimate::copy_changes(data.entries);
    let copy = step(
        Place::Container,
        "copy the data, what changed, compare",
        pass.saturating_add(estimate::walk(data.entries)),
        Kind::CopyDataOut(v1::CopyDataOut {
            data_destination: data.destination.clone(),
            final_pass: true,
            bytes_per_second: 0,
        }),
    );
    Step {
        downtime: true,
        ..copy.id("copy-data-changes")
    }
}

#[cfg(test)]
mod tests {
    use ferry_proto::v1::{Plan, action::Kind};

    use super::{NAME, volume_of};
    use crate::{
        recipes::{Recipe, plan},
        samples,
    };

    fn made() -> Plan {
        let (facts, wishes) = samples::in_the_layer();
        plan("docker:pmm-server", facts, &wishes, Default::default()).unwrap()
    }

    #[test]
    fn the_steps_come_in_their_order() {
        let plan = made();
        let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "launch-agents",
                "capture-baseline",
                "copy-data-out",
                "stop-services",
                "fence-server",
                "copy-data-changes",
                "stop-server",
                "set-aside-container",
                "replace-container",
                "start-server",
                "launch-sidecar",
                "wait-until-ready",
                "compare-baseline",
                "retire-agents",
            ]
        );
        insta::assert_json_snapshot!(plan.steps);
    }

    #[test]
    fn it_names_its_volume_and_becomes_what_it_is() {
        let plan = made();
        assert_eq!(plan.recipe, NAME);
        assert_eq!(Recipe::of(&plan), Recipe::PmmMoveData);
        assert_eq!(volume_of(&plan), Some("pmm-server-data"));
        assert_eq!(volume_of(&samples::plan()), None);
        assert_eq!(plan.from_version, plan.to_version);
        assert_eq!((plan.owner, plan.policy.len()), (None, 0));
    }

    /// The data stays where it was, so there is nothing that a step would have to restore.
    #[test]
    fn nothing_of_it_is_beyond_return_or_makes_a_backup() {
        for step in made().steps {
            assert!(!step.point_of_no_return, "{}", step.id);
            let kind = step.action.and_then(|action| action.kind);
            let backs_up = matches!(
                kind,
                Some(Kind::CopyVolume(_) | Kind::HandOverVolume(_) | Kind::TransferOwnership(_))
            );
            assert!(!backs_up, "{}", step.id);
        }
    }
}
