//! The backup's two passes against `cp -a`: what the live pass takes beside a server, and what the final one adds to the downtime.

use std::path::PathBuf;

use crate::build::{self, Profile};
use crate::error::Result;
use crate::place;
use crate::settle;
use crate::sh::Tool;

/// `cargo xtask bench backup` and `cargo xtask bench restore`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files of the tree
    #[arg(long, default_value_t = 300_000)]
    files: u64,
    /// Bytes in these files, in MiB
    #[arg(long, default_value_t = 3072)]
    mib: u64,
    /// How often each side is measured; the middle one counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// A folder on the file system to measure, missing or empty
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Leave the caches as they are
    #[arg(long)]
    warm: bool,
    /// Measure what is built quickly instead of what is shipped
    #[arg(long)]
    fast: bool,
}

/// The parts that make few files while they are measured.
const GROWTH: [&str; 2] = ["growth", "files"];

/// Measures both passes and the proof, then the final pass with ten times the bytes, and with ten times the files.
pub(crate) fn run(args: &Args) -> Result<()> {
    let parts = ["backup", GROWTH[0], GROWTH[1]];
    // What one misses says nothing of the next.
    parts.map(|name| part(args, name)).into_iter().collect()
}

/// Measures one part of what the agent's example can.
pub(super) fn part(args: &Args, name: &str) -> Result<()> {
    let program = build::example("backup", Profile::of(!args.fast))?;
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => place::target()?.join("bench-backup"),
    };
    let mut tool = Tool::new(program).arg(dir).args(["--part", name]);
    for (flag, value) in [
        ("--files", args.files),
        ("--mib", args.mib),
        ("--rounds", args.rounds.into()),
    ] {
        tool = tool.arg(flag).arg(value.to_string());
    }
    if args.warm {
        tool = tool.arg("--warm");
    }
    if !GROWTH.contains(&name) {
        settle::wait()?;
    }
    // Owners and caches are root's affair.
    let shown = tool.with_root()?.show();
    settle::removed()?;
    shown
}
