//! What several verbs know: the server and what it shall become, and how it gets there.

use std::path::PathBuf;

use clap::{Args, ValueEnum, builder::PossibleValuesParser};
use ferry_proto::v1::{PublishedPort, Renumber};

use super::values;
use crate::recipes::{Recipe, policy};

/// A server, and what it shall become.
#[derive(Debug, Clone, Args)]
pub struct Subject {
    /// The server's address, for example `docker:pmm-server`
    pub server: String,
    /// The image to become, for example `percona/pmm-server:3.8.1`
    #[arg(long, value_name = "IMAGE")]
    pub to: String,
    /// Go where the target policy refuses to, by the name of the rule; can be given more than once
    #[arg(long, value_name = "RULE", value_parser = PossibleValuesParser::new(policy::overrulable()))]
    pub allow_target: Vec<String>,
    /// Let `--to` name an image that moves, such as `:3`; the run uses the one of the plan, by its id
    #[arg(long)]
    pub allow_floating_tag: bool,
    /// What to do about Compose, where it made the container; without it such a container is left alone
    #[arg(long, value_enum, value_name = "HOW")]
    pub compose: Option<Compose>,
    /// What to do about a unit of systemd or a quadlet, where one makes the container; without it such a container is left alone
    #[arg(long, value_enum, value_name = "HOW")]
    pub unit: Option<Unit>,
}

/// Whether other versions come first.
#[derive(Debug, Clone, Copy, Args)]
pub struct Hopping {
    /// Go to the image in one go, without the versions that the target policy puts before it
    #[arg(long)]
    pub direct: bool,
}

/// How a container is carried over that a unit of systemd makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Unit {
    /// Stop the unit, change its files, and start it; they must be on this machine, and are kept beside as they were
    Edit,
}

/// How a container of Compose's is carried over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Compose {
    /// Make the container anew without Compose; the findings say what to change in its file
    ContainerOnly,
    /// The same, and change its file with it; the file must be on this machine, and is kept beside as it was
    Edit,
}

/// By which recipe.
#[derive(Debug, Clone, Copy, Args)]
pub struct Way {
    /// How the server becomes the other version
    #[arg(long, value_enum, default_value_t, value_name = "RECIPE")]
    pub recipe: Recipe,
}

/// Where the copy of the server's data goes.
#[derive(Debug, Clone, Args)]
pub struct Target {
    /// Make the backup in this folder of the engine's host, such as a mounted disk, instead of a new volume
    #[arg(long, value_name = "PATH", value_parser = values::folder)]
    pub backup_to: Option<String>,
}

/// What is done where the data is on no volume.
#[derive(Debug, Clone, Args)]
pub struct Layer {
    /// Where the data of a PMM 2 lies in the container itself: copy it to a new volume first, by a run of its own, and go on from there;
    /// by default the volume is called `<server>-data`
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "", value_parser = values::new_volume)]
    pub data_to_volume: Option<String>,
}

/// A server that comes from another machine, where it runs without a container.
#[derive(Debug, Clone, Default, Args)]
pub struct Onto {
    /// Where the PMM 2 on an AMI or a virtual appliance, whose agent is at the address given for the server, becomes a container first, by a
    /// run of its own: for example `docker:pmm-server`. Nothing of that name may be there; the volume is called `<name>-data` unless
    /// `--data-to-volume` says otherwise
    #[arg(long, value_name = "SERVER")]
    pub onto: Option<String>,
    /// The image of the very version that the old machine runs; by default it is found beside the one of `--to`
    #[arg(long, value_name = "IMAGE", requires = "onto")]
    pub from_image: Option<String>,
    /// A port to publish of that container, `[ADDRESS:]PORT:PORT`; can be given more than once; `443:443` by default
    #[arg(long, value_name = "PORTS", requires = "onto", value_parser = values::port)]
    pub publish: Vec<PublishedPort>,
    /// A user's number on the old machine, and in the image, where the names of both do not say it; can be given more than once
    #[arg(long, value_name = "OLD:NEW", requires = "onto", value_parser = values::renumber)]
    pub map_user: Vec<Renumber>,
    /// The same of a group
    #[arg(long, value_name = "OLD:NEW", requires = "onto", value_parser = values::renumber)]
    pub map_group: Vec<Renumber>,
}

/// A key that must go on working.
#[derive(Debug, Clone, Args)]
pub struct OwnKey {
    /// Try the API key in this file on the old server and on the new one; it is written down nowhere
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
}

/// How the live copy treats the server beside it.
#[derive(Debug, Clone, Copy, Args)]
pub struct Pace {
    /// Copy at most so many bytes a second while the server runs, for example `50M`
    #[arg(long, value_name = "SIZE", value_parser = values::rate)]
    pub io_limit: Option<u64>,
}

/// How long the new server gets. Large servers need more than the default.
#[derive(Debug, Clone, Copy, Args)]
pub struct Patience {
    /// Seconds until the new server must be ready; by default what fits the size of its data
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub ready_timeout: Option<u32>,
    /// Seconds until all that the old server had must be found again
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub compare_timeout: u32,
}
