//! Which images come before the wished one. The policy starts from one PMM 2 and enters PMM 3 at one version (facts/pmm.md 0.1); who
//! is older, or wants to go further, goes there on the way, and need not know it.

use ferry_proto::v1::{Facts, ImageFacts};

use super::{Allowed, Verdict, Version, hop, image_of, is_update, source, start, target};

/// One image on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// What can be typed for it.
    pub image: String,
    /// Which version it must be.
    pub version: Version,
    /// Why the engine cannot have it, where that was looked at and is so; else empty.
    pub unavailable: String,
}

impl Hop {
    /// Writes down what the engine said of its image.
    pub fn look(&mut self, image: &ImageFacts) {
        self.unavailable = match Version::parse(&image.version) {
            _ if !image.failure.is_empty() => image.failure.clone(),
            _ if !image.present => "the engine does not have it".to_owned(),
            Some(version) if version == self.version => String::new(),
            Some(version) => format!("it is PMM {version}"),
            None => "it does not say which PMM it is".to_owned(),
        };
    }
}

/// What comes before the wished image, in the order to go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hops {
    /// The PMM 2 to start from, where the server is older.
    pub start: Option<Hop>,
    /// The PMM 3 to enter at, where the wished one is later.
    pub entry: Option<Hop>,
}

impl Hops {
    /// One after the other.
    pub fn all(&self) -> impl Iterator<Item = &Hop> {
        self.start.iter().chain(&self.entry)
    }

    /// The same, to write down what was looked at.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Hop> {
        self.start.iter_mut().chain(&mut self.entry)
    }

    /// Whether the wished image is gone to at once.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }
}

/// What the policy puts before `asked`, from what a server is and what it shall become. An update within a major version goes at once;
/// so does what the operator has allowed by its rule's name, and what nothing leads to.
#[must_use]
pub fn hops(
    facts: &Facts,
    from: Option<Version>,
    to: Option<Version>,
    asked: &str,
    allowed: &Allowed,
) -> Hops {
    let (Some(from), Some(to)) = (from, to) else {
        return Hops::default();
    };
    // A cluster's own tool updates what runs there.
    if is_update(Some(from), Some(to)) || facts.cluster.is_some() || from.major != 2 {
        return Hops::default();
    }
    let rule = target(to);
    let beyond = to > hop() && matches!(rule.verdict, Verdict::Doubted | Verdict::Refused);
    let leads_on = beyond || matches!(rule.verdict, Verdict::Meant | Verdict::Allowed);
    if !leads_on {
        return Hops::default();
    }
    // Of where the server's own came from the engine keeps an id alone.
    let image = |version| Hop {
        image: image_of(asked, version),
        version,
        unavailable: String::new(),
    };
    Hops {
        start: (source(from).verdict == Verdict::Closed).then(|| image(start())),
        entry: (beyond && !allowed.overrules(rule)).then(|| image(hop())),
    }
}
