//! Renames the old container out of the way. It is kept, stopped and fenced: the way back.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};

use crate::{
    context::Context,
    error::StepError,
    fence, places,
    steps::{Work, done_with},
};

pub(in crate::steps) struct SetAsideContainer(pub(in crate::steps) v1::SetAsideContainer);

impl SetAsideContainer {
    fn aside(&self, run: &str) -> String {
        places::aside_name(&self.0.name, &self.0.version, run)
    }
}

#[async_trait]
impl Work for SetAsideContainer {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let engine = &cx.surroundings.host()?.engine;
        let aside = self.aside(&cx.run);
        let started = fence::keep_down(engine, &self.0.container_id).await?;
        let container = engine.inspect_container(&self.0.container_id).await?;
        if container.name() != aside {
            engine.rename(&self.0.container_id, &aside).await?;
        }
        let mut outcome = done_with(format!("kept as `{aside}`"), Vec::from_iter(started));
        outcome.values.insert("container".to_owned(), aside);
        Ok(outcome)
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let engine = &cx.surroundings.host()?.engine;
        let container = engine.inspect_container(&self.0.container_id).await?;
        if container.name() == self.aside(&cx.run) && !container.running() {
            return Ok(());
        }
        Err(StepError::new(
            "not-set-aside",
            format!(
                "the old container is called `{}` and is {}",
                container.name(),
                container.status()
            ),
        ))
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let engine = &cx.surroundings.host()?.engine;
        let container = engine.inspect_container(&self.0.container_id).await?;
        if container.name() != self.0.name {
            engine.rename(&self.0.container_id, &self.0.name).await?;
        }
        // What is taken back next is the data's.
        let started = places::check_unused(engine, &self.0.container_id, &cx.run).await?;
        Ok(done_with(
            format!("called `{}` again", self.0.name),
            Vec::from_iter(started),
        ))
    }
}
