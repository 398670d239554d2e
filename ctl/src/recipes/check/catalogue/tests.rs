//! The catalogue holds together: names, rows, and what they point to.

use std::{collections::BTreeSet, path::Path};

use ferry_proto::v1::Severity;

use super::{
    all, carry_over,
    rows::{Met, ROWS},
};
use crate::{
    recipes::{pmm_in_place, pmm_kubernetes},
    samples,
};

#[test]
fn names_are_unique_and_plain() {
    let mut seen = BTreeSet::new();
    for code in all() {
        let name = code.name();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(name.chars().all(plain) && !name.is_empty(), "{name}");
        assert!(seen.insert(name), "{name} is there twice");
        assert!(!code.severities().contains(&Severity::Unknown), "{name}");
        for text in [code.cause(), code.remedy()] {
            assert!(!text.is_empty() && !text.ends_with('.'), "{name}");
            assert!(
                !text.contains('|') && !text.contains('\n'),
                "{name} breaks its table"
            );
        }
    }
    assert!(seen.len() > 100, "{}", seen.len());
}

#[test]
fn the_worst_severity_comes_first() {
    for code in all() {
        assert!(!code.severities().is_empty());
        let sorted = code.severities().windows(2).all(|pair| pair[0] > pair[1]);
        assert!(sorted, "{}", code.name());
    }
}

#[test]
fn every_word_of_the_agents_has_a_code() {
    let ours: BTreeSet<&str> = carry_over::GROUP
        .codes
        .iter()
        .map(|code| code.name())
        .collect();
    for word in ferry_proto::carry_over::CODES {
        assert_eq!(carry_over::of(word).name(), format!("carry-over-{word}"));
    }
    // And none is kept for a word that no agent says.
    assert_eq!(ours.len(), ferry_proto::carry_over::CODES.len() + 1);
    for odd in ["", "of-a-later-release", "carry-over"] {
        assert_eq!(carry_over::of(odd).name(), "carry-over");
    }
}

#[test]
fn every_row_is_there_and_leads_somewhere() {
    let numbers: Vec<u8> = ROWS.iter().map(|row| row.number).collect();
    assert_eq!(numbers, (1..=33).collect::<Vec<u8>>());
    let mut facts = samples::facts();
    facts.server.as_mut().unwrap().custom_rule_files = vec!["prometheus/rules/a.yml".into()];
    let plan =
        pmm_in_place::plan("docker:x", facts, &samples::wishes(), Default::default()).unwrap();
    let facts = samples::in_a_cluster();
    let in_a_cluster = pmm_kubernetes::plan(
        "kubernetes:m/x",
        facts,
        &samples::wishes(),
        Default::default(),
    )
    .unwrap();
    let steps: Vec<&str> = [&plan, &in_a_cluster]
        .iter()
        .flat_map(|plan| plan.steps.iter().map(|step| step.id.as_str()))
        .collect();
    for row in ROWS {
        for met in row.met {
            match met {
                Met::Finding(code) => assert!(all().any(|it| it == *code), "{}", row.number),
                Met::Step(id) => assert!(steps.contains(id), "{id}"),
                Met::Otherwise(text) | Met::NotYet(text) => assert!(!text.is_empty()),
            }
        }
        // Findings have a case each, by a test of their own; whatever else is promised names its test.
        let promises = row
            .met
            .iter()
            .any(|met| matches!(met, Met::Step(_) | Met::Otherwise(_)));
        let found = row.met.iter().any(|met| matches!(met, Met::Finding(_)));
        assert!(
            !promises || found || !row.tests.is_empty(),
            "row {} is not tested",
            row.number
        );
    }
}

#[test]
fn the_tests_that_rows_name_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (file, name) in ROWS.iter().flat_map(|row| row.tests) {
        let text = fs_err::read_to_string(root.join(file)).unwrap();
        let there = text.contains(&format!("fn {name}(")) || text.contains(&format!("{name}: "));
        assert!(there, "{file} has no test {name}");
    }
}
