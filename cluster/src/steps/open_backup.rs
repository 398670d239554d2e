//! Starts an agent on a backup alone, for a proof of it or to restore it into a new claim. The server it is a copy of is not asked and
//! not touched; it need not even be there any more.

use std::sync::Arc;

use async_trait::async_trait;
use ferry_agent::{context::Context, error::StepError, steps::Work};
use ferry_proto::v1::{self, Outcome};

use super::done;
use crate::{
    Kubernetes,
    claims::{self, Claim},
    opened::{self, Opened},
    record::labels,
    volume,
    workload::Name,
};

pub(crate) struct OpenBackup(pub(crate) Arc<Kubernetes>, pub(crate) v1::OpenBackup);

/// The role of a claim that was made of a backup.
const RESTORED: &str = "restored";

#[async_trait]
impl Work for OpenBackup {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let (cluster, server) = (&self.0, Name::parse(&self.1.server)?);
        let (backup, made_by) = Claim::of(self.1.backup.as_ref())?;
        let found = backup.find(cluster, &made_by).await?;
        let Some(found) = found.filter(|it| !claims::is_leaving(it)) else {
            return Err(StepError::new(
                "no-such-backup",
                format!("{backup} is not there, or is being removed"),
            )
            .hint("`ferryctl backup list` shows those that are"));
        };
        cx.keep(&true)?;
        let into = self.into(&backup);
        if let Some(into) = &into {
            // Refuses a claim that is there already: nothing is ever restored over.
            let labels = labels(&server, &cx.run, RESTORED);
            into.make(cluster, &cx.run, &found, &labels).await?;
        }
        let opened = Opened {
            backup: backup.name.clone(),
            restore_to: self.1.restore_to.clone(),
        };
        cluster.keep_opened(&server, &cx.run, &opened).await?;
        volume::launch(cluster, &server, &cx.run).await?;
        Ok(done(match into {
            Some(into) => format!("new {into}"),
            None => format!("an agent can read {backup}"),
        }))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let (backup, _) = Claim::of(self.1.backup.as_ref())?;
        if volume::is_open(&self.0, &backup.namespace, &cx.run).await? {
            return Ok(());
        }
        Err(StepError::new(
            "agent-not-running",
            format!("the agent of run {} stopped at once", cx.run),
        )
        .hint(format!(
            "see its log with `kubectl logs {} --namespace {}`",
            opened::name(&cx.run),
            backup.namespace
        )))
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let (backup, _) = Claim::of(self.1.backup.as_ref())?;
        if cx.first_kept::<bool>()?.is_none() {
            return Ok(done("no agent was started"));
        }
        volume::close(&self.0, &backup.namespace, &cx.run).await?;
        let Some(into) = self.into(&backup) else {
            return Ok(done("the agent is gone"));
        };
        // One that is another's was refused, and stays.
        if !is_anothers(into.remove(&self.0, &cx.run).await)? {
            return Ok(done("the agent and the new claim are gone"));
        }
        Ok(done("the agent is gone"))
    }
}

impl OpenBackup {
    /// The new claim, beside the backup's.
    fn into(&self, backup: &Claim) -> Option<Claim> {
        let name = self.1.restore_to.as_str();
        (!name.is_empty()).then(|| Claim::new(&backup.namespace, name))
    }
}

fn is_anothers(removed: Result<(), StepError>) -> Result<bool, StepError> {
    match removed {
        Ok(()) => Ok(false),
        Err(error) if error.code() == claims::TAKEN => Ok(true),
        Err(error) => Err(error),
    }
}
