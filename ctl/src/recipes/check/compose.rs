//! A container of Compose's that is made again without Compose: what its file has to say afterwards, so that Compose makes
//! the same server when it is asked to.
//!
//! The run edits the file where the host agent has found that it can. Otherwise the list of changes comes from the facts and not
//! from the file: the file lies on the engine's host, which may be another machine, and it may take its values from variables,
//! other files and merges, which only Compose resolves.

use ferry_proto::v1::{
    ComposeFacts, ContainerFacts, EnvironmentChange, EnvironmentChangeKind as Kind, Facts,
};

use super::{Notebook, Subject, catalogue::container};
use crate::{
    recipes::{Compose, Wishes, policy},
    units::counted,
};

pub(super) fn check(
    facts: &Facts,
    made: &ContainerFacts,
    wishes: &Wishes,
    subject: &Subject,
    notebook: &mut Notebook,
) {
    if wishes.compose != Compose::Edit {
        return by_hand(made, wishes, subject, notebook);
    }
    let refused = |notebook: &mut Notebook, why: &str, hint: &str| {
        let text = format!("Compose's file is not edited: {why}");
        notebook.blocker(container::COMPOSE_FILE_REFUSED, text, hint);
    };
    let on_no_volume = facts
        .data
        .as_ref()
        .is_some_and(|data| data.new_volume.is_some());
    if wishes.data_volume.is_some() && on_no_volume {
        return refused(
            notebook,
            "its data lies in the container itself, and the file would have to name the new volume too",
            "say `--compose container-only` for the move, and put the volume into the file; then `--compose edit` for the crossing",
        );
    }
    match &made.compose {
        // Without the image nothing is known of what it needs, and that is said elsewhere.
        None if facts.target.as_ref().is_none_or(|target| !target.present) => {}
        None => refused(
            notebook,
            "the host agent has not looked at it",
            "use agent and controller of one release, or say `--compose container-only`",
        ),
        Some(compose) if !compose.refusal.is_empty() => refused(
            notebook,
            &compose.refusal,
            "mend that, then check again; or say `--compose container-only`, and change the file yourself (docs/compose.md)",
        ),
        // Without the flag that allows it, such a name has a finding of its own.
        Some(_) if policy::floats(facts, wishes) && !policy::refuses_name(wishes) => refused(
            notebook,
            &format!(
                "it would say `image: {}`, which may name another image tomorrow",
                wishes.target_image
            ),
            "name an image that does not move with `--to`, or say `--compose container-only`",
        ),
        Some(compose) => edited(compose, subject, notebook),
    }
}

/// The run changes the file.
fn edited(compose: &ComposeFacts, subject: &Subject, notebook: &mut Notebook) {
    let entries = changed_entries(&compose.diff);
    notebook.note(
        container::COMPOSE_FILE_EDITED,
        format!(
            "the run changes {} of service `{}` in `{}`, and keeps the file as it was beside it",
            counted(entries.len() as u64, "setting"),
            compose.service,
            compose.file
        ),
        &entries.join("; "),
    );
    let (becomes, then) = if compose.version.starts_with("1.") {
        (
            "makes PMM 3 again from the edited file",
            ", after which `docker-compose up` leaves PMM 3 as it is",
        )
    } else {
        ("leaves PMM 3 as it is", "")
    };
    notebook.warning(
        container::COMPOSE_REMOVES_OLD,
        format!(
            "the next `up` of Compose removes the old container of {}, which bears Compose's labels as well, and {becomes}; \
             the backup stays",
            subject.name
        ),
        &format!(
            "decide before it whether to keep PMM 3, because `ferryctl rollback` needs the old container; \
             `ferryctl finish` removes it{then}"
        ),
    );
}

/// One clause an entry, from the lines of a diff.
pub(super) fn changed_entries(diff: &[String]) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in diff {
        let (sign, rest) = line.split_at_checked(1).unwrap_or(("", line));
        let (number, entry) = rest.trim_start().split_once(' ').unwrap_or(("", rest));
        let entry = entry.trim();
        match entries.last_mut().filter(|_| sign == "+") {
            Some(last) => last.push_str(&format!(" → `{entry}`")),
            None => entries.push(format!("line {number}: `{entry}`")),
        }
    }
    for entry in &mut entries {
        if !entry.contains('→') {
            entry.push_str(" goes");
        }
    }
    entries
}

/// The file is the operator's to change.
fn by_hand(facts: &ContainerFacts, wishes: &Wishes, subject: &Subject, notebook: &mut Notebook) {
    let name = &subject.name;
    let goes_on = if wishes.is_move() {
        "a server without a volume, and would make an empty one once it makes the container again"
    } else {
        "PMM 2, and would bring PMM 2 up on PMM 3's data once it makes the container again"
    };
    notebook.warning(
        container::COMPOSE_CONTAINER_ONLY,
        format!(
            "{name} is managed by Compose, and made again without it: Compose's file goes on describing {goes_on}"
        ),
        &format!(
            "do not use Compose on it during the run; afterwards change its service in {}",
            what_to_change(facts, wishes)
        ),
    );
    notebook.warning(
        container::COMPOSE_REMOVES_OLD,
        format!(
            "the next `docker compose up` removes the old container of {name}, which bears Compose's labels as well; \
             the backup stays"
        ),
        "decide before it whether to keep PMM 3: `ferryctl rollback` needs the old container",
    );
}

/// The file's own lines, where the host agent has the file and knows how to edit it; else what they have to say.
fn what_to_change(facts: &ContainerFacts, wishes: &Wishes) -> String {
    match &facts.compose {
        Some(file) if file.refusal.is_empty() && !wishes.is_move() => {
            format!(
                "`{}`: {}",
                file.file,
                changed_entries(&file.diff).join("; ")
            )
        }
        _ => format!("the file: {}", changes(facts, wishes).join("; ")),
    }
}

/// Each line of the service that has to change. Names only: what a variable is set to stays as it is.
fn changes(facts: &ContainerFacts, wishes: &Wishes) -> Vec<String> {
    if let Some(volume) = wishes.data_volume.as_ref().filter(|_| wishes.is_move()) {
        return vec![
            format!("in `volumes`, `{volume}:/srv`"),
            format!("in the file's own `volumes`, `{volume}: {{ external: true }}`"),
        ];
    }
    let mut changes = vec![format!("`image: {}`", wishes.target_image)];
    changes.extend(facts.environment.iter().filter_map(variable));
    let published = |port: &str| {
        let ends = |end: &str| end == port || end.strip_suffix("/tcp") == Some(port);
        facts
            .ports
            .iter()
            .any(|line| line.rsplit(' ').next().is_some_and(ends))
    };
    for (old, new) in [("80", "8080"), ("443", "8443")] {
        if published(old) {
            changes.push(format!("in `ports`, container port {old} → {new}"));
        }
    }
    changes
}

fn variable(change: &EnvironmentChange) -> Option<String> {
    let (old, new) = (&change.name, &change.new_name);
    match change.kind() {
        Kind::Renamed => Some(format!("variable `{old}` → `{new}`")),
        Kind::Inverted => Some(format!(
            "variable `{old}` → `{new}`, with the opposite value"
        )),
        Kind::Dropped => Some(format!("variable `{old}` goes")),
        Kind::Kept | Kind::Foreign | Kind::Invalid | Kind::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use ferry_proto::v1::{ComposeFacts, Facts, Finding, Plan, Severity, action::Kind};

    use crate::{
        recipes::{
            Compose, Recipe, Wishes, compare_facts, findings, has_blocker, plan, pmm_in_place,
            policy::{self, Allowed},
        },
        report::{self, Look},
        samples,
    };

    fn of_compose() -> Facts {
        let mut facts = samples::facts();
        facts.container.as_mut().unwrap().managed_by = "compose".into();
        facts
    }

    fn alone() -> Wishes {
        Wishes {
            compose: Compose::ContainerOnly,
            ..samples::wishes()
        }
    }

    fn named(findings: &[Finding], code: &str) -> Finding {
        findings.iter().find(|it| it.code == code).unwrap().clone()
    }

    #[test]
    fn whoever_does_not_choose_is_told_that_there_is_a_choice() {
        let found = findings(&of_compose(), &samples::wishes());
        let managed = named(&found, "container-managed");
        assert_eq!(managed.severity(), Severity::Blocker);
        assert!(
            managed.hint.contains("--compose container-only"),
            "{managed:?}"
        );
    }

    #[test]
    fn every_line_that_the_file_must_change_is_named() {
        let found = findings(&of_compose(), &alone());
        assert!(!has_blocker(&found), "{found:?}");
        let hint = named(&found, "compose-container-only").hint;
        assert!(
            hint.ends_with(
                "in the file: `image: percona/pmm-server:3.8.1`; \
                 variable `DATA_RETENTION` → `PMM_DATA_RETENTION`; \
                 variable `DISABLE_UPDATES` → `PMM_ENABLE_UPDATES`, with the opposite value; \
                 variable `LESS_LOG_NOISE` goes; in `ports`, container port 80 → 8080; \
                 in `ports`, container port 443 → 8443"
            ),
            "{hint}"
        );
    }

    #[test]
    fn a_file_that_was_read_is_shown_as_it_has_to_become() {
        let found = findings(&looked_at(), &alone());
        assert!(!has_blocker(&found), "{found:?}");
        let hint = named(&found, "compose-container-only").hint;
        assert!(hint.contains("PMM_DATA_RETENTION: …"), "{hint}");
        assert!(hint.contains(&file(&mut looked_at()).file), "{hint}");
        // One that cannot be edited is described.
        let mut facts = looked_at();
        file(&mut facts).refusal = "it is a link".into();
        let hint = named(&findings(&facts, &alone()), "compose-container-only").hint;
        assert!(hint.contains("in the file: `image: "), "{hint}");
    }

    #[test]
    fn ports_of_the_users_own_stay() {
        let mut facts = of_compose();
        let container = facts.container.as_mut().unwrap();
        container.ports = vec![
            "0.0.0.0:443 → 8443/tcp".into(),
            "0.0.0.0:80 → 80/udp".into(),
        ];
        let hint = named(&findings(&facts, &alone()), "compose-container-only").hint;
        assert!(!hint.contains("container port"), "{hint}");
    }

    #[test]
    fn a_plan_remembers_the_choice() {
        let made = |facts, wishes: &Wishes| {
            pmm_in_place::plan("docker:p", facts, wishes, Default::default())
        };
        let plan = made(of_compose(), &alone()).unwrap();
        assert_eq!(Compose::of(&plan), Compose::ContainerOnly);
        assert_eq!(Compose::of(&samples::plan()), Compose::Refuse);
        assert!(made(of_compose(), &samples::wishes()).is_err());
    }

    #[test]
    fn the_choice_opens_no_other_door() {
        for manager in ["swarm", "systemd", "kubernetes"] {
            let mut facts = samples::facts();
            facts.container.as_mut().unwrap().managed_by = manager.into();
            assert!(has_blocker(&findings(&facts, &alone())), "{manager}");
        }
        // Nothing is said of Compose where there is none.
        assert_eq!(
            findings(&samples::facts(), &alone()),
            findings(&samples::facts(), &samples::wishes())
        );
    }

    /// The host agent has looked at the file, and it can be edited.
    fn looked_at() -> Facts {
        let mut facts = of_compose();
        let lines = [
            "-    5  image: percona/pmm-server:2",
            "+    5  image: percona/pmm-server:3.8.1",
            "-    9  DATA_RETENTION: …",
            "+    9  PMM_DATA_RETENTION: …",
            "-   10  LESS_LOG_NOISE: …",
        ];
        facts.container.as_mut().unwrap().compose = Some(ComposeFacts {
            service: "pmm".into(),
            version: "1.29.2".into(),
            file: "/home/me/pmm/docker-compose.yml".into(),
            digest: "01d".into(),
            edited_digest: "4e3".into(),
            config_hash: "ha54".into(),
            diff: lines.map(str::to_owned).to_vec(),
            ..ComposeFacts::default()
        });
        facts
    }

    fn file(facts: &mut Facts) -> &mut ComposeFacts {
        let container = facts.container.as_mut().unwrap();
        container.compose.as_mut().unwrap()
    }

    fn edit() -> Wishes {
        Wishes {
            compose: Compose::Edit,
            ..samples::wishes()
        }
    }

    fn hash_of(plan: &Plan) -> String {
        let mut kinds = plan
            .steps
            .iter()
            .filter_map(|step| step.action.clone()?.kind);
        let hash = kinds.find_map(|kind| match kind {
            Kind::ReplaceContainer(it) => Some(it.compose_config_hash),
            _ => None,
        });
        hash.unwrap()
    }

    fn position(plan: &Plan, id: &str) -> Option<usize> {
        plan.steps.iter().position(|step| step.id == id)
    }

    #[test]
    fn each_entry_that_the_run_changes_is_told() {
        let found = findings(&looked_at(), &edit());
        assert!(!has_blocker(&found), "{found:?}");
        let note = named(&found, "compose-file-edited");
        assert_eq!(
            note.text,
            "the run changes 3 settings of service `pmm` in `/home/me/pmm/docker-compose.yml`, and keeps the file as it was \
             beside it"
        );
        assert_eq!(
            note.hint,
            "line 5: `image: percona/pmm-server:2` → `image: percona/pmm-server:3.8.1`; \
             line 9: `DATA_RETENTION: …` → `PMM_DATA_RETENTION: …`; line 10: `LESS_LOG_NOISE: …` goes"
        );
        assert!(found.iter().all(|it| it.code != "compose-container-only"));
    }

    /// The two do not do the same with the container that was set aside (docs/compose.md).
    #[test]
    fn what_compose_does_next_depends_on_its_version() {
        let told = |version: &str| {
            let mut facts = looked_at();
            file(&mut facts).version = version.into();
            named(&findings(&facts, &edit()), "compose-removes-old")
        };
        let (one, two) = (told("1.29.2"), told("2.39.1"));
        assert!(one.text.contains("makes PMM 3 again from the edited file"));
        assert!(
            one.hint
                .contains("`docker-compose up` leaves PMM 3 as it is")
        );
        assert!(two.text.contains("leaves PMM 3 as it is"));
        assert_eq!(two.severity(), Severity::Warning);
    }

    #[test]
    fn a_file_that_cannot_be_edited_stands_in_the_way() {
        let mut facts = looked_at();
        file(&mut facts).refusal = "`/c.yml` does not describe this container any more".into();
        let mut unasked = looked_at();
        unasked.container.as_mut().unwrap().compose = None;
        for facts in [facts, unasked] {
            let refused = named(&findings(&facts, &edit()), "compose-file-refused");
            assert_eq!(refused.severity(), Severity::Blocker);
            assert!(refused.hint.contains("--compose container-only"));
            assert!(!has_blocker(&findings(&facts, &alone())));
        }
    }

    /// `apply` looks such an image up by its id, and Compose by whatever the name means then.
    #[test]
    fn a_name_that_moves_is_not_written_into_the_file() {
        let wishes = Wishes {
            target_image: "percona/pmm-server:3".into(),
            allowed: Allowed::default().and(policy::FLOATING.name),
            ..edit()
        };
        let refused = named(&findings(&looked_at(), &wishes), "compose-file-refused");
        assert!(
            refused.text.contains("`image: percona/pmm-server:3`"),
            "{refused:?}"
        );
        let not_allowed = Wishes {
            allowed: Allowed::default(),
            ..wishes
        };
        let found = findings(&looked_at(), &not_allowed);
        assert!(
            found.iter().all(|it| it.code != "compose-file-refused"),
            "{found:?}"
        );
        assert!(has_blocker(&found));
    }

    #[test]
    fn the_file_is_edited_between_the_old_container_and_the_new_one() {
        for recipe in [Recipe::PmmInPlace, Recipe::PmmDumpRestore] {
            let wishes = Wishes { recipe, ..edit() };
            let plan = plan("docker:p", looked_at(), &wishes, Default::default()).unwrap();
            assert_eq!(Compose::of(&plan), Compose::Edit);
            let at = position(&plan, "edit-compose-file").unwrap();
            assert_eq!(position(&plan, "set-aside-container"), Some(at - 1));
            assert_eq!(position(&plan, "replace-container"), Some(at + 1));
            assert!(plan.steps[at].downtime);
            assert_eq!(hash_of(&plan), "ha54");
        }
    }

    #[test]
    fn a_file_that_says_it_already_is_left_alone() {
        let mut facts = looked_at();
        file(&mut facts).diff.clear();
        let made = plan("docker:p", facts, &edit(), Default::default()).unwrap();
        assert_eq!(position(&made, "edit-compose-file"), None);
        assert_eq!(hash_of(&made), "ha54");
    }

    #[test]
    fn only_whoever_chose_it_gets_it() {
        let made = plan("docker:p", looked_at(), &alone(), Default::default()).unwrap();
        assert_eq!(position(&made, "edit-compose-file"), None);
        assert_eq!(hash_of(&made), "");
        let rehearsed =
            pmm_in_place::rehearsal("docker:p", looked_at(), &edit(), false, Default::default());
        assert_eq!(position(&rehearsed.unwrap(), "edit-compose-file"), None);
        assert_eq!(
            findings(&samples::facts(), &edit()),
            findings(&samples::facts(), &samples::wishes())
        );
    }

    #[test]
    fn a_plan_fits_only_the_file_that_it_was_made_for() {
        let planned = looked_at();
        assert_eq!(compare_facts(&planned, &planned), []);
        let changes: [fn(&mut ComposeFacts); 4] = [
            |file| file.file = "/other.yml".into(),
            |file| file.digest = "5ec0nd".into(),
            |file| file.edited_digest = "5ec0nd".into(),
            |file| file.config_hash = "5ec0nd".into(),
        ];
        for change in changes {
            let mut now = looked_at();
            change(file(&mut now));
            let found = compare_facts(&planned, &now);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].what.starts_with("Compose's"), "{found:?}");
        }
    }

    #[test]
    fn a_plan_shows_what_changes_in_the_file() {
        let made = plan("docker:p", looked_at(), &edit(), Default::default()).unwrap();
        for width in [60, 100] {
            let shown = report::plan(&made, "plan.json", Look::plain(width));
            assert!(shown.contains("PMM_DATA_RETENTION: …"), "{shown}");
        }
    }
}
