//! Time that a file system needs after much was removed from it, before anything that makes files is measured on it.
//!
//! Why: for each inode that ext4 gives it passes by all that were freed within the last minutes, one by one from the start of the group. Who makes
//! hundreds of thousands of files just after so many were removed takes twice as long, and a ratio says which of two came after the removal.
//! So what a measurement makes is removed at its end, or at the end of a round, and the next one waits.

use std::time::Duration;

use crate::error::Result;
use crate::{place, say};

/// How long ext4 keeps an inode from being given again, whose block was not written back yet.
const PATIENCE: Duration = Duration::from_secs(360);

/// Notes that much is removed now.
pub(crate) fn removed() -> Result<()> {
    Ok(fs_err::write(mark()?, "")?)
}

/// Waits until what these commands removed last is forgotten.
pub(crate) fn wait() -> Result<()> {
    let mark = mark()?;
    let Ok(removed) = fs_err::metadata(&mark).and_then(|mark| mark.modified()) else {
        return Ok(());
    };
    let left = left(removed.elapsed().unwrap_or_default());
    if !left.is_zero() {
        say::line(format!(
            "waits {}: what was removed shortly before slows down who makes files",
            say::took(left)
        ));
        std::thread::sleep(left);
    }
    Ok(())
}

fn left(ago: Duration) -> Duration {
    PATIENCE.saturating_sub(ago)
}

fn mark() -> Result<std::path::PathBuf> {
    Ok(place::ours("settle")?.join("removed"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{PATIENCE, left};

    #[test]
    fn only_what_was_removed_lately_is_waited_for() {
        assert_eq!(left(Duration::ZERO), PATIENCE);
        assert_eq!(left(PATIENCE / 3), PATIENCE - PATIENCE / 3);
        assert_eq!(left(PATIENCE * 2), Duration::ZERO);
    }
}
