//! Reads the copy and compares it with its manifest, entry by entry and byte by byte, while the
//! server goes on: a backup that does not fit ends the run before anything has changed.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};

use crate::{
    context::Context,
    error::StepError,
    steps::{Work, count, done},
    surroundings::Volume,
    tree::{self, Pass, ProveOptions, Root, fs_space, shares_blocks},
};

pub(in crate::steps) struct ProveCopy(pub(in crate::steps) v1::ProveCopy);

#[async_trait]
impl Work for ProveCopy {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let volume = cx.surroundings.volume()?.clone();
        let pass = if self.0.final_manifest {
            Pass::Final
        } else {
            Pass::Live
        };
        let manifest = {
            let volume = volume.clone();
            super::on_tree(cx, 0, move |_| super::manifest(&volume, pass)).await?
        };
        let digest = manifest.digest();
        if !self.0.digest.is_empty() && self.0.digest != digest {
            return Err(StepError::new(
                "manifest-other",
                format!(
                    "the manifest beside the copy is not the one that was written: its digest is \
                     {digest}, and the journal has {}",
                    self.0.digest
                ),
            )
            .hint("the copy belongs to another run, or was changed: do not restore from it"));
        }
        if self.0.room_for_restore {
            check_room(cx, &volume).await?;
        }
        let bound = self.0.bytes_per_second;
        let report = super::on_tree(cx, manifest.entries(), move |watch| {
            let copy = Root::open(&super::copy_path(&volume), None)?;
            let options = ProveOptions {
                bytes_per_second: (bound > 0).then_some(bound),
                ..ProveOptions::default()
            };
            tree::prove(&copy, &manifest, &options, watch)
        })
        .await?;
        if !report.is_proven() {
            return Err(StepError::new(
                "copy-not-proven",
                format!(
                    "the copy differs from its manifest in {}",
                    count(report.differences.count, "entry")
                ),
            )
            .details(report.differences.first)
            .hint(
                "nothing on the server has changed; look at the disk of the copy (`dmesg`), then \
                 copy again",
            ));
        }
        let mut outcome = done(format!(
            "{}, {} MiB read and compared",
            count(report.entries, "entry"),
            report.bytes.div_ceil(1 << 20)
        ));
        for (name, value) in [
            ("entries", report.entries.to_string()),
            ("files", report.files.to_string()),
            ("bytes", report.bytes.to_string()),
            ("manifest", digest),
        ] {
            outcome.values.insert(name.to_owned(), value);
        }
        Ok(outcome)
    }

    /// The proof is the look.
    async fn verify(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }

    async fn undo(&self, _cx: &Context) -> Result<Outcome, StepError> {
        Ok(done("nothing was changed"))
    }
}

/// What names and maps of files may take whose blocks are shared.
const SHARED: u64 = 64 << 20;

/// What restoring the copy takes at least, of the disk that the data is on. The whole of it: a restore leaves nothing to others.
async fn check_room(cx: &Context, volume: &Volume) -> Result<(), StepError> {
    let (data, copy) = (volume.data.clone(), super::copy_path(volume));
    let path = data.display().to_string();
    let (needed, free) = super::on_tree(cx, 0, move |watch| {
        let (data, copy) = (Root::open(&data, None)?, Root::open(&copy, None)?);
        let free = fs_space(&data)?.free_bytes;
        Ok(match tree::growth(&copy, &data, watch)? {
            // What is shared takes next to no room of its own.
            needed if needed > free && shares_blocks(&copy, &data) => (needed.min(SHARED), free),
            needed => (needed, free),
        })
    })
    .await?;
    if needed <= free {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    Err(StepError::new(
        "no-space-for-restore",
        format!(
            "restoring the data takes {} MiB more than it has now at `{path}`, and {} MiB are free there",
            mib(needed),
            mib(free)
        ),
    )
    .hint("free space on the disk of the data, then `ferryctl rollback` again"))
}
