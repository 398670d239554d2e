//! Whether a program is static. One that is not starts nowhere but on machines like this one, and in an empty image it ends
//! with "no such file", which says nothing of the reason.

use std::path::Path;

use crate::error::{Error, Result};

/// A program header that names the dynamic loader.
const PT_INTERP: u32 = 3;

/// Whether the program runs without a dynamic loader.
pub(crate) fn is_static(path: &Path) -> Result<bool> {
    let bytes = fs_err::read(path)?;
    names_loader(&bytes).map(|names| !names).ok_or_else(|| {
        Error::new(format!(
            "`{}` is not a 64-bit little-endian ELF program",
            path.display()
        ))
    })
}

/// Whether one of the program headers is `PT_INTERP`; `None` when this is no ELF file that we know.
fn names_loader(bytes: &[u8]) -> Option<bool> {
    // Magic, 64 bits, little endian.
    if bytes.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let offset = usize::try_from(u64::from_le_bytes(field(bytes, 32)?)).ok()?;
    let size = usize::from(u16::from_le_bytes(field(bytes, 54)?));
    let count = usize::from(u16::from_le_bytes(field(bytes, 56)?));
    for index in 0..count {
        let at = offset.checked_add(index.checked_mul(size)?)?;
        if u32::from_le_bytes(field(bytes, at)?) == PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::{is_static, names_loader};

    #[test]
    fn a_test_program_has_a_loader() {
        assert!(!is_static(&std::env::current_exe().unwrap()).unwrap());
    }

    #[test]
    fn a_program_without_headers_has_none_and_a_text_is_no_program() {
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        assert_eq!(names_loader(&bytes), Some(false));
        assert_eq!(names_loader(b"#!/bin/sh\n"), None);
        assert_eq!(names_loader(b""), None);
    }

    #[test]
    fn a_header_beyond_the_end_is_refused() {
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        bytes[56] = 1;
        assert_eq!(names_loader(&bytes), None);
    }
}
