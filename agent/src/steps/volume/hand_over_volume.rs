//! The last look before the target may write: from here, going back means restoring the data. The
//! way back is this step's undo, by the copy that was made before.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};

use crate::{
    context::Context,
    error::StepError,
    steps::{Work, done},
    tree::{Root, Trust},
};

pub(in crate::steps) struct HandOverVolume(pub(in crate::steps) v1::HandOverVolume);

#[async_trait]
impl Work for HandOverVolume {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let copy = super::copy_path(cx.surroundings.volume()?);
        // Without a copy there is no way back, whatever the plan says. Its content was proven by
        // the final pass, and nobody but this agent can reach it.
        Root::open(&copy, None)
            .map_err(|error| StepError::from(error).during("the copy cannot be opened"))?;
        cx.keep(&true)?;
        Ok(done("from here the target may write"))
    }

    /// The root is changed last by the transfer, where there is one: its owner is the mark that all of it is done.
    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let Some(owner) = &self.0.owner else {
            return Ok(());
        };
        let owner = super::owner(Some(owner))?;
        let stat = rustix::fs::lstat(&cx.surroundings.volume()?.data)
            .map_err(|error| StepError::new("tree-io", format!("the data's root: {error}")))?;
        if (stat.st_uid, stat.st_gid) == (owner.uid, owner.gid) {
            return Ok(());
        }
        Err(StepError::new(
            "owner-wrong",
            format!(
                "the data's root belongs to {}:{}, not to {owner}",
                stat.st_uid, stat.st_gid
            ),
        )
        .hint("something changes owners beside the agent: find it, then `ferryctl resume`"))
    }

    /// The controller has the whole copy proven before it asks for this, while the target still runs.
    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        if cx.first_kept::<bool>()?.is_none() {
            return Ok(done("the data was not handed over"));
        }
        super::as_copied::restore(cx, Trust::Bytes).await
    }
}
