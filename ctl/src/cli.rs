//! The command line, as types and nothing else: help, completion and what is accepted come from one
//! place, and no verb parses anything itself.

mod clients;
mod crossing;
mod parts;
mod runs;
mod upkeep;
mod values;

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::connect::address::EngineChoice;

pub use clients::{Clients, ClientsCommand, UpgradeClients};
pub use crossing::{Apply, Check, MakePlan, Migrate, Rehearse};
pub use parts::{
    Compose, Hopping, Layer, Onto, OwnKey, Pace, Patience, Subject, Target, Unit, Way,
};
pub use runs::{Resume, Rollback, Status, Watch};
pub use upkeep::{BackupCommand, Finish, Prune, Restore, Verify};

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

#[cfg(test)]
mod tests;
