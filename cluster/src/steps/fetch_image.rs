//! Has the target image on the server's node, and makes sure that it is the one planned.

use std::sync::Arc;

use async_trait::async_trait;
use ferry_agent::{context::Context, error::StepError, steps::Work};
use ferry_proto::v1::{self, Outcome};

use super::done;
use crate::{Kubernetes, api::text, image, workload::Name};

pub(crate) struct FetchImage(pub(crate) Arc<Kubernetes>, pub(crate) v1::PullImage);

impl FetchImage {
    async fn look(&self, cx: &Context) -> Result<v1::ImageFacts, StepError> {
        let server = Name::parse(&self.1.server)?;
        let set = self.0.set(&server).await?;
        let pod = self.0.pod(&server).await?;
        let node = pod
            .as_ref()
            .map_or("", |pod| text(&pod["spec"]["nodeName"]));
        let reference = &self.1.reference;
        let (template, asked) = (&set["spec"]["template"], (reference.as_str(), &*cx.run));
        let facts = image::look(&self.0, &server, template, node, asked).await;
        if facts.present {
            return Ok(facts);
        }
        Err(StepError::new(
            "image-missing",
            format!("the cluster cannot have the image `{reference}`: {}", facts.failure),
        )
        .hint("correct the name, or give the StatefulSet the secret for its registry, then `ferryctl migrate` again"))
    }
}

#[async_trait]
impl Work for FetchImage {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let (expected, reference) = (&self.1.expected_id, &self.1.reference);
        let facts = self.look(cx).await?;
        if !expected.is_empty() && facts.id != *expected {
            return Err(StepError::new(
                "image-changed",
                format!(
                    "the image `{reference}` is {} now, and the plan was made for {expected}",
                    facts.id
                ),
            )
            .hint("`ferryctl plan` again, for the image of today"));
        }
        Ok(done(facts.digest))
    }

    async fn verify(&self, _cx: &Context) -> Result<(), StepError> {
        // It was run, which nobody can who does not have it.
        Ok(())
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let server = Name::parse(&self.1.server)?;
        image::forget(&self.0, &server, (&self.1.reference, &cx.run)).await?;
        Ok(done("the image may stay"))
    }
}
