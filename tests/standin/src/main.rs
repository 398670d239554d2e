//! The programs of a PMM server, stood in for.
//!
//! No PMM image can be had where the tests run, and a migration that was only ever tried on mocks is worth little. So the images of
//! `tests/images` run the real supervisord, PostgreSQL and nginx, and this one binary in the place of everything else. It is called
//! by the names of the programs it stands for. What it does is written down in `facts/pmm.md`; what it invents (its file formats,
//! the `STANDIN_*` variables, the addresses under `/standin/`) the tool under test must never look at.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "these programs log to their standard streams, as those they stand for do"
)]

mod clickhouse;
mod environment;
mod files;
mod grafana;
mod http;
mod init;
mod managed;
mod metrics;
mod pg;
mod product;
mod qan;
mod run;
mod simple;
mod supervisor;

use std::path::Path;
use std::process::ExitCode;

/// A stand-in tells its log what went wrong and ends: nobody looks further into its errors.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let called = arguments.next().unwrap_or_default();
    let mut name = Path::new(&called)
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    if name == "standin" {
        name = arguments.next().unwrap_or_default();
    }
    match run(&name) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("FATAL: {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(name: &str) -> Result<()> {
    match name {
        "pmm-managed" => managed::main().await,
        "pmm-managed-init" => environment::main(),
        "pmm-init" => init::main().await,
        "grafana" => grafana::main().await,
        "victoriametrics" => metrics::main().await,
        "clickhouse-server" => clickhouse::main().await,
        "percona-qan-api2" => qan::main().await,
        "vmalert" | "vmproxy" | "alertmanager" | "pmm-agent" => simple::main(name).await,
        "seed-files" => files::main(),
        other => Err(format!("no program of that name: {other:?}").into()),
    }
}
