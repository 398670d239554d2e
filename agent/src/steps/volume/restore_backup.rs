//! Copies a backup into the new volume that was made for it, and compares every byte afterwards.

use async_trait::async_trait;
use ferry_proto::v1::Outcome;

use crate::{
    context::Context,
    error::StepError,
    steps::{Work, count, done},
    tree::{self, CompareOptions, CopyOptions, Pass, Root, Threads},
};

pub(in crate::steps) struct RestoreBackup;

#[async_trait]
impl Work for RestoreBackup {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let volume = cx.surroundings.volume()?;
        let (data, copy) = (volume.data.clone(), super::copy_path(volume));
        let report = super::on_tree(cx, 0, move |watch| {
            let (data, copy) = (Root::open(&data, None)?, Root::open(&copy, None)?);
            // Nobody writes to a backup: whatever changes under this copy is an error.
            let options = CopyOptions {
                // All of it is written.
                threads: Threads::WRITING,
                ..CopyOptions::new(Pass::Final)
            };
            tree::copy(&copy, &data, &options, watch)
        })
        .await?;
        let mut outcome = done(format!(
            "{}, {} MiB",
            count(report.entries, "entry"),
            report.bytes_copied.div_ceil(1 << 20)
        ));
        outcome
            .values
            .insert("entries".to_owned(), report.entries.to_string());
        Ok(outcome)
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let volume = cx.surroundings.volume()?;
        let (data, copy) = (volume.data.clone(), super::copy_path(volume));
        let report = super::on_tree(cx, 0, move |watch| {
            let (data, copy) = (Root::open(&data, None)?, Root::open(&copy, None)?);
            let options = CompareOptions {
                content: true,
                ..CompareOptions::default()
            };
            tree::compare(&data, &copy, &options, watch)
        })
        .await?;
        if report.is_same() {
            return Ok(());
        }
        Err(StepError::new(
            "restore-differs",
            format!(
                "the restored data differs from the backup in {}",
                count(report.differences.count, "entry")
            ),
        )
        .details(report.differences.first)
        .hint("the backup is whole: look at the disk that is restored to, then try again"))
    }

    /// The new volume goes as a whole, with the agent that has it.
    async fn undo(&self, _cx: &Context) -> Result<Outcome, StepError> {
        Ok(done("the new volume goes with its agent"))
    }
}
