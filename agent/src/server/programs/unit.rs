//! The service manager of the machine that the engine runs on, asked about one unit and told to stop and to start it.
//!
//! Why here and with these rules: it is a program as the others are, started by absolute path, with an environment of ours and without a
//! shell. What it is told is a verb of a closed list and a unit's name, whose characters were checked.
//!
//! What it does it goes on with when it is not waited for any longer: `systemctl` only waits for the service manager.

use std::{path::Path, process::Stdio, time::Duration};

use nix::unistd::Pid;
use tokio::process::Command;

use super::{Stop, converse, end};
use crate::error::StepError;

/// The one program.
const PROGRAM: &str = "/usr/bin/systemctl";
/// A question, or reading the units anew.
const ASK_TIME: Duration = Duration::from_secs(60);
/// What a unit may take to start or stop, by limits of its own; PMM's own unit allows itself 480 s (facts/pmm.md 7.2).
const ACT_TIME: Duration = Duration::from_secs(20 * 60);
/// A few lines are expected.
const MAX_OUTPUT: usize = 64 << 10;
/// How many lines of a complaint an error shows.
const LINES: usize = 10;

/// What the service manager is asked or told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// How the unit stands, and which files it is made of.
    Show,
    /// To read all units anew.
    Reload,
    /// To start the unit, until it has.
    Start,
    /// To stop the unit, until it has.
    Stop,
}

/// Whose service manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Manager {
    /// The machine's.
    System,
    /// The caller's own, reached through this folder.
    User {
        /// `XDG_RUNTIME_DIR`.
        runtime: String,
    },
}

impl Manager {
    /// What a person calls it by.
    pub(crate) fn words(&self) -> &'static str {
        match self {
            Self::System => "systemctl",
            Self::User { .. } => "systemctl --user",
        }
    }

    /// The command that shows a person why a unit did not do what it was told.
    pub(crate) fn journal(&self, unit: &str) -> String {
        match self {
            Self::System => format!("journalctl --unit {unit}"),
            Self::User { .. } => format!("journalctl --user --unit {unit}"),
        }
    }
}

/// Whether `systemctl` is on this machine.
pub(crate) fn is_here() -> bool {
    Path::new(PROGRAM).exists()
}

/// Asks or tells, and gives the answer.
///
/// # Errors
/// `unit-program`: it cannot be started, does not end, or refuses; with what it said.
pub(crate) async fn systemctl(
    manager: &Manager,
    verb: Verb,
    unit: &str,
) -> Result<String, StepError> {
    let mut command = Command::new(PROGRAM);
    command
        .current_dir("/")
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .process_group(0);
    if let Manager::User { runtime } = manager {
        command.arg("--user").env("XDG_RUNTIME_DIR", runtime);
    }
    let (word, time) = match verb {
        Verb::Show => ("show", ASK_TIME),
        Verb::Reload => ("daemon-reload", ASK_TIME),
        Verb::Start => ("start", ACT_TIME),
        Verb::Stop => ("stop", ACT_TIME),
    };
    command.arg(word);
    if verb == Verb::Show {
        command.arg(
            "--property=LoadState,ActiveState,FragmentPath,SourcePath,DropInPaths,NeedDaemonReload",
        );
    }
    if verb != Verb::Reload {
        command.args(["--", unit]);
    }
    let words = match verb {
        Verb::Reload => format!("`{} {word}`", manager.words()),
        _ => format!("`{} {word} {unit}`", manager.words()),
    };
    let failed = |what: String| StepError::new("unit-program", format!("{words} {what}"));
    let mut child = command
        .spawn()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    let group = child.id().and_then(|id| i32::try_from(id).ok());
    let talk = converse(&mut child, None, MAX_OUTPUT);
    let ended = match tokio::time::timeout(time, talk).await {
        Ok(ended) => ended,
        Err(_) => Err(Stop::Late),
    };
    let (status, stdout, stderr) = match ended {
        Ok(ended) => ended,
        Err(stop) => {
            end(&mut child, group.map(Pid::from_raw)).await;
            return Err(failed(match stop {
                Stop::Late | Stop::Cancelled => format!("did not end within {} s", time.as_secs()),
                Stop::TooMuch => format!("answered with more than {MAX_OUTPUT} bytes"),
                Stop::Io(error) => format!("cannot be heard: {error}"),
            }));
        }
    };
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&stderr).into_owned();
    let said = said.lines().filter(|line| !line.trim().is_empty());
    Err(failed(format!("ended with {status}"))
        .details(said.take(LINES))
        .hint(format!("`{}` says why", manager.journal(unit))))
}
