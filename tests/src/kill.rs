//! Processes that are killed at a moment of the test's choice.
//!
//! A controller that dies between two of its own lines of code is what the journal is for, so the tests here read what it says of
//! itself, line by line, and kill the real process when it says the word. Where an agent's work is over in the blink of an eye it is
//! stopped first (SIGSTOP), so that a test can prove that the moment was the right one.

mod bulk;
mod call;
mod ledger;
mod programs;

pub use bulk::{BULK_OWNER, Bulk, owners};
pub use call::{Call, Ended, Tool, is};
pub use ledger::{find, stop_behind};
pub use programs::{Programs, programs, xtask};

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::command::docker;
use crate::looks::inspect;
use crate::{Error, Result};

/// How long a process works between two looks at what it does.
const SLICE: Duration = Duration::from_millis(1);

/// Sends a signal to a process of this machine.
///
/// # Errors
/// When there is no such process.
pub fn send(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| std::io::Error::other("no process id"))?;
    Ok(kill_process(pid, signal).map_err(std::io::Error::from)?)
}

/// Stops a process when it has begun something: it works from look to look only, so that it is not over when it is found to have begun.
///
/// # Errors
/// When it does not begin within a minute of its own time, or what `has_begun` fails with.
pub fn stop_within(pid: u32, has_begun: impl Fn() -> Result<bool>) -> Result<()> {
    let mut worked = Duration::ZERO;
    while worked < Duration::from_secs(60) {
        send(pid, Signal::STOP)?;
        if has_begun()? {
            return Ok(());
        }
        let began = Instant::now();
        send(pid, Signal::CONT)?;
        std::thread::sleep(SLICE);
        worked += began.elapsed();
    }
    Err(Error::of(format!(
        "process {pid} did not begin in a minute"
    )))
}

/// The process of a container that runs, as this machine numbers it.
///
/// # Errors
/// When it does not run.
pub fn pid_of(container: &str) -> Result<u32> {
    let pid = inspect(container)?["State"]["Pid"].as_u64();
    match pid.and_then(|pid| u32::try_from(pid).ok()) {
        Some(pid) if pid > 0 => Ok(pid),
        _ => Err(Error::of(format!("`{container}` does not run"))),
    }
}

/// Where this machine has a path of a container that runs.
///
/// # Errors
/// When it does not run.
pub(crate) fn path_in(container: &str, path: &str) -> Result<PathBuf> {
    let pid = pid_of(container)?;
    Ok(format!("/proc/{pid}/root{path}").into())
}

/// Waits for a process that was started with all of these words, and gives its id as this machine numbers it. It is looked for without
/// pause: what a helper does may be over in the blink of an eye.
///
/// # Errors
/// When none is started within a minute.
pub fn process_of(words: &[&str]) -> Result<u32> {
    let is_it = |pid: u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let has = |word: &&str| {
            line.split(|byte| *byte == 0)
                .any(|it| it == word.as_bytes())
        };
        words.iter().all(has)
    };
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        let names = fs_err::read_dir("/proc")?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        if let Some(pid) = names
            .filter_map(|name| name.parse().ok())
            .find(|pid| is_it(*pid))
        {
            return Ok(pid);
        }
    }
    Err(std::io::Error::other(format!("no process was started with {words:?}")).into())
}

/// Kills a container's first process by the engine.
///
/// # Errors
/// When it does not run.
pub fn kill_container(container: &str) -> Result<()> {
    docker(&["kill", "--signal", "KILL", container]).map(drop)
}

/// What of Ferry's own is there for a server: containers of its agents and volumes of their sockets. Empty when nothing is.
///
/// # Errors
/// When the engine does not answer.
pub fn agents_of(server: &str) -> Result<Vec<String>> {
    let label = format!("label=ferry.server={server}");
    let mut found = docker(&["ps", "--all", "--filter", &label, "--format", "{{.Names}}"])?;
    found.push('\n');
    found.push_str(&docker(&["volume", "ls", "--format", "{{.Name}}"])?);
    let ours =
        |name: &&str| name.starts_with("ferry-volume-") || name.starts_with("ferry-sidecar-");
    let of_it = |name: &&str| name.contains(&format!("{server}-")) || name.ends_with(server);
    Ok(found
        .lines()
        .filter(ours)
        .filter(of_it)
        .map(str::to_owned)
        .collect())
}
