//! Makes a Debian machine that has nothing but Rust ready for everything else. Run again, it finds all done and does nothing.

pub(crate) mod engine;
mod packages;

use crate::error::Result;
use crate::{docker, say};

/// Installs what is missing and sees to an engine that answers.
pub(crate) fn run() -> Result<()> {
    let installed = packages::install_missing()?;
    if installed.is_empty() {
        say::line("packages: all there");
    } else {
        say::line(format!("packages: installed {}", installed.join(" ")));
    }
    engine::ensure()?;
    say::line(format!("engine: Docker {}", docker::version()?));
    Ok(())
}
