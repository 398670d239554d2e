//! Gives every entry of the data to the user that the target's processes run as, with a record of
//! each former owner on disk before it changes (facts/pmm.md 1.4, 1.8).

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};

use crate::{
    context::Context,
    error::StepError,
    steps::{Work, count, done, done_with, in_doubt},
    tree::{
        self, LinkCheck, ManifestFolder, RecordReader, RecordWriter, Root, Threads, TransferOptions,
    },
};

pub(in crate::steps) struct TransferOwnership(pub(in crate::steps) v1::TransferOwnership);

/// The record of former owners, in the run's folder.
const RECORD: &str = "owners.record";

#[async_trait]
impl Work for TransferOwnership {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let volume = cx.surroundings.volume()?;
        let data = volume.data.clone();
        // A rehearsal's copy has no manifest, and is in no hurry.
        let backup = volume.live.is_none().then(|| volume.backup.clone());
        let owner = super::owner(self.0.owner.as_ref())?;
        let record = cx.run_dir.open_file(RECORD)?;
        let report = super::on_tree(cx, self.0.expected_entries, move |watch| {
            let root = Root::open(&data, None)?;
            let record = RecordWriter::open(record)?;
            // The final pass has just looked at every entry, and nobody writes to the tree since.
            let known = match backup {
                Some(backup) => ManifestFolder::open(&backup)?.recall(),
                None => None,
            };
            // Links out of the tree were looked for by the check; met now, they are left alone and
            // fail the step, and its undo gives back what was changed.
            let options = TransferOptions {
                links: LinkCheck::Along,
                known: known.as_ref(),
                ..TransferOptions::default()
            };
            tree::transfer(&root, owner, record, &options, watch)
        })
        .await?;
        let mut outcome = done(format!(
            "{} of {} changed",
            count(report.changed, "entry"),
            count(report.entries, "entry"),
        ));
        for (name, value) in [
            ("entries", report.entries),
            ("changed", report.changed),
            ("already_right", report.already_right),
            ("skipped", report.skipped),
        ] {
            outcome.values.insert(name.to_owned(), value.to_string());
        }
        Ok(outcome)
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let data = cx.surroundings.volume()?.data.clone();
        let owner = super::owner(self.0.owner.as_ref())?;
        let report = super::on_tree(cx, self.0.expected_entries, move |watch| {
            tree::verify_owner(&Root::open(&data, None)?, owner, watch)
        })
        .await?;
        if report.wrong.is_empty() {
            return Ok(());
        }
        Err(StepError::new(
            "owner-wrong",
            format!(
                "{} do not belong to {owner}",
                count(report.wrong.count, "entry")
            ),
        )
        .details(report.wrong.first)
        .hint("something changes owners beside the agent: find it, then `ferryctl resume`"))
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let data = cx.surroundings.volume()?.data.clone();
        if cx.run_dir.read(RECORD)?.is_none() {
            return Ok(done("no owner was changed"));
        }
        let record = cx.run_dir.open_file(RECORD)?;
        let report = super::on_tree(cx, 0, move |watch| {
            let root = Root::open(&data, None)?;
            let mut record = RecordReader::open(record)?;
            tree::restore_owners(&root, &mut record, Threads::default(), watch)
        })
        .await;
        let report = match report {
            Ok(report) => report,
            // Nothing was changed from it. The copy has all owners, and is compared when the pass that made it is taken back.
            Err(error) if error.code() == "tree-record-damaged" => {
                let warning = error.into_warning()?;
                let summary = "the owners are left for the comparison with the copy";
                return Ok(in_doubt(done_with(summary, vec![warning])));
            }
            Err(error) => return Err(error),
        };
        // What the record names and the tree no longer has was removed by someone else: it comes back with its owner from the copy too.
        let summary = format!("{} given back", count(report.changed, "entry"));
        if report.missing.is_empty() {
            return Ok(done(summary));
        }
        let warning = format!("not there any more: {}", report.missing);
        Ok(in_doubt(done_with(summary, vec![warning])))
    }
}
