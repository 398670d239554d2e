//! A controller that stands still between two steps. What it says of a step's end comes a moment before it asks for the next, which is too
//! short to kill it in: so it is stopped while the agent is at work, and the agent's ledger says when that is over.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Call;
use crate::{Error, Result};

/// The first file of this name in or below a folder.
///
/// # Errors
/// When a folder cannot be read.
pub fn find(folder: &Path, name: &str) -> Result<Option<PathBuf>> {
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|it| it == name) {
            return Ok(Some(path));
        }
        if path.is_dir()
            && let Some(found) = find(&path, name)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Stops a controller that has asked for a step, and waits until the agent whose data is in `volume` has done it.
///
/// # Errors
/// When the agent does not begin or end it in time.
pub fn stop_behind(call: &Call, volume: &Path, step: &str) -> Result<()> {
    let state = volume.join(".ferry");
    wait_for(&state, step, "begin")?;
    call.signal(Signal::STOP)?;
    wait_for(&state, step, "done")
}

fn wait_for(state: &Path, step: &str, record: &str) -> Result<()> {
    let is_there = || -> Result<bool> {
        let Some(file) = find(state, &format!("{step}.ledger"))? else {
            return Ok(false);
        };
        let record = format!("\"record\":\"{record}\"");
        Ok(fs_err::read_to_string(file)?.contains(&record))
    };
    let deadline = Instant::now() + Duration::from_secs(120);
    // What comes and goes while it is looked for is looked for again.
    while !is_there().unwrap_or(false) {
        if Instant::now() > deadline {
            return Err(Error::of(format!("the ledger of {step} has no {record}")));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
