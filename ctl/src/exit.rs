//! How `ferryctl` ends: a script that calls it branches on these numbers, so they never change
//! their meaning.

use std::process::{ExitCode, Termination};

/// The exit code of `ferryctl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// The run failed and was rolled back: the server is as it was. Also a plain failure after
    /// which nothing was changed.
    RolledBack = 1,
    /// The command line was not understood.
    Usage = 2,
    /// The check found blockers; nothing was changed.
    Blockers = 3,
    /// The run is held where it is; a person must look.
    Held = 4,
    /// The plan no longer fits the server, or was edited; nothing was changed.
    Refused = 5,
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_a_promise() {
        let all = [
            Exit::Done,
            Exit::RolledBack,
            Exit::Usage,
            Exit::Blockers,
            Exit::Held,
            Exit::Refused,
        ];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4, 5]);
    }
}
