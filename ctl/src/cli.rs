//! The command line, as types and nothing else: help, completion and what is accepted come from one
//! place, and no verb parses anything itself.

mod values;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum, builder::PossibleValuesParser};

use ferry_proto::v1::{PublishedPort, Renumber};

use crate::{
    connect::address::{AgentAddress, EngineChoice},
    recipes::{Recipe, policy},
};

const EXIT_CODES: &str = "\
Exit codes:
  0  what was asked for is done
  1  the run was rolled back, or the command failed and changed nothing
  2  the command line was not understood
  3  the check found blockers; nothing was changed
  4  the run is held where it is; a person must look
  5  the plan no longer fits the server, or was edited; nothing was changed";

/// Carries PMM 2 servers to PMM 3: plans, sequences, journals and reports
#[derive(Debug, Parser)]
#[command(name = "ferryctl", version, after_long_help = EXIT_CODES, propagate_version = true)]
pub struct Cli {
    /// What holds for every verb.
    #[command(flatten)]
    pub global: Global,
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every verb takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// What is printed on stdout
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORM")]
    pub output: Output,
    /// Whether to use colour; nothing is said by colour alone, and `NO_COLOR` is obeyed
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
    /// Say only what went wrong
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more; twice for the program's own log
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Where journals are kept
    #[arg(long, global = true, env = "FERRY_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// The folder with `ca.pem`, `cert.pem` and `key.pem`, for servers at `https://…`; `ferry/tls` in your configuration otherwise
    #[arg(long, global = true, env = "FERRY_TLS_DIR", value_name = "DIR")]
    pub tls: Option<PathBuf>,
    /// The static `ferryd` binary that agents are started from
    #[arg(long, global = true, env = "FERRY_AGENT_BINARY", value_name = "FILE")]
    pub agent_binary: Option<PathBuf>,
    /// The agent's image, for servers at `kubernetes:…`: one that the cluster can fetch (`cargo xtask image agent`)
    #[arg(long, global = true, env = "FERRY_AGENT_IMAGE", value_name = "IMAGE")]
    pub agent_image: Option<String>,
}

/// What is printed on stdout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Text,
    /// For programs: one JSON object a line
    Json,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What a failed step leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum OnFailure {
    /// Undo all steps, last first
    #[default]
    Rollback,
    /// Stop where it is, for a person to look
    Hold,
}

/// Parts of the check that are long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Show {
    /// What becomes of each environment variable
    Env,
    /// The API keys of every organisation
    Keys,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look at a server and say whether it can be migrated; changes nothing
    Check(Check),
    /// Make a plan that a person can read, keep and apply later; changes nothing
    Plan(MakePlan),
    /// Carry out a plan, if it still fits
    Apply(Apply),
    /// Check, plan and apply in one go
    Migrate(Migrate),
    /// Do the whole crossing on a copy, beside the server; the server goes on serving, unchanged
    Rehearse(Rehearse),
    /// Where a run stands
    Status(Status),
    /// Follow a run until it is over
    Watch(Watch),
    /// Go on with a run from its journal
    Resume(Resume),
    /// Undo a run, last step first
    Rollback(Rollback),
    /// List all runs
    Runs,
    /// Backups that runs have made: list, verify, restore, remove
    Backup {
        /// The engine that has them, where no run says it: `docker`, which is taken otherwise, `podman`, a host agent's `https://HOST:PORT`,
        /// `kubernetes:NAMESPACE`, or `kubernetes` for the namespace of the current context
        #[arg(long, global = true, value_parser = values::engine, value_name = "ENGINE")]
        engine: Option<EngineChoice>,
        /// What to do with them.
        #[command(subcommand)]
        command: BackupCommand,
    },
    /// Declare a completed crossing finished: removes what it kept for the way back
    Finish(Finish),
    /// List a server's clients: which version each runs, and what is to be done with it; or upgrade some
    Clients(Clients),
}

impl Command {
    /// The file with a key to try, for the verbs that can.
    #[must_use]
    pub fn api_key_file(&self) -> Option<&Path> {
        let own_key = match self {
            Self::Check(it) => &it.own_key,
            Self::Apply(it) => &it.own_key,
            Self::Migrate(it) => &it.own_key,
            Self::Rehearse(it) => &it.own_key,
            Self::Resume(it) => &it.own_key,
            _ => return None,
        };
        own_key.api_key_file.as_deref()
    }
}

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
    /// What a failed step leads to
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub on_failure: OnFailure,
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

/// `ferryctl clients`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Clients {
    /// The server's address, for example `docker:pmm-server`; either version of PMM
    #[arg(required = true)]
    pub server: Option<String>,
    /// What to do with them; without it they are listed.
    #[command(subcommand)]
    pub command: Option<ClientsCommand>,
}

/// What is done with a server's clients.
#[derive(Debug, Subcommand)]
pub enum ClientsCommand {
    /// Exchange the package of clients by the agents on their hosts, one after the other; back to the old one where the server does
    /// not hear the new one
    Upgrade(UpgradeClients),
}

/// `ferryctl clients upgrade`.
#[derive(Debug, Args)]
pub struct UpgradeClients {
    /// The agents on the clients' hosts (`ferryd client`), for example `https://db7.example.com:7651`
    #[arg(required = true, value_name = "HOST", value_parser = values::agent)]
    pub hosts: Vec<AgentAddress>,
    /// The server's address, for example `docker:pmm-server`
    #[arg(long)]
    pub server: String,
    /// The version to become; without it, the newest in the host's repositories that is not newer than the server
    #[arg(long, value_name = "VERSION")]
    pub to: Option<String>,
    /// The tarball to become, on the clients' hosts, where they were installed from one
    #[arg(long, value_name = "FILE")]
    pub package: Option<String>,
    /// Seconds that a client gets to be connected again
    #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(5..=3600))]
    pub timeout: u32,
    /// Ask nothing
    #[arg(long, short)]
    pub yes: bool,
    /// What a failed step leads to
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub on_failure: OnFailure,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, error::ErrorKind};

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_of_the_manual_is_accepted() {
        for line in [
            "ferryctl check docker:pmm-server --to percona/pmm-server:3.8.1 --show env",
            "ferryctl clients docker:pmm-server",
            "ferryctl clients upgrade https://db7:7651 https://db8:7651 --server docker:pmm-server --to 3.8.1 --yes",
            "ferryctl plan docker:pmm-server --to percona/pmm-server:3.8.1 --out plan.json",
            "ferryctl apply plan.json --yes --on-failure hold",
            "ferryctl migrate docker:pmm-server --to percona/pmm-server:3.8.1 --yes",
            "ferryctl migrate docker:pmm-server --to percona/pmm-server:3.8.1 --rehearse --yes",
            "ferryctl rehearse docker:pmm-server --to percona/pmm-server:3.8.1 --keep",
            "ferryctl status",
            "ferryctl status 7f3a9c21 --output json",
            "ferryctl watch 7f3a9c21 --color never",
            "ferryctl resume",
            "ferryctl resume 7f3a9c21 --on-failure rollback",
            "ferryctl rollback 7f3a9c21 --yes",
            "ferryctl migrate docker:p --to i:3.8.1 --backup-to /mnt/b --io-limit 50M --yes",
            "ferryctl check docker:p --to i:3.8.1 --backup-to /mnt/b",
            "ferryctl plan docker:p --to i:3.8.1 --out p --io-limit 800K",
            "ferryctl migrate docker:p --to i:3.8.1 --api-key-file /run/key --yes",
            "ferryctl apply plan.json --api-key-file /run/key",
            "ferryctl check docker:p --to i:3.8.1 --data-to-volume",
            "ferryctl plan docker:p --to i:3.8.1 --data-to-volume pmm-data --out p",
            "ferryctl migrate docker:p --data-to-volume --to i:3.8.1 --yes",
            "ferryctl resume 7f3a9c21 --api-key-file /run/key",
            "ferryctl check https://old:7650 --onto docker:pmm-server --to i:3.8.1",
            "ferryctl migrate https://old:7650 --onto docker:p --to i:3.8.1 --from-image i:2.44.1 --publish 443:443 --publish 127.0.0.1:80:80 --map-user 1000:994 --yes",
            "ferryctl plan https://old:7650 --onto https://new:7650/p --to i:3.8.1 --data-to-volume pmm-data --out p",
            "ferryctl plan docker:p --to i:3.7.0 --allow-target target-3-7-0 --out p",
            "ferryctl rehearse docker:p --to i:3 --allow-floating-tag --allow-target target-postgres-upgrade",
            "ferryctl backup list --output json",
            "ferryctl backup verify 7f3a9c21",
            "ferryctl backup --engine kubernetes:monitoring list",
            "ferryctl backup prune --engine kubernetes --yes",
            "ferryctl backup restore 7f3a9c21 --into pmm-old",
            "ferryctl backup prune --older-than 30d --keep 2 --orphans --yes",
            "ferryctl finish 7f3a9c21 --remove-backup --yes",
            "ferryctl runs -q --state-dir /var/lib/ferry --agent-binary /usr/lib/ferry/ferryd",
        ] {
            parse(line).unwrap();
        }
    }

    #[test]
    fn what_is_missing_or_contradicts_is_an_error_of_usage() {
        for (line, kind) in [
            (
                "ferryctl check docker:pmm-server",
                ErrorKind::MissingRequiredArgument,
            ),
            ("ferryctl rollback", ErrorKind::MissingRequiredArgument),
            (
                "ferryctl runs --quiet --verbose",
                ErrorKind::ArgumentConflict,
            ),
            ("ferryctl runs --output yaml", ErrorKind::InvalidValue),
            (
                "ferryctl plan docker:p --to i:3.8.1 --out p --jobs 0",
                ErrorKind::ValueValidation,
            ),
            (
                "ferryctl migrate docker:p --to i:3.8.1 --backup-to mnt/b",
                ErrorKind::ValueValidation,
            ),
            (
                "ferryctl migrate docker:p --to i:3.8.1 --io-limit fast",
                ErrorKind::ValueValidation,
            ),
            (
                "ferryctl migrate --data-to-volume docker:p --to i:3.8.1",
                ErrorKind::ValueValidation,
            ),
            (
                "ferryctl migrate https://old:7650 --to i:3.8.1 --publish 443:443",
                ErrorKind::MissingRequiredArgument,
            ),
            (
                "ferryctl migrate https://old:7650 --onto docker:p --to i:3.8.1 --publish 443",
                ErrorKind::ValueValidation,
            ),
            (
                "ferryctl rehearse docker:p --to i:3.8.1 --data-to-volume",
                ErrorKind::UnknownArgument,
            ),
            (
                "ferryctl migrate docker:p --to i:3.8.1 --recipe pmm-move-data",
                ErrorKind::InvalidValue,
            ),
            (
                "ferryctl check docker:p --to i:3.13.0 --allow-target target-too-new",
                ErrorKind::InvalidValue,
            ),
            (
                "ferryctl backup prune --older-than 30",
                ErrorKind::ValueValidation,
            ),
            (
                "ferryctl backup",
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
            ),
            ("ferryctl backup verify", ErrorKind::MissingRequiredArgument),
            ("ferryctl finish", ErrorKind::MissingRequiredArgument),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.kind(), kind, "{line}");
            assert_eq!(
                error.exit_code(),
                i32::from(crate::exit::Exit::Usage.code())
            );
        }
    }

    #[test]
    fn the_long_help_has_the_exit_codes() {
        let help = Cli::command().term_width(80).render_long_help().to_string();
        insta::assert_snapshot!(help);
    }
}
