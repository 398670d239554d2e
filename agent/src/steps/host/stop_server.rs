//! Stops the server's container with its full grace, and fences it. Its programs are down by then, so
//! this is the supervisor's own exit; the grace is for what was not.
//!
//! Where a unit of systemd makes the container, the unit is stopped with it, and undo starts the unit: it makes a container equal to the one
//! that is gone.

use std::time::Duration;

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};
use serde::{Deserialize, Serialize};

use crate::{
    context::Context,
    error::StepError,
    fence, places,
    steps::{
        Work, done, done_with,
        host::{of_unit, same_start},
    },
    unit::Service,
};

pub(in crate::steps) struct StopServer(pub(in crate::steps) v1::StopServer);

#[derive(Serialize, Deserialize)]
struct Before {
    /// How many processes it might have; 0: as many as it liked.
    #[serde(default)]
    pids_limit: i64,
}

/// 128 + SIGKILL: how the engine reports that it lost patience.
const KILLED: i64 = 137;

#[async_trait]
impl Work for StopServer {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        let engine = &host.engine;
        if let Some(unit) = &self.0.unit {
            cx.keep(&true)?;
            let code = of_unit::stop(host, &cx.run, unit, self.grace()).await?;
            return Ok(match code {
                Some(code) => done_with(format!("exit code {code}"), killed(code)),
                None => done(format!("`{}` is stopped, its container is gone", unit.name)),
            });
        }
        let container = engine.inspect_container(&self.0.container_id).await?;
        if cx.first_kept::<Before>()?.is_none() {
            cx.keep(&Before {
                pids_limit: container.pids_limit(),
            })?;
        }
        if self.0.same_start {
            same_start::check(cx, &container)?;
        }
        if !container.running() {
            let unfenced = fence::close(engine, &self.0.container_id).await?;
            return Ok(done_with("was stopped already", Vec::from_iter(unfenced)));
        }
        places::stop(engine, &self.0.container_id, self.grace()).await?;
        let stopped = engine.inspect_container(&self.0.container_id).await?;
        if self.0.same_start {
            same_start::check(cx, &stopped)?;
        }
        let mut warnings = Vec::from_iter(fence::close(engine, &self.0.container_id).await?);
        warnings.extend(killed(stopped.exit_code()));
        Ok(done_with(
            format!("exit code {}", stopped.exit_code()),
            warnings,
        ))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let engine = &cx.surroundings.host()?.engine;
        let runs = match &self.0.unit {
            Some(unit) => {
                let there = engine.find_container(&unit.container).await?;
                there.is_some_and(|it| it.running())
            }
            None => {
                let there = engine.inspect_container(&self.0.container_id).await?;
                there.running()
            }
        };
        if runs {
            return Err(
                StepError::new("still-running", "the server's container runs again")
                    .hint("find out who started it: a supervisor of containers, or a person"),
            );
        }
        Ok(())
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let engine = &cx.surroundings.host()?.engine;
        if let Some(unit) = &self.0.unit {
            Service::named(engine, unit)?.release(&cx.run).await?;
            of_unit::start(engine, unit, &unit.old_image_id).await?;
            return Ok(done(format!("`{}` started again", unit.name)));
        }
        if let Some(before) = cx.first_kept::<Before>()? {
            // It may still be on its way down: it was asked to stop, and started again it must be whole.
            places::stop(engine, &self.0.container_id, self.grace()).await?;
            fence::open(engine, &self.0.container_id, before.pids_limit).await?;
        }
        // Also when something else had stopped it before this step did, an engine that died in the downtime for one: it ran when the
        // run began, and who takes the next steps back asks in it.
        let container = engine.inspect_container(&self.0.container_id).await?;
        engine.start(&self.0.container_id).await?;
        Ok(done(format!(
            "container `{}` started again",
            container.name()
        )))
    }
}

impl StopServer {
    fn grace(&self) -> Duration {
        Duration::from_secs(u64::from(self.0.grace_seconds))
    }
}

/// What an exit code has to say beside itself.
fn killed(code: i64) -> Vec<String> {
    let told = (code == KILLED)
        .then(|| "the container's first process was killed, and not by Ferry".to_owned());
    Vec::from_iter(told)
}
