//! The steps of the recipe, in their order, each with everything it needs to know.

use ferry_proto::v1::{self, Facts, Place, Step, action::Kind};

use super::MoveWishes;
use crate::{
    recipes::{
        check::renumbered,
        estimate,
        pmm_in_place::steps::{Ground, Refine as _, SETTLE_SECONDS, step},
        space::new_volume_bytes,
    },
    units::{bytes, counted},
};

/// What PMM's own pages give the container.
pub(super) const RESTART: &str = "always";

pub(super) fn steps(ground: &Ground<'_>, facts: &Facts, wishes: &MoveWishes) -> Vec<Step> {
    let mut steps = before_the_stop(ground, facts, wishes);
    let down = while_it_is_down(ground, facts, wishes).into_iter();
    steps.extend(down.map(|step| Step {
        downtime: true,
        ..step
    }));
    steps.extend(afterwards(ground, wishes));
    steps
}

fn pull(facts: &Facts, wishes: &MoveWishes, final_pass: bool) -> Kind {
    let numbers = renumbered(facts, wishes);
    let limit = wishes.common.bytes_per_second.filter(|_| !final_pass);
    Kind::PullData(v1::PullData {
        volume: wishes.new.volume.clone(),
        container: wishes.new.container.clone(),
        origin: wishes.new.origin.clone(),
        final_pass,
        bytes_per_second: limit.unwrap_or_default(),
        users: numbers.users,
        groups: numbers.groups,
        look_only: false,
    })
}

fn before_the_stop(ground: &Ground<'_>, facts: &Facts, wishes: &MoveWishes) -> Vec<Step> {
    let (data, volume) = (ground.data, &wishes.new.volume);
    let limit = wishes.common.bytes_per_second;
    let pace = limit.map_or_else(String::new, |limit| {
        format!(", at most {} a second", bytes(limit))
    });
    let copy = estimate::copy(data.bytes, data.entries, limit);
    vec![
        ground.pull(),
        step(
            Place::Host,
            &format!("make volume {volume}"),
            estimate::ENGINE_CALL,
            Kind::MakeVolume(v1::MakeVolume {
                volume: volume.clone(),
                container: wishes.new.container.clone(),
            }),
        ),
        step(
            Place::Origin,
            "capture baseline",
            estimate::BASELINE,
            Kind::CaptureBaseline(v1::CaptureBaseline {}),
        ),
        step(
            Place::Host,
            &format!("pull the data → volume {volume}, prove it"),
            copy.saturating_add(estimate::prove_copy(data.bytes, data.entries)),
            pull(facts, wishes, false),
        )
        .remark(format!(
            "needs {}, {} free{pace}",
            bytes(new_volume_bytes(data)),
            bytes(data.backup_free_bytes)
        )),
    ]
}

fn while_it_is_down(ground: &Ground<'_>, facts: &Facts, wishes: &MoveWishes) -> Vec<Step> {
    let (data, new, target) = (ground.data, &wishes.new, ground.target);
    let ready = ground.ready_seconds(&wishes.common);
    vec![
        step(
            Place::Origin,
            "stop services, nginx first",
            estimate::STOP_SERVICES,
            Kind::StopServices(v1::StopServices::default()),
        ),
        step(
            Place::Host,
            "pull the data, what changed, compare",
            estimate::copy_changes(data.entries)
                .saturating_add(estimate::walk(data.entries).saturating_mul(2)),
            pull(facts, wishes, true),
        )
        .id("pull-changes"),
        step(
            Place::Host,
            &format!(
                "create container {}: {}",
                new.container,
                counted(new.ports.len() as u64, "port")
            ),
            estimate::REPLACE,
            Kind::CreateServer(v1::CreateServer {
                name: new.container.clone(),
                image_id: target.id.clone(),
                reference: target.reference.clone(),
                volume: new.volume.clone(),
                data_destination: data.destination.clone(),
                ports: new.ports.clone(),
            }),
        ),
        step(
            Place::Host,
            "start, watch the boot",
            u64::from(SETTLE_SECONDS) * 1000 + estimate::ENGINE_CALL,
            Kind::StartServer(v1::StartServer {
                name: new.container.clone(),
                settle_seconds: SETTLE_SECONDS,
                ..v1::StartServer::default()
            }),
        ),
        step(
            Place::Host,
            "launch agent beside it",
            estimate::LAUNCH,
            Kind::LaunchAgents(v1::LaunchAgents {
                container: new.container.clone(),
                sidecar: true,
                data_destination: data.destination.clone(),
                ..v1::LaunchAgents::default()
            }),
        )
        .id("launch-sidecar"),
        step(
            Place::Container,
            "wait until ready",
            estimate::FIRST_BOOT,
            Kind::WaitUntilReady(v1::WaitUntilReady {
                version: target.version.clone(),
                timeout_seconds: ready,
            }),
        )
        .remark(format!(
            "at most {}",
            crate::units::estimate(u64::from(ready) * 1000)
        )),
    ]
}

fn afterwards(ground: &Ground<'_>, wishes: &MoveWishes) -> Vec<Step> {
    vec![
        step(
            Place::Container,
            "compare with the baseline",
            estimate::COMPARE,
            Kind::CompareBaseline(v1::CompareBaseline {
                timeout_seconds: wishes.common.compare_seconds,
                same_major: true,
                moved: true,
                ..v1::CompareBaseline::default()
            }),
        ),
        step(
            Place::Host,
            "retire the agents",
            estimate::LAUNCH,
            Kind::RetireAgents(v1::RetireAgents {
                container: wishes.new.container.clone(),
                data_destination: ground.data.destination.clone(),
                restart_policy: RESTART.to_owned(),
                origin: wishes.new.origin.clone(),
                ..v1::RetireAgents::default()
            }),
        ),
    ]
}
