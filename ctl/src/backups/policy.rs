//! Which backups may be removed. Whatever is asked for, some stay: that of an open run, one that is
//! in use, and the last one of a server whose crossing nobody has declared finished. The crossing may
//! be another journal's: then what the engine shows decides, and where that shows nothing, the newest stays.

use serde::Serialize;

use super::{Backup, Kept, Standing};

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
    /// A run on its server is taken back, and where that leads to is not known yet.
    Turned,
    /// Its run could not compare the data with it.
    Uncompared,
    /// Its server's crossing was not declared finished, and it is the one to go back to.
    WayBack,
    /// Another journal's crossing made it and keeps something for the way back still.
    KeptByItsRun,
    /// Nobody here can tell whether its crossing was declared finished, and it is the newest such of its server.
    EndUnknown,
    /// No journal here knows it, so nobody here knows what it is worth.
    Orphan,
    /// It is among the newest of its server that were to be kept.
    Newest,
    /// It is not old enough.
    Recent,
}

impl Verdict {
    /// Why the backup stays, as the end of a sentence; empty when it goes.
    #[must_use]
    pub fn why(self, backup: &Backup) -> String {
        let plain = match self {
            Self::Remove => "",
            Self::OpenRun => "its run is not over",
            Self::BeingRemoved => "a run that is not over is removing it (`ferryctl status`)",
            Self::InUse => "it is in use",
            Self::Turned => "a run on its server is being taken back (`ferryctl status`)",
            Self::Uncompared => {
                "its run was rolled back, and could not compare the data with it: it may have what the data has lost; whoever has seen \
                 that it has not removes its volume or folder by hand"
            }
            Self::WayBack | Self::KeptByItsRun => return way_back(backup),
            Self::EndUnknown => {
                "it is the newest of its server, and only the journal of its run knows whether that was declared finished: \
                 `--state-dir` names another journal's folder"
            }
            Self::Orphan => "no journal here knows its run (`--orphans` takes such too)",
            Self::Newest => "it is among the newest of its server",
            Self::Recent => "it is not old enough",
        };
        plain.to_owned()
    }
}

fn way_back(backup: &Backup) -> String {
    let Some(Kept { run, what }) = &backup.kept else {
        return "its server is not declared finished".to_owned();
    };
    format!(
        "its server is not declared finished: run {run} keeps {what} for the way back; \
         `ferryctl finish {run}`, with `--state-dir` for the folder that has its journal, ends that"
    )
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
    if matches!(backup.standing, Standing::Open | Standing::Held) {
        return Verdict::OpenRun;
    }
    if backup.removal.as_ref().is_some_and(|it| it.open) {
        return Verdict::BeingRemoved;
    }
    if !backup.used_by.is_empty() {
        return Verdict::InUse;
    }
    if backup.server_turned {
        return Verdict::Turned;
    }
    if backup.standing == Standing::Kept {
        return Verdict::Uncompared;
    }
    if backup.is_kept_by_its_run() {
        return Verdict::KeptByItsRun;
    }
    if backup.server_unfinished && is_way_back(backups, index) {
        return Verdict::WayBack;
    }
    if is_newest_unknown(backups, index) {
        return Verdict::EndUnknown;
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
/// newest that is whole is kept beside it. What another journal's crossing keeps stays anyway, and takes the place of none that a
/// journal here goes back to.
fn is_way_back(backups: &[Backup], index: usize) -> bool {
    let of = |fits: &dyn Fn(&Backup) -> bool| {
        newest(backups, index, &|it| {
            it.standing == Standing::Unfinished && fits(it)
        })
        .or_else(|| newest(backups, index, &|it| it.is_kept_by_its_run() && fits(it)))
        .or_else(|| newest(backups, index, fits))
    };
    [of(&|_| true), of(&Backup::is_whole)].contains(&Some(index))
}

/// Whether it is the newest of those of its server of which nobody here can tell whether their crossing was declared finished, or
/// the newest that is whole, of any kind where none of those is. It stays beside what a journal here takes for the way back: that journal
/// does not know of its crossing.
fn is_newest_unknown(backups: &[Backup], index: usize) -> bool {
    let of = |fits: &dyn Fn(&Backup) -> bool| newest(backups, index, fits);
    let last = of(&|it| it.end_unknown);
    let whole = of(&|it| it.end_unknown && it.is_whole()).or_else(|| of(&Backup::is_whole));
    last.is_some() && [last, whole].contains(&Some(index))
}

/// The newest backup of the same server that fits. Among those of one moment the order decides.
fn newest(backups: &[Backup], index: usize, fits: &dyn Fn(&Backup) -> bool) -> Option<usize> {
    let server = &backups[index].server;
    (0..backups.len())
        .filter(|&other| backups[other].server == *server && fits(&backups[other]))
        .max_by_key(|&other| (backups[other].begun, std::cmp::Reverse(other)))
}

/// How many whole ones of the same server are newer. Among those of one moment the order decides.
fn newer(backups: &[Backup], index: usize) -> usize {
    let this = &backups[index];
    let others = backups.iter().enumerate();
    others
        .filter(|(other, backup)| {
            backup.server == this.server
                && backup.is_whole()
                && (backup.begun > this.begun || backup.begun == this.begun && *other < index)
        })
        .count()
}

#[cfg(test)]
mod tests;
