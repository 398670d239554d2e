//! What is mounted, named explicitly.
//!
//! Why from what *is* mounted and not from what was asked for: an anonymous volume and one that came by `--volumes-from` are named
//! nowhere else, and PMM 3's image declares /srv as a volume: a container without an explicit mount there gets a fresh, empty one
//! and calls itself healthy (facts/pmm.md 7.4).

use serde_json::{Map, Value, json};

use super::{CarryOverError, DATA_FOLDER, Scene};
use crate::engine::inspect::Mount;

/// What becomes of a folder that something is mounted at.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Same,
    /// Another folder in PMM 3.
    Moved(String),
    /// Nothing in PMM 3 reads it.
    Dropped,
    /// Kept, but written for PMM 2.
    Suspect(&'static str, &'static str),
}

fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(folder)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

fn translate_target(path: &str) -> Target {
    const V2_CONFIG: &str = "it was written for PMM 2; check it against PMM 3 before the start";
    if let Some(rest) = below(path, "/usr/local/percona/pmm2") {
        return Target::Moved(format!("/usr/local/percona/pmm{rest}"));
    }
    if path == "/etc/clickhouse-server/config.xml" {
        return Target::Moved("/etc/clickhouse-server/default-config.xml".to_owned());
    }
    if below(path, "/etc/alertmanager").is_some() {
        return Target::Dropped;
    }
    if below(path, "/srv/nginx").is_some() {
        return Target::Suspect(
            "mount-nginx",
            "PMM 3 must be able to write to /srv/nginx, and to read the key there as user 1000",
        );
    }
    let config = [
        "/etc/nginx",
        "/etc/supervisord.d",
        "/etc/grafana/grafana.ini",
    ];
    if config.iter().any(|folder| below(path, folder).is_some()) {
        return Target::Suspect("mount-v2-config", V2_CONFIG);
    }
    Target::Same
}

pub(super) fn mounts(
    scene: &mut Scene<'_>,
    host: &mut Map<String, Value>,
) -> Result<(), CarryOverError> {
    let mut binds = Vec::new();
    let mut typed = Vec::new();
    let mut data = false;
    let mut taken = Vec::new();
    if let Some(volume) = &scene.options.data_volume {
        binds.push(json!(format!("{volume}:{DATA_FOLDER}")));
        data = true;
        taken.push(DATA_FOLDER.to_owned());
    }
    // The engine tells them in a new order each time; a plan must come out the same.
    let mut mounted: Vec<Mount> = scene.old["Mounts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(Mount::read)
        .collect();
    mounted.sort_by(|a, b| a.destination.cmp(&b.destination));
    for mount in mounted {
        if taken.contains(&mount.destination) {
            continue;
        }
        let Some(target) = new_target(scene, &mount.destination) else {
            continue;
        };
        data |= target == DATA_FOLDER && mount.kind != "tmpfs";
        taken.push(target.clone());
        match asked_typed(scene.old, &mount.destination) {
            Some(asked) => typed.push(named(asked, &mount, &target)),
            None => match bind_text(&mount, &target) {
                Some(text) => binds.push(json!(text)),
                None => typed.push(plain(&mount, &target)),
            },
        }
    }
    if !data {
        return Err(CarryOverError::NoDataMount {
            container: scene.name(),
        });
    }
    tmpfs(scene, host, &mut taken);
    let declared = scene.new_image["Config"]["Volumes"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    for path in declared.keys().filter(|path| !taken.contains(path)) {
        scene.note(
            "new-anonymous-volume",
            format!("the new image wants a volume at {path}; it gets an anonymous one"),
        );
    }
    if !binds.is_empty() {
        host.insert("Binds".into(), Value::Array(binds));
    }
    if !typed.is_empty() {
        host.insert("Mounts".into(), Value::Array(typed));
    }
    Ok(())
}

/// Where it goes, with a note when that differs or is doubtful; `None` for nowhere.
fn new_target(scene: &mut Scene<'_>, old: &str) -> Option<String> {
    let target = if scene.options.same_major {
        Target::Same
    } else {
        translate_target(old)
    };
    match target {
        Target::Same => Some(old.to_owned()),
        Target::Moved(new) => {
            scene.note(
                "mount-moved",
                format!("what was mounted at {old} is mounted at {new}"),
            );
            Some(new)
        }
        Target::Dropped => {
            scene.note(
                "mount-dropped",
                format!("what was mounted at {old} is left out: PMM 3 does not read it"),
            );
            None
        }
        Target::Suspect(code, why) => {
            scene.note(code, format!("what is mounted at {old} is kept; {why}"));
            Some(old.to_owned())
        }
    }
}

/// Memory file systems that were asked for by folder alone.
fn tmpfs(scene: &mut Scene<'_>, host: &mut Map<String, Value>, taken: &mut Vec<String>) {
    let Some(Value::Object(old)) = host.remove("Tmpfs") else {
        return;
    };
    let mut new = Map::new();
    for (path, options) in old {
        if let Some(target) = new_target(scene, &path) {
            taken.push(target.clone());
            new.insert(target, options);
        }
    }
    if !new.is_empty() {
        host.insert("Tmpfs".into(), Value::Object(new));
    }
}

/// The mount as it was asked for with `--mount`, which knows more options than the short form.
fn asked_typed<'a>(old: &'a Value, destination: &str) -> Option<&'a Value> {
    let asked = old["HostConfig"]["Mounts"].as_array()?;
    asked.iter().find(|mount| {
        mount["Target"].as_str().map(|t| t.trim_end_matches('/')) == Some(destination)
    })
}

fn named(asked: &Value, mount: &Mount, target: &str) -> Value {
    let mut new = asked.clone();
    new["Target"] = json!(target);
    if mount.kind == "volume" {
        new["Source"] = json!(mount.name);
    }
    new
}

/// `source:target:options`, the only form that can carry `z` and `Z`; `None` when a colon in a path forbids it.
fn bind_text(mount: &Mount, target: &str) -> Option<String> {
    let source = match mount.kind.as_str() {
        "volume" => &mount.name,
        "bind" => &mount.source,
        _ => return None,
    };
    if source.is_empty() || source.contains(':') || target.contains(':') {
        return None;
    }
    let mut options: Vec<&str> = mount
        .mode
        .split(',')
        .filter(|option| !matches!(*option, "" | "ro" | "rw"))
        .collect();
    if !mount.writable {
        options.push("ro");
    }
    // `rprivate` is the engine's own default.
    if mount.kind == "bind"
        && !matches!(mount.propagation.as_str(), "" | "rprivate")
        && !options.contains(&mount.propagation.as_str())
    {
        options.push(&mount.propagation);
    }
    let options = if options.is_empty() {
        String::new()
    } else {
        format!(":{}", options.join(","))
    };
    Some(format!("{source}:{target}{options}"))
}

fn plain(mount: &Mount, target: &str) -> Value {
    let source = if mount.kind == "volume" {
        &mount.name
    } else {
        &mount.source
    };
    let mut new = json!({ "Type": mount.kind, "Target": target, "ReadOnly": !mount.writable });
    if mount.kind != "tmpfs" {
        new["Source"] = json!(source);
    }
    if mount.kind == "bind" && !mount.propagation.is_empty() {
        new["BindOptions"] = json!({ "Propagation": mount.propagation });
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_follow_the_table() {
        let moved = |path: &str| Target::Moved(path.to_owned());
        assert_eq!(translate_target("/srv"), Target::Same);
        assert_eq!(
            translate_target("/usr/local/percona/pmm2"),
            moved("/usr/local/percona/pmm")
        );
        assert_eq!(
            translate_target("/usr/local/percona/pmm2/config/pmm-agent.yaml"),
            moved("/usr/local/percona/pmm/config/pmm-agent.yaml")
        );
        assert_eq!(translate_target("/usr/local/percona/pmm22"), Target::Same);
        assert_eq!(
            translate_target("/etc/clickhouse-server/config.xml"),
            moved("/etc/clickhouse-server/default-config.xml")
        );
        assert_eq!(translate_target("/etc/alertmanager/x.yml"), Target::Dropped);
        for path in [
            "/etc/nginx/conf.d",
            "/etc/supervisord.d/x.ini",
            "/etc/grafana/grafana.ini",
        ] {
            assert!(
                matches!(
                    translate_target(path),
                    Target::Suspect("mount-v2-config", _)
                ),
                "{path}"
            );
        }
        assert!(matches!(
            translate_target("/srv/nginx/certificate.key"),
            Target::Suspect("mount-nginx", _)
        ));
        assert_eq!(translate_target("/etc/grafana/other.ini"), Target::Same);
    }
}
