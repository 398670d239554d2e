//! A client on its own host: how it is installed, what of it is the operator's, and how its package is exchanged.
//!
//! Why apart from [`crate::server`]: there is no container and no server here, and everything goes through that host's own package
//! manager and service manager (`facts/pmm.md` 5.1). A client's folder may be written by its own user, so files in it are reached by
//! descriptor, and no link is followed.
//!
//! ```text
//!  look.rs    what the agent tells before anything changes       deb.rs     dpkg and apt
//!  config.rs  `pmm-agent.yaml`, as far as it must be read        rpm.rs     rpm and dnf
//!  folder.rs  files in the client's folder                       tarball.rs a folder in the place of another
//!  way.rs     which of the three ways                            kept.rs    what the way back needs
//!  unit.rs    pmm-agent.service                                  lock.rs    a package manager at work
//! ```

pub(crate) mod config;
pub(crate) mod deb;
pub(crate) mod folder;
pub(crate) mod kept;
mod lock;
mod look;
pub(crate) mod package;
pub(crate) mod rpm;
pub(crate) mod tarball;
pub(crate) mod unit;
pub(crate) mod way;

pub(crate) use look::look;

/// The package's name in PMM 2, and in PMM 3; no other is ever asked for.
pub(crate) const PACKAGES: [&str; 2] = ["pmm2-client", NEW_PACKAGE];
/// What a client becomes.
pub(crate) const NEW_PACKAGE: &str = "pmm-client";
/// The configuration, in the client's folder.
pub(crate) const CONFIG: &str = "config/pmm-agent.yaml";
/// Queries and text files of the operator's, in the client's folder.
pub(crate) const COLLECTORS: &str = "collectors";

/// Where a package has its files (`facts/pmm.md` 5.1).
pub(crate) fn folder_of(package: &str) -> &'static str {
    if package == NEW_PACKAGE {
        "/usr/local/percona/pmm"
    } else {
        "/usr/local/percona/pmm2"
    }
}

/// The package of that name; `None` for every other.
pub(crate) fn known_package(name: &str) -> Option<&'static str> {
    PACKAGES.into_iter().find(|it| *it == name)
}

/// Whether these are characters of a package's version, and no option or path.
pub(crate) fn is_version(text: &str) -> bool {
    let plain = |b: u8| {
        b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'~' | b':' | b'-' | b'_' | b'^')
    };
    !text.is_empty()
        && text.len() <= 100
        && text.bytes().all(plain)
        && text.starts_with(|c: char| c.is_ascii_digit())
}

/// Whether this is a word for an architecture.
pub(crate) fn is_architecture(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    !text.is_empty() && text.len() <= 20 && text.bytes().all(plain) && !text.starts_with('-')
}

/// A package's version without what a package manager puts before it to have it newer.
pub(crate) fn without_epoch(version: &str) -> &str {
    version.split_once(':').map_or(version, |(_, rest)| rest)
}

/// PMM's own version in a package's: `1:3.8.1-7.bookworm` is 3.8.1.
pub(crate) fn pmm_version(version: &str) -> &str {
    let bare = without_epoch(version);
    bare.split(['-', '+', '~', '^']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_neither_an_option_nor_a_path() {
        for (text, fine) in [
            ("3.8.1-7.bookworm", true),
            ("1:3.8.1+really3.7~rc1", true),
            ("-o", false),
            ("", false),
            ("3.8.1 --force", false),
            ("3.8.1;id", false),
            ("../3", false),
            ("3/../..", false),
        ] {
            assert_eq!(is_version(text), fine, "{text}");
        }
        assert!(is_architecture("amd64") && is_architecture("x86_64"));
        assert!(!is_architecture("../amd64") && !is_architecture("-x") && !is_architecture(""));
    }

    #[test]
    fn pmms_version_is_in_front_of_the_packages() {
        for (package, own) in [
            ("2.44.1-6.bookworm", "2.44.1"),
            ("1:3.8.1-7", "3.8.1"),
            ("3.9.0", "3.9.0"),
            ("3.9.0~rc1-1", "3.9.0"),
        ] {
            assert_eq!(pmm_version(package), own);
        }
    }

    #[test]
    fn only_pmms_own_packages_are_known() {
        assert_eq!(known_package("pmm-client"), Some("pmm-client"));
        assert_eq!(known_package("pmm-client=3"), None);
        assert_eq!(folder_of("pmm2-client"), "/usr/local/percona/pmm2");
        assert_eq!(folder_of(NEW_PACKAGE), "/usr/local/percona/pmm");
    }
}
