//! The agent that is put beside a server: one static binary, because the image made of it has
//! nothing else in it, not even a dynamic linker.

use std::{
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use fs_err::File;

/// Why a file cannot be the agent.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// None was named and none is where it is shipped.
    #[error("the agent binary `ferryd` is not beside `{}`", beside.display())]
    Missing {
        /// The program it should be beside.
        beside: PathBuf,
    },
    /// It cannot be read.
    #[error("the agent binary cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// Not a program that an engine's host could run.
    #[error("`{}` is no agent binary: it is no 64-bit ELF program", path.display())]
    NotElf {
        /// Which file.
        path: PathBuf,
    },
    /// It needs a dynamic linker.
    #[error("`{}` is linked dynamically; it would not start in an image of its own", path.display())]
    Dynamic {
        /// Which file.
        path: PathBuf,
    },
}

impl BinaryError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "agent-binary-missing",
            Self::Unreadable(_) => "agent-binary-unreadable",
            Self::NotElf { .. } => "agent-binary-not-elf",
            Self::Dynamic { .. } => "agent-binary-dynamic",
        }
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Dynamic { .. } => {
                "name the static `ferryd` of the release with `--agent-binary`; \
                 built by hand it needs `-C target-feature=+crt-static`"
            }
            _ => "name the static `ferryd` with `--agent-binary` or FERRY_AGENT_BINARY",
        }
    }
}

/// The agent binary: the one that was named, else `ferryd` beside this program.
///
/// # Errors
/// [`BinaryError`] when there is none, or it would not start in an image of its own.
pub fn find_agent_binary(named: Option<&Path>) -> Result<PathBuf, BinaryError> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => {
            let this = std::env::current_exe()?;
            let beside = this.with_file_name("ferryd");
            if !beside.is_file() {
                return Err(BinaryError::Missing { beside: this });
            }
            beside
        }
    };
    check_static(&path)?;
    Ok(path)
}

/// Reads the program headers: a program with `PT_INTERP` asks for a dynamic linker.
fn check_static(path: &Path) -> Result<(), BinaryError> {
    const PT_INTERP: u32 = 3;
    const HEADER: usize = 64;
    const ENTRY: u16 = 56;
    let not_elf = || BinaryError::NotElf {
        path: path.to_owned(),
    };
    let mut file = File::open(path)?;
    let mut header = [0; HEADER];
    file.read_exact(&mut header).map_err(|_| not_elf())?;
    // The magic number, 64 bits, little-endian; a program, or a position-independent one.
    let kind = half(&header, 16);
    if !header.starts_with(b"\x7fELF\x02\x01") || !matches!(kind, 2 | 3) {
        return Err(not_elf());
    }
    let (offset, size, count) = (wide(&header, 32), half(&header, 54), half(&header, 56));
    if size != ENTRY || count == 0 {
        return Err(not_elf());
    }
    file.seek(SeekFrom::Start(offset))?;
    for _ in 0..count {
        let mut entry = [0; ENTRY as usize];
        file.read_exact(&mut entry).map_err(|_| not_elf())?;
        if entry[..4] == PT_INTERP.to_le_bytes() {
            return Err(BinaryError::Dynamic {
                path: path.to_owned(),
            });
        }
    }
    Ok(())
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn wide(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8]
        .iter()
        .rev()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF header followed by program headers of these types.
    fn elf(segments: &[u32]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[16] = 3;
        file[32] = 64;
        file[54] = 56;
        file[56] = u8::try_from(segments.len()).unwrap();
        for segment in segments {
            file.extend_from_slice(&segment.to_le_bytes());
            file.extend_from_slice(&[0; 52]);
        }
        file
    }

    fn check(content: &[u8]) -> Result<PathBuf, BinaryError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ferryd");
        fs_err::write(&path, content).unwrap();
        find_agent_binary(Some(&path))
    }

    #[test]
    fn a_static_program_is_accepted_and_a_dynamic_one_is_not() {
        check(&elf(&[1, 2, 6])).unwrap();
        assert_eq!(
            check(&elf(&[1, 3])).unwrap_err().code(),
            "agent-binary-dynamic"
        );
    }

    #[test]
    fn what_is_no_program_is_named_so() {
        let mut object = elf(&[1]);
        object[16] = 1;
        let mut cut = elf(&[1, 2]);
        cut.truncate(100);
        for content in [&b"#!/bin/sh\n"[..], &[0; 200], &object, &cut] {
            assert_eq!(check(content).unwrap_err().code(), "agent-binary-not-elf");
        }
    }

    #[test]
    fn this_test_itself_is_dynamic() {
        let this = std::env::current_exe().unwrap();
        assert_eq!(
            find_agent_binary(Some(&this)).unwrap_err().code(),
            "agent-binary-dynamic"
        );
    }

    #[test]
    fn a_missing_file_and_a_missing_neighbour_are_told_apart() {
        let gone = find_agent_binary(Some(Path::new("/nonexistent/ferryd"))).unwrap_err();
        assert_eq!(gone.code(), "agent-binary-unreadable");
        assert!(gone.to_string().contains("/nonexistent/ferryd"), "{gone}");
        assert_eq!(
            find_agent_binary(None).unwrap_err().code(),
            "agent-binary-missing"
        );
    }
}
