//! Verbs about what a crossing has kept.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::values;

/// `ferryctl backup`.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Which backups this engine has, of which run, and whether they are still needed
    List,
    /// Compare a backup with its manifest, every byte of it; the server is not disturbed
    Verify(Verify),
    /// Make a new volume of a backup, or a new claim; never over live data
    Restore(Restore),
    /// Remove backups that are not needed any more
    Prune(Prune),
}

/// `ferryctl backup verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The run that made the backup
    pub run: String,
}

/// `ferryctl backup restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// The run that made the backup
    pub run: String,
    /// The new volume, or claim in the backup's namespace; by default `<data volume>-restored-<run>`
    #[arg(long, value_name = "VOLUME")]
    pub into: Option<String>,
}

/// `ferryctl backup prune`.
#[derive(Debug, Args)]
pub struct Prune {
    /// Only those that are older, for example `30d`
    #[arg(long, value_name = "AGE", value_parser = values::age)]
    pub older_than: Option<Duration>,
    /// Keep the newest so many of each server
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub keep: usize,
    /// Also those that no journal here knows
    #[arg(long)]
    pub orphans: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// `ferryctl finish`.
#[derive(Debug, Args)]
pub struct Finish {
    /// The run that carried the server over
    pub run: String,
    /// Remove the backup too
    #[arg(long)]
    pub remove_backup: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}
