//! A container that a unit of systemd makes at each of its starts: what the run changes in the unit's files, and what that means for the
//! way back. Or one that a unit starts, whose files stay.
//!
//! There is no choice beside the edit, as there is with Compose: a container of Ferry's would be replaced at the next boot by what the
//! files say.

use ferry_proto::v1::{ContainerFacts, Facts, UnitFacts};

use super::{Notebook, Subject, catalogue::container, compose::changed_entries};
use crate::{
    recipes::{Wishes, policy},
    units::counted,
};

pub(super) fn check(
    facts: &Facts,
    made: &ContainerFacts,
    wishes: &Wishes,
    subject: &Subject,
    notebook: &mut Notebook,
) {
    let refused = |notebook: &mut Notebook, why: &str, hint: &str| {
        let name = made.unit.as_ref().map_or("its unit", |it| it.name.as_str());
        let text = format!("the files of {name} are not edited: {why}");
        notebook.blocker(container::UNIT_FILE_REFUSED, text, hint);
    };
    let looked_at = made
        .unit
        .as_ref()
        .filter(|it| !it.file.is_empty() || !it.refusal.is_empty());
    match looked_at {
        Some(unit) if unit.starts && unit.refusal.is_empty() => started(unit, subject, notebook),
        _ if wishes.data_volume.is_some() => refused(
            notebook,
            "its data is to be moved to a new volume, which they would have to name too",
            "put the data on a volume of the unit's own first (docs/no-volume.md), then check again without `--data-to-volume`",
        ),
        // Without the image nothing is known of what it needs, and that is said elsewhere.
        None if facts.target.as_ref().is_none_or(|target| !target.present) => {}
        None => refused(
            notebook,
            "the host agent has not looked at them",
            "use agent and controller of one release, then check again",
        ),
        Some(unit) if !unit.another.is_empty() => of_another(unit, wishes, subject, notebook),
        Some(unit) if unit.starts => refused(notebook, &unit.refusal, &let_go(unit, subject)),
        Some(unit) if !unit.refusal.is_empty() => refused(notebook, &unit.refusal, &by_hand(unit)),
        // Without the flag that allows it, such a name has a finding of its own.
        Some(_) if policy::floats(facts, wishes) && !policy::refuses_name(wishes) => refused(
            notebook,
            &format!(
                "they would name `{}`, which may be another image tomorrow",
                wishes.target_image
            ),
            "name an image that does not move with `--to`",
        ),
        Some(unit) => edited(unit, subject, notebook),
    }
}

/// It makes no container, so it stands in the way of nothing that is done to one.
fn started(unit: &UnitFacts, subject: &Subject, notebook: &mut Notebook) {
    notebook.note(
        container::UNIT_STARTS,
        format!(
            "{} starts {} by its name: the run holds it until PMM 3 is proven, and then it starts the new one",
            unit.name, subject.name
        ),
        "",
    );
}

/// Nobody but the user touches the files, so it is said how to become that user.
fn of_another(unit: &UnitFacts, wishes: &Wishes, subject: &Subject, notebook: &mut Notebook) {
    let UnitFacts { name, another, .. } = unit;
    notebook.blocker(
        container::UNIT_OF_ANOTHER,
        format!("{name} is a unit of user `{another}`, whose service manager and files are for nobody else"),
        &format!(
            "as that user: `sudo --user {another} XDG_RUNTIME_DIR=/run/user/$(id --user {another}) ferryctl check podman:{} --to {} --unit \
             edit`",
            subject.name, wishes.target_image
        ),
    );
}

/// What is left to do where Ferry does not.
fn by_hand(unit: &UnitFacts) -> String {
    format!(
        "mend that, then check again; or take the container out of the unit for the crossing: {}",
        taken_out(&unit.name, unit.user)
    )
}

/// What is about one container has to be about another one afterwards.
fn let_go(unit: &UnitFacts, subject: &Subject) -> String {
    let (systemctl, name) = (systemctl(unit.user), &subject.name);
    format!(
        "take it out of the unit for the crossing: `{systemctl} disable --now {0}`, `docker start {name}`, and carry it over without `--unit`. \
         Then write the unit anew, so that it starts `{name}` by its name (`podman generate systemd --name {name}`), and `{systemctl} enable \
         --now {0}`",
        unit.name
    )
}

/// How a container leaves its unit, and comes back to it.
pub(super) fn taken_out(unit: &str, user: bool) -> String {
    let (unit, user) = match unit {
        "" => ("UNIT", user),
        unit => (unit, user),
    };
    let systemctl = systemctl(user);
    format!(
        "`{systemctl} disable --now {unit}`, start an equal container without `--rm` on the same volume, carry that over, change the \
         unit's files as it was changed, remove the container and `{systemctl} enable --now {unit}`"
    )
}

fn systemctl(user: bool) -> &'static str {
    if user {
        "systemctl --user"
    } else {
        "systemctl"
    }
}

fn edited(unit: &UnitFacts, subject: &Subject, notebook: &mut Notebook) {
    let mut entries = Vec::new();
    for file in &unit.files {
        let of_file = changed_entries(&file.diff);
        entries.extend(of_file.into_iter().map(|it| format!("{}, {it}", file.path)));
    }
    notebook.note(
        container::UNIT_FILES_EDITED,
        format!(
            "the run stops {}, changes {} of it, and starts it; each file is kept as it was beside it",
            unit.name,
            counted(entries.len() as u64, "setting"),
        ),
        &entries.join("; "),
    );
    notebook.warning(
        container::UNIT_MAKES_ANEW,
        format!(
            "{} makes {} anew at each start, so no old container is kept, and what was written into the container itself and not to a \
             mount goes with its stop, as at each stop before",
            unit.name, subject.name
        ),
        "keep the unit's files, the kept ones beside them and the old image until you have no use for `ferryctl rollback`",
    );
}

#[cfg(test)]
mod tests {
    use ferry_proto::v1::{Facts, Finding, Plan, Severity, UnitFacts, UnitFileFacts, action::Kind};

    use crate::{
        recipes::{Unit, Wishes, compare_facts, findings, has_blocker, plan, unit_of},
        report::{self, Look},
        samples,
    };

    fn of_unit() -> Facts {
        let mut facts = samples::facts();
        let container = facts.container.as_mut().unwrap();
        container.managed_by = "systemd".into();
        container.auto_remove = true;
        container.fence_obstacle = "its first program is not its image's own".into();
        container.unit = Some(UnitFacts {
            name: "pmm-server.service".into(),
            ..UnitFacts::default()
        });
        facts
    }

    fn looked_at() -> Facts {
        let mut facts = of_unit();
        let file = |path: &str, lines: &[&str]| UnitFileFacts {
            path: path.into(),
            digest: "01d".into(),
            edited_digest: "4e3".into(),
            diff: lines.iter().map(|it| (*it).to_owned()).collect(),
        };
        let unit = unit(&mut facts);
        unit.file = "/etc/systemd/system/pmm-server.service".into();
        unit.files = vec![
            file(
                "/etc/systemd/system/pmm-server.service",
                &[
                    "-    9  percona/pmm-server:2",
                    "+    9  percona/pmm-server:3.8.1",
                ],
            ),
            file("/etc/pmm.env", &["-    2  LESS_LOG_NOISE=…"]),
        ];
        facts
    }

    fn unit(facts: &mut Facts) -> &mut UnitFacts {
        facts.container.as_mut().unwrap().unit.as_mut().unwrap()
    }

    fn edit() -> Wishes {
        Wishes {
            unit: Unit::Edit,
            ..samples::wishes()
        }
    }

    fn named(findings: &[Finding], code: &str) -> Finding {
        findings.iter().find(|it| it.code == code).unwrap().clone()
    }

    fn made(facts: Facts) -> Plan {
        plan("docker:p", facts, &edit(), Default::default()).unwrap()
    }

    #[test]
    fn whoever_does_not_choose_is_told_that_there_is_a_choice() {
        let found = findings(&of_unit(), &samples::wishes());
        let managed = named(&found, "container-managed");
        assert_eq!(managed.severity(), Severity::Blocker);
        assert!(managed.hint.contains("--unit edit"), "{managed:?}");
        assert!(managed.text.contains("pmm-server.service"), "{managed:?}");
    }

    #[test]
    fn each_entry_that_the_run_changes_is_told_with_its_file() {
        let found = findings(&looked_at(), &edit());
        assert!(!has_blocker(&found), "{found:?}");
        let note = named(&found, "unit-files-edited");
        assert_eq!(
            note.hint,
            "/etc/systemd/system/pmm-server.service, line 9: `percona/pmm-server:2` → `percona/pmm-server:3.8.1`; \
             /etc/pmm.env, line 2: `LESS_LOG_NOISE=…` goes"
        );
        assert_eq!(
            named(&found, "unit-makes-anew").severity(),
            Severity::Warning
        );
    }

    #[test]
    fn files_that_cannot_be_edited_stand_in_the_way() {
        let mut facts = looked_at();
        unit(&mut facts).refusal = "it has no `ExecStart`".into();
        for facts in [facts, of_unit()] {
            let refused = named(&findings(&facts, &edit()), "unit-file-refused");
            assert_eq!(refused.severity(), Severity::Blocker);
        }
        let moves = Wishes {
            data_volume: Some("pmm-data".into()),
            ..edit()
        };
        assert!(has_blocker(&findings(&looked_at(), &moves)));
    }

    /// All is as for any container, and the unit is in the run's hands from before its stop until all is proven.
    #[test]
    fn a_unit_that_starts_its_container_by_name_is_held_meanwhile() {
        let mut facts = looked_at();
        facts.container.as_mut().unwrap().auto_remove = false;
        facts.container.as_mut().unwrap().fence_obstacle = String::new();
        let it = unit(&mut facts);
        (it.starts, it.files) = (true, Vec::new());
        let found = findings(&facts, &edit());
        assert!(!has_blocker(&found), "{found:?}");
        assert_eq!(named(&found, "unit-starts").severity(), Severity::Note);

        let held = made(facts.clone());
        assert_eq!(Unit::of(&held), Unit::Edit);
        assert_eq!(unit_of(&held), None);
        let ids = |plan: &Plan| -> Vec<String> {
            plan.steps.iter().map(|step| step.id.clone()).collect()
        };
        let container = facts.container.as_mut().unwrap();
        (container.unit, container.managed_by) = (None, String::new());
        let mut usual = ids(&made(facts.clone()));
        let place = |id: &str| ids(&held).iter().position(|it| it == id).unwrap();
        usual.insert(place("hold-unit"), "hold-unit".into());
        usual.insert(place("release-unit"), "release-unit".into());
        assert_eq!(ids(&held), usual);
        let order = [
            "hold-unit",
            "fence-server",
            "compare-baseline",
            "release-unit",
            "retire-agents",
        ];
        assert!(order.map(place).is_sorted(), "{usual:?}");

        // What such a container has in the way of any crossing is in the way of this one.
        let container = facts.container.as_mut().unwrap();
        container.auto_remove = true;
        container.managed_by = "systemd".into();
        container.unit = Some(UnitFacts {
            starts: true,
            file: "/f".into(),
            ..UnitFacts::default()
        });
        assert!(has_blocker(&findings(&facts, &edit())));
    }

    #[test]
    fn a_unit_that_starts_what_is_there_is_let_go_for_the_crossing() {
        let mut facts = looked_at();
        let it = unit(&mut facts);
        (it.user, it.starts, it.refusal) = (true, true, "it starts what exists".into());
        let refused = named(&findings(&facts, &edit()), "unit-file-refused");
        let wanted = "`systemctl --user disable --now pmm-server.service`, `docker start ";
        assert!(refused.hint.contains(wanted), "{refused:?}");
    }

    #[test]
    fn a_unit_of_another_user_is_left_to_that_user() {
        let mut facts = looked_at();
        unit(&mut facts).another = "pmm".into();
        unit(&mut facts).refusal = "it is a unit of user `pmm`".into();
        let found = findings(&facts, &edit());
        let another = named(&found, "unit-of-another");
        assert_eq!(another.severity(), Severity::Blocker);
        assert!(another.hint.contains("sudo --user pmm"), "{another:?}");
        assert!(!found.iter().any(|it| it.code == "unit-file-refused"));
    }

    #[test]
    fn the_choice_opens_no_other_door() {
        let mut plain = samples::facts();
        plain.container.as_mut().unwrap().auto_remove = true;
        assert!(has_blocker(&findings(&plain, &edit())));
        for manager in ["swarm", "compose", "kubernetes"] {
            let mut facts = samples::facts();
            facts.container.as_mut().unwrap().managed_by = manager.into();
            assert!(has_blocker(&findings(&facts, &edit())), "{manager}");
        }
    }

    /// The container of before is gone with its stop, and the one behind is made by the unit.
    #[test]
    fn the_unit_is_stopped_edited_and_started_and_no_container_is_made_beside_it() {
        let plan = made(looked_at());
        let at = |id: &str| plan.steps.iter().position(|step| step.id == id);
        let order = [
            "fence-server",
            "stop-server",
            "transfer-ownership",
            "edit-unit-files",
            "hand-over-volume",
            "start-server",
        ];
        let places: Vec<_> = order.iter().map(|id| at(id).unwrap()).collect();
        assert!(places.is_sorted(), "{places:?}");
        assert_eq!(
            (at("set-aside-container"), at("replace-container")),
            (None, None)
        );
        let units = plan.steps.iter().filter_map(|step| {
            Some(match step.action.clone()?.kind? {
                Kind::FenceServer(it) => it.unit,
                Kind::StopServer(it) => it.unit,
                Kind::EditUnitFiles(it) => it.unit,
                Kind::StartServer(it) => it.unit,
                Kind::RetireAgents(it) => it.unit,
                _ => return None,
            })
        });
        let units: Vec<_> = units.collect();
        assert_eq!(units.len(), 5);
        assert!(units.iter().all(|it| *it == unit_of(&plan)), "{units:?}");
        let unit = unit_of(&plan).unwrap();
        let facts = plan.facts.clone().unwrap();
        assert_eq!(unit.old_image_id, facts.image.unwrap().id);
        assert_eq!(unit.image_id, facts.target.unwrap().id);
        assert_eq!(unit.data.unwrap().destination, "/srv");
        assert_eq!(Unit::of(&plan), Unit::Edit);
        assert_eq!(Unit::of(&samples::plan()), Unit::Refuse);
        assert_eq!(unit_of(&samples::plan()), None);
    }

    #[test]
    fn a_file_that_changed_since_the_plan_is_named() {
        let mut facts = looked_at();
        unit(&mut facts).files[0].digest = "other".into();
        assert_eq!(compare_facts(&looked_at(), &facts).len(), 1);
        assert!(compare_facts(&looked_at(), &looked_at()).is_empty());
    }

    #[test]
    fn the_plan_shows_the_lines_below_their_file() {
        let look = Look {
            width: 200,
            color: false,
        };
        let text = report::plan(&made(looked_at()), "plan.json", look);
        assert!(text.contains("/etc/pmm.env"), "{text}");
        assert!(text.contains("LESS_LOG_NOISE=…"), "{text}");
    }
}
