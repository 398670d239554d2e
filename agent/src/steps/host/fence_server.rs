//! Takes the restart policy off, so that no restart of the engine or the host starts the old
//! server on data that is half changed, or beside the new one (facts/pmm.md 2.1, defect 9).
//!
//! Where a unit of systemd makes the container, the unit is held too: whatever starts it, nothing does before the run lets it go.
//!
//! An engine that cannot take it off (Podman 4.3) does not follow it after an end that was asked for, and from there on the fence of
//! the stopped container holds, also after a reboot: see `stop_server`.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome, ServiceUnit};
use serde::{Deserialize, Serialize};

use crate::{
    context::Context,
    engine::RestartPolicy,
    error::StepError,
    fence,
    steps::{
        Work, done,
        host::{of_unit, same_start},
    },
    unit::{Hold, Service},
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
        if let Some(unit) = &self.0.unit {
            return self.hold(cx, unit).await;
        }
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
        same_start::note(engine, cx, &self.0.container_id).await?;
        if fence::policy_off(engine, &self.0.container_id).await? {
            return Ok(done("restart policy off"));
        }
        Ok(done(
            "the engine keeps the restart policy; the fence of the stopped container holds instead",
        ))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let engine = &cx.surroundings.host()?.engine;
        if let Some(unit) = &self.0.unit {
            return of_unit::check_held(engine, unit).await;
        }
        let policy = engine
            .inspect_container(&self.0.container_id)
            .await?
            .restart_policy();
        if policy.is_off() || !engine.can_update().await? {
            return Ok(());
        }
        Err(StepError::new(
            "not-fenced",
            format!(
                "the engine keeps the restart policy `{}` of the old container",
                policy.name
            ),
        )
        .hint(format!(
            "somebody may have set it since: `docker update --restart no {}` takes it off",
            self.0.container_id
        )))
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        if let Some(unit) = &self.0.unit {
            return self.let_go(cx, unit).await;
        }
        let Some(before) = cx.first_kept::<Before>()? else {
            return Ok(done("the restart policy was not changed"));
        };
        let policy = RestartPolicy {
            name: before.name.clone(),
            maximum_retry_count: before.maximum_retry_count,
        };
        let engine = &cx.surroundings.host()?.engine;
        let found = engine.inspect_container(&self.0.container_id).await?;
        if found.restart_policy() != policy {
            engine
                .update_restart_policy(&self.0.container_id, &policy)
                .await?;
        }
        // An engine that was restarted meanwhile left it down, as the fence had told it to: now it may run, and whoever takes the next
        // steps back asks in it.
        engine.start(&self.0.container_id).await?;
        Ok(done(format!("restart policy `{}` again", before.name)))
    }
}

impl FenceServer {
    async fn hold(&self, cx: &Context, unit: &ServiceUnit) -> Result<Outcome, StepError> {
        let engine = &cx.surroundings.host()?.engine;
        cx.keep(&true)?;
        Service::named(engine, unit)?
            .hold(&cx.run, Hold::Closed)
            .await?;
        if engine.find_container(&self.0.container_id).await?.is_some() {
            fence::policy_off(engine, &self.0.container_id).await?;
        }
        Ok(done(format!("`{}` is held", unit.name)))
    }

    /// Lets the unit go, and sees that it runs: whoever takes the next steps back asks in its container.
    async fn let_go(&self, cx: &Context, unit: &ServiceUnit) -> Result<Outcome, StepError> {
        if cx.first_kept::<bool>()?.is_none() {
            return Ok(done("the unit was not held"));
        }
        let engine = &cx.surroundings.host()?.engine;
        let service = Service::named(engine, unit)?;
        service.release(&cx.run).await?;
        if !service.state().await?.runs() {
            of_unit::start(engine, unit, &unit.old_image_id).await?;
        }
        Ok(done(format!("`{}` is let go", unit.name)))
    }
}
