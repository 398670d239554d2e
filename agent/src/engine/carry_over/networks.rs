//! The networks: the first at creation, the others before the start.

use serde_json::{Map, Value, json};

use super::{Scene, is_empty};

pub(super) struct Networks {
    pub(super) first: Option<(String, Value)>,
    pub(super) extra: Vec<(String, Value)>,
}

pub(super) fn networks(scene: &mut Scene<'_>) -> Networks {
    let mode = scene.old["HostConfig"]["NetworkMode"]
        .as_str()
        .unwrap_or_default();
    if mode == "host" || mode == "none" {
        return Networks {
            first: None,
            extra: Vec::new(),
        };
    }
    if let Some(other) = mode.strip_prefix("container:") {
        scene.note(
            "network-of-container",
            format!("it shares the network of container {other}, and must be started after it"),
        );
        return Networks {
            first: None,
            extra: Vec::new(),
        };
    }
    let Some(all) = scene.old["NetworkSettings"]["Networks"].as_object() else {
        return Networks {
            first: None,
            extra: Vec::new(),
        };
    };
    let first_name = all
        .iter()
        .find(|(name, settings)| is_first(mode, name, settings))
        .map(|(name, _)| name.clone());
    let mut first = None;
    let mut extra = Vec::new();
    for (name, settings) in all {
        let settings = endpoint(scene, name, settings);
        if Some(name) == first_name.as_ref() {
            first = Some((name.clone(), settings));
        } else {
            extra.push((name.clone(), settings));
        }
    }
    Networks { first, extra }
}

fn is_first(mode: &str, name: &str, settings: &Value) -> bool {
    match mode {
        "" | "default" | "bridge" => name == "bridge" || name == "podman",
        mode => name == mode || settings["NetworkID"].as_str() == Some(mode),
    }
}

/// What was configured, without what the engine assigned.
fn endpoint(scene: &Scene<'_>, network: &str, settings: &Value) -> Value {
    let mut kept = Map::new();
    for key in ["IPAMConfig", "Links", "DriverOpts", "GwPriority"] {
        if !is_empty(&settings[key]) && settings[key] != json!(0) {
            kept.insert(key.to_owned(), settings[key].clone());
        }
    }
    let id = scene.old["Id"].as_str().unwrap_or_default();
    let aliases: Vec<&Value> = settings["Aliases"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|alias| {
            !alias
                .as_str()
                .is_some_and(|alias| alias.len() == 12 && id.starts_with(alias))
        })
        .collect();
    // The default bridge knows no aliases and refuses them.
    if !aliases.is_empty() && network != "bridge" {
        kept.insert("Aliases".into(), json!(aliases));
    }
    if scene.options.mac_from_networks && !is_empty(&settings["MacAddress"]) {
        kept.insert("MacAddress".into(), settings["MacAddress"].clone());
    }
    Value::Object(kept)
}
