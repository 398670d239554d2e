//! The names in a directory, in one buffer: a million names as a million allocations would cost
//! more than reading them.

use std::{ffi::CStr, mem::MaybeUninit, os::fd::BorrowedFd};

use rustix::{fs::RawDir, io::Result};

/// Names end in NUL, so that each is handed to the kernel as it lies here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Names {
    pub(super) fn push(&mut self, name: &CStr) {
        if self.ends.is_empty() {
            // A folder of a database has some dozens of entries: one allocation instead of eight.
            self.bytes.reserve(768);
            self.ends.reserve(32);
        }
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
        self.ends.push(self.bytes.len());
    }

    /// Adds a name that comes from a file; false where it is none (empty, NUL or slash inside).
    pub(super) fn push_bytes(&mut self, name: &[u8]) -> bool {
        let fit = !name.is_empty() && name != b"." && name != b"..";
        if !fit || name.iter().any(|b| matches!(b, 0 | b'/')) {
            return false;
        }
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
        self.ends.push(self.bytes.len());
        true
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, index: usize) -> &CStr {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        CStr::from_bytes_with_nul(&self.bytes[start..self.ends[index]]).unwrap_or(c"")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &CStr> {
        (0..self.len()).map(|i| self.get(i))
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// Reads directories with one buffer that is kept.
pub(super) struct Lister {
    buffer: Vec<MaybeUninit<u8>>,
}

impl Default for Lister {
    fn default() -> Self {
        // Larger ones were measured and gain nothing.
        Self {
            buffer: vec![MaybeUninit::uninit(); 32 * 1024],
        }
    }
}

impl Lister {
    /// Puts all names of `dir` but `.` and `..` into `names`.
    pub(super) fn read(&mut self, dir: BorrowedFd<'_>, names: &mut Names) -> Result<()> {
        names.clear();
        let mut entries = RawDir::new(dir, &mut self.buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                names.push(name);
            }
        }
        Ok(())
    }
}
