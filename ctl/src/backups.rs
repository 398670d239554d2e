//! The backups there are, and what may become of each: what the engine has, seen together with what
//! the journal knows of it. Pure, so that what may be removed can be tested as data.

pub mod policy;

use std::collections::{BTreeMap, BTreeSet};

use ferry_proto::{
    KEEP_COPY, REHEARSAL,
    v1::{BackupFacts, BackupPlace, Facts, KeptFacts, StepStatus, action::Kind},
};
use serde::Serialize;

use crate::{
    recipes::data_mount,
    run::{events::RunState, journal::RunRow, record::RunRecord},
};

/// What stands behind a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Its run is at work, or was cut off: it is the way back right now.
    Open,
    /// Its run is held: it is the way back right now, and nobody is at it.
    Held,
    /// Its crossing is done and was not declared finished: it is the way back still.
    Unfinished,
    /// Its crossing was declared finished.
    Finished,
    /// Its run was rolled back, and has left it behind.
    RolledBack,
    /// Its run was rolled back and could not compare the data with it: it may have what the data has lost.
    Kept,
    /// No journal here knows its run.
    Orphan,
}

impl Standing {
    /// The word for it, as in `ferryctl backup list`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Held => "held",
            Self::Unfinished => "not finished",
            Self::Finished => "finished",
            Self::RolledBack => "rolled back",
            Self::Kept => "kept",
            Self::Orphan => "orphan",
        }
    }
}

/// One backup.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Backup {
    /// The run that made it.
    pub run: String,
    /// The server that it is a copy of.
    pub server: String,
    /// The volume it is; empty for a folder.
    pub volume: String,
    /// The folder of the engine's host it is; empty for a volume.
    pub folder: String,
    /// The claim it is, `NAMESPACE/CLAIM`; absent outside of a cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub claim: String,
    /// When its run was made, or what the engine says; milliseconds since the epoch, 0 when nobody knows.
    pub created: i64,
    /// The same, for telling which of two is the later: what the journal here made later never has the earlier time, also where the clock
    /// was put back in between.
    #[serde(skip)]
    pub begun: i64,
    /// How large the data was; absent when nobody knows.
    pub bytes: Option<u64>,
    /// The digest of its manifest; empty when the journal has none.
    pub digest: String,
    /// What stands behind it.
    pub standing: Standing,
    /// Containers that have it mounted, or pods.
    pub used_by: Vec<String>,
    /// The server was carried over, and its last crossing is not declared finished.
    pub server_unfinished: bool,
    /// A run on the server is on its way back: when that is over another backup may be the one to go back to.
    #[serde(skip)]
    pub server_turned: bool,
    /// What a crossing of its server that no journal here knows keeps for the way back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// No journal here knows its run, and nothing on the engine shows that the crossing is over.
    pub end_unknown: bool,
    /// Who has begun to remove it, when it is there all the same: it may be a part of a backup only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removal: Option<Removal>,
}

/// What a crossing keeps beside its server until it is declared finished, as the engine shows it to everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// The run.
    pub run: String,
    /// ``container `pmm-server-2.44.1-7f3a9c21` ``.
    pub what: String,
}

/// A removal of a backup that was begun, while the backup is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removal {
    /// The run that removes it.
    pub run: String,
    /// That run is not over: it is at it, or was cut off.
    pub open: bool,
}

impl Backup {
    /// Nobody has begun to remove it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.removal.is_none()
    }

    /// Its own run keeps something for the way back, and no journal here knows that run.
    #[must_use]
    pub fn is_kept_by_its_run(&self) -> bool {
        self.kept.as_ref().is_some_and(|it| it.run == self.run)
    }

    /// Where it is, as agents are told.
    #[must_use]
    pub fn place(&self) -> BackupPlace {
        BackupPlace {
            run: self.run.clone(),
            volume: self.volume.clone(),
            folder: self.folder.clone(),
            claim: self.claim.clone(),
        }
    }

    /// The volume's name, the folder's path, or the claim's name with its namespace.
    #[must_use]
    pub fn source(&self) -> &str {
        let names = [&self.volume, &self.claim, &self.folder];
        names
            .into_iter()
            .find(|it| !it.is_empty())
            .map_or("", String::as_str)
    }

    /// `volume pmm-data-ferry-7f3a9c21`.
    #[must_use]
    pub fn whereabouts(&self) -> String {
        words(&self.place())
    }
}

/// A place in words: `volume pmm-data-ferry-7f3a9c21`.
#[must_use]
pub fn words(place: &BackupPlace) -> String {
    let kinds = [("volume", &place.volume), ("claim", &place.claim)];
    let named = kinds.into_iter().find(|(_, name)| !name.is_empty());
    let (kind, name) = named.unwrap_or(("folder", &place.folder));
    format!("{kind} {name}")
}

/// A run as the journal has it: here a crossing, or one that removes a backup.
pub type Known = (RunRow, RunRecord);

/// Which backup a run removes, and whether it is at it: `None` when it removes none, or has not begun
/// to. One that was removed and is there again, as on a disk that was away meanwhile, is not taken for whole.
#[must_use]
pub fn removal((row, record): &Known) -> Option<(BackupPlace, Removal)> {
    let mut steps = record.plan.steps.iter().zip(&record.steps);
    steps.find_map(|(step, state)| {
        let Some(Kind::RemoveBackup(remove)) = step.action.as_ref()?.kind.as_ref() else {
            return None;
        };
        let begun = match state.status {
            StepStatus::Undone => {
                let undone = state.undo_outcome.as_ref();
                undone.is_some_and(|outcome| outcome.values.contains_key("begun"))
            }
            status => status.needs_undo(),
        };
        let removal = Removal {
            run: row.run.clone(),
            open: !row.state.is_over(),
        };
        Some((remove.backup.clone()?, removal)).filter(|_| begun)
    })
}

/// What the launch of a run's agents has said of its backup.
fn launched<'a>(record: &'a RunRecord, value: &str) -> Option<&'a str> {
    let steps = record.plan.steps.iter().zip(&record.steps);
    let mut launches = steps.filter(|(step, _)| {
        let kind = step.action.as_ref().and_then(|action| action.kind.as_ref());
        matches!(kind, Some(Kind::LaunchAgents(launch)) if launch.volume_agent)
    });
    let outcome = launches.find_map(|(_, state)| state.outcome.as_ref())?;
    outcome.values.get(value).map(String::as_str)
}

/// Where a run put its copy, without the run itself; `None` when it has made none.
#[must_use]
pub fn place(record: &RunRecord) -> Option<BackupPlace> {
    let of = |kind: &str| {
        launched(record, &format!("backup_{kind}"))
            .unwrap_or_default()
            .to_owned()
    };
    let place = BackupPlace {
        volume: of("volume"),
        folder: of("folder"),
        claim: of("claim"),
        ..BackupPlace::default()
    };
    let named = [&place.volume, &place.folder, &place.claim];
    named.iter().any(|it| !it.is_empty()).then_some(place)
}

/// The same in words: `volume …`, `folder …` or `claim …`.
#[must_use]
pub fn whereabouts(record: &RunRecord) -> Option<String> {
    place(record).as_ref().map(words)
}

/// The digest of the manifest that the final pass of a run has written; empty when it did not come
/// so far.
#[must_use]
pub fn digest(record: &RunRecord) -> String {
    let steps = record.plan.steps.iter().zip(&record.steps);
    let mut last = steps.filter_map(|(step, state)| {
        match step.action.as_ref().and_then(|it| it.kind.as_ref())? {
            Kind::CopyVolume(copy) if copy.final_pass => state.outcome.as_ref(),
            _ => None,
        }
    });
    let manifest = last.find_map(|outcome| outcome.values.get("manifest").cloned());
    manifest.unwrap_or_default()
}

/// The folders that runs on this engine have made their copies in.
#[must_use]
pub fn known_folders(known: &[Known], engine: &str) -> Vec<String> {
    let here = known.iter().filter(|(row, _)| engine_of(row) == engine);
    let folders = here.filter_map(|(_, record)| launched(record, "backup_folder"));
    folders.map(str::to_owned).collect()
}

/// The engine that a run is about.
#[must_use]
pub fn engine_of(row: &RunRow) -> &str {
    let facts = row.plan.facts.as_ref();
    facts
        .and_then(|facts| facts.engine.as_ref())
        .map_or("", |engine| engine.id.as_str())
}

fn server_of(row: &RunRow) -> &str {
    let facts = row.plan.facts.as_ref();
    facts
        .and_then(|facts| facts.container.as_ref())
        .map_or("", |container| container.name.as_str())
}

/// The runs in the order in which the journal made them, whatever the clock said.
fn in_order(known: &[Known]) -> Vec<&RunRow> {
    let mut rows: Vec<_> = known.iter().map(|(row, _)| row).collect();
    rows.sort_by_key(|row| row.number);
    rows
}

/// When each run of the journal was made, as [`Backup::begun`] has it.
fn begun(known: &[Known]) -> BTreeMap<&str, i64> {
    let mut begun = BTreeMap::new();
    let mut last = i64::MIN;
    for row in in_order(known) {
        last = row.created.max(last.saturating_add(1));
        begun.insert(row.run.as_str(), last);
    }
    begun
}

/// When the last crossing of each server was begun, and whether it was declared finished; servers that were never carried
/// over are not in it. The last is the journal's; the time is for what no journal here knows.
fn last_crossings(known: &[Known], engine: &str) -> BTreeMap<String, (i64, bool)> {
    let mut last: BTreeMap<String, (i64, bool)> = BTreeMap::new();
    for row in in_order(known) {
        let finished = match row.state {
            RunState::Done => false,
            RunState::Finished => true,
            _ => continue,
        };
        // A rehearsal has carried nothing over.
        if engine_of(row) == engine && row.plan.recipe != REHEARSAL {
            last.insert(server_of(row).to_owned(), (row.created, finished));
        }
    }
    last
}

/// All backups of an engine, those of one server together, the newest first. `known` are the
/// crossings of the journal and `removing` its runs that remove backups, the newest first, of
/// whatever engine.
#[must_use]
pub fn together(found: &Facts, known: &[Known], removing: &[Known]) -> Vec<Backup> {
    let engine = found
        .engine
        .as_ref()
        .map_or("", |engine| engine.id.as_str());
    let (crossings, begun) = (last_crossings(known, engine), begun(known));
    let mut backups: Vec<Backup> = found
        .backups
        .iter()
        .map(|facts| {
            let of_it = |(row, _): &&Known| row.run == facts.run && engine_of(row) == engine;
            let mut backup = backup(facts, known.iter().find(of_it), &crossings);
            backup.begun = match begun.get(facts.run.as_str()) {
                Some(begun) if backup.standing != Standing::Orphan => *begun,
                _ => backup.created,
            };
            // What a journal here knows, that says; what it does not know, only the engine shows.
            let strange = |kept: &&KeptFacts| {
                let mut here = known.iter().filter(|(row, _)| engine_of(row) == engine);
                !here.any(|(row, _)| row.run == kept.run)
            };
            backup.kept = facts.kept.as_ref().filter(strange).map(|kept| Kept {
                run: kept.run.clone(),
                what: kept.what.clone(),
            });
            let later = crossings.get(&backup.server);
            // Of which nobody knows how old it is, nothing is known to be later.
            let finished_later = backup.created > 0
                && later.is_some_and(|&(begun, finished)| finished && begun > backup.created);
            backup.end_unknown = backup.standing == Standing::Orphan
                && backup.kept.is_none()
                && !facts.crossing_over
                && !finished_later;
            let here = removing.iter().filter(|(row, _)| engine_of(row) == engine);
            let mut removals = here.filter_map(removal);
            backup.removal = removals
                .find(|(place, _)| *place == backup.place())
                .map(|(_, removal)| removal);
            backup
        })
        .collect();
    let turned: BTreeSet<&str> = known
        .iter()
        .filter(|(row, record)| {
            engine_of(row) == engine && !row.state.is_over() && record.position.backward
        })
        .map(|(row, _)| server_of(row))
        .collect();
    let mut unfinished = BTreeSet::new();
    for backup in &backups {
        if backup.server_unfinished || backup.kept.is_some() {
            unfinished.insert(backup.server.clone());
        }
    }
    for backup in &mut backups {
        backup.server_unfinished = unfinished.contains(&backup.server);
        backup.server_turned = turned.contains(backup.server.as_str());
    }
    backups.sort_by(|a, b| {
        (&a.server, std::cmp::Reverse(a.begun), &a.run).cmp(&(
            &b.server,
            std::cmp::Reverse(b.begun),
            &b.run,
        ))
    });
    backups
}

fn backup(
    facts: &BackupFacts,
    known: Option<&Known>,
    last: &BTreeMap<String, (i64, bool)>,
) -> Backup {
    let said = facts.created.as_ref().map(|time| {
        time.seconds
            .saturating_mul(1000)
            .saturating_add(i64::from(time.nanos / 1_000_000))
    });
    let standing = known.map_or(Standing::Orphan, |(row, record)| match row.state {
        RunState::Done => Standing::Unfinished,
        RunState::Finished => Standing::Finished,
        RunState::RolledBack if record.was_told(KEEP_COPY) => Standing::Kept,
        RunState::RolledBack => Standing::RolledBack,
        RunState::Running | RunState::RollingBack => Standing::Open,
        RunState::Held => Standing::Held,
    });
    let plan_facts = known.and_then(|(row, _)| row.plan.facts.as_ref());
    let data = plan_facts.and_then(|facts| facts.data.as_ref());
    let server = known.map_or(facts.server.as_str(), |(row, _)| server_of(row));
    Backup {
        run: facts.run.clone(),
        server: server.to_owned(),
        volume: facts.volume.clone(),
        folder: facts.folder.clone(),
        claim: facts.claim.clone(),
        created: known.map_or(said.unwrap_or(0), |(row, _)| row.created),
        begun: 0,
        bytes: data.map(|data| data.bytes),
        digest: known.map(|(_, record)| digest(record)).unwrap_or_default(),
        standing,
        used_by: facts.used_by.clone(),
        server_turned: false,
        server_unfinished: last.get(server).is_some_and(|(_, finished)| !finished),
        kept: None,
        end_unknown: false,
        removal: None,
    }
}

/// The new volume that a backup is restored into when nobody says otherwise, or the new claim beside the backup's:
/// `<data volume>-restored-<run>`.
#[must_use]
pub fn restored_volume(backup: &Backup, known: Option<&Known>) -> String {
    let facts = known.and_then(|(row, _)| row.plan.facts.as_ref());
    let data = facts.and_then(data_mount).map(|mount| mount.name.as_str());
    let named = |name: &&str| !name.is_empty() && !ferry_proto::is_made_up(name);
    let base = data.filter(named).or_else(|| {
        // A volume that no journal knows says by its own name what it is a copy of.
        let name = backup
            .claim
            .split_once('/')
            .map_or(backup.volume.as_str(), |(_, name)| name);
        name.strip_suffix(&format!("-ferry-{}", backup.run))
    });
    let base = base.unwrap_or(&backup.server);
    format!("{base}-restored-{}", backup.run)
}

#[cfg(test)]
mod tests;
