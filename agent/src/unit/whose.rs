//! Whose service manager makes the containers of an engine, and whether this program may speak to it and touch that user's files.
//!
//! Why nobody else's, not even as root: the folders of an ordinary user's units are that user's, who can put a link in the place of each part of
//! a path while root follows it. What a run does to such a unit it therefore does as that user, or not at all.
//!
//! Rejected: `systemctl --user --machine=USER@.host`: it stops and starts, but the files would still be written by root.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use crate::{
    engine::Engine,
    server::{
        ServerRoot,
        users::{Users, own_uid},
    },
};

/// Whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The machine's: the engine is root's.
    Machine,
    /// The caller's own.
    Own,
    /// That of a user whom this program is not.
    Another(u32),
}

impl Whose {
    /// By the owner of the engine's socket, where the engine is an ordinary user's.
    pub(super) fn of(engine: &Engine, rootless: bool) -> Self {
        let socket = engine.endpoint().strip_prefix("unix://");
        let owner = socket.and_then(|path| fs_err::metadata(path).ok());
        Self::told(rootless, owner.map(|it| it.uid()), own_uid())
    }

    fn told(rootless: bool, owner: Option<u32>, own: u32) -> Self {
        match owner {
            _ if !rootless => Self::Machine,
            Some(owner) if owner != own => Self::Another(owner),
            // Of an engine elsewhere nothing is asked for here.
            _ => Self::Own,
        }
    }

    /// The user whom one has to be, by name where it is known; empty for this program's own.
    pub(super) fn another(self) -> String {
        match self {
            Self::Machine | Self::Own => String::new(),
            Self::Another(uid) => accounts().map_or_else(|| uid.to_string(), |it| it.name_of(uid)),
        }
    }

    /// Where that other user is at home.
    pub(super) fn home_of_another(self) -> Option<PathBuf> {
        let Self::Another(uid) = self else {
            return None;
        };
        let home = accounts()?.by_uid(uid)?.home.clone();
        (home.len() > 1 && home.starts_with('/')).then(|| home.into())
    }
}

fn accounts() -> Option<Users> {
    Users::of(&ServerRoot::new("/")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_users_engine_is_only_that_users() {
        assert_eq!(Whose::told(false, Some(0), 1000), Whose::Machine);
        assert_eq!(Whose::told(true, Some(1000), 1000), Whose::Own);
        assert_eq!(Whose::told(true, None, 1000), Whose::Own);
        assert_eq!(Whose::told(true, Some(1000), 0), Whose::Another(1000));
        assert_eq!(Whose::Another(u32::MAX).another(), u32::MAX.to_string());
        assert_eq!(Whose::Another(u32::MAX).home_of_another(), None);
        assert_eq!(Whose::Own.another(), "");
    }
}
