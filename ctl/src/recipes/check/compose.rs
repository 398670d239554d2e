//! A container of Compose's that is made again without Compose: what its file has to say afterwards, so that Compose makes
//! the same server when it is asked to.
//!
//! Why from the facts and not from the file: the file lies on the engine's host, which may be another machine, and it may
//! take its values from variables, other files and merges, which only Compose resolves.

use ferry_proto::v1::{ContainerFacts, EnvironmentChange, EnvironmentChangeKind as Kind};

use super::{Notebook, Subject, catalogue::container};
use crate::recipes::Wishes;

pub(super) fn check(
    facts: &ContainerFacts,
    wishes: &Wishes,
    subject: &Subject,
    notebook: &mut Notebook,
) {
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
            "do not use Compose on it during the run; afterwards change its service in the file: {}",
            changes(facts, wishes).join("; ")
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
    use ferry_proto::v1::{Facts, Finding, Severity};

    use crate::{
        recipes::{Compose, Wishes, findings, has_blocker, pmm_in_place},
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
}
