//! Makes the volume for a server that comes from another machine: before anything else, so that its undo is the last but the baseline's
//! and nothing that was pulled is given up before the old server has shown itself.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};

use crate::{
    arrival,
    context::Context,
    error::StepError,
    ledger,
    places::{
        backup,
        moving::{self, GivenUp},
    },
    steps::{Work, done, done_with, host::new_container},
};

/// The role of the volume, for whoever looks at its labels later.
const ROLE: &str = "data";
/// The step that comes when the server here is proven, as plans call it.
const PROVEN: &str = "retire-agents";

pub(in crate::steps) struct MakeVolume(pub(in crate::steps) v1::MakeVolume);

#[async_trait]
impl Work for MakeVolume {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        let obstacle = arrival::obstacle(&host.engine, &host.engine.info().await?);
        if !obstacle.is_empty() {
            return Err(StepError::new(
                "volume-out-of-reach",
                format!("what volumes hold cannot be written here: {obstacle}"),
            )
            .hint("see docs/appliance.md for what the new machine needs"));
        }
        let (volume, container) = (&self.0.volume, &self.0.container);
        cx.keep(&true)?;
        backup::make_volume(host, volume, ROLE, &cx.run, container, "").await?;
        Ok(done(format!("volume {volume}")))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let host = cx.surroundings.host()?;
        arrival::folder_of(host, &self.0.volume, &cx.run)
            .await
            .map(drop)
    }

    /// What a server has run on that was proven, and perhaps for days, has what the old machine has not.
    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let (host, volume) = (cx.surroundings.host()?, &self.0.volume);
        let used =
            new_container::ran_early(cx)? || ledger::was_begun(&cx.run_dir, &cx.run, PROVEN)?;
        Ok(match moving::give_up(host, &cx.run, volume, used).await? {
            GivenUp::Absent => done("there is no volume of this run"),
            GivenUp::Kept(warning) => done_with("the volume stays", vec![warning]),
            GivenUp::Removed => done("the volume is gone"),
        })
    }
}
