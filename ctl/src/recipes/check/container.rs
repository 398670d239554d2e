//! The engine and the container: whether it may be stopped, and made again as it was.

use ferry_proto::v1::{ContainerFacts, EngineFacts, Facts};

use super::{
    Notebook, Subject,
    catalogue::{carry_over, container},
    cluster, compose, names, unit,
};
use crate::recipes::{Compose, Unit, Wishes};

pub(super) fn check(facts: &Facts, wishes: &Wishes, subject: &Subject, notebook: &mut Notebook) {
    if let (Some(cluster), Some(container)) = (&facts.cluster, &facts.container) {
        cluster::check(facts, cluster, wishes, subject, notebook);
        return check_carry_over(container, subject, notebook);
    }
    match &facts.engine {
        Some(engine) => check_engine(engine, notebook),
        None => notebook.blocker(
            container::ENGINE_UNOBSERVED,
            "the container engine was not observed",
            "see that the engine answers (`docker version`), then check again",
        ),
    }
    let Some(container) = &facts.container else {
        notebook.blocker(
            container::CONTAINER_UNOBSERVED,
            "the container was not observed",
            "see `docker ps --all` for its name, then check again",
        );
        return;
    };
    if container.id.is_empty() || container.name.is_empty() {
        notebook.blocker(
            container::CONTAINER_UNOBSERVED,
            "the engine gives no name or no id for the container",
            "see `docker ps --all`, then check again",
        );
    }
    check_state(container, subject, notebook);
    // Its unit stops it, makes the next one, and is what has to be kept from starting it.
    let by_unit = container.managed_by == "systemd" && wishes.unit == Unit::Edit;
    if by_unit {
        unit::check(facts, container, wishes, subject, notebook);
    } else if container.managed_by == "compose" && wishes.compose != Compose::Refuse {
        compose::check(facts, container, wishes, subject, notebook);
    } else {
        check_owner(container, subject, notebook);
    }
    if !by_unit || container.unit.as_ref().is_some_and(|it| it.starts) {
        check_auto_remove(container, subject, notebook);
        check_fence(container, subject, notebook);
    }
    check_neighbours(container, notebook);
    check_carry_over(container, subject, notebook);
}

fn check_engine(engine: &EngineFacts, notebook: &mut Notebook) {
    match engine.kind.to_ascii_lowercase().as_str() {
        "docker" => {}
        "podman" if engine.rootless => notebook.note(
            container::PODMAN_ROOTLESS,
            "the container engine is an ordinary user's Podman: it and the run live as long as that user's processes may",
            "where no one of the user's is logged in all the time: `loginctl enable-linger USER`",
        ),
        "podman" => {}
        _ => notebook.blocker(
            container::ENGINE_UNKNOWN,
            format!(
                "the container engine says that it is `{}`, neither Docker nor Podman",
                engine.kind
            ),
            "point at a Docker or Podman engine, then check again",
        ),
    }
}

fn check_state(container: &ContainerFacts, subject: &Subject, notebook: &mut Notebook) {
    let name = &subject.name;
    match container.status.as_str() {
        "paused" => notebook.blocker(
            container::CONTAINER_PAUSED,
            format!("{name} is paused and cannot answer"),
            &format!("`docker unpause {name}`, then check again"),
        ),
        "restarting" => notebook.blocker(
            container::CONTAINER_RESTARTING,
            format!("{name} keeps restarting"),
            &format!("see `docker logs {name}` for the reason, repair it, then check again"),
        ),
        _ if !container.running => notebook.blocker(
            container::CONTAINER_NOT_RUNNING,
            format!("{name} does not run, so nothing can be recorded to be found again later"),
            &format!("`docker start {name}`, wait until PMM answers, then check again"),
        ),
        _ => {}
    }
}

fn check_auto_remove(container: &ContainerFacts, subject: &Subject, notebook: &mut Notebook) {
    let name = &subject.name;
    // facts/pmm.md 7.4: `stop` would delete the container, and its anonymous volumes with it.
    if container.auto_remove {
        notebook.blocker(
            container::CONTAINER_AUTO_REMOVE,
            format!("{name} was started with `--rm`: the engine deletes it when it stops"),
            "make the container again without `--rm` on the same volume, then check again; where a unit of systemd makes it, see \
             `--unit edit` (docs/units.md)",
        );
    }
}

/// Whether the old container can be kept down beside the new one (facts/pmm.md 2.1, defect 9).
fn check_fence(container: &ContainerFacts, subject: &Subject, notebook: &mut Notebook) {
    let why = &container.fence_obstacle;
    if why.is_empty() {
        return;
    }
    notebook.blocker(
        container::CONTAINER_UNFENCEABLE,
        format!(
            "{} could not be kept from being started beside its successor: {why}",
            subject.name
        ),
        "make the container again with its image's own command, none of it on a mount, then check again",
    );
}

fn check_owner(container: &ContainerFacts, subject: &Subject, notebook: &mut Notebook) {
    let name = &subject.name;
    let hint = match container.managed_by.as_str() {
        "" => return,
        "compose" => {
            "say `--compose edit` to have Compose's file changed with the container, or `--compose container-only` to have \
             the container alone made anew and be told what to change in the file (docs/compose.md)"
        }
        "swarm" => return check_swarm(container, subject, notebook),
        "systemd" => {
            "say `--unit edit` to have the unit's files changed and the unit stopped and started with the server (docs/units.md)"
        }
        "kubernetes" => {
            "name the StatefulSet that it is a pod of: `kubernetes:NAMESPACE/STATEFULSET` (docs/kubernetes.md)"
        }
        _ => "take the container out of that tool's hands, then check again",
    };
    notebook.blocker(
        container::CONTAINER_MANAGED,
        format!(
            "{name} is managed by {}, which would make it anew in the middle of the run",
            manager(container)
        ),
        hint,
    );
}

/// Who, with the name of a unit.
fn manager(container: &ContainerFacts) -> String {
    match &container.unit {
        Some(unit) => format!("{} ({})", container.managed_by, unit.name),
        None => container.managed_by.clone(),
    }
}

/// A swarm puts another task in the place of one that ends, and knows no task that is stopped (facts/pmm.md 7.5).
fn check_swarm(container: &ContainerFacts, subject: &Subject, notebook: &mut Notebook) {
    let data = container.mounts.iter().find(|it| it.destination == "/srv");
    let volume = match data {
        Some(mount) if !mount.name.is_empty() => &mount.name,
        Some(mount) => &mount.source,
        None => "VOLUME",
    };
    notebook.blocker(
        container::CONTAINER_SWARM_SERVICE,
        format!(
            "{} is a task of a Swarm service: the swarm would put another in its place as soon as its programs stop",
            subject.name
        ),
        &format!(
            "on the task's own node: `docker service scale SERVICE=0`, then `docker run --detach --name pmm-server --volume {volume}:/srv` with \
             the service's ports, variables and old image, and carry `docker:pmm-server` over. Afterwards `docker service update` with \
             the image, the variables and the container's side of the ports that the new container has, `docker stop --time 330 \
             pmm-server`, `docker rm pmm-server`, and `docker service scale SERVICE=1`"
        ),
    );
}

/// Others at the same engine who act on containers without being asked (facts/pmm.md 6, rows 21 and 22).
fn check_neighbours(facts: &ContainerFacts, notebook: &mut Notebook) {
    for (code, neighbours, what) in [
        (
            container::UPDATER_BESIDE,
            &facts.updaters,
            "may replace containers by itself, this one too",
        ),
        (
            container::RESTARTER_BESIDE,
            &facts.restarters,
            "restarts unhealthy containers, as this one is while its programs are stopped",
        ),
    ] {
        for name in neighbours {
            notebook.warning(
                code,
                format!("`{name}` runs at the same engine and {what}"),
                &format!("`docker stop {name}` for the migration"),
            );
        }
    }
}

fn check_carry_over(container: &ContainerFacts, subject: &Subject, notebook: &mut Notebook) {
    // `--rm` has a finding of its own, and is what is refused then.
    if !container.carry_over_refusal.is_empty() && !container.auto_remove {
        notebook.blocker(
            container::CARRY_OVER_REFUSED,
            format!(
                "{}'s settings do not carry over: {}",
                subject.name, container.carry_over_refusal
            ),
            "make the container again without that setting, then check again",
        );
    }
    for carried in &container.carry_over_notes {
        let code = carry_over::of(&carried.code);
        // A finding of its own says so, with what to do.
        let of = match container.managed_by.as_str() {
            "compose" => Some(carry_over::ORCHESTRATOR_COMPOSE),
            "systemd" => Some(carry_over::ORCHESTRATOR_SYSTEMD),
            "swarm" => Some(carry_over::ORCHESTRATOR_SWARM),
            _ => None,
        };
        if of == Some(code) {
            continue;
        }
        // What every crossing does to every server is worth knowing and no more.
        if code == carry_over::PORT_TRANSLATED {
            notebook.note(code, carried.text.clone(), "");
        } else {
            notebook.warning(code, carried.text.clone(), "");
        }
    }
    // facts/pmm.md 7.4: the image's `listen 8080; listen 8443 ssl` is fixed.
    let of_host = container.networks.iter().any(|network| network == "host");
    if of_host && !subject.is_update() {
        notebook.warning(
            container::HOST_NETWORK_PORTS,
            format!(
                "{} uses the host's network: PMM 3 listens there on 8080 and 8443, not on 80 and 443",
                subject.name
            ),
            "plan for clients and browsers to use 8443",
        );
        let taken: Vec<String> = container.taken_ports.iter().map(u32::to_string).collect();
        if !taken.is_empty() {
            notebook.blocker(
                container::HOST_PORT_TAKEN,
                format!(
                    "somebody listens on the host where PMM 3 would: {}",
                    names(taken.iter().map(String::as_str), taken.len() as u64)
                ),
                "",
            );
        }
    }
}
