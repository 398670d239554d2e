//! Lets a unit go that starts the server's container by its name, and has it take up the new one: from here on it starts that one, at each
//! boot too.
//!
//! Before the agents retire, as the last thing that can fail: a unit that does not take the new container up is a server that is down after
//! the next boot, and that is taken back like any other failure.

use std::time::Duration;

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};
use tokio::time::sleep;

use crate::{
    context::Context,
    error::StepError,
    steps::{Work, done, host::of_unit},
    unit::{Hold, Service},
};

pub(in crate::steps) struct ReleaseUnit(pub(in crate::steps) v1::ReleaseUnit);

/// A simple service has started before its program has found out that it cannot.
const SETTLE: Duration = Duration::from_secs(1);

#[async_trait]
impl Work for ReleaseUnit {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let engine = &cx.surroundings.host()?.engine;
        let unit = of_unit::named(self.0.unit.as_ref())?;
        let service = Service::named(engine, unit)?;
        service.release(&cx.run).await?;
        // What runs is not started again by it: it is waited for, as the unit's own.
        of_unit::start(engine, unit, &unit.image_id).await?;
        sleep(SETTLE).await;
        Ok(done(format!("`{}` has taken the new one up", unit.name)))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let engine = &cx.surroundings.host()?.engine;
        let unit = of_unit::named(self.0.unit.as_ref())?;
        let service = Service::named(engine, unit)?;
        let state = service.state().await?;
        if state.runs() {
            return Ok(());
        }
        Err(StepError::new(
            "unit-not-running",
            format!("`{}` was started and is {}", unit.name, state.active),
        )
        .hint(format!("`{}` says why", service.journal())))
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let engine = &cx.surroundings.host()?.engine;
        let unit = of_unit::named(self.0.unit.as_ref())?;
        Service::named(engine, unit)?
            .hold(&cx.run, Hold::Aside)
            .await?;
        Ok(done(format!("`{}` is held again", unit.name)))
    }
}
