//! What the agent costs where it runs: memory when idle, time until it answers, size on disk and as an image.
//!
//! Measured with the binary that is shipped. The program that measures is one of the tests' own, because it has a client of the API.

use crate::build::{self, Profile};
use crate::error::{Error, Result};
use crate::sh::Tool;
use crate::{docker, image, say};

/// What the image is called while it is measured.
const IMAGE: &str = "ferry-bench-agent";

/// `cargo xtask bench agent`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often the agent is started
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Measure the quickly built binary instead of the one that is shipped
    #[arg(long)]
    fast: bool,
}

/// Measures, and prints a table.
pub(crate) fn run(args: &Args) -> Result<()> {
    let binaries = build::ensure(Profile::of(!args.fast))?;
    let text = Tool::cargo()
        .args([
            "run",
            "--quiet",
            "--locked",
            "-p",
            "ferry-tests",
            "--bin",
            "agent-figures",
            "--",
        ])
        .arg(args.rounds.to_string())
        .env("FERRYCTL", &binaries.ferryctl)
        .env("FERRYD", &binaries.ferryd)
        .read()?;
    let ready = figure(&text, "ready_us")?;
    let idle = figure(&text, "resident_kib")?;
    let called = figure(&text, "resident_after_call_kib")?;
    let program = fs_err::metadata(&binaries.ferryd)?.len();
    let on_engine = image_size(args)?;

    say::line(format!("{:32} {:>12}   promised", "agent", "measured"));
    let kib = |kib: u64| format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024);
    let megabytes = |bytes: u64| format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10);
    let rows = [
        ("resident, never called", kib(idle), "12 MiB"),
        ("resident, called once", kib(called), ""),
        (
            "ready after its start (median)",
            format!("{}.{} ms", ready / 1000, ready / 100 % 10),
            "100 ms",
        ),
        ("binary", megabytes(program), ""),
        ("image", megabytes(on_engine), "15 MB"),
    ];
    for (what, measured, promised) in rows {
        say::line(format!("{what:32} {measured:>12}   {promised}"));
    }
    Ok(())
}

fn figure(text: &str, name: &str) -> Result<u64> {
    let found = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    found
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| Error::new(format!("the measuring program told no `{name}`")))
}

fn image_size(args: &Args) -> Result<u64> {
    image::agent(IMAGE, Profile::of(!args.fast))?;
    let size = docker::docker(["image", "inspect", "--format", "{{.Size}}", IMAGE]).read();
    docker::docker(["image", "rm", IMAGE]).read()?;
    size?
        .trim()
        .parse()
        .map_err(|_| Error::new("the engine tells no size of the image"))
}

#[cfg(test)]
mod tests {
    use super::figure;

    #[test]
    fn figures_are_found_by_their_whole_name() {
        let text = "ready_us=31000\nresident_kib=7000\nresident_after_call_kib=7400\n";
        assert_eq!(figure(text, "resident_kib").ok(), Some(7000));
        assert_eq!(figure(text, "ready_us").ok(), Some(31000));
        assert!(figure(text, "ready").is_err());
    }
}
