//! Verbs about a run that was begun.

use clap::Args;

use super::{OnFailure, parts::OwnKey};

/// `ferryctl status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Which run; without it, every run that is not over
    pub run: Option<String>,
}

/// `ferryctl watch`.
#[derive(Debug, Args)]
pub struct Watch {
    /// Which run
    pub run: String,
}

/// `ferryctl resume`.
#[derive(Debug, Args)]
pub struct Resume {
    /// Which run; without it, the only one that is not over
    pub run: Option<String>,
    /// What a failed step leads to; without it, what the run was told when it was begun
    #[arg(long, value_enum, value_name = "WHAT")]
    pub on_failure: Option<OnFailure>,
    /// The old machine that the data was pulled from is gone for good: go on without asking whether it has served since
    #[arg(long)]
    pub origin_gone: bool,
    /// A key to try.
    #[command(flatten)]
    pub own_key: OwnKey,
}

/// `ferryctl rollback`.
#[derive(Debug, Args)]
pub struct Rollback {
    /// Which run
    pub run: String,
    /// Restore what the copy has, also where it is not what was copied: those files are named, and what was in them is lost
    #[arg(long)]
    pub accept_damaged_copy: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}
