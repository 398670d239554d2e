//! Every kind of finding, with its cause and its remedy. An operator who reads a code in a terminal, a
//! log or a policy must find out what it means without the source; so a finding can only be made
//! with a code from here, and `docs/findings.md` is written from here.
//!
//! A code never changes its meaning and is never used again for another one.
//!
//! Rejected: codes as bare text where they are found, with a list in the docs: the two drift.

pub mod arrival;
pub mod backup;
pub mod carry_over;
pub mod client;
pub mod cluster;
pub mod container;
pub mod data;
pub mod environment;
pub mod image;
pub mod rows;
pub mod server;
pub mod uses;

use ferry_proto::v1::Severity;

/// One kind of finding. Made in this module and its children only.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    name: &'static str,
    severities: &'static [Severity],
    facts: &'static str,
    cause: &'static str,
    remedy: &'static str,
}

impl Code {
    /// Stable, kebab-case.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// How much it may matter, worst first.
    #[must_use]
    pub fn severities(&self) -> &'static [Severity] {
        self.severities
    }

    /// The section of `facts/pmm.md` that it rests on; empty for what is Ferry's own.
    #[must_use]
    pub fn facts(&self) -> &'static str {
        self.facts
    }

    /// What is the matter, and why that matters.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        self.cause
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        self.remedy
    }
}

/// The codes of one subject.
#[derive(Debug)]
pub struct Group {
    /// What they are about.
    pub title: &'static str,
    /// In the order in which a person would look.
    pub codes: &'static [&'static Code],
}

/// All codes, by subject, in the order of the checks.
pub const GROUPS: &[&Group] = &[
    &container::GROUP,
    &cluster::GROUP,
    &carry_over::GROUP,
    &environment::GROUP,
    &image::GROUP,
    &server::GROUP,
    &uses::GROUP,
    &data::GROUP,
    &backup::GROUP,
    &client::GROUP,
    &arrival::GROUP,
];

/// All codes.
pub fn all() -> impl Iterator<Item = &'static Code> {
    GROUPS.iter().flat_map(|group| group.codes.iter().copied())
}

/// Codes and the group that lists them, so that none is without the other.
macro_rules! codes {
    ($title:literal $( $name:ident $code:literal [$($severity:ident)+] $facts:literal: $cause:literal => $remedy:literal; )*) => {
        $(
            #[doc = concat!("`", $code, "`: ", $cause, ".")]
            pub const $name: &super::Code = &super::Code {
                name: $code,
                severities: &[$(ferry_proto::v1::Severity::$severity),+],
                facts: $facts,
                cause: $cause,
                remedy: $remedy,
            };
        )*
        /// The codes of this subject.
        pub const GROUP: super::Group = super::Group { title: $title, codes: &[$($name),*] };
    };
}
use codes;

#[cfg(test)]
mod tests;
