//! Whether a package manager is at work: one that outlived the agent that had started it must be left to finish before anything is judged.
//!
//! Its lock is asked for and never taken, so that nobody else's package manager ever finds it taken by Ferry.

use std::{io, os::fd::AsFd, path::Path, time::Duration};

use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};
use tokio::time::Instant;

use crate::error::StepError;

/// As long as apt waits.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// Waits until nobody has this lock; one that is not there nobody has.
///
/// # Errors
/// When it cannot be asked, or is held for longer than five minutes.
pub(crate) async fn wait_for(path: &Path) -> Result<(), StepError> {
    let began = Instant::now();
    while let Some(holder) = holder_of(path)? {
        if began.elapsed() >= PATIENCE {
            let what = format!(
                "the process {holder} on the client's host has had `{}` for {} s",
                path.display(),
                PATIENCE.as_secs()
            );
            return Err(StepError::new("client-locked", what)
                .hint("see what that process waits for, then `ferryctl resume`"));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// The process that has locked a file for itself alone.
fn holder_of(path: &Path) -> io::Result<Option<i32>> {
    let file = match fs_err::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // These numbers are as small as their names.
    #[allow(clippy::cast_possible_truncation)]
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(file.file().as_fd(), FcntlArg::F_GETLK(&mut lock))?;
    let free = libc::c_int::from(lock.l_type) == libc::F_UNLCK;
    Ok((!free).then_some(lock.l_pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_nobody_has_or_that_is_not_there_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        assert_eq!(holder_of(&path).unwrap(), None);
        fs_err::write(&path, "").unwrap();
        assert_eq!(holder_of(&path).unwrap(), None);
    }
}
