//! PMM 2 → 3 in a cluster: the crossing of `pmm-in-place`, with other steps at the host agent. Where there is a container engine the old
//! container is set aside and a new one made; here the StatefulSet gets no pod, another template, and its pod again.
//!
//! Rejected: a Job that changes the owners, and `helm upgrade` by Ferry. The first has no record of former owners and no way back; the
//! second needs a chart, its repository and the operator's own values, and renders more than what has to change.

use ferry_proto::v1::{self as v1, ContainerFacts, Facts, Plan, Step, action::Kind};
use pbjson_types::Timestamp;

use super::{
    PlanRefused, Wishes,
    pmm_in_place::{
        made,
        steps::{Refine as _, step},
    },
};

/// The name of this recipe in a plan.
pub const NAME: &str = "pmm-kubernetes";

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
    let container = facts.container.clone().unwrap_or_default();
    made(NAME, server, facts, wishes, created, |ground| {
        let steps = ground.steps(wishes).into_iter();
        steps
            .filter_map(|step| beside_cluster(step, &container, ground.owner()))
            .collect()
    })
}

/// What a step of `pmm-in-place` is in a cluster; `None` where there is nothing to do.
fn beside_cluster(
    step_there: Step,
    container: &ContainerFacts,
    owner: Option<v1::Owner>,
) -> Option<Step> {
    let name = container.name.clone();
    let retitled = |title: &str, kind: Kind| Step {
        title: title.to_owned(),
        action: Some(v1::Action { kind: Some(kind) }),
        ..step_there.clone()
    };
    let kind = step_there.action.as_ref()?.kind.clone()?;
    Some(match kind {
        // No engine starts what the StatefulSet does not have, and there is one StatefulSet only.
        Kind::FenceServer(_) | Kind::SetAsideContainer(_) | Kind::EditComposeFile(_) => {
            return None;
        }
        Kind::PullImage(pull) => retitled(
            "fetch image on the server's node",
            Kind::PullImage(v1::PullImage {
                server: name,
                ..pull
            }),
        ),
        Kind::StopServer(stop) => retitled(
            "give the StatefulSet no pod",
            Kind::StopServer(v1::StopServer {
                container_id: name,
                ..stop
            }),
        ),
        Kind::ReplaceContainer(replace) => {
            let patch = v1::PatchStatefulSet {
                stateful_set: name,
                settings_digest: container.settings_digest.clone(),
                reference: replace.reference,
                target_version: replace.target_version,
                user: owner,
            };
            let title = step_there
                .title
                .replace("replace container", "patch StatefulSet");
            let patch = step(
                step_there.place(),
                &title,
                step_there.estimate_ms,
                Kind::PatchStatefulSet(patch),
            );
            Step {
                downtime: step_there.downtime,
                ..patch.remark(step_there.remark.clone())
            }
        }
        Kind::StartServer(start) => retitled(
            "give it its pod again, watch the boot",
            Kind::StartServer(start),
        ),
        Kind::CopyVolume(copy) if !copy.final_pass => {
            retitled("copy volume → new claim", Kind::CopyVolume(copy))
        }
        other => retitled(&step_there.title, other),
    })
}

#[cfg(test)]
mod tests {
    use crate::samples;

    #[test]
    fn it_is_the_crossing_with_other_steps_at_the_host() {
        let facts = samples::in_a_cluster();
        let address = "kubernetes:monitoring/pmm";
        let plan =
            super::super::plan(address, facts, &samples::wishes(), Default::default()).unwrap();
        assert_eq!(plan.recipe, super::NAME);
        let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "pull-image",
                "launch-agents",
                "capture-baseline",
                "dump-databases",
                "prove-dumps",
                "copy-volume",
                "prove-copy",
                "heal-roles",
                "stop-services",
                "stop-server",
                "copy-changes",
                "transfer-ownership",
                "patch-stateful-set",
                "hand-over-volume",
                "start-server",
                "launch-sidecar",
                "wait-until-ready",
                "migrate-api-keys",
                "compare-baseline",
                "keep-encryption-key",
                "retire-agents",
            ]
        );
        insta::assert_json_snapshot!(plan.steps);
    }
}
