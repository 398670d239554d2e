//! The static programs.
//!
//! They have a target folder of their own: other compiler flags in the common one would make cargo build everything anew
//! at each change from one to the other. Nothing else builds with them, so nothing is built twice but what must be.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::error::{Error, Result};
use crate::sh::Tool;
use crate::{elf, place, say};

/// `cargo xtask build`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Optimise fully: what is shipped and measured
    #[arg(long)]
    release: bool,
}

/// How much time the compiler may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Optimised, quickly built: tests and demo.
    Fast,
    /// Optimised across crates: what is shipped and measured.
    Release,
}

impl Profile {
    /// The profile for a `--release` flag.
    pub(crate) fn of(release: bool) -> Self {
        if release { Self::Release } else { Self::Fast }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Release => "release",
        }
    }
}

/// Where the two programs are. They lie side by side, as they are shipped.
#[derive(Clone, Debug)]
pub(crate) struct Binaries {
    /// The agent.
    pub(crate) ferryd: PathBuf,
    /// The controller.
    pub(crate) ferryctl: PathBuf,
}

/// Builds, and prints the paths.
pub(crate) fn run(args: &Args) -> Result<()> {
    let profile = Profile::of(args.release);
    let start = Instant::now();
    let binaries = ensure(profile)?;
    for path in [&binaries.ferryd, &binaries.ferryctl] {
        let size = fs_err::metadata(path)?.len();
        say::line(format!(
            "{}  {}.{} MB",
            path.display(),
            size / 1_000_000,
            size / 100_000 % 10
        ));
        say::data(path.to_string_lossy());
    }
    say::line(format!("built in {}", say::took(start.elapsed())));
    Ok(())
}

/// What builds the agent, and what builds the controller.
const AGENT: [&str; 4] = ["-p", "ferry-agent", "--bin", "ferryd"];
const CONTROLLER: [&str; 4] = ["-p", "ferry-ctl", "--bin", "ferryctl"];

/// Builds on this terminal, and says where the programs are.
///
/// What is shipped is built one by one. In one call cargo gives the agent's dependencies the features that the controller's client of
/// clusters asks for: 15.1 MB instead of 14.0.
pub(crate) fn ensure(profile: Profile) -> Result<Binaries> {
    match profile {
        Profile::Fast => tool(profile)?.show()?,
        Profile::Release => {
            cargo(profile)?.args(AGENT).show()?;
            cargo(profile)?.args(CONTROLLER).show()?;
        }
    }
    binaries(profile)
}

/// The call of cargo that builds both, as quickly as can be.
pub(crate) fn tool(profile: Profile) -> Result<Tool> {
    Ok(cargo(profile)?.args(AGENT).args(CONTROLLER))
}

/// Builds one of the agent's measuring programs as the agent itself is built, and says where it is.
pub(crate) fn example(name: &str, profile: Profile) -> Result<PathBuf> {
    cargo(profile)?
        .args(["-p", "ferry-agent", "--example", name])
        .show()?;
    let folder = folder()?.join(triple()?).join(profile.name());
    checked(&folder.join("examples"), name)
}

fn cargo(profile: Profile) -> Result<Tool> {
    // With an explicit target the flags leave build scripts and macros alone, which cannot be static.
    let mut flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    flags.push_str(" -C target-feature=+crt-static");
    Ok(Tool::cargo()
        .env("RUSTFLAGS", flags.trim())
        .args([
            "build",
            "--locked",
            "--target",
            &triple()?,
            "--profile",
            profile.name(),
            "--target-dir",
        ])
        .arg(folder()?))
}

/// Where the programs of a finished build are; an error when one is absent or not static.
pub(crate) fn binaries(profile: Profile) -> Result<Binaries> {
    let folder = folder()?.join(triple()?).join(profile.name());
    Ok(Binaries {
        ferryd: checked(&folder, "ferryd")?,
        ferryctl: checked(&folder, "ferryctl")?,
    })
}

fn checked(folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    if elf::is_static(&path)? {
        return Ok(path);
    }
    Err(Error::with_hint(
        format!("`{}` is not static", path.display()),
        "the C library's static part is needed: package `libc6-dev`",
    ))
}

fn folder() -> Result<PathBuf> {
    Ok(place::target()?.join("static"))
}

/// The machine that this toolchain builds for by itself.
pub(crate) fn triple() -> Result<String> {
    let text = Tool::new("rustc").arg("-vV").read()?;
    host(&text)
        .map(str::to_owned)
        .ok_or_else(|| Error::new("`rustc -vV` names no host"))
}

fn host(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("host: "))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_host_is_read_from_rustc() {
        let text = "rustc 1.95.0\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\n";
        assert_eq!(super::host(text), Some("x86_64-unknown-linux-gnu"));
        assert_eq!(super::host("rustc 1.95.0"), None);
    }
}
