//! Puts the target's words into Compose's file, and keeps the file as it was beside it.
//!
//! Why here in the order: the old container is set aside and the new one is not there yet, so whoever calls Compose in between
//! finds a file that describes no more than what is about to be. What is written was tried at Compose when the plan was made;
//! no program is started while the server is down.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};

use crate::{
    compose,
    context::Context,
    error::StepError,
    operator_file::{Content, FileError, OperatorFile},
    steps::{
        Work, count, done, done_with,
        host::edited_file::{EditedFile, PutBack},
    },
    successor::Successor,
};

pub(in crate::steps) struct EditComposeFile(pub(in crate::steps) v1::EditComposeFile);

impl EditComposeFile {
    fn file(&self) -> Result<OperatorFile, StepError> {
        Ok(OperatorFile::at(self.0.file.as_ref())?)
    }

    fn is_edited(&self, content: &Content) -> bool {
        content.digest == self.0.edited_digest
    }

    fn is_old(&self, content: &Content) -> bool {
        content.digest == self.0.digest
    }

    /// Takes the edit back as far as that can be done. A file that cannot be put back does not stand in the way of the server,
    /// which comes back without it.
    fn take_back(&self, run: &str) -> Outcome {
        self.put_back(run).unwrap_or_else(|error| {
            let why = format!("`{}` could not be put back as it was: {error}", self.0.file);
            done_with("Compose's file is left alone", vec![why])
        })
    }

    /// Gives the file back as it was, if it is still the one that the run has written.
    fn put_back(&self, run: &str) -> Result<Outcome, FileError> {
        let file = EditedFile {
            path: &self.0.file,
            digest: &self.0.digest,
            edited_digest: &self.0.edited_digest,
        };
        Ok(match file.put_back(run)? {
            PutBack::AsItWas => done(format!("`{}` is as it was", self.0.file)),
            PutBack::Left(why) => done_with("Compose's file is left alone", vec![why]),
        })
    }

    fn changed(&self) -> StepError {
        let path = &self.0.file;
        StepError::new(
            "compose-file-changed",
            format!("`{path}` is not as it was when the plan was made"),
        )
        .hint("leave the file alone during a run; then `ferryctl migrate` again")
    }
}

#[async_trait]
impl Work for EditComposeFile {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let engine = &cx.surroundings.host()?.engine;
        let file = self.file()?;
        let content = file.read()?.ok_or_else(|| self.changed())?;
        let kept = file.read_kept(&cx.run)?;
        // An attempt that was cut off behind its last change has nothing left to do.
        let written = kept.is_some_and(|kept| self.is_old(&kept)) && self.is_edited(&content);
        if !written {
            if !self.is_old(&content) {
                return Err(self.changed());
            }
            let old = engine.inspect_container(&self.0.old_container_id).await?;
            let new = Successor {
                image_id: &self.0.image_id,
                version: &self.0.target_version,
                same_major: self.0.same_major,
                data_volume: None,
            };
            let (reference, service) = (&self.0.reference, &self.0.service);
            let edited = compose::edited(engine, &old, new, reference, service, &content).await?;
            if compose::digest(&edited) != self.0.edited_digest {
                return Err(StepError::new(
                    "compose-edit-differs",
                    format!(
                        "`{}` would become another file than the plan has",
                        self.0.file
                    ),
                )
                .hint("use the release that made the plan, or make the plan again"));
            }
            file.keep(&cx.run, &content)?;
            file.replace(&cx.run, &content, &edited.text)?;
        }
        let kept = file.kept_path(&cx.run).display().to_string();
        let entries = self.0.diff.iter().filter(|line| line.starts_with('-'));
        let entries = count(entries.count() as u64, "entry");
        let mut outcome = done(format!("{entries} changed, as it was: `{kept}`"));
        outcome.values.insert("kept".to_owned(), kept);
        Ok(outcome)
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let file = self.file()?;
        let (now, kept) = (file.read()?, file.read_kept(&cx.run)?);
        let right = now.zip(kept).is_some_and(|(now, kept)| {
            self.is_edited(&now) && self.is_old(&kept) && now.is_owned_as(&kept)
        });
        if right {
            return Ok(());
        }
        Err(StepError::new(
            "compose-file-unproven",
            format!(
                "`{}` does not read back as it was written, or is not kept as it was",
                self.0.file
            ),
        ))
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        Ok(self.take_back(&cx.run))
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use ferry_proto::v1::StepStatus;

    use super::*;

    const OLD: &str = "image: old\n";
    const NEW: &str = "image: new\n";

    struct Scene {
        folder: tempfile::TempDir,
        step: EditComposeFile,
    }

    /// A folder with these files, and the step that is to be undone there.
    fn scene(files: &[(&str, &str)]) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs_err::write(folder.path().join(name), text).unwrap();
        }
        let digest = |text: &str| blake3::hash(text.as_bytes()).to_hex().to_string();
        let step = EditComposeFile(v1::EditComposeFile {
            file: folder.path().join("c.yml").display().to_string(),
            digest: digest(OLD),
            edited_digest: digest(NEW),
            ..v1::EditComposeFile::default()
        });
        Scene { folder, step }
    }

    impl Scene {
        fn undone(&self) -> (StepStatus, Vec<(String, String)>) {
            let outcome = self.step.take_back("r1");
            assert_eq!(
                outcome.status() == StepStatus::Warned,
                !outcome.warnings.is_empty()
            );
            (outcome.status(), left(self.folder.path()))
        }
    }

    fn left(folder: &Path) -> Vec<(String, String)> {
        let paths = fs_err::read_dir(folder)
            .unwrap()
            .map(|it| it.unwrap().path());
        let text = |path: PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs_err::read_to_string(path).unwrap())
        };
        let mut all: Vec<_> = paths.map(text).collect();
        all.sort();
        all
    }

    fn files(files: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        files.iter().map(owned).collect()
    }

    #[test]
    fn from_wherever_the_step_was_cut_off_the_file_comes_back() {
        let (file, kept, new) = ("c.yml", "c.yml.ferry-r1", "c.yml.ferry-r1.new");
        let done = (StepStatus::Succeeded, files(&[(file, OLD)]));
        for stage in [
            &[(file, OLD)][..],
            &[(file, OLD), (kept, OLD)],
            &[(file, OLD), (kept, OLD), (new, "ima")],
            &[(file, NEW), (kept, OLD)],
        ] {
            let scene = scene(stage);
            assert_eq!(scene.undone(), done, "{stage:?}");
            assert_eq!(scene.undone(), done, "{stage:?}, twice");
        }
    }

    /// A second name of the very same file, as the step makes it: a rename onto itself would do nothing.
    #[test]
    fn the_second_name_of_an_unchanged_file_goes() {
        let scene = scene(&[("c.yml", OLD)]);
        let path = |name| scene.folder.path().join(name);
        fs_err::hard_link(path("c.yml"), path("c.yml.ferry-r1")).unwrap();
        assert_eq!(
            scene.undone(),
            (StepStatus::Succeeded, files(&[("c.yml", OLD)]))
        );
    }

    #[test]
    fn what_cannot_be_put_back_is_told_and_does_not_hold_the_run() {
        let mut scene = scene(&[("c.yml", NEW), ("c.yml.ferry-r1", OLD)]);
        let nowhere = scene.folder.path().join("gone/c.yml");
        scene.step.0.file = nowhere.display().to_string();
        let outcome = scene.step.take_back("r1");
        assert_eq!(outcome.status(), StepStatus::Warned);
        assert!(outcome.warnings[0].contains("gone/c.yml"), "{outcome:?}");
    }

    #[test]
    fn what_somebody_else_has_changed_is_left_and_told() {
        let (file, kept) = ("c.yml", "c.yml.ferry-r1");
        for stage in [
            &[(file, "theirs"), (kept, OLD)][..],
            &[(file, NEW), (kept, "theirs")],
            &[(file, NEW)],
            &[(kept, OLD)],
        ] {
            let scene = scene(stage);
            assert_eq!(
                scene.undone(),
                (StepStatus::Warned, files(stage)),
                "{stage:?}"
            );
        }
        // Somebody's own file of that name stood in the way, and nothing was done.
        let stage = [(file, OLD), (kept, "theirs")];
        assert_eq!(
            scene(&stage).undone(),
            (StepStatus::Succeeded, files(&stage))
        );
    }
}
