//! Starts a volume agent on a backup alone, for a proof of it or to restore it into a new volume.
//! The server it is a copy of is not asked and not touched; it need not even be there any more.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};

use crate::{
    context::Context,
    engine::labels::RUN_LABEL,
    error::StepError,
    places::{self, BackupPlace, backup},
    steps::{Work, done},
};

pub(in crate::steps) struct OpenBackup(pub(in crate::steps) v1::OpenBackup);

/// Where every volume agent has a server's data.
const DATA: &str = "/srv";
/// The role of a volume that was made of a backup.
const RESTORED: &str = "restored";

#[async_trait]
impl Work for OpenBackup {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        let (place, made_by) = BackupPlace::of(self.0.backup.as_ref())?;
        if !backup::is_there(host, &place, &made_by).await? {
            return Err(
                StepError::new("no-such-backup", format!("{place} is not there"))
                    .hint("`ferryctl backup list` shows those that are"),
            );
        }
        let ids = backup::ids(host, &place).await?;
        let volume = self.0.restore_to.as_str();
        if volume.is_empty() {
            places::launch_on_backup(host, &place, None, &cx.run, &ids).await?;
            return Ok(done(format!("an agent can read {place}")));
        }
        // Refuses a volume that is there already: nothing is ever restored over.
        cx.keep(&true)?;
        backup::make_volume(host, volume, RESTORED, &cx.run, &self.0.server, &ids).await?;
        places::launch_on_backup(host, &place, Some((volume, DATA)), &cx.run, &ids).await?;
        Ok(done(format!("new volume `{volume}`")))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let host = cx.surroundings.host()?;
        if places::find_agent(host, &cx.run, "volume").await?.is_some() {
            return Ok(());
        }
        Err(StepError::new(
            "agent-not-running",
            format!("the volume agent of run {} stopped at once", cx.run),
        )
        .hint("see its log with `docker logs`, and the engine's"))
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        places::retire(host, &cx.run, "volume").await?;
        let volume = self.0.restore_to.as_str();
        if volume.is_empty() || cx.first_kept::<bool>()?.is_none() {
            return Ok(done("the agent is gone"));
        }
        let made = host.engine.find_volume(volume).await?;
        let ours = made.is_some_and(|made| {
            made.labels.get(RUN_LABEL).map(String::as_str) == Some(cx.run.as_str())
        });
        if ours {
            backup::remove_volume(host, volume, &cx.run).await?;
        }
        Ok(done("the agent and the new volume are gone"))
    }
}
