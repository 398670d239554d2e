//! Has the target image in the engine before anything else begins, and makes sure that it is the
//! one that the plan was made for.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};

use crate::{
    context::Context,
    error::StepError,
    steps::{Work, done, skipped},
};

pub(in crate::steps) struct PullImage(pub(in crate::steps) v1::PullImage);

#[async_trait]
impl Work for PullImage {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let engine = &cx.surroundings.host()?.engine;
        // The id pins what the plan saw; a tag may have moved since.
        let wanted = if self.0.expected_id.is_empty() {
            &self.0.reference
        } else {
            &self.0.expected_id
        };
        if engine.has_image(wanted).await? {
            self.verify(cx).await?;
            return Ok(skipped("the engine has it"));
        }
        // What the plan saw is asked for, not what a tag names by now.
        let asked = if self.0.digest.is_empty() {
            &self.0.reference
        } else {
            &self.0.digest
        };
        engine
            .pull(asked, None, |progress| {
                let bytes = |number: Option<u64>| number.unwrap_or(0);
                cx.progress(
                    bytes(progress.current),
                    bytes(progress.total),
                    "bytes",
                    &progress.status,
                );
            })
            .await?;
        Ok(done("pulled"))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let engine = &cx.surroundings.host()?.engine;
        if self.0.expected_id.is_empty() {
            engine.inspect_image(&self.0.reference).await?;
            return Ok(());
        }
        if engine.has_image(&self.0.expected_id).await? {
            return Ok(());
        }
        Err(StepError::new(
            "image-changed",
            format!(
                "image `{}` is no longer {}, for which the plan was made",
                self.0.reference, self.0.expected_id
            ),
        )
        .hint("`ferryctl plan` again"))
    }

    async fn undo(&self, _cx: &Context) -> Result<Outcome, StepError> {
        Ok(done("the image stays"))
    }
}
