//! The patterns of a policy: `*` is any run of characters, everything else is itself.

use ferry_proto::Reference;

/// A name with `*` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<String>);

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        Self(text.split('*').map(str::to_owned).collect())
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let Some((first, others)) = self.0.split_first() else {
            return false;
        };
        let Some((last, middle)) = others.split_last() else {
            return text == first;
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else {
            return false;
        };
        // The earliest place of each part leaves most for those behind it.
        for part in middle {
            match rest.find(part.as_str()) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last.as_str())
    }
}

/// A pattern for the repository, and one for the tag. A digest names no tag, so its repository alone is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImagePattern {
    repository: Pattern,
    tag: Option<Pattern>,
}

impl ImagePattern {
    pub(super) fn new(text: &str) -> Self {
        let (repository, tag) = match text.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
            _ => (text, None),
        };
        Self {
            repository: Pattern::new(repository),
            tag: tag.map(Pattern::new),
        }
    }

    pub(super) fn matches(&self, reference: &str) -> bool {
        let tag_of = |tag| self.tag.as_ref().is_none_or(|it| it.matches(tag));
        match Reference::parse(reference) {
            Some(Reference::Digest { repository, .. }) => self.repository.matches(repository),
            Some(Reference::Tag { repository, tag }) => {
                self.repository.matches(repository) && tag_of(tag)
            }
            Some(Reference::Bare(repository)) => {
                self.repository.matches(repository) && tag_of("latest")
            }
            // An id says nothing; whoever asks looks the image up by it.
            Some(Reference::Id(_)) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_is_any_run_of_characters() {
        for (pattern, text, fits) in [
            ("pmm-server", "pmm-server", true),
            ("pmm-server", "pmm-server2", false),
            ("pmm-*", "pmm-", true),
            ("pmm-*", "xpmm-a", false),
            ("*-pmm", "db-pmm", true),
            ("*-pmm", "db-pmm-2", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXcYb", false),
            ("ab*ba", "aba", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a.c", "abc", false),
        ] {
            assert_eq!(
                Pattern::new(pattern).matches(text),
                fits,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn registry_repository_and_tag_are_told_apart() {
        let digest = format!("percona/pmm-server@sha256:{}", "ab".repeat(32));
        for (pattern, image, fits) in [
            ("percona/pmm-server:3.*", "percona/pmm-server:3.8.1", true),
            ("percona/pmm-server:3.*", "percona/pmm-server:2.44.1", false),
            ("percona/pmm-server:3.*", "percona/pmm-server", false),
            ("percona/pmm-server", "percona/pmm-server", true),
            ("percona/pmm-server:3.*", digest.as_str(), true),
            (
                "percona/*",
                "evil.example:5000/percona/pmm-server:3.8.1",
                false,
            ),
            ("hub.example:5000/pmm:*", "hub.example:5000/pmm:3.8.1", true),
            ("hub.example:5000/pmm", "hub.example:5000/pmm:3.8.1", true),
            ("*", "abcdefabcdef", false),
        ] {
            assert_eq!(
                ImagePattern::new(pattern).matches(image),
                fits,
                "{pattern} {image}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_pattern_fits_what_it_is_filled_with(
            parts in proptest::collection::vec("[ab]{0,3}", 1..5),
            fills in proptest::collection::vec("[abc]{0,4}", 5),
        ) {
            let pattern = Pattern::new(&parts.join("*"));
            // The first part has nothing in front of it.
            let mut text = parts[0].clone();
            for (part, fill) in parts[1..].iter().zip(&fills) {
                text.push_str(fill);
                text.push_str(part);
            }
            prop_assert!(pattern.matches(&text));
        }
    }
}
