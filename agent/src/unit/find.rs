//! Which unit runs a container that has no label of it: told by the container's name in the units of this machine.
//!
//! Why looked for: a service of `docker run` or `docker start` leaves nothing on its container, and would start it again in the middle of
//! a run. Only a unit that runs now counts: one that does not cannot be what keeps the container up.

use std::path::Path;

use super::{
    described::{Form, describe, run_words},
    hold::Service,
    scope::Scope,
    text::entries,
};
use crate::{engine::ContainerInspect, server::programs::unit::is_here};

/// By Podman, on containers that were made in a unit.
const LABEL: &str = "PODMAN_SYSTEMD_UNIT";
/// Where people and packages put units of the machine's own manager.
const FOLDERS: &[&str] = &[
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
];
/// No unit is larger.
const MOST_BYTES: u64 = 1 << 20;

/// The name of the unit that runs this container: by its label, else by the units of this machine where `local` says that they may.
pub(crate) async fn of_container(container: &ContainerInspect, local: bool) -> Option<String> {
    if let Some(label) = container.label(LABEL).filter(|it| !it.is_empty()) {
        return Some(label.to_owned());
    }
    // Without a service manager no unit runs.
    if !local || !is_here() {
        return None;
    }
    for folder in FOLDERS {
        for unit in in_folder(Path::new(folder), container.name()) {
            let state = match Service::of(&unit, false) {
                Some(service) => service.state().await,
                None => continue,
            };
            // One that cannot be asked about is taken for one that runs.
            if state.is_ok_and(|it| !it.runs()) {
                continue;
            }
            return Some(unit);
        }
    }
    None
}

fn in_folder(folder: &Path, container: &str) -> Vec<String> {
    let Ok(list) = fs_err::read_dir(folder) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in list.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let regular = entry
            .metadata()
            .is_ok_and(|it| it.is_file() && it.len() <= MOST_BYTES);
        if !regular || !name.ends_with(".service") {
            continue;
        }
        let text = fs_err::read_to_string(entry.path()).unwrap_or_default();
        if names(&text, &name, container) {
            found.push(name);
        }
    }
    found.sort();
    found
}

/// Whether a unit makes or starts a container of this name.
fn names(text: &str, unit: &str, container: &str) -> bool {
    let Ok(all) = entries(text) else {
        return false;
    };
    let Ok(Some(words)) = run_words(text, &all) else {
        return false;
    };
    let mut scope = Scope::of(unit, false);
    if scope.take_environment(text, &all).is_err() {
        return false;
    }
    let is_it = |word: &str| scope.resolve(word).is_some_and(|it| it == container);
    if words.iter().skip(1).take(2).any(|it| it.text == "start") {
        return words.iter().skip(2).any(|it| is_it(&it.text));
    }
    match describe(text, Form::Service) {
        Ok(described) => described.name.is_some_and(|it| is_it(&it)),
        // It is said elsewhere why it is not understood; that it is the one is enough here.
        Err(_) => words.iter().enumerate().any(|(at, word)| {
            let value = word.text.strip_prefix("--name=");
            let next = (word.text == "--name").then(|| words.get(at + 1)).flatten();
            value.or(next.map(|it| it.text.as_str())).is_some_and(is_it)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_known_by_the_container_that_it_makes_or_starts() {
        let of = |start: &str| {
            let text = format!(
                "[Service]\nEnvironment=N=pmm\nExecStartPre=-/usr/bin/docker rm -f pmm\nExecStart={start}\n"
            );
            names(&text, "pmm.service", "pmm")
        };
        for start in [
            "/usr/bin/docker run --rm --name pmm image:2",
            "/usr/bin/docker run --name=%N image:2",
            "/usr/bin/podman run \\\n  --name ${N} \\\n  image:2",
            "/usr/bin/docker start -a pmm",
            "-/usr/bin/podman start pmm",
            "/usr/bin/docker run --of-a-later-release x --name pmm image:2",
        ] {
            assert!(of(start), "{start}");
        }
        for start in [
            "/usr/bin/docker run --rm --name pmm-old image:2",
            "/usr/bin/docker run pmm",
            "/usr/bin/docker start -a pmm-old",
            "/usr/bin/docker exec pmm true",
            "/bin/sh -c 'docker run --name pmm image'",
            "/usr/bin/dockerd",
        ] {
            assert!(!of(start), "{start}");
        }
    }

    #[test]
    fn units_are_looked_for_in_files_alone() {
        let folder = tempfile::tempdir().unwrap();
        let unit = "[Service]\nExecStart=/usr/bin/docker start -a pmm\n";
        for name in ["b.service", "a.service", "a.timer", "c.service.ferry-1"] {
            fs_err::write(folder.path().join(name), unit).unwrap();
        }
        fs_err::create_dir(folder.path().join("d.service")).unwrap();
        assert_eq!(in_folder(folder.path(), "pmm"), ["a.service", "b.service"]);
        assert!(in_folder(&folder.path().join("none"), "pmm").is_empty());
    }
}
