//! Podman's answers in Docker's words.
//!
//! Why in one place: Podman's inspect tells defaults as if a person had set them, adds variables of its own to the environment, and
//! has other names for limits, signals and states. Everything else reads Docker's words only, and a container that is made again from
//! them is the one that was asked for. All of it was seen on Podman 4.3.1 (facts/building-blocks.md 1).

use serde_json::{Value, json};

/// Signals that people configure, by their numbers on Linux.
const SIGNALS: [(&str, &str); 10] = [
    ("1", "SIGHUP"),
    ("2", "SIGINT"),
    ("3", "SIGQUIT"),
    ("6", "SIGABRT"),
    ("9", "SIGKILL"),
    ("10", "SIGUSR1"),
    ("12", "SIGUSR2"),
    ("15", "SIGTERM"),
    ("28", "SIGWINCH"),
    ("37", "SIGRTMIN+3"),
];

/// The inspected container as Docker would have told it.
pub(super) fn in_dockers_words(mut raw: Value) -> Value {
    for (part, put) in [
        ("State", state as fn(&mut Value)),
        ("Config", config),
        ("HostConfig", host),
    ] {
        raw.get_mut(part).into_iter().for_each(put);
    }
    raw
}

fn state(state: &mut Value) {
    // On its way down its processes still run, and may still write.
    if state["Status"].as_str() == Some("stopping") {
        state["Status"] = json!("running");
        state["Running"] = json!(true);
    }
    if state["Health"]["Status"].as_str() == Some("")
        && let Some(fields) = state.as_object_mut()
    {
        fields.remove("Health");
    }
}

fn config(config: &mut Value) {
    let signal = config["StopSignal"].as_str().unwrap_or_default();
    if let Some((_, name)) = SIGNALS.iter().find(|(number, _)| *number == signal) {
        config["StopSignal"] = json!(name);
    }
    let hostname = config["Hostname"].as_str().unwrap_or_default().to_owned();
    if let Some(env) = config.get_mut("Env").and_then(Value::as_array_mut) {
        env.retain(|pair| !is_engines(pair.as_str().unwrap_or_default(), &hostname));
    }
}

/// Variables that Podman itself adds to every container. A home folder of the image's user is found by the next engine anew.
fn is_engines(pair: &str, hostname: &str) -> bool {
    match pair.split_once('=') {
        Some(("HOSTNAME", value)) => value == hostname,
        Some(("container", value)) => matches!(value, "podman" | "oci"),
        Some(("TERM", value)) => value == "xterm",
        Some(("HOME", value)) => matches!(value, "/root" | "/"),
        _ => false,
    }
}

fn host(host: &mut Value) {
    let limits = host.get_mut("Ulimits").and_then(Value::as_array_mut);
    for limit in limits.into_iter().flatten() {
        let name = limit["Name"].as_str().unwrap_or_default();
        if let Some(name) = name.strip_prefix("RLIMIT_") {
            limit["Name"] = json!(name.to_ascii_lowercase());
        }
    }
    let Some(fields) = host.as_object_mut() else {
        return;
    };
    // The default, which Docker tells by nothing.
    for key in ["PidMode", "UTSMode"] {
        if fields.get(key).and_then(Value::as_str) == Some("private") {
            fields.insert(key.to_owned(), json!(""));
        }
    }
    // It names a program of the engine's configuration, which may have another name after its next update.
    if fields.get("Runtime").and_then(Value::as_str) == Some("oci") {
        fields.remove("Runtime");
    }
    // 0 is told where nothing was set, and taken for a wish where it is given.
    for key in ["MemorySwappiness", "CpuCount", "CpuPercent"] {
        if fields.get(key).and_then(Value::as_i64) == Some(0) {
            fields.remove(key);
        }
    }
    // Ports that the image exposes, told as published nowhere.
    if let Some(ports) = fields
        .get_mut("PortBindings")
        .and_then(Value::as_object_mut)
    {
        ports.retain(|_, bindings| !bindings.is_null());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_adds_is_taken_away_and_what_a_person_set_is_kept() {
        let raw = in_dockers_words(json!({
            "State": { "Status": "stopping", "Running": false, "Health": { "Status": "" } },
            "Config": {
                "Hostname": "a6d28635584e",
                "StopSignal": "15",
                "Env": [
                    "DATA_RETENTION=720h", "TERM=xterm", "container=podman", "HOME=/root",
                    "HOSTNAME=a6d28635584e", "TERM=vt100", "HOME=/data", "HOSTNAME=pmm.example",
                ],
            },
            "HostConfig": {
                "PidMode": "private", "UTSMode": "private", "Runtime": "oci", "MemorySwappiness": 0,
                "IpcMode": "shareable",
                "Ulimits": [{ "Name": "RLIMIT_NOFILE", "Soft": 1, "Hard": 2 }],
                "PortBindings": { "80/tcp": null, "443/tcp": [{ "HostPort": "8443" }] },
            },
        }));
        assert_eq!(
            raw,
            json!({
                "State": { "Status": "running", "Running": true },
                "Config": {
                    "Hostname": "a6d28635584e",
                    "StopSignal": "SIGTERM",
                    "Env": ["DATA_RETENTION=720h", "TERM=vt100", "HOME=/data", "HOSTNAME=pmm.example"],
                },
                "HostConfig": {
                    "PidMode": "", "UTSMode": "", "IpcMode": "shareable",
                    "Ulimits": [{ "Name": "nofile", "Soft": 1, "Hard": 2 }],
                    "PortBindings": { "443/tcp": [{ "HostPort": "8443" }] },
                },
            })
        );
    }

    #[test]
    fn an_ended_container_and_a_foreign_process_space_stay_what_they_are() {
        let told = json!({
            "State": { "Status": "exited", "Running": false, "Health": { "Status": "healthy" } },
            "Config": { "StopSignal": "SIGQUIT", "Hostname": "", "Env": ["A=b"] },
            "HostConfig": { "PidMode": "host", "MemorySwappiness": 60 },
        });
        assert_eq!(in_dockers_words(told.clone()), told);
        assert_eq!(in_dockers_words(json!({})), json!({}));
    }
}
