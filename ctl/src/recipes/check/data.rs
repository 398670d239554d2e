//! The server's data: whether it can be copied, given another owner and given back.

use ferry_proto::{
    proof_bytes,
    v1::{DataFacts, Facts},
};

use super::{Notebook, Subject, backup, catalogue::data, data_mount, layer, names};
use crate::{
    recipes::{Recipe, Version, Wishes},
    units::{bytes, count, counted},
};

pub(super) fn check(facts: &Facts, wishes: &Wishes, subject: &Subject, notebook: &mut Notebook) {
    let Some(data) = facts
        .data
        .as_ref()
        .filter(|data| !data.destination.is_empty())
    else {
        notebook.blocker(
            data::DATA_UNOBSERVED,
            "the server's data was not observed",
            "see that the container has a volume at `/srv`, then check again",
        );
        return;
    };
    check_mount(facts, data, wishes, subject, notebook);
    // The old container keeps its data: there is neither a dump nor another copy.
    if !wishes.is_move() {
        let after = layer::after_the_move(data, wishes);
        check_room_for_proof(facts, &after, wishes, notebook);
        backup::check(facts, &after, wishes, notebook);
    }
    check_sharing(data, notebook);
    check_tree(data, subject, notebook);
    check_runs(data, subject, notebook);
}

/// What a run has left on the data. A crossing that was proven is over where PMM 3 runs on what it made; a PMM 2 does so only because
/// somebody started it by hand.
fn check_runs(data: &DataFacts, subject: &Subject, notebook: &mut Notebook) {
    if !data.open_run.is_empty() {
        notebook.blocker(
            data::OPEN_RUN,
            format!(
                "run {} has left its state on this data and is not over",
                data.open_run
            ),
            &format!(
                "`ferryctl resume {0}` or `ferryctl rollback {0}` first",
                data.open_run
            ),
        );
    }
    let is_pmm_2 = subject.from.is_none_or(|from| from.major < 3);
    if is_pmm_2 && !data.crossed_by.is_empty() {
        let run = &data.crossed_by;
        notebook.blocker(
            data::OPEN_RUN,
            format!("run {run} has carried this data to PMM 3, and here a PMM 2 is running on it"),
            &format!("stop it, and start PMM 3 again; or `ferryctl rollback {run}` first"),
        );
    }
}

fn check_mount(
    facts: &Facts,
    data: &DataFacts,
    wishes: &Wishes,
    subject: &Subject,
    notebook: &mut Notebook,
) {
    let mount = data_mount(facts);
    if mount.is_some() {
        layer::check_needless(data, wishes, notebook);
    }
    match mount.map(|mount| mount.kind.as_str()) {
        Some("volume") => {}
        Some("bind") => notebook.note(
            data::DATA_BIND_MOUNT,
            format!(
                "the data is a folder of the host, `{}`",
                mount.map_or("", |mount| &mount.source)
            ),
            "see that PMM 3's user may pass its parent folders",
        ),
        Some(kind) => notebook.blocker(
            data::DATA_MOUNT_KIND,
            format!(
                "the data is on a mount of the kind `{kind}`, which does not outlive a container"
            ),
            "move the data to a volume first, then check again",
        ),
        None => layer::check(data, wishes, subject, notebook),
    }
    if data.read_only || mount.is_some_and(|mount| mount.read_only) {
        notebook.blocker(
            data::DATA_READ_ONLY,
            format!("`{}` is mounted read-only", data.destination),
            "make the container again with a writable volume, then check again",
        );
    }
    // Beside a container that does not run nobody measures; it has a finding of its own.
    let running = facts
        .container
        .as_ref()
        .is_none_or(|container| container.running);
    if running && (data.entries == 0 || data.bytes == 0) {
        notebook.blocker(
            data::DATA_EMPTY,
            format!("`{}` is empty or was not measured", data.destination),
            "see that the volume is the right one, then check again",
        );
    }
}

/// The dumps are restored once on the server's own volume, before anything is changed.
fn check_room_for_proof(facts: &Facts, data: &DataFacts, wishes: &Wishes, notebook: &mut Notebook) {
    let Some(server) = facts.server.as_ref().filter(|it| !it.external_postgres) else {
        return;
    };
    let databases = server.databases.iter();
    let total = databases.fold(0, |sum, it| it.bytes.saturating_add(sum));
    // By the recipe of a new cluster it happens once more, in the downtime, beside a second dump.
    let second_dump = match wishes.recipe {
        Recipe::PmmInPlace | Recipe::PmmMoveData => 0,
        Recipe::PmmDumpRestore => total,
    };
    let needed = proof_bytes(total).saturating_add(second_dump);
    let left = data.reserve_bytes;
    if data.free_bytes < needed.saturating_add(left) {
        notebook.blocker(
            data::PROOF_ROOM,
            format!(
                "the dumps are proven by restoring them on the server's volume, which needs {} and leaves {} to others, and {} are free",
                bytes(needed),
                bytes(left),
                bytes(data.free_bytes)
            ),
            "free space on the server's volume, then check again",
        );
    }
}

/// The name in an entry of `other_containers`, and whether that container is known to be stopped.
/// Anything that does not say so counts as running.
fn other(entry: &str) -> (&str, bool) {
    let (name, state) = entry.split_once([' ', ':']).unwrap_or((entry, ""));
    let state = state.trim_matches(['(', ')', ' ']).to_ascii_lowercase();
    let stopped = ["exited", "created", "stopped", "dead", "not running"];
    (name, stopped.iter().any(|word| state.starts_with(word)))
}

fn check_sharing(data: &DataFacts, notebook: &mut Notebook) {
    for entry in &data.other_containers {
        let (name, stopped) = other(entry);
        if stopped {
            notebook.warning(
                data::DATA_SHARED_STOPPED,
                format!("`{name}` has the data mounted too; it is stopped"),
                &format!(
                    "do not start `{name}` while the plan is applied, and never with PMM 2 afterwards"
                ),
            );
        } else {
            notebook.blocker(
                data::DATA_SHARED,
                format!("`{name}` has the data mounted too, and runs"),
                &format!("`docker stop {name}` or detach it, then check again"),
            );
        }
    }
}

fn check_tree(data: &DataFacts, subject: &Subject, notebook: &mut Notebook) {
    let outside = data
        .hard_links_outside_count
        .max(data.hard_links_outside.len() as u64);
    if outside > 0 {
        notebook.blocker(
            data::HARD_LINKS_OUTSIDE,
            format!(
                "{} a name outside the data too, whose owner would change with it: {}",
                if outside == 1 {
                    "1 file has".to_owned()
                } else {
                    format!("{} files have", count(outside))
                },
                names(data.hard_links_outside.iter().map(String::as_str), outside),
            ),
            "replace each by a copy of its own (`cp --preserve=all`, then `mv`), then check again",
        );
    }
    let immutable = data.immutable_count.max(data.immutable.len() as u64);
    if immutable > 0 {
        notebook.blocker(
            data::IMMUTABLE_FILES,
            format!(
                "{} immutable or append-only, and can be given to nobody: {}",
                if immutable == 1 {
                    "1 entry is".to_owned()
                } else {
                    format!("{} entries are", count(immutable))
                },
                names(data.immutable.iter().map(String::as_str), immutable),
            ),
            "take the attribute off each, as root (`chattr -i -a`), then check again",
        );
    }
    for mount in &data.mounts_below {
        let place = mount.destination.trim_end_matches('/');
        let nginx = format!("{}/nginx", data.destination.trim_end_matches('/'));
        // facts/pmm.md 6, row 10: from 3.8 the start makes folders there.
        if mount.read_only && place == nginx && subject.to >= Some(Version::new(3, 8, 0)) {
            notebook.blocker(
                data::MOUNT_BELOW_READ_ONLY,
                format!("`{place}` is a read-only mount; PMM 3 makes folders there at its start"),
                "mount the certificates file by file instead of the folder, then check again",
            );
        } else if mount.read_only {
            notebook.warning(
                data::MOUNT_BELOW_READ_ONLY,
                format!("`{place}` is a read-only mount below the data; it is left as it is"),
                "see that uid 1000 can read what is in it",
            );
        } else {
            notebook.warning(
                data::MOUNT_BELOW,
                format!("`{place}` is a mount of its own below the data; it is neither copied nor given to PMM 3"),
                "back it up, and give it to uid 1000, yourself",
            );
        }
    }
    let others = data.owners.len() as u64;
    if others > 32 {
        notebook.note(
            data::OWNERS_MANY,
            format!(
                "the data has {}; each is recorded for the way back",
                counted(others, "owner")
            ),
            "",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::other;

    #[test]
    fn only_a_container_that_is_said_to_be_stopped_is_stopped() {
        assert_eq!(other("pmm-old (exited)"), ("pmm-old", true));
        assert_eq!(other("pmm-old: not running"), ("pmm-old", true));
        assert_eq!(other("pmm-old (running)"), ("pmm-old", false));
        assert_eq!(other("pmm-old (paused)"), ("pmm-old", false));
        assert_eq!(other("pmm-old"), ("pmm-old", false));
    }
}
