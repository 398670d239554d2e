//! The container's own settings: labels, command, host name, health check.

use serde_json::{Map, Value, json};

use super::{CarryOverError, Scene, health, is_empty};

/// PMM's databases have 300 s of their own to stop (facts/pmm.md 1.2); a shorter grace cuts them off.
const SHORTEST_STOP: i64 = 300;

/// By what Compose tells the containers of one service apart.
const COMPOSE_NUMBER: &str = "com.docker.compose.container-number";
/// The new container's. An engine cannot take the labels off the old one, so Compose finds two containers where it wants
/// one. Of two with one number, Compose 1.29 removes the newer, which would be the new server; of two numbers, it and
/// Compose 2 keep the lower, and neither ever gives a container this one.
const NEW_NUMBER: &str = "0";

/// Marks of those who would make the container again in their own way.
const ORCHESTRATORS: &[(&str, &str, &str)] = &[
    (
        "com.docker.compose.project",
        "orchestrator-compose",
        "Compose manages this container, and its file still describes PMM 2: change it before Compose makes the container \
         again; the next `docker compose up` removes the old container, and with it the quick way back",
    ),
    (
        "com.docker.swarm.service.name",
        "orchestrator-swarm",
        "a Swarm service manages this container and would replace it",
    ),
    (
        "com.docker.swarm.service.id",
        "orchestrator-swarm",
        "a Swarm service manages this container and would replace it",
    ),
    (
        "PODMAN_SYSTEMD_UNIT",
        "orchestrator-podman-systemd",
        "a systemd unit manages this container and would start the old image again",
    ),
    (
        "io.kubernetes.pod.name",
        "orchestrator-kubernetes",
        "Kubernetes manages this container and would replace it",
    ),
];

pub(super) fn config(
    scene: &mut Scene<'_>,
    env: &[(String, String)],
) -> Result<Map<String, Value>, CarryOverError> {
    let old = &scene.old["Config"];
    let image = &scene.old_image["Config"];
    let mut body = Map::new();
    let new_image = scene
        .options
        .image
        .clone()
        .or_else(|| scene.new_image["Id"].as_str().map(str::to_owned))
        .ok_or(CarryOverError::Incomplete {
            field: "Id of the new image",
        })?;
    body.insert("Image".into(), json!(new_image));
    let env: Vec<String> = env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    body.insert("Env".into(), json!(env));
    body.insert(
        "Labels".into(),
        labels(scene, &old["Labels"], &image["Labels"]),
    );

    let user = old["User"].as_str().unwrap_or_default();
    if scene.is_same_image() {
        // Only what it is made with differs, not what it is: as whom it runs is its own.
        if user != image["User"].as_str().unwrap_or_default() {
            body.insert("User".into(), json!(user));
        }
    } else if user != image["User"].as_str().unwrap_or_default() {
        scene.note(
            "user-unset",
            format!("it ran as user `{user}`; the new image's own user is used instead"),
        );
    }
    for (key, code) in [
        ("Cmd", "custom-cmd"),
        ("Entrypoint", "custom-entrypoint"),
        ("WorkingDir", "custom-working-dir"),
        ("StopSignal", "custom-stop-signal"),
    ] {
        let (mine, images) = (&old[key], &image[key]);
        if is_empty(mine) || same(key, mine, images) {
            continue;
        }
        scene.note(
            code,
            format!(
                "its own {key} {mine} is kept; the new image has {}",
                scene.new_image["Config"][key]
            ),
        );
        body.insert(key.into(), mine.clone());
    }
    let check = &old["Healthcheck"];
    if !is_empty(check) && *check != image["Healthcheck"] {
        let (check, changed) = if scene.options.same_major {
            (check.clone(), false)
        } else {
            health::rewrite(check)
        };
        let how = if changed {
            "kept, with PMM 3's ports and path"
        } else {
            "kept as it is"
        };
        scene.note(
            "custom-healthcheck",
            format!("its own health check is {how}"),
        );
        if !scene.options.same_major && health::names_old_port(&check) {
            scene.note(
                "healthcheck-old-port",
                "its own health check still names port 80 or 443, where PMM 3 does not listen",
            );
        }
        body.insert("Healthcheck".into(), check);
    }
    if let Some(ports) = exposed_ports(scene, &old["ExposedPorts"], &image["ExposedPorts"]) {
        body.insert("ExposedPorts".into(), ports);
    }
    names(scene, &mut body);
    let stop = old["StopTimeout"]
        .as_i64()
        .unwrap_or_default()
        .max(SHORTEST_STOP);
    body.insert("StopTimeout".into(), json!(stop));
    for key in ["Tty", "OpenStdin", "StdinOnce", "NetworkDisabled"] {
        if old[key].as_bool() == Some(true) {
            body.insert(key.into(), json!(true));
        }
    }
    Ok(body)
}

/// podman writes signals as numbers.
fn same(key: &str, mine: &Value, images: &Value) -> bool {
    if key == "StopSignal" {
        let plain = |value: &Value| match value.as_str().unwrap_or_default() {
            "" | "15" | "TERM" | "SIGTERM" => "15".to_owned(),
            other => other.trim_start_matches("SIG").to_owned(),
        };
        return plain(mine) == plain(images);
    }
    mine == images
}

fn labels(scene: &mut Scene<'_>, mine: &Value, images: &Value) -> Value {
    let mut kept = Map::new();
    for (key, value) in mine.as_object().into_iter().flatten() {
        if images.get(key) != Some(value) {
            kept.insert(key.clone(), value.clone());
        }
    }
    if let Some(number) = kept.get_mut(COMPOSE_NUMBER) {
        *number = json!(NEW_NUMBER);
    }
    for (label, code, text) in ORCHESTRATORS {
        if kept.contains_key(*label) && !scene.notes.iter().any(|note| note.code == *code) {
            scene.note(code, *text);
        }
    }
    for (key, value) in &scene.options.labels {
        kept.insert(key.clone(), json!(value));
    }
    Value::Object(kept)
}

/// The ports that the user exposed beyond the image's, where PMM 3 has them.
fn exposed_ports(scene: &Scene<'_>, mine: &Value, images: &Value) -> Option<Value> {
    let own = mine
        .as_object()?
        .keys()
        .filter(|port| images.get(port.as_str()).is_none());
    let ports: Map<String, Value> = own
        .map(|port| (scene.port(port).to_owned(), json!({})))
        .collect();
    (!ports.is_empty()).then_some(Value::Object(ports))
}

/// Host name, domain name, hardware address.
fn names(scene: &Scene<'_>, body: &mut Map<String, Value>) {
    let old = &scene.old["Config"];
    let id = scene.old["Id"].as_str().unwrap_or_default();
    let host = &scene.old["HostConfig"];
    let mode = host["NetworkMode"].as_str().unwrap_or_default();
    let hostname = old["Hostname"].as_str().unwrap_or_default();
    // With the host's names the engine fills in the host's own and refuses to be told one.
    let of_host = mode == "host"
        || mode.starts_with("container:")
        || host["UTSMode"].as_str() == Some("host");
    let made_up = hostname.len() == 12 && id.starts_with(hostname);
    if !hostname.is_empty() && !made_up && !of_host {
        body.insert("Hostname".into(), json!(hostname));
    }
    let domain = old["Domainname"].as_str().unwrap_or_default();
    if !domain.is_empty() && !of_host {
        body.insert("Domainname".into(), json!(domain));
    }
    if let Some(mac) = old["MacAddress"].as_str().filter(|mac| !mac.is_empty())
        && !scene.options.mac_from_networks
    {
        body.insert("MacAddress".into(), json!(mac));
    }
}
