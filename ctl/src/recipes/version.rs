//! PMM's versions as numbers: `3.10` comes after `3.9`, which no comparison of texts knows.

use std::fmt;

/// A version of PMM. What follows the third number (`-rc.1`, `-2.el9`) does not take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 2 or 3.
    pub major: u32,
    /// The number after the first dot.
    pub minor: u32,
    /// The number after the second dot; 0 when there is none.
    pub patch: u32,
}

impl Version {
    /// A version by its numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }

    /// Reads `2.44.1`, `v3.8.1`, `3.9.0-rc` or `3.9`. At least major and minor must be there.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches('v');
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let mut numbers = text.get(..end)?.split('.');
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?.parse().ok()?;
        let patch = numbers
            .next()
            .map_or(Some(0), |number| number.parse().ok())?;
        Some(Self {
            major,
            minor,
            patch,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_people_and_packages_write_them() {
        for (text, version) in [
            ("2.44.1", Some(Version::new(2, 44, 1))),
            ("v3.8.1", Some(Version::new(3, 8, 1))),
            ("3.9.0-rc.2", Some(Version::new(3, 9, 0))),
            ("2.44.1-1.el9", Some(Version::new(2, 44, 1))),
            ("3.10", Some(Version::new(3, 10, 0))),
            ("3", None),
            ("latest", None),
            ("", None),
            ("99999999999.1", None),
        ] {
            assert_eq!(Version::parse(text), version, "{text}");
        }
    }

    #[test]
    fn ten_comes_after_nine() {
        assert!(Version::parse("3.10.0") > Version::parse("3.9.1"));
    }
}
