//! What a crossing needs on disk, part by part, and where: beside the data, and where the backup is
//! made. Estimates are on the careful side; what a disk that fills up in the night costs is not.

use ferry_proto::v1::{DataFacts, ServerFacts};

use super::{Recipe, pmm_in_place::database_bytes};
use crate::units::bytes;

/// An empty cluster with its write-ahead log, before a dump is loaded into it.
const EMPTY_CLUSTER: u64 = 100 << 20;
/// A line of the manifest: a path, a digest, and numbers. Both passes write one.
const MANIFEST_LINE: u64 = 2 * 256;

/// No part of it is ever taken: an agent ends its work before.
const LEFT: &str = "left to others";

/// The parts, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    copy: u64,
    dumps: u64,
    scratch: u64,
    /// The new cluster in the copy of the run's folder, where the recipe keeps one.
    kept: u64,
    manifest: u64,
    /// What the copy leaves to others where it is made.
    left_at_backup: u64,
    /// What dumps and scratch cluster leave to others where they are.
    left_at_data: u64,
    /// Where the dumps are written and proven.
    worked: Worked,
}

/// Where the dumps and the cluster that proves them lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worked {
    /// Beside the data, on a disk of its own, and a copy of the dumps in the backup.
    AtData,
    /// As that, on the disk of the backup.
    AtDataOnSameDisk,
    /// On the copy alone, as in a rehearsal: nothing is written beside the data.
    OnTheCopy,
}

/// What data takes on a new volume that it is copied to as it is, with the manifests of the passes.
pub(super) fn new_volume_bytes(data: &DataFacts) -> u64 {
    let manifest = data.entries.saturating_mul(MANIFEST_LINE);
    data.bytes.saturating_add(manifest)
}

impl Space {
    pub(super) fn of(server: &ServerFacts, data: &DataFacts, recipe: Recipe) -> Self {
        let databases = match server.external_postgres {
            true => 0,
            false => database_bytes(server),
        };
        let cluster = match databases {
            0 => 0,
            some => some.saturating_add(EMPTY_CLUSTER),
        };
        // That recipe dumps twice, and its second cluster stays until the run is finished.
        let renews = recipe == Recipe::PmmDumpRestore;
        Self {
            copy: data.bytes,
            dumps: databases.saturating_mul(if renews { 2 } else { 1 }),
            scratch: cluster,
            kept: if renews { cluster } else { 0 },
            manifest: data.entries.saturating_mul(MANIFEST_LINE),
            left_at_backup: data.backup_reserve_bytes,
            left_at_data: data.reserve_bytes,
            worked: if data.backup_same_disk {
                Worked::AtDataOnSameDisk
            } else {
                Worked::AtData
            },
        }
    }

    /// What a rehearsal needs: its agents can only read beside the data, so that dumps and scratch cluster lie on the copy.
    pub(super) fn of_rehearsal(server: &ServerFacts, data: &DataFacts) -> Self {
        Self {
            worked: Worked::OnTheCopy,
            ..Self::of(server, data, Recipe::PmmInPlace)
        }
    }

    /// What is needed where the backup is made; all of it when that is the data's own disk.
    pub(super) fn at_backup(self) -> u64 {
        sum(&self.backup_parts())
    }

    /// What is needed beside the data; 0 when it is counted at the backup already.
    pub(super) fn at_data(self) -> u64 {
        sum(&self.data_parts())
    }

    /// `41.9 GiB (copy 41.2 GiB, …)`.
    pub(super) fn backup_words(self) -> String {
        words(&self.backup_parts())
    }

    /// The same, beside the data.
    pub(super) fn data_words(self) -> String {
        words(&self.data_parts())
    }

    fn backup_parts(self) -> Vec<(&'static str, u64)> {
        let mut parts = vec![("copy", self.copy)];
        match self.worked {
            Worked::AtDataOnSameDisk => parts.extend([
                ("dumps and a copy of them", self.dumps.saturating_mul(2)),
                ("scratch cluster", self.scratch),
            ]),
            Worked::AtData => parts.push(("copy of the dumps", self.dumps)),
            Worked::OnTheCopy => {
                parts.extend([("dumps", self.dumps), ("scratch cluster", self.scratch)])
            }
        }
        parts.push(("copy of the new cluster", self.kept));
        parts.push(("manifest", self.manifest));
        parts.push((LEFT, self.left_at_backup));
        parts
    }

    fn data_parts(self) -> Vec<(&'static str, u64)> {
        match self.worked {
            // A server with a database of its own elsewhere has none.
            Worked::AtData if self.dumps > 0 => vec![
                ("dumps", self.dumps),
                ("scratch cluster", self.scratch),
                (LEFT, self.left_at_data),
            ],
            Worked::AtData | Worked::AtDataOnSameDisk | Worked::OnTheCopy => Vec::new(),
        }
    }
}

fn sum(parts: &[(&str, u64)]) -> u64 {
    parts
        .iter()
        .fold(0, |sum, (_, part)| sum.saturating_add(*part))
}

fn words(parts: &[(&str, u64)]) -> String {
    let some = parts.iter().filter(|(_, part)| *part > 0);
    let list: Vec<String> = some
        .map(|(name, part)| format!("{name} {}", bytes(*part)))
        .collect();
    format!("{} ({})", bytes(sum(parts)), list.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn each_part_is_counted_once_wherever_the_disks_are() {
        let facts = samples::facts();
        let (server, mut data) = (facts.server.unwrap(), facts.data.unwrap());
        let total = |data: &DataFacts| {
            let space = Space::of(&server, data, Recipe::PmmInPlace);
            space.at_backup() + space.at_data()
        };
        let apart = total(&data);
        data.backup_same_disk = !data.backup_same_disk;
        assert_eq!(apart, total(&data));
        data.backup_same_disk = true;
        assert_eq!(Space::of(&server, &data, Recipe::PmmInPlace).at_data(), 0);
    }

    #[test]
    fn a_rehearsal_needs_nothing_beside_the_data() {
        let facts = samples::facts();
        let (server, mut data) = (facts.server.unwrap(), facts.data.unwrap());
        for same in [false, true] {
            data.backup_same_disk = same;
            let crossing = Space::of(&server, &data, Recipe::PmmInPlace);
            let rehearsal = Space::of_rehearsal(&server, &data);
            assert_eq!(rehearsal.at_data(), 0);
            // The dumps are there once, and the cluster lies where they do.
            let all = crossing.at_backup() + crossing.at_data();
            assert_eq!(rehearsal.at_backup(), all - crossing.dumps);
            assert!(rehearsal.backup_words().contains("scratch cluster"));
        }
    }

    #[test]
    fn a_new_cluster_needs_a_second_dump_and_stays() {
        let facts = samples::facts();
        let (server, data) = (facts.server.unwrap(), facts.data.unwrap());
        let of = |recipe| Space::of(&server, &data, recipe);
        let (one, other) = (of(Recipe::PmmInPlace), of(Recipe::PmmDumpRestore));
        assert_eq!(other.dumps, one.dumps * 2);
        assert_eq!((one.kept, other.kept), (0, one.scratch));
        assert!(other.at_backup() > one.at_backup());
    }

    /// One disk has one reserve, two have two, and what the agents would not take is never counted as room.
    #[test]
    fn what_is_left_to_others_is_needed_too() {
        let facts = samples::facts();
        let (server, mut data) = (facts.server.unwrap(), facts.data.unwrap());
        for (same, at_data) in [(true, 0), (false, 2 << 30)] {
            data.backup_same_disk = same;
            let space = |data: &DataFacts| Space::of(&server, data, Recipe::PmmInPlace);
            let (bare, mut left) = (space(&data), data.clone());
            (left.reserve_bytes, left.backup_reserve_bytes) = (2 << 30, 1 << 30);
            let with = space(&left);
            assert_eq!(with.at_backup(), bare.at_backup() + (1 << 30));
            assert_eq!(with.at_data(), bare.at_data() + at_data);
            let words = with.backup_words();
            assert!(words.ends_with(", left to others 1.0 GiB)"), "{words}");
            let rehearsal = Space::of_rehearsal(&server, &left);
            let words = rehearsal.backup_words();
            assert!(words.ends_with(", left to others 1.0 GiB)"), "{words}");
        }
        // Without dumps nothing is written beside the data.
        let space = Space::of(&ServerFacts::default(), &data, Recipe::PmmInPlace);
        assert_eq!(space.at_data(), 0);
    }

    #[test]
    fn what_is_not_needed_is_not_named() {
        let server = ServerFacts::default();
        let data = DataFacts {
            bytes: 1 << 30,
            entries: 1 << 20,
            ..DataFacts::default()
        };
        let space = Space::of(&server, &data, Recipe::PmmInPlace);
        assert_eq!(
            space.backup_words(),
            "1.5 GiB (copy 1.0 GiB, manifest 512 MiB)"
        );
        assert_eq!(space.at_data(), 0);
    }
}
