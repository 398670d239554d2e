//! Measurements, each against what people do without Ferry, in one run on one machine.

mod agent;
mod backup;
mod crossing;
mod manual;
mod ownership;
mod prober;
mod restore;

use crate::error::Result;

/// `cargo xtask bench`
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// The change of owners on a large tree, against `chown -R`
    Ownership(ownership::Args),
    /// What an idle agent costs: memory, time to be ready, size
    Agent(agent::Args),
    /// Both passes of the backup, against `cp -a`
    Backup(backup::Args),
    /// The restore after the target had the data, against `cp -a` back
    Restore(backup::Args),
    /// The downtime of a whole migration, against the documented commands
    Crossing(crossing::Args),
}

/// Runs one.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Ownership(args) => ownership::run(args),
        Bench::Agent(args) => agent::run(args),
        Bench::Backup(args) => backup::run(args),
        Bench::Restore(args) => restore::run(args),
        Bench::Crossing(args) => crossing::run(args),
    }
}
