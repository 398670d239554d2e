//! The tables say what the facts say, and have one answer to everything.

use proptest::prelude::*;

use super::*;
use crate::{recipes::pmm_in_place, samples};

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

#[test]
fn the_tables_say_what_the_facts_say() {
    use Verdict::{Allowed, Closed, Doubted, Meant, Refused};
    for (from, name, verdict) in [
        ("2.0.0", "version-too-old", Closed),
        ("2.43.2", "version-too-old", Closed),
        ("2.44.0", "version-not-last", Doubted),
        ("2.44.1", "version-last", Meant),
        ("2.44.1-1.el9", "version-last", Meant),
        ("3.0.0", "already-pmm-3", Closed),
    ] {
        let rule = source(version(from));
        assert_eq!((rule.name, rule.verdict), (name, verdict), "from {from}");
    }
    for (to, name, verdict) in [
        ("2.44.1", "target-not-pmm-3", Closed),
        ("3.0.0", "target-early", Allowed),
        ("3.6.9", "target-early", Allowed),
        ("3.7.0", "target-3-7-0", Refused),
        ("3.7.1", "target-repaired", Allowed),
        ("3.8.0", "target-repaired", Allowed),
        ("3.8.1", "target-hop", Meant),
        ("3.8.2", "target-beyond-tested", Doubted),
        ("3.9.1", "target-beyond-tested", Doubted),
        ("3.10.0", "target-postgres-upgrade", Refused),
        ("3.12.9", "target-postgres-upgrade", Refused),
        ("3.13.0", "target-too-new", Closed),
        ("4.0.0", "target-too-new", Closed),
    ] {
        let rule = target(version(to));
        assert_eq!((rule.name, rule.verdict), (name, verdict), "to {to}");
    }
    assert_eq!((start(), hop()), (version("2.44.1"), version("3.8.1")));
    assert_eq!(overrulable(), ["target-3-7-0", "target-postgres-upgrade"]);
}

#[test]
fn an_update_stays_within_its_major_and_goes_onward() {
    for (from, to, name) in [
        ("2.41.2", "2.44.1", "update-last"),
        ("2.44.0", "2.44.1", "update-last"),
        ("2.30.0", "2.41.2", "update-short"),
        ("2.44.1", "2.44.1", "update-not-newer"),
        ("2.44.1", "2.41.2", "update-not-newer"),
        ("3.8.1", "3.9.1", "update-within-3"),
        ("3.8.1", "3.10.0", "update-postgres-upgrade"),
        ("3.9.1", "3.8.1", "update-not-newer"),
    ] {
        let (from, to) = (version(from), version(to));
        assert!(is_update(Some(from), Some(to)));
        assert_eq!(update(from, to).name, name, "{from} to {to}");
    }
    assert!(!is_update(Some(version("2.44.1")), Some(version("3.8.1"))));
    assert!(!is_update(None, Some(version("3.8.1"))) && !is_update(None, None));
}

#[test]
fn the_way_goes_by_where_it_starts_and_where_it_enters() {
    for (from, to, way) in [
        ("2.44.1", "3.8.1", &[][..]),
        // The policy doubts the start, and does not refuse it.
        ("2.44.0", "3.8.1", &[]),
        ("2.41.2", "3.8.1", &["2.44.1"]),
        ("2.41.2", "3.2.0", &["2.44.1"]),
        ("2.44.1", "3.9.1", &["3.8.1"]),
        ("2.44.1", "3.12.0", &["3.8.1"]),
        ("2.41.2", "3.10.0", &["2.44.1", "3.8.1"]),
        // Nothing leads there, so nothing comes before it.
        ("2.41.2", "3.13.0", &[]),
        ("2.41.2", "3.7.0", &[]),
        ("2.41.2", "2.44.1", &[]),
        ("3.4.0", "3.10.0", &[]),
        ("1.17.4", "3.8.1", &[]),
    ] {
        let found = hops(
            &samples::facts(),
            Some(version(from)),
            Some(version(to)),
            &format!("registry:5000/pmm-server:{to}"),
            &Allowed::default(),
        );
        let versions: Vec<String> = found.all().map(|it| it.version.to_string()).collect();
        assert_eq!(versions, way, "{from} to {to}");
        if let Some(entry) = &found.entry {
            // From where the wished one comes.
            assert_eq!(entry.image, "registry:5000/pmm-server:3.8.1");
        }
    }
}

#[test]
fn who_allows_the_rule_goes_at_once() {
    let to = "percona/pmm-server:3.10.0";
    let way = |allowed: &Allowed| {
        let (from, target) = (Some(version("2.44.1")), Some(version("3.10.0")));
        hops(&samples::facts(), from, target, to, allowed)
    };
    assert!(!way(&Allowed::default()).is_empty());
    assert!(way(&Allowed::default().and("target-postgres-upgrade")).is_empty());
    let mut facts = samples::facts();
    facts.cluster = Some(Default::default());
    let (from, target) = (Some(version("2.41.2")), Some(version("3.8.1")));
    assert!(hops(&facts, from, target, to, &Allowed::default()).is_empty());
}

#[test]
fn each_table_begins_at_nothing_rises_and_means_one() {
    let mut names = BTreeSet::new();
    for table in [SOURCES, TARGETS, UPDATES] {
        assert_eq!(table[0].0, Version::new(0, 0, 0));
        assert!(table.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let meant = table.iter().filter(|(_, it)| it.verdict == Verdict::Meant);
        assert_eq!(meant.count(), 1);
        for (_, rule) in table {
            assert!(names.insert(rule.name), "{} is there twice", rule.name);
            assert!(!rule.reason.is_empty() && !rule.source.is_empty());
            assert!(!rule.reason.ends_with('.'), "{}", rule.reason);
        }
    }
}

fn any_version() -> impl Strategy<Value = Version> {
    let major = prop_oneof![4 => 1_u32..5, 1 => any::<u32>()];
    let minor = prop_oneof![4 => 0_u32..60, 1 => any::<u32>()];
    let patch = prop_oneof![4 => 0_u32..4, 1 => any::<u32>()];
    (major, minor, patch).prop_map(|(major, minor, patch)| Version::new(major, minor, patch))
}

/// How many rules of a table hold for a version, by the table's words and not by how it is searched.
fn holders(table: &[(Version, Rule)], version: Version) -> usize {
    let next = |at: usize| table.get(at + 1).map(|(from, _)| *from);
    (0..table.len())
        .filter(|at| table[*at].0 <= version && next(*at).is_none_or(|next| version < next))
        .count()
}

/// All that a flag can allow, and more.
fn everything() -> Allowed {
    let tables = SOURCES.iter().chain(TARGETS).map(|(_, rule)| rule.name);
    let names = tables.chain([FLOATING.name, PINNED.name]);
    names.fold(Allowed::default(), Allowed::and)
}

proptest! {
    #[test]
    fn there_is_one_answer_to_every_version(version in any_version()) {
        prop_assert_eq!(holders(SOURCES, version), 1);
        prop_assert_eq!(holders(TARGETS, version), 1);
        prop_assert_eq!(holders(UPDATES, version), 1);
    }

    #[test]
    fn nothing_below_2_44_starts_whatever_is_allowed(version in any_version()) {
        let rule = source(version);
        let starts = version >= Version::new(2, 44, 0) && version < Version::new(3, 0, 0);
        prop_assert_eq!(rule.verdict != Verdict::Closed, starts);
        prop_assert!(!everything().overrules(rule));
        let mut facts = samples::facts();
        facts.server.as_mut().unwrap().version = version.to_string();
        let wishes = Wishes { allowed: everything(), ..samples::wishes() };
        let planned = pmm_in_place::plan("docker:p", facts, &wishes, Default::default());
        let updated = version.major == 3 && version < hop();
        prop_assert_eq!(planned.is_ok(), starts || updated);
    }

    #[test]
    fn a_target_is_planned_only_as_its_rule_says(version in any_version(), allow in any::<bool>()) {
        let from = Version::new(2, 44, 1);
        let rule = if version.major == 2 { update(from, version) } else { target(version) };
        let mut facts = samples::facts();
        facts.target.as_mut().unwrap().version = version.to_string();
        let allowed = if allow { everything() } else { Allowed::default() };
        let wishes = Wishes { allowed, ..samples::wishes() };
        let planned = pmm_in_place::plan("docker:p", facts, &wishes, Default::default());
        let goes = match rule.verdict {
            Verdict::Meant | Verdict::Allowed | Verdict::Doubted => true,
            Verdict::Refused => allow,
            Verdict::Closed => false,
        };
        match planned {
            Ok(plan) => {
                prop_assert!(goes, "{version} was planned");
                let said: Vec<_> = plan.policy.iter().filter(|it| it.rule == rule.name).collect();
                prop_assert_eq!(said.len(), 1);
                prop_assert_eq!(said[0].overruled, rule.verdict == Verdict::Refused);
                // Whoever applies the plan judges as whoever made it.
                let again = Allowed::of(&plan);
                prop_assert_eq!(again.overrules(rule), wishes.allowed.overrules(rule));
            }
            Err(refused) => {
                prop_assert!(!goes || !refused.findings.iter().any(|it| it.code == rule.name), "{version} was refused");
                prop_assert!(!goes, "{:?}", refused.findings);
            }
        }
    }
}

fn image(id: &str, digest: &str, reference: &str) -> ImageFacts {
    ImageFacts {
        reference: reference.into(),
        present: true,
        id: id.into(),
        digest: digest.into(),
        ..ImageFacts::default()
    }
}

#[test]
fn an_id_is_one_only_if_the_image_has_it() {
    let found = image("sha256:abcdef1234567890", "", "");
    for (asked, rule) in [
        ("abcdef123456", &PINNED),
        ("sha256:abcdef", &PINNED),
        // A repository that is called like an id.
        ("abcdef123457", &FLOATING),
        ("percona/pmm-server", &FLOATING),
        ("host:5000/percona/pmm-server:3.8.1", &PINNED),
        ("percona/pmm-server@sha256:ab", &PINNED),
        ("Not An Image", &PINNED),
    ] {
        assert_eq!(reference(asked, &found), rule, "{asked}");
    }
    // An engine that has no such image will say so.
    assert_eq!(reference("abcdef123457", &ImageFacts::default()), &PINNED);
}

#[test]
fn the_hop_comes_from_where_the_wanted_image_comes_from() {
    for (asked, hop) in [
        ("host:5000/pmm:3", "host:5000/pmm:3.8.1"),
        ("percona/pmm-server", "percona/pmm-server:3.8.1"),
        ("r/pmm@sha256:ab", "r/pmm:3.8.1"),
        ("abcdef123456", "percona/pmm-server:3.8.1"),
        ("Not An Image", "percona/pmm-server:3.8.1"),
    ] {
        assert_eq!(hop_image(asked), hop, "{asked}");
    }
}

#[test]
fn a_digest_is_asked_of_the_registry_that_was_named() {
    let asked = |reference: &str, digest: &str| by_digest(&image("sha256:1", digest, reference));
    let of = |text: &str| Some(text.to_owned());
    assert_eq!(
        asked("r:5000/pmm:3", "pmm@sha256:2"),
        of("r:5000/pmm@sha256:2")
    );
    assert_eq!(asked("abcdef123456", "pmm@sha256:2"), of("pmm@sha256:2"));
    assert_eq!(asked("pmm:3.8.1", "sha256:1"), None);
    assert_eq!(asked("pmm:3.8.1", ""), None);
}
