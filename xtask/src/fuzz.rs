//! The fuzz targets of `fuzz/`: built with the compiler's own coverage instrumentation, and run a while.
//!
//! The flags are those of `cargo fuzz` without the address sanitizer: it needs a nightly compiler, and there is no unsafe
//! code of ours for it to watch. What is looked for are panics, overflows, endless work and broken promises.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::sh::Tool;
use crate::stage::Stages;
use crate::{build, place, say};

/// `cargo xtask fuzz`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this target; all of them when it is absent
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// A target and where its first inputs come from: files that the tests pin, or a folder of `fuzz/seeds`.
struct Target {
    name: &'static str,
    stage: &'static str,
    seeds: &'static [&'static str],
}

const TARGETS: [Target; 7] = [
    Target {
        name: "environment",
        stage: "fuzz: environment",
        seeds: &["fuzz/seeds/environment"],
    },
    Target {
        name: "ledger",
        stage: "fuzz: ledger",
        seeds: &["agent/src/ledger/v1.ledger"],
    },
    Target {
        name: "manifest",
        stage: "fuzz: manifest",
        seeds: &["agent/src/tree/tests/copy-v1.manifest"],
    },
    Target {
        name: "plan",
        stage: "fuzz: plan",
        seeds: &["proto/src/digest/plan-v1.json"],
    },
    Target {
        name: "record",
        stage: "fuzz: record",
        seeds: &["agent/src/tree/tests/owners-v1.record"],
    },
    Target {
        name: "told",
        stage: "fuzz: told",
        seeds: &["fuzz/seeds/told"],
    },
    Target {
        name: "xmlrpc",
        stage: "fuzz: xmlrpc",
        seeds: &["fuzz/seeds/xmlrpc"],
    },
];

const LOCK_LIMIT: Duration = Duration::from_secs(5 * 60);
const BUILD_LIMIT: Duration = Duration::from_secs(45 * 60);
/// An input that takes longer than this hangs.
const INPUT_SECONDS: u64 = 10;
const PROFILE: &str = "fuzz";

/// Builds the targets and runs them.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut stages = Stages::default();
    let result = stages_of(&mut stages, args.target.as_deref(), args.seconds);
    say::line(stages.table());
    result
}

/// The same as stages of something larger: every target, this long.
pub(crate) fn all(stages: &mut Stages, seconds: u64) -> Result<()> {
    stages_of(stages, None, seconds)
}

/// That the targets' own lock file fits what they depend on: they are built in the long run only, which would be the first to tell.
pub(crate) fn check_lock(stages: &mut Stages) -> Result<()> {
    let manifest = place::root()?.join("fuzz/Cargo.toml");
    let tree = Tool::cargo()
        .args(["tree", "--locked", "--manifest-path"])
        .arg(manifest);
    stages.run("fuzz: lock file", LOCK_LIMIT, &tree)
}

fn stages_of(stages: &mut Stages, only: Option<&str>, seconds: u64) -> Result<()> {
    let wanted: Vec<&Target> = TARGETS
        .iter()
        .filter(|target| only.is_none_or(|name| name == target.name))
        .collect();
    if wanted.is_empty() {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        return Err(Error::with_hint(
            format!("no fuzz target is called `{}`", only.unwrap_or_default()),
            format!("one of: {}", names.join(", ")),
        ));
    }
    stages.run("fuzz targets", BUILD_LIMIT, &build_tool()?)?;
    for target in wanted {
        let tool = run_tool(target, seconds)?;
        let limit = Duration::from_secs(seconds + 120);
        if let Err(error) = stages.run(target.stage, limit, &tool) {
            let found = folder(target.name, "found")?;
            say::line(format!(
                "the input that did it is in {}: put it into a test beside the code, then mend the code",
                found.display()
            ));
            return Err(error);
        }
    }
    Ok(())
}

fn target_dir() -> Result<PathBuf> {
    Ok(place::target()?.join("fuzz"))
}

fn build_tool() -> Result<Tool> {
    let mut flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    for flag in [
        "-Cpasses=sancov-module",
        "-Cllvm-args=-sanitizer-coverage-level=4",
        "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
        "-Cllvm-args=-sanitizer-coverage-pc-table",
        "-Cllvm-args=-sanitizer-coverage-trace-compares",
        "--cfg fuzzing",
        "-Ccodegen-units=1",
    ] {
        flags.push(' ');
        flags.push_str(flag);
    }
    // With an explicit target the flags leave build scripts and macros alone, which have no fuzzer to report to.
    Ok(Tool::cargo()
        .env("RUSTFLAGS", flags.trim())
        .args(["build", "--locked", "--bins", "--profile", PROFILE])
        .args(["--target", &build::triple()?, "--manifest-path"])
        .arg(place::root()?.join("fuzz/Cargo.toml"))
        .arg("--target-dir")
        .arg(target_dir()?))
}

/// A folder of one target; what it learnt is kept from one run to the next.
fn folder(target: &str, what: &str) -> Result<PathBuf> {
    place::ours(&format!("fuzz/{target}/{what}"))
}

fn run_tool(target: &Target, seconds: u64) -> Result<Tool> {
    let corpus = folder(target.name, "corpus")?;
    for seed in target.seeds {
        plant(&place::root()?.join(seed), &corpus)?;
    }
    let program = target_dir()?.join(build::triple()?).join(PROFILE);
    // A slash at its end makes it a folder for what is found.
    let found = folder(target.name, "found")?.join("");
    Ok(Tool::new(program.join(target.name))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_SECONDS}"))
        .args([
            "-max_len=16384",
            "-rss_limit_mb=2048",
            "-print_final_stats=1",
        ])
        .arg(format!("-artifact_prefix={}", found.display()))
        .arg(corpus))
}

/// Copies a seed, or a folder of them, into the corpus.
fn plant(seed: &Path, corpus: &Path) -> Result<()> {
    let files = if seed.is_dir() {
        fs_err::read_dir(seed)?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<Vec<_>>>()?
    } else {
        vec![seed.to_path_buf()]
    };
    for file in files {
        let name = file
            .file_name()
            .ok_or_else(|| Error::new(format!("`{}` has no name", file.display())))?;
        fs_err::copy(&file, corpus.join(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_known_here_and_has_seeds() {
        let root = place::root().unwrap();
        let mut files: Vec<String> = fs_err::read_dir(root.join("fuzz/targets"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let known: Vec<String> = TARGETS.iter().map(|t| format!("{}.rs", t.name)).collect();
        assert_eq!(files, known);
        for seed in TARGETS.iter().flat_map(|target| target.seeds) {
            assert!(root.join(seed).exists(), "{seed}");
        }
    }

    #[test]
    fn a_target_that_is_none_is_refused_with_those_that_are() {
        let error = stages_of(&mut Stages::default(), Some("nothing"), 1).unwrap_err();
        assert!(error.to_string().contains("nothing"));
    }
}
