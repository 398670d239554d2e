//! Who may drive a run. Two controllers that both go on from one journal would each be right and
//! together be wrong, so a run has one driver at a time.
//!
//! The lock is the kernel's (`flock`), not the file: it goes when its holder dies, however that
//! happens. The lock on the *server* is another one and outlives its holder: see
//! [`Journal::create_run`].

use std::{
    io::{Read as _, Write as _},
    os::unix::fs::DirBuilderExt as _,
};

use fs_err::{File, os::unix::fs::OpenOptionsExt as _};
use rustix::fs::{FlockOperation, flock};

use super::journal::{Journal, JournalError};

/// Proof that this process is the one that drives a run. Dropping it gives the run free.
#[derive(Debug)]
pub struct DriverLock {
    run: String,
    // Held open: the lock is on the open file.
    _file: File,
}

impl DriverLock {
    /// The run that is driven.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }
}

impl Journal {
    /// Takes the right to drive a run, by its full name.
    ///
    /// # Errors
    /// [`JournalError::RunDriven`] when another process has it, [`JournalError::Folder`] when the
    /// lock file cannot be made.
    pub fn drive(&self, run: &str) -> Result<DriverLock, JournalError> {
        let folder = self.folder().join("runs");
        let refused = |source| JournalError::Folder {
            folder: folder.clone(),
            source,
        };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(refused)?;
        let mut file = fs_err::OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(folder.join(format!("{run}.lock")))
            .map_err(refused)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // Whose it is helps the operator, no more: without it the refusal stands all the
                // same.
                let pid = file
                    .read_to_string(&mut text)
                    .ok()
                    .and_then(|_| text.trim().parse().ok());
                return Err(JournalError::RunDriven {
                    run: run.to_owned(),
                    pid,
                });
            }
            Err(errno) => return Err(refused(errno.into())),
        }
        file.set_len(0).map_err(refused)?;
        writeln!(file, "{}", std::process::id()).map_err(refused)?;
        Ok(DriverLock {
            run: run.to_owned(),
            _file: file,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_one_driver_and_is_free_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        let held = journal.drive("7f3a9c21").unwrap();
        assert_eq!(held.run(), "7f3a9c21");

        let refused = journal.drive("7f3a9c21").unwrap_err();
        assert_eq!(refused.code(), "run-driven");
        assert!(
            refused
                .to_string()
                .contains(&std::process::id().to_string()),
            "{refused}"
        );
        journal.drive("0b1c2d3e").unwrap();

        drop(held);
        journal.drive("7f3a9c21").unwrap();
    }
}
