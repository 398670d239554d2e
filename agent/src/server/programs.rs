//! The only place where the agent starts a program: of the server's, for `compose` one beside the engine, and for
//! `client` those of a client's host.
//!
//! Why so narrow: whoever can make the agent start a program of their choosing owns the server. Here the programs are
//! an enum; the path is absolute and inside the server's root; the program gets that root, an unprivileged user of the
//! server's, no supplementary groups, no way to gain rights, a fixed environment, no shell, and bounded output.
//! Secrets go through standard input only: argument lists and environments can be read by others.
#![allow(
    clippy::disallowed_methods,
    reason = "this is the one module that may start programs, from the closed list `Program`"
)]

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Gid, Pid, Uid};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

pub(crate) mod client;
pub(crate) mod compose;
mod talk;
pub(crate) mod unit;

pub(crate) use talk::Talk;

use super::users::own_uid;
use super::{Result, ServerError, ServerRoot};

/// How much of standard error is kept, in bytes.
const MAX_STDERR: usize = 64 << 10;
/// How long a program has to end after it was asked to.
const END_TIME: Duration = Duration::from_secs(5);

/// The programs that may be started, all of them PostgreSQL's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Psql,
    PgDump,
    PgRestore,
    PgControldata,
    Initdb,
    Postgres,
}

impl Program {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Psql => "psql",
            Self::PgDump => "pg_dump",
            Self::PgRestore => "pg_restore",
            Self::PgControldata => "pg_controldata",
            Self::Initdb => "initdb",
            Self::Postgres => "postgres",
        }
    }
}

/// What surrounds a program: the tree, the folder with the programs in the server's names, and whom it runs as.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) root: ServerRoot,
    pub(crate) bin_dir: PathBuf,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Whether the server goes before: its programs get the processor first.
    pub(crate) gentle: bool,
}

/// The priority of a gentle program: half of what there is to give away.
const GENTLE: i32 = 10;

/// One start of a program.
pub(crate) struct Launch {
    pub(crate) program: Program,
    pub(crate) args: Vec<OsString>,
    /// What it reads; nothing if `None`.
    pub(crate) stdin: Option<Vec<u8>>,
    /// `PGOPTIONS`: settings of the session.
    pub(crate) options: &'static str,
    /// How long it may run.
    pub(crate) time: Duration,
    /// How much it may write, in bytes.
    pub(crate) max_output: usize,
}

impl Surroundings {
    /// Runs a program to its end and gives what it wrote.
    ///
    /// # Errors
    /// It cannot be started, fails, takes or writes too much, or `cancel` fired; it is gone in each of these cases.
    pub(crate) async fn run(&self, launch: Launch, cancel: &CancellationToken) -> Result<Vec<u8>> {
        self.run_to(launch, Stdio::piped(), cancel).await
    }

    /// The same for a program that writes into an open file. It need not lie in the server's root.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) async fn run_into(
        &self,
        launch: Launch,
        file: std::fs::File,
        cancel: &CancellationToken,
    ) -> Result<()> {
        self.run_to(launch, file.into(), cancel).await.map(drop)
    }

    async fn run_to(
        &self,
        launch: Launch,
        stdout: Stdio,
        cancel: &CancellationToken,
    ) -> Result<Vec<u8>> {
        let program = launch.program.name();
        let mut child = self.spawn(&launch, stdout)?;
        let group = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .map(Pid::from_raw);
        let ended = tokio::select! {
            ended = converse(&mut child, launch.stdin.as_deref(), launch.max_output) => ended,
            () = tokio::time::sleep(launch.time) => Err(Stop::Late),
            () = cancel.cancelled() => Err(Stop::Cancelled),
        };
        let (status, stdout, stderr) = match ended {
            Ok(ended) => ended,
            Err(stop) => {
                end(&mut child, group).await;
                return Err(match stop {
                    Stop::Late => ServerError::Timeout {
                        what: format!("`{program}`"),
                        after: launch.time,
                    },
                    Stop::Cancelled => ServerError::Cancelled {
                        what: format!("`{program}`"),
                    },
                    Stop::TooMuch => ServerError::ToolOutput {
                        program,
                        limit: launch.max_output,
                    },
                    Stop::Io(source) => ServerError::ToolStart {
                        program: self.bin_dir.join(program),
                        source,
                    },
                });
            }
        };
        if status.success() {
            return Ok(stdout);
        }
        let stderr = String::from_utf8_lossy(&stderr).trim().to_owned();
        Err(ServerError::ToolFailed {
            program,
            status: status.to_string(),
            stderr,
        })
    }

    fn spawn(&self, launch: &Launch, stdout: Stdio) -> Result<Child> {
        let program = launch.program.name();
        if self.uid == 0 {
            return Err(ServerError::Privileged {
                program,
                uid: self.uid,
            });
        }
        let path = Path::new("/").join(&self.bin_dir).join(program);
        let fail = |source| ServerError::ToolStart {
            program: path.clone(),
            source,
        };
        let root = if self.root.is_own() {
            None
        } else {
            let bytes = self.root.path().as_os_str().as_bytes();
            Some(CString::new(bytes).map_err(|error| fail(error.into()))?)
        };
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let change_user = own_uid() != self.uid;
        let gentle = self.gentle;
        let mut command = Command::new(&path);
        command
            .args(&launch.args)
            .env_clear()
            .env("LC_ALL", "C")
            .env("PGAPPNAME", "ferry")
            .env("PGCONNECT_TIMEOUT", "10")
            .env("PGOPTIONS", launch.options)
            .stdin(if launch.stdin.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(stdout)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0);
        let enter = move || {
            if let Some(root) = &root {
                nix::unistd::chroot(root.as_c_str())?;
            }
            nix::unistd::chdir(c"/")?;
            if gentle {
                rustix::process::setpriority_process(None, GENTLE)?;
            }
            if change_user {
                nix::unistd::setgroups(&[])?;
                nix::unistd::setgid(gid)?;
                nix::unistd::setuid(uid)?;
            }
            nix::sys::prctl::set_no_new_privs()?;
            Ok(())
        };
        // SAFETY: between fork and exec only async-signal-safe calls are allowed. `enter` makes plain system calls on
        // values that were made before the fork; it neither allocates nor locks.
        #[allow(
            unsafe_code,
            reason = "the one fork hook: chroot must come before setuid, both before exec"
        )]
        unsafe {
            command.pre_exec(enter);
        }
        command.spawn().map_err(fail)
    }
}

enum Stop {
    Late,
    Cancelled,
    TooMuch,
    Io(std::io::Error),
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

type Ended = (std::process::ExitStatus, Vec<u8>, Vec<u8>);

async fn converse(child: &mut Child, input: Option<&[u8]>, limit: usize) -> Result<Ended, Stop> {
    let stdin = child.stdin.take();
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    let write = async {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A program that fails early closes its end; its exit status says more than the broken pipe.
            let _ = stdin.write_all(input).await;
        }
        Ok::<_, Stop>(())
    };
    let out = async {
        let Some(stdout) = stdout else {
            return Ok(Vec::new());
        };
        let mut bytes = Vec::new();
        stdout
            .take(limit as u64 + 1)
            .read_to_end(&mut bytes)
            .await?;
        if bytes.len() > limit {
            Err(Stop::TooMuch)
        } else {
            Ok(bytes)
        }
    };
    let ((), out, err) = tokio::try_join!(write, out, tail(stderr))?;
    Ok((child.wait().await?, out, err))
}

/// Reads to the end, and keeps the last [`MAX_STDERR`] bytes.
async fn tail(stream: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, Stop> {
    let Some(mut stream) = stream else {
        return Ok(Vec::new());
    };
    let mut kept = Vec::new();
    let mut block = vec![0; 8 << 10];
    loop {
        match stream.read(&mut block).await? {
            0 => return Ok(kept),
            count => kept.extend_from_slice(&block[..count]),
        }
        let surplus = kept.len().saturating_sub(MAX_STDERR);
        kept.drain(..surplus);
    }
}

/// Asks the program and all that it started to end, then makes sure.
async fn end(child: &mut Child, group: Option<Pid>) {
    if let Some(group) = group {
        // Fails only when nobody is left.
        let _ = killpg(group, Signal::SIGTERM);
        if tokio::time::timeout(END_TIME, child.wait()).await.is_err() {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
    let _ = child.kill().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn root_is_no_user_for_tools() {
        let surroundings = Surroundings {
            root: ServerRoot::new("/"),
            bin_dir: "/usr/bin".into(),
            uid: 0,
            gid: 0,
            gentle: false,
        };
        let launch = Launch {
            program: Program::Psql,
            args: vec![],
            stdin: None,
            options: "",
            time: Duration::from_secs(1),
            max_output: 1,
        };
        let error = surroundings
            .run(launch, &CancellationToken::new())
            .await
            .unwrap_err();
        assert_eq!(error.code(), "tool-privileged");
    }

    #[tokio::test]
    async fn the_end_of_a_long_complaint_is_kept() {
        let mut long = vec![b'a'; MAX_STDERR * 3];
        long.extend_from_slice(b"the end");
        let kept = tail(Some(&long[..])).await.ok().unwrap();
        assert_eq!(kept.len(), MAX_STDERR);
        assert!(kept.ends_with(b"the end"));
    }
}
