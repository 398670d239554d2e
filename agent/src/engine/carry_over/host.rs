//! What the engine does around the container: ports, limits, rights, logging. Kept as a whole, but for the rows below.

use serde_json::{Map, Value, json};

use super::{Scene, is_empty};

pub(super) fn host(scene: &mut Scene<'_>) -> Map<String, Value> {
    let mut host = scene.old["HostConfig"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    // Mounts are made anew from what is mounted; the id file was the old client's.
    for key in ["Binds", "Mounts", "VolumesFrom", "ContainerIDFile"] {
        host.remove(key);
    }
    // Null means "not set", and some engines take an explicit null for an empty value.
    host.retain(|_, value| !value.is_null());
    ports(scene, &mut host);
    logging(scene, &mut host);
    links(&mut host);
    limits(&mut host);
    if scene.options.no_ulimits
        && let Some(ulimits) = host.remove("Ulimits")
        && !is_empty(&ulimits)
    {
        scene.note(
            "ulimits-unset",
            "its own `--ulimit` cannot be given to the new container, which has the limits of the engine's user",
        );
    }
    for key in ["PidMode", "UTSMode"] {
        // podman's word for the default, which Docker does not take.
        if host.get(key).and_then(Value::as_str) == Some("private") {
            host.remove(key);
        }
    }
    if host.get("ReadonlyRootfs").and_then(Value::as_bool) == Some(true) {
        scene.note(
            "readonly-rootfs",
            "its root file system is read-only; PMM 3 writes to /etc/supervisord.d, /run and /usr/share/pmm-server and will not start",
        );
    }
    if host.get("Privileged").and_then(Value::as_bool) == Some(true) {
        scene.note("privileged", "it is privileged, and stays so");
    }
    host
}

fn ports(scene: &mut Scene<'_>, host: &mut Map<String, Value>) {
    let old = match host.remove("PortBindings") {
        Some(Value::Object(old)) => old,
        _ => Map::new(),
    };
    let mut new: Map<String, Value> = Map::new();
    for (port, bindings) in old {
        let translated = scene.port(&port);
        if translated != port {
            scene.note(
                "port-translated",
                format!("what was published from {port} is published from {translated}"),
            );
        }
        let mut bindings = match bindings {
            Value::Array(bindings) => bindings,
            _ => Vec::new(),
        };
        let slot = new
            .entry(translated.to_owned())
            .or_insert_with(|| json!([]));
        if let Some(slot) = slot.as_array_mut() {
            slot.append(&mut bindings);
        }
    }
    host.insert("PortBindings".into(), Value::Object(new));
    let of_host = host.get("NetworkMode").and_then(Value::as_str) == Some("host");
    if of_host && !scene.options.same_major {
        scene.note(
            "host-network-ports",
            "it uses the host's network: PMM 3 listens on 8080 and 8443 there instead of 80 and 443, and clients must be told",
        );
    }
}

fn logging(scene: &mut Scene<'_>, host: &mut Map<String, Value>) {
    let driver = host
        .get("LogConfig")
        .and_then(|config| config["Type"].as_str())
        .unwrap_or_default();
    if driver.starts_with("passthrough") {
        scene.note(
            "log-driver-dropped",
            format!("log driver `{driver}` breaks PMM 3's nginx; the engine's default is used"),
        );
        host.remove("LogConfig");
    }
}

/// Inspect writes `/other:/self/alias` where create wants `other:alias`.
fn links(host: &mut Map<String, Value>) {
    for link in host
        .get_mut("Links")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some((target, alias)) = link.as_str().and_then(|text| text.split_once(':')) {
            let alias = alias.rsplit('/').next().unwrap_or(alias);
            *link = json!(format!("{}:{alias}", target.trim_start_matches('/')));
        }
    }
}

/// podman's names of limits, and limits that newer engines refuse even when unset.
fn limits(host: &mut Map<String, Value>) {
    for limit in host
        .get_mut("Ulimits")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(name) = limit["Name"]
            .as_str()
            .and_then(|name| name.strip_prefix("RLIMIT_"))
        {
            limit["Name"] = json!(name.to_ascii_lowercase());
        }
    }
    for key in ["KernelMemory", "KernelMemoryTCP"] {
        if host.get(key).and_then(Value::as_i64) == Some(0) {
            host.remove(key);
        }
    }
    for key in ["VolumeDriver", "Tmpfs"] {
        if host.get(key).is_some_and(is_empty) {
            host.remove(key);
        }
    }
}
