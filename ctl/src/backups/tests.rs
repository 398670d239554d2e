//! What a journal and an engine together say of backups.

use ferry_proto::v1::{BackupFacts, EngineFacts, Outcome, StepStatus};

use super::*;
use crate::{
    recipes::{Backup as Where, Wishes, pmm_in_place},
    run::journal::server_key,
    samples,
};

const ENGINE: &str = "6ZQ3:ENGINE";

/// A crossing that came as far as the final copy.
fn crossing(run: &str, created: i64, state: RunState, backup: Where) -> Known {
    let wishes = Wishes {
        backup: backup.clone(),
        ..samples::wishes()
    };
    let mut facts = samples::facts();
    if let Where::Folder(path) = &backup {
        facts.data.as_mut().unwrap().backup_folder = Some(ferry_proto::v1::FolderFacts {
            path: path.clone(),
            keeps_owners: true,
            keeps_attributes: true,
            ..Default::default()
        });
    }
    let plan = pmm_in_place::plan("docker:pmm-server", facts, &wishes, Default::default());
    let mut plan = plan.unwrap();
    plan.id = run.to_owned();
    let mut record = RunRecord::new(plan.clone());
    let place = match &backup {
        Where::NewVolume => ("backup_volume", format!("pmm-data-ferry-{run}")),
        Where::Folder(path) => ("backup_folder", format!("{path}/pmm-server-ferry-{run}")),
    };
    for (step, state) in plan.steps.iter().zip(&mut record.steps) {
        let value = match step.id.as_str() {
            "launch-agents" => (place.0.to_owned(), place.1.clone()),
            "copy-changes" => ("manifest".to_owned(), format!("digest of {run}")),
            _ => continue,
        };
        state.outcome = Some(Outcome {
            status: StepStatus::Succeeded.into(),
            values: [value].into(),
            ..Outcome::default()
        });
    }
    let row = RunRow {
        run: run.to_owned(),
        number: created,
        server_key: server_key(plan.facts.as_ref().unwrap()),
        plan,
        state,
        created,
        updated: created,
        downtime_started: None,
        downtime_ended: None,
        subject: None,
    };
    (row, record)
}

fn volume(run: &str) -> BackupFacts {
    BackupFacts {
        run: run.to_owned(),
        server: "pmm-server".into(),
        volume: format!("pmm-data-ferry-{run}"),
        ..BackupFacts::default()
    }
}

fn found(backups: Vec<BackupFacts>) -> Facts {
    let engine = EngineFacts {
        kind: "Docker".into(),
        id: ENGINE.into(),
        ..EngineFacts::default()
    };
    Facts {
        engine: Some(engine),
        backups,
        ..Facts::default()
    }
}

#[test]
fn the_journal_says_what_stands_behind_each() {
    let known = [
        crossing("aa", 10, RunState::Finished, Where::NewVolume),
        crossing("bb", 20, RunState::RolledBack, Where::NewVolume),
        crossing("cc", 30, RunState::Done, Where::NewVolume),
        crossing("dd", 40, RunState::Held, Where::NewVolume),
    ];
    let all = found(["aa", "bb", "cc", "dd", "ee"].map(volume).into());
    let seen = together(&all, &known, &[]);
    let standing: Vec<_> = seen
        .iter()
        .map(|it| (it.run.as_str(), it.standing))
        .collect();
    assert_eq!(
        standing,
        [
            ("dd", Standing::Held),
            ("cc", Standing::Unfinished),
            ("bb", Standing::RolledBack),
            ("aa", Standing::Finished),
            ("ee", Standing::Orphan),
        ]
    );
    assert_eq!(seen[1].digest, "digest of cc");
    assert_eq!(seen[1].bytes, Some(44_238_163_149));
    assert_eq!((seen[4].digest.as_str(), seen[4].bytes), ("", None));
    assert!(seen.iter().all(|it| it.server_unfinished));
}

#[test]
fn the_last_crossing_of_a_server_decides_whether_it_is_finished() {
    let mut known = vec![
        crossing("aa", 10, RunState::Done, Where::NewVolume),
        crossing("bb", 20, RunState::Finished, Where::NewVolume),
    ];
    let all = found(["aa", "bb"].map(volume).into());
    let unfinished = |known: &[Known]| together(&all, known, &[])[0].server_unfinished;
    assert!(!unfinished(&known));
    // Not the order in which they are told.
    known.reverse();
    assert!(!unfinished(&known));
    known.push(crossing("cc", 30, RunState::Done, Where::NewVolume));
    assert!(unfinished(&known));
    // A rehearsal has carried nothing over.
    known[2].0.plan.recipe = REHEARSAL.into();
    assert!(!unfinished(&known));
    // One that was taken back has changed nothing.
    known.pop();
    known.push(crossing("cc", 30, RunState::RolledBack, Where::NewVolume));
    assert!(!unfinished(&known));
}

/// By the clock the first of the two, which is finished, was made later than the one that is the way back.
#[test]
fn a_clock_that_was_put_back_makes_no_other_crossing_the_last() {
    use policy::{Verdict, Wish, judge};
    let mut known = vec![
        crossing("aa", 100_000, RunState::Finished, Where::NewVolume),
        crossing("bb", 20, RunState::Done, Where::NewVolume),
        crossing("cc", 30, RunState::RolledBack, Where::NewVolume),
    ];
    for (number, (row, _)) in (1..).zip(&mut known) {
        row.number = number;
    }
    let all = found(["aa", "bb", "cc"].map(volume).into());
    let judged = |wish: Wish| {
        let seen = together(&all, &known, &[]);
        let runs = seen.iter().map(|it| it.run.clone());
        Vec::from_iter(runs.zip(judge(&seen, wish, 200_000)))
    };
    let of = |run: &str, verdict| (run.to_owned(), verdict);
    assert_eq!(
        judged(Wish::default()),
        [
            of("cc", Verdict::Remove),
            of("bb", Verdict::WayBack),
            of("aa", Verdict::Remove)
        ]
    );
    let keep = Wish {
        keep: 1,
        ..Wish::default()
    };
    assert_eq!(judged(keep)[0], of("cc", Verdict::Newest));
    // How old each is, the clock says still.
    let seen = together(&all, &known, &[]);
    assert_eq!(seen[2].created, 100_000);
}

#[test]
fn what_may_be_needed_behind_a_rollback_stays() {
    use policy::{Verdict, Wish, judge};
    let all = found(["aa", "bb"].map(volume).into());
    let mut known = vec![
        crossing("aa", 10, RunState::RolledBack, Where::NewVolume),
        crossing("bb", 20, RunState::Held, Where::NewVolume),
    ];
    let of_aa = |known: &[Known]| {
        let seen = together(&all, known, &[]);
        (seen[1].standing, judge(&seen, Wish::default(), 100)[1])
    };
    assert_eq!(of_aa(&known), (Standing::RolledBack, Verdict::Remove));
    // Where that one's way back leads to is not known yet.
    known[1].1.position.backward = true;
    assert_eq!(of_aa(&known), (Standing::RolledBack, Verdict::Turned));
    known.pop();
    let undone = Outcome {
        values: [(KEEP_COPY.to_owned(), "true".to_owned())].into(),
        ..Outcome::default()
    };
    known[0].1.steps[3].undo_outcome = Some(undone);
    let seen = together(&all, &known, &[]);
    let aa = seen.iter().position(|it| it.run == "aa").unwrap();
    assert_eq!(seen[aa].standing, Standing::Kept);
    assert_eq!(judge(&seen, Wish::default(), 100)[aa], Verdict::Uncompared);
}

#[test]
fn another_engines_runs_are_not_this_ones() {
    let mut other = crossing("aa", 10, RunState::Done, Where::Folder("/mnt/b".into()));
    let engine = |known: &mut Known| {
        let facts = known.0.plan.facts.as_mut().unwrap();
        facts.engine.as_mut().unwrap().id = "other".into();
    };
    let here = vec![other.clone()];
    assert_eq!(known_folders(&here, ENGINE), ["/mnt/b/pmm-server-ferry-aa"]);
    engine(&mut other);
    let there = vec![other];
    assert!(known_folders(&there, ENGINE).is_empty());
    let seen = together(&found(vec![volume("aa")]), &there, &[]);
    assert_eq!(seen[0].standing, Standing::Orphan);
    assert!(!seen[0].server_unfinished);
    assert!(seen[0].end_unknown, "it is not this journal that knows");
}

#[test]
fn of_what_no_journal_here_knows_the_engine_says_whether_it_is_over() {
    let kept_by = |run: &str| {
        Some(KeptFacts {
            run: run.into(),
            what: format!("container `pmm-server-2.44.1-{run}`"),
        })
    };
    let over = BackupFacts {
        crossing_over: true,
        ..volume("ee")
    };
    let seen = |all: &[BackupFacts], known: &[Known]| {
        let seen = together(&found(all.to_vec()), known, &[]);
        let of = |it: &Backup| (it.server_unfinished, it.kept.is_some(), it.end_unknown);
        seen.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(
        seen(std::slice::from_ref(&over), &[]),
        [(false, false, false)]
    );
    // An agent of another release says nothing of it.
    assert_eq!(seen(&[volume("ee")], &[]), [(false, false, true)]);
    let kept = BackupFacts {
        kept: kept_by("ee"),
        ..volume("ee")
    };
    assert_eq!(
        seen(std::slice::from_ref(&kept), &[]),
        [(true, true, false)]
    );
    // All backups of that server are of an unfinished one.
    let both = seen(&[kept, over], &[]);
    assert!(both.iter().all(|it| it.0), "{both:?}");
    // What a journal here knows, that says.
    let own = BackupFacts {
        kept: kept_by("aa"),
        ..volume("aa")
    };
    let known = [crossing("aa", 10, RunState::Finished, Where::NewVolume)];
    assert_eq!(seen(&[own], &known), [(false, false, false)]);
    // A crossing that was finished here, later than what nobody knows was made.
    let mut early = volume("ee");
    early.created = Some(Default::default());
    assert_eq!(seen(&[early.clone()], &known), [(false, false, true)]);
    let known = [crossing("aa", 9000, RunState::Finished, Where::NewVolume)];
    early.created.as_mut().unwrap().seconds = 8;
    assert_eq!(seen(&[early.clone()], &known), [(false, false, false)]);
    early.created.as_mut().unwrap().seconds = 10;
    assert_eq!(seen(&[early], &known), [(false, false, true)]);
}

#[test]
fn a_new_volume_is_called_by_what_it_is_restored_of() {
    let known = crossing("aa", 10, RunState::Done, Where::NewVolume);
    let orphan = &together(&found(vec![volume("ee")]), &[], &[])[0];
    let seen = together(
        &found(vec![volume("aa")]),
        std::slice::from_ref(&known),
        &[],
    );
    assert_eq!(
        restored_volume(&seen[0], Some(&known)),
        "pmm-data-restored-aa"
    );
    assert_eq!(restored_volume(orphan, None), "pmm-data-restored-ee");
    let folder = BackupFacts {
        volume: String::new(),
        folder: "/mnt/b/pmm-server-ferry-ee".into(),
        ..volume("ee")
    };
    let folder = &together(&found(vec![folder]), &[], &[])[0];
    assert_eq!(restored_volume(folder, None), "pmm-server-restored-ee");
    assert_eq!(folder.whereabouts(), "folder /mnt/b/pmm-server-ferry-ee");
}

#[test]
fn in_a_cluster_a_backup_is_a_claim() {
    let claim = |run: &str| BackupFacts {
        run: run.to_owned(),
        server: "monitoring/pmm".into(),
        claim: format!("monitoring/pmm-storage-pmm-0-ferry-{run}"),
        ..BackupFacts::default()
    };
    let (row, mut record) = crossing("aa", 10, RunState::Done, Where::NewVolume);
    for state in record.steps.iter_mut().filter_map(|it| it.outcome.as_mut()) {
        if state.values.remove("backup_volume").is_some() {
            let at = claim("aa").claim;
            state.values.insert("backup_claim".to_owned(), at);
        }
    }
    let at = "claim monitoring/pmm-storage-pmm-0-ferry-aa";
    assert_eq!(whereabouts(&record).as_deref(), Some(at));
    let seen = together(&found(vec![claim("aa")]), &[(row, record)], &[]);
    assert_eq!(seen[0].whereabouts(), at);
    assert_eq!(seen[0].standing, Standing::Unfinished);
    assert_eq!(seen[0].place().claim, seen[0].source());
    // Beside the backup's, in its namespace.
    let orphan = &together(&found(vec![claim("ee")]), &[], &[])[0];
    let name = "pmm-storage-pmm-0-restored-ee";
    assert_eq!(restored_volume(orphan, None), name);
}

#[test]
fn a_run_that_made_no_copy_names_none() {
    let (_, record) = crossing("aa", 10, RunState::Done, Where::NewVolume);
    assert_eq!(
        whereabouts(&record).as_deref(),
        Some("volume pmm-data-ferry-aa")
    );
    let fresh = RunRecord::new(record.plan);
    assert_eq!((whereabouts(&fresh), digest(&fresh)), (None, String::new()));
}

/// A run that removes the backup of `aa`, and came so far.
fn removing(run: &str, state: RunState, status: StepStatus) -> Known {
    let about = crate::recipes::upkeep::About {
        place: ferry_proto::v1::BackupPlace {
            run: "aa".into(),
            volume: "pmm-data-ferry-aa".into(),
            ..Default::default()
        },
        server: "pmm-server".into(),
        engine: found(Vec::new()).engine.unwrap(),
        reached: crate::connect::address::EngineChoice::Docker,
        created: Default::default(),
    };
    let plan = crate::recipes::upkeep::prune(&about).unwrap();
    let (row, _) = crossing(run, 50, state, Where::NewVolume);
    let mut record = RunRecord::new(plan.clone());
    record.steps[0].status = status;
    let subject = Some("aa".to_owned());
    (
        RunRow {
            plan,
            subject,
            ..row
        },
        record,
    )
}

#[test]
fn what_was_begun_to_be_removed_is_not_listed_as_whole() {
    let known = [crossing("aa", 10, RunState::Finished, Where::NewVolume)];
    let all = found(["aa", "bb"].map(volume).into());
    let seen = |removing: &[Known]| together(&all, &known, removing)[0].removal.clone();
    let by = |run: &str, open| {
        let run = run.to_owned();
        Some(Removal { run, open })
    };
    use StepStatus::{Failed, Intended, Planned, Succeeded, Undone};
    for (state, status, removal) in [
        (RunState::Running, Planned, None),
        (RunState::Running, Intended, by("cc", true)),
        (RunState::RollingBack, Failed, by("cc", true)),
        (RunState::Held, Intended, by("cc", true)),
        // Gone by its run, and there again.
        (RunState::Done, Succeeded, by("cc", false)),
        (RunState::RolledBack, Undone, None),
    ] {
        assert_eq!(
            seen(&[removing("cc", state, status)]),
            removal,
            "{status:?}"
        );
    }
    // Taken back, and the agent says that it had begun. A later one that had not changes nothing.
    let mut torn = removing("cc", RunState::RolledBack, Undone);
    torn.1.steps[0].undo_outcome = Some(Outcome {
        values: [("begun".to_owned(), "true".to_owned())].into(),
        ..Outcome::default()
    });
    let later = removing("dd", RunState::RolledBack, Undone);
    assert_eq!(seen(&[later, torn.clone()]), by("cc", false));
    let others = together(&all, &known, std::slice::from_ref(&torn));
    assert_eq!(others[1].removal, None);
    let engine = |known: &mut Known| {
        let facts = known.0.plan.facts.as_mut().unwrap();
        facts.engine.as_mut().unwrap().id = "other".into();
    };
    engine(&mut torn);
    assert_eq!(seen(&[torn]), None, "another engine's");
}
