//! How an image is named, taken apart. Cutting at the first colon makes a tag of a registry's port, and of a digest's algorithm
//! (facts/pmm.md 2.1, defect 3); agent and controller must not differ in it either, so both ask here.

/// A name that somebody gave for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference<'a> {
    /// An image's id or at least twelve of its first digits, without `sha256:`. Only an engine that has the image can say
    /// whether it is one, or a repository that is called so.
    Id(&'a str),
    /// `repository@sha256:…`; a tag between the two counts for nothing.
    Digest {
        /// With its registry.
        repository: &'a str,
        /// With its algorithm.
        digest: &'a str,
    },
    /// `repository:tag`.
    Tag {
        /// With its registry.
        repository: &'a str,
        /// What is behind the last colon.
        tag: &'a str,
    },
    /// No tag: engines take `latest`.
    Bare(&'a str),
}

impl<'a> Reference<'a> {
    /// Takes a name apart; `None` when no image can be called so.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
        if !text.chars().all(plain) || text.split('/').any(|part| matches!(part, "" | ".." | ".")) {
            return None;
        }
        if let Some(digits) = text.strip_prefix("sha256:") {
            return is_hex(digits).then_some(Self::Id(digits));
        }
        if text.len() >= ID_DIGITS && text.len() <= 64 && is_hex(text) {
            return Some(Self::Id(text));
        }
        if let Some((name, digest)) = text.split_once('@') {
            let (_, digits) = digest.split_once(':')?;
            let repository = split_tag(name).map_or(name, |(repository, _)| repository);
            let sound = !repository.is_empty() && is_hex(digits);
            return sound.then_some(Self::Digest { repository, digest });
        }
        match split_tag(text) {
            Some((repository, tag)) if !repository.is_empty() && !tag.is_empty() => {
                Some(Self::Tag { repository, tag })
            }
            Some(_) => None,
            None => Some(Self::Bare(text)),
        }
    }

    /// The repository with its registry; `None` for an id, which has none.
    #[must_use]
    pub fn repository(&self) -> Option<&'a str> {
        match *self {
            Self::Id(_) => None,
            Self::Digest { repository, .. }
            | Self::Tag { repository, .. }
            | Self::Bare(repository) => Some(repository),
        }
    }

    /// Whether the registry may give another image for it tomorrow: it has neither a digest nor a full version.
    #[must_use]
    pub fn is_floating(&self) -> bool {
        match self {
            Self::Id(_) | Self::Digest { .. } => false,
            Self::Tag { tag, .. } => !is_full_version(tag),
            Self::Bare(_) => true,
        }
    }
}

/// Engines show so many digits of an id; fewer are taken for a repository's name.
const ID_DIGITS: usize = 12;

fn is_hex(digits: &str) -> bool {
    let hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    !digits.is_empty() && digits.chars().all(hex)
}

/// At the last colon, unless that belongs to a registry's port.
fn split_tag(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))
}

/// `3.8.1`, also `v3.8.1` and `3.8.1-2.el9`. `3`, `3.8`, `latest` and `dev-latest` move, and so does `3.8.1-latest`.
fn is_full_version(tag: &str) -> bool {
    let tag = tag.strip_prefix('v').unwrap_or(tag);
    let end = tag
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(tag.len());
    let (numbers, rest) = tag.split_at(end);
    let number = |part: &str| !part.is_empty() && part.len() <= 9;
    numbers.split('.').count() == 3
        && numbers.split('.').all(number)
        && (rest.is_empty() || rest.starts_with(['-', '_']))
        && !rest.contains("latest")
}

#[cfg(test)]
mod tests {
    use super::Reference::{self, Bare, Digest, Id, Tag};

    const HEX: &str = "9b1e7c3306aa9b1e7c3306aa9b1e7c3306aa9b1e7c3306aa9b1e7c3306aa0000";

    #[test]
    fn ports_tags_digests_and_ids_are_told_apart() {
        let repository = "host:5000/percona/pmm-server";
        let with_digest = format!("{repository}@sha256:{HEX}");
        let with_both = format!("{repository}:3.8.1@sha256:{HEX}");
        let id = format!("sha256:{HEX}");
        let digest = &with_digest[repository.len() + 1..];
        for (text, parsed) in [
            (
                "host:5000/percona/pmm-server:3.8.1",
                Some(Tag {
                    repository,
                    tag: "3.8.1",
                }),
            ),
            ("host:5000/percona/pmm-server", Some(Bare(repository))),
            (&with_digest, Some(Digest { repository, digest })),
            (&with_both, Some(Digest { repository, digest })),
            ("percona/pmm-server", Some(Bare("percona/pmm-server"))),
            (
                "pmm-server:3",
                Some(Tag {
                    repository: "pmm-server",
                    tag: "3",
                }),
            ),
            ("abcdef123456", Some(Id("abcdef123456"))),
            (&id, Some(Id(HEX))),
            (HEX, Some(Id(HEX))),
            // Too short for an id, and a repository may be called so.
            ("abcdef", Some(Bare("abcdef"))),
            ("abcdef123456/pmm", Some(Bare("abcdef123456/pmm"))),
            (
                "abcdef123456:3.8.1",
                Some(Tag {
                    repository: "abcdef123456",
                    tag: "3.8.1",
                }),
            ),
            ("", None),
            (":3.8.1", None),
            ("pmm:", None),
            ("pmm@sha256", None),
            ("pmm@sha256:", None),
            ("@sha256:00", None),
            ("pmm@sha256:xyz", None),
            ("sha256:xyz", None),
            ("a/../b", None),
            ("a//b:1", None),
            ("Not An Image", None),
            ("pmm:3.8.1;id", None),
        ] {
            assert_eq!(Reference::parse(text), parsed, "{text}");
        }
    }

    #[test]
    fn only_a_full_version_a_digest_or_an_id_stands_still() {
        let floats = |text: &str| Reference::parse(text).unwrap().is_floating();
        for text in [
            "percona/pmm-server",
            "percona/pmm-server:3",
            "host:5000/pmm:3.8",
            "a/b:latest",
            "a/b:dev-latest",
            "a/b:3-dev-latest",
            "a/b:3.8.1-latest",
            "a/b:3.8.1.2",
            "a/b:3.8.",
            "a/b:3..1",
            "a/b:3.8.1rc",
            "host:5000/pmm",
        ] {
            assert!(floats(text), "{text}");
        }
        for text in [
            "percona/pmm-server:3.8.1",
            "percona/pmm-server:v3.8.1",
            "my/pmm-server:2.44.1-ferry",
            "my/pmm-server:3.8.1_2.el9",
            "host:5000/pmm:3.8.1",
            "pmm@sha256:9b1e",
            "pmm:3@sha256:9b1e",
            "abcdef123456",
        ] {
            assert!(!floats(text), "{text}");
        }
    }
}
