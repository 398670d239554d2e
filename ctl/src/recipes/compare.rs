//! What makes a plan stale: it was approved for one server, and is refused for one that differs in
//! anything the plan rests on. Live counts and times differ always and mean nothing.

use std::collections::BTreeSet;

use ferry_proto::v1::{ContainerFacts, DataFacts, Facts, ImageFacts, ServerFacts, UnitFacts};
use serde::Serialize;

use super::{Version, check::data_mount, pmm_in_place::roles_to_heal};
use crate::units::{bytes, counted};

/// One thing that is not as it was when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FactChange {
    /// What it is, for example `volume pmm-data`.
    pub what: String,
    /// As the plan has it.
    pub planned: String,
    /// As it is.
    pub now: String,
}

/// What differs between the facts of a plan and those of now, in so far as it matters. Empty: the
/// plan still fits. New blockers that are no difference in these facts are found by
/// [`super::findings`] on `now`.
#[must_use]
pub fn compare_facts(planned: &Facts, now: &Facts) -> Vec<FactChange> {
    let mut changes = Changes::default();
    changes.part(
        "engine",
        &planned.engine,
        &now.engine,
        |changes, planned, now| {
            changes.differ("engine", &planned.kind, &now.kind);
            changes.ids("engine id", &planned.id, &now.id);
        },
    );
    changes.part("container", &planned.container, &now.container, container);
    changes.part(
        "image",
        &planned.image,
        &now.image,
        |changes, planned, now| {
            changes.ids("image of the container", &planned.id, &now.id);
        },
    );
    changes.part("target image", &planned.target, &now.target, target);
    changes.part("server", &planned.server, &now.server, server);
    let mount = |facts| {
        data_mount(facts).map_or_else(
            || "no volume".to_owned(),
            |mount| {
                if mount.name.is_empty() {
                    mount.source.clone()
                } else {
                    mount.name.clone()
                }
            },
        )
    };
    changes.differ("volume of the data", &mount(planned), &mount(now));
    let volume = format!("volume {}", mount(planned));
    changes.part("data", &planned.data, &now.data, |changes, planned, now| {
        data(changes, &volume, planned, now);
    });
    changes.0
}

#[derive(Default)]
struct Changes(Vec<FactChange>);

impl Changes {
    fn push(&mut self, what: &str, planned: impl Into<String>, now: impl Into<String>) {
        self.0.push(FactChange {
            what: what.to_owned(),
            planned: planned.into(),
            now: now.into(),
        });
    }

    fn differ(&mut self, what: &str, planned: &str, now: &str) {
        if planned != now {
            let word = |text: &str| {
                if text.is_empty() {
                    "none".to_owned()
                } else {
                    text.to_owned()
                }
            };
            self.push(what, word(planned), word(now));
        }
    }

    /// Long identifiers differ in their first digits, and that is all a person can read.
    fn ids(&mut self, what: &str, planned: &str, now: &str) {
        if planned != now {
            self.push(what, short(planned), short(now));
        }
    }

    fn flag(&mut self, what: &str, planned: bool, now: bool) {
        let word = |yes| if yes { "yes" } else { "no" };
        self.differ(what, word(planned), word(now));
    }

    fn part<T>(
        &mut self,
        what: &str,
        planned: &Option<T>,
        now: &Option<T>,
        both: impl FnOnce(&mut Self, &T, &T),
    ) {
        match (planned, now) {
            (Some(planned), Some(now)) => both(self, planned, now),
            (None, None) => {}
            (Some(_), None) => self.push(what, "observed", "not observed"),
            (None, Some(_)) => self.push(what, "not observed", "observed"),
        }
    }
}

fn short(id: &str) -> String {
    let bare = id.strip_prefix("sha256:").unwrap_or(id);
    if bare.is_empty() {
        "none".to_owned()
    } else {
        bare.chars().take(12).collect()
    }
}

fn container(changes: &mut Changes, planned: &ContainerFacts, now: &ContainerFacts) {
    changes.ids("container", &planned.id, &now.id);
    changes.differ("container's name", &planned.name, &now.name);
    changes.ids(
        "container's settings",
        &planned.settings_digest,
        &now.settings_digest,
    );
    changes.differ("container's state", state(planned), state(now));
    changes.differ(
        "restart policy",
        &planned.restart_policy,
        &now.restart_policy,
    );
    changes.flag(
        "deleted when it stops",
        planned.auto_remove,
        now.auto_remove,
    );
    changes.differ("managed by", &planned.managed_by, &now.managed_by);
    changes.differ(
        "carry-over",
        &planned.carry_over_refusal,
        &now.carry_over_refusal,
    );
    changes.part(
        "Compose's file",
        &planned.compose,
        &now.compose,
        |changes, planned, now| {
            changes.differ("Compose's file", &planned.file, &now.file);
            changes.ids("Compose's file", &planned.digest, &now.digest);
            changes.ids(
                "Compose's file, edited",
                &planned.edited_digest,
                &now.edited_digest,
            );
            changes.ids("Compose's hash", &planned.config_hash, &now.config_hash);
        },
    );
    changes.part("unit", &planned.unit, &now.unit, |changes, planned, now| {
        changes.differ("unit", &planned.name, &now.name);
        changes.differ("unit's file", &planned.file, &now.file);
        changes.differ("unit's files", &planned.refusal, &now.refusal);
        let digests = |unit: &UnitFacts| {
            let files = unit.files.iter();
            let digests = files.map(|it| format!("{} {} {}", it.path, it.digest, it.edited_digest));
            digests.collect::<Vec<_>>().join(", ")
        };
        changes.differ("unit's files", &digests(planned), &digests(now));
    });
}

fn state(container: &ContainerFacts) -> &str {
    match container.status.as_str() {
        "" if container.running => "running",
        "" => "not running",
        status => status,
    }
}

fn target(changes: &mut Changes, planned: &ImageFacts, now: &ImageFacts) {
    changes.differ("target image", &planned.reference, &now.reference);
    changes.ids("target image's id", &planned.id, &now.id);
    changes.differ("target version", &planned.version, &now.version);
    let owner = |image: &ImageFacts| format!("{}:{}", image.uid, image.gid);
    changes.differ("target owner", &owner(planned), &owner(now));
}

fn server(changes: &mut Changes, planned: &ServerFacts, now: &ServerFacts) {
    // `2.44.1` and `2.44.1-1.el9` are one version.
    if planned.version != now.version
        && Version::parse(&planned.version) != Version::parse(&now.version)
    {
        changes.push(
            "version",
            format!("PMM {}", planned.version),
            format!("PMM {}", now.version),
        );
    }
    changes.flag("update running", planned.update_running, now.update_running);
    changes.differ(
        "database roles to heal",
        &roles_to_heal(planned).join(", "),
        &roles_to_heal(now).join(", "),
    );
    let set = |server: &ServerFacts| {
        let files: BTreeSet<&str> = server
            .custom_rule_files
            .iter()
            .map(String::as_str)
            .collect();
        files.into_iter().collect::<Vec<_>>().join(", ")
    };
    changes.differ("files to set aside", &set(planned), &set(now));
    changes.flag(
        "external PostgreSQL",
        planned.external_postgres,
        now.external_postgres,
    );
    changes.flag(
        "external ClickHouse",
        planned.external_clickhouse,
        now.external_clickhouse,
    );
}

fn data(changes: &mut Changes, volume: &str, planned: &DataFacts, now: &DataFacts) {
    changes.differ("place of the data", &planned.destination, &now.destination);
    let known: BTreeSet<&String> = planned.other_containers.iter().collect();
    for other in now
        .other_containers
        .iter()
        .filter(|other| !known.contains(other))
    {
        let size = format!(
            "{}, {}",
            counted(planned.entries, "file"),
            bytes(planned.bytes)
        );
        changes.push(
            volume,
            size,
            format!("mounted by a second container, {other}"),
        );
    }
    if now.bytes > now.backup_free_bytes {
        changes.push(
            volume,
            format!(
                "{}, {} free",
                bytes(planned.bytes),
                bytes(planned.backup_free_bytes)
            ),
            format!(
                "{}, {} free",
                bytes(now.bytes),
                bytes(now.backup_free_bytes)
            ),
        );
    }
    changes.flag("read-only data", planned.read_only, now.read_only);
    let new_volume = |data: &DataFacts| {
        let volume = data.new_volume.as_ref();
        volume.map_or_else(String::new, |volume| volume.name.clone())
    };
    changes.differ(
        "new volume for the data",
        &new_volume(planned),
        &new_volume(now),
    );
    changes.differ("open run", &planned.open_run, &now.open_run);
    changes.differ("run of a crossing", &planned.crossed_by, &now.crossed_by);
    let below = |data: &DataFacts| {
        let places: BTreeSet<&str> = data
            .mounts_below
            .iter()
            .map(|mount| mount.destination.as_str())
            .collect();
        places.into_iter().collect::<Vec<_>>().join(", ")
    };
    changes.differ("mounts below the data", &below(planned), &below(now));
}

#[cfg(test)]
mod tests {
    use ferry_proto::v1::Facts;

    use super::compare_facts;
    use crate::samples;

    /// One change to the facts, and what it must be called.
    type Case = (&'static str, fn(&mut Facts));

    fn whats(planned: &Facts, now: &Facts) -> Vec<String> {
        compare_facts(planned, now)
            .into_iter()
            .map(|change| change.what)
            .collect()
    }

    #[test]
    fn the_same_facts_a_minute_later_are_the_same_facts() {
        let planned = samples::facts();
        let mut now = planned.clone();
        now.observed.as_mut().unwrap().seconds += 60;
        let server = now.server.as_mut().unwrap();
        server.services += 3;
        server.last_metric_age_seconds = 1.5;
        server.version = "2.44.1-1.el9".into();
        let data = now.data.as_mut().unwrap();
        data.bytes += 1 << 20;
        data.entries += 12;
        data.backup_free_bytes -= 1 << 20;
        assert_eq!(compare_facts(&planned, &now), []);
    }

    #[test]
    fn whatever_a_plan_rests_on_makes_it_stale() {
        let cases: [Case; 17] = [
            ("engine id", |f| {
                f.engine.as_mut().unwrap().id = "other".into()
            }),
            ("container", |f| {
                f.container.as_mut().unwrap().id = "other".into()
            }),
            ("container's settings", |f| {
                f.container.as_mut().unwrap().settings_digest = "x".into()
            }),
            ("restart policy", |f| {
                f.container.as_mut().unwrap().restart_policy = "no".into()
            }),
            ("container's state", |f| {
                f.container.as_mut().unwrap().status = "exited".into()
            }),
            ("image of the container", |f| {
                f.image.as_mut().unwrap().id = "sha256:1".into()
            }),
            ("target image's id", |f| {
                f.target.as_mut().unwrap().id = "sha256:1".into()
            }),
            ("target owner", |f| f.target.as_mut().unwrap().gid = 1000),
            ("version", |f| {
                f.server.as_mut().unwrap().version = "2.44.0".into()
            }),
            ("server", |f| f.server = None),
            ("database roles to heal", |f| {
                f.server.as_mut().unwrap().roles.clear()
            }),
            ("files to set aside", |f| {
                f.server
                    .as_mut()
                    .unwrap()
                    .custom_rule_files
                    .push("x.yml".into());
            }),
            ("volume of the data", |f| {
                f.container.as_mut().unwrap().mounts[0].name = "x".into()
            }),
            ("volume pmm-data", |f| {
                f.data
                    .as_mut()
                    .unwrap()
                    .other_containers
                    .push("pmm-old (running)".into());
            }),
            ("volume pmm-data", |f| {
                f.data.as_mut().unwrap().backup_free_bytes = 5
            }),
            ("read-only data", |f| {
                f.data.as_mut().unwrap().read_only = true
            }),
            ("open run", |f| {
                f.data.as_mut().unwrap().open_run = "aa".into()
            }),
        ];
        for (what, change) in cases {
            let planned = samples::facts();
            let mut now = planned.clone();
            change(&mut now);
            assert_eq!(whats(&planned, &now), [what]);
        }
    }
}
