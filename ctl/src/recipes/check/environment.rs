//! What becomes of the variables that the user set (facts/pmm.md 1.9). Names only: a value may be
//! a secret.

use ferry_proto::v1::{EnvironmentChangeKind as Kind, Facts};

use super::{Notebook, Subject, catalogue::environment, names};
use crate::units::counted;

pub(super) fn check(facts: &Facts, subject: &Subject, notebook: &mut Notebook) {
    let Some(container) = &facts.container else {
        return;
    };
    let of = |kind: Kind| {
        container
            .environment
            .iter()
            .filter(move |change| change.kind() == kind)
    };
    let number = |kind: Kind| of(kind).count() as u64;

    let invalid = number(Kind::Invalid);
    if invalid > 0 {
        notebook.blocker(
            environment::ENV_INVALID,
            format!(
                "{} a value that PMM 3 does not accept: {}",
                if invalid == 1 { "1 variable has".to_owned() } else { format!("{invalid} variables have") },
                names(of(Kind::Invalid).map(|change| change.name.as_str()), invalid),
            ),
            &format!(
                "`--show env` says what each may be; make {} again with corrected values, then check again",
                subject.name
            ),
        );
    }
    if let Some(text) = changes(
        number(Kind::Renamed),
        number(Kind::Inverted),
        number(Kind::Dropped),
    ) {
        notebook.warning(
            environment::ENV_RENAMED,
            text,
            "see each of them with `--show env`",
        );
    }
    // Any other name is the operator's own affair; one like these was meant for PMM (facts/pmm.md 1.4, item 8).
    let ignored: Vec<&str> = of(Kind::Foreign)
        .map(|change| change.name.as_str())
        .filter(|name| {
            ["PMM_", "PERCONA_"]
                .iter()
                .any(|prefix| name.to_ascii_uppercase().starts_with(prefix))
        })
        .collect();
    if !ignored.is_empty() {
        let number = ignored.len() as u64;
        notebook.warning(
            environment::ENV_IGNORED,
            format!(
                "{} like PMM's, and PMM 3 ignores {}: {}",
                if number == 1 {
                    "1 variable has a name".to_owned()
                } else {
                    format!("{number} variables have names")
                },
                if number == 1 { "it" } else { "them" },
                names(ignored, number),
            ),
            "find the place in PMM 3's settings for what was meant, and take the variable out",
        );
    }
    let unknown = number(Kind::Unknown);
    if unknown > 0 {
        notebook.warning(
            environment::ENV_UNKNOWN,
            format!(
                "the agent says something of {} that this release does not understand",
                names(
                    of(Kind::Unknown).map(|change| change.name.as_str()),
                    unknown
                ),
            ),
            "use agent and controller of one release",
        );
    }
    let dbaas = |name: &str| matches!(name, "ENABLE_DBAAS" | "PERCONA_TEST_DBAAS");
    if container
        .environment
        .iter()
        .any(|change| dbaas(&change.name))
    {
        notebook.warning(
            environment::DBAAS_REMOVED,
            "DBaaS is switched on; PMM 3 has none and drops the registered Kubernetes clusters",
            "note the registered clusters before the migration",
        );
    }
}

fn changes(renamed: u64, inverted: u64, dropped: u64) -> Option<String> {
    let verb = |number: u64| if number == 1 { "is" } else { "are" };
    let mut parts = Vec::new();
    if renamed > 0 {
        let gets = if renamed == 1 {
            "gets a new name"
        } else {
            "get new names"
        };
        parts.push(format!("{} {gets}", counted(renamed, "variable")));
    }
    for (number, what) in [(inverted, "inverted"), (dropped, "dropped")] {
        if number > 0 {
            let subject = if parts.is_empty() {
                counted(number, "variable")
            } else {
                number.to_string()
            };
            parts.push(format!("{subject} {} {what}", verb(number)));
        }
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::changes;

    #[test]
    fn the_sentence_has_only_what_there_is() {
        assert_eq!(changes(0, 0, 0), None);
        let text = changes(5, 2, 1).unwrap();
        assert_eq!(
            text,
            "5 variables get new names, 2 are inverted, 1 is dropped"
        );
        assert_eq!(changes(1, 0, 0).unwrap(), "1 variable gets a new name");
        assert_eq!(changes(0, 1, 0).unwrap(), "1 variable is inverted");
    }
}
