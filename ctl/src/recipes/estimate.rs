//! What each step is expected to take. An estimate is read by a person who decides on a window, so
//! the figures are on the careful side of what was measured on two cores and one disk
//! (facts/practice.md 1.1 and 1.2, facts/building-blocks.md 9).

/// Ownership by descriptor, all entries to change: 1.04 M entries in 1.79 s on 2 threads.
const TRANSFER_ENTRIES_PER_SECOND: u64 = 600_000;
/// Copying, by volume: one ordinary disk that reads and writes at once.
const COPY_BYTES_PER_SECOND: u64 = 100_000_000;
/// Copying, by files: 300,000 files of 10 KiB in 29 s.
const COPY_ENTRIES_PER_SECOND: u64 = 10_000;
/// Walking and comparing what is there already: 300,000 files in 0.6 s warm, 3 s cold.
const WALK_ENTRIES_PER_SECOND: u64 = 300_000;
/// Reading the copy and hashing it: the disk is the limit.
const PROVE_BYTES_PER_SECOND: u64 = 200_000_000;
/// Dumping with two jobs: 1.7 GB in 4.8 s, halved because the server is serving meanwhile.
const DUMP_BYTES_PER_SECOND: u64 = 175_000_000;

/// Restoring with two jobs: 1.7 GB in 17 s, halved because the server is serving meanwhile.
const RESTORE_BYTES_PER_SECOND: u64 = 50_000_000;

/// Asking the engine for something small: a rename, an update, an inspection.
pub(super) const ENGINE_CALL: u64 = 300;
/// Loading the agent's image and starting a container from it.
pub(super) const LAUNCH: u64 = 2_000;
/// Asking the server for its inventory and a few queries.
pub(super) const BASELINE: u64 = 2_000;
/// One `ALTER ROLE` each.
pub(super) const HEAL: u64 = 1_000;
/// The programs' own stop, PostgreSQL and ClickHouse being the slow ones.
pub(super) const STOP_SERVICES: u64 = 8_000;
/// The container's stop: only the supervisor itself is left.
pub(super) const STOP_SERVER: u64 = 2_000;
/// Creating a container and connecting its networks.
pub(super) const REPLACE: u64 = 1_000;
/// First boot of PMM 3: its database migrations and Grafana's, then the dashboards.
pub(super) const FIRST_BOOT: u64 = 30_000;
/// One call of Grafana's.
pub(super) const API_KEYS: u64 = 1_000;
/// Agents connect again and targets are scraped once within half a minute.
pub(super) const COMPARE: u64 = 30_000;
/// Moving a few files within one file system.
pub(super) const SET_ASIDE_FILES: u64 = 200;

fn millis(amount: u64, per_second: u64) -> u64 {
    amount.saturating_mul(1000) / per_second
}

/// Copying a tree for the first time, at most so many bytes a second.
pub(super) fn copy(bytes: u64, entries: u64, limit: Option<u64>) -> u64 {
    let rate = limit.map_or(COPY_BYTES_PER_SECOND, |limit| {
        limit.clamp(1, COPY_BYTES_PER_SECOND)
    });
    // Both limits add up: a small file costs its creation and its content.
    millis(bytes, rate).saturating_add(millis(entries, COPY_ENTRIES_PER_SECOND))
}

/// Proving the copy against its manifest.
pub(super) fn prove_copy(bytes: u64, entries: u64) -> u64 {
    millis(bytes, PROVE_BYTES_PER_SECOND).saturating_add(walk(entries))
}

/// Copying what changed since: the walk, and what a server writes in a while.
pub(super) fn copy_changes(entries: u64) -> u64 {
    millis(entries, WALK_ENTRIES_PER_SECOND).saturating_add(2_000)
}

/// Looking at every entry once.
pub(super) fn walk(entries: u64) -> u64 {
    millis(entries, WALK_ENTRIES_PER_SECOND).saturating_add(200)
}

/// Giving entries another owner.
pub(super) fn transfer(entries: u64) -> u64 {
    millis(entries, TRANSFER_ENTRIES_PER_SECOND).saturating_add(200)
}

/// Dumping databases.
pub(super) fn dump(bytes: u64) -> u64 {
    millis(bytes, DUMP_BYTES_PER_SECOND).saturating_add(2_000)
}

/// Making a cluster, restoring the dumps into it, and counting their rows.
pub(super) fn prove_dumps(bytes: u64) -> u64 {
    millis(bytes, RESTORE_BYTES_PER_SECOND).saturating_add(4_000)
}
