//! What a person reads of backups, and at the end of what is done with them.

use super::*;
use crate::{
    backups::{Backup, Kept, Removal, Standing, policy::Verdict},
    recipes::upkeep as recipe,
};

fn backup(run: &str, standing: Standing) -> Backup {
    Backup {
        run: run.into(),
        server: "pmm-server".into(),
        volume: format!("pmm-data-ferry-{run}"),
        folder: String::new(),
        claim: String::new(),
        created: samples::OBSERVED * 1000,
        begun: samples::OBSERVED * 1000,
        bytes: Some(44_238_163_149),
        digest: String::new(),
        standing,
        used_by: Vec::new(),
        server_turned: false,
        server_unfinished: false,
        kept: None,
        end_unknown: false,
        removal: None,
    }
}

fn several() -> Vec<Backup> {
    vec![
        backup("7f3a9c21", Standing::Unfinished),
        Backup {
            volume: String::new(),
            folder: "/mnt/backup/a-rather-long-name/pmm-server-ferry-00c1d2e3-2".into(),
            used_by: vec!["ferry-volume-x".into()],
            ..backup("00c1d2e3-2", Standing::Finished)
        },
        Backup {
            server: "pmm\x1b[2J".into(),
            created: 0,
            bytes: None,
            ..backup("11111111", Standing::Orphan)
        },
    ]
}

#[test]
fn backups_as_a_table() {
    let all = several();
    let mut shown = both(|look| super::super::backups(&all, look));
    shown.push_str("── 160 columns\n");
    shown.push_str(&super::super::backups(&all, Look::plain(160)));
    insta::assert_snapshot!(shown);
    insta::assert_snapshot!("backups_as_json", json::backups(&all));
    let none = super::super::backups(&[], Look::plain(80));
    assert_eq!(none, "No backups.\n");
}

#[test]
fn backups_that_are_not_whole() {
    let removed = |run: &str, open| Backup {
        removal: Some(Removal {
            run: "aaaaaaaa".into(),
            open,
        }),
        ..backup(run, Standing::Finished)
    };
    let all = [removed("7f3a9c21", true), removed("00c1d2e3", false)];
    let mut shown = both(|look| super::super::backups(&all, look));
    shown.push_str(&json::backups(&all));
    insta::assert_snapshot!(shown);
}

#[test]
fn what_would_be_removed_and_why_the_rest_stays() {
    let all = several();
    let verdicts = [Verdict::WayBack, Verdict::Remove, Verdict::Orphan];
    let judged: Vec<Judged<'_>> = all
        .iter()
        .zip(verdicts)
        .map(|(backup, verdict)| Judged { backup, verdict })
        .collect();
    insta::assert_snapshot!(both(|look| super::super::judged(&judged, look)));
    let mut strange = [all[2].clone(), all[2].clone()];
    strange[0].kept = Some(Kept {
        run: "11111111".into(),
        what: "container `pmm-server-2.44.1-11111111`".into(),
    });
    let strange = [
        Judged {
            backup: &strange[0],
            verdict: Verdict::KeptByItsRun,
        },
        Judged {
            backup: &strange[1],
            verdict: Verdict::EndUnknown,
        },
    ];
    insta::assert_snapshot!(
        "what_stays_of_another_journal",
        both(|look| super::super::judged(&strange, look))
    );
    insta::assert_snapshot!(
        "nothing_to_prune",
        both(|look| super::super::judged(&judged[..1], look))
    );
}

fn ended(recipe: &str, state: RunState) -> Upkeep {
    Upkeep {
        run: "aaaaaaaa".into(),
        subject: "7f3a9c21".into(),
        recipe: recipe.into(),
        server: "pmm-server".into(),
        backup: "volume pmm-data-ferry-7f3a9c21".into(),
        state,
        proof: String::new(),
        restored_to: String::new(),
        said: Vec::new(),
        warnings: Vec::new(),
        lost: String::new(),
        next: Vec::new(),
        failure: None,
    }
}

#[test]
fn a_backup_that_was_proven_and_one_that_was_not() {
    let whole = Upkeep {
        proof: "612,408 entries, 42188 MiB read and compared".into(),
        ..ended(recipe::VERIFY, RunState::Done)
    };
    insta::assert_snapshot!(both(|look| super::super::upkeep(&whole, look)));
    let spoilt = Upkeep {
        failure: Some(Failure {
            code: "copy-not-proven".into(),
            message: "the copy differs from its manifest in 1 entry".into(),
            hint: "look at the disk of the copy (`dmesg`)".into(),
            details: vec!["clickhouse/data/x.bin: other bytes".into()],
        }),
        ..ended(recipe::VERIFY, RunState::RolledBack)
    };
    insta::assert_snapshot!(
        "a_backup_that_is_spoilt",
        both(|look| super::super::upkeep(&spoilt, look))
    );
    insta::assert_snapshot!("a_proof_as_json", json::upkeep(&spoilt));
}

#[test]
fn a_backup_that_was_restored_says_what_is_lost() {
    let restored = Upkeep {
        restored_to: "pmm-data-restored-7f3a9c21".into(),
        proof: "612,408 entries, 42188 MiB read and compared".into(),
        said: vec!["every byte of pmm-data-restored-7f3a9c21 was compared".into()],
        lost: "what PMM has gathered since 2026-11-20 19:02:11 UTC, when the server was stopped, is not in it, and no backup of Ferry's has it".into(),
        next: vec!["docker run --detach --name pmm-server-restored --volume pmm-data-restored-7f3a9c21:/srv --publish 8443:443 percona/pmm-server:2.44.1".into()],
        ..ended(recipe::RESTORE, RunState::Done)
    };
    insta::assert_snapshot!(both(|look| super::super::upkeep(&restored, look)));
}

#[test]
fn a_crossing_that_was_finished_or_not() {
    let finished = Upkeep {
        said: vec!["removed: container `pmm-server-2.44.1-7f3a9c21`".into()],
        next: vec![
            "ferryctl backup restore 7f3a9c21".into(),
            "ferryctl backup prune".into(),
        ],
        ..ended(recipe::FINISH, RunState::Done)
    };
    insta::assert_snapshot!(both(|look| super::super::upkeep(&finished, look)));
    let mut refused = ended(recipe::FINISH, RunState::RolledBack);
    refused.failure = Some(Failure {
        code: "server-not-running".into(),
        message: "container `pmm-server` does not run".into(),
        hint: "`docker start pmm-server` and look at it".into(),
        details: Vec::new(),
    });
    insta::assert_snapshot!(
        "a_crossing_that_cannot_be_finished",
        both(|look| super::super::upkeep(&refused, look))
    );
    let removed = Upkeep {
        said: vec!["volume `pmm-data-ferry-7f3a9c21` is gone".into()],
        ..ended(recipe::PRUNE, RunState::Done)
    };
    let mut held = ended(recipe::PRUNE, RunState::Running);
    held.next = vec!["ferryctl resume aaaaaaaa".into()];
    insta::assert_snapshot!(
        "a_backup_that_was_removed_or_is_being",
        both(|look| super::super::upkeep(&removed, look) + &super::super::upkeep(&held, look))
    );
}
