//! Copies the server's data to the backup volume: once while the server runs, and once more, what
//! changed, when it has stopped. Downtime then follows the rate of change and not the size. Beside
//! the copy each pass leaves a manifest, whose digest is in the outcome and so in the journal.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};

use crate::{
    context::Context,
    error::StepError,
    steps::{Work, count, done},
    tree::{self, CopyOptions, ManifestFolder, Pass, Root},
};

pub(in crate::steps) struct CopyVolume(pub(in crate::steps) v1::CopyVolume);

/// The run's own folder in the backup volume.
const RUN_STATE: &str = "run";

impl CopyVolume {
    fn pass(&self) -> Pass {
        if self.0.final_pass {
            Pass::Final
        } else {
            Pass::Live
        }
    }
}

/// What the source does not have is removed from the copy. So it has to be the source that was copied: a folder whose disk was not mounted
/// again after a reboot looks like one that has lost everything.
fn check_same_data(cx: &Context) -> Result<(), StepError> {
    let own = format!("{}.ledger", cx.step);
    let names = cx.run_dir.names()?;
    if names
        .iter()
        .any(|name| name.ends_with(".ledger") && *name != own)
    {
        return Ok(());
    }
    Err(StepError::new(
        "data-elsewhere",
        format!(
            "`{}` has no word of what this run has done there: it is not the data that was copied, which is left as it is, with its copy",
            cx.run_dir.path().display()
        ),
    )
    .hint(format!(
        "see that the disk with the server's data is mounted, then `ferryctl resume {}`",
        cx.run
    )))
}

#[async_trait]
impl Work for CopyVolume {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let volume = cx.surroundings.volume()?;
        if self.0.final_pass {
            check_same_data(cx)?;
        }
        // A rehearsal's copy is where it will be started from, not in a backup volume.
        let (data, copy) = match &volume.live {
            Some(live) => (live.clone(), volume.data.clone()),
            None => (volume.data.clone(), super::copy_path(volume)),
        };
        // It is not kept, so nothing is written down of it.
        let folder = volume.live.is_none().then(|| volume.backup.clone());
        let pass = self.pass();
        // The final pass never waits: the server is down.
        let limit =
            (!self.0.final_pass && self.0.bytes_per_second > 0).then_some(self.0.bytes_per_second);
        let report = super::on_tree(cx, 0, move |watch| {
            let (data, copy) = (Root::open(&data, None)?, super::open_copy(&copy)?);
            let folder = folder.as_deref().map(ManifestFolder::open).transpose()?;
            let options = CopyOptions {
                manifest: folder.as_ref(),
                bytes_per_second: limit,
                ..CopyOptions::new(pass)
            };
            tree::copy(&data, &copy, &options, watch)
        })
        .await?;
        if self.0.final_pass {
            // Baseline, dumps and ledgers lie on the volume that is handed over: a copy of them
            // lies where the new server cannot reach.
            let (state, kept) = (cx.run_dir.path().to_owned(), volume.backup.join(RUN_STATE));
            super::on_tree(cx, 0, move |watch| {
                let (state, kept) = (Root::open(&state, None)?, super::open_copy(&kept)?);
                tree::copy(&state, &kept, &CopyOptions::new(Pass::Live), watch)
            })
            .await?;
            cx.keep(&true)?;
        }
        let mut outcome = done(format!(
            "{}, {} MiB{}",
            count(report.files_copied, "file"),
            report.bytes_copied.div_ceil(1 << 20),
            match report.vanished + report.changed_meanwhile {
                0 => String::new(),
                moving => format!(", {moving} in motion"),
            }
        ));
        for (name, value) in [
            ("entries", report.entries),
            ("files_copied", report.files_copied),
            ("bytes_copied", report.bytes_copied),
        ] {
            outcome.values.insert(name.to_owned(), value.to_string());
        }
        if let Some(digest) = report.manifest {
            outcome.values.insert("manifest".to_owned(), digest);
        }
        Ok(outcome)
    }

    /// The final pass looked at both sides of every entry and read back what it wrote; what it says
    /// of them must be there, whole. A second walk would double the downtime and prove no more.
    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let volume = cx.surroundings.volume()?.clone();
        if volume.live.is_some() {
            return Ok(());
        }
        let pass = self.pass();
        super::on_tree(cx, 0, move |_| super::manifest(&volume, pass).map(drop)).await
    }

    /// The copy goes with its volume, when the run is undone as a whole. What was undone until here is held against it before.
    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        if !self.0.final_pass || cx.surroundings.volume()?.live.is_some() {
            return Ok(done("the copy stays until the end of the rollback"));
        }
        let volume = cx.surroundings.volume()?.clone();
        let manifest = || super::on_tree(cx, 0, move |_| super::manifest(&volume, Pass::Final));
        // An earlier release kept no word of it.
        if cx.first_kept::<bool>()?.is_none() && manifest().await.is_err() {
            let said = "the copy was not completed, and nothing changed behind it";
            return Ok(done(said));
        }
        super::as_copied::prove(cx).await
    }
}
