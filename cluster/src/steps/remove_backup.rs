//! Removes a backup for good. Which one may go is decided by who planned it; here it is made sure that the claim is a run's own and
//! that no pod has it mounted: one that is removed all the same would go at some later time, whenever that pod does.

use std::sync::Arc;

use async_trait::async_trait;
use ferry_agent::{context::Context, error::StepError, steps::Work};
use ferry_proto::v1::{self, Outcome};

use super::{done, done_with};
use crate::{
    Kubernetes,
    claims::{self, Claim},
};

/// In the outcome of an undo: something of the backup may be removed.
const BEGUN: &str = "begun";

pub(crate) struct RemoveBackup(pub(crate) Arc<Kubernetes>, pub(crate) v1::RemoveBackup);

#[async_trait]
impl Work for RemoveBackup {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let (backup, made_by) = Claim::of(self.1.backup.as_ref())?;
        let users = backup.users(&self.0).await?;
        if !users.is_empty() {
            return Err(StepError::new(
                "backup-in-use",
                format!("{backup} is in use by pod `{}`", users.join("`, `")),
            )
            .hint("wait until its run is over; `ferryctl runs` lists them"));
        }
        cx.keep(&true)?;
        backup.remove(&self.0, &made_by).await?;
        Ok(done(format!("{backup} is gone")))
    }

    async fn verify(&self, _cx: &Context) -> Result<(), StepError> {
        let (backup, made_by) = Claim::of(self.1.backup.as_ref())?;
        if backup.find(&self.0, &made_by).await?.is_none() {
            return Ok(());
        }
        Err(StepError::new(
            "backup-still-there",
            format!("{backup} was removed and is there again"),
        ))
    }

    /// What is removed cannot be brought back, and the cluster takes no removal back that it was asked for.
    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let (backup, made_by) = Claim::of(self.1.backup.as_ref())?;
        let Some(found) = backup.find(&self.0, &made_by).await? else {
            let warning = format!("{backup} stays removed");
            return Ok(done_with("nothing to take back", vec![warning]));
        };
        // A claim goes as a whole: until the cluster was asked for that, it is what it was.
        if cx.first_kept::<bool>()?.is_none() || !claims::is_leaving(&found) {
            return Ok(done(format!("{backup} is there")));
        }
        let warning = format!("{backup} was being removed, and goes as soon as no pod uses it");
        let mut outcome = done_with("it was not removed yet", vec![warning]);
        outcome.values.insert(BEGUN.to_owned(), true.to_string());
        Ok(outcome)
    }
}
