//! `ferryctl`: parse, resolve, run, exit.

use clap::Parser as _;
use ferry_ctl::{
    cli::Cli,
    commands,
    exit::Exit,
    report::{Printer, Settings, Surroundings},
};
use tracing_subscriber::EnvFilter;

fn main() -> Exit {
    let cli = Cli::parse();
    let settings = Settings::resolve(&cli.global, Surroundings::observe());
    let printer = Printer::new(settings);
    // Steps tell what they do by events; the log is for those who look for a fault.
    let level = if cli.global.verbose > 1 {
        "debug"
    } else {
        "error"
    };
    let filter = EnvFilter::try_from_env("FERRY_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("cannot start: {error}");
            return Exit::RolledBack;
        }
    };
    let exit = runtime.block_on(commands::run(cli, printer));
    // Host steps that were told to stop have had their time; the journal holds what they did.
    runtime.shutdown_background();
    exit
}
