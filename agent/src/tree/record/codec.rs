//! What a frame says, as bytes. Numbers are LEB128; runs of equal owner and mode are one item.

use super::super::{
    Owner,
    bytes::{put, put_bytes, take, take_bytes, take32},
    list::Names,
    meta::Kind,
    root::RelPath,
};

/// What one entry was before the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tree) struct Item {
    /// Kind and permission bits, as `st_mode`.
    pub(in crate::tree) mode: u16,
    pub(in crate::tree) owner: Owner,
    /// It had more names than one.
    pub(in crate::tree) linked: bool,
    /// Its `security.capability`, which a change of owner removes.
    pub(in crate::tree) capability: Option<Box<[u8]>>,
}

impl Item {
    pub(in crate::tree) fn kind(&self) -> Kind {
        Kind::of_mode(self.mode)
    }

    /// Whether a change of owner takes more than the owner: from anything but a directory. Setgid stays where the group may not execute
    /// (it meant mandatory locking once), but that is looked at afterwards rather than foretold.
    pub(in crate::tree) fn loses_by_chown(&self) -> bool {
        self.kind() != Kind::Dir && (self.mode & 0o6000 != 0 || self.capability.is_some())
    }
}

/// Entries of one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tree) struct Part {
    pub(in crate::tree) dir: RelPath,
    pub(in crate::tree) names: Names,
    pub(in crate::tree) items: Vec<Item>,
}

impl Part {
    pub(in crate::tree) fn new(dir: &RelPath) -> Self {
        Self {
            dir: dir.clone(),
            names: Names::default(),
            items: Vec::new(),
        }
    }
}

/// One frame of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tree) enum Frame {
    /// A transfer begins. The root's own former state is here: it has no name to be listed by.
    Start { target: Owner, root: Item },
    /// Entries that are about to change.
    Parts(Vec<Part>),
    /// The transfer is complete, the root included.
    End,
}

impl Frame {
    pub(in crate::tree) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Start { target, root } => {
                out.push(1);
                put(&mut out, target.uid.into());
                put(&mut out, target.gid.into());
                put_run(&mut out, root, 1);
            }
            Self::Parts(parts) => return Self::encode_parts(parts),
            Self::End => out.push(3),
        }
        out
    }

    /// [`Frame::Parts`] of parts that somebody else still needs.
    pub(super) fn encode_parts<'a>(parts: impl IntoIterator<Item = &'a Part>) -> Vec<u8> {
        let mut out = vec![2];
        for part in parts {
            put_part(&mut out, part);
        }
        out
    }

    /// The frame that `bytes` are, or `None` where they are none.
    pub(in crate::tree) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&tag, mut rest) = bytes.split_first()?;
        let rest = &mut rest;
        let frame = match tag {
            1 => {
                let target = Owner {
                    uid: take32(rest)?,
                    gid: take32(rest)?,
                };
                let (root, 1) = take_run(rest)? else {
                    return None;
                };
                Self::Start { target, root }
            }
            2 => {
                let mut parts = Vec::new();
                while !rest.is_empty() {
                    parts.push(take_part(rest)?);
                }
                Self::Parts(parts)
            }
            3 => Self::End,
            _ => return None,
        };
        rest.is_empty().then_some(frame)
    }
}

fn put_run(out: &mut Vec<u8>, item: &Item, count: usize) {
    put(out, u64::try_from(count).unwrap_or(u64::MAX));
    put(out, item.owner.uid.into());
    put(out, item.owner.gid.into());
    put(out, item.mode.into());
    out.push(u8::from(item.linked) | u8::from(item.capability.is_some()) << 1);
    if let Some(capability) = &item.capability {
        put_bytes(out, capability);
    }
}

fn take_run(rest: &mut &[u8]) -> Option<(Item, usize)> {
    let count = usize::try_from(take(rest)?).ok()?;
    let owner = Owner {
        uid: take32(rest)?,
        gid: take32(rest)?,
    };
    let mode = take(rest)?.try_into().ok()?;
    let (&flags, after) = rest.split_first()?;
    *rest = after;
    let capability = match flags & 2 {
        0 => None,
        _ => Some(take_bytes(rest)?.into()),
    };
    Some((
        Item {
            mode,
            owner,
            linked: flags & 1 != 0,
            capability,
        },
        count,
    ))
}

fn put_part(out: &mut Vec<u8>, part: &Part) {
    put_bytes(out, &part.dir);
    put(out, u64::try_from(part.items.len()).unwrap_or(u64::MAX));
    for run in part.items.chunk_by(|a, b| a == b) {
        put_run(out, &run[0], run.len());
    }
    for name in part.names.iter() {
        put_bytes(out, name.to_bytes());
    }
}

fn take_part(rest: &mut &[u8]) -> Option<Part> {
    let mut part = Part::new(&take_bytes(rest)?.into());
    let count = usize::try_from(take(rest)?).ok()?;
    while part.items.len() < count {
        let (item, run) = take_run(rest)?;
        // Each entry has a name of at least two bytes further on: no count beyond that is honest.
        if run == 0 || run > count - part.items.len() || count > rest.len() {
            return None;
        }
        part.items.extend(std::iter::repeat_n(item, run));
    }
    for _ in 0..count {
        if !part.names.push_bytes(take_bytes(rest)?) {
            return None;
        }
    }
    Some(part)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn item() -> impl Strategy<Value = Item> {
        let capability = option::weighted(0.1, vec(any::<u8>(), 0..24));
        (
            any::<u16>(),
            0..3u32,
            any::<u32>(),
            any::<bool>(),
            capability,
        )
            .prop_map(|(mode, uid, gid, linked, capability)| Item {
                mode,
                owner: Owner { uid, gid },
                linked,
                capability: capability.map(Into::into),
            })
    }

    fn part() -> impl Strategy<Value = Part> {
        let name = vec(
            any::<u8>().prop_map(|b| if b == 0 || b == b'/' { 1 } else { b }),
            3..255,
        );
        let dir = vec(any::<u8>(), 0..40);
        (dir, vec((name, item(), 1..4usize), 0..20)).prop_map(|(dir, entries)| {
            let mut part = Part::new(&dir.into());
            for (mut name, item, run) in entries {
                for _ in 0..run {
                    assert!(part.names.push_bytes(&name));
                    part.items.push(item.clone());
                    name[0] = name[0] % 100 + 65;
                }
            }
            part
        })
    }

    proptest! {
        #[test]
        fn frames_come_back_as_they_went(parts in vec(part(), 0..5), root in item()) {
            for frame in [
                Frame::Parts(parts),
                Frame::Start { target: root.owner, root },
                Frame::End,
            ] {
                prop_assert_eq!(Frame::decode(&frame.encode()), Some(frame));
            }
        }

        #[test]
        fn any_bytes_are_refused_or_read_but_never_panic(bytes in vec(any::<u8>(), 0..200)) {
            let _ = Frame::decode(&bytes);
        }
    }

    #[test]
    fn a_name_with_a_slash_is_refused() {
        let mut out = vec![2];
        put_bytes(&mut out, b"dir");
        put(&mut out, 1);
        let owner = Owner { uid: 1, gid: 1 };
        put_run(
            &mut out,
            &Item {
                mode: 0o100_644,
                owner,
                linked: false,
                capability: None,
            },
            1,
        );
        put_bytes(&mut out, b"../etc/passwd");
        assert_eq!(Frame::decode(&out), None);
    }
}
