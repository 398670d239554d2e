//! Takes the server for this run, and starts Ferry's agents: beside the server, and with its data and a new claim for the copy.

use std::sync::Arc;

use async_trait::async_trait;
use ferry_agent::{context::Context, error::StepError, steps::Work};
use ferry_proto::v1::{self, Outcome};

use super::done;
use crate::{
    Kubernetes,
    api::Kind,
    claims::Claim,
    record::{Record, labels},
    sidecar, volume,
    workload::{self, Name},
};

pub(crate) struct LaunchAgents(pub(crate) Arc<Kubernetes>, pub(crate) v1::LaunchAgents);

#[async_trait]
impl Work for LaunchAgents {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let (cluster, server) = (&self.0, Name::parse(&self.1.container)?);
        let mut outcome = done(match (self.1.volume_agent, self.1.sidecar) {
            (true, true) => "volume agent and sidecar",
            (true, false) => "volume agent",
            _ => "sidecar",
        });
        if self.1.volume_agent {
            if cx.first_kept::<String>()?.is_none() {
                // A run's name is its plan's: who has never launched anything for it finds what another journal's run of the same plan made.
                if cluster.record(&server, &cx.run).await?.is_some() {
                    return Err(StepError::held_by_another_journal(
                        &cx.run,
                        &server.to_string(),
                    ));
                }
            }
            cluster.lock(&server, &cx.run).await?;
            let record = match cluster.record(&server, &cx.run).await? {
                Some(record) => record,
                None => self.new_record(&server, &cx.run).await?,
            };
            cx.keep(&record.backup)?;
            cluster.keep(&server, &cx.run, &record).await?;
            self.make_backup(&server, &cx.run, &record).await?;
            volume::launch(cluster, &server, &cx.run).await?;
            let backup = format!("{}/{}", server.namespace, record.backup);
            outcome.values.insert("backup_claim".to_owned(), backup);
        }
        if self.1.sidecar {
            sidecar::launch(cluster, &server, &cx.run).await?;
        }
        Ok(outcome)
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let server = Name::parse(&self.1.container)?;
        if !self.1.sidecar || sidecar::runs(&self.0, &server, &cx.run).await? {
            return Ok(());
        }
        Err(StepError::new(
            "agent-not-running",
            format!(
                "the agent of run {} in pod `{}` stopped at once",
                cx.run,
                server.pod()
            ),
        )
        .hint("see its log with `kubectl logs --container`"))
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let (cluster, server) = (&self.0, Name::parse(&self.1.container)?);
        if self.1.volume_agent && cx.first_kept::<String>()?.is_none() {
            // The lock is all that it may have taken.
            if cluster.record(&server, &cx.run).await?.is_none() {
                cluster.unlock(&server, &cx.run).await?;
            }
            return Ok(done("no agent was launched"));
        }
        if self.1.sidecar {
            sidecar::end(cluster, &server, &cx.run).await?;
        }
        if !self.1.volume_agent {
            return Ok(done("the sidecar has ended"));
        }
        volume::retire(cluster, &server, &cx.run).await?;
        // The data was proven to be as before by the undo of the steps behind this one: its copy is of no use any more. Where it could not be
        // proven, the copy stays.
        let backup = cx.first_kept::<String>()?;
        let said = match &backup {
            Some(claim) if cx.keep_copy => {
                format!("the agents are gone; the copy is kept: claim `{claim}`")
            }
            _ => "the agents are gone".to_owned(),
        };
        if let Some(backup) = backup.filter(|_| !cx.keep_copy) {
            let backup = Claim::new(&server.namespace, &backup);
            backup.remove(cluster, &cx.run).await?;
        }
        cluster.forget(&server, &cx.run).await?;
        cluster.unlock(&server, &cx.run).await?;
        Ok(done(&said))
    }
}

impl LaunchAgents {
    /// The claim for the copy, as large as the data's own.
    async fn make_backup(
        &self,
        server: &Name,
        run: &str,
        record: &Record,
    ) -> Result<(), StepError> {
        let claims = Kind::Claims;
        let data = self.0.api.get(claims, &server.namespace, &record.claim);
        let backup = Claim::new(&server.namespace, &record.backup);
        let labels = labels(server, run, "backup");
        backup.make(&self.0, run, &data.await?, &labels).await
    }

    async fn new_record(&self, server: &Name, run: &str) -> Result<Record, StepError> {
        let set = self.0.set(server).await?;
        let claim = workload::claim(&set).ok_or_else(|| {
            StepError::new(
                "no-data-mount",
                format!("{server} has no claim for its data"),
            )
            .hint("make the StatefulSet with a claim at /srv, then try again")
        })?;
        Ok(Record {
            backup: volume::backup_claim(&claim, run),
            claim,
            before: None,
            down: false,
        })
    }
}
