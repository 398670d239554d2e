//! A program that is asked several times while it runs.
//!
//! Why: what one session of the database sees at one moment can be counted and dumped only as long as that session is
//! there, so it has to stay open while another program works.

use std::process::Stdio;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio_util::sync::CancellationToken;

use super::super::{Result, ServerError};
use super::{Launch, Surroundings, end, tail};

/// The conversation with a program. Dropping it ends the program.
pub(crate) struct Talk {
    program: &'static str,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    time: std::time::Duration,
    limit: usize,
}

impl Surroundings {
    /// Starts a program to talk with. Each question may take as long, and be answered by as much, as the launch says.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn talk(&self, launch: &Launch) -> Result<Talk> {
        let program = launch.program.name();
        let launch = Launch {
            // Anything: so that there is a pipe to ask through.
            stdin: Some(Vec::new()),
            args: launch.args.clone(),
            ..*launch
        };
        let mut child = self.spawn(&launch, Stdio::piped())?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(ServerError::ToolStart {
                program: self.bin_dir.join(program),
                source: std::io::Error::other("it has no standard input and output"),
            });
        };
        Ok(Talk {
            program,
            child,
            input,
            output: BufReader::new(output),
            time: launch.time,
            limit: launch.max_output,
        })
    }
}

impl Talk {
    /// Writes `text`, and gives what comes before the line `until`.
    ///
    /// # Errors
    /// The program ends, takes or writes too much, or `cancel` fired; the talk is of no use then.
    pub(crate) async fn ask(
        &mut self,
        text: &str,
        until: &str,
        cancel: &CancellationToken,
    ) -> Result<String> {
        let (program, time) = (self.program, self.time);
        let asked = tokio::select! {
            asked = self.exchange(text, until) => asked,
            () = tokio::time::sleep(time) => Err(ServerError::Timeout {
                what: format!("`{program}`"),
                after: time,
            }),
            () = cancel.cancelled() => Err(ServerError::Cancelled {
                what: format!("`{program}`"),
            }),
        };
        if asked.is_err() {
            let group = self.group();
            end(&mut self.child, group).await;
        }
        asked
    }

    async fn exchange(&mut self, text: &str, until: &str) -> Result<String> {
        let broken = |source| ServerError::ToolStart {
            program: self.program.into(),
            source,
        };
        // A program that has failed closes its end; its exit status says more than the broken pipe.
        let _ = self.input.write_all(text.as_bytes()).await;
        let _ = self.input.flush().await;
        let mut answer = Vec::new();
        loop {
            let begin = answer.len();
            let read = self.output.read_until(b'\n', &mut answer).await;
            if read.map_err(broken)? == 0 {
                return Err(self.ended().await);
            }
            if answer[begin..].strip_suffix(b"\n") == Some(until.as_bytes()) {
                answer.truncate(begin);
                return Ok(String::from_utf8_lossy(&answer).into_owned());
            }
            if answer.len() > self.limit {
                return Err(ServerError::ToolOutput {
                    program: self.program,
                    limit: self.limit,
                });
            }
        }
    }

    async fn ended(&mut self) -> ServerError {
        let stderr = tail(self.child.stderr.take()).await.unwrap_or_default();
        let status = match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        ServerError::ToolFailed {
            program: self.program,
            status,
            stderr: String::from_utf8_lossy(&stderr).trim().to_owned(),
        }
    }

    fn group(&self) -> Option<Pid> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        id.map(Pid::from_raw)
    }

    /// Ends the talk: the program is at the end of its input.
    pub(crate) async fn finish(mut self) {
        drop(self.input);
        let group = self.child.id().and_then(|id| i32::try_from(id).ok());
        if tokio::time::timeout(super::END_TIME, self.child.wait())
            .await
            .is_err()
        {
            if let Some(group) = group {
                // Fails only when nobody is left.
                let _ = killpg(Pid::from_raw(group), Signal::SIGTERM);
            }
            let _ = self.child.wait().await;
        }
    }
}
