//! The whole gate, cheapest first.
//!
//! What is compiled how often decides its length. `clippy` and `doc` share the metadata of all dependencies, unit tests, doc
//! tests and end-to-end tests share their code: both only because every call names the whole workspace, so that the
//! features come out the same. The static programs are a third build, in a folder of their own. `cargo-deny` is built beside
//! all that, and asked last.

use std::time::Duration;

use crate::build::{self, Profile};
use crate::deny::Deny;
use crate::error::{Error, Result};
use crate::sh::{Tool, which};
use crate::stage::Stages;
use crate::{doubles, fuzz, say, setup};

/// `cargo xtask test`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also the tests that are ignored by default because they take long, and each fuzz target for a minute
    #[arg(long)]
    all: bool,
    /// Only tests whose names contain this; nothing but tests is run then
    filter: Option<String>,
}

const SHORT: Duration = Duration::from_secs(5 * 60);
/// How long each fuzz target runs.
const FUZZ_SECONDS: u64 = 60;
const LONG: Duration = Duration::from_secs(30 * 60);
/// The longest stage: most of it is servers that start and stop, on a slow machine three times as long as on a quick one.
const END_TO_END: Duration = Duration::from_secs(55 * 60);
/// With everything that is ignored by default: the whole crash matrix is thousands of crossings, some hundred of them on an engine that nobody else can use.
const ALL: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs the stages until one fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut stages = Stages::default();
    let result = match &args.filter {
        Some(_) => tests(&mut stages, args),
        None => gate(&mut stages, args),
    };
    say::line(stages.table());
    result
}

fn gate(stages: &mut Stages, args: &Args) -> Result<()> {
    stages.run(
        "format",
        SHORT,
        &Tool::cargo().args(["fmt", "--all", "--check"]),
    )?;
    let mut deny = Deny::find_or_build()?;
    let result = behind_format(stages, args, &mut deny);
    deny.give_up();
    result
}

fn behind_format(stages: &mut Stages, args: &Args, deny: &mut Deny) -> Result<()> {
    fuzz::check_lock(stages)?;
    let clippy = [
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    stages.run("clippy", LONG, &Tool::cargo().args(clippy))?;
    let doc = Tool::cargo()
        .args([
            "doc",
            "--locked",
            "--workspace",
            "--no-deps",
            "--document-private-items",
        ])
        .env("RUSTDOCFLAGS", "-D warnings");
    stages.run("documentation", LONG, &doc)?;
    let doctests = Tool::cargo().args(["test", "--locked", "--workspace", "--doc"]);
    if args.all {
        // Minutes, before hours.
        fuzz::all(stages, FUZZ_SECONDS)?;
    }
    tests(stages, args)?;
    stages.run("documentation tests", LONG, &doctests)?;
    stages.timed("cargo-deny is there", || deny.check().map(drop))?;
    stages.run("licences, bans, sources", SHORT, &deny.check()?)
}

/// Everything that tests: units first, end to end last.
fn tests(stages: &mut Stages, args: &Args) -> Result<()> {
    stages.timed("setup", setup::run)?;
    let units = with_root(runner(&["--lib", "--bins"], args))?;
    stages.run("unit tests", LONG, &units)?;
    stages.run("static programs", LONG, &build::tool(Profile::Fast)?)?;
    let binaries = build::binaries(Profile::Fast)?;
    stages.run("images of the doubles", LONG, &doubles::ensure_tool())?;
    let end_to_end = with_root(side_by_side(runner(&["--test", "*"], args)))?
        .env("FERRYCTL", &binaries.ferryctl)
        .env("FERRYD", &binaries.ferryd);
    stages.run(
        "end-to-end tests",
        if args.all { ALL } else { END_TO_END },
        &end_to_end,
    )
}

/// Who is not root has the tests run by `sudo`: those of owners, immutable files, mounts and kills try nothing otherwise, and would pass.
fn with_root(tool: Tool) -> Result<Tool> {
    if crate::sh::is_root()? {
        return Ok(tool);
    }
    if which("sudo").is_none() {
        return Err(Error::with_hint(
            "the tests need root, and there is no `sudo`",
            "run the command again as root",
        ));
    }
    let target = format!("{}_UNKNOWN_LINUX_GNU", std::env::consts::ARCH).to_uppercase();
    Ok(tool.env(
        format!("CARGO_TARGET_{target}_RUNNER"),
        "sudo --preserve-env",
    ))
}

/// Two tests more than there are cores: a good part of each is spent waiting for a server to start or to stop.
fn side_by_side(tool: Tool) -> Tool {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    tool.env("NEXTEST_TEST_THREADS", (cores + 2).to_string())
}

/// Nextest where it is installed, as it runs the tests of different programs side by side; else cargo's own.
fn runner(targets: &[&str], args: &Args) -> Tool {
    let filter = args.filter.as_deref();
    if which("cargo-nextest").is_some() {
        let tool = Tool::cargo().args([
            "nextest",
            "run",
            "--locked",
            "--workspace",
            "--no-tests",
            "pass",
            "--no-fail-fast",
        ]);
        let tool = if args.all {
            tool.args(["--run-ignored", "all"])
        } else {
            tool
        };
        return tool.args(targets).args(filter);
    }
    let tool = Tool::cargo()
        .args(["test", "--locked", "--workspace", "--no-fail-fast"])
        .args(targets);
    let tool = tool.args(filter);
    if args.all {
        tool.args(["--", "--include-ignored"])
    } else {
        tool
    }
}

#[cfg(test)]
mod tests {
    use super::{Args, runner};

    #[test]
    fn the_filter_reaches_the_tests() {
        let args = Args {
            all: false,
            filter: Some("ledger".into()),
        };
        let shown = runner(&["--lib"], &args).shown();
        assert!(shown.ends_with("--lib ledger"), "{shown}");
    }

    #[test]
    fn slow_tests_run_only_when_asked_for() {
        let some = runner(
            &["--lib"],
            &Args {
                all: false,
                filter: None,
            },
        )
        .shown();
        let all = runner(
            &["--lib"],
            &Args {
                all: true,
                filter: None,
            },
        )
        .shown();
        assert!(!some.contains("ignored"), "{some}");
        assert!(all.contains("ignored"), "{all}");
    }
}
