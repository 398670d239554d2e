//! Measurements, each against what people do without Ferry, in one run on one machine.

mod agent;
mod crossing;
mod manual;
mod ownership;
mod prober;

use crate::error::Result;

/// `cargo xtask bench`
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// The change of owners on a large tree, against `chown -R`
    Ownership(ownership::Args),
    /// What an idle agent costs: memory, time to be ready, size
    Agent(agent::Args),
    /// The downtime of a whole migration, against the documented commands
    Crossing(crossing::Args),
}

/// Runs one.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Ownership(args) => ownership::run(args),
        Bench::Agent(args) => agent::run(args),
        Bench::Crossing(args) => crossing::run(args),
    }
}
