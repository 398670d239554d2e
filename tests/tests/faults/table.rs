//! The table of faults: each row is a test and a line of `docs/faults.md`, so that neither is without the other.

use std::path::Path;

use ferry_tests::Result;

use crate::{beside, copies, disk, engine, programs};

/// A fault as it is told to operators.
struct Row {
    fault: &'static str,
    place: &'static str,
    happens: &'static str,
    operator: &'static str,
}

/// Rows in the order of the table, and a test for each.
macro_rules! faults {
    ($( $(#[$attribute:meta])* $name:ident: $module:ident {
        fault: $fault:literal, place: $place:literal, happens: $happens:literal, operator: $operator:literal $(,)?
    } )*) => {
        $( #[test] $(#[$attribute])* fn $name() -> Result<()> { $module::$name() } )*
        const ROWS: &[Row] = &[$( Row { fault: $fault, place: $place, happens: $happens, operator: $operator } ),*];
    };
}

faults! {
    no_space_for_the_copy: disk {
        fault: "no space left", place: "copy of the volume, at the live pass",
        happens: "rolled back; nothing was stopped yet", operator: "free or add space where volumes are kept, migrate again",
    }
    #[ignore = "as where there is none for the live pass, which is in every run"]
    no_space_for_the_last_pass: disk {
        fault: "no space left", place: "copy of the volume, at the last pass, with the server down",
        happens: "rolled back", operator: "free or add space where volumes are kept, migrate again",
    }
    no_space_for_the_dump: disk {
        fault: "no space left", place: "the server's own disk, at the dump",
        happens: "rolled back; the server does not notice", operator: "free space on the volume, migrate again",
    }
    a_dump_that_would_fill_the_disk: disk {
        fault: "little space left", place: "the server's own disk, which a dump would fill",
        happens: "it is ended while there is room for the server, and what it wrote is removed; rolled back", operator: "free space on the volume, migrate again",
    }
    #[ignore = "as with the dump itself, which is in every run"]
    a_proof_that_would_fill_the_disk: disk {
        fault: "little space left", place: "the server's own disk, which the proof of a dump would fill",
        happens: "the proof does not begin; rolled back", operator: "free space on the volume, migrate again",
    }
    no_space_for_the_ledger: disk {
        fault: "no space left", place: "the server's own disk, at the ledger",
        happens: "rolled back; held when not even the way back can be written down", operator: "free space on the volume, start programs that ended, `ferryctl resume RUN` when held",
    }
    no_space_for_the_restore: disk {
        fault: "no space left", place: "the server's own disk, which lacks what a restore takes",
        happens: "held before PMM 3 is stopped, with how much is missing", operator: "free space on the volume, `ferryctl resume RUN`",
    }
    no_space_in_the_middle_of_the_restore: disk {
        fault: "no space left", place: "the server's own disk, in the middle of a restore",
        happens: "held, with the server down; what is restored stays, and PMM 2 starts on no half of it", operator: "free space on the volume, `ferryctl resume RUN`",
    }
    permission_denied: disk {
        fault: "permission denied", place: "a file that is immutable, at the transfer of ownership",
        happens: "rolled back; the file is named", operator: "`chattr -i` the file, migrate again",
    }
    the_dump_fails_half_way: programs {
        fault: "`pg_dump` fails half way", place: "a damaged table",
        happens: "rolled back while the server goes on serving; the table is named", operator: "repair or drop the table, migrate again",
    }
    #[ignore = "as where a table is damaged, which is in every run"]
    the_dump_loses_its_session: programs {
        fault: "`pg_dump` fails half way", place: "its session is terminated",
        happens: "rolled back while the server goes on serving", operator: "see who ends sessions, migrate again",
    }
    #[ignore = "waits out the patience for a lock, twice"]
    the_dump_waits_for_a_lock: programs {
        fault: "`pg_dump` cannot go on", place: "somebody has locked a table",
        happens: "rolled back after a minute; the table is named", operator: "see who holds the lock in `pg_locks`, migrate again",
    }
    a_dump_cannot_be_restored: copies {
        fault: "a dump that cannot be restored", place: "its proof",
        happens: "rolled back while the server goes on serving; what the restore stumbled over is named", operator: "mend what is named in the database, migrate again",
    }
    #[ignore = "as a dump that cannot be restored, which is in every run"]
    a_dump_restores_to_other_rows: copies {
        fault: "a dump that restores to other rows than were dumped", place: "its proof",
        happens: "rolled back while the server goes on serving; the tables are named", operator: "mend what is named in the database, migrate again",
    }
    the_copy_is_damaged_before_its_proof: copies {
        fault: "the copy's disk gives other bytes than it was given", place: "the proof of the live copy",
        happens: "rolled back while the server goes on serving; the file is named", operator: "look at the disk, choose another place for the copy, migrate again",
    }
    the_copy_is_damaged_after_the_crossing: copies {
        fault: "the copy is damaged or files of it are lost", place: "before a rollback",
        happens: "held before PMM 3 is stopped; the files are named", operator: "put the files right, `ferryctl resume RUN`",
    }
    #[ignore = "a crossing of its own"]
    a_damaged_copy_is_accepted: copies {
        fault: "the copy is damaged, and nobody can put it right", place: "before a rollback",
        happens: "with `--accept-damaged-copy` rolled back; data that is as it was stays, the damaged files are restored as the copy has them, and named", operator: "bring the named files from elsewhere",
    }
    #[ignore = "a crossing of its own"]
    a_copy_without_its_manifest_is_accepted: copies {
        fault: "the manifest of the copy is damaged", place: "before a rollback",
        happens: "held before PMM 3 is stopped; with `--accept-damaged-copy` rolled back to what the copy has", operator: "`ferryctl rollback RUN --accept-damaged-copy`",
    }
    the_data_is_changed_in_the_downtime: beside {
        fault: "somebody removes, changes and adds files of the data", place: "in the downtime, behind the last copy; then a rollback",
        happens: "rolled back: the data is held against its copy, what is not as it was comes from there, what was added is kept aside; all of it is named", operator: "see who works on the data beside a run",
    }
    #[ignore = "a run of its own; the one whose data is changed is in every run"]
    the_copy_is_gone_in_the_downtime: beside {
        fault: "the copy cannot be read", place: "in the downtime; then a rollback that restores nothing",
        happens: "rolled back, with a warning that nothing could be compared; what is left of the copy stays, whatever `prune` is asked for", operator: "look at the disk of the copy; remove it by hand when it is not needed",
    }
    #[ignore = "a run of its own; the one whose data is changed is in every run"]
    the_copy_is_damaged_in_the_downtime: beside {
        fault: "files of the copy are lost, and the data is as it was copied", place: "in the downtime; then a rollback that restores nothing",
        happens: "rolled back, with the files as a warning; the copy stays, whatever `prune` is asked for", operator: "look at the disk of the copy; remove it by hand",
    }
    #[ignore = "a run of its own; the one whose data is changed is in every run"]
    data_and_copy_are_changed_in_the_downtime: beside {
        fault: "files of the data are removed, and files of the copy are lost", place: "in the downtime; then a rollback that restores nothing",
        happens: "held; both are named", operator: "put the copy right, `ferryctl resume RUN`; or `ferryctl rollback RUN --accept-damaged-copy`, which restores what the copy has",
    }
    #[ignore = "a run of its own; the one whose data is changed is in every run"]
    the_former_cluster_is_gone_in_the_downtime: beside {
        fault: "somebody removes the server's own cluster, which lies aside, and the copy cannot be read", place: "in the downtime of `pmm-dump-restore`; then a rollback",
        happens: "held: no server starts on what is not its own; rolled back when the copy can be read, with the cluster from there", operator: "put the copy right, `ferryctl resume RUN`",
    }
    #[ignore = "a crossing of its own"]
    the_former_cluster_is_damaged_after_the_crossing: beside {
        fault: "the server's own cluster, which lies aside, is damaged", place: "after a crossing by `pmm-dump-restore`; then a rollback",
        happens: "rolled back: the cluster is restored from the copy", operator: "nothing",
    }
    #[ignore = "a run of its own; the one whose data is changed is in every run"]
    the_record_of_owners_is_damaged: beside {
        fault: "the record of who owned what is damaged", place: "in the downtime; then a rollback",
        happens: "rolled back: owners and modes come from the copy", operator: "look at the disk",
    }
    #[ignore = "a crossing of its own"]
    the_data_is_changed_behind_the_restore: beside {
        fault: "somebody removes and changes files of the data", place: "in a rollback, behind the restore",
        happens: "rolled back: the data is compared once more before the server starts", operator: "see who works on the data beside a run",
    }
    #[ignore = "a crossing of its own"]
    somebody_uses_the_data_that_is_taken_back: beside {
        fault: "a container of another name runs on the data, as a PMM 3 that somebody has renamed", place: "at a rollback",
        happens: "held before anything is restored; the container is named", operator: "stop it, `ferryctl resume RUN`",
    }
    the_supervisor_does_not_answer: programs {
        fault: "supervisor hangs", place: "stop of the services, and it comes back",
        happens: "rolled back", operator: "see the supervisor's log, migrate again",
    }
    #[ignore = "waits until the rollback gives up to prove the server"]
    the_supervisor_never_answers: programs {
        fault: "supervisor hangs", place: "stop of the services, for good",
        happens: "held: the server serves, and that nothing is missing cannot be proven", operator: "restart the container, `ferryctl resume RUN`",
    }
    #[ignore = "waits for a program's whole grace, several times"]
    a_service_does_not_stop: programs {
        fault: "a service does not stop", place: "stop of the services",
        happens: "rolled back; held when it cannot be started again either; nothing of Ferry's kills it", operator: "end the service, `ferryctl resume RUN` when held",
    }
    the_engine_fails_for_a_moment: engine {
        fault: "engine answers 500", place: "twice in a row, when it is asked what there is, to remove something, or to set what may be set already",
        happens: "it is asked again; the run goes on", operator: "nothing",
    }
    #[ignore = "a run for each request; the engine that fails for good is in every run"]
    the_engine_fails_once: engine {
        fault: "engine answers 500", place: "once, when it is asked to end, rename, make or start a container, or to make a volume",
        happens: "rolled back", operator: "see the engine's log, migrate again",
    }
    the_engine_fails_for_good: engine {
        fault: "engine answers 500", place: "for good, also on the way back",
        happens: "held, with what is where", operator: "mend the engine, `ferryctl resume RUN`",
    }
    #[ignore = "waits out the patience for a lost engine"]
    the_engine_is_gone_for_good: engine {
        fault: "engine does not answer", place: "for good, in the downtime",
        happens: "held, with what is where", operator: "start the engine, `ferryctl resume RUN`",
    }
    the_image_is_gone: engine {
        fault: "image removed", place: "between plan and run",
        happens: "refused; nothing was changed", operator: "pull the image, plan again",
    }
    #[ignore = "as a target that is gone before the run, which is in every run"]
    the_image_is_gone_in_the_downtime: engine {
        fault: "image removed", place: "in the downtime, behind the step that looked for it",
        happens: "rolled back", operator: "pull the image, migrate again",
    }
    the_tunnel_is_cut_for_a_moment: engine {
        fault: "tunnel cut", place: "once, while services are stopped and while the new server is waited for",
        happens: "the step goes on at its agent; the run goes on with it", operator: "nothing",
    }
    #[ignore = "waits out the patience for a lost agent"]
    the_tunnel_is_cut_for_ever: engine {
        fault: "tunnel cut", place: "for ever, at the live copy and in the downtime",
        happens: "held after two minutes", operator: "make the engine reachable, `ferryctl resume RUN`",
    }
    #[ignore = "two whole crossings"]
    the_clock_jumps: programs {
        fault: "clock jumps by days", place: "between two steps, in both directions",
        happens: "the run goes on", operator: "nothing",
    }
}

/// What the crash matrix kills; its cases are computed from the plan and have names of their own.
const KILLED: &[Row] = &[
    Row {
        fault: "`ferryctl` killed",
        place: "every step, at each word of the journal and somewhere within the long ones, there and back; in a rehearsal; on a client's host; in a cluster",
        happens: "the agents finish the step they are at; nothing is lost",
        operator: "`ferryctl resume RUN` or `ferryctl rollback RUN`",
    },
    Row {
        fault: "an agent killed",
        place: "every step, at each word of the journal, when a step has just started it, and somewhere within the long ones, there and back; in a rehearsal; on a client's host; in a cluster",
        happens: "it is started again and the run goes on",
        operator: "nothing",
    },
    Row {
        fault: "`ferryctl` killed twice: when it has taken up again what the first one had begun",
        place: "every step, there and back",
        happens: "as when it is killed once",
        operator: "`ferryctl resume RUN` or `ferryctl rollback RUN`",
    },
    Row {
        fault: "the engine, or a cluster's API server, answers 500 once",
        place: "every step that asks it, at the first request and at two behind it, there and back",
        happens: "a question is asked again; where something was to be done the run goes on, is rolled back or is held",
        operator: "`ferryctl resume RUN` when held",
    },
    Row {
        fault: "a step's ledger cannot be written, so that it fails before it acts, and `ferryctl`, an agent or the engine's daemon is killed when that is told",
        place: "every step, there and back; in a rehearsal, on a client's host, in a cluster, on an appliance, and when a crossing is ended or its backup is proven or restored",
        happens: "the run is taken back, and where `ferryctl` died the step is tried again; a way back is held, and goes on when the ledger can be written",
        operator: "`ferryctl resume RUN`, or `ferryctl rollback RUN`",
    },
    Row {
        fault: "a step has begun to act, and its ledger cannot be written any more; `ferryctl`, an agent or the engine's daemon is killed when that is told",
        place: "every long step of the same, there and back",
        happens: "the same",
        operator: "`ferryctl resume RUN`, or `ferryctl rollback RUN`",
    },
    Row {
        fault: "the agents are killed, and `ferryctl` or the engine's daemon is killed while they are looked for",
        place: "every step that has agents, there and back",
        happens: "the run goes on",
        operator: "`ferryctl resume RUN`",
    },
    Row {
        fault: "the host is switched off and on: engine, containers and `ferryctl` die together",
        place: "every step, at each word of the journal, there and back",
        happens: "the engine starts the server's container again by its policy, and nothing runs in it while it is fenced",
        operator: "`ferryctl resume RUN` or `ferryctl rollback RUN`",
    },
    Row {
        fault: "engine's daemon killed",
        place: "the same, with and without `--live-restore`",
        happens: "the run goes on when the daemon is back, else is rolled back or held; without `--live-restore` the daemon kills the server's programs too",
        operator: "start the engine; `ferryctl resume RUN` when held",
    },
    Row {
        fault: "a cluster's API server away for a moment",
        place: "the same",
        happens: "the run goes on when it is back, else is rolled back or held",
        operator: "`ferryctl resume RUN` when held",
    },
];

/// What the other tests of `tests/tests` do (`upkeep`, `rehearse`, `dump_restore`, `kubernetes`, `appliance`, `locked`), and `tree::tests::clock` and
/// `runner::tests` of the agent.
const BESIDE: &[Row] = &[
    Row {
        fault: "`ferryctl` killed, its agent and its helper too",
        place: "`backup restore`, `finish`, `backup prune`",
        happens: "a backup of which a part is gone is listed as being removed; the server's way back stays until `finish` is over",
        operator: "the same command again, or `ferryctl resume RUN`",
    },
    Row {
        fault: "a backup cannot be removed whole",
        place: "`backup prune` of a folder, something in it is immutable",
        happens: "exit code 1; it is listed as half removed, and takes no whole backup's place",
        operator: "mend what is named, prune again",
    },
    Row {
        fault: "PMM 3 does not start, exits in a loop, is empty, has half the inventory, is never ready",
        place: "a rehearsal",
        happens: "exit code 1; the report says that the crossing would fail and why; the server is unchanged and nothing is left",
        operator: "mend what is named, rehearse again",
    },
    Row {
        fault: "the server is started again, and serves",
        place: "a run of `pmm-dump-restore` that stands still behind its last dump; then `resume`",
        happens: "rolled back: what the server has gained since is in no dump",
        operator: "see who starts the server beside a run, migrate again",
    },
    Row {
        fault: "somebody scales the server up",
        place: "in the downtime, in a cluster, there and back, between two steps of one call and between two calls",
        happens: "held before anything more is changed or restored; the pod is named",
        operator: "look at what it has written, scale it down, `ferryctl resume RUN`",
    },
    Row {
        fault: "the StatefulSet is told to delete the claim with its pod",
        place: "before the check, and behind the plan",
        happens: "refused; behind the plan rolled back before the pod goes",
        operator: "set `whenScaled` to `Retain`, migrate again",
    },
    Row {
        fault: "the old machine serves again",
        place: "an appliance's move that stands still behind the last pull; then `resume`",
        happens: "rolled back, or held where the run was told to: what it gathers has not come",
        operator: "see who starts PMM there, migrate again",
    },
    Row {
        fault: "the same plan is applied from another state folder",
        place: "while its run is open; when it was taken back",
        happens: "refused; nothing of the first run's is touched",
        operator: "go on where the journal is, or make a new plan",
    },
    Row {
        fault: "the disk with the server's data is not mounted any more, after a reboot",
        place: "the last pass of the copy, when the run is gone on with",
        happens: "refused; the copy is not emptied",
        operator: "mount the disk, `ferryctl resume RUN`",
    },
    Row {
        fault: "clock put back or forward",
        place: "between the live and the final pass of the copy",
        happens: "what changed is copied; where the times may lie the bytes are compared",
        operator: "nothing",
    },
];

const HEAD: &str = "# Faults that were tried

What happens when something dies or fails in the middle of a run, each tried with the real programs by
`cargo xtask test` (the long ones by `cargo xtask test --all`; all kills of it take most of a day, and were played in parts so far). *Rolled back*: exit code 1, the server is as it was, proven.
*Held*: exit code 4, the run stopped where it is, says what is where, and goes on by command.

| fault | where | what happens | what you do |
|---|---|---|---|
";

/// The page as it should be.
fn page() -> String {
    let mut page = HEAD.to_owned();
    for row in KILLED.iter().chain(BESIDE).chain(ROWS) {
        let Row {
            fault,
            place,
            happens,
            operator,
        } = row;
        page.push_str(&format!("| {fault} | {place} | {happens} | {operator} |\n"));
    }
    page.push_str(
        "\nNot tried: a clock of the whole machine that jumps while a step is at work. Steps measure their own waiting by the clock that\n\
         does not jump; what a run wrote down of time is moved in the test instead.\n",
    );
    page
}

/// `INSTA_UPDATE=always` writes the page, as it does for other things that are made from code.
#[test]
fn the_page_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/faults.md");
    if std::env::var("INSTA_UPDATE").is_ok_and(|it| it == "always") {
        fs_err::write(&path, page()).unwrap();
    }
    let written = fs_err::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        written,
        page(),
        "`INSTA_UPDATE=always cargo test -p ferry-tests --test faults the_page` writes it"
    );
}
