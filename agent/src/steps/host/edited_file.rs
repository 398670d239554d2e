//! A file of the operator's that a run has edited, told by its digests before and after.

use crate::operator_file::{Content, FileError, OperatorFile};

/// Which file, and what it held and holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct EditedFile<'a> {
    pub(super) path: &'a str,
    /// BLAKE3, in hexadecimal.
    pub(super) digest: &'a str,
    pub(super) edited_digest: &'a str,
}

/// What became of the attempt to put it back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PutBack {
    AsItWas,
    /// It was left as it is, and why.
    Left(String),
}

impl EditedFile<'_> {
    /// Whether that is what the run has written.
    pub(super) fn is_edited(&self, content: &Content) -> bool {
        content.digest == self.edited_digest
    }

    /// Whether that is what was there before.
    pub(super) fn is_old(&self, content: &Content) -> bool {
        content.digest == self.digest
    }

    /// Whether it is what the run has written, and is kept as it was.
    pub(super) fn is_written(&self, run: &str) -> Result<bool, FileError> {
        let file = OperatorFile::at(self.path.as_ref())?;
        let (now, kept) = (file.read()?, file.read_kept(run)?);
        Ok(now.zip(kept).is_some_and(|(now, kept)| {
            self.is_edited(&now) && self.is_old(&kept) && now.is_owned_as(&kept)
        }))
    }

    /// Gives the file back as it was, if it is still the one that the run has written.
    pub(super) fn put_back(&self, run: &str) -> Result<PutBack, FileError> {
        let path = self.path;
        let file = OperatorFile::at(path.as_ref())?;
        let (now, kept) = (file.read()?, file.read_kept(run)?);
        let kept_whole = kept.is_some_and(|kept| self.is_old(&kept));
        match now {
            // Not begun, cut off before the new file took the name, or undone before.
            Some(now) if self.is_old(&now) => {
                if kept_whole {
                    file.forget(run)?;
                } else {
                    file.forget_unfinished(run)?;
                }
                return Ok(PutBack::AsItWas);
            }
            Some(now) if self.is_edited(&now) && kept_whole => {
                file.put_back(run)?;
                file.forget_unfinished(run)?;
                return Ok(PutBack::AsItWas);
            }
            _ => file.forget_unfinished(run)?,
        }
        let kept = file.kept_path(run);
        Ok(PutBack::Left(if kept_whole {
            format!(
                "`{path}` was changed after the run had edited it, and is left as it is; as it was before: `{}`",
                kept.display()
            )
        } else {
            format!(
                "`{path}` is left as it is: what was kept of it as `{}` was changed or is gone",
                kept.display()
            )
        }))
    }
}
