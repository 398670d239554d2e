//! What the source does not have: removed from a copy, moved aside by a restore.

use std::{
    ffi::{CStr, CString},
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, Mode, RenameFlags, mkdirat, openat, renameat_with, unlinkat},
    io::Errno,
};

use super::{
    super::{Root, TreeError, remove::remove_at, root::DIR, temporary::is_temporary},
    Extra, Mirror,
    dir::Found,
};

impl Mirror<'_> {
    /// Takes `name` out of the directory `dst`, which is `dir` below the root.
    pub(super) fn put_away(
        &self,
        dir: &[u8],
        dst: BorrowedFd<'_>,
        name: &CStr,
        found: &mut Found,
    ) -> Result<(), TreeError> {
        found.touched = true;
        let ours = is_temporary(name);
        let result = match self.extra {
            Extra::Aside(_) if ours => unlinkat(dst, name, AtFlags::empty()),
            Extra::Aside(aside) => move_aside(dir, dst, name, aside),
            Extra::Remove => remove_at(dst, name, self.dst.meta(), self.meter.cancel()),
        };
        match result {
            Ok(()) => {
                found.report.extras += u64::from(!ours);
                Ok(())
            }
            Err(Errno::NOENT) => Ok(()),
            Err(e) => self.entry_failed(dir, name, e),
        }
    }
}

/// Moves an entry to the same path below `aside`; a name that is taken there gets a number.
fn move_aside(dir: &[u8], dst: BorrowedFd<'_>, name: &CStr, aside: &Root) -> Result<(), Errno> {
    let mut to = openat(aside, c".", DIR, Mode::empty())?;
    for part in dir.split(|&b| b == b'/').filter(|part| !part.is_empty()) {
        let part = CString::new(part).map_err(|_| Errno::INVAL)?;
        to = enter(&to, &part)?;
    }
    for number in 0_u32.. {
        let target = match number {
            0 => name.to_owned(),
            n => numbered(name, n),
        };
        match renameat_with(dst, name, &to, &target, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            other => return other,
        }
    }
    Err(Errno::EXIST)
}

/// Opens a folder below the one for what is moved aside, making it; one that is taken by something
/// that is no folder gets a number.
fn enter(at: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    for number in 0_u32.. {
        let name = match number {
            0 => name.to_owned(),
            n => numbered(name, n),
        };
        match mkdirat(at, &name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e),
        }
        match openat(at, &name, DIR, Mode::empty()) {
            Err(Errno::NOTDIR | Errno::LOOP) => {}
            other => return other,
        }
    }
    Err(Errno::EXIST)
}

/// `name~N`, the name cut where both together are longer than a name may be.
fn numbered(name: &CStr, number: u32) -> CString {
    let tail = format!("~{number}");
    let keep = name.to_bytes().len().min(255 - tail.len());
    let mut bytes = name.to_bytes()[..keep].to_vec();
    bytes.extend_from_slice(tail.as_bytes());
    CString::new(bytes).unwrap_or_default()
}
