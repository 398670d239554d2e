//! Holds a unit that starts the server's container by its name (`docker start`), so that neither a person, a timer nor a reboot has it start
//! one of the two while the data is on its way.
//!
//! Why the engine alone stops and starts the containers in between: the unit makes none, so the crossing is the one of any container, and
//! which of the two has the name is the crossing's own affair. The unit ends with the container that it has started, some time after it, and
//! its words for the end are taken from it for that long: by then they might be about the other one.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};

use crate::{
    context::Context,
    error::StepError,
    steps::{Work, done, host::of_unit},
    unit::{Hold, Service},
};

pub(in crate::steps) struct HoldUnit(pub(in crate::steps) v1::HoldUnit);

#[async_trait]
impl Work for HoldUnit {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let (engine, unit) = (
            &cx.surroundings.host()?.engine,
            of_unit::named(self.0.unit.as_ref())?,
        );
        cx.keep(&true)?;
        Service::named(engine, unit)?
            .hold(&cx.run, Hold::Aside)
            .await?;
        Ok(done(format!("`{}` is held", unit.name)))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        of_unit::check_held(
            &cx.surroundings.host()?.engine,
            of_unit::named(self.0.unit.as_ref())?,
        )
        .await
    }

    /// The old container runs by now, and the unit takes it up again.
    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        if cx.first_kept::<bool>()?.is_none() {
            return Ok(done("the unit was not held"));
        }
        let (engine, unit) = (
            &cx.surroundings.host()?.engine,
            of_unit::named(self.0.unit.as_ref())?,
        );
        let service = Service::named(engine, unit)?;
        service.release(&cx.run).await?;
        if !service.state().await?.runs() {
            of_unit::start(engine, unit, &unit.old_image_id).await?;
        }
        Ok(done(format!("`{}` is let go", unit.name)))
    }
}
