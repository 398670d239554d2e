//! Removes what a completed crossing has kept for the way back: the old container, and the agents'
//! image. The backup is another step's.
//!
//! All is looked at before anything is removed: the new container must be the one that the crossing
//! made, and run, because after this there is no other.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};

use crate::{
    context::Context,
    engine::{EngineError, labels::RUN_LABEL},
    error::StepError,
    steps::{Work, done, done_with},
    surroundings::Host,
};

pub(in crate::steps) struct FinishRun(pub(in crate::steps) v1::FinishRun);

#[async_trait]
impl Work for FinishRun {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        self.check_successor(host).await?;
        let mut gone = Vec::new();
        if let Some(old) = host.engine.find_container(&self.0.old_container_id).await? {
            if old.id() != self.0.old_container_id || old.running() {
                return Err(StepError::new(
                    "old-server-runs",
                    format!("the old container `{}` runs again", old.name()),
                )
                .hint("stop it and find out who started it, then try again"));
            }
            cx.keep(&true)?;
            let name = old.name().to_owned();
            host.engine.remove_container(old.id()).await?;
            gone.push(format!("container `{name}`"));
        }
        let mut warnings = Vec::new();
        if self.0.remove_agent_image {
            match remove_images(host).await {
                Ok(images) => gone.extend(images),
                // The server is as it should be; megabytes that stay are told and no more.
                Err(error) => warnings.push(format!("an agents' image stays: {error}")),
            }
        }
        let summary = if gone.is_empty() {
            "nothing was left to remove".to_owned()
        } else {
            format!("removed: {}", gone.join(", "))
        };
        Ok(done_with(summary, warnings))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let host = cx.surroundings.host()?;
        match host.engine.find_container(&self.0.old_container_id).await? {
            None => self.check_successor(host).await,
            Some(old) => Err(StepError::new(
                "old-container-there",
                format!("the old container `{}` is still there", old.name()),
            )),
        }
    }

    /// A container that was removed cannot be made to be as it was.
    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        if cx.first_kept::<bool>()?.is_none() {
            return Ok(done("nothing was removed"));
        }
        let warning = "the old container was removed before this failed".to_owned();
        Ok(done_with("nothing to take back", vec![warning]))
    }
}

impl FinishRun {
    async fn check_successor(&self, host: &Host) -> Result<(), StepError> {
        let v1::FinishRun { container, .. } = &self.0;
        let run = match &self.0.made_by {
            later if later.is_empty() => &self.0.run,
            later => later,
        };
        let refuse = |code, why: String, hint: String| Err(StepError::new(code, why).hint(hint));
        let Some(new) = host.engine.find_container(container).await? else {
            return refuse(
                "no-such-container",
                format!("there is no container `{container}`, which run {run} made"),
                format!("`ferryctl rollback {run}` brings the old server back"),
            );
        };
        let is_it = match &self.0.unit {
            // Made by its unit, it has no label of ours, and is another container after each start.
            Some(unit) => new.image_id() == unit.image_id || !self.0.made_by.is_empty(),
            None => new.label(RUN_LABEL) == Some(run),
        };
        if !is_it {
            return refuse(
                "not-this-runs",
                format!("container `{container}` is not the one that run {run} made"),
                format!(
                    "see what became of it with `docker inspect {container}`; \
                     the old container and the backup of run {} are left as they are",
                    self.0.run
                ),
            );
        }
        if !new.running() {
            return refuse(
                "server-not-running",
                format!(
                    "container `{container}` does not run: it is not proven that the crossing is of use"
                ),
                format!("`docker start {container}` and look at it, or `ferryctl rollback {run}`"),
            );
        }
        Ok(())
    }
}

/// Images that a container was made of stay: another run needs them.
async fn remove_images(host: &Host) -> Result<Vec<String>, StepError> {
    let mut gone = Vec::new();
    for image in host.engine.agent_images().await? {
        let users = [("ancestor", image.as_str())];
        if !host.engine.list_containers(&users).await?.is_empty() {
            continue;
        }
        match host.engine.remove_image(&image).await {
            Ok(()) => {
                let short = image.strip_prefix("sha256:").unwrap_or(&image);
                gone.push(format!(
                    "agents' image {}",
                    short.get(..12).unwrap_or(short)
                ));
            }
            // Somebody has begun to use it.
            Err(EngineError::Refused { status: 409, .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(gone)
}
