//! Copies the server's data to the backup volume: once while the server runs, and once more, what
//! changed, when it has stopped. Downtime then follows the rate of change and not the size.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};

use crate::{
    context::Context,
    error::StepError,
    steps::{Work, count, done},
    tree::{self, CompareOptions, CopyOptions, Pass, Root},
};

pub(in crate::steps) struct CopyVolume(pub(in crate::steps) v1::CopyVolume);

/// The run's own folder in the backup volume.
const RUN_STATE: &str = "run";

#[async_trait]
impl Work for CopyVolume {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let volume = cx.surroundings.volume()?;
        // A rehearsal's copy is where it will be started from, not in a backup volume.
        let (data, copy) = match &volume.live {
            Some(live) => (live.clone(), volume.data.clone()),
            None => (volume.data.clone(), super::copy_path(volume)),
        };
        let pass = if self.0.final_pass {
            Pass::Final
        } else {
            Pass::Live
        };
        let report = super::on_tree(cx, 0, move |watch| {
            let (data, copy) = (Root::open(&data, None)?, super::open_copy(&copy)?);
            tree::copy(&data, &copy, &CopyOptions::new(pass), watch)
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
        Ok(outcome)
    }

    /// After the final pass nothing may differ: kind, owner, mode, size, times, attributes.
    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        if !self.0.final_pass {
            return Ok(());
        }
        let volume = cx.surroundings.volume()?;
        let (data, copy) = (volume.data.clone(), super::copy_path(volume));
        let report = super::on_tree(cx, 0, move |watch| {
            let (data, copy) = (Root::open(&data, None)?, Root::open(&copy, None)?);
            tree::compare(&data, &copy, &CompareOptions::default(), watch)
        })
        .await?;
        if report.differences.is_empty() {
            return Ok(());
        }
        Err(StepError::new(
            "copy-differs",
            format!(
                "the copy differs from the server's data in {}",
                count(report.differences.count, "entry")
            ),
        )
        .details(report.differences.first)
        .hint("something still writes to the data: find it, then `ferryctl migrate` again"))
    }

    /// The copy goes with its volume, when the run is undone as a whole.
    async fn undo(&self, _cx: &Context) -> Result<Outcome, StepError> {
        Ok(done("the copy stays until the end of the rollback"))
    }
}
