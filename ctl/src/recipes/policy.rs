//! The target policy: from which PMM 2 to which PMM 3, as data with its reasons (facts/pmm.md 0.1). Upstream's own sources
//! contradict each other about it and will change their minds again; then a line of a table here changes, and no code.
//!
//! A rule holds from its version on until the next one begins, so that there is never a version without an answer, and never
//! one with two.
//!
//! Rejected: a policy file beside the program. What is allowed would differ from machine to machine without a plan saying so;
//! a flag names the rule that it overrules, and the plan keeps it.

use std::collections::BTreeSet;

use ferry_proto::{
    Reference,
    v1::{Facts, ImageFacts, Plan, PolicyRule},
};

use super::{
    Version, Wishes,
    catalogue::{Code, image},
};

/// What a rule says of what it is applied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// What the policy leads to when nobody wishes otherwise.
    Meant,
    /// Nothing speaks against it.
    Allowed,
    /// It is done, with a warning.
    Doubted,
    /// It is not done, unless the operator allows it by the rule's name.
    Refused,
    /// It is not done, and nothing allows it.
    Closed,
}

impl Verdict {
    /// The word for it in a plan.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Meant => "meant",
            Self::Allowed => "allowed",
            Self::Doubted => "doubted",
            Self::Refused => "refused",
            Self::Closed => "closed",
        }
    }
}

/// A rule with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Stable, kebab-case; the code of its finding, and what `--allow-target` takes.
    pub name: &'static str,
    /// What it says.
    pub verdict: Verdict,
    /// Why: what goes behind `PMM 3.8.1` to be a sentence.
    pub reason: &'static str,
    /// Who says so.
    pub source: &'static str,
    /// Of the finding that it makes; none where nothing speaks against what it is applied to.
    pub code: Option<&'static Code>,
}

const fn rule(
    name: &'static str,
    verdict: Verdict,
    reason: &'static str,
    source: &'static str,
) -> Rule {
    Rule {
        name,
        verdict,
        reason,
        source,
        code: None,
    }
}

/// A rule that speaks against something; its finding has the same name.
const fn finding(
    code: &'static Code,
    verdict: Verdict,
    reason: &'static str,
    source: &'static str,
) -> Rule {
    Rule {
        code: Some(code),
        ..rule(code.name(), verdict, reason, source)
    }
}

const MIGRATION_PAGE: &str = "upstream's page `migrating_from_pmm_2`";
const UPSTREAM_SCRIPT: &str = "upstream's `get-pmm.sh` of 3.9, percona/pmm#5592";

/// From which version.
pub const SOURCES: &[(Version, Rule)] = {
    use Verdict::{Closed, Doubted, Meant};
    &[
        (
            Version::new(0, 0, 0),
            finding(
                image::VERSION_TOO_OLD,
                Closed,
                "has no way to PMM 3: that starts at 2.44",
                MIGRATION_PAGE,
            ),
        ),
        (
            Version::new(2, 44, 0),
            finding(
                image::VERSION_NOT_LAST,
                Doubted,
                "is not the last PMM 2, 2.44.1, from which upstream tests the migration",
                MIGRATION_PAGE,
            ),
        ),
        (
            Version::new(2, 44, 1),
            rule(
                "version-last",
                Meant,
                "is the last PMM 2, from which upstream tests the migration",
                MIGRATION_PAGE,
            ),
        ),
        (
            Version::new(3, 0, 0),
            finding(
                image::ALREADY_PMM_3,
                Closed,
                "is PMM 3 already",
                MIGRATION_PAGE,
            ),
        ),
    ]
};

/// To which version, in one go.
pub const TARGETS: &[(Version, Rule)] = {
    use Verdict::{Allowed, Closed, Doubted, Meant, Refused};
    &[
        (
            Version::new(0, 0, 0),
            finding(
                image::TARGET_NOT_PMM_3,
                Closed,
                "is no PMM 3",
                MIGRATION_PAGE,
            ),
        ),
        (
            Version::new(3, 0, 0),
            rule(
                "target-early",
                Allowed,
                "takes the data of a PMM 2 as it is; what later releases repaired it still has",
                MIGRATION_PAGE,
            ),
        ),
        (
            Version::new(3, 7, 0),
            finding(
                image::TARGET_3_7_0,
                Refused,
                "does not set the password of role `pmm-managed` anew and may stay in \"PMM is being upgraded\"; 3.7.1 does",
                "percona/pmm#5209, PMM-14984",
            ),
        ),
        (
            Version::new(3, 7, 1),
            rule(
                "target-repaired",
                Allowed,
                "is 3.7, which upstream calls the last fully tested, without the fault of 3.7.0",
                MIGRATION_PAGE,
            ),
        ),
        (
            Version::new(3, 8, 1),
            rule(
                "target-hop",
                Meant,
                "is the last version that supports migration from PMM 2, and the one that upstream pins for it",
                UPSTREAM_SCRIPT,
            ),
        ),
        (
            Version::new(3, 8, 2),
            finding(
                image::TARGET_BEYOND_TESTED,
                Doubted,
                "is later than 3.8.1, the last that upstream's script migrates PMM 2 to",
                UPSTREAM_SCRIPT,
            ),
        ),
        (
            Version::new(3, 10, 0),
            finding(
                image::TARGET_POSTGRES_UPGRADE,
                Refused,
                "also upgrades PostgreSQL 14 to 18 at its first start, which upstream does not test from PMM 2",
                "percona/pmm#5295, PMM-15404",
            ),
        ),
        (
            Version::new(3, 13, 0),
            finding(
                image::TARGET_TOO_NEW,
                Closed,
                "has no way from PMM 2 any more, not even in two hops",
                MIGRATION_PAGE,
            ),
        ),
    ]
};

/// To which version, within a major one.
pub const UPDATES: &[(Version, Rule)] = {
    use Verdict::{Allowed, Doubted, Meant};
    &[
        (
            Version::new(0, 0, 0),
            finding(
                image::UPDATE_SHORT,
                Doubted,
                "is not the last PMM 2, 2.44.1, from which the way to PMM 3 starts",
                MIGRATION_PAGE,
            ),
        ),
        (
            Version::new(2, 44, 1),
            rule(
                "update-last",
                Meant,
                "is the last PMM 2, from which the way to PMM 3 starts",
                MIGRATION_PAGE,
            ),
        ),
        (
            Version::new(3, 0, 0),
            rule(
                "update-within-3",
                Allowed,
                "is a later PMM 3, which takes the data of an earlier one",
                MIGRATION_PAGE,
            ),
        ),
        (
            Version::new(3, 10, 0),
            finding(
                image::UPDATE_POSTGRES_UPGRADE,
                Doubted,
                "also upgrades PostgreSQL 14 to 18 at its first start, if that was not done before",
                "percona/pmm#5295, PMM-15404",
            ),
        ),
    ]
};

/// An update that is none.
pub const NOT_NEWER: Rule = finding(
    image::UPDATE_NOT_NEWER,
    Verdict::Closed,
    "is not newer than what the server is",
    "Ferry",
);

/// An image that stands still.
pub const PINNED: Rule = rule(
    "target-pinned",
    Verdict::Allowed,
    "names one image, by a full version, a digest or an id",
    "Ferry",
);

/// An image that moves.
pub const FLOATING: Rule = finding(
    image::TARGET_FLOATING_TAG,
    Verdict::Refused,
    "may name another image tomorrow, without anybody here having changed anything",
    "Ferry",
);

/// Where no image's name says otherwise.
const UPSTREAM_REPOSITORY: &str = "percona/pmm-server";

/// The names of refusing rules that the operator has allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed(BTreeSet<String>);

impl Allowed {
    /// With one more.
    #[must_use]
    pub fn and(mut self, rule: impl Into<String>) -> Self {
        self.0.insert(rule.into());
        self
    }

    /// What a plan was made with.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let overruled = plan.policy.iter().filter(|rule| rule.overruled);
        Self(overruled.map(|rule| rule.rule.clone()).collect())
    }

    /// Whether the rule stands in the way no more.
    #[must_use]
    pub fn overrules(&self, rule: &Rule) -> bool {
        rule.verdict == Verdict::Refused && self.0.contains(rule.name)
    }
}

/// The rule on coming from `version`.
#[must_use]
pub fn source(version: Version) -> &'static Rule {
    answer(SOURCES, version)
}

/// The rule on going to `version`.
#[must_use]
pub fn target(version: Version) -> &'static Rule {
    answer(TARGETS, version)
}

/// The rule on an update within a major version.
#[must_use]
pub fn update(from: Version, to: Version) -> &'static Rule {
    if to <= from {
        return &NOT_NEWER;
    }
    answer(UPDATES, to)
}

/// Whether both are of one major version, so that the one becomes the other by an update and not by a crossing.
#[must_use]
pub fn is_update(from: Option<Version>, to: Option<Version>) -> bool {
    // What a later major version needs nobody knows.
    matches!((from, to), (Some(from), Some(to)) if from.major == to.major && matches!(from.major, 2 | 3))
}

fn answer(table: &'static [(Version, Rule)], version: Version) -> &'static Rule {
    let behind = table.partition_point(|(from, _)| *from <= version);
    // The first rule of a table begins at 0.0.0.
    &table[behind.saturating_sub(1)].1
}

/// The version that the policy leads to when nobody wishes otherwise.
#[must_use]
pub fn hop() -> Version {
    meant(TARGETS)
}

/// The version to start from.
#[must_use]
pub fn start() -> Version {
    meant(SOURCES)
}

fn meant(table: &'static [(Version, Rule)]) -> Version {
    let found = table
        .iter()
        .find(|(_, rule)| rule.verdict == Verdict::Meant);
    // Each table has one; a test counts them.
    found.map_or(Version::new(0, 0, 0), |(from, _)| *from)
}

/// The rules that a flag can overrule, by name: those on versions.
#[must_use]
pub fn overrulable() -> Vec<&'static str> {
    let refused = |(_, rule): &&(Version, Rule)| rule.verdict == Verdict::Refused;
    TARGETS
        .iter()
        .filter(refused)
        .map(|(_, rule)| rule.name)
        .collect()
}

/// The rule on the image's name. What looks like an id is one only if the engine's image has it.
#[must_use]
pub fn reference(asked: &str, found: &ImageFacts) -> &'static Rule {
    let floats = match Reference::parse(asked) {
        Some(Reference::Id(digits)) if found.present => {
            let id = found.id.strip_prefix("sha256:").unwrap_or(&found.id);
            !id.starts_with(digits)
        }
        Some(reference) => reference.is_floating(),
        // No image can be called so, which the engine says better.
        None => false,
    };
    if floats { &FLOATING } else { &PINNED }
}

/// Whether the image's name alone, before anybody looks at the image, is a reason not to plan. It must not be pulled then.
#[must_use]
pub fn refuses_name(wishes: &Wishes) -> bool {
    let rule = reference(&wishes.target_image, &ImageFacts::default());
    rule.verdict == Verdict::Refused && !wishes.allowed.overrules(rule)
}

/// Whether the wished image's name may mean another image tomorrow.
#[must_use]
pub fn floats(facts: &Facts, wishes: &Wishes) -> bool {
    let target = facts.target.clone().unwrap_or_default();
    reference(&wishes.target_image, &target).name == FLOATING.name
}

/// The image to hop to, from where the wanted one comes from: what can be typed in its place.
#[must_use]
pub fn hop_image(asked: &str) -> String {
    image_of(asked, hop())
}

/// The image of a version, from where the one in `asked` comes from.
#[must_use]
pub fn image_of(asked: &str, version: Version) -> String {
    let repository = Reference::parse(asked).and_then(|it| it.repository());
    format!("{}:{version}", repository.unwrap_or(UPSTREAM_REPOSITORY))
}

/// The target's image by what its registry can give no other image for; `None` where it never came from a registry.
#[must_use]
pub fn by_digest(target: &ImageFacts) -> Option<String> {
    let (found_in, digest) = target.digest.split_once('@')?;
    let asked = Reference::parse(&target.reference).and_then(|it| it.repository());
    Some(format!("{}@{digest}", asked.unwrap_or(found_in)))
}

/// What the plan's name for the target is looked up by: its id, where its name moves.
#[must_use]
pub fn look_up(plan: &Plan) -> Option<&str> {
    let floats = plan.policy.iter().any(|rule| rule.rule == FLOATING.name);
    let target = plan.facts.as_ref()?.target.as_ref()?;
    let by = if floats {
        &target.id
    } else {
        &target.reference
    };
    Some(by.as_str())
}

/// The rules that a plan is made by: on where it starts, on where it goes, on the image's name.
#[must_use]
pub fn applied(
    facts: &Facts,
    from: Option<Version>,
    to: Option<Version>,
    wishes: &Wishes,
) -> Vec<PolicyRule> {
    let of = |subject: String, rule: &Rule| PolicyRule {
        rule: rule.name.to_owned(),
        subject,
        verdict: rule.verdict.word().to_owned(),
        reason: rule.reason.to_owned(),
        source: rule.source.to_owned(),
        overruled: wishes.allowed.overrules(rule),
    };
    let asked = &wishes.target_image;
    let name = facts.target.as_ref().map(|found| reference(asked, found));
    let (start, end) = match (from, to) {
        (Some(from), Some(to)) if is_update(Some(from), Some(to)) => (None, Some(update(from, to))),
        _ => (from.map(source), to.map(target)),
    };
    let about = |version: Option<Version>, rule: Option<&Rule>| {
        Some(of(format!("PMM {}", version?), rule?))
    };
    [
        about(from, start),
        about(to, end),
        name.map(|rule| of(format!("`{asked}`"), rule)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

mod hops;
#[cfg(test)]
mod tests;

pub use hops::{Hop, Hops, hops};
