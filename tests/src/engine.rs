//! A container engine of a test's own, whose daemon may be killed. The machine's is everybody's: whoever kills that kills all else that
//! runs here.
//!
//! Its daemon spawns a containerd of its own, keeps everything in a folder of its own, and changes neither the packet filter nor
//! routes: the containers are reached by `exec` alone.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::command::{Elsewhere, output, run};
use crate::kill::send;
use crate::{Error, Result, images};

/// How long a daemon gets to answer, and to end. It takes up all its containers before it answers.
const PATIENCE: Duration = Duration::from_secs(90);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// What becomes of the containers when the daemon dies. Both are found in the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Containers {
    /// The next daemon kills what the dead one left, and starts again what has a restart policy.
    Die,
    /// The next daemon takes them up as they run (`--live-restore`).
    Live,
}

/// An engine with the images of the doubles. All of it goes when it is dropped.
#[derive(Debug)]
pub struct PrivateEngine {
    folder: tempfile::TempDir,
    bridge: String,
    daemon: Mutex<Option<Child>>,
}

impl PrivateEngine {
    /// Starts one and loads the doubles into it. Needs root and `dockerd`.
    ///
    /// # Errors
    /// When the machine lets no daemon of ours run, with the daemon's own words.
    pub fn start() -> Result<Self> {
        let images = images::ensure()?;
        let number = std::process::id() * 4 + NEXT.fetch_add(1, Ordering::Relaxed) % 4;
        let engine = Self {
            folder: tempfile::Builder::new().prefix("ferry-engine-").tempdir()?,
            bridge: format!("fe{number}"),
            daemon: Mutex::new(None),
        };
        let subnet = format!("10.{}.{}.1/24", 210 + number / 250 % 40, number % 250);
        ip(&["link", "add", &engine.bridge, "type", "bridge"])?;
        ip(&["addr", "add", &subnet, "dev", &engine.bridge])?;
        ip(&["link", "set", &engine.bridge, "up"])?;
        engine.revive(Containers::Live)?;
        engine.load(&[&images.pmm2, &images.pmm3])?;
        Ok(engine)
    }

    /// Its address, for `DOCKER_HOST`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix://{}", self.folder.path().join("sock").display())
    }

    /// While the result lives, this thread means this engine.
    #[must_use]
    pub fn enter(&self) -> Elsewhere {
        Elsewhere::at(&self.address())
    }

    /// SIGKILL for the daemon; its containerd dies with it.
    ///
    /// # Errors
    /// When none runs.
    pub fn kill(&self) -> Result<()> {
        let daemon = self.daemon().take();
        let mut daemon = daemon.ok_or_else(|| std::io::Error::other("no daemon runs"))?;
        let containerd = self.folder.path().join("exec/containerd/containerd.pid");
        let child = fs_err::read_to_string(&containerd)?;
        daemon.kill()?;
        daemon.wait()?;
        // The kernel ends the child with its parent, and the machine's first process reaps it when it comes to that. Until then the next
        // daemon would take it for alive, and wait for it in vain.
        let began = Instant::now();
        while is_alive(child.trim()) && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(fs_err::remove_file(containerd)?)
    }

    /// Starts a daemon on what the one before left, and waits until it answers.
    ///
    /// # Errors
    /// When it does not answer in time, with the end of its log.
    pub fn revive(&self, containers: Containers) -> Result<()> {
        let at = |name: &str| self.folder.path().join(name);
        let log = fs_err::OpenOptions::new()
            .create(true)
            .append(true)
            .open(at("log"))?;
        let mut command = Command::new("dockerd");
        command.arg("--data-root").arg(at("data"));
        command.arg("--exec-root").arg(at("exec"));
        command.arg("--pidfile").arg(at("pid"));
        command.args(["--host", &self.address(), "--bridge", &self.bridge]);
        command.args(["--iptables=false", "--ip-masq=false", "--ip-forward=false"]);
        if containers == Containers::Live {
            command.arg("--live-restore");
        }
        command.env_remove("DOCKER_HOST").stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(log.into_file());
        let daemon = command.spawn().map_err(|source| Error::Start {
            program: "dockerd".to_owned(),
            source,
        })?;
        *self.daemon() = Some(daemon);
        let began = Instant::now();
        while !self.answers()? {
            if began.elapsed() > PATIENCE {
                let log = fs_err::read_to_string(at("log"))?;
                let from = log.lines().count().saturating_sub(10);
                return Err(Error::TimedOut {
                    what: "the private daemon's answer".to_owned(),
                    seconds: PATIENCE.as_secs(),
                    log: log.lines().skip(from).collect::<Vec<_>>().join("\n"),
                });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn answers(&self) -> Result<bool> {
        let address = self.address();
        let words = ["--host", &address, "version", "--format", "ok"];
        Ok(output(Command::new("docker").args(words))?.status.success())
    }

    fn load(&self, references: &[&str]) -> Result<()> {
        let mut save = Command::new("docker")
            .arg("save")
            .args(references)
            .stdout(Stdio::piped())
            .spawn()?;
        let archive = save.stdout.take().map_or_else(Stdio::null, Stdio::from);
        let loaded = run(Command::new("docker")
            .args(["--host", &self.address(), "load", "--quiet"])
            .stdin(archive));
        save.wait()?;
        loaded.map(drop)
    }

    fn daemon(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is still mounted below its folder, the innermost first.
    fn mounts(&self) -> Vec<String> {
        let table = fs_err::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = self.folder.path().to_string_lossy().into_owned();
        let mut mounts: Vec<String> = table
            .lines()
            .filter_map(|line| line.split_whitespace().nth(4))
            .filter(|mount| mount.starts_with(&own))
            .map(str::to_owned)
            .collect();
        mounts.sort_by_key(|mount| std::cmp::Reverse(mount.len()));
        mounts
    }

    fn end_containers(&self) -> Result<()> {
        let address = self.address();
        let listed = ["--host", &address, "ps", "--all", "--quiet"];
        let listed = run(Command::new("docker").args(listed))?;
        for id in listed.lines() {
            let words = ["--host", &address, "rm", "--force", "--volumes", id];
            output(Command::new("docker").args(words))?;
        }
        Ok(())
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        // A failure here must not hide the test's own. Without a daemon its containers would be nobody's, so one is started for them.
        if self.daemon().is_none() {
            let _told = self.revive(Containers::Die);
        }
        let _told = self.end_containers();
        if let Some(mut daemon) = self.daemon().take() {
            let _over = send(daemon.id(), Signal::TERM);
            let began = Instant::now();
            while matches!(daemon.try_wait(), Ok(None)) && began.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(50));
            }
            let _over = daemon.kill();
            let _over = daemon.wait();
        }
        // The daemon makes its folder a mount of itself, which outlives it.
        for mount in self.mounts() {
            let _told = run(Command::new("umount").arg("--lazy").arg(mount));
        }
        let _told = ip(&["link", "delete", &self.bridge]);
    }
}

/// Whether a process has not ended; one that has and was not reaped yet has.
fn is_alive(pid: &str) -> bool {
    let status = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status.rsplit_once(") ").map_or("", |(_, rest)| rest);
    !(state.is_empty() || state.starts_with('Z') || state.starts_with('X'))
}

fn ip(words: &[&str]) -> Result<()> {
    run(Command::new("ip").args(words)).map(drop)
}
