//! Takes the restart policy off, so that no restart of the engine or the host starts the old
//! server on data that is half changed, or beside the new one (facts/pmm.md 2.1, defect 9).

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};
use serde::{Deserialize, Serialize};

use crate::{
    context::Context,
    engine::RestartPolicy,
    error::StepError,
    steps::{Work, done},
};

pub(in crate::steps) struct FenceServer(pub(in crate::steps) v1::FenceServer);

#[derive(Serialize, Deserialize)]
struct Before {
    name: String,
    maximum_retry_count: i64,
}

#[async_trait]
impl Work for FenceServer {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let engine = &cx.surroundings.host()?.engine;
        if cx.first_kept::<Before>()?.is_none() {
            let policy = engine
                .inspect_container(&self.0.container_id)
                .await?
                .restart_policy();
            cx.keep(&Before {
                name: policy.name,
                maximum_retry_count: policy.maximum_retry_count,
            })?;
        }
        engine
            .update_restart_policy(&self.0.container_id, &RestartPolicy::off())
            .await?;
        Ok(done("restart policy off"))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let engine = &cx.surroundings.host()?.engine;
        let policy = engine
            .inspect_container(&self.0.container_id)
            .await?
            .restart_policy();
        if policy.is_off() {
            return Ok(());
        }
        Err(StepError::new(
            "not-fenced",
            format!(
                "the engine keeps the restart policy `{}` of the old container",
                policy.name
            ),
        ))
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let Some(before) = cx.first_kept::<Before>()? else {
            return Ok(done("the restart policy was not changed"));
        };
        let policy = RestartPolicy {
            name: before.name.clone(),
            maximum_retry_count: before.maximum_retry_count,
        };
        let engine = &cx.surroundings.host()?.engine;
        engine
            .update_restart_policy(&self.0.container_id, &policy)
            .await?;
        // An engine that was restarted meanwhile left it down, as the fence had told it to: now it may run, and whoever takes the next
        // steps back asks in it.
        engine.start(&self.0.container_id).await?;
        Ok(done(format!("restart policy `{}` again", before.name)))
    }
}
