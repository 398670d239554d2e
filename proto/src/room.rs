//! How much room a step needs: the plan says it to a person, and the agent looks for it before it begins.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_for_the_databases_and_the_cluster_itself() {
        assert_eq!(proof_bytes(0), EMPTY_CLUSTER);
        assert!(proof_bytes(10 << 30) > (11 << 30));
        assert_eq!(proof_bytes(u64::MAX), u64::MAX);
    }
}
