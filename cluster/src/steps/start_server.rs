//! Gives the StatefulSet its pod again and watches it boot. A pod whose image cannot be fetched, or whose server exits, is found here
//! and not by a readiness timeout minutes later.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use ferry_agent::{context::Context, error::StepError, steps::Work};
use ferry_proto::v1::{self, Outcome};
use tokio::time::{Instant, sleep};

use super::done;
use crate::{Kubernetes, volume, workload::Name};

pub(crate) struct StartServer(pub(crate) Arc<Kubernetes>, pub(crate) v1::StartServer);

const POLL: Duration = Duration::from_millis(200);

#[async_trait]
impl Work for StartServer {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let (cluster, server) = (&self.0, Name::parse(&self.1.name)?);
        cluster.check_down(&server, &cx.run).await?;
        cx.keep(&true)?;
        if cluster.pod(&server).await?.is_none() {
            // On whichever node it is placed, the data must be free for it.
            volume::retire(cluster, &server, &cx.run).await?;
        }
        cluster.note_down(&server, &cx.run, false).await?;
        cluster.scale(&server, 1).await?;
        cluster.started(&server).await?;
        let until = Instant::now() + Duration::from_secs(u64::from(self.1.settle_seconds));
        while Instant::now() < until {
            cx.check_cancelled()?;
            cluster.booted(&server, &cx.run).await?;
            sleep(POLL).await;
        }
        Ok(done("runs"))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        self.0.booted(&Name::parse(&self.1.name)?, &cx.run).await
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let server = Name::parse(&self.1.name)?;
        if cx.first_kept::<bool>()?.is_none() {
            return Ok(done("the new server was not started"));
        }
        self.0.stop(&server).await?;
        self.0.note_down(&server, &cx.run, true).await?;
        Ok(done("the new server is stopped"))
    }
}
