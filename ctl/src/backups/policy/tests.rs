//! What becomes of backups, as data.

use proptest::prelude::*;

use super::{super::Removal, *};

const DAY: i64 = 86_400_000;
const NOW: i64 = 1_000 * DAY;

fn backup(server: &str, days: i64, standing: Standing) -> Backup {
    Backup {
        run: format!("{server}{days}"),
        server: server.into(),
        volume: format!("{server}-{days}"),
        folder: String::new(),
        claim: String::new(),
        created: NOW - days * DAY,
        begun: NOW - days * DAY,
        bytes: None,
        digest: String::new(),
        standing,
        used_by: Vec::new(),
        server_turned: false,
        server_unfinished: standing == Standing::Unfinished,
        kept: None,
        end_unknown: false,
        removal: None,
    }
}

fn removal(open: bool) -> Removal {
    Removal {
        run: "gone".into(),
        open,
    }
}

fn judged(backups: &[Backup], wish: Wish) -> Vec<Verdict> {
    judge(backups, wish, NOW)
}

#[test]
fn the_only_way_back_stays_whatever_is_asked_for() {
    let one = [backup("a", 400, Standing::Unfinished)];
    let wish = Wish {
        older_than: Some(DAY),
        keep: 0,
        orphans: true,
    };
    assert_eq!(judged(&one, wish), [Verdict::WayBack]);
    let mut finished = one.clone();
    finished[0].standing = Standing::Finished;
    finished[0].server_unfinished = false;
    assert_eq!(judged(&finished, wish), [Verdict::Remove]);
}

#[test]
fn where_the_way_back_was_removed_by_hand_the_last_one_left_stays() {
    let mut left = [
        backup("a", 3, Standing::RolledBack),
        backup("a", 9, Standing::RolledBack),
    ];
    for it in &mut left {
        it.server_unfinished = true;
    }
    let verdicts = judged(&left, Wish::default());
    assert_eq!(verdicts, [Verdict::WayBack, Verdict::Remove]);
}

#[test]
fn what_may_be_half_of_a_backup_takes_the_place_of_no_whole_one() {
    let mut all = [
        backup("a", 1, Standing::Unfinished),
        backup("a", 3, Standing::Finished),
        backup("a", 9, Standing::Finished),
    ];
    for it in &mut all {
        it.server_unfinished = true;
    }
    for (open, of_the_first) in [(true, Verdict::BeingRemoved), (false, Verdict::WayBack)] {
        all[0].removal = Some(removal(open));
        let verdicts = judged(&all, Wish::default());
        assert_eq!(verdicts, [of_the_first, Verdict::WayBack, Verdict::Remove]);
    }
    // Of a finished server it goes, and is not counted among those that are kept.
    for it in &mut all {
        it.server_unfinished = false;
    }
    all[0].standing = Standing::Finished;
    let wish = Wish {
        keep: 1,
        ..Wish::default()
    };
    use Verdict::{Newest, Remove};
    assert_eq!(judged(&all, wish), [Remove, Newest, Remove]);
}

#[test]
fn what_nobody_knows_goes_by_name_only() {
    let orphan = [backup("a", 9, Standing::Orphan)];
    assert_eq!(judged(&orphan, Wish::default()), [Verdict::Orphan]);
    let wish = Wish {
        orphans: true,
        ..Wish::default()
    };
    assert_eq!(judged(&orphan, wish), [Verdict::Remove]);
    let mut ageless = orphan;
    ageless[0].created = 0;
    ageless[0].begun = 0;
    let old = Wish {
        older_than: Some(1),
        ..wish
    };
    assert_eq!(judged(&ageless, old), [Verdict::Recent]);
}

fn kept_by(run: &str) -> Option<Kept> {
    Some(Kept {
        run: run.into(),
        what: format!("container `a-2.44.1-{run}`"),
    })
}

const ALL: Wish = Wish {
    older_than: None,
    keep: 0,
    orphans: true,
};

#[test]
fn another_journals_way_back_stays_even_where_orphans_may_go() {
    let mut one = [backup("a", 9, Standing::Orphan)];
    one[0].kept = kept_by(&one[0].run);
    one[0].server_unfinished = true;
    assert_eq!(judged(&one, ALL), [Verdict::KeptByItsRun]);
    assert_eq!(
        judged(&one, ALL)[0].why(&one[0]),
        "its server is not declared finished: run a9 keeps container `a-2.44.1-a9` for the way back; \
         `ferryctl finish a9`, with `--state-dir` for the folder that has its journal, ends that"
    );
    // A later crossing has a backup of its own: the older one is of a crossing that is over.
    let mut two = [one[0].clone(), backup("a", 20, Standing::Orphan)];
    two[1].kept = kept_by("a9");
    two[1].server_unfinished = true;
    assert_eq!(judged(&two, ALL), [Verdict::KeptByItsRun, Verdict::Remove]);
    // Where that one is gone, the older is what is left to go back to.
    let left = [two[1].clone()];
    assert_eq!(judged(&left, ALL), [Verdict::WayBack]);
    assert!(judged(&left, ALL)[0].why(&left[0]).contains("finish a9"));
}

#[test]
fn where_nothing_tells_the_newest_of_a_server_stays() {
    let mut all = [
        backup("a", 1, Standing::Finished),
        backup("a", 3, Standing::Orphan),
        backup("a", 9, Standing::Orphan),
    ];
    for it in &mut all[1..] {
        it.end_unknown = true;
    }
    let (kept, goes) = (Verdict::EndUnknown, Verdict::Remove);
    assert_eq!(judged(&all, ALL), [goes, kept, goes]);
    // What may be half of one takes no whole one's place.
    all[1].removal = Some(removal(false));
    assert_eq!(judged(&all, ALL), [goes, kept, kept]);
    all[2].removal = Some(removal(false));
    assert_eq!(judged(&all, ALL), [kept, kept, goes]);
}

#[test]
fn age_and_number_are_counted_for_each_server() {
    let all = [
        backup("a", 1, Standing::Finished),
        backup("a", 40, Standing::Finished),
        backup("a", 50, Standing::Finished),
        backup("b", 60, Standing::Finished),
    ];
    let wish = Wish {
        older_than: Some(30 * DAY),
        keep: 1,
        orphans: false,
    };
    use Verdict::{Newest, Recent, Remove};
    assert_eq!(judged(&all, wish), [Newest, Remove, Remove, Newest]);
    let wish = Wish { keep: 0, ..wish };
    assert_eq!(judged(&all, wish), [Recent, Remove, Remove, Remove]);
}

fn any_backups() -> impl Strategy<Value = Vec<Backup>> {
    let standing = prop_oneof![
        Just(Standing::Open),
        Just(Standing::Held),
        Just(Standing::Kept),
        Just(Standing::Unfinished),
        Just(Standing::Finished),
        Just(Standing::RolledBack),
        Just(Standing::Orphan),
    ];
    let begun = proptest::option::weighted(0.2, any::<bool>());
    // What the engine shows of its run: nothing that could tell, its own way back, or that it is over.
    let shown = prop_oneof![Just(Shown::Nothing), Just(Shown::Kept), Just(Shown::Over)];
    let one = ("[a-c]", 0_i64..100, standing, any::<bool>(), begun, shown);
    let unfinished = proptest::collection::vec(any::<bool>(), 3);
    (proptest::collection::vec(one, 0..12), unfinished).prop_map(|(all, unfinished)| {
        let made = all
            .into_iter()
            .map(|(server, days, standing, used, begun, shown)| {
                let mut it = backup(&server, days, standing);
                it.removal = begun.map(removal);
                it.used_by = used.then(|| "somebody".to_owned()).into_iter().collect();
                it.server_unfinished = unfinished[usize::from(server.as_bytes()[0] - b'a')];
                // Only of what no journal here knows is the engine asked.
                let shown = Some(shown).filter(|_| standing == Standing::Orphan);
                it.end_unknown = shown == Some(Shown::Nothing);
                it.kept = kept_by(&it.run).filter(|_| shown == Some(Shown::Kept));
                it
            });
        let mut all: Vec<Backup> = made.collect();
        let kept: Vec<String> = all
            .iter()
            .filter(|it| it.kept.is_some())
            .map(|it| it.server.clone())
            .collect();
        for it in &mut all {
            it.server_unfinished |= kept.contains(&it.server);
        }
        all
    })
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Shown {
    Nothing,
    Kept,
    Over,
}

proptest! {
    #[test]
    fn a_server_that_is_not_finished_never_loses_its_last_one(
        all in any_backups(),
        days in proptest::option::of(0_i64..100),
        keep in 0_usize..4,
        orphans in any::<bool>(),
    ) {
        let wish = Wish { older_than: days.map(|days| days * DAY), keep, orphans };
        let verdicts = judged(&all, wish);
        prop_assert_eq!(verdicts.len(), all.len());
        for (backup, verdict) in all.iter().zip(&verdicts) {
            let goes = *verdict == Verdict::Remove;
            use Standing::{Held, Kept, Open};
            prop_assert!(!goes || !matches!(backup.standing, Open | Held | Kept));
            prop_assert!(!goes || !backup.server_turned);
            prop_assert!(!goes || backup.used_by.is_empty());
            prop_assert!(!goes || orphans || backup.standing != Standing::Orphan);
            prop_assert_eq!(goes, verdict.why(backup).is_empty());
            prop_assert!(!goes || backup.kept.is_none());
            if let Some(days) = days {
                prop_assert!(!goes || backup.created <= NOW - days * DAY);
            }
        }
        for server in ["a", "b", "c"] {
            let of_it: Vec<_> = all.iter().zip(&verdicts).filter(|(it, _)| it.server == server).collect();
            let stays = |verdict: &Verdict| *verdict != Verdict::Remove;
            let whole = || of_it.iter().filter(|(it, _)| it.is_whole());
            let stay = whole().filter(|(_, verdict)| stays(verdict)).count();
            prop_assert!(stay >= keep.min(whole().count()));
            // Of a server that may be unfinished for all that is known here, whoever has the journal.
            let unknown = || of_it.iter().filter(|(it, _)| it.end_unknown);
            if let Some(newest) = unknown().map(|(it, _)| it.created).max() {
                prop_assert!(unknown().any(|(it, verdict)| it.created == newest && stays(verdict)));
            }
            let unfinished = of_it.iter().any(|(it, _)| it.server_unfinished);
            if !unfinished && unknown().next().is_none() {
                continue;
            }
            // The last whole one stays, and where there is none the last one.
            prop_assert!(stay >= whole().count().min(1));
            prop_assert!(of_it.iter().any(|(_, verdict)| stays(verdict)));
            // The newest way back is the one that is kept, not just any.
            let ways = || of_it.iter().filter(|(it, _)| it.standing == Standing::Unfinished);
            let newest = ways().map(|(it, _)| it.created).max();
            if let Some(newest) = newest.filter(|_| unfinished) {
                let mut of_then = ways().filter(|(it, _)| it.created == newest);
                prop_assert!(of_then.any(|(_, verdict)| stays(verdict)));
            }
        }
    }

    #[test]
    fn asking_for_more_never_removes_less(all in any_backups(), keep in 0_usize..3, days in 0_i64..99) {
        let less = judged(&all, Wish { older_than: Some((days + 1) * DAY), keep: keep + 1, orphans: false });
        let more = judged(&all, Wish { older_than: Some(days * DAY), keep, orphans: true });
        for (less, more) in less.iter().zip(more) {
            prop_assert!(*less != Verdict::Remove || more == Verdict::Remove);
        }
    }
}
