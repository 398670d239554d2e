//! Ending a scratch cluster, whoever started it.
//!
//! Why by its pid file: an agent that is killed leaves its cluster running, and the next one knows the folder alone.
//! Why by a descriptor of the process: between the look at a number and a signal to it, the number may have become
//! another process's. It is asked to end (SIGINT: "fast"), never killed.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::super::super::{Result, ServerError};
use super::super::Postgres;
use super::super::find::serves;
use super::STOP_TIME;

const POLL: Duration = Duration::from_millis(50);

impl Postgres {
    /// Asks the server process of the cluster in `scratch` to end, and waits for it. False when none runs.
    ///
    /// # Errors
    /// It does not end in time, or cannot be asked.
    pub async fn end_scratch(&self, scratch: &Path) -> Result<bool> {
        let data = scratch.join("data");
        let Some((process, pid)) = self.serving(&data)? else {
            return Ok(false);
        };
        match pidfd_send_signal(&process, Signal::INT) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => {
                return Err(ServerError::File {
                    doing: "end the scratch cluster in",
                    path: self.root.join(&data),
                    source: error.into(),
                });
            }
        }
        let asked = Instant::now();
        // A process that has ended shows no arguments any more, also when nobody has waited for it yet.
        while serves(pid, &data, self.uid) {
            if asked.elapsed() > STOP_TIME {
                return Err(ServerError::Timeout {
                    what: format!("the end of the scratch cluster, process {pid}"),
                    after: STOP_TIME,
                });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(true)
    }

    /// The process that the pid file names, when it is a PostgreSQL server on that very folder and of the right user.
    fn serving(&self, data: &Path) -> Result<Option<(OwnedFd, u32)>> {
        let text = self.root.read_text(data.join("postmaster.pid"), 4096)?;
        let number = text.and_then(|text| text.lines().next()?.trim().parse::<i32>().ok());
        let Some(pid) = number.and_then(Pid::from_raw) else {
            return Ok(None);
        };
        // Opened before the look: what was looked at is what the descriptor names, or it has ended.
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
            return Ok(None);
        };
        let pid = pid.as_raw_nonzero().get().unsigned_abs();
        Ok(serves(pid, data, self.uid).then_some((process, pid)))
    }
}
