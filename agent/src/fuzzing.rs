//! What always holds of the agent's readers, for the fuzz targets in `fuzz/`: each takes bytes that a
//! crash, a damaged disk or another program may have made anything of.
//!
//! WHY here: the readers themselves are nobody else's business, and a property beside them is seen by
//! whoever changes them. Each function panics where its property does not hold.

pub use crate::{
    engine::environment::fuzzing::environment, ledger::fuzzing::ledger,
    server::xmlrpc::fuzzing::answer, tree::fuzzing::record,
};
