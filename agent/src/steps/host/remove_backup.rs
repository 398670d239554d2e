//! Removes a backup for good. Which one may go is decided by who planned it; here it is made sure
//! that it is a run's own and that nobody has it mounted.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};

use crate::{
    context::Context,
    error::StepError,
    places::{BackupPlace, backup},
    steps::{Work, done, done_with},
};

/// In the outcome of an undo: something of the backup may be removed.
const BEGUN: &str = "begun";

pub(in crate::steps) struct RemoveBackup(pub(in crate::steps) v1::RemoveBackup);

#[async_trait]
impl Work for RemoveBackup {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        let (place, made_by) = BackupPlace::of(self.0.backup.as_ref())?;
        backup::check_unused(host, &place).await?;
        cx.keep(&true)?;
        backup::remove_unused(host, &place, &made_by).await?;
        Ok(done(format!("{place} is gone")))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let host = cx.surroundings.host()?;
        let (place, made_by) = BackupPlace::of(self.0.backup.as_ref())?;
        if backup::is_there(host, &place, &made_by).await? {
            return Err(StepError::new(
                "backup-still-there",
                format!("{place} was removed and is there again"),
            ));
        }
        Ok(())
    }

    /// What is removed cannot be brought back, and nothing behind this step relies on it. That it may
    /// be half of a backup must be known to whoever lists it.
    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        let (place, made_by) = BackupPlace::of(self.0.backup.as_ref())?;
        if backup::is_there(host, &place, &made_by).await? {
            if cx.first_kept::<bool>()?.is_none() {
                return Ok(done(format!("{place} is there")));
            }
            let warning = format!("{place} was being removed: what is there may be a part of it");
            let mut outcome = done_with("it was not removed whole", vec![warning]);
            outcome.values.insert(BEGUN.to_owned(), true.to_string());
            return Ok(outcome);
        }
        let warning = format!("{place} stays removed");
        Ok(done_with("nothing to take back", vec![warning]))
    }
}
