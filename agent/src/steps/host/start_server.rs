//! Starts the new container and watches it boot. A container that exits, restarts or says FATAL is
//! found here within seconds, not by a readiness timeout minutes later.

use std::time::Duration;

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome, ServiceUnit};
use tokio::time::{Instant, sleep};

use crate::{
    context::Context,
    engine::containers::DEFAULT_GRACE,
    error::StepError,
    fence, places,
    steps::{
        Work, done, done_with,
        host::{new_container, of_unit},
    },
    surroundings::Host,
    unit::{self, Hold, Service},
};

pub(in crate::steps) struct StartServer(pub(in crate::steps) v1::StartServer);

const POLL: Duration = Duration::from_millis(100);

#[async_trait]
impl Work for StartServer {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        let engine = &host.engine;
        if let Some(unit) = &self.0.unit {
            return self.start_unit(cx, unit).await;
        }
        // Where the server has come from another machine there is none here to be kept down.
        let started = match self.0.old_container_id.as_str() {
            "" => None,
            old => fence::keep_down(engine, old).await?,
        };
        let begun = cx.first_kept::<bool>()?.is_some();
        cx.keep(&true)?;
        let container = engine.inspect_container(&self.0.name).await?;
        places::check_ours(&container, &cx.run)?;
        let early = new_container::start(cx, &container, begun).await?;
        // It has to stay up for a while. Where the engine can give it a restart policy later, it has none yet: see `retire_agents`.
        self.settle(cx).await?;
        Ok(done_with(
            "runs",
            started.into_iter().chain(early).collect(),
        ))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        self.watch(cx.surroundings.host()?, &cx.run).await
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        let engine = &host.engine;
        if let Some(unit) = &self.0.unit {
            Service::named(engine, unit)?
                .hold(&cx.run, Hold::Closed)
                .await?;
            of_unit::stop(host, &cx.run, unit, DEFAULT_GRACE).await?;
            return Ok(done(format!("`{}` is stopped", unit.name)));
        }
        let made = engine.find_container(&self.0.name).await?;
        let made = made.filter(|it| it.id() != self.0.old_container_id);
        let Some(container) = made else {
            let started = places::check_unused(engine, &self.0.old_container_id, &cx.run).await?;
            return Ok(done_with(
                "the new container is not there",
                Vec::from_iter(started),
            ));
        };
        places::check_ours(&container, &cx.run)?;
        // A container that restarts in a loop must not come up again behind our back.
        fence::policy_off(engine, container.id()).await?;
        places::stop(engine, container.id(), DEFAULT_GRACE).await?;
        // Nor by somebody's hand: the data is about to become the old version's.
        let unfenced = fence::close(engine, container.id()).await?;
        let started = places::check_unused(engine, &self.0.old_container_id, &cx.run).await?;
        Ok(done_with(
            "the new container is stopped",
            unfenced.into_iter().chain(started).collect(),
        ))
    }
}

impl StartServer {
    /// The unit is open for this one start alone, and held again behind it: what starts it later is to find a server that is proven.
    async fn start_unit(&self, cx: &Context, unit: &ServiceUnit) -> Result<Outcome, StepError> {
        let engine = &cx.surroundings.host()?.engine;
        let service = Service::named(engine, unit)?;
        if let Some(there) = engine.find_container(&unit.container).await?
            && there.running()
        {
            unit::check_made(&there, &unit.image_id, &cx.run)?;
        }
        cx.keep(&true)?;
        service.hold(&cx.run, Hold::Open).await?;
        let made = of_unit::start(engine, unit, &unit.image_id).await?;
        of_unit::check_data(&made, unit)?;
        service.hold(&cx.run, Hold::Closed).await?;
        self.settle(cx).await?;
        Ok(done("runs"))
    }

    async fn settle(&self, cx: &Context) -> Result<(), StepError> {
        let until = Instant::now() + Duration::from_secs(u64::from(self.0.settle_seconds));
        while Instant::now() < until {
            cx.check_cancelled()?;
            self.watch(cx.surroundings.host()?, &cx.run).await?;
            sleep(POLL).await;
        }
        Ok(())
    }

    async fn watch(&self, host: &Host, run: &str) -> Result<(), StepError> {
        let container = host.engine.inspect_container(&self.0.name).await?;
        places::booted(host, &container, run).await
    }
}
