//! The project's own commands, so that nobody has to remember how it is built, tested and shown.
//!
//! `cargo xtask setup` makes a fresh Debian machine ready, `cargo xtask test` is the whole gate, and the others build,
//! package, show and measure. None of it is part of what is shipped: what `ferryctl` and `ferryd` do, they do themselves.

mod bench;
mod build;
mod demo;
mod deny;
mod docker;
mod doubles;
mod elf;
mod error;
mod fuzz;
mod http;
mod image;
mod place;
mod say;
mod settle;
mod setup;
mod sh;
mod stage;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Result;

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make this Debian machine ready: packages, container engine
    Setup,
    /// Run the whole gate, or the tests whose names contain FILTER
    Test(test::Args),
    /// Run the fuzz targets, or the one called TARGET
    Fuzz(fuzz::Args),
    /// Build the static `ferryd` and `ferryctl`, and print where they are
    Build(build::Args),
    /// Build a container image
    Image(image::Args),
    /// Carry a server with data from PMM 2 to PMM 3, on this machine, and prove the result
    Demo(demo::Args),
    /// Measure
    #[command(subcommand)]
    Bench(bench::Bench),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Setup => setup::run(),
        Command::Test(args) => test::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Image(args) => image::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(bench) => bench::run(&bench),
    }
}
