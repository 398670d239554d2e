//! The package manager and the service manager of a client's host.
//!
//! Why here and with these rules: they are programs as the others are, started by absolute path, with an environment of ours and without
//! a shell. What they are told comes from a closed list and from names and versions whose characters were checked.
//!
//! What changes the host writes its output into a file and not into a pipe: an agent that dies then does not take the package manager
//! with it in the middle of a package, and the next one finds what was said. It is waited for, and not asked to end: half a package is
//! worse than a late one.

use std::{fs::File, io::Read as _, path::Path, process::Stdio, time::Duration};

use nix::unistd::Pid;
use tokio::process::Command;

use super::{Stop, converse, end};
use crate::{error::StepError, state_dir::StateDir};

/// A question to a package manager's own database; it reads files.
const ASK_TIME: Duration = Duration::from_secs(60);
/// The list of a package's files is the longest answer.
const MAX_OUTPUT: usize = 1 << 20;
/// What a package manager may take, a slow mirror and another package manager's lock included.
const PERFORM_TIME: Duration = Duration::from_secs(30 * 60);
/// How much of a log an error shows.
const LOG_LINES: usize = 15;
/// How much of it is read for that, in bytes.
const LOG_BYTES: u64 = 16 << 10;

/// The programs that may be started on a client's host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    AptCache,
    AptGet,
    Dnf,
    Dpkg,
    DpkgDeb,
    DpkgQuery,
    Rpm,
    Systemctl,
    Tar,
}

impl Tool {
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::AptCache => "/usr/bin/apt-cache",
            Self::AptGet => "/usr/bin/apt-get",
            Self::Dnf => "/usr/bin/dnf",
            Self::Dpkg => "/usr/bin/dpkg",
            Self::DpkgDeb => "/usr/bin/dpkg-deb",
            Self::DpkgQuery => "/usr/bin/dpkg-query",
            Self::Rpm => "/usr/bin/rpm",
            Self::Systemctl => "/usr/bin/systemctl",
            Self::Tar => "/usr/bin/tar",
        }
    }

    /// Whether it is on this host.
    pub(crate) fn is_here(self) -> bool {
        Path::new(self.path()).exists()
    }
}

/// What a program answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) success: bool,
    pub(crate) text: String,
    /// What it complained about.
    pub(crate) complaint: String,
}

/// Asks a program that changes nothing. That it fails may be its answer.
///
/// # Errors
/// It cannot be started, or takes or writes too much.
pub(crate) async fn ask(tool: Tool, arguments: &[&str]) -> Result<Answer, StepError> {
    let mut command = command(tool, arguments, Path::new("/"));
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| not_started(tool, &error))?;
    let group = child.id().and_then(|id| i32::try_from(id).ok());
    let talk = converse(&mut child, None, MAX_OUTPUT);
    let ended = match tokio::time::timeout(ASK_TIME, talk).await {
        Ok(ended) => ended,
        Err(_) => Err(Stop::Late),
    };
    match ended {
        Ok((status, stdout, stderr)) => Ok(Answer {
            success: status.success(),
            text: String::from_utf8_lossy(&stdout).into_owned(),
            complaint: String::from_utf8_lossy(&stderr).into_owned(),
        }),
        Err(stop) => {
            end(&mut child, group.map(Pid::from_raw)).await;
            let what = match stop {
                Stop::Late | Stop::Cancelled => {
                    format!("did not answer within {} s", ASK_TIME.as_secs())
                }
                Stop::TooMuch => format!("answered with more than {MAX_OUTPUT} bytes"),
                Stop::Io(error) => format!("cannot be heard: {error}"),
            };
            Err(StepError::new(
                "client-program",
                format!("`{}` {what}", tool.path()),
            ))
        }
    }
}

/// Has a program change the host. What it says is kept as `log` in the run's folder, and its end is in the error.
///
/// # Errors
/// It cannot be started, fails, or takes longer than half an hour; then it still goes on.
pub(crate) async fn perform(
    tool: Tool,
    arguments: &[&str],
    folder: &Path,
    log: (&StateDir, &str),
) -> Result<(), StepError> {
    let (dir, name) = log;
    let file = dir.append_file(name)?;
    let (out, err) = (file.try_clone()?, file);
    let mut command = command(tool, arguments, folder);
    command.stdout(out).stderr(err).kill_on_drop(false);
    let mut child = command.spawn().map_err(|error| not_started(tool, &error))?;
    let words = format!(
        "`{} {}`",
        tool.path(),
        arguments.first().copied().unwrap_or_default()
    );
    let Ok(ended) = tokio::time::timeout(PERFORM_TIME, child.wait()).await else {
        let minutes = PERFORM_TIME.as_secs() / 60;
        let what = format!("{words} has not ended after {minutes} minutes, and was left alone");
        return Err(StepError::new("client-program-late", what)
            .details(last_lines(dir, name))
            .hint("see on the client's host what it waits for"));
    };
    let status = ended?;
    if status.success() {
        return Ok(());
    }
    Err(StepError::new(
        "client-program-failed",
        format!("{words} ended with {status}"),
    )
    .details(last_lines(dir, name)))
}

fn command(tool: Tool, arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(tool.path());
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", "/nonexistent")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("APT_LISTCHANGES_FRONTEND", "none")
        // It would restart services that are none of ours.
        .env("NEEDRESTART_MODE", "l")
        .stdin(Stdio::null())
        .process_group(0);
    command
}

fn not_started(tool: Tool, error: &std::io::Error) -> StepError {
    let what = format!("`{}` cannot be started: {error}", tool.path());
    StepError::new("client-program", what)
}

/// The end of a log; none where it cannot be read.
fn last_lines(dir: &StateDir, name: &str) -> Vec<String> {
    let text = dir.append_file(name).and_then(tail_of).unwrap_or_default();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let skip = lines.len().saturating_sub(LOG_LINES);
    lines.into_iter().skip(skip).map(str::to_owned).collect()
}

fn tail_of(mut file: File) -> std::io::Result<String> {
    use std::io::{Seek as _, SeekFrom};
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_is_named_by_its_whole_path() {
        for tool in [
            Tool::AptCache,
            Tool::AptGet,
            Tool::Dnf,
            Tool::Dpkg,
            Tool::DpkgDeb,
            Tool::DpkgQuery,
            Tool::Rpm,
            Tool::Systemctl,
            Tool::Tar,
        ] {
            assert!(tool.path().starts_with("/usr/bin/"), "{tool:?}");
        }
    }

    #[tokio::test]
    async fn what_a_failing_program_said_is_in_the_error() {
        if !Tool::DpkgDeb.is_here() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::open(folder.path(), "run").unwrap();
        let arguments = ["--info", "/nonexistent.deb"];
        let error = perform(Tool::DpkgDeb, &arguments, Path::new("/"), (&dir, "log")).await;
        let failure = ferry_proto::v1::Failure::from(error.unwrap_err());
        assert_eq!(failure.code, "client-program-failed");
        assert!(
            failure
                .details
                .iter()
                .any(|line| line.contains("nonexistent")),
            "{failure:?}"
        );
        assert!(!ask(Tool::DpkgDeb, &arguments).await.unwrap().success);
    }
}
