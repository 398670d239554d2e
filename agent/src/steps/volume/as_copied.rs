//! Makes the server's data what it was when it was copied after the stop, and proves that it is.
//!
//! A rollback needs that in two places. Behind the hand-over the target has run on the data, and all of it is held against the copy, byte
//! by byte. Before the hand-over the steps themselves are taken back, and nobody should have touched the data beside them; but somebody may
//! have: freed space in the downtime, or started a container that was fenced. So it is looked at before the copy goes, and what is not as
//! it was comes from there.

use std::path::Path;

use ferry_proto::v1::Outcome;

use crate::{
    context::Context,
    error::StepError,
    state_dir::StateDir,
    steps::{count, done, done_with},
    surroundings::Volume,
    tree::{
        self, CompareOptions, CompareReport, ManifestFolder, Pass, Problems, ProveOptions,
        RestoreOptions, Root, Trust,
    },
};

/// What folders begin with, in the run's, that take what the copy does not have.
const ASIDE: &str = "after-";
/// In the run's folder: the data was restored, and compared.
const RESTORED: &str = "data-restored";

/// Restores the data, and compares it. `trust` says which of its files are left as they are.
///
/// # Errors
/// The copy or the data cannot be read or written, the copy is damaged, or the two still differ.
pub(super) async fn restore(cx: &Context, trust: Trust) -> Result<Outcome, StepError> {
    let volume = cx.surroundings.volume()?;
    let (data, copy) = (volume.data.clone(), super::copy_path(volume));
    // What an attempt that was cut off has written is known by its bytes alone: nobody has read it back.
    let is_first = !cx
        .run_dir
        .names()?
        .iter()
        .any(|name| name.starts_with(ASIDE));
    let trust = if is_first { trust } else { Trust::Bytes };
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
            trust,
            manifest: manifest.as_ref(),
            accept_damaged,
            ..RestoreOptions::new(&aside)
        };
        tree::restore(&copy, &data, &options, watch)
    })
    .await?;
    let compared = compare(cx, volume).await?;
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
    cx.run_dir.replace(RESTORED, b"")?;
    let mut outcome = done(format!(
        "{} compared, {} restored",
        count(compared.entries, "entry"),
        count(restored.files_copied, "file")
    ));
    if restored.extras > 0 {
        outcome.warnings.push(format!(
            "{} that the copy does not have kept in `{}`",
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

/// Whether this run has made the data what it was.
///
/// # Errors
/// The run's folder cannot be read.
pub(super) fn was_restored(cx: &Context) -> Result<bool, StepError> {
    Ok(cx.run_dir.read(RESTORED)?.is_some())
}

/// Proves that the data is as it was copied, when all steps behind the copy are taken back; what is not is restored. So also where this run
/// has restored it already: somebody may have been at it since.
///
/// Where the copy cannot be read, nothing says that the data is not right: the outcome has a warning, and that the copy is to be kept.
///
/// # Errors
/// The data differs and cannot be restored.
pub(super) async fn prove(cx: &Context) -> Result<Outcome, StepError> {
    let volume = cx.surroundings.volume()?;
    let differences = match compare(cx, volume).await {
        // What somebody may have written to is looked at byte by byte, whatever it looks like.
        Ok(report) if report.is_same() && !cx.data_in_doubt => {
            let entries = count(report.entries, "entry");
            return Ok(done(format!("{entries}: all as they were copied")));
        }
        Ok(report) => report.differences,
        Err(error) => {
            cx.check_cancelled()?;
            if cx.data_in_doubt && !cx.accept_damaged_copy {
                let what = "the data is not what it was or may not be, and cannot be compared with its copy";
                return Err(error.during(what).hint(format!(
                    "put the copy right, then `ferryctl resume {run}`; or go back with the data as it is with \
                     `ferryctl rollback {run} --accept-damaged-copy`",
                    run = cx.run
                )));
            }
            let why = error.into_warning()?;
            return Ok(kept(format!(
                "the data could not be compared with its copy, which is kept: {why}"
            )));
        }
    };
    let told = format!(
        "{} changed while the server was down: {differences}",
        count(differences.count, "entry")
    );
    // What a damaged copy has lost would be taken for what somebody has added to the data. Its bytes are looked at when they are needed.
    let of_copy = match cx.accept_damaged_copy {
        true => Problems::default(),
        false => differs(cx, &super::copy_path(volume), true).await?,
    };
    if !of_copy.is_empty() {
        // What somebody may have written to is known by its bytes alone.
        if differs(cx, &volume.data, !cx.data_in_doubt)
            .await?
            .is_empty()
        {
            return Ok(kept(format!(
                "the data is as it was copied, and its copy is not any more, which is kept: {of_copy}"
            )));
        }
        return Err(StepError::new(
            "copy-not-proven",
            "the data is not as it was copied, and the copy is not what its manifest says",
        )
        .details([told.clone(), format!("of the copy {of_copy}")])
        .hint(format!(
            "put the copy right, then `ferryctl resume {run}`; or restore what it has with \
             `ferryctl rollback {run} --accept-damaged-copy`",
            run = cx.run
        )));
    }
    // Where the copy is taken as it is, what it has lost is told from what the data has by the bytes alone.
    let trust = match cx.data_in_doubt || cx.accept_damaged_copy {
        true => Trust::Bytes,
        false => Trust::Times,
    };
    let mut outcome = restore(cx, trust).await?;
    if !differences.is_empty() {
        outcome.warnings.insert(0, told);
    }
    Ok(outcome)
}

/// In what a tree is not as the last pass has noted it; with `looks_only` its bytes are not read.
async fn differs(cx: &Context, tree: &Path, looks_only: bool) -> Result<Problems, StepError> {
    let (volume, tree) = (cx.surroundings.volume()?.clone(), tree.to_owned());
    super::on_tree(cx, 0, move |watch| {
        let manifest = super::manifest(&volume, Pass::Final)?;
        let options = ProveOptions {
            looks_only,
            ..ProveOptions::default()
        };
        let report = tree::prove(&Root::open(&tree, None)?, &manifest, &options, watch)?;
        Ok(report.differences)
    })
    .await
    .map_err(|error| {
        error
            .during("the data is not as it was copied, and what the copy has to be is not known")
            .hint(format!(
                "put the copy right, then `ferryctl resume {run}`; or restore what it has with \
                 `ferryctl rollback {run} --accept-damaged-copy`",
                run = cx.run
            ))
    })
}

/// An outcome that tells the controller to have the copy kept.
fn kept(warning: String) -> Outcome {
    let mut outcome = done_with("the data is left as it is", vec![warning]);
    outcome
        .values
        .insert(ferry_proto::KEEP_COPY.to_owned(), "true".to_owned());
    outcome
}

async fn compare(cx: &Context, volume: &Volume) -> Result<CompareReport, StepError> {
    let (data, copy) = (volume.data.clone(), super::copy_path(volume));
    let (backup, accept_damaged) = (volume.backup.clone(), cx.accept_damaged_copy);
    super::on_tree(cx, 0, move |watch| {
        // A copy that is taken as it is may have lost what the data still has.
        let manifest = match accept_damaged {
            true => ManifestFolder::open(&backup)?.recall(),
            false => None,
        };
        let (data, copy) = (Root::open(&data, None)?, Root::open(&copy, None)?);
        let options = CompareOptions {
            proven: manifest.as_ref(),
            ..CompareOptions::default()
        };
        tree::compare(&data, &copy, &options, watch)
    })
    .await
}

/// An empty folder for what is moved aside: an undo that was cut off has left its own.
fn free_name(cx: &Context) -> Result<String, StepError> {
    let taken = cx.run_dir.names()?;
    let mut names = (1..).map(|number| format!("{ASIDE}{number}"));
    Ok(names.find(|name| !taken.contains(name)).unwrap_or_default())
}
