//! A machine whose first process is a real systemd, as a container: without more rights than it needs, and in the engine that everything else of
//! a test is in.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::command::docker;
use crate::{Error, Result, images};

/// What systemd needs of an engine: to mount, to have its own part of the control groups, and folders of memory. A first process that is
/// systemd finds out for itself what it may not do.
const RIGHTS: [&str; 12] = [
    "--cap-add",
    "SYS_ADMIN",
    "--cap-add",
    "NET_ADMIN",
    "--security-opt",
    "seccomp=unconfined",
    "--security-opt",
    "apparmor=unconfined",
    "--tmpfs",
    "/run",
    "--tmpfs",
    "/run/lock",
];
/// There where there is one hierarchy for all controllers.
const UNIFIED: &str = "/sys/fs/cgroup/cgroup.controllers";

/// The machine, which goes when it is dropped.
#[derive(Debug)]
pub struct Systemd {
    /// Its container.
    pub name: String,
}

impl Systemd {
    /// Starts one; `more` is what else its container gets.
    ///
    /// # Errors
    /// When it is not up in time, with what it says.
    pub fn start(name: &str, more: &[&str]) -> Result<Self> {
        let image = images::systemd()?;
        let machine = Self {
            name: name.to_owned(),
        };
        // In the older hierarchies there is no namespace in which systemd finds its own.
        let groups = if Path::new(UNIFIED).exists() {
            "private"
        } else {
            "host"
        };
        let place = ["run", "--detach", "--name", name, "--cgroupns", groups];
        let shared = ["--volume", "/sys/fs/cgroup:/sys/fs/cgroup"];
        docker(&[&place[..], &shared, &RIGHTS, more, &[&image]].concat())?;
        machine.wait_up()?;
        Ok(machine)
    }

    fn wait_up(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            let state = self.sh("systemctl is-system-running 2>&1 || true")?;
            if matches!(state.as_str(), "running" | "degraded") {
                return Ok(());
            }
            if began.elapsed() > Duration::from_secs(60) {
                let failed = self.sh("systemctl list-units --failed --no-legend || true")?;
                return Err(Error::of(format!("systemd is {state}: {failed}")));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A line of the shell's on it.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn sh(&self, line: &str) -> Result<String> {
        docker(&["exec", &self.name, "sh", "-e", "-c", line])
    }

    /// Leaves its container to somebody else.
    pub fn let_go(mut self) {
        self.name.clear();
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        if self.name.is_empty() {
            return;
        }
        // What is left is seen by `docker ps`.
        let _over = docker(&["rm", "--force", "--volumes", &self.name]);
    }
}
