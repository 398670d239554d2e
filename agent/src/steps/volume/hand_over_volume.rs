//! The last look before the target may write: from here, going back means restoring the data. The
//! way back is this step's undo, by the copy that was made before.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};

use crate::{
    context::Context,
    error::StepError,
    state_dir::StateDir,
    steps::{Work, count, done},
    tree::{self, CompareOptions, ManifestFolder, Pass, RestoreOptions, Root, Trust},
};

pub(in crate::steps) struct HandOverVolume(pub(in crate::steps) v1::HandOverVolume);

#[async_trait]
impl Work for HandOverVolume {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let copy = super::copy_path(cx.surroundings.volume()?);
        // Without a copy there is no way back, whatever the plan says. Its content was proven by
        // the final pass, and nobody but this agent can reach it.
        Root::open(&copy, None)
            .map_err(|error| StepError::from(error).during("the copy cannot be opened"))?;
        cx.keep(&true)?;
        Ok(done("from here the target may write"))
    }

    /// The root is changed last by the transfer, where there is one: its owner is the mark that all of it is done.
    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let Some(owner) = &self.0.owner else {
            return Ok(());
        };
        let owner = super::owner(Some(owner))?;
        let stat = rustix::fs::lstat(&cx.surroundings.volume()?.data)
            .map_err(|error| StepError::new("tree-io", format!("the data's root: {error}")))?;
        if (stat.st_uid, stat.st_gid) == (owner.uid, owner.gid) {
            return Ok(());
        }
        Err(StepError::new(
            "owner-wrong",
            format!(
                "the data's root belongs to {}:{}, not to {owner}",
                stat.st_uid, stat.st_gid
            ),
        )
        .hint("something changes owners beside the agent: find it, then `ferryctl resume`"))
    }

    /// The controller has the whole copy proven before it asks for this, while the target still runs.
    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        if cx.first_kept::<bool>()?.is_none() {
            return Ok(done("the data was not handed over"));
        }
        let volume = cx.surroundings.volume()?;
        let (data, copy) = (volume.data.clone(), super::copy_path(volume));
        // What the target alone has is kept, out of the way. What both have becomes what it was.
        let aside: StateDir = cx.run_dir.sub(&free_name(cx)?)?;
        let aside_path = aside.path().to_owned();
        let backup = volume.backup.clone();
        let accept_damaged = cx.accept_damaged_copy;
        let restored = super::on_tree(cx, 0, move |watch| {
            let manifests = ManifestFolder::open(&backup)?;
            let manifest = match accept_damaged {
                false => Some(manifests.read(Pass::Final)?),
                true => manifests.recall(),
            };
            let (data, copy) = (Root::open(&data, None)?, Root::open(&copy, None)?);
            let aside = Root::open(aside.path(), None)?;
            let options = RestoreOptions {
                trust: Trust::Bytes,
                manifest: manifest.as_ref(),
                accept_damaged,
                ..RestoreOptions::new(&aside)
            };
            tree::restore(&copy, &data, &options, watch)
        })
        .await?;
        let (data, copy) = (volume.data.clone(), super::copy_path(volume));
        let compared = super::on_tree(cx, 0, move |watch| {
            let (data, copy) = (Root::open(&data, None)?, Root::open(&copy, None)?);
            tree::compare(&data, &copy, &CompareOptions::default(), watch)
        })
        .await?;
        if !compared.differences.is_empty() {
            return Err(StepError::new(
                "restore-differs",
                format!(
                    "the restored data differs from its copy in {}",
                    count(compared.differences.count, "entry")
                ),
            )
            .details(compared.differences.first)
            .hint("the copy is whole: `ferryctl rollback` again, or look at the disk"));
        }
        let mut outcome = done(format!(
            "{} compared, {} restored",
            count(compared.entries, "entry"),
            count(restored.files_copied, "file")
        ));
        if restored.extras > 0 {
            outcome.warnings.push(format!(
                "{} of the newer version kept in `{}`",
                count(restored.extras, "entry"),
                aside_path.display()
            ));
        }
        if !restored.damaged.is_empty() {
            outcome.warnings.push(format!(
                "{} restored as the copy has it, which is not what was copied: {}",
                count(restored.damaged.count, "file"),
                restored.damaged
            ));
        }
        Ok(outcome)
    }
}

/// An empty folder for what is moved aside: an undo that was cut off has left its own.
fn free_name(cx: &Context) -> Result<String, StepError> {
    let taken = cx.run_dir.names()?;
    let mut names = (1..).map(|number| format!("after-{number}"));
    Ok(names.find(|name| !taken.contains(name)).unwrap_or_default())
}
