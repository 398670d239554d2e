//! Which unit runs a container that has no label of it: told by the container's name in the units of this machine.
//!
//! Why looked for: a service of `docker run` or `docker start` leaves nothing on its container, and would start it again in the middle of
//! a run. Only a unit that runs now counts: one that does not cannot be what keeps the container up.

use std::path::Path;

use ferry_proto::v1::UnitFacts;

use super::{
    described::{Form, describe, run_words},
    hold::{Service, settings},
    is_local,
    scope::Scope,
    text::entries,
    whose::Whose,
};
use crate::{
    engine::{ContainerInspect, Engine},
    server::{ServerRoot, programs::unit::is_here},
};

/// By Podman, on containers that were made in a unit.
const LABEL: &str = "PODMAN_SYSTEMD_UNIT";
/// Where people and packages put units of the machine's own manager.
const MACHINES: &[&str] = &[
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
];
/// And units for the managers of all users.
const OF_USERS: &[&str] = &[
    "/etc/systemd/user",
    "/usr/local/lib/systemd/user",
    "/usr/lib/systemd/user",
];
/// Where a user has units who has set nothing else.
const AT_HOME: &[&str] = &[".config/systemd/user", ".local/share/systemd/user"];
/// How much of an id tells a container.
const SHORT_ID: usize = 12;
/// No unit is larger.
const MOST_BYTES: u64 = 1 << 20;

/// The unit that runs this container: by its label, else by the units of this machine, if the engine is this machine's.
pub(crate) async fn of_container(
    engine: &Engine,
    container: &ContainerInspect,
    rootless: bool,
) -> Option<UnitFacts> {
    let whose = Whose::of(engine, rootless);
    let found = |name: &str, user| UnitFacts {
        name: name.to_owned(),
        user,
        another: if user { whose.another() } else { String::new() },
        ..UnitFacts::default()
    };
    let asked = is_local(engine) && is_here();
    if let Some(label) = container.label(LABEL).filter(|it| !it.is_empty()) {
        // A unit of the machine's may run an ordinary user's engine (`User=`).
        let machines = asked
            && whose == Whose::Own
            && !is_loaded(label, true).await
            && is_loaded(label, false).await;
        return Some(found(label, rootless && !machines));
    }
    // Without a service manager no unit runs.
    if !asked {
        return None;
    }
    for folder in folders(whose) {
        for unit in folder.units(container) {
            let Some(service) = Service::of(&unit, folder.user) else {
                continue;
            };
            // One that cannot be asked about is taken for one that runs.
            let asked = !matches!((whose, folder.user), (Whose::Another(_), true));
            if asked && service.state().await.is_ok_and(|it| !it.runs()) {
                continue;
            }
            return Some(found(&unit, folder.user));
        }
    }
    None
}

async fn is_loaded(unit: &str, user: bool) -> bool {
    match Service::of(unit, user) {
        Some(service) => service.state().await.is_ok_and(|it| it.load == "loaded"),
        None => false,
    }
}

/// A folder with units.
struct Folder {
    /// What no link in it leads out of.
    root: ServerRoot,
    path: std::path::PathBuf,
    /// Whether they are of a user's manager.
    user: bool,
}

fn folders(whose: Whose) -> Vec<Folder> {
    let at = |root: &Path, path: &Path, user| Folder {
        root: ServerRoot::new(root),
        path: path.to_owned(),
        user,
    };
    let top = Path::new("/");
    let mut folders = Vec::new();
    match whose {
        Whose::Machine => {}
        Whose::Own => {
            let own = settings().map(|it| it.join("systemd/user"));
            folders.extend(own.map(|it| at(top, &it, true)));
            if let Some(home) = std::env::var_os("HOME").filter(|it| !it.is_empty()) {
                folders.extend(
                    AT_HOME
                        .iter()
                        .map(|it| at(top, &Path::new(&home).join(it), true)),
                );
            }
        }
        // Read as a tree of its own: what is root's is out of its links' reach.
        Whose::Another(_) => {
            let home = whose.home_of_another();
            let home = home.iter();
            folders
                .extend(home.flat_map(|home| AT_HOME.iter().map(|it| at(home, it.as_ref(), true))));
        }
    }
    if whose != Whose::Machine {
        folders.extend(OF_USERS.iter().map(|it| at(top, it.as_ref(), true)));
    }
    folders.extend(MACHINES.iter().map(|it| at(top, it.as_ref(), false)));
    folders
}

impl Folder {
    /// The units in it that make or start a container.
    fn units(&self, container: &ContainerInspect) -> Vec<String> {
        let names = self.root.list(&self.path).unwrap_or_default();
        let names = names.into_iter().filter_map(|it| it.into_string().ok());
        let units = names.filter(|it| it.ends_with(".service"));
        units.filter(|it| self.is_of(it, container)).collect()
    }

    fn is_of(&self, unit: &str, container: &ContainerInspect) -> bool {
        let path = self.path.join(unit);
        // A link of another name is an alias; the unit itself is found by its own.
        let file = self.root.resolve(&path).ok();
        if file.is_none_or(|it| it.file_name() != Some(unit.as_ref())) {
            return false;
        }
        let text = self.root.read_text(&path, MOST_BYTES).ok().flatten();
        let text = text.unwrap_or_default();
        names(&text, unit, self.user, (container.name(), container.id()))
    }
}

/// Whether a unit makes a container of this name, or starts this one, by its name or its id.
fn names(text: &str, unit: &str, user: bool, (name, id): (&str, &str)) -> bool {
    let Ok(all) = entries(text) else {
        return false;
    };
    let Ok(Some(words)) = run_words(text, &all) else {
        return false;
    };
    let mut scope = Scope::of(unit, user);
    if scope.take_environment(text, &all).is_err() {
        return false;
    }
    let is_it = |word: &str| scope.resolve(word).is_some_and(|it| it == name);
    if words.iter().skip(1).take(2).any(|it| it.text == "start") {
        // `podman generate systemd` has the id, unless it is told otherwise.
        let is_id = |word: &str| word.len() >= SHORT_ID && id.starts_with(word);
        let mut named = words.iter().skip(2).map(|it| it.text.as_str());
        return named.any(|it| is_it(it) || is_id(it));
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

    const ID: &str = "0123456789abcdef";

    #[test]
    fn a_unit_is_known_by_the_container_that_it_makes_or_starts() {
        let of = |start: &str| {
            let text = format!(
                "[Service]\nEnvironment=N=pmm\nExecStartPre=-/usr/bin/docker rm -f pmm\nExecStart={start}\n"
            );
            names(&text, "pmm.service", true, ("pmm", ID))
        };
        for start in [
            "/usr/bin/docker run --rm --name pmm image:2",
            "/usr/bin/docker run --name=%N image:2",
            "/usr/bin/podman run \\\n  --name ${N} \\\n  image:2",
            "/usr/bin/docker start -a pmm",
            "-/usr/bin/podman start pmm",
            "/usr/bin/podman start 0123456789ab",
            "/usr/bin/docker run --of-a-later-release x --name pmm image:2",
        ] {
            assert!(of(start), "{start}");
        }
        for start in [
            "/usr/bin/docker run --rm --name pmm-old image:2",
            "/usr/bin/docker run pmm",
            "/usr/bin/docker start -a pmm-old",
            "/usr/bin/podman start 0123456789ac",
            "/usr/bin/podman start 01234",
            "/usr/bin/docker exec pmm true",
            "/bin/sh -c 'docker run --name pmm image'",
            "/usr/bin/dockerd",
        ] {
            assert!(!of(start), "{start}");
        }
    }

    #[test]
    fn units_are_looked_for_in_files_and_links_of_their_own_name() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let unit = "[Service]\nExecStart=/usr/bin/docker start -a pmm\n";
        for folder in ["units", "elsewhere", "units/d.service"] {
            fs_err::create_dir(at(folder)).unwrap();
        }
        for name in ["b.service", "a.service", "a.timer", "c.service.ferry-1"] {
            fs_err::write(at("units").join(name), unit).unwrap();
        }
        fs_err::write(at("elsewhere/e.service"), unit).unwrap();
        let link = fs_err::os::unix::fs::symlink::<&str, _>;
        link("../elsewhere/e.service", at("units/e.service")).unwrap();
        link("a.service", at("units/alias.service")).unwrap();
        let container = ContainerInspect::new(serde_json::json!({"Id": ID, "Name": "/pmm"}));
        let folder = |root: &Path, path: &Path| Folder {
            root: ServerRoot::new(root),
            path: path.to_owned(),
            user: true,
        };
        let all = ["a.service", "b.service", "e.service"];
        assert_eq!(folder("/".as_ref(), &at("units")).units(&container), all);
        assert_eq!(folder(home.path(), "units".as_ref()).units(&container), all);
        // Another user's links do not lead out of the folder that is that user's.
        assert_eq!(
            folder(&at("units"), "".as_ref()).units(&container),
            all[..2]
        );
        assert!(
            folder("/".as_ref(), &at("none"))
                .units(&container)
                .is_empty()
        );
    }
}
