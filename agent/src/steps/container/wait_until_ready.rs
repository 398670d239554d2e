//! Waits until the server takes requests through its front door and says that it is the version
//! that was planned. A maintenance page, an empty fresh server or an old version is not ready.

use std::time::Duration;

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};
use tokio::time::{Instant, sleep};

use crate::{
    context::Context,
    error::StepError,
    server::{
        baseline::Access,
        pmm::{Pmm, Ready},
        supervisor::{ProcessState, Supervisor},
    },
    steps::{Work, done},
    surroundings::Container,
};

pub(in crate::steps) struct WaitUntilReady(pub(in crate::steps) v1::WaitUntilReady);

const POLL: Duration = Duration::from_millis(200);
/// The programs without which a server never becomes ready.
const NEEDED: [&str; 8] = [
    "postgresql",
    "clickhouse",
    "grafana",
    "victoriametrics",
    "vmalert",
    "nginx",
    "qan-api2",
    "pmm-managed",
];
/// A program that the supervisor has given up on does not come back by waiting, unless somebody
/// starts it: it is given this long.
const FATAL_PATIENCE: Duration = Duration::from_secs(20);

#[async_trait]
impl Work for WaitUntilReady {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let container = cx.surroundings.container()?;
        let timeout = Duration::from_secs(u64::from(self.0.timeout_seconds));
        let started = Instant::now();
        let mut fatal_since = None;
        loop {
            let why = match self.look().await {
                Ok(version) => return Ok(done(format!("PMM {version}"))),
                Err(why) => why,
            };
            let fatal = fatal_programs(container).await;
            let first_seen = match (&fatal[..], fatal_since) {
                ([], _) => None,
                (_, None) => Some(Instant::now()),
                (_, since) => since,
            };
            fatal_since = first_seen;
            let given_up =
                first_seen.is_some_and(|since: Instant| since.elapsed() > FATAL_PATIENCE);
            if given_up || started.elapsed() > timeout {
                return Err(self.late(container, started.elapsed(), &why, &fatal));
            }
            cx.progress(
                started.elapsed().as_secs(),
                timeout.as_secs(),
                "seconds",
                &why,
            );
            cx.check_cancelled()?;
            sleep(POLL).await;
        }
    }

    async fn verify(&self, _cx: &Context) -> Result<(), StepError> {
        self.look().await.map(drop).map_err(|why| {
            StepError::new(
                "not-ready",
                format!("the server was ready and is not any more: {why}"),
            )
        })
    }

    async fn undo(&self, _cx: &Context) -> Result<Outcome, StepError> {
        Ok(done("nothing to take back"))
    }
}

impl WaitUntilReady {
    /// The version, when the server is ready and is the one planned; else why not.
    async fn look(&self) -> Result<String, String> {
        let access = Access::default();
        let pmm = Pmm::detect(&access.ports, None)
            .await
            .map_err(|error| error.to_string())?;
        match pmm.ready().await {
            Ok(Ready::Yes) => {}
            Ok(Ready::Maintenance) => return Err("it shows its maintenance page".to_owned()),
            Ok(Ready::NotYet(why)) => return Err(why),
            Err(error) => return Err(error.to_string()),
        }
        let version = &pmm.version().version;
        if same_version(version, &self.0.version) {
            return Ok(version.clone());
        }
        Err(format!(
            "it says that it is PMM {version}, not {}",
            self.0.version
        ))
    }

    fn late(
        &self,
        container: &Container,
        waited: Duration,
        why: &str,
        fatal: &[String],
    ) -> StepError {
        let mut details: Vec<String> = fatal
            .iter()
            .map(|name| format!("the supervisor gave up on `{name}`"))
            .collect();
        details.extend(last_lines(container, "srv/logs/pmm-managed.log"));
        StepError::new(
            "not-ready",
            format!(
                "the server is not ready after {} s: {why}",
                waited.as_secs()
            ),
        )
        .details(details)
    }
}

/// `3.8.1` and `3.8.1-12.2406…` are the same release; `3.8.1` and `3.8.10` are not.
fn same_version(told: &str, planned: &str) -> bool {
    let release = |version: &str| {
        version
            .split(['-', '+'])
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    planned.is_empty() || release(told) == release(planned)
}

async fn fatal_programs(container: &Container) -> Vec<String> {
    let Ok(supervisor) = Supervisor::at(&container.root) else {
        return Vec::new();
    };
    let processes = supervisor.processes().await.unwrap_or_default();
    let fatal = processes.into_iter().filter(|process| {
        process.state == ProcessState::Fatal && NEEDED.contains(&process.name.as_str())
    });
    fatal.map(|process| process.full_name()).collect()
}

/// The end of a log of the server, for the operator.
fn last_lines(container: &Container, path: &str) -> Vec<String> {
    const LINES: usize = 8;
    const MOST_BYTES: u64 = 4 << 20;
    let text = container
        .root
        .read_text(path, MOST_BYTES)
        .ok()
        .flatten()
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let skip = lines.len().saturating_sub(LINES);
    lines.into_iter().skip(skip).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::same_version;

    #[test]
    fn releases_are_compared_and_builds_are_not() {
        assert!(same_version("3.8.1", "3.8.1"));
        assert!(same_version("3.8.1-66.2606.el9", "3.8.1"));
        assert!(!same_version("3.8.10", "3.8.1"));
        assert!(!same_version("2.44.1", "3.8.1"));
        assert!(same_version("3.9.0", ""));
    }
}
