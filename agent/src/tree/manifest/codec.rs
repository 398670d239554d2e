//! What a frame says, as bytes.

use std::ffi::CString;

use super::{
    super::{
        Owner,
        bytes::{put, put_bytes, put_signed, take, take_array, take_bytes, take_signed, take32},
        list::Names,
        meta::{Kind, Meta, Stamp},
        root::RelPath,
    },
    Digest,
};

/// One entry as it lies in the copy, and by what its source is known again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tree) struct Entry {
    /// Kind and permission bits, as `st_mode`.
    pub(in crate::tree) mode: u16,
    pub(in crate::tree) owner: Owner,
    pub(in crate::tree) mtime: Stamp,
    /// Over all extended attributes; `None` where there are none.
    pub(in crate::tree) attributes: Option<Digest>,
    pub(in crate::tree) source: Seen,
    pub(in crate::tree) what: What,
}

/// By what the source is known to be unchanged, beside size and mtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tree) struct Seen {
    pub(in crate::tree) ino: u64,
    pub(in crate::tree) ctime: Stamp,
}

/// What only entries of one kind have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tree) enum What {
    File {
        size: u64,
        digest: Digest,
        /// Device of the source and number of names, where there is more than one.
        linked: Option<(u64, u32)>,
    },
    Symlink(Box<[u8]>),
    /// What a device node stands for.
    Device(u64),
    /// A directory, fifo or socket.
    Plain,
}

impl Entry {
    pub(in crate::tree) fn kind(&self) -> Kind {
        Kind::of_mode(self.mode)
    }

    /// Whether this describes what `meta` was read from: neither bytes nor attributes can have
    /// changed without a new ctime.
    pub(in crate::tree) fn describes(&self, meta: &Meta) -> bool {
        let size = match &self.what {
            What::File { size, linked, .. } => {
                linked.map_or(1, |(_, names)| names) == meta.nlink && *size == meta.size
            }
            What::Device(number) => *number == meta.rdev,
            What::Symlink(_) | What::Plain => true,
        };
        size && self.source == Seen::of(meta) && self.mtime == meta.mtime && self.mode == meta.mode
    }

    /// Mode and owner of a file that a change of owner takes nothing else from, and that has no other
    /// name; `None` of everything that has to be looked at itself.
    pub(in crate::tree) fn plain_file(&self) -> Option<(u16, Owner)> {
        let alone = matches!(self.what, What::File { linked: None, .. });
        let keeps = self.attributes.is_none() && self.mode & 0o6000 == 0;
        (alone && keeps).then_some((self.mode, self.owner))
    }

    fn put(&self, out: &mut Vec<u8>) {
        put(out, self.mode.into());
        put(out, self.owner.uid.into());
        put(out, self.owner.gid.into());
        put_stamp(out, self.mtime);
        put(out, self.source.ino);
        put_stamp(out, self.source.ctime);
        let linked = matches!(
            &self.what,
            What::File {
                linked: Some(_),
                ..
            }
        );
        out.push(u8::from(self.attributes.is_some()) | u8::from(linked) << 1);
        if let Some(digest) = &self.attributes {
            out.extend_from_slice(digest);
        }
        match &self.what {
            What::File {
                size,
                digest,
                linked,
            } => {
                put(out, *size);
                out.extend_from_slice(digest);
                if let Some((dev, names)) = linked {
                    put(out, *dev);
                    put(out, (*names).into());
                }
            }
            What::Symlink(target) => put_bytes(out, target),
            What::Device(number) => put(out, *number),
            What::Plain => {}
        }
    }

    fn take(rest: &mut &[u8]) -> Option<Self> {
        let mode = take(rest)?.try_into().ok()?;
        let owner = Owner {
            uid: take32(rest)?,
            gid: take32(rest)?,
        };
        let mtime = take_stamp(rest)?;
        let source = Seen {
            ino: take(rest)?,
            ctime: take_stamp(rest)?,
        };
        let [flags] = take_array(rest)?;
        let attributes = match flags & 1 {
            0 => None,
            _ => Some(take_array(rest)?),
        };
        let what = match Kind::of_mode(mode) {
            Kind::File => What::File {
                size: take(rest)?,
                digest: take_array(rest)?,
                linked: match flags & 2 {
                    0 => None,
                    _ => Some((take(rest)?, take32(rest)?)),
                },
            },
            Kind::Symlink => What::Symlink(take_bytes(rest)?.into()),
            Kind::Device => What::Device(take(rest)?),
            Kind::Dir | Kind::Fifo | Kind::Socket => What::Plain,
        };
        Some(Self {
            mode,
            owner,
            mtime,
            attributes,
            source,
            what,
        })
    }
}

impl Seen {
    pub(in crate::tree) fn of(meta: &Meta) -> Self {
        Self {
            ino: meta.ino,
            ctime: meta.ctime,
        }
    }
}

/// Entries of one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tree) struct Part {
    pub(in crate::tree) dir: RelPath,
    /// The directory itself; `None` in a part that adds to an earlier one.
    pub(in crate::tree) own: Option<Entry>,
    pub(in crate::tree) names: Names,
    /// `None` stands for a directory, which has a part of its own.
    pub(in crate::tree) entries: Vec<Option<Entry>>,
}

impl Part {
    pub(in crate::tree) fn new(dir: &RelPath) -> Self {
        Self {
            dir: dir.clone(),
            own: None,
            names: Names::default(),
            entries: Vec::new(),
        }
    }
}

/// One frame of the file.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it is made"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tree) enum Frame {
    /// Whether the source was in use.
    Start {
        live: bool,
    },
    Part(Part),
    End(Totals),
}

/// What a whole manifest sums up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::tree) struct Totals {
    pub(in crate::tree) frames: u64,
    pub(in crate::tree) entries: u64,
    pub(in crate::tree) bytes: u64,
}

impl Frame {
    pub(in crate::tree) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Start { live } => out.extend([1, u8::from(*live)]),
            Self::Part(part) => put_part(&mut out, part),
            Self::End(totals) => {
                out.push(3);
                for number in [totals.frames, totals.entries, totals.bytes] {
                    put(&mut out, number);
                }
            }
        }
        out
    }

    /// The frame that `bytes` are, or `None` where they are none.
    pub(in crate::tree) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&tag, mut rest) = bytes.split_first()?;
        let rest = &mut rest;
        let frame = match tag {
            1 => {
                let [live] = take_array(rest)?;
                Self::Start { live: live != 0 }
            }
            2 => Self::Part(take_part(rest)?),
            3 => Self::End(Totals {
                frames: take(rest)?,
                entries: take(rest)?,
                bytes: take(rest)?,
            }),
            _ => return None,
        };
        rest.is_empty().then_some(frame)
    }
}

/// Appends the payload of a part's frame.
pub(super) fn put_part(out: &mut Vec<u8>, part: &Part) {
    out.push(2);
    put_bytes(out, &part.dir);
    out.push(u8::from(part.own.is_some()));
    if let Some(own) = &part.own {
        own.put(out);
    }
    for (name, entry) in part.names.iter().zip(&part.entries) {
        put_bytes(out, name.to_bytes());
        match entry {
            None => out.push(0),
            Some(entry) => {
                out.push(1);
                entry.put(out);
            }
        }
    }
}

fn take_part(rest: &mut &[u8]) -> Option<Part> {
    let mut part = Part::new(&take_bytes(rest)?.into());
    part.own = match take_array(rest)? {
        [0] => None,
        _ => Some(Entry::take(rest)?),
    };
    while !rest.is_empty() {
        if !part.names.push_bytes(take_bytes(rest)?) {
            return None;
        }
        part.entries.push(match take_array(rest)? {
            [0] => None,
            _ => Some(Entry::take(rest)?),
        });
    }
    Some(part)
}

fn put_stamp(out: &mut Vec<u8>, stamp: Stamp) {
    put_signed(out, stamp.sec);
    put(out, stamp.nsec.into());
}

fn take_stamp(rest: &mut &[u8]) -> Option<Stamp> {
    Some(Stamp {
        sec: take_signed(rest)?,
        nsec: take32(rest)?,
    })
}

/// One digest over all extended attributes, sorted as `attrs::all` has them.
pub(in crate::tree) fn digest_of_attributes(all: &[(CString, Vec<u8>)]) -> Option<Digest> {
    if all.is_empty() {
        return None;
    }
    let mut bytes = Vec::new();
    for (name, value) in all {
        put_bytes(&mut bytes, name.to_bytes());
        put_bytes(&mut bytes, value);
    }
    Some(blake3::hash(&bytes).into())
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn stamp() -> impl Strategy<Value = Stamp> {
        (any::<i64>(), any::<u32>()).prop_map(|(sec, nsec)| Stamp { sec, nsec })
    }

    pub(in crate::tree::manifest) fn entry() -> impl Strategy<Value = Entry> {
        let head = (
            any::<u16>(),
            any::<[u32; 2]>(),
            stamp(),
            any::<u64>(),
            stamp(),
        );
        let content = (
            any::<u64>(),
            any::<Digest>(),
            option::of((any::<u64>(), any::<u32>())),
            vec(any::<u8>(), 0..40),
        );
        (head, option::weighted(0.2, any::<Digest>()), content).prop_map(
            |(
                (mode, [uid, gid], mtime, ino, ctime),
                attributes,
                (size, digest, linked, target),
            )| {
                let what = match Kind::of_mode(mode) {
                    Kind::File => What::File {
                        size,
                        digest,
                        linked,
                    },
                    Kind::Symlink => What::Symlink(target.into()),
                    Kind::Device => What::Device(size),
                    _ => What::Plain,
                };
                Entry {
                    mode,
                    owner: Owner { uid, gid },
                    mtime,
                    attributes,
                    source: Seen { ino, ctime },
                    what,
                }
            },
        )
    }

    pub(in crate::tree::manifest) fn part() -> impl Strategy<Value = Part> {
        let name = vec(
            any::<u8>().prop_map(|b| if b == 0 || b == b'/' { 1 } else { b }),
            3..255,
        );
        let entries = vec((name, option::of(entry())), 0..12);
        (vec(any::<u8>(), 0..40), option::of(entry()), entries).prop_map(|(dir, own, entries)| {
            let mut part = Part::new(&dir.into());
            part.own = own;
            for (name, entry) in entries {
                assert!(part.names.push_bytes(&name));
                part.entries.push(entry);
            }
            part
        })
    }

    proptest! {
        #[test]
        fn frames_come_back_as_they_went(part in part(), numbers in any::<[u64; 3]>(), live in any::<bool>()) {
            let [frames, entries, bytes] = numbers;
            let end = Frame::End(Totals { frames, entries, bytes });
            for frame in [Frame::Part(part), Frame::Start { live }, end] {
                prop_assert_eq!(Frame::decode(&frame.encode()), Some(frame));
            }
        }

        #[test]
        fn any_bytes_are_refused_or_read_but_never_panic(bytes in vec(any::<u8>(), 0..300), tag in 1..4_u8) {
            let _ = Frame::decode(&bytes);
            let mut tagged = vec![tag];
            tagged.extend(bytes);
            let _ = Frame::decode(&tagged);
        }

        #[test]
        fn a_part_cut_short_is_refused_or_shorter(part in part(), cut in any::<prop::sample::Index>()) {
            let whole = Frame::Part(part.clone()).encode();
            let cut = cut.index(whole.len());
            if let Some(Frame::Part(read)) = Frame::decode(&whole[..cut]) {
                prop_assert!(read.entries.len() < part.entries.len());
            }
        }
    }
}
