//! `cargo-deny`: licences, bans and sources of everything that is built in.

use crate::error::{Error, Result};
use crate::place;
use crate::sh::{Running, Tool, which};

/// The version that `deny.toml` was written for.
const VERSION: &str = "0.20.2";

/// Where the checker comes from.
pub(crate) enum Deny {
    /// It is there.
    Ready(Tool),
    /// It is being built beside everything else: the build takes minutes, and only the last stage needs it.
    Building(Running),
}

impl Deny {
    /// Finds it, or starts to build it in the background, behind everything else in line for the processor.
    pub(crate) fn find_or_build() -> Result<Self> {
        let root = place::ours("tools")?;
        if let Some(ready) = found()? {
            return Ok(Self::Ready(ready));
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let log = place::ours("logs")?.join("cargo-deny-install.log");
        fs_err::write(&log, "")?;
        // Unoptimised: it reads one lock file, and is built in a third of the time.
        let install = Tool::new("nice")
            .args(["-n", "15"])
            .arg(cargo)
            .args([
                "install",
                "--quiet",
                "--locked",
                "--debug",
                "--version",
                VERSION,
                "cargo-deny",
            ])
            .arg("--root")
            .arg(root)
            .arg("--target-dir")
            .arg(place::ours("tools-build")?)
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .env("CARGO_INCREMENTAL", "0")
            .env("RUSTFLAGS", "");
        Ok(Self::Building(install.start(&log)?))
    }

    /// The check. Waits for the build where there is one.
    pub(crate) fn check(&mut self) -> Result<Tool> {
        if let Self::Building(running) = self {
            while running.ended()?.is_none() {
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
            let log = running.log().to_path_buf();
            let Some(ready) = found()? else {
                return Err(Error::with_hint(
                    format!(
                        "cargo-deny was not built:\n{}",
                        fs_err::read_to_string(log)?
                    ),
                    format!("cargo install --locked cargo-deny --version {VERSION}"),
                ));
            };
            fs_err::remove_dir_all(place::ours("tools-build")?)?;
            *self = Self::Ready(ready);
        }
        match self {
            Self::Ready(tool) => Ok(tool
                .clone()
                .args(["--locked", "check", "licenses", "bans", "sources"])),
            Self::Building(_) => Err(Error::new("cargo-deny is still being built")),
        }
    }

    /// Ends a build that nobody will wait for.
    pub(crate) fn give_up(&mut self) {
        if let Self::Building(running) = self {
            running.stop();
        }
    }
}

fn found() -> Result<Option<Tool>> {
    let own = place::ours("tools")?.join("bin/cargo-deny");
    let path = if own.is_file() {
        Some(own)
    } else {
        which("cargo-deny")
    };
    Ok(path.map(Tool::new))
}
