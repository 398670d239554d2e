//! Names for entries that are not complete.
//!
//! Why they are drawn: a pass that was killed leaves some, and the next one must not stumble over them before it comes to put them away. The
//! number of a process would not tell them apart, since an agent in a container of its own is the first process each time.

use std::{
    ffi::{CStr, CString},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

const BEGIN: &str = ".ferry~";

/// The names of one pass.
pub(super) struct Temporary {
    pass: u64,
    given: AtomicU64,
}

impl Temporary {
    pub(super) fn new() -> Self {
        Self {
            // Its keys are the system's randomness.
            pass: RandomState::new().build_hasher().finish(),
            given: AtomicU64::new(0),
        }
    }

    /// A name that no program uses, and no other pass has left.
    pub(super) fn name(&self) -> CString {
        let number = self.given.fetch_add(1, Relaxed);
        CString::new(format!("{BEGIN}{:016x}~{number}", self.pass)).unwrap_or_default()
    }
}

/// Whether a pass gave this name.
pub(super) fn is_temporary(name: &CStr) -> bool {
    name.to_bytes().starts_with(BEGIN.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_pass_gives_a_name_of_another_one() {
        let names: HashSet<CString> = (0..8)
            .flat_map(|_| {
                let pass = Temporary::new();
                (0..8).map(move |_| pass.name())
            })
            .collect();
        assert_eq!(names.len(), 64);
        assert!(names.iter().all(|name| is_temporary(name)));
        assert!(!is_temporary(c".ferry"));
    }
}
