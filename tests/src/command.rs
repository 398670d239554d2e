//! Programs of the machine that the tests call, and the one error they end in.

use std::cell::RefCell;
use std::process::{Command, Output};

/// Why a test could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program could not be started at all.
    #[error("cannot start `{program}`: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program ended with a failure.
    #[error("`{command}` ended with {status}: {stderr}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// What it said on its way.
        stderr: String,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// An answer was not the JSON that was expected.
    #[error("cannot read an answer: {0}")]
    Json(#[from] serde_json::Error),
    /// Something that was waited for did not happen.
    #[error("{what} did not come within {seconds} s; the last lines of its log:\n{log}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
        /// The end of the container's log.
        log: String,
    },
}

impl Error {
    /// Something is not as a test needs it, in words.
    #[must_use]
    pub fn of(words: String) -> Self {
        Self::File(std::io::Error::other(words))
    }
}

/// What everything here returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Runs a command to its end, whatever the end is.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    command.output().map_err(|source| Error::Start {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    })
}

/// Runs a command and gives its standard output; a failure is an error with what it said.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|a| a.to_string_lossy().into_owned()));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Failed {
        command: words.join(" "),
        status: output.status.to_string(),
        stderr: format!("{stdout}{stderr}"),
    })
}

thread_local! {
    /// The engine that this thread's tests mean; the machine's own without it.
    static ENGINE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// While it lives, `docker` and the tool mean another engine on this thread. A variable of the process would mean it for all threads.
#[derive(Debug)]
pub struct Elsewhere {
    /// What was meant before.
    before: Option<String>,
}

impl Elsewhere {
    /// From now on the engine at this address is meant.
    #[must_use]
    pub fn at(address: &str) -> Self {
        Self {
            before: ENGINE.replace(Some(address.to_owned())),
        }
    }

    /// From now on the machine's own engine is meant.
    #[must_use]
    pub(crate) fn at_own() -> Self {
        Self {
            before: ENGINE.take(),
        }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        ENGINE.set(self.before.take());
    }
}

/// The engine that this thread means; `None` is the machine's own.
pub(crate) fn engine_address() -> Option<String> {
    ENGINE.with_borrow(Clone::clone)
}

/// A program that talks to the engine that this thread means.
pub(crate) fn of_engine(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    if let Some(address) = engine_address() {
        command.env("DOCKER_HOST", address);
    }
    command
}

/// Runs `docker` with these words, and gives its standard output without the last line's end.
///
/// # Errors
/// When it cannot be started or ends with a failure.
pub fn docker(arguments: &[&str]) -> Result<String> {
    run(of_engine("docker").args(arguments)).map(|out| out.trim_end().to_owned())
}

/// Runs Podman's own client with these words, at the engine that this thread means.
///
/// # Errors
/// As of [`docker`].
pub(crate) fn podman(arguments: &[&str]) -> Result<String> {
    let address = engine_address().unwrap_or_default();
    let mut command = Command::new("podman");
    command
        .args(["--remote", "--url", &address])
        .args(arguments);
    run(&mut command).map(|out| out.trim_end().to_owned())
}
