//! Puts the target's words into the files of the unit that makes the container, and keeps each file as it was beside it.
//!
//! Why here in the order: the unit is held and its container is gone, so nobody starts it from a file that is half of one version and half
//! of the other. A file that cannot be put back stands in the way of going back: the unit would start the target on the data as
//! it was before.

use std::path::Path;

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome, ServiceUnit};

use crate::{
    context::Context,
    error::StepError,
    operator_file::OperatorFile,
    steps::{
        Work, count, done,
        host::edited_file::{EditedFile, PutBack},
    },
    unit::{self, Service, Wanted},
};

pub(in crate::steps) struct EditUnitFiles(pub(in crate::steps) v1::EditUnitFiles);

/// The files of a unit that a run edits.
pub(super) fn files(unit: &ServiceUnit) -> impl Iterator<Item = EditedFile<'_>> {
    unit.files.iter().map(|file| EditedFile {
        path: &file.path,
        digest: &file.digest,
        edited_digest: &file.edited_digest,
    })
}

impl EditUnitFiles {
    fn unit(&self, cx: &Context) -> Result<&ServiceUnit, StepError> {
        let unit = self.0.unit.as_ref();
        let unit = unit.ok_or_else(|| StepError::new("bad-parameter", "the step names no unit"))?;
        // Only the very user touches the files.
        Service::named(&cx.surroundings.host()?.engine, unit).map(|_| unit)
    }

    /// The new text of each file that changes, made from the files as they were.
    fn texts(&self, unit: &ServiceUnit, run: &str) -> Result<Vec<String>, StepError> {
        let mut read = unit::read_again(Path::new(&unit.file), &unit.name, unit.user)?;
        for held in &mut read.files {
            // One that an attempt before this one has written already.
            let edited = files(unit).find(|it| Path::new(it.path) == held.path);
            let Some(edited) = edited.filter(|it| unit::digest(&held.text) == it.edited_digest)
            else {
                continue;
            };
            let kept = OperatorFile::at(&held.path)?.read_kept(run)?;
            if let Some(kept) = kept.filter(|kept| edited.is_old(kept)) {
                held.text = kept.text;
            }
        }
        let wanted = Wanted {
            reference: &self.0.reference,
            changes: &self.0.changes,
            ports: self.0.ports,
        };
        let made = unit::edit(&read.texts(), &wanted.changes()).map_err(|why| {
            StepError::new(
                "unit-file-refused",
                format!("the files of `{}`: {why}", unit.name),
            )
        })?;
        let mut texts = Vec::new();
        for file in files(unit) {
            let at = read
                .files
                .iter()
                .position(|it| it.path == Path::new(file.path));
            let text = at.and_then(|at| made.get(at)).map(|it| it.text.clone());
            let text = text.filter(|it| unit::digest(it) == file.edited_digest);
            texts.push(text.ok_or_else(|| {
                StepError::new(
                    "unit-edit-differs",
                    format!(
                        "`{}` would become another file than the plan has",
                        file.path
                    ),
                )
                .hint("leave the unit's files alone during a run; then `ferryctl migrate` again")
            })?);
        }
        Ok(texts)
    }
}

#[async_trait]
impl Work for EditUnitFiles {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let unit = self.unit(cx)?;
        let texts = self.texts(unit, &cx.run)?;
        let mut kept = Vec::new();
        let mut entries = 0;
        for ((file, text), facts) in files(unit).zip(&texts).zip(&unit.files) {
            let on_disk = OperatorFile::at(file.path.as_ref())?;
            if !file.is_written(&cx.run)? {
                let content = on_disk.read()?.filter(|it| file.is_old(it));
                let content = content.ok_or_else(|| {
                    StepError::new(
                        "unit-file-changed",
                        format!("`{}` is not as it was when the plan was made", file.path),
                    )
                    .hint(
                        "leave the unit's files alone during a run; then `ferryctl migrate` again",
                    )
                })?;
                on_disk.keep(&cx.run, &content)?;
                on_disk.replace(&cx.run, &content, text)?;
            }
            kept.push(on_disk.kept_path(&cx.run).display().to_string());
            entries += facts.diff.iter().filter(|it| it.starts_with('-')).count();
        }
        let kept = kept.join(", ");
        let entries = count(entries as u64, "entry");
        let mut outcome = done(format!("{entries} changed, as it was: `{kept}`"));
        outcome.values.insert("kept".to_owned(), kept);
        Ok(outcome)
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        for file in files(self.unit(cx)?) {
            if !file.is_written(&cx.run)? {
                return Err(StepError::new(
                    "unit-file-unproven",
                    format!(
                        "`{}` does not read back as it was written, or is not kept as it was",
                        file.path
                    ),
                ));
            }
        }
        Ok(())
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let unit = self.unit(cx)?;
        for file in files(unit) {
            if let PutBack::Left(why) = file.put_back(&cx.run)? {
                return Err(StepError::new("unit-file-left", why).hint(format!(
                    "put `{}` back as it was, so that `{}` starts the old image, then `ferryctl rollback {}` again",
                    file.path, unit.name, cx.run
                )));
            }
        }
        Ok(done(format!(
            "the files of `{}` are as they were",
            unit.name
        )))
    }
}
