//! What a cluster that does not run says of itself.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::super::programs::{Launch, Program};
use super::super::{Result, ServerError};
use super::Postgres;

/// The parts of `pg_controldata` that decide something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlData {
    /// `shut down`, `in production`, …
    pub cluster_state: String,
    /// The number that every cluster has of its own.
    pub system_identifier: String,
    /// The catalogue's version, which goes with the major version.
    pub catalog_version: String,
    /// Where the last checkpoint is in the log.
    pub latest_checkpoint: String,
}

impl ControlData {
    /// Whether the cluster ended in order, so that its files are complete without recovery.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        matches!(
            self.cluster_state.as_str(),
            "shut down" | "shut down in recovery"
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
            Some(line.trim().to_owned())
        };
        Some(Self {
            cluster_state: value("Database cluster state")?,
            system_identifier: value("Database system identifier")?,
            catalog_version: value("Catalog version number")?,
            latest_checkpoint: value("Latest checkpoint location")?,
        })
    }
}

impl Postgres {
    /// Reads the cluster's control file with its own tool.
    ///
    /// # Errors
    /// The tool fails or says something else than usual.
    pub async fn controldata(&self) -> Result<ControlData> {
        let launch = Launch {
            program: Program::PgControldata,
            args: vec!["-D".into(), self.data_dir.clone().into()],
            stdin: None,
            options: "",
            time: Duration::from_secs(30),
            max_output: 1 << 20,
        };
        let output = self
            .surroundings()
            .run(launch, &CancellationToken::new())
            .await?;
        ControlData::parse(&String::from_utf8_lossy(&output)).ok_or_else(|| ServerError::Missing {
            what: "the cluster's state",
            why: "`pg_controldata` does not tell it".into(),
        })
    }
}
