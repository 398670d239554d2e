//! Makes a step fail, whatever it does: its ledger cannot be written, as on a disk that takes nothing any more. Either it is so before the step is
//! asked for, so that no machine is too quick for it and the step does nothing; or from when the ledger says that the step has begun, so that it
//! acts and cannot say that it has.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Case, Event, Scene};
use crate::Result;
use crate::disk::set_immutable;

/// How long a step may take to begin after it was asked for.
const BEGINS: Duration = Duration::from_secs(20);
/// How often it is looked whether it has. A step is sealed behind its begin only where it takes much longer.
const GLANCE: Duration = Duration::from_millis(2);

/// What makes the step of a case fail.
pub(super) enum Fails {
    /// Nothing does.
    Not,
    /// From before it is asked for.
    Sealed(Sealed),
    /// From when it has begun.
    Unsealed(Unsealed),
}

impl Fails {
    /// Before the step is asked for.
    ///
    /// # Errors
    /// When its ledgers are not found, or cannot be sealed.
    pub(super) fn prepare<S: Scene>(scene: &S, run: &str, case: &Case) -> Result<Self> {
        if !case.event.fails() {
            return Ok(Self::Not);
        }
        let folders = scene.ledgers(run)?;
        Ok(match case.event {
            Event::Failed => Self::Sealed(Sealed::of(&folders, &case.step)?),
            _ => Self::Unsealed(Unsealed::of(&folders, &case.step)),
        })
    }

    /// As much for a volume that the run has made meanwhile.
    ///
    /// # Errors
    /// As [`Fails::prepare`].
    pub(super) fn add(&mut self, folder: &Path, step: &str) -> Result<()> {
        match self {
            Self::Not => Ok(()),
            Self::Sealed(sealed) => sealed.add(folder, step),
            Self::Unsealed(unsealed) => {
                unsealed.add(folder, step);
                Ok(())
            }
        }
    }
}

/// The ledgers of a step, wherever its agent may be, while nobody can write to them.
#[derive(Debug)]
pub(super) struct Sealed(Vec<Ledger>);

/// The ledgers of a step as they are before it is asked for.
#[derive(Debug)]
pub(super) struct Unsealed(Vec<(PathBuf, usize)>);

#[derive(Debug)]
struct Ledger {
    path: PathBuf,
    /// The step has none yet, and shall find none.
    is_new: bool,
}

impl Sealed {
    /// Seals the ledger of a step in each of these folders.
    ///
    /// # Errors
    /// When one cannot be.
    pub(super) fn of(folders: &[PathBuf], step: &str) -> Result<Self> {
        let mut sealed = Self(Vec::new());
        for folder in folders {
            sealed.add(folder, step)?;
        }
        Ok(sealed)
    }

    /// Seals one more.
    ///
    /// # Errors
    /// When it cannot be.
    pub(super) fn add(&mut self, folder: &Path, step: &str) -> Result<()> {
        self.0.push(Ledger::seal(folder, step)?);
        Ok(())
    }
}

impl Unsealed {
    /// Looks at the ledgers of a step in these folders.
    pub(super) fn of(folders: &[PathBuf], step: &str) -> Self {
        let files = folders.iter().map(|folder| ledger(folder, step));
        Self(files.map(|file| (file.clone(), begins(&file))).collect())
    }

    /// One more.
    pub(super) fn add(&mut self, folder: &Path, step: &str) {
        let file = ledger(folder, step);
        self.0.push((file.clone(), begins(&file)));
    }

    /// Waits until one of them says that the step has begun, and seals that; `None` where none does.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub(super) fn seal_when_begun(&self) -> Result<Option<Sealed>> {
        let until = Instant::now() + BEGINS;
        while Instant::now() < until {
            let mut begun = self
                .0
                .iter()
                .filter(|(file, before)| begins(file) > *before);
            if let Some((path, _)) = begun.next() {
                set_immutable(path, true)?;
                let ledger = Ledger {
                    path: path.clone(),
                    is_new: false,
                };
                return Ok(Some(Sealed(vec![ledger])));
            }
            std::thread::sleep(GLANCE);
        }
        Ok(None)
    }
}

fn ledger(folder: &Path, step: &str) -> PathBuf {
    folder.join(format!("{step}.ledger"))
}

/// How often the step has begun by this ledger.
fn begins(file: &Path) -> usize {
    let records = fs_err::read(file).unwrap_or_default();
    let records = String::from_utf8_lossy(&records);
    records.matches("\"record\":\"begin\"").count()
}

impl Ledger {
    fn seal(folder: &Path, step: &str) -> Result<Self> {
        fs_err::create_dir_all(folder)?;
        let path = ledger(folder, step);
        let is_new = !path.exists();
        if is_new {
            fs_err::File::create(&path)?;
        }
        set_immutable(&path, true)?;
        Ok(Self { path, is_new })
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // Its folder may be gone with its volume, and there is nobody to tell.
        let _gone = set_immutable(&self.path, false);
        if self.is_new {
            let _gone = fs_err::remove_file(&self.path);
        }
    }
}
