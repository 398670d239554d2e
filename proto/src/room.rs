//! How much room a step needs, and how much it leaves: the plan says it to a person, and the agent looks for it before it begins.

/// What a PostgreSQL cluster takes without anything in it, with its log of changes, in bytes.
const EMPTY_CLUSTER: u64 = 256 << 20;

/// The room in bytes that the proof of dumps needs whose databases take `database_bytes`.
#[must_use]
pub fn proof_bytes(database_bytes: u64) -> u64 {
    // Restored databases are as large as their originals at most: what these hold of dead rows stays behind.
    database_bytes
        .saturating_add(database_bytes / 10)
        .saturating_add(EMPTY_CLUSTER)
}

/// What is left to others of a file system of `total_bytes`, which a server may share: a hundredth, at least 512 MiB and at most 16 GiB; but
/// never more than a twentieth, which on a small file system is less than that.
#[must_use]
pub fn reserve_bytes(total_bytes: u64) -> u64 {
    (total_bytes / 100)
        .clamp(512 << 20, 16 << 30)
        .min(total_bytes / 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_for_the_databases_and_the_cluster_itself() {
        assert_eq!(proof_bytes(0), EMPTY_CLUSTER);
        assert!(proof_bytes(10 << 30) > (11 << 30));
        assert_eq!(proof_bytes(u64::MAX), u64::MAX);
    }

    #[test]
    fn the_reserve_fits_small_and_large_file_systems() {
        assert_eq!(reserve_bytes(0), 0);
        assert_eq!(reserve_bytes(100 << 20), 5 << 20);
        assert_eq!(reserve_bytes(20 << 30), 512 << 20);
        assert_eq!(reserve_bytes(200 << 30), 2 << 30);
        assert_eq!(reserve_bytes(100 << 40), 16 << 30);
    }
}
