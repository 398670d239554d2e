//! What the other side says of an entry, looked at before anything is made of it.

use std::ffi::CString;

use ferry_proto::v1::{TreeEntry, TreeTime};

use super::super::{
    Owner, attrs,
    give::is_name,
    manifest::{Digest, Entry, Seen, What, digest_of_attributes},
    meta::{Kind, Meta, Stamp},
};

/// The longest target that the kernel takes.
const TARGET: usize = 4095;

/// An entry without its name and its content.
pub(super) struct Told {
    pub(super) meta: Meta,
    /// Sorted by name, as `attrs::all` has them.
    pub(super) attributes: Vec<(CString, Vec<u8>)>,
    /// Of a symbolic link; empty otherwise.
    pub(super) target: CString,
}

/// What lies under a name.
pub(super) enum Under {
    Entry(Told),
    Mount,
    Trouble(String),
}

/// Takes the name and what lies under it.
///
/// # Errors
/// With what is wrong.
pub(super) fn named(mut entry: TreeEntry) -> Result<(CString, Under), &'static str> {
    if !is_name(&entry.name) {
        return Err("a name that can be none");
    }
    let name = CString::new(std::mem::take(&mut entry.name)).map_err(|_| "a name with a NUL")?;
    if entry.mount {
        return Ok((name, Under::Mount));
    }
    if !entry.trouble.is_empty() {
        return Ok((name, Under::Trouble(entry.trouble)));
    }
    Ok((name, Under::Entry(Told::of(entry)?)))
}

impl Told {
    /// Of an entry whose name is known already.
    ///
    /// # Errors
    /// With what is wrong.
    pub(super) fn of(entry: TreeEntry) -> Result<Self, &'static str> {
        let owner = entry.owner.ok_or("it has no owner")?;
        // To the kernel this number means: leave it as it is.
        if owner.uid == u32::MAX || owner.gid == u32::MAX {
            return Err("an owner that nobody can be");
        }
        let mode = u16::try_from(entry.mode).map_err(|_| "a mode that can be none")?;
        let meta = Meta {
            mode,
            owner: Owner {
                uid: owner.uid,
                gid: owner.gid,
            },
            nlink: entry.nlink,
            rdev: 0,
            ino: entry.ino,
            dev: entry.dev,
            mnt: 0,
            size: entry.size,
            allocated: entry.allocated,
            atime: stamp(entry.atime)?,
            mtime: stamp(entry.mtime)?,
            ctime: stamp(entry.ctime)?,
            immutable: false,
        };
        if i64::try_from(meta.size).is_err() {
            return Err("a size that can be none");
        }
        let has_target = !entry.target.is_empty() && entry.target.len() <= TARGET;
        if has_target != (meta.kind() == Kind::Symlink) {
            return Err("a target where there can be none, or none where there must be one");
        }
        let target = CString::new(entry.target).map_err(|_| "a target with a NUL")?;
        let mut attributes = Vec::with_capacity(entry.attributes.len());
        for attribute in entry.attributes {
            let of_the_place = attrs::is_of_the_place(&attribute.name);
            let name = CString::new(attribute.name).map_err(|_| "an attribute with a NUL")?;
            if of_the_place || name.is_empty() {
                return Err("an attribute that belongs to where the entry lies");
            }
            attributes.push((name, attribute.value));
        }
        attributes.sort();
        if attributes.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err("an attribute twice");
        }
        Ok(Self {
            meta,
            attributes,
            target,
        })
    }

    /// What the manifest says of it.
    pub(super) fn entry(&self, what: What) -> Entry {
        Entry {
            mode: self.meta.mode,
            owner: self.meta.owner,
            mtime: self.meta.mtime,
            attributes: digest_of_attributes(&self.attributes),
            source: Seen::of(&self.meta),
            what,
        }
    }

    /// The same of a file with this content.
    pub(super) fn file(&self, digest: Digest) -> Entry {
        let meta = &self.meta;
        self.entry(What::File {
            size: meta.size,
            digest,
            linked: (meta.nlink > 1).then_some((meta.dev, meta.nlink)),
        })
    }

    /// The same of anything that is neither a file nor a device.
    pub(super) fn node(&self) -> Entry {
        self.entry(match self.meta.kind() {
            Kind::Symlink => What::Symlink(self.target.to_bytes().into()),
            _ => What::Plain,
        })
    }

    /// The inode that it is a name of.
    pub(super) fn inode(&self) -> super::Inode {
        (self.meta.dev, self.meta.ino)
    }
}

fn stamp(time: Option<TreeTime>) -> Result<Stamp, &'static str> {
    let time = time.ok_or("a time is missing")?;
    if time.nsec >= 1_000_000_000 {
        return Err("a time that can be none");
    }
    Ok(Stamp {
        sec: time.sec,
        nsec: time.nsec,
    })
}

/// An entry that another machine tells of is refused, or can be made below an open directory and nowhere else.
#[doc(hidden)]
pub fn fuzzed(bytes: &[u8]) {
    use prost::Message as _;
    let Ok(entry) = TreeEntry::decode(bytes) else {
        return;
    };
    let Ok((name, under)) = named(entry) else {
        return;
    };
    assert!(is_name(name.to_bytes()), "{name:?}");
    let Under::Entry(told) = under else { return };
    let is_link = told.meta.kind() == Kind::Symlink;
    assert_eq!(is_link, !told.target.is_empty(), "{:?}", told.target);
    assert!(told.target.to_bytes().len() <= TARGET);
    assert!(told.meta.owner.uid != u32::MAX && told.meta.owner.gid != u32::MAX);
    let entry = match told.meta.kind() {
        Kind::File => told.file(Digest::default()),
        _ => told.node(),
    };
    // What was received is known again.
    assert!(
        told.meta.kind() == Kind::Device || entry.describes(&told.meta) || told.meta.nlink == 0
    );
}

#[cfg(test)]
mod tests {
    use ferry_proto::v1::{self, TreeAttribute};

    use super::*;

    fn fine() -> TreeEntry {
        let time = Some(TreeTime { sec: 1, nsec: 2 });
        TreeEntry {
            name: b"a".to_vec(),
            mode: 0o100_644,
            owner: Some(v1::Owner { uid: 1, gid: 2 }),
            mtime: time,
            atime: time,
            ctime: time,
            nlink: 1,
            ..TreeEntry::default()
        }
    }

    #[test]
    fn what_can_be_no_entry_is_refused() {
        type Change = fn(&mut TreeEntry);
        let odd: [(&str, Change); 13] = [
            ("slash", |it| it.name = b"../etc".to_vec()),
            ("parent", |it| it.name = b"..".to_vec()),
            ("itself", |it| it.name = b".".to_vec()),
            ("empty", |it| it.name.clear()),
            ("nul", |it| it.name = b"a\0b".to_vec()),
            ("owner", |it| it.owner = None),
            ("nobody", |it| {
                it.owner = Some(v1::Owner {
                    uid: u32::MAX,
                    gid: 0,
                });
            }),
            ("mode", |it| it.mode = 0x1_0000),
            ("time", |it| it.mtime = None),
            ("nanoseconds", |it| {
                it.mtime = Some(TreeTime {
                    sec: 0,
                    nsec: 1_000_000_000,
                });
            }),
            ("target", |it| it.target = b"x".to_vec()),
            ("no target", |it| it.mode = 0o120_777),
            ("label", |it| {
                it.attributes.push(TreeAttribute {
                    name: b"security.selinux".to_vec(),
                    value: Vec::new(),
                });
            }),
        ];
        assert!(named(fine()).is_ok());
        for (what, change) in odd {
            let mut entry = fine();
            change(&mut entry);
            assert!(named(entry).is_err(), "{what}");
        }
    }
}
