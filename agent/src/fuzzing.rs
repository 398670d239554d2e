//! What always holds of the agent's readers, for the fuzz targets in `fuzz/`: each takes bytes that a
//! crash, a damaged disk or another program may have made anything of.
//!
//! WHY here: the readers themselves are nobody else's business, and a property beside them is seen by
//! whoever changes them. Each function panics where its property does not hold.

pub use crate::{
    engine::environment::fuzzing::environment,
    ledger::fuzzing::ledger,
    server::xmlrpc::fuzzing::answer,
    tree::fuzzing::{manifest, record, told},
};

#[cfg(test)]
mod tests {
    use super::*;

    /// What the fuzz targets begin with, and each with a thousand small damages: a part of the fuzzing
    /// for every test run, and the place for what it finds.
    #[test]
    fn what_holds_of_the_seeds_holds_of_damaged_ones() {
        type Reader = fn(&[u8]);
        let seeds: [(&[u8], Reader); 8] = [
            (include_bytes!("ledger/v1.ledger"), ledger),
            (include_bytes!("tree/tests/owners-v1.record"), record),
            (include_bytes!("tree/tests/copy-v1.manifest"), manifest),
            (
                include_bytes!("../../fuzz/seeds/environment/pmm2"),
                environment,
            ),
            (include_bytes!("../../fuzz/seeds/xmlrpc/processes"), answer),
            (include_bytes!("../../fuzz/seeds/xmlrpc/fault"), answer),
            (include_bytes!("../../fuzz/seeds/told/file"), told),
            (include_bytes!("../../fuzz/seeds/told/link"), told),
        ];
        let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut dice = |sides: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).unwrap() % sides
        };
        for (seed, reader) in seeds {
            reader(seed);
            for _ in 0..1000 {
                let mut bytes = seed.to_vec();
                for _ in 0..=dice(4) {
                    let at = dice(bytes.len());
                    match dice(4) {
                        0 => bytes[at] ^= 1 << dice(8),
                        1 => drop(bytes.remove(at)),
                        2 => bytes.insert(at, b"\0\xff<>=\n{}\"0"[dice(10)]),
                        _ => bytes.truncate(at.max(1)),
                    }
                    if bytes.is_empty() {
                        break;
                    }
                }
                reader(&bytes);
            }
        }
    }
}
