//! What a container says and what happens to it.
//!
//! Why events: a sidecar dies with its server's first process and no restart policy brings it back, so whoever watches must start it
//! again, on `start` (facts/building-blocks.md 5).

use bollard::{
    container::LogOutput,
    query_parameters::{EventsOptions, LogsOptions},
};
use futures_util::{Stream, StreamExt as _};

use super::{
    ask::repeated,
    client::{Engine, encode},
    error::EngineError,
};

/// More of a container's log than this is not kept in memory.
const LARGEST_LOG: usize = 8 << 20;

/// Which part of a container's log is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogRange {
    /// Seconds since 1970; all when absent.
    pub since: Option<i64>,
    /// The last so many lines; all when absent.
    pub tail: Option<u32>,
}

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEvent {
    /// `start`, `die`, `stop`, `kill`, `destroy`, `health_status: healthy`, …
    pub action: String,
    /// The container's full id.
    pub id: String,
    /// The container's name at that time.
    pub name: String,
    /// For `die`: the exit code.
    pub exit_code: Option<i64>,
    /// When, in nanoseconds since 1970.
    pub time_nanos: i64,
}

impl Engine {
    /// A container's log, standard output and error together in their order; cut off after 8 MiB.
    ///
    /// # Errors
    /// No such container, or a log driver that cannot be read (status 501).
    pub async fn logs(&self, container: &str, range: LogRange) -> Result<String, EngineError> {
        repeated(|| self.logs_once(container, range)).await
    }

    async fn logs_once(&self, container: &str, range: LogRange) -> Result<String, EngineError> {
        let options = LogsOptions {
            stdout: true,
            stderr: true,
            since: range
                .since
                .map_or(0, |since| i32::try_from(since).unwrap_or(i32::MAX)),
            tail: range
                .tail
                .map_or_else(|| "all".to_owned(), |lines| lines.to_string()),
            ..Default::default()
        };
        let container_path = encode(container);
        let mut stream = std::pin::pin!(self.docker().logs(&container_path, Some(options)));
        let mut log = Vec::new();
        while let Some(item) = stream.next().await {
            let item = item.map_err(|error| {
                self.explain(&format!("read the log of container {container}"), error)
            })?;
            log.extend_from_slice(&item.into_bytes());
            if log.len() > LARGEST_LOG {
                log.truncate(LARGEST_LOG);
                break;
            }
        }
        Ok(String::from_utf8_lossy(&log).into_owned())
    }

    /// What happens from now on (or from `since`, seconds since 1970) to one container. The stream ends with an error when the
    /// connection breaks: ask the state anew and watch again.
    pub fn events(
        &self,
        container: &str,
        since: Option<i64>,
    ) -> impl Stream<Item = Result<ContainerEvent, EngineError>> + Send + Unpin + use<> {
        let filters = [("type", "container"), ("container", container)];
        let options = EventsOptions {
            since: since.map(|since| since.to_string()),
            until: None,
            filters: Some(
                filters
                    .map(|(key, value)| (key.to_owned(), vec![value.to_owned()]))
                    .into(),
            ),
        };
        let engine = self.clone();
        let action = format!("watch container {container}");
        Box::pin(self.docker().events(Some(options)).map(move |item| {
            let event = item.map_err(|error| engine.explain(&action, error))?;
            let actor = event.actor.unwrap_or_default();
            let attributes = actor.attributes.unwrap_or_default();
            Ok(ContainerEvent {
                action: event.action.unwrap_or_default(),
                id: actor.id.unwrap_or_default(),
                name: attributes.get("name").cloned().unwrap_or_default(),
                exit_code: attributes
                    .get("exitCode")
                    .and_then(|code| code.parse().ok()),
                time_nanos: event.time_nano.unwrap_or_default(),
            })
        }))
    }
}

/// The bytes of one piece of an attached stream, and whether they are standard error.
pub(crate) fn piece(output: LogOutput) -> (bytes::Bytes, bool) {
    match output {
        LogOutput::StdErr { message } => (message, true),
        LogOutput::StdOut { message }
        | LogOutput::StdIn { message }
        | LogOutput::Console { message } => (message, false),
    }
}
