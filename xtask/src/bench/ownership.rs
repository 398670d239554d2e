//! The transfer of owners on a tree of a million entries, against `chown -R`.
//!
//! The work is done by one of the agent's own measuring programs: it calls what the agent's step calls.

use std::path::PathBuf;

use crate::build::{self, Profile};
use crate::error::Result;
use crate::place;
use crate::sh::Tool;

/// `cargo xtask bench ownership`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the trees are made, on the file system to be measured; in the target folder by default
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Folders, with 25 files each
    #[arg(long, default_value_t = 40_000)]
    folders: u32,
    /// How often each way is taken; the best time counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// Leave out what needs the machine's page cache to be dropped
    #[arg(long)]
    warm: bool,
    /// Measure what is built quickly instead of what is shipped
    #[arg(long)]
    fast: bool,
}

/// Measures; the program prints its table as it goes.
pub(crate) fn run(args: &Args) -> Result<()> {
    let program = build::example("ownership", Profile::of(!args.fast))?;
    let ours = place::ours("bench-ownership")?;
    let tool = Tool::new(&program)
        .arg(args.dir.as_ref().unwrap_or(&ours))
        .args(["--folders", &args.folders.to_string()])
        .args(["--rounds", &args.rounds.to_string()]);
    let result = if args.warm { tool } else { tool.arg("--cold") }
        .with_root()?
        .show();
    if args.dir.is_none() {
        fs_err::remove_dir_all(&ours)?;
    }
    result
}
