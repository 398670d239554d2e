use super::*;
use crate::server::baseline::Dashboards;
use crate::server::keys::{ApiKey, ServiceAccount};
use crate::server::pmm::{AgentCount, Major};
use crate::server::pmm::{Node, Service};
use crate::server::qan::{QanRows, Window};
use crate::server::victoria::{HistoryPoint, UpTargets};
use proptest::prelude::*;

fn node(name: &str) -> Node {
    Node {
        name: name.into(),
        kind: "generic".into(),
        address: "10.0.0.1".into(),
        id: format!("id-{name}"),
    }
}

fn service(name: &str) -> Service {
    Service {
        name: name.into(),
        kind: "mysql".into(),
        node_name: "n".into(),
        port: 3306,
        ..Service::default()
    }
}

fn key(name: &str, migrated: bool) -> ApiKey {
    ApiKey {
        org: 1,
        org_name: Some("Main Org.".into()),
        name: name.into(),
        role: "Admin".into(),
        expires: None,
        migrated,
    }
}

fn up(job: &str, node: &str, count: u64) -> UpTargets {
    UpTargets {
        job: job.into(),
        node_name: node.into(),
        count,
    }
}

fn point(at: i64, samples: u64, oldest: bool) -> HistoryPoint {
    HistoryPoint {
        at,
        series: 3,
        samples,
        oldest,
    }
}

fn full() -> Baseline {
    Baseline {
        taken_at: 100_000,
        version: Some("2.44.1".into()),
        major: Some(Major::V2),
        nodes: Some(vec![node("a"), node("b")]),
        services: Some(vec![service("s"), service("t")]),
        agents: Some(Agents {
            by_kind: [
                (
                    "pmm_agent".to_owned(),
                    AgentCount {
                        total: 2,
                        ..AgentCount::default()
                    },
                ),
                (
                    "old_agent".to_owned(),
                    AgentCount {
                        total: 1,
                        ..AgentCount::default()
                    },
                ),
            ]
            .into(),
            connected: vec!["x".into(), "y".into()],
        }),
        up: Some(vec![
            up("alertmanager", "", 1),
            up("node_exporter_hr-5s", "a", 2),
        ]),
        history: Some(vec![point(10_000, 7, true), point(90_000, 30, false)]),
        qan: Some(QanRows {
            window: Window { from: 0, to: 1 },
            report: Some(5),
            table: Some(50),
        }),
        api_keys: Some(vec![key("ci", false)]),
        service_accounts: Some(vec![]),
        dashboards: Some(Dashboards { total: 50, own: 2 }),
        rows: Some([("grafana.user".to_owned(), 3)].into()),
        schema: Some(88),
        backups_astray: Some(Vec::new()),
        unobserved: vec![],
    }
}

fn codes(after: &Baseline, mode: CompareMode) -> Vec<(Severity, String)> {
    compare(&full(), after, mode)
        .into_iter()
        .map(|d| (d.severity, d.code))
        .collect()
}

fn fails(change: impl FnOnce(&mut Baseline), code: &str) {
    let mut after = full();
    change(&mut after);
    let found = codes(&after, CompareMode::SameMajor);
    assert!(
        found.contains(&(Severity::Failure, code.into())),
        "{code}: {found:?}"
    );
}

fn warns(change: impl FnOnce(&mut Baseline), code: &str) {
    let mut after = full();
    change(&mut after);
    assert_eq!(
        codes(&after, CompareMode::SameMajor),
        [(Severity::Warning, code.to_owned())]
    );
}

#[test]
fn each_loss_is_a_failure() {
    fails(|b| b.nodes.as_mut().unwrap().truncate(1), "node-missing");
    fails(
        |b| b.nodes.as_mut().unwrap()[0].address = "else".into(),
        "node-changed",
    );
    fails(
        |b| b.services.as_mut().unwrap()[1].cluster = "c".into(),
        "service-changed",
    );
    fails(|b| b.services = Some(vec![]), "service-missing");
    fails(|b| b.agents.as_mut().unwrap().by_kind.clear(), "agents");
    fails(
        |b| b.agents.as_mut().unwrap().connected.truncate(1),
        "connected",
    );
    fails(|b| b.up.as_mut().unwrap()[1].count = 1, "up-node");
    fails(|b| b.up.as_mut().unwrap()[1].count = 1, "up-job");
    fails(|b| b.history.as_mut().unwrap()[1].samples = 29, "history");
    fails(|b| b.qan.as_mut().unwrap().report = Some(4), "qan-queries");
    // The other way still finds all.
    warns(|b| b.qan.as_mut().unwrap().table = None, "unobserved-after");
    fails(
        |b| {
            let qan = b.qan.as_mut().unwrap();
            (qan.table, qan.report) = (None, qan.report.map(|rows| rows - 1));
        },
        "qan-queries",
    );
    fails(|b| b.api_keys = Some(vec![]), "key-missing");
    fails(|b| b.dashboards.as_mut().unwrap().own = 1, "dashboards-own");
    fails(|b| b.rows.as_mut().unwrap().clear(), "table-missing");
    fails(|b| b.schema = Some(87), "schema-older");
    fails(|b| b.up = None, "unobserved-after");
    fails(|b| b.major = Some(Major::V3), "major");
}

#[test]
fn more_than_before_is_a_warning() {
    warns(|b| b.nodes.as_mut().unwrap().push(node("c")), "node-new");
    warns(
        |b| b.services.as_mut().unwrap().push(service("u")),
        "service-new",
    );
    warns(
        |b| b.nodes.as_mut().unwrap()[0].id = "other".into(),
        "node-id",
    );
    warns(
        |b| b.agents.as_mut().unwrap().connected[0] = "z".into(),
        "connected",
    );
    warns(|b| b.history.as_mut().unwrap()[1].samples = 31, "history");
    warns(|b| b.history.as_mut().unwrap()[0].samples = 0, "history");
    warns(|b| b.qan.as_mut().unwrap().table = Some(51), "qan-rows");
    warns(
        |b| b.dashboards.as_mut().unwrap().total = 49,
        "dashboards-total",
    );
}

#[test]
fn a_good_migration_across_majors_passes() {
    let mut after = full();
    after.major = Some(Major::V3);
    after.schema = Some(118);
    after.up = Some(vec![up("node_exporter_hr-5s", "a", 2)]);
    after.agents.as_mut().unwrap().by_kind.remove("old_agent");
    after.api_keys = Some(vec![key("ci", true)]);
    after.service_accounts = Some(vec![ServiceAccount {
        org: 1,
        name: "sa-autogen-ci".into(),
        login: "sa-autogen-1-ci".into(),
        tokens: 1,
    }]);
    let found = codes(&after, CompareMode::AcrossMajors);
    assert_eq!(
        found,
        [(Severity::Warning, "agents-removed-kind".to_owned())]
    );
    // The key's row may be gone too, as long as its account holds a token.
    after.api_keys = Some(vec![]);
    assert_eq!(codes(&after, CompareMode::AcrossMajors).len(), 1);
    after.service_accounts.as_mut().unwrap()[0].tokens = 0;
    assert!(
        codes(&after, CompareMode::AcrossMajors)
            .contains(&(Severity::Failure, "key-missing".into()))
    );
    after.api_keys = Some(vec![key("ci", false)]);
    assert!(
        codes(&after, CompareMode::AcrossMajors)
            .contains(&(Severity::Warning, "key-unmigrated".into()))
    );
    after.up = Some(vec![up("renamed", "a", 2)]);
    assert!(
        codes(&after, CompareMode::AcrossMajors)
            .contains(&(Severity::Warning, "up-job-renamed".into()))
    );
    after.up = Some(vec![up("renamed", "a", 1)]);
    assert!(
        codes(&after, CompareMode::AcrossMajors).contains(&(Severity::Failure, "up-job".into()))
    );
}

#[test]
fn a_key_of_any_organisation_must_be_good_for_the_version_that_it_is_on() {
    let second = |migrated| ApiKey {
        org: 2,
        org_name: Some("Second".into()),
        ..key("second", migrated)
    };
    let mut before = full();
    before.api_keys = Some(vec![key("ci", false), second(false)]);
    let found = |version: &str, left: ApiKey| {
        let mut after = before.clone();
        (after.version, after.major) = (Some(version.into()), Some(Major::V3));
        after.api_keys = Some(vec![key("ci", true), left]);
        let of_keys = |it: &Difference| it.code.starts_with("key-");
        let all = compare(&before, &after, CompareMode::AcrossMajors);
        let about: Vec<_> = all.into_iter().filter(of_keys).collect();
        about
            .into_iter()
            .map(|it| (it.severity, it.code, it.what))
            .next()
    };
    let what = "API key `second` of organisation 2 (Second)".to_owned();
    let said = |severity, code: &str| Some((severity, code.to_owned(), what.clone()));
    let (failure, warning) = (Severity::Failure, Severity::Warning);
    assert_eq!(found("3.8.1", second(true)), None);
    for version in ["3.2.0", "3.8.1", "3.10.0-rc"] {
        assert_eq!(
            found(version, second(false)),
            said(failure, "key-unmigrated")
        );
    }
    for version in ["3.0.0", "3.1.2", "?"] {
        assert_eq!(
            found(version, second(false)),
            said(warning, "key-unmigrated")
        );
    }
    // What opened nothing before the crossing opens nothing after it.
    let expired = ApiKey {
        expires: Some(99_999),
        ..second(false)
    };
    assert_eq!(found("3.8.1", expired), said(warning, "key-unmigrated"));
    let orphan = ApiKey {
        org_name: None,
        ..second(false)
    };
    assert_eq!(found("3.8.1", orphan), said(warning, "key-unmigrated"));
    // An account with another role than its key had lets in too few, or too many.
    let other = ApiKey {
        role: "Viewer".into(),
        ..second(true)
    };
    assert_eq!(found("3.8.1", other), said(failure, "key-role"));
}

#[test]
fn what_the_server_watches_of_itself_may_change_with_the_major() {
    let mut before = full();
    before
        .up
        .as_mut()
        .unwrap()
        .push(up("postgres_exporter_hr-5s", "pmm-server", 2));
    let kinds = &mut before.agents.as_mut().unwrap().by_kind;
    kinds.insert(
        "qan_agent".into(),
        AgentCount {
            total: 2,
            disabled: 0,
            of_server: 1,
        },
    );
    let mut after = before.clone();
    after.up.as_mut().unwrap()[2].count = 1;
    let kinds = &mut after.agents.as_mut().unwrap().by_kind;
    kinds.insert(
        "qan_agent".into(),
        AgentCount {
            total: 1,
            disabled: 0,
            of_server: 0,
        },
    );
    let of = |before: &Baseline, after: &Baseline, mode| -> Vec<(Severity, String)> {
        compare(before, after, mode)
            .into_iter()
            .map(|d| (d.severity, d.code))
            .collect()
    };
    let same = of(&before, &after, CompareMode::SameMajor);
    assert!(
        same.contains(&(Severity::Failure, "up-node".into())),
        "{same:?}"
    );
    assert!(
        same.contains(&(Severity::Failure, "agents-of-server".into())),
        "{same:?}"
    );
    after.major = Some(Major::V3);
    after.api_keys = Some(vec![key("ci", true)]);
    let across = of(&before, &after, CompareMode::AcrossMajors);
    assert!(
        across
            .iter()
            .all(|(severity, _)| *severity == Severity::Warning),
        "{across:?}"
    );
    assert!(
        across.contains(&(Severity::Warning, "up-of-server".into())),
        "{across:?}"
    );
    // An agent of the users' is never one of the server's.
    let kinds = &mut after.agents.as_mut().unwrap().by_kind;
    kinds.insert(
        "qan_agent".into(),
        AgentCount {
            total: 1,
            disabled: 0,
            of_server: 1,
        },
    );
    let across = of(&before, &after, CompareMode::AcrossMajors);
    assert!(
        across.contains(&(Severity::Failure, "agents".into())),
        "{across:?}"
    );
}

#[test]
fn essentials_that_are_missing_are_named() {
    assert!(full().missing_essentials().is_empty());
    let mut partly = full();
    partly.history = None;
    partly.nodes = None;
    assert_eq!(partly.missing_essentials(), ["nodes", "history of metrics"]);
}

#[test]
fn a_fresh_empty_server_does_not_pass() {
    let empty = Baseline {
        version: Some("3.8.1".into()),
        major: Some(Major::V3),
        ..Baseline::default()
    };
    let found = compare(&full(), &empty, CompareMode::AcrossMajors);
    assert!(
        found
            .iter()
            .filter(|d| d.severity == Severity::Failure)
            .count()
            >= 10
    );
}

fn inventories() -> impl Strategy<Value = Vec<Node>> {
    let node = ("[a-c]{1,2}", "[xy]", "[12]", "[ij]").prop_map(|(name, kind, address, id)| Node {
        name,
        kind,
        address,
        id,
    });
    prop::collection::vec(node, 0..6).prop_map(|mut nodes| {
        nodes.sort();
        nodes
    })
}

proptest! {
    #[test]
    fn the_same_is_the_same(nodes in inventories(), across in any::<bool>()) {
        let mut one = full();
        one.nodes = Some(nodes);
        let mut two = one.clone();
        let mode = if across { CompareMode::AcrossMajors } else { CompareMode::SameMajor };
        if across {
            two.major = Some(Major::V3);
        }
        let found = compare(&one, &two, mode);
        prop_assert!(found.iter().all(|d| d.code == "key-unmigrated"), "{:?}", found);
    }

    #[test]
    fn what_is_lost_always_fails_and_what_is_new_never_does(nodes in inventories(), at in any::<prop::sample::Index>()) {
        prop_assume!(!nodes.is_empty());
        let mut with = full();
        with.nodes = Some(nodes.clone());
        let mut without = with.clone();
        without.nodes.as_mut().unwrap().remove(at.index(nodes.len()));
        let failures = |before: &Baseline, after: &Baseline| {
            compare(before, after, CompareMode::SameMajor).iter().filter(|d| d.severity == Severity::Failure).count()
        };
        prop_assert_eq!(failures(&with, &without), 1);
        prop_assert_eq!(failures(&without, &with), 0);
    }

    #[test]
    fn fewer_targets_always_fail(counts in prop::collection::vec(1u64..5, 1..5), at in any::<prop::sample::Index>()) {
        let mut before = full();
        before.up = Some(counts.iter().enumerate().map(|(n, c)| up(&format!("job{n}"), "n", *c)).collect());
        let mut after = before.clone();
        after.up.as_mut().unwrap()[at.index(counts.len())].count -= 1;
        let found = compare(&before, &after, CompareMode::SameMajor);
        prop_assert!(found.iter().any(|d| d.severity == Severity::Failure && d.code == "up-job"));
    }

    #[test]
    fn baselines_survive_being_written(nodes in inventories()) {
        let mut baseline = full();
        baseline.nodes = Some(nodes);
        let text = serde_json::to_string(&baseline).unwrap();
        prop_assert_eq!(serde_json::from_str::<Baseline>(&text).unwrap(), baseline);
    }
}

#[test]
fn a_scheduled_backup_that_has_gone_astray_is_told_by_name_and_loses_nothing() {
    let astray = |names: &[&str]| Baseline {
        backups_astray: Some(names.iter().map(|&it| it.to_owned()).collect()),
        ..full()
    };
    let told = |before: &Baseline, after: &Baseline| {
        let found = compare(before, after, CompareMode::SameMajor);
        let about = found.into_iter().filter(|it| it.code == "backup-astray");
        about.collect::<Vec<_>>()
    };
    let found = told(&astray(&["old"]), &astray(&["nightly", "old"]));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].severity, Severity::Warning);
    assert!(found[0].what.contains("`nightly`"), "{found:?}");
    // A baseline that an earlier release has written knows nothing of it.
    assert_eq!(told(&full(), &astray(&["old"])).len(), 1);
    assert!(told(&astray(&["old"]), &full()).is_empty());
}
