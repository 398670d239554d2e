//! What an engine shows of a backup's crossing when nobody here has its journal: whether it still keeps something for the way back.
//!
//! Why it is looked for: the journal of a crossing may be another operator's. What `finish` takes away with the consent of a person is
//! seen by everybody, so its absence beside the container that the crossing made is as good as that consent.

use ferry_proto::v1::KeptFacts;

use crate::{
    engine::{containers::ContainerEntry, labels::RUN_LABEL},
    error::StepError,
    places::aside_belongs_to,
    surroundings::Host,
};

/// The server's container as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Present {
    /// The run that made it; empty where it says none, as one that a unit or a person has made.
    run: String,
    /// When it was made, in seconds since 1970.
    created: i64,
}

/// What is known of a backup before the engine is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crossing<'a> {
    /// The run that made the backup.
    pub(super) run: &'a str,
    /// The server.
    pub(super) server: &'a str,
    /// When the backup was made, in seconds since 1970; `None` when nobody knows.
    pub(super) created: Option<i64>,
}

/// What a crossing keeps, and whether it can be seen that it is over.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) kept: Option<KeptFacts>,
    pub(super) over: bool,
}

/// The server's container, where the engine has it.
pub(super) async fn present(
    host: &Host,
    all: &[ContainerEntry],
    server: &str,
) -> Result<Option<Present>, StepError> {
    let Some(entry) = all.iter().find(|entry| entry.name == server) else {
        return Ok(None);
    };
    let found = host.engine.find_container(&entry.id).await?;
    Ok(found.map(|container| Present {
        run: container.label(RUN_LABEL).unwrap_or_default().to_owned(),
        created: entry.created,
    }))
}

/// `data_gone`: it is known where the server's data was, and that is not there any more.
pub(super) fn judge(
    all: &[ContainerEntry],
    crossing: Crossing<'_>,
    present: Option<&Present>,
    data_gone: bool,
) -> Seen {
    let Crossing {
        run,
        server,
        created,
    } = crossing;
    let aside = |run: &str| {
        let mut entries = all.iter();
        let entry = entries.find(|entry| aside_belongs_to(&entry.name, server, run))?;
        Some(KeptFacts {
            run: run.to_owned(),
            what: format!("container `{}`", entry.name),
        })
    };
    let by = present
        .map(|it| it.run.as_str())
        .filter(|it| !it.is_empty());
    let kept = aside(run).or_else(|| by.and_then(aside));
    let over = match (present, by) {
        _ if kept.is_some() => false,
        (None, _) => data_gone,
        // Made by a unit or by hand: that does not tell after what.
        (Some(_), None) => false,
        // What was there before the backup was may have been put back by a run that was taken back, or wait for the crossing.
        (Some(present), Some(by)) => {
            by == run || created.is_some_and(|created| present.created > created)
        }
    };
    Seen { kept, over }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn containers(names: &[&str]) -> Vec<ContainerEntry> {
        let entry = |name: &&str| ContainerEntry {
            id: format!("id of {name}"),
            name: (*name).to_owned(),
            image: String::new(),
            state: "exited".into(),
            created: 0,
        };
        names.iter().map(entry).collect()
    }

    fn made_by(run: &str, created: i64) -> Option<Present> {
        let run = run.to_owned();
        Some(Present { run, created })
    }

    fn seen(names: &[&str], present: Option<Present>, data_gone: bool) -> (Option<String>, bool) {
        let crossing = Crossing {
            run: "r1",
            server: "pmm",
            created: Some(100),
        };
        let seen = judge(&containers(names), crossing, present.as_ref(), data_gone);
        (seen.kept.map(|it| it.what), seen.over)
    }

    #[test]
    fn a_container_that_was_set_aside_is_the_way_back() {
        let kept = |name: &str| Some(format!("container `{name}`"));
        let names = ["pmm", "pmm-2.44.1-r1"];
        let own = seen(&names, made_by("r1", 200), false);
        assert_eq!(own, (kept("pmm-2.44.1-r1"), false));
        // Whatever became of the server's own.
        assert_eq!(
            seen(&names[1..], None, true),
            (kept("pmm-2.44.1-r1"), false)
        );
        // A later crossing's counts for the server's older backups too.
        let later = seen(&["pmm", "pmm-3.7.0-r2"], made_by("r2", 300), false);
        assert_eq!(later, (kept("pmm-3.7.0-r2"), false));
        // Another server's, another run's.
        let others = ["pmm", "pmm-b-2.44.1-r11", "other-2.44.1-r1", "pmm-r1"];
        assert_eq!(seen(&others, made_by("r1", 200), false), (None, true));
    }

    #[test]
    fn a_crossing_is_over_where_its_container_is_there_without_the_old_one() {
        let names = ["pmm"];
        assert_eq!(seen(&names, made_by("r1", 200), false), (None, true));
        assert_eq!(seen(&names, made_by("r2", 200), false), (None, true));
        // Made by a run before this one, by a unit, or by a person.
        assert_eq!(seen(&names, made_by("r0", 50), false), (None, false));
        assert_eq!(seen(&names, made_by("", 200), false), (None, false));
    }

    #[test]
    fn of_a_server_of_which_nothing_is_left_nothing_is_to_be_finished() {
        assert_eq!(seen(&[], None, true), (None, true));
        // A unit that is stopped has no container.
        assert_eq!(seen(&[], None, false), (None, false));
    }
}
