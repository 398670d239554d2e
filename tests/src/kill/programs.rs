//! The programs under test. Built once for all tests that run beside each other, or named by whoever has built them.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};

use crate::Result;

/// The two programs under test.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The controller.
    pub ferryctl: PathBuf,
    /// The agent, static.
    pub ferryd: PathBuf,
}

/// Those that `FERRYCTL` and `FERRYD` name, else what `cargo xtask build` makes.
///
/// # Errors
/// When they cannot be built.
pub fn programs() -> Result<Programs> {
    if let (Some(ferryctl), Some(ferryd)) =
        (std::env::var_os("FERRYCTL"), std::env::var_os("FERRYD"))
    {
        return Ok(Programs {
            ferryctl: ferryctl.into(),
            ferryd: ferryd.into(),
        });
    }
    // One builds, the others wait: cargo would queue them anyhow, but each would print.
    let lock = fs_err::File::create(std::env::temp_dir().join("ferry-test-build.lock"))?;
    flock(&lock, FlockOperation::LockExclusive).map_err(std::io::Error::from)?;
    let text = xtask(&["build"])?;
    let paths: Vec<PathBuf> = text.lines().map(PathBuf::from).collect();
    let of = |name: &str| paths.iter().find(|p| p.ends_with(name)).cloned();
    match (of("ferryctl"), of("ferryd")) {
        (Some(ferryctl), Some(ferryd)) => Ok(Programs { ferryctl, ferryd }),
        _ => Err(
            std::io::Error::other(format!("`cargo xtask build` named no programs: {text}")).into(),
        ),
    }
}

/// Runs one of the project's own commands and gives its standard output.
///
/// # Errors
/// When it fails.
pub fn xtask(words: &[&str]) -> Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    crate::command::run(
        Command::new(cargo)
            .current_dir(root)
            .arg("xtask")
            .args(words),
    )
}
