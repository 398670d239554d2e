//! Verbs that carry a server over, or say what that would be.

use std::path::PathBuf;

use clap::Args;

use super::{
    OnFailure, Show,
    parts::{Hopping, Layer, Onto, OwnKey, Pace, Patience, Subject, Target, Way},
};

/// `ferryctl check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Which server, and what it shall become.
    #[command(flatten)]
    pub subject: Subject,
    /// By which recipe.
    #[command(flatten)]
    pub way: Way,
    /// By which versions.
    #[command(flatten)]
    pub hopping: Hopping,
    /// Where the backup would go.
    #[command(flatten)]
    pub target: Target,
    /// Where the data is on no volume.
    #[command(flatten)]
    pub layer: Layer,
    /// Where it comes from another machine.
    #[command(flatten)]
    pub onto: Onto,
    /// Also show a part that is long
    #[arg(long, value_enum, value_name = "PART")]
    pub show: Vec<Show>,
    /// A key to try.
    #[command(flatten)]
    pub own_key: OwnKey,
}

/// `ferryctl plan`.
#[derive(Debug, Args)]
pub struct MakePlan {
    /// Which server, and what it shall become.
    #[command(flatten)]
    pub subject: Subject,
    /// By which recipe.
    #[command(flatten)]
    pub way: Way,
    /// By which versions.
    #[command(flatten)]
    pub hopping: Hopping,
    /// Where the backup goes.
    #[command(flatten)]
    pub target: Target,
    /// Where the data is on no volume.
    #[command(flatten)]
    pub layer: Layer,
    /// Where it comes from another machine.
    #[command(flatten)]
    pub onto: Onto,
    /// How fast the live copy is.
    #[command(flatten)]
    pub pace: Pace,
    /// Where to write the plan
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Parallel jobs of one database dump
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub jobs: u32,
    /// How long the new server gets.
    #[command(flatten)]
    pub patience: Patience,
}

/// `ferryctl apply`.
#[derive(Debug, Args)]
pub struct Apply {
    /// The plan, as written by `ferryctl plan`
    pub plan: PathBuf,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// What a failed step leads to
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub on_failure: OnFailure,
    /// A key to try.
    #[command(flatten)]
    pub own_key: OwnKey,
}

/// `ferryctl rehearse`.
#[derive(Debug, Args)]
pub struct Rehearse {
    /// Which server, and what it shall become.
    #[command(flatten)]
    pub subject: Subject,
    /// By which recipe the crossing shall go.
    #[command(flatten)]
    pub way: Way,
    /// How fast the copy is made.
    #[command(flatten)]
    pub pace: Pace,
    /// Leave the new server running on the copy, to look at it
    #[arg(long)]
    pub keep: bool,
    /// Parallel jobs of one database dump
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub jobs: u32,
    /// How long the new server gets.
    #[command(flatten)]
    pub patience: Patience,
    /// A key to try.
    #[command(flatten)]
    pub own_key: OwnKey,
}

/// `ferryctl migrate`.
#[derive(Debug, Args)]
pub struct Migrate {
    /// Which server, and what it shall become.
    #[command(flatten)]
    pub subject: Subject,
    /// By which recipe.
    #[command(flatten)]
    pub way: Way,
    /// Go to this image first, and to no other that the target policy puts before it; can be given more than once, in the order to go
    #[arg(long, value_name = "IMAGE", conflicts_with = "direct")]
    pub via: Vec<String>,
    /// By which versions.
    #[command(flatten)]
    pub hopping: Hopping,
    /// Rehearse the crossing first, and go on only if that succeeded
    #[arg(long)]
    pub rehearse: bool,
    /// Where the backup goes.
    #[command(flatten)]
    pub target: Target,
    /// Where the data is on no volume.
    #[command(flatten)]
    pub layer: Layer,
    /// Where it comes from another machine.
    #[command(flatten)]
    pub onto: Onto,
    /// How fast the live copy is.
    #[command(flatten)]
    pub pace: Pace,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// What a failed step leads to
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub on_failure: OnFailure,
    /// Parallel jobs of one database dump
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub jobs: u32,
    /// How long the new server gets.
    #[command(flatten)]
    pub patience: Patience,
    /// A key to try.
    #[command(flatten)]
    pub own_key: OwnKey,
}
