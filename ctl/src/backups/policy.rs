//! Which backups may be removed. Whatever is asked for, some stay: that of an open run, one that is
//! in use, and the last one of a server whose crossing nobody has declared finished.

use serde::Serialize;

use super::{Backup, Standing};

/// What `ferryctl backup prune` was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wish {
    /// Only those that are older, in milliseconds.
    pub older_than: Option<i64>,
    /// The newest so many of each server stay.
    pub keep: usize,
    /// Those that no journal here knows may go too.
    pub orphans: bool,
}

/// What becomes of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It may go.
    Remove,
    /// It is the way back of a run that is not over.
    OpenRun,
    /// A run that is not over is removing it.
    BeingRemoved,
    /// A container has it mounted.
    InUse,
    /// Its server's crossing was not declared finished, and it is the one to go back to.
    WayBack,
    /// No journal here knows it, so nobody here knows what it is worth.
    Orphan,
    /// It is among the newest of its server that were to be kept.
    Newest,
    /// It is not old enough.
    Recent,
}

impl Verdict {
    /// Why it stays, as the end of a sentence; empty when it goes.
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Self::Remove => "",
            Self::OpenRun => "its run is not over",
            Self::BeingRemoved => "a run that is not over is removing it (`ferryctl status`)",
            Self::InUse => "it is in use",
            Self::WayBack => "its server is not declared finished",
            Self::Orphan => "no journal here knows its run (`--orphans` takes such too)",
            Self::Newest => "it is among the newest of its server",
            Self::Recent => "it is not old enough",
        }
    }
}

/// What becomes of each backup, in their order. `now` in milliseconds since the epoch.
#[must_use]
pub fn judge(backups: &[Backup], wish: Wish, now: i64) -> Vec<Verdict> {
    (0..backups.len())
        .map(|index| verdict(backups, index, wish, now))
        .collect()
}

fn verdict(backups: &[Backup], index: usize, wish: Wish, now: i64) -> Verdict {
    let backup = &backups[index];
    if backup.standing == Standing::Open {
        return Verdict::OpenRun;
    }
    if backup.removal.as_ref().is_some_and(|it| it.open) {
        return Verdict::BeingRemoved;
    }
    if !backup.used_by.is_empty() {
        return Verdict::InUse;
    }
    if backup.server_unfinished && is_way_back(backups, index) {
        return Verdict::WayBack;
    }
    if backup.standing == Standing::Orphan && !wish.orphans {
        return Verdict::Orphan;
    }
    if backup.is_whole() && newer(backups, index) < wish.keep {
        return Verdict::Newest;
    }
    // Of which nobody knows how old it is, it is not known to be old enough.
    let age = (backup.created > 0).then(|| now.saturating_sub(backup.created));
    let too_young = |least| age.is_none_or(|age| age < least);
    if wish.older_than.is_some_and(too_young) {
        return Verdict::Recent;
    }
    Verdict::Remove
}

/// Whether an unfinished server goes back to it: the newest backup of a crossing that is not finished,
/// or, where somebody has removed that, the newest there is. Where a removal of it was begun, the
/// newest that is whole is kept beside it.
fn is_way_back(backups: &[Backup], index: usize) -> bool {
    let server = &backups[index].server;
    let newest = |fits: &dyn Fn(&Backup) -> bool| {
        (0..backups.len())
            .filter(|&other| backups[other].server == *server && fits(&backups[other]))
            .max_by_key(|&other| (backups[other].created, std::cmp::Reverse(other)))
    };
    let unfinished = |it: &Backup| it.standing == Standing::Unfinished;
    let last = newest(&unfinished).or_else(|| newest(&|_| true));
    let whole = newest(&|it| unfinished(it) && it.is_whole())
        .or_else(|| newest(&|it: &Backup| it.is_whole()));
    [last, whole].contains(&Some(index))
}

/// How many whole ones of the same server are newer. Among those of one moment the order decides.
fn newer(backups: &[Backup], index: usize) -> usize {
    let this = &backups[index];
    let others = backups.iter().enumerate();
    others
        .filter(|(other, backup)| {
            backup.server == this.server
                && backup.is_whole()
                && (backup.created > this.created
                    || backup.created == this.created && *other < index)
        })
        .count()
}

#[cfg(test)]
mod tests {
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
            bytes: None,
            digest: String::new(),
            standing,
            used_by: Vec::new(),
            server_unfinished: standing == Standing::Unfinished,
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
        let old = Wish {
            older_than: Some(1),
            ..wish
        };
        assert_eq!(judged(&ageless, old), [Verdict::Recent]);
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
            Just(Standing::Unfinished),
            Just(Standing::Finished),
            Just(Standing::RolledBack),
            Just(Standing::Orphan),
        ];
        let begun = proptest::option::weighted(0.2, any::<bool>());
        let one = ("[a-c]", 0_i64..100, standing, any::<bool>(), begun);
        let unfinished = proptest::collection::vec(any::<bool>(), 3);
        (proptest::collection::vec(one, 0..12), unfinished).prop_map(|(all, unfinished)| {
            let made = all
                .into_iter()
                .map(|(server, days, standing, used, begun)| {
                    let mut it = backup(&server, days, standing);
                    it.removal = begun.map(removal);
                    it.used_by = used.then(|| "somebody".to_owned()).into_iter().collect();
                    it.server_unfinished = unfinished[usize::from(server.as_bytes()[0] - b'a')];
                    it
                });
            made.collect()
        })
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
                prop_assert!(!goes || backup.standing != Standing::Open);
                prop_assert!(!goes || backup.used_by.is_empty());
                prop_assert!(!goes || orphans || backup.standing != Standing::Orphan);
                prop_assert_eq!(goes, verdict.why().is_empty());
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
                if !of_it.iter().any(|(it, _)| it.server_unfinished) {
                    continue;
                }
                // The last whole one stays, and where there is none the last one.
                prop_assert!(stay >= whole().count().min(1));
                prop_assert!(of_it.iter().any(|(_, verdict)| stays(verdict)));
                // The newest way back is the one that is kept, not just any.
                let ways = || of_it.iter().filter(|(it, _)| it.standing == Standing::Unfinished);
                if let Some(newest) = ways().map(|(it, _)| it.created).max() {
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
}
