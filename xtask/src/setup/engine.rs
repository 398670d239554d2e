//! A container engine that answers: the machine's own if there is one, else a `dockerd` of ours.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::sh::{Tool, tail, which};
use crate::{docker, place, say};

/// How long `dockerd` may take until it answers.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sees to it that `docker` reaches an engine.
pub(crate) fn ensure() -> Result<()> {
    if docker::answers() {
        return Ok(());
    }
    if let Some(host) = std::env::var_os("DOCKER_HOST") {
        return Err(Error::with_hint(
            format!(
                "no engine answers at DOCKER_HOST={}",
                host.to_string_lossy()
            ),
            "start it, or unset DOCKER_HOST to use an engine of this machine",
        ));
    }
    if Path::new("/run/systemd/system").exists()
        && Tool::new("systemctl")
            .args(["start", "docker"])
            .with_root()?
            .works()
        && docker::answers()
    {
        return Ok(());
    }
    start()
}

/// Starts `dockerd`, and again with what a restricted machine allows as long as its words name a reason that has a remedy.
fn start() -> Result<()> {
    if which("dockerd").is_none() {
        return Err(Error::with_hint(
            "no engine answers, and there is no `dockerd`",
            "cargo xtask setup",
        ));
    }
    let mut flags: Vec<&'static str> = Vec::new();
    loop {
        let log = log_file()?;
        say::line(format!("engine: starting dockerd {}", flags.join(" ")));
        match try_start(&flags, &log)? {
            Started::Answers => return Ok(()),
            Started::Denied => return Err(denied()),
            Started::Ended(words) => {
                let more: Vec<_> = remedies(&words)
                    .into_iter()
                    .filter(|flag| !flags.contains(flag))
                    .collect();
                if more.is_empty() {
                    return Err(Error::new(format!(
                        "dockerd does not start; the end of `{}`:\n{}",
                        log.display(),
                        tail(&words, 15)
                    )));
                }
                flags.extend(more);
            }
        }
    }
}

enum Started {
    Answers,
    /// It runs, but this user may not talk to it.
    Denied,
    /// It ended, or did not answer in time: its words.
    Ended(String),
}

fn try_start(flags: &[&str], log: &Path) -> Result<Started> {
    // A session of its own: it outlives this command and its terminal.
    let mut running = Tool::new("setsid")
        .args(["--wait", "dockerd"])
        .args(flags)
        .with_root()?
        .start(log)?;
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if docker::answers() {
            return Ok(Started::Answers);
        }
        if running.ended()?.is_some() {
            return Ok(Started::Ended(fs_err::read_to_string(log)?));
        }
        if docker::denied() {
            return Ok(Started::Denied);
        }
        thread::sleep(Duration::from_millis(200));
    }
    running.stop();
    Ok(Started::Ended(fs_err::read_to_string(log)?))
}

/// The flags that help against what the log complains of; nothing when no flag does.
fn remedies(words: &str) -> Vec<&'static str> {
    let words = words.to_lowercase();
    let any = |signs: &[&str]| signs.iter().any(|sign| words.contains(sign));
    let mut flags = Vec::new();
    if any(&[
        "error initializing graphdriver",
        "driver not supported",
        "failed to mount overlay",
    ]) {
        flags.push("--storage-driver=vfs");
    }
    // Without iptables ports are still published, by docker-proxy; without a bridge there is only the host's network.
    if any(&[
        "iptables failed",
        "iptables not found",
        "failed to create nat chain",
    ]) {
        flags.extend(["--iptables=false", "--ip6tables=false"]);
    }
    if any(&[
        "error creating default \"bridge\" network",
        "failed to create bridge",
    ]) {
        flags.push("--bridge=none");
    }
    flags
}

fn denied() -> Error {
    Error::with_hint(
        "dockerd runs, but this user may not talk to it",
        "add yourself to the group `docker` and log in again, or run as root",
    )
}

/// A fresh log for each try; the words of the last one decide what is tried next.
fn log_file() -> Result<PathBuf> {
    let log = place::ours("")?.join("dockerd.log");
    fs_err::write(&log, "")?;
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::remedies;

    #[test]
    fn only_known_complaints_have_a_remedy() {
        let storage =
            "failed to start daemon: error initializing graphdriver: driver not supported";
        assert_eq!(remedies(storage), ["--storage-driver=vfs"]);
        assert_eq!(remedies("failed to start daemon: pid file found"), [""; 0]);
        assert!(
            remedies("iptables failed: iptables -t nat -N DOCKER").contains(&"--iptables=false")
        );
    }
}
