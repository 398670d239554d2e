//! Verbs about a server's clients.

use clap::{Args, Subcommand};

use super::{OnFailure, values};
use crate::connect::address::AgentAddress;

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
