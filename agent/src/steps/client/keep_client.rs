//! Keeps what the way back needs, and has at hand what the way forward needs, before anything of the client changes: from here on neither
//! depends on a mirror.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};

use super::log_of;
use crate::{
    client::{
        CONFIG,
        kept::{Change, Places, open},
        unit,
    },
    context::Context,
    error::StepError,
    steps::{Work, count, done},
};

pub(in crate::steps) struct KeepClient(pub(in crate::steps) v1::KeepClient);

#[async_trait]
impl Work for KeepClient {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        cx.surroundings.client()?;
        let change = Change::of(self.0.change.as_ref())?;
        let way = &change.way;
        way.check_old(&cx.run).await?;
        let folder = open(way.old_folder())?;
        let config = folder.read(CONFIG)?;
        let digest = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
        let Some(config) = config.filter(|it| digest(&it.bytes) == change.config_digest) else {
            return Err(Change::changed("the client's configuration was changed"));
        };
        let collectors = way.collectors(&folder).await?;
        let enabled = unit::look().await?.enabled;
        let (places, log) = (Places::of(cx)?, log_of(cx));
        let fetched = way.fetch(cx, &places, (&cx.run_dir, &log)).await?;
        places.keep(&config, &collectors, enabled, fetched)?;
        let collectors = count(collectors.len() as u64, "collector");
        Ok(done(format!(
            "{}, its configuration, {collectors}",
            way.old_words()
        )))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let change = Change::of(self.0.change.as_ref())?;
        let kept = Places::of(cx)?.read()?;
        if blake3::hash(&kept.config.bytes).to_hex().as_str() == change.config_digest {
            return Ok(());
        }
        Err(StepError::new(
            "client-kept",
            "the client's configuration does not read back as it was kept",
        ))
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        cx.surroundings.client()?;
        Change::of(self.0.change.as_ref())?.way.forget(&cx.run)?;
        Places::of(cx)?.forget()?;
        Ok(done("what was kept is gone"))
    }
}
