//! Users and groups that have other numbers there than here: each entry is received as if it belonged to the number here.
//!
//! It is done to what is told and not to the tree, so that the manifest, the proof and the last comparison all speak of the numbers here,
//! and nothing has to be changed a second time.

use std::{collections::HashMap, str::FromStr};

use ferry_proto::v1::{FilePiece, Owner, ReadFilesRequest, TreePart, file_piece::Kind};

use crate::tree::{PullError, Source};

/// A number there, and the one here that stands for the same user or group: `OLD:NEW`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renumber {
    old: u32,
    new: u32,
}

impl Renumber {
    /// The number there, and the one here.
    #[must_use]
    pub fn of(old: u32, new: u32) -> Self {
        Self { old, new }
    }
}

impl FromStr for Renumber {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The greatest number stands for "as it is" and is nobody's.
        let number = |text: &str| text.parse().ok().filter(|&id| id != u32::MAX);
        let read = || {
            let (old, new) = text.split_once(':')?;
            Some(Self {
                old: number(old)?,
                new: number(new)?,
            })
        };
        read().ok_or_else(|| "two numbers are wanted, the old and the new one: 994:998".to_owned())
    }
}

/// A source whose users and groups are renumbered.
pub(super) struct Renumbered<S> {
    source: S,
    users: HashMap<u32, u32>,
    groups: HashMap<u32, u32>,
}

impl<S> Renumbered<S> {
    pub(super) fn new(source: S, users: &[Renumber], groups: &[Renumber]) -> Self {
        let map = |all: &[Renumber]| all.iter().map(|it| (it.old, it.new)).collect();
        Self {
            source,
            users: map(users),
            groups: map(groups),
        }
    }

    fn renumber(&self, owner: &mut Option<Owner>) {
        if let Some(Owner { uid, gid }) = owner {
            *uid = *self.users.get(uid).unwrap_or(uid);
            *gid = *self.groups.get(gid).unwrap_or(gid);
        }
    }
}

impl<S: Source> Source for Renumbered<S> {
    fn list(&mut self) -> Result<(), PullError> {
        self.source.list()
    }

    fn next_part(&mut self) -> Result<Option<TreePart>, PullError> {
        let mut part = self.source.next_part()?;
        if let Some(part) = &mut part {
            for entry in part.entries.iter_mut().chain(&mut part.own) {
                self.renumber(&mut entry.owner);
            }
        }
        Ok(part)
    }

    fn read(&mut self, request: ReadFilesRequest) -> Result<(), PullError> {
        self.source.read(request)
    }

    fn next_piece(&mut self) -> Result<Option<FilePiece>, PullError> {
        let mut piece = self.source.next_piece()?;
        if let Some(FilePiece {
            kind: Some(Kind::Head(head)),
        }) = &mut piece
        {
            self.renumber(&mut head.owner);
        }
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use ferry_proto::v1::TreeEntry;

    use super::*;

    /// Tells one entry with this owner, three times over.
    struct One(Owner);

    impl Source for One {
        fn list(&mut self) -> Result<(), PullError> {
            Ok(())
        }

        fn next_part(&mut self) -> Result<Option<TreePart>, PullError> {
            let entry = TreeEntry {
                owner: Some(self.0),
                ..TreeEntry::default()
            };
            Ok(Some(TreePart {
                entries: vec![entry.clone()],
                own: Some(entry),
                ..TreePart::default()
            }))
        }

        fn read(&mut self, _request: ReadFilesRequest) -> Result<(), PullError> {
            Ok(())
        }

        fn next_piece(&mut self) -> Result<Option<FilePiece>, PullError> {
            Ok(Some(FilePiece {
                kind: Some(Kind::Head(TreeEntry {
                    owner: Some(self.0),
                    ..TreeEntry::default()
                })),
            }))
        }
    }

    #[test]
    fn wherever_an_owner_is_told_it_is_the_one_here() {
        let (users, groups) = (["994:998".parse().unwrap()], ["990:0".parse().unwrap()]);
        for (there, here) in [
            ((994, 990), (998, 0)),
            ((994, 994), (998, 994)),
            ((990, 990), (990, 0)),
            ((0, 998), (0, 998)),
        ] {
            let owner = |(uid, gid)| Owner { uid, gid };
            let mut source = Renumbered::new(One(owner(there)), &users, &groups);
            let part = source.next_part().unwrap().unwrap();
            assert_eq!(part.entries[0].owner, Some(owner(here)));
            assert_eq!(part.own.unwrap().owner, Some(owner(here)));
            let piece = source.next_piece().unwrap().unwrap();
            let head =
                matches!(piece.kind, Some(Kind::Head(head)) if head.owner == Some(owner(here)));
            assert!(head, "{there:?}");
        }
    }

    #[test]
    fn two_numbers_are_wanted() {
        for odd in [
            "",
            "994",
            "994:",
            "pmm:1000",
            "4294967295:0",
            "0:4294967295",
            "1:2:3",
        ] {
            assert!(odd.parse::<Renumber>().is_err(), "{odd}");
        }
    }
}
