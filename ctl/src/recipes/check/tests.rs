//! Each kind of bad input gets its finding, and a good server gets none that it does not deserve.

use std::collections::BTreeSet;

use ferry_proto::v1::{EnvironmentChangeKind, Facts, Finding, Severity};

use super::{catalogue, findings};
use crate::{
    recipes::{
        Wishes, pmm_in_place,
        policy::{self, Allowed},
    },
    samples::{self, TARGET},
};

mod cases;

use cases::{CASES, carried, environment, shared, to};

#[test]
fn each_kind_of_bad_input_gets_its_finding() {
    for (code, severity, spoil) in CASES {
        let mut facts = samples::facts();
        spoil(&mut facts);
        let found = findings(&facts, &samples::wishes());
        let hit = found
            .iter()
            .any(|f| f.code == *code && f.severity() == *severity);
        assert!(hit, "{code} is missing in {found:#?}");
        let blocked = found.iter().any(|f| f.severity() == Severity::Blocker);
        if *severity != Severity::Blocker {
            assert!(!blocked, "{code} comes with a blocker in {found:#?}");
        }
    }
}

/// The codes that wishes bring about, whose cases are in `backup`, `compose`, `hops`, `layer` and below.
const BY_WISHES: [(&str, Severity); 30] = [
    ("backup-folder-unobserved", Severity::Blocker),
    ("backup-folder-unusable", Severity::Blocker),
    ("backup-inside-data", Severity::Blocker),
    ("backup-loses-owners", Severity::Blocker),
    ("backup-in-memory", Severity::Blocker),
    ("backup-loses-attributes", Severity::Warning),
    ("backup-same-disk", Severity::Note),
    ("target-floating-tag", Severity::Blocker),
    ("target-floating-tag", Severity::Note),
    ("hops", Severity::Note),
    ("hop-unavailable", Severity::Blocker),
    ("target-3-7-0", Severity::Warning),
    ("target-postgres-upgrade", Severity::Warning),
    // Beside the recipe that makes it.
    ("update-not-rehearsed", Severity::Blocker),
    ("compose-container-only", Severity::Warning),
    ("compose-removes-old", Severity::Warning),
    ("data-to-volume", Severity::Note),
    ("data-volume-taken", Severity::Blocker),
    ("data-volume-room", Severity::Blocker),
    ("data-volume-room", Severity::Note),
    ("data-volume-other-version", Severity::Blocker),
    ("data-volume-needless", Severity::Blocker),
    ("data-volume-needless", Severity::Note),
    ("compose-file-edited", Severity::Note),
    ("compose-file-refused", Severity::Blocker),
    ("unit-files-edited", Severity::Note),
    ("unit-file-refused", Severity::Blocker),
    ("unit-of-another", Severity::Blocker),
    ("unit-makes-anew", Severity::Warning),
    ("unit-starts", Severity::Note),
];

#[test]
fn every_code_of_the_catalogue_has_a_case_with_each_severity() {
    let mut cases: BTreeSet<(&str, &str)> = BTreeSet::new();
    cases.extend(
        CASES
            .iter()
            .map(|(code, severity, _)| (*code, severity.word())),
    );
    cases.extend(
        BY_WISHES
            .iter()
            .map(|(code, severity)| (*code, severity.word())),
    );
    cases.extend(
        super::client_cases::CASES
            .iter()
            .map(|(code, severity, _)| (*code, severity.word())),
    );
    cases.extend(
        super::arrival::cases::CASES
            .iter()
            .map(|(code, severity, _)| (*code, severity.word())),
    );
    for word in ferry_proto::carry_over::CODES {
        let mut facts = samples::facts();
        carried(&mut facts, word);
        for finding in findings(&facts, &samples::wishes()) {
            if finding.code == format!("carry-over-{word}") {
                cases.insert((
                    catalogue::carry_over::of(word).name(),
                    finding.severity().word(),
                ));
            }
        }
    }
    let listed: BTreeSet<(&str, &str)> = catalogue::all()
        .flat_map(|code| code.severities().iter().map(|it| (code.name(), it.word())))
        .collect();
    assert_eq!(cases, listed);
}

#[test]
fn names_that_are_the_operators_own_are_no_finding() {
    let mut facts = samples::facts();
    environment(&mut facts, EnvironmentChangeKind::Foreign);
    facts.container.as_mut().unwrap().environment[0].name = "HOUSE_PMM_SITE".into();
    let found = findings(&facts, &samples::wishes());
    assert!(
        found.iter().all(|finding| finding.code != "env-ignored"),
        "{found:?}"
    );
}

#[test]
fn a_local_admin_is_enough() {
    let mut facts = samples::facts();
    facts.server.as_mut().unwrap().used = Some(samples::used());
    let found = findings(&facts, &samples::wishes());
    assert!(
        found
            .iter()
            .all(|finding| finding.code != "logins-sso-only"),
        "{found:?}"
    );
    // That nothing was looked at is no reason to say anything; what failed says so itself.
    facts.server.as_mut().unwrap().used = None;
    assert!(
        findings(&facts, &samples::wishes())
            .iter()
            .all(|it| it.code != "logins-sso-only")
    );
}

#[test]
fn a_good_server_has_no_other_findings() {
    let found = findings(&samples::facts(), &samples::wishes());
    let codes: Vec<&str> = found.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(
        codes,
        [
            "env-renamed",
            "role-not-scram",
            "api-keys-automatic",
            "disk-room"
        ]
    );
}

#[test]
fn a_podman_is_spoken_of_by_its_own_program() {
    let mut facts = samples::facts();
    shared(&mut facts, "pmm-old");
    let hint = |facts: &Facts| {
        let found = findings(facts, &samples::wishes());
        let shared = found.iter().find(|it| it.code == "data-shared");
        shared.unwrap().hint.clone()
    };
    assert!(hint(&facts).contains("`docker stop pmm-old`"));
    facts.engine.as_mut().unwrap().kind = "Podman".into();
    assert!(hint(&facts).contains("`podman stop pmm-old`"));
}

#[test]
fn what_would_stop_a_plan_stops_it() {
    let mut facts = samples::facts();
    shared(&mut facts, "pmm-old");
    let refused = pmm_in_place::plan(
        "docker:pmm-server",
        facts,
        &samples::wishes(),
        Default::default(),
    );
    let refused = refused.unwrap_err();
    assert_eq!(refused.findings[0].code, "data-shared");
    assert_eq!(refused.to_string(), "no plan was made: 1 blocker");
}

/// What is found of an image that was asked for by this name.
fn asked_for(name: &str, allowed: Allowed, spoil: fn(&mut Facts)) -> Vec<Finding> {
    let mut facts = samples::facts();
    facts.target.as_mut().unwrap().reference = name.into();
    spoil(&mut facts);
    let wishes = Wishes {
        allowed,
        ..Wishes::new(name)
    };
    findings(&facts, &wishes)
}

#[test]
fn a_moving_tag_is_refused_and_the_hint_can_be_typed() {
    let untouched: fn(&mut Facts) = |_| {};
    let missing: fn(&mut Facts) = |f| {
        let target = f.target.as_mut().unwrap();
        (target.present, target.failure) = (false, "not found".into());
    };
    for (name, typed) in [
        ("percona/pmm-server:3", "--to percona/pmm-server:3.8.1"),
        ("percona/pmm-server:3.8", "--to percona/pmm-server:3.8.1"),
        ("percona/pmm-server", "--to percona/pmm-server:3.8.1"),
        ("h:5000/pmm:dev-latest", "--to h:5000/pmm:3.8.1"),
        ("h:5000/pmm:latest", "--to h:5000/pmm:3.8.1"),
    ] {
        // One cause has one finding, also where the image is not there to be looked at.
        for spoil in [untouched, missing] {
            let found = asked_for(name, Allowed::default(), spoil);
            let blockers = found
                .iter()
                .filter(|it| it.severity() == Severity::Blocker)
                .collect::<Vec<_>>();
            assert_eq!(blockers.len(), 1, "{name}: {blockers:#?}");
            assert_eq!(blockers[0].code, "target-floating-tag");
            assert!(blockers[0].hint.contains(typed), "{}", blockers[0].hint);
            assert!(blockers[0].hint.contains("--allow-floating-tag"));
        }
        let allowed = Allowed::default().and(policy::FLOATING.name);
        let found = asked_for(name, allowed.clone(), |_| {});
        let note = found.iter().find(|it| it.code == "target-floating-tag");
        assert_eq!(note.unwrap().severity(), Severity::Note, "{name}");
        assert!(found.iter().all(|it| it.severity() < Severity::Blocker));
        let found = asked_for(name, allowed, missing);
        assert!(found.iter().any(|it| it.code == "target-unavailable"));
    }
    for name in [
        TARGET,
        "host:5000/percona/pmm-server:3.8.1",
        "percona/pmm-server@sha256:9b1e7c3306aa",
        "9b1e7c3306aa",
    ] {
        let found = asked_for(name, Allowed::default(), |_| {});
        let about = found.iter().find(|it| it.code.starts_with("target-"));
        assert_eq!(about, None, "{name}");
    }
}

#[test]
fn a_refused_target_is_a_warning_when_its_rule_is_overruled() {
    let of = |version: &str, rule: &str| {
        let mut facts = samples::facts();
        to(&mut facts, version);
        let wishes = Wishes {
            allowed: Allowed::default().and(rule),
            ..samples::wishes()
        };
        let found = findings(&facts, &wishes);
        let about = found.iter().find(|it| it.code.starts_with("target-"));
        about.map(|it| (it.code.clone(), it.severity()))
    };
    let said = |code: &str, severity| Some((code.to_owned(), severity));
    let (warning, blocker) = (Severity::Warning, Severity::Blocker);
    assert_eq!(of("3.7.0", "target-3-7-0"), said("target-3-7-0", warning));
    let upgrade = "target-postgres-upgrade";
    assert_eq!(of("3.10.0", upgrade), said(upgrade, warning));
    assert_eq!(of("3.7.0", "target-too-new"), said("target-3-7-0", blocker));
    assert_eq!(
        of("3.13.0", "target-too-new"),
        said("target-too-new", blocker)
    );
}

#[test]
fn every_sentence_is_readable() {
    let mut all = String::new();
    let mut seen = BTreeSet::new();
    for (code, _, spoil) in CASES {
        let mut facts = samples::facts();
        spoil(&mut facts);
        for finding in findings(&facts, &samples::wishes()) {
            if finding.code == *code && seen.insert(finding.text.clone()) {
                assert!(
                    !finding.text.ends_with('.') && !finding.hint.ends_with('.'),
                    "{code}"
                );
                let severity = finding.severity().word();
                all.push_str(&format!(
                    "{severity} {code}\n  {}\n  → {}\n",
                    finding.text, finding.hint
                ));
            }
        }
    }
    insta::assert_snapshot!(all);
}

#[test]
fn one_cause_has_one_finding() {
    let codes = |spoil: fn(&mut Facts)| -> Vec<String> {
        let mut facts = samples::facts();
        spoil(&mut facts);
        let found = findings(&facts, &samples::wishes()).into_iter();
        found
            .filter(|finding| finding.severity() == Severity::Blocker)
            .map(|finding| finding.code)
            .collect()
    };
    let rm = codes(|facts| {
        let container = facts.container.as_mut().unwrap();
        container.auto_remove = true;
        container.carry_over_refusal = "it was started with `--rm`".into();
    });
    assert_eq!(rm, ["container-auto-remove"]);
    let stopped = codes(|facts| {
        facts.container.as_mut().unwrap().running = false;
        facts.server = None;
        facts.data.as_mut().unwrap().entries = 0;
    });
    assert_eq!(stopped, ["container-not-running"]);
    let other = codes(|facts| {
        facts.image.as_mut().unwrap().version.clear();
        facts.image.as_mut().unwrap().pmm_major = 0;
        let server = facts.server.as_mut().unwrap();
        server.version.clear();
        server.nodes = 0;
        server.ready = false;
    });
    assert_eq!(other, ["not-pmm"]);
}
