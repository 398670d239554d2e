//! Whole screens as snapshots, wide and narrow: what a person sees is part of what is promised.

mod backups;
mod clients;
mod live;
mod screen;

use ferry_proto::v1::{Facts, Failure, Place, RoleFact, StepStatus};
use pbjson_types::Timestamp;

use super::*;
use crate::{
    recipes::{Wishes, compare_facts, findings, pmm_in_place, policy::Allowed},
    run::events::RunState,
    samples,
};

/// One text at 80 columns and one at 40, none of whose lines is longer.
fn both(render: impl Fn(Look) -> String) -> String {
    let mut all = String::new();
    for width in [80, 40] {
        let text = render(Look::plain(width));
        for line in text.lines() {
            assert!(
                line.chars().count() <= width,
                "{line:?} is longer than {width}"
            );
            assert!(!line.ends_with(' '), "{line:?} ends with a blank");
        }
        all.push_str(&format!("── {width} columns\n{text}"));
    }
    all
}

fn checked(facts: &Facts, show_env: bool) -> String {
    let found = findings(facts, &samples::wishes());
    let options = |look| CheckOptions {
        look,
        show_env,
        show_keys: false,
    };
    both(|look| check(facts, &found, options(look)))
}

fn blocked() -> Facts {
    let mut facts = samples::facts();
    let server = facts.server.as_mut().unwrap();
    (server.clickhouse_dirty, server.clickhouse_dirty_version) = (true, 16);
    facts
        .data
        .as_mut()
        .unwrap()
        .other_containers
        .push("pmm-old (running)".into());
    facts
}

#[test]
fn check_with_blockers() {
    insta::assert_snapshot!(checked(&blocked(), false));
}

#[test]
fn check_that_is_clean() {
    let mut facts = samples::facts();
    facts.container.as_mut().unwrap().environment.clear();
    let server = facts.server.as_mut().unwrap();
    server.api_keys = 0;
    server.roles.retain(|role| role.password_kind == "scram");
    let grafana = RoleFact {
        name: "grafana".into(),
        ..server.roles[0].clone()
    };
    server.roles.push(grafana);
    insta::assert_snapshot!(checked(&facts, false));
}

#[test]
fn check_shows_the_environment() {
    insta::assert_snapshot!(checked(&samples::facts(), true));
}

#[test]
fn check_shows_the_keys_of_every_organisation() {
    let facts = samples::facts();
    let found = findings(&facts, &samples::wishes());
    let options = |look| CheckOptions {
        look,
        show_env: false,
        show_keys: true,
    };
    insta::assert_snapshot!(both(|look| check(&facts, &found, options(look))));
}

#[test]
fn plan_against_the_policy() {
    let mut facts = samples::facts();
    let target = facts.target.as_mut().unwrap();
    (target.reference, target.version) = ("percona/pmm-server:3".into(), "3.10.0".into());
    let rules = ["target-floating-tag", "target-postgres-upgrade"];
    let wishes = Wishes {
        allowed: rules.into_iter().fold(Allowed::default(), Allowed::and),
        ..Wishes::new("percona/pmm-server:3")
    };
    let plan = pmm_in_place::plan("docker:p", facts, &wishes, Timestamp::default()).unwrap();
    let head = |text: String| text.split("\n\n").next().map(|it| format!("{it}\n"));
    insta::assert_snapshot!(both(|look| head(super::plan(&plan, "p", look)).unwrap()));
}

#[test]
fn check_of_nothing() {
    insta::assert_snapshot!(checked(&Facts::default(), true));
}

#[test]
fn plan_as_approved() {
    let plan = samples::plan();
    insta::assert_snapshot!(both(|look| super::plan(&plan, "plan.json", look)));
}

fn row(run: &str, state: RunState, step: usize, title: &str) -> RunRow {
    RunRow {
        run: run.into(),
        server: "pmm-server".into(),
        state,
        step,
        steps: 20,
        title: title.into(),
        since: Some(Timestamp {
            seconds: samples::OBSERVED + 449,
            nanos: 0,
        }),
        downtime_ms: (step > 6).then_some(11_000),
    }
}

#[test]
fn runs_as_a_table() {
    let rows = [
        row(
            "7f3a9c21-2",
            RunState::Running,
            11,
            "transfer ownership to 1000:0, 611,977 of 612,408 entries",
        ),
        row(
            "7f3a9c21",
            RunState::RolledBack,
            15,
            "start, watch the boot",
        ),
        row(
            "00c1d2e3",
            RunState::Held,
            2,
            "launch agents\x1b[31m beside the server",
        ),
    ];
    insta::assert_snapshot!(both(|look| runs(&rows, look)));
    insta::assert_snapshot!("runs_of_none", runs(&[], Look::plain(80)));
    insta::assert_snapshot!("runs_as_json", json::runs(&rows));
}

fn boot_failure() -> Failure {
    Failure {
        code: "boot-failed".into(),
        message: "container exited 3 times, code 1".into(),
        hint: "`chmod 0755 /data/pmm`, then `ferryctl migrate` again".into(),
        details: vec!["last lines: FATAL: /srv is not writable for pmm user.".into()],
    }
}

fn held() -> RunStatus {
    let plan = samples::plan();
    let all = plan.steps.iter().enumerate().map(|(index, step)| {
        let status = match index {
            0..13 => StepStatus::Succeeded,
            13 => StepStatus::Warned,
            14 => StepStatus::Failed,
            _ => StepStatus::Planned,
        };
        let summary = if index == 5 {
            "612,408 entries, 41.2 GiB"
        } else {
            ""
        };
        StepRow {
            id: step.id.clone(),
            place: Place::Host,
            title: step.title.clone(),
            status,
            summary: summary.into(),
            elapsed_ms: (index <= 14).then_some(300 * (index as u64 + 1)),
        }
    });
    RunStatus {
        row: row("7f3a9c21", RunState::Held, 15, "start, watch the boot"),
        from_version: "2.44.1".into(),
        to_version: "3.8.1".into(),
        all: all.collect(),
        failure: Some(boot_failure()),
        next: "`ferryctl resume 7f3a9c21` or `ferryctl rollback 7f3a9c21`".into(),
    }
}

#[test]
fn status_of_a_held_run() {
    insta::assert_snapshot!(both(|look| status(&held(), look)));
    insta::assert_snapshot!("status_as_json", json::status(&held()));
}

fn done() -> RunSummary {
    RunSummary {
        moved_to: String::new(),
        run: "7f3a9c21".into(),
        server: "pmm-server".into(),
        state: RunState::Done,
        from_version: "2.44.1".into(),
        to_version: "3.8.1".into(),
        downtime_ms: Some(23_400),
        held_at: String::new(),
        found_again: [
            "9 nodes",
            "214 services",
            "612 agents",
            "history of 63 days",
            "3 API keys",
        ]
        .map(str::to_owned)
        .to_vec(),
        proof: Vec::new(),
        warnings: Vec::new(),
        kept: vec![
            "container pmm-server-2.44.1-7f3a9c21 (stopped, fenced)".into(),
            "volume pmm-data-ferry-7f3a9c21 (41.2 GiB)".into(),
        ],
        next: vec!["`ferryctl status 7f3a9c21`".into()],
        failure: None,
    }
}

fn rolled_back() -> RunSummary {
    RunSummary {
        state: RunState::RolledBack,
        downtime_ms: Some(58_000),
        found_again: Vec::new(),
        proof: vec![
            "612,408 entries compared".into(),
            "baseline found again".into(),
        ],
        kept: Vec::new(),
        next: Vec::new(),
        failure: Some(boot_failure()),
        ..done()
    }
}

#[test]
fn summary_of_each_end() {
    insta::assert_snapshot!("summary_done", both(|look| summary(&done(), look)));
    insta::assert_snapshot!(
        "summary_rolled_back",
        both(|look| summary(&rolled_back(), look))
    );
    let held = RunSummary {
        state: RunState::Held,
        held_at: "15/20 start, watch the boot".into(),
        proof: Vec::new(),
        ..rolled_back()
    };
    let early = RunSummary {
        downtime_ms: None,
        ..rolled_back()
    };
    insta::assert_snapshot!("summary_early", both(|look| summary(&early, look)));
    insta::assert_snapshot!("summary_held", both(|look| summary(&held, look)));
    let ends = [done(), rolled_back(), held];
    insta::assert_snapshot!(
        "summary_as_json",
        ends.map(|end| json::summary(&end)).concat()
    );
}

fn stale() -> Problem {
    let planned = samples::facts();
    let mut now = planned.clone();
    now.container.as_mut().unwrap().restart_policy = "no".into();
    now.data
        .as_mut()
        .unwrap()
        .other_containers
        .push("pmm-old (running)".into());
    let changes = compare_facts(&planned, &now);
    let hint = "stop `pmm-old` or detach it, then `ferryctl plan` again";
    Problem::stale_plan("pmm-server", &changes, hint)
}

#[test]
fn error_of_a_stale_plan() {
    insta::assert_snapshot!(both(|look| error(&stale(), look)));
    insta::assert_snapshot!("error_as_json", json::error(&stale()));
}

#[test]
fn error_of_a_failed_step() {
    insta::assert_snapshot!(both(|look| failure(
        &boot_failure(),
        "nothing was changed",
        look
    )));
}

#[test]
fn check_and_plan_as_json_are_one_line_each_and_can_be_read_back() {
    let facts = blocked();
    let found = findings(&facts, &samples::wishes());
    let plan = samples::plan();
    for text in [json::check(&facts, &found), json::plan(&plan)] {
        assert_eq!(text.matches('\n').count(), 1);
    }
    let value: serde_json::Value = serde_json::from_str(&json::check(&facts, &found)).unwrap();
    assert_eq!(value["kind"], "check");
    assert_eq!(value["findings"][0]["code"], found[0].code);
    let value: serde_json::Value = serde_json::from_str(&json::plan(&plan)).unwrap();
    let read: ferry_proto::v1::Plan = serde_json::from_value(value["plan"].clone()).unwrap();
    ferry_proto::verify(&read).unwrap();
}

#[test]
fn facts_of_a_newer_agent_are_no_reason_to_fail() {
    let mut facts = samples::facts();
    facts.container.as_mut().unwrap().environment[0].kind = 99;
    let text = json::check(&facts, &[]);
    assert!(text.contains("unwritable"), "{text}");
}

#[test]
fn colour_adds_nothing_but_colour() {
    let facts = blocked();
    let found = findings(&facts, &samples::wishes());
    let at = |color| {
        let look = Look { width: 80, color };
        let plan = samples::plan();
        [
            check(
                &facts,
                &found,
                CheckOptions {
                    look,
                    show_env: true,
                    show_keys: true,
                },
            ),
            super::plan(&plan, "", look),
            status(&held(), look),
            summary(&rolled_back(), look),
            error(&stale(), look),
        ]
        .concat()
    };
    let coloured = at(true);
    assert!(coloured.contains("\x1b[31m"));
    let mut bare = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\x1b') {
        bare.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    bare.push_str(rest);
    // Trailing blanks inside a colour are all that may differ.
    let trimmed = |text: &str| {
        text.lines()
            .map(str::trim_end)
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(trimmed(&bare), trimmed(&at(false)));
}
