//! The command line of `ferryd`. A sidecar is started with these words by the host agent; a person
//! types them in a unit file or a supervisor's configuration.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::{
    pull::{Address, Renumber},
    tree::Owner,
};

/// Ferry's agent: performs the privileged steps of a migration, where the data is.
#[derive(Debug, Parser)]
#[command(name = "ferryd", version, about, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `ferryd` can be started as.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve beside a server's processes, sharing its PID and network namespaces and its volumes
    Sidecar(Serve),
    /// Serve with the server's volumes only, also while the server is down
    Volume(Serve),
    /// Serve in a container of the server's own image, with a copy of its data, while the server runs elsewhere
    Workshop(Serve),
    /// Serve inside the server's own container or machine, as a program of its supervisor
    Inside(Serve),
    /// Serve beside a container engine, for controllers on other machines that have a certificate
    Host(ServeHost),
    /// Serve on the host of a PMM client, for controllers on other machines that have a certificate
    Client(Remote),
    /// Serve on a machine that a server runs on without a container, for callers on other machines that have a certificate
    Appliance(ServeAppliance),
    /// Bring the data of such a server here, while it runs and once more when it has stopped
    Pull(Pull),
    /// Make, look at or remove a backup's own folder; what the host agent starts with the folder above it at `/target`
    #[command(hide = true)]
    Folder {
        /// What to do
        #[command(subcommand)]
        act: FolderAct,
    },
    /// Copy this program to a folder; what a cluster's pod begins with to look at an image
    #[command(hide = true)]
    Install {
        /// The folder
        folder: PathBuf,
    },
    /// Write to a file what the image is that this program was put into; what such a pod goes on with
    #[command(hide = true)]
    Describe {
        /// The file, which is there
        answer: PathBuf,
    },
    /// Ask the agent behind a socket to end; what a cluster's host agent starts beside an agent that cannot be removed
    #[command(hide = true)]
    End {
        /// The socket
        socket: PathBuf,
    },
    /// Copy standard input and output to an agent's socket; what the host agent's tunnel starts
    #[command(hide = true)]
    Dial {
        /// The socket
        socket: PathBuf,
    },
}

/// What is done in the folder at `/target`; the answer is one line of JSON.
#[derive(Debug, Subcommand)]
pub enum FolderAct {
    /// Say what it can do; the server's data is at `/data`
    Look,
    /// Make a folder in it that is a run's own
    Make {
        /// The folder's name
        name: String,
        /// The run
        run: String,
        /// The user namespace that the owners in it are seen from, where it is not the engine's default
        ids: Option<String>,
    },
    /// Say whether a run's own folder is in it
    Find {
        /// The folder's name
        name: String,
    },
    /// Remove a run's own folder with all in it
    Remove {
        /// The folder's name
        name: String,
        /// The run
        run: String,
    },
}

/// How to serve.
#[derive(Debug, Args)]
pub struct Serve {
    /// The socket to listen on; its folder is made when it is missing
    #[arg(long, default_value = "/run/ferry/agent.sock")]
    pub socket: PathBuf,
    /// The server's data
    #[arg(long, default_value = "/srv")]
    pub data: PathBuf,
    /// Where the copy of the data is kept (`volume`)
    #[arg(long, default_value = "/backup")]
    pub backup: PathBuf,
    /// The folder that this agent's state is kept in, when it is not the server's data
    #[arg(long)]
    pub state: Option<PathBuf>,
    /// The data of the running server, mounted read-only (`workshop`)
    #[arg(long, default_value = "/live")]
    pub live: PathBuf,
    /// The name this agent has in the server's own supervisor, so that it does not stop itself (`inside`)
    #[arg(long, default_value = "ferryd")]
    pub own_program: String,
    /// A kind of step that may be performed; without any, all may
    #[arg(long, value_name = "KIND")]
    pub allow_step: Vec<String>,
}

/// How callers on other machines reach the agent, and what bounds them.
#[derive(Debug, Args)]
pub struct Remote {
    /// The address to listen on, for example `0.0.0.0:7650`
    #[arg(long)]
    pub listen: SocketAddr,
    /// The folder with `ca.pem`, `cert.pem` and `key.pem`
    #[arg(long, value_name = "DIR", default_value = "/etc/ferry/tls")]
    pub tls: PathBuf,
    /// Who may call, and what they may have done
    #[arg(long, value_name = "FILE", default_value = "/etc/ferry/policy.json")]
    pub policy: PathBuf,
    /// The folder for the ledger and for what the way back needs; never in a server's data
    #[arg(long, value_name = "DIR", default_value = "/var/lib/ferry")]
    pub state: PathBuf,
}

/// How to serve beside a container engine.
#[derive(Debug, Args)]
pub struct ServeHost {
    /// How it is reached
    #[command(flatten)]
    pub remote: Remote,
    /// The engine: the one that the `docker` client would use, or this user's Podman
    #[arg(long, value_enum, default_value_t)]
    pub engine: EngineName,
    /// The static `ferryd` that agents in containers are made of; this program when it is not named
    #[arg(long, value_name = "FILE")]
    pub agent_binary: Option<PathBuf>,
}

/// How to serve on a server's own machine.
#[derive(Debug, Args)]
pub struct ServeAppliance {
    /// How it is reached
    #[command(flatten)]
    pub remote: Remote,
    /// The server's data, of which nothing is changed by being read
    #[arg(long, value_name = "DIR", default_value = "/srv")]
    pub data: PathBuf,
}

/// What to bring here.
#[derive(Debug, Clone, Args)]
pub struct Pull {
    /// The agent on the server's machine, by the name in its certificate: https://HOST:PORT
    pub from: Address,
    /// The folder that becomes what the data is there; what it has beside that is removed
    #[arg(long, value_name = "DIR")]
    pub into: PathBuf,
    /// The folder with `ca.pem`, `cert.pem` and `key.pem`
    #[arg(long, value_name = "DIR", default_value = "/etc/ferry/tls")]
    pub tls: PathBuf,
    /// Pull, have the server's programs stopped, pull what changed, and prove all of it; where that fails the programs start again
    #[arg(long)]
    pub stop: bool,
    /// The server's programs have been stopped by hand: pull what changed, and prove all of it
    #[arg(long, conflicts_with = "stop")]
    pub r#final: bool,
    /// Pull nothing: have the programs that `--stop` has stopped started again
    #[arg(long, conflicts_with_all = ["stop", "final"])]
    pub start_again: bool,
    /// Whom everything belongs to when it is proven, as numbers: 1000:0 for PMM 3
    #[arg(long, value_name = "UID:GID")]
    pub owner: Option<Owner>,
    /// A user's number there, and the number of the same user here; may be given several times
    #[arg(long, value_name = "OLD:NEW", conflicts_with = "owner")]
    pub map_user: Vec<Renumber>,
    /// The same of a group
    #[arg(long, value_name = "OLD:NEW", conflicts_with = "owner")]
    pub map_group: Vec<Renumber>,
    /// At most so many bytes of content a second, while the server runs
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub io_limit: Option<u64>,
}

/// Which engine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineName {
    /// The engine that the `docker` client would use
    #[default]
    Docker,
    /// This user's Podman
    Podman,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_words_fit_together() {
        Arguments::command().debug_assert();
        let parse = |words: &str| Arguments::try_parse_from(words.split_whitespace());
        let from = "ferryd pull https://old.example.com:7650 --into /v";
        for fine in [
            "",
            "--final --owner 1000:0",
            "--stop --map-user 994:998 --map-user 26:26 --map-group 990:0 --io-limit 1000000",
            "--start-again --tls /t",
        ] {
            let parsed = parse(&format!("{from} {fine}"));
            assert!(parsed.is_ok(), "{fine}: {:?}", parsed.err());
        }
        for odd in [
            "--stop --final",
            "--stop --start-again",
            "--owner pmm:pmm",
            "--owner 1000:0 --map-user 1:2",
            "--map-group 1",
            "--io-limit 0",
        ] {
            assert!(parse(&format!("{from} {odd}")).is_err(), "{odd}");
        }
        assert!(parse("ferryd pull https://old.example.com --into /v").is_err());
        assert!(parse("ferryd appliance --listen 0.0.0.0:7650").is_ok());
        assert!(parse("ferryd appliance").is_err());
    }
}
