//! A `ferryd` on this machine, as systemd would run it.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::agent::Agent;
use crate::kill::{programs, send};
use crate::{Error, Result};

/// A daemon with folders of its own. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    began: Instant,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl Daemon {
    /// Starts `ferryd` in a role, with an empty folder as the server's data.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(role: &str, environment: &[(&str, &str)]) -> Result<Self> {
        let program = programs()?.ferryd;
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("run/agent.sock");
        fs_err::create_dir(folder.path().join("srv"))?;
        let mut command = Command::new(&program);
        command.arg(role).arg("--socket").arg(&socket);
        command.arg("--data").arg(folder.path().join("srv"));
        command.envs(environment.iter().copied());
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let began = Instant::now();
        let child = command.spawn().map_err(|source| Error::Start {
            program: program.display().to_string(),
            source,
        })?;
        Ok(Self {
            child,
            began,
            socket,
            _folder: folder,
        })
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Connects as soon as it can be; gives how long after the start the first call was answered.
    ///
    /// # Errors
    /// When it does not answer within ten seconds.
    pub async fn answered(&self) -> Result<(Agent, Duration)> {
        loop {
            if let Ok(agent) = Agent::at(&self.socket).await
                && agent
                    .service()
                    .get_info(ferry_proto::v1::GetInfoRequest {})
                    .await
                    .is_ok()
            {
                return Ok((agent, self.began.elapsed()));
            }
            if self.began.elapsed() > Duration::from_secs(10) {
                return Err(std::io::Error::other("the agent does not answer").into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Resident memory in KiB, as the kernel counts it: with the pages of its program, which all that run it share.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resident_kib(&self) -> Result<u64> {
        self.kib("VmRSS:")
    }

    /// Resident memory that is its own alone, in KiB.
    ///
    /// # Errors
    /// When it has ended.
    pub fn own_kib(&self) -> Result<u64> {
        self.kib("RssAnon:")
    }

    fn kib(&self, field: &str) -> Result<u64> {
        let status = fs_err::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.ok_or_else(|| std::io::Error::other(format!("no {field}")).into())
    }

    /// Sends SIGTERM, and waits for its exit code.
    ///
    /// # Errors
    /// When it has ended before, or does not end within 20 seconds.
    pub fn terminate(mut self) -> Result<Option<i32>> {
        send(self.id(), Signal::TERM)?;
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(20) {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(std::io::Error::other("it does not end when it is asked to").into())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may be over already, and there is nobody to tell.
        let _over = self.child.kill();
        let _over = self.child.wait();
    }
}

/// What systemd hears of a daemon.
#[derive(Debug)]
pub struct Notifications {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Notifications {
    /// Binds the socket that `NOTIFY_SOCKET` is to name.
    ///
    /// # Errors
    /// When that fails.
    pub fn listen() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let socket = UnixDatagram::bind(folder.path().join("notify"))?;
        Ok(Self { socket, folder })
    }

    /// The value of `NOTIFY_SOCKET`.
    #[must_use]
    pub fn path(&self) -> String {
        self.folder.path().join("notify").display().to_string()
    }

    /// Waits until one says `line`; gives all lines heard on the way, that one included.
    ///
    /// # Errors
    /// When it does not come in time.
    pub fn until(&self, line: &str, patience: Duration) -> Result<Vec<String>> {
        let began = Instant::now();
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let left = patience.saturating_sub(began.elapsed());
            self.socket
                .set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            let Ok(length) = self.socket.recv(&mut buffer) else {
                return Err(std::io::Error::other(format!("no `{line}` but {heard:?}")).into());
            };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            heard.extend(text.lines().map(str::to_owned));
            if heard.iter().any(|heard| heard == line) {
                return Ok(heard);
            }
        }
    }
}
