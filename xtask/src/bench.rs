//! Measurements, each against what people do without Ferry, in one run on one machine.

mod agent;
mod crossing;
mod manual;
mod prober;

use crate::error::Result;
use crate::sh::Tool;

/// `cargo xtask bench`
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// The change of owners on a large tree, against `chown -R`
    Ownership,
    /// What an idle agent costs: memory, time to be ready, size
    Agent(agent::Args),
    /// The downtime of a whole migration, against the documented commands
    Crossing(crossing::Args),
}

/// Runs one.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Ownership => Tool::cargo()
            .args([
                "bench",
                "--locked",
                "-p",
                "ferry-agent",
                "--bench",
                "ownership",
            ])
            .show(),
        Bench::Agent(args) => agent::run(args),
        Bench::Crossing(args) => crossing::run(args),
    }
}
