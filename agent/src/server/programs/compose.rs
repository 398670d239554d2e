//! Compose, on the machine of the host agent. It is asked one thing: by which hash it would know the container of a service.
//!
//! Why here and with these rules: it is a program as the others are, started by absolute path, with an environment of ours
//! and without a shell. It reads the text from memory that it has for standard input, so what it answers for is what was read,
//! whatever becomes of the file meanwhile. Plug-ins and settings of somebody's home are none of its.
//!
//! Rejected: a pipe and `--file -`, of which Compose 1 reads everything and then wants it a second time.

use std::{ffi::OsString, fs::File, io::Write as _, path::Path, process::Stdio, time::Duration};

use nix::unistd::Pid;
use rustix::fs::{MemfdFlags, memfd_create};
use tokio::process::Command;

use super::{Stop, converse, end};

/// Compose 1 is a Python program that needs a second on a busy machine.
const TIME: Duration = Duration::from_secs(60);
/// One line is expected.
const MAX_OUTPUT: usize = 64 << 10;
/// Standard input by a name, under which it is opened anew each time.
const TEXT: &str = "/proc/self/fd/0";
/// Where nothing is.
const NO_HOME: &str = "/nonexistent";

/// The program, by the major version that has made the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compose {
    /// `docker-compose`, version 1.
    Own,
    /// The plug-in of `docker`, from version 2 on.
    PlugIn,
}

impl Compose {
    /// By the version in a container's label.
    pub(crate) fn of(version: &str) -> Self {
        if version.trim_start_matches('v').starts_with("1.") {
            Self::Own
        } else {
            Self::PlugIn
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Own => "/usr/bin/docker-compose",
            Self::PlugIn => "/usr/bin/docker",
        }
    }

    /// As a person types it.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Own => "docker-compose",
            Self::PlugIn => "docker compose",
        }
    }
}

/// Whose hash is asked for. Its text has the values of variables.
#[derive(Clone, Copy)]
pub(crate) struct HashOf<'a> {
    pub(crate) compose: Compose,
    /// `unix:///var/run/docker.sock`.
    pub(crate) engine: &'a str,
    pub(crate) project: &'a str,
    pub(crate) folder: &'a Path,
    pub(crate) env_file: Option<&'a str>,
    pub(crate) service: &'a str,
    pub(crate) text: &'a str,
}

/// Why there is no hash. What the program complains about is not in it: that may have the values of variables.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoHash {
    #[error("`{0}` is not on this machine")]
    Missing(&'static str),
    #[error("`{program}` cannot be started: {source}")]
    Start {
        program: &'static str,
        source: std::io::Error,
    },
    #[error("`{words} config` ended with {status}")]
    Failed { words: &'static str, status: String },
    #[error("`{words} config` did not end within {} s", TIME.as_secs())]
    Late { words: &'static str },
    #[error("`{words} config` gave no hash of the service")]
    Strange { words: &'static str },
}

/// Asks. The program makes and changes nothing.
pub(crate) async fn config_hash(of: HashOf<'_>) -> Result<String, NoHash> {
    let (program, words) = (of.compose.path(), of.compose.words());
    let option = |name: &str, value: &dyn AsRef<std::ffi::OsStr>| {
        let mut option = OsString::from(name);
        option.push("=");
        option.push(value);
        option
    };
    let text = in_memory(of.text).map_err(|source| NoHash::Start { program, source })?;
    let mut command = Command::new(program);
    if of.compose == Compose::PlugIn {
        command.arg("compose");
    }
    command
        .arg(option("--project-name", &of.project))
        .arg(option("--project-directory", &of.folder))
        .arg(option("--file", &TEXT));
    if let Some(env_file) = of.env_file {
        command.arg(option("--env-file", &env_file));
    }
    command
        .arg("config")
        .arg(option("--hash", &of.service))
        .current_dir("/")
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", NO_HOME)
        .env("DOCKER_CONFIG", NO_HOME)
        .env("DOCKER_HOST", of.engine)
        .stdin(text)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .process_group(0);
    let mut child = command.spawn().map_err(|source| {
        if source.kind() == std::io::ErrorKind::NotFound {
            NoHash::Missing(program)
        } else {
            NoHash::Start { program, source }
        }
    })?;
    let group = child.id().and_then(|id| i32::try_from(id).ok());
    let talk = converse(&mut child, None, MAX_OUTPUT);
    let ended = match tokio::time::timeout(TIME, talk).await {
        Ok(ended) => ended,
        Err(_) => Err(Stop::Late),
    };
    let (status, stdout, _) = match ended {
        Ok(ended) => ended,
        Err(stop) => {
            end(&mut child, group.map(Pid::from_raw)).await;
            return Err(match stop {
                Stop::Late | Stop::Cancelled => NoHash::Late { words },
                Stop::TooMuch => NoHash::Strange { words },
                Stop::Io(source) => NoHash::Start { program, source },
            });
        }
    };
    if !status.success() {
        let status = status.to_string();
        return Err(NoHash::Failed { words, status });
    }
    let said = String::from_utf8_lossy(&stdout);
    hash_in(&said, of.service).ok_or(NoHash::Strange { words })
}

/// A file that is nowhere on a disk.
fn in_memory(text: &str) -> std::io::Result<File> {
    let mut file = File::from(memfd_create("compose", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    Ok(file)
}

/// A line of the service's name and 64 hexadecimal digits.
fn hash_in(said: &str, service: &str) -> Option<String> {
    let mut lines = said.lines().map(|line| line.split_whitespace());
    let hash =
        lines.find_map(|mut words| (words.next() == Some(service)).then(|| words.next())?)?;
    let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| hash.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_that_of_the_version_that_made_the_container() {
        assert_eq!(Compose::of("1.29.2"), Compose::Own);
        for version in ["2.39.1", "v2.6.0", "5.0.0", "10.1.0"] {
            assert_eq!(Compose::of(version), Compose::PlugIn, "{version}");
        }
    }

    #[test]
    fn only_the_services_own_hash_is_taken() {
        let hash = "ab".repeat(32);
        assert_eq!(hash_in(&format!("pmm {hash}\n"), "pmm"), Some(hash.clone()));
        let two = format!("WARNING x\ndb {}\npmm {hash}\n", "cd".repeat(32));
        assert_eq!(hash_in(&two, "pmm"), Some(hash.clone()));
        for said in ["", "pmm", "pmm abc", "pmm geheim=1", &format!("db {hash}")] {
            assert_eq!(hash_in(said, "pmm"), None, "{said}");
        }
    }

    #[tokio::test]
    async fn what_the_program_says_of_a_bad_file_is_not_repeated() {
        let of = HashOf {
            compose: Compose::Own,
            engine: "unix:///nonexistent.sock",
            project: "p",
            folder: Path::new("/nonexistent"),
            env_file: None,
            service: "pmm",
            text: "services: {pmm: {image: x, environment: {A: \"${geheim\"}}}",
        };
        let error = config_hash(of).await.unwrap_err();
        assert!(
            matches!(error, NoHash::Failed { .. } | NoHash::Missing(_)),
            "{error}"
        );
        assert!(!error.to_string().contains("geheim"), "{error}");
    }
}
