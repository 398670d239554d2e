//! What the engine says of a container, its image, and the image it shall become.

use std::{collections::BTreeSet, net::IpAddr};

use ferry_proto::v1::{
    CarryOverNote, ContainerFacts, EngineFacts, EnvironmentChange, EnvironmentChangeKind, Facts,
    GetFactsRequest, ImageFacts, MountFact, NewVolumeFacts, UnitFacts,
};

use super::backups;
use crate::{
    arrival, compose,
    engine::{
        ContainerInspect, Engine, EngineInfo, ImageInspect,
        containers::ContainerEntry,
        environment::{ChangeKind, EnvTranslation},
        inspect::{Mount, PublishedPort},
        labels::RUN_LABEL,
    },
    error::StepError,
    fence,
    places::{self, CHECK_PREFIX},
    successor::{self, Successor},
    surroundings::Host,
    unit::{self, Wanted},
};

/// Where PMM keeps its data (facts/pmm.md 1.3).
const DATA: &str = "/srv";

pub(super) async fn observe(host: &Host, request: &GetFactsRequest) -> Result<Facts, StepError> {
    let engine = &host.engine;
    let engine_facts = engine_facts(engine, engine.info().await?);
    if request.backups && request.container.is_empty() {
        return Ok(Facts {
            engine: Some(engine_facts),
            backups: backups::observe(host, &request.known_folders).await?,
            ..Facts::default()
        });
    }
    let inspect = engine.inspect_container(&request.container).await?;
    let image = engine.inspect_image(inspect.image_id()).await?;
    let target = match request.target_image.as_str() {
        "" => None,
        reference => Some(image_facts(engine, reference, request.pull).await),
    };
    let old_image = image_facts(engine, inspect.image_id(), false).await;
    let same_major = target
        .as_ref()
        .is_some_and(|target| target.pmm_major != 0 && target.pmm_major == old_image.pmm_major);
    let new_volume = new_volume(engine, &inspect, &request.data_volume).await?;
    let mut container = container_facts(&inspect, &image, target.as_ref(), same_major);
    let rootless = engine_facts.rootless;
    let unit = unit_of(engine, &inspect, request, &container, rootless).await;
    if unit.is_some() {
        container.managed_by = "systemd".to_owned();
    }
    if let Some(target) = target.as_ref().filter(|target| target.present) {
        let new = Successor {
            image_id: &target.id,
            version: &target.version,
            same_major,
            data_volume: new_volume.as_ref().map(|volume| volume.name.as_str()),
        };
        // The unit makes it anew, whatever `--rm` says.
        let as_it_is_made = if request.unit && unit.is_some() {
            inspect.kept()
        } else {
            inspect.clone()
        };
        carry_over(engine, &as_it_is_made, new, &mut container).await;
    }
    if !request.target_image.is_empty() {
        container.fence_obstacle = fence::obstacle(engine, &inspect).await?;
    }
    if request.compose
        && container.managed_by == "compose"
        && let Some(target) = target.as_ref().filter(|target| target.present)
    {
        let new = Successor {
            image_id: &target.id,
            version: &target.version,
            same_major,
            data_volume: None,
        };
        let observed = compose::observe(engine, &inspect, &image, new, &target.reference);
        container.compose = Some(observed.await?);
    }
    if let Some(mut unit) = unit {
        if let Some(target) = target.as_ref().filter(|target| target.present)
            && request.unit
        {
            let new = Successor {
                image_id: &target.id,
                version: &target.version,
                same_major,
                data_volume: None,
            };
            let wanted = Wanted {
                reference: &target.reference,
                changes: &container.environment,
                ports: !same_major,
            };
            unit::observe(engine, &mut unit, &inspect, new, wanted).await;
        }
        container.unit = Some(unit);
    }
    let others = others(engine, &inspect).await?;
    neighbours(engine, &mut container).await?;
    let backup_folder = match request.backup_folder.as_str() {
        "" => None,
        folder => Some(backups::folder(host, &inspect, DATA, folder).await?),
    };
    Ok(Facts {
        engine: Some(engine_facts),
        container: Some(container),
        image: Some(old_image),
        target,
        server: None,
        backups: Vec::new(),
        clients: None,
        client_host: None,
        cluster: None,
        arrival: None,
        data: Some(ferry_proto::v1::DataFacts {
            destination: DATA.to_owned(),
            other_containers: others,
            backup_folder,
            new_volume,
            read_only: inspect.mount_at(DATA).is_some_and(|mount| !mount.writable),
            // An agent that only looks has all of them read-only itself.
            mounts_below: inspect
                .mounts()
                .iter()
                .filter(|mount| is_below_data(mount))
                .map(mount_fact)
                .collect(),
            ..Default::default()
        }),
        observed: None,
    })
}

pub(super) fn engine_facts(engine: &Engine, info: EngineInfo) -> EngineFacts {
    EngineFacts {
        kind: info.kind.word().to_owned(),
        version: info.version,
        id: info.id,
        endpoint: engine.endpoint().to_owned(),
        rootless: info.rootless,
    }
}

fn container_facts(
    inspect: &ContainerInspect,
    image: &ImageInspect,
    target: Option<&ImageFacts>,
    same_major: bool,
) -> ContainerFacts {
    let version = target
        .map(|target| target.version.as_str())
        .unwrap_or_default();
    let translation = successor::translate(inspect, image, version, same_major);
    ContainerFacts {
        id: inspect.id().to_owned(),
        name: inspect.name().to_owned(),
        running: inspect.running() && !inspect.paused(),
        status: inspect.status().to_owned(),
        started: started(inspect),
        restart_policy: inspect.restart_policy().to_string(),
        auto_remove: inspect.auto_remove(),
        pids_limit: inspect.pids_limit(),
        settings_digest: successor::settings_digest(inspect),
        environment: changes(&translation),
        mounts: inspect.mounts().iter().map(mount_fact).collect(),
        ports: inspect.ports().iter().map(port).collect(),
        networks: inspect.networks(),
        taken_ports: taken_ports(&inspect.networks()),
        managed_by: managed_by(inspect).to_owned(),
        carry_over_notes: Vec::new(),
        carry_over_refusal: String::new(),
        updaters: Vec::new(),
        restarters: Vec::new(),
        fence_obstacle: String::new(),
        compose: None,
        unit: None,
    }
}

/// Ports of the host that PMM 3 listens on in the host's network (facts/pmm.md 7.4), and that others listen on now.
fn taken_ports(networks: &[String]) -> Vec<u32> {
    if !networks.iter().any(|network| network == "host") {
        return Vec::new();
    }
    let any = IpAddr::from([0, 0, 0, 0]);
    let taken = [8080_u16, 8443].into_iter();
    let taken = taken.filter(|port| arrival::is_listened_on(any, *port));
    taken.map(u32::from).collect()
}

fn started(inspect: &ContainerInspect) -> Option<pbjson_types::Timestamp> {
    let started: jiff::Timestamp = inspect.started_at().parse().ok()?;
    u64::try_from(started.as_millisecond())
        .ok()
        .map(crate::ledger::timestamp)
}

pub(super) fn port(port: &PublishedPort) -> String {
    let address = if port.host_ip.is_empty() {
        "0.0.0.0"
    } else {
        &port.host_ip
    };
    format!("{address}:{} → {}", port.host_port, port.container)
}

/// What became of each variable, without any value.
#[must_use]
pub fn changes(translation: &EnvTranslation) -> Vec<EnvironmentChange> {
    use EnvironmentChangeKind as Kind;
    let changes = translation.changes.iter().map(|change| EnvironmentChange {
        name: change.name.clone(),
        new_name: change.new_name.clone().unwrap_or_default(),
        kind: match change.kind {
            ChangeKind::Kept => Kind::Kept,
            ChangeKind::Renamed => Kind::Renamed,
            ChangeKind::Inverted => Kind::Inverted,
            ChangeKind::Dropped => Kind::Dropped,
            ChangeKind::Invalid => Kind::Invalid,
            ChangeKind::Unknown => Kind::Foreign,
        }
        .into(),
        note: change.note.clone(),
    });
    changes.collect()
}

/// Who would make the container again by itself (facts/pmm.md 7.5).
fn managed_by(inspect: &ContainerInspect) -> &'static str {
    let labels = inspect.labels();
    let has = |prefix: &str| labels.keys().any(|label| label.starts_with(prefix));
    if has("com.docker.swarm.") {
        "swarm"
    } else if has("com.docker.compose.") || has("io.podman.compose.") {
        "compose"
    } else if has("PODMAN_SYSTEMD_UNIT") {
        "systemd"
    } else if has("io.kubernetes.") {
        "kubernetes"
    } else {
        ""
    }
}

pub(super) async fn image_facts(engine: &Engine, reference: &str, pull: bool) -> ImageFacts {
    let mut facts = ImageFacts {
        reference: reference.to_owned(),
        ..ImageFacts::default()
    };
    let found = async {
        if pull && !engine.has_image(reference).await? {
            engine.pull(reference, None, |_| {}).await?;
        }
        engine.probe_image(reference).await
    };
    match found.await {
        Ok(probe) => {
            facts.present = true;
            facts.id = probe.id;
            facts.digest = probe.digest;
            facts.version = probe.version.unwrap_or_default();
            facts.pmm_major = probe.pmm_major.unwrap_or_default();
            facts.uid = probe.user.uid;
            facts.gid = probe.user.gid;
            facts.evidence = probe.evidence;
        }
        Err(error) => facts.failure = error.to_string(),
    }
    facts
}

/// Tries the carry-over without creating anything, so that what it would refuse is known before.
async fn carry_over(
    engine: &Engine,
    inspect: &ContainerInspect,
    new: Successor<'_>,
    facts: &mut ContainerFacts,
) {
    match successor::settings(engine, inspect, new).await {
        Ok(settings) => {
            let notes = settings.over.notes.into_iter();
            facts.carry_over_notes = notes
                .map(|note| CarryOverNote {
                    code: note.code.to_string(),
                    text: note.text,
                })
                .collect();
        }
        Err(error) => facts.carry_over_refusal = error.to_string(),
    }
}

/// The unit of systemd that makes or starts the container. Not asked for, it is not looked for: who only identifies a server needs it not.
async fn unit_of(
    engine: &Engine,
    inspect: &ContainerInspect,
    request: &GetFactsRequest,
    container: &ContainerFacts,
    rootless: bool,
) -> Option<UnitFacts> {
    if request.target_image.is_empty() || !matches!(&*container.managed_by, "" | "systemd") {
        return None;
    }
    unit::find(engine, inspect, rootless).await
}

/// The volume that the data shall be copied to, where it has no mount.
async fn new_volume(
    engine: &Engine,
    inspect: &ContainerInspect,
    name: &str,
) -> Result<Option<NewVolumeFacts>, StepError> {
    if name.is_empty() || inspect.mount_at(DATA).is_some() {
        return Ok(None);
    }
    Ok(Some(NewVolumeFacts {
        name: name.to_owned(),
        taken: engine.find_volume(name).await?.is_some(),
        ..NewVolumeFacts::default()
    }))
}

/// Running containers that act on others by themselves, told by their image (facts/pmm.md 6, rows 21 and 22).
async fn neighbours(engine: &Engine, facts: &mut ContainerFacts) -> Result<(), StepError> {
    for entry in engine.list_containers(&[("status", "running")]).await? {
        match image_word(&entry.image) {
            "watchtower" => facts.updaters.push(entry.name),
            "autoheal" | "docker-autoheal" => facts.restarters.push(entry.name),
            _ => {}
        }
    }
    facts.updaters.sort();
    facts.restarters.sort();
    Ok(())
}

/// The last word of an image's name, without registry, tag and digest.
fn image_word(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or(image);
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split(':').next().unwrap_or(last)
}

/// An agent that only looks changes nothing, and gives way. One that a killed look left behind must
/// not be in the way of the next look, which takes it away.
async fn is_look(engine: &Engine, entry: &ContainerEntry) -> Result<bool, StepError> {
    if !entry.name.starts_with("ferry-sidecar-") {
        return Ok(false);
    }
    let found = engine.find_container(&entry.id).await?;
    let run = found.as_ref().and_then(|agent| agent.label(RUN_LABEL));
    Ok(run.is_some_and(|run| run.starts_with(CHECK_PREFIX)))
}

/// Other containers that mount the same data, `name (state)`.
async fn others(engine: &Engine, inspect: &ContainerInspect) -> Result<Vec<String>, StepError> {
    let users = places::users_of_data(engine, inspect).await?;
    let mut names = BTreeSet::new();
    for entry in users.into_iter().filter(|entry| entry.id != inspect.id()) {
        if !is_look(engine, &entry).await? {
            names.insert(format!("{} ({})", entry.name, entry.state));
        }
    }
    Ok(names.into_iter().collect())
}

fn is_below_data(mount: &Mount) -> bool {
    let below = mount.destination.strip_prefix(DATA);
    below.is_some_and(|rest| rest.starts_with('/') && rest.len() > 1)
}

pub(super) fn mount_fact(mount: &Mount) -> MountFact {
    MountFact {
        kind: mount.kind.clone(),
        name: mount.name.clone(),
        source: mount.source.clone(),
        destination: mount.destination.clone(),
        read_only: !mount.writable,
    }
}

#[cfg(test)]
mod tests {
    use super::{Mount, image_word, is_below_data};

    #[test]
    fn a_mount_below_the_data_is_told_from_the_data_and_from_others() {
        let at = |destination: &str| Mount {
            destination: destination.to_owned(),
            ..Mount::default()
        };
        assert!(is_below_data(&at("/srv/nginx")));
        for other in ["/srv", "/srv/", "/srv2/nginx", "/etc/nginx"] {
            assert!(!is_below_data(&at(other)), "{other}");
        }
    }

    #[test]
    fn an_image_is_known_by_its_last_word() {
        for image in [
            "watchtower",
            "containrrr/watchtower:1.7.1",
            "r.example:5000/percona/watchtower",
            "percona/watchtower@sha256:9b1e",
            "percona/watchtower:latest@sha256:9b1e",
        ] {
            assert_eq!(image_word(image), "watchtower", "{image}");
        }
        assert_eq!(image_word("watchtower/other:2"), "other");
    }
}
