use std::os::unix::fs::PermissionsExt as _;

use ferry_proto::v1::{ContainerFacts, EngineFacts, Failure, Step};

use super::*;

const SERVER: &str = "docker:engine/pmm";

fn plan(server: &str) -> Plan {
    let steps = vec![Step {
        id: "pull-image".into(),
        ..Step::default()
    }];
    ferry_proto::seal(Plan {
        server: server.into(),
        steps,
        ..Plan::default()
    })
    .unwrap()
}

fn started(run: &str) -> RunEvent {
    RunEvent::Started {
        run: run.into(),
        resumed: false,
        on_failure: None,
    }
}

fn rolled_back() -> [RunEvent; 2] {
    let ended = RunEvent::Ended {
        state: RunState::RolledBack,
        failure: None,
    };
    [RunEvent::RollingBack { why: None }, ended]
}

/// Takes the only step of a run through, so that it is done.
fn finish(journal: &Journal, run: &str) {
    let outcome = ferry_proto::v1::Outcome {
        status: ferry_proto::v1::StepStatus::Succeeded.into(),
        ..Default::default()
    };
    for event in [
        started(run),
        RunEvent::Intended {
            step: 0,
            attempt: 1,
            undo: false,
        },
        RunEvent::Finished {
            step: 0,
            outcome,
            undo: false,
        },
        RunEvent::Ended {
            state: RunState::Done,
            failure: None,
        },
    ] {
        journal.append(run, &event).unwrap();
    }
}

#[test]
fn what_was_appended_is_there_for_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan("docker:pmm");
    let journal = Journal::open(folder.path()).unwrap();
    let run = journal.create_run(&plan, SERVER).unwrap();
    assert_eq!(run, plan.id);
    assert_eq!(journal.append(&run, &started(&run)).unwrap(), 1);
    let note = RunEvent::Note {
        step: 0,
        text: "pulled 3 of 5 layers".into(),
    };
    assert_eq!(journal.append_at(&run, 1234, &note).unwrap(), 2);

    // As after a crash: nobody closed the first one.
    let other = Journal::open(folder.path()).unwrap();
    assert_eq!(
        other.events(&run, 2).unwrap(),
        [Entry {
            index: 2,
            time: 1234,
            event: note
        }]
    );
    let row = other.run(&run).unwrap();
    assert_eq!(
        (row.plan, row.state, row.updated),
        (plan, RunState::Running, 1234)
    );
    assert_eq!(other.record(&run).unwrap().state(), RunState::Running);
}

#[test]
fn only_their_owner_reads_the_folder_and_the_files() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("state/ferry");
    let journal = Journal::open(&folder).unwrap();
    journal.create_run(&plan("docker:pmm"), SERVER).unwrap();
    let mode = |path: &Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for file in ["ferry.db", "ferry.db-wal", "ferry.db-shm"] {
        assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
    }
}

#[test]
fn a_run_that_is_not_over_locks_its_server_whoever_made_it() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let run = journal.create_run(&plan("docker:pmm"), SERVER).unwrap();
    drop(journal);

    let journal = Journal::open(folder.path()).unwrap();
    let refused = journal
        .create_run(&plan("docker:pmm2"), SERVER)
        .unwrap_err();
    assert_eq!(refused.code(), "server-locked");
    let hint = refused.hint().unwrap();
    assert!(hint.contains(&format!("`ferryctl resume {run}`")), "{hint}");
    assert!(
        hint.contains(&format!("`ferryctl rollback {run}`")),
        "{hint}"
    );
    assert_eq!(journal.open_run_for(SERVER).unwrap().unwrap().run, run);
    journal
        .create_run(&plan("docker:other"), "docker:engine/other")
        .unwrap();

    for event in rolled_back() {
        journal.append(&run, &event).unwrap();
    }
    assert_eq!(journal.open_run_for(SERVER).unwrap(), None);
    assert_eq!(
        journal.create_run(&plan("docker:pmm"), SERVER).unwrap(),
        format!("{run}-2")
    );
}

#[test]
fn two_at_once_cannot_both_lock_a_server() {
    let folder = tempfile::tempdir().unwrap();
    Journal::open(folder.path()).unwrap();
    let made: usize = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..4)
            .map(|n| {
                let folder = folder.path();
                scope.spawn(move || {
                    let journal = Journal::open(folder).unwrap();
                    match journal.create_run(&plan(&format!("docker:{n}")), SERVER) {
                        Ok(_) => 1,
                        Err(error) => {
                            assert_eq!(error.code(), "server-locked");
                            0
                        }
                    }
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).sum()
    });
    assert_eq!(made, 1);
}

#[test]
fn a_run_that_is_over_is_taken_up_only_while_the_server_is_still_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let first = journal.create_run(&plan("docker:pmm"), SERVER).unwrap();
    finish(&journal, &first);
    let second = journal.create_run(&plan("docker:pmm"), SERVER).unwrap();
    let refused = journal.append(&first, &started(&first)).unwrap_err();
    assert_eq!(refused.code(), "server-locked");

    finish(&journal, &second);
    let refused = journal.append(&first, &started(&first)).unwrap_err();
    assert_eq!(refused.code(), "run-superseded");
    assert!(refused.hint().unwrap().contains(&second));

    journal.append(&second, &started(&second)).unwrap();
    assert_eq!(journal.open_run_for(SERVER).unwrap().unwrap().run, second);
    assert_eq!(
        journal.events(&first, 1).unwrap().len(),
        4,
        "a refused event is not kept"
    );
}

#[test]
fn a_run_is_found_by_a_beginning_that_only_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let first = journal.create_run(&plan("docker:pmm"), SERVER).unwrap();
    finish(&journal, &first);
    assert_eq!(journal.run(&first[..3]).unwrap().run, first);
    let second = journal.create_run(&plan("docker:pmm"), SERVER).unwrap();
    assert_eq!(
        journal.run(&first).unwrap().run,
        first,
        "the full name is never ambiguous"
    );
    assert_eq!(journal.run(&second).unwrap().run, second);
    assert_eq!(
        journal.run(&first[..3]).unwrap_err().code(),
        "ambiguous-run"
    );
    for name in ["", "zz", "%", "_"] {
        assert_eq!(
            journal.run(name).unwrap_err().code(),
            "no-such-run",
            "{name:?}"
        );
    }
    let names: Vec<_> = journal
        .runs()
        .unwrap()
        .into_iter()
        .map(|row| row.run)
        .collect();
    assert_eq!(names, [second, first]);
}

#[test]
fn a_damaged_journal_is_named_and_not_acted_upon() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let run = journal.create_run(&plan("docker:pmm"), SERVER).unwrap();
    finish(&journal, &run);
    let spoil = |sql: &str| journal.lock().execute(sql, []).unwrap();

    spoil("DELETE FROM events WHERE idx = 2");
    let error = journal.record(&run).unwrap_err();
    assert_eq!(error.code(), "journal-damaged");
    assert_eq!(
        error.to_string(),
        format!("the journal of run {run} is damaged at event 3: event 2 is missing")
    );
    spoil("UPDATE events SET event = 'x' WHERE idx = 3");
    let error = journal.record(&run).unwrap_err();
    assert!(error.to_string().contains("damaged at event 3"), "{error}");
}

#[test]
fn an_event_that_cannot_follow_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let run = journal.create_run(&plan("docker:pmm"), SERVER).unwrap();
    let failure = Some(Failure::default());
    let ended = RunEvent::Ended {
        state: RunState::RolledBack,
        failure,
    };
    assert_eq!(
        journal.append(&run, &ended).unwrap_err().code(),
        "journal-damaged"
    );
    assert_eq!(
        journal.append("nobody", &ended).unwrap_err().code(),
        "no-such-run"
    );
    assert_eq!(journal.events(&run, 1).unwrap(), []);
}

#[test]
fn a_store_of_a_newer_release_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(Journal::open(folder.path()).unwrap());
    let database = Connection::open(folder.path().join("ferry.db")).unwrap();
    database
        .pragma_update(None, "user_version", schema::VERSION + 1)
        .unwrap();
    let refused = Journal::open(folder.path()).unwrap_err();
    assert_eq!(refused.code(), "journal-newer");
    assert!(
        refused
            .to_string()
            .contains("has version 3, this release reads version 2")
    );
}

#[test]
fn an_edited_plan_gets_no_run() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let mut plan = plan("docker:pmm");
    plan.steps.clear();
    assert_eq!(
        journal.create_run(&plan, SERVER).unwrap_err().code(),
        "plan-edited"
    );
    assert_eq!(journal.runs().unwrap(), []);
}

#[test]
fn progress_is_the_last_one_of_the_step_at_hand() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let run = journal.create_run(&plan("docker:pmm"), SERVER).unwrap();
    assert_eq!(journal.progress(&run).unwrap(), None);
    let progress = Progress {
        done: 3,
        total: 5,
        unit: "layers".into(),
        ..Progress::default()
    };
    let noted = StepProgress {
        step: 0,
        undo: false,
        progress,
        time: 1234,
    };
    journal.set_progress(&run, &noted).unwrap();
    assert_eq!(journal.progress(&run).unwrap(), Some(noted));
    let intended = RunEvent::Intended {
        step: 0,
        attempt: 1,
        undo: false,
    };
    journal.append(&run, &intended).unwrap();
    assert_eq!(
        journal.progress(&run).unwrap(),
        None,
        "the next step has said nothing yet"
    );
}

#[test]
fn the_row_has_the_downtime_for_lists() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let run = journal.create_run(&plan("docker:pmm"), SERVER).unwrap();
    journal
        .append_at(&run, 1000, &RunEvent::DowntimeStarted)
        .unwrap();
    let row = journal.run(&run).unwrap();
    assert_eq!(
        (row.downtime_started, row.downtime_ended),
        (Some(1000), None)
    );
    journal
        .append_at(&run, 9000, &RunEvent::DowntimeEnded { millis: 2500 })
        .unwrap();
    assert_eq!(journal.run(&run).unwrap().downtime_ended, Some(3500));
}

#[test]
fn a_server_is_known_by_its_engine_and_its_container() {
    let facts = Facts {
        engine: Some(EngineFacts {
            kind: "Docker".into(),
            id: "AB:CD".into(),
            ..Default::default()
        }),
        container: Some(ContainerFacts {
            name: "pmm".into(),
            ..Default::default()
        }),
        ..Facts::default()
    };
    assert_eq!(server_key(&facts), "docker:AB:CD/pmm");
}

#[test]
fn what_is_finished_stays_so_and_frees_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let run = journal.create_run(&plan("docker:pmm"), SERVER).unwrap();
    let refused = journal
        .append(&run, &RunEvent::DeclaredFinished)
        .unwrap_err();
    assert_eq!(refused.code(), "journal-damaged", "it is not done yet");
    finish(&journal, &run);
    journal.append(&run, &RunEvent::DeclaredFinished).unwrap();
    for event in [
        started(&run),
        RunEvent::RollingBack { why: None },
        RunEvent::DeclaredFinished,
    ] {
        assert!(journal.append(&run, &event).is_err(), "{event:?}");
    }
    journal.create_run(&plan("docker:other"), SERVER).unwrap();
}

#[test]
fn a_rehearsal_supersedes_nothing_and_an_update_does() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let done = |recipe: &str| {
        let plan = Plan {
            recipe: recipe.to_owned(),
            ..plan("docker:pmm")
        };
        let run = journal
            .create_run(&ferry_proto::seal(plan).unwrap(), SERVER)
            .unwrap();
        finish(&journal, &run);
        journal.run(&run).unwrap()
    };
    let first = done("pmm-update");
    done(ferry_proto::REHEARSAL);
    assert_eq!(journal.newest_after(&first).unwrap(), None);
    let second = done("pmm-in-place");
    assert_eq!(
        journal.newest_after(&first).unwrap(),
        Some(second.run.clone())
    );
    assert_eq!(journal.newest_after(&second).unwrap(), None);
    let back = RunEvent::RollingBack { why: None };
    let refused = journal.append(&first.run, &back).unwrap_err();
    assert_eq!(refused.code(), "run-superseded");
}

/// When that is over, the backup of the run before may be the one to go back to.
#[test]
fn no_backup_is_removed_while_a_run_on_its_server_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let first = journal.create_run(&plan("docker:pmm"), SERVER).unwrap();
    finish(&journal, &first);
    let second = journal.create_run(&plan("docker:pmm"), SERVER).unwrap();
    finish(&journal, &second);
    let prune = |subject: &str| {
        let plan = Plan {
            recipe: PRUNE.to_owned(),
            ..plan("docker:pmm")
        };
        let plan = ferry_proto::seal(plan).unwrap();
        journal.create_upkeep(&plan, &format!("docker:AB/backup/{subject}"), subject)
    };
    let back = RunEvent::RollingBack { why: None };
    journal.append(&second, &back).unwrap();
    let refused = prune(&first).unwrap_err();
    assert_eq!(refused.code(), "server-locked");
    assert!(refused.to_string().contains(&second), "{refused}");
    // What no journal here knows, and another server's.
    prune("unknown").unwrap();
    // And the other way round: a removal that was cut off is ended first.
    journal
        .append(
            &second,
            &RunEvent::Ended {
                state: RunState::RolledBack,
                failure: None,
            },
        )
        .unwrap();
    let fourth = journal.create_run(&plan("docker:pmm"), SERVER).unwrap();
    finish(&journal, &fourth);
    let removal = prune(&first).unwrap();
    let refused = journal.append(&fourth, &back).unwrap_err();
    assert_eq!(refused.code(), "server-locked");
    assert!(refused.to_string().contains(&removal), "{refused}");
    finish(&journal, &removal);
    journal.append(&fourth, &back).unwrap();
    let third = journal.create_run(&plan("docker:pmm"), "docker:AB/other");
    finish(&journal, third.as_deref().unwrap());
    prune(&third.unwrap()).unwrap();
}

#[test]
fn runs_about_a_run_lock_what_they_are_about_and_supersede_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let run = journal.create_run(&plan("docker:pmm"), SERVER).unwrap();
    finish(&journal, &run);
    let engine = EngineFacts {
        kind: "Docker".into(),
        id: "engine".into(),
        ..EngineFacts::default()
    };
    let key = backup_key(&engine, "pmm-data-ferry-1");
    assert_eq!(key, "docker:engine/backup/pmm-data-ferry-1");
    let about = plan("docker:about");
    let upkeep = journal.create_upkeep(&about, &key, &run).unwrap();
    let open = |recipe: &str| {
        journal
            .open_upkeep(&run, recipe)
            .unwrap()
            .map(|row| row.run)
    };
    assert_eq!(open(""), Some(upkeep.clone()));
    assert_eq!(open("verify-backup"), None, "of another recipe");
    let locked = journal.create_upkeep(&about, &key, &run).unwrap_err();
    assert_eq!(locked.code(), "server-locked");
    finish(&journal, &upkeep);
    assert_eq!(open(""), None);

    // One on the server's own key, such as one that finishes a crossing, keeps it from being taken
    // back while it goes on, and no longer.
    let finishing = journal.create_upkeep(&about, SERVER, &run).unwrap();
    let back = RunEvent::RollingBack { why: None };
    let locked = journal.append(&run, &back).unwrap_err();
    assert_eq!(locked.code(), "server-locked");
    finish(&journal, &finishing);
    journal.append(&run, &back).unwrap();
}

#[test]
fn a_crossing_is_finished_in_the_moment_that_what_finishes_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let run = journal.create_run(&plan("docker:pmm"), SERVER).unwrap();
    finish(&journal, &run);
    let about = |recipe: &str| {
        let plan = plan("docker:about");
        let recipe = recipe.to_owned();
        ferry_proto::seal(Plan { recipe, ..plan }).unwrap()
    };
    let state = || journal.run(&run).unwrap().state;
    let verify = about(crate::recipes::upkeep::VERIFY);
    let verify = journal.create_upkeep(&verify, SERVER, &run).unwrap();
    finish(&journal, &verify);
    assert_eq!(state(), RunState::Done);
    let finishing = about(crate::recipes::upkeep::FINISH);
    // One that failed has finished nothing.
    let failed = journal.create_upkeep(&finishing, SERVER, &run).unwrap();
    journal.append(&failed, &started(&failed)).unwrap();
    for event in rolled_back() {
        journal.append(&failed, &event).unwrap();
    }
    assert_eq!(state(), RunState::Done);
    let done = journal.create_upkeep(&finishing, SERVER, &run).unwrap();
    finish(&journal, &done);
    assert_eq!(state(), RunState::Finished);
    assert_eq!(journal.record(&run).unwrap().state(), RunState::Finished);
}
