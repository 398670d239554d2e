//! Each kind of bad input gets its finding, and a good server gets none that it does not deserve.

use std::collections::BTreeSet;

use ferry_proto::v1::{
    CarryOverNote, EnvironmentChangeKind, Facts, Finding, KeyTrial, LoginFacts, MountFact,
    OwnerCount, Severity, Unobserved, UsedFacts,
};

use super::{catalogue, findings};
use crate::{
    recipes::{
        Wishes, pmm_in_place,
        policy::{self, Allowed},
    },
    samples::{self, TARGET},
};

/// A finding's code, its severity, and how facts come to deserve it.
type Case = (&'static str, Severity, fn(&mut Facts));

const CASES: &[Case] = {
    use Severity::{Blocker, Note, Warning};
    &[
        ("engine-unobserved", Blocker, |f| f.engine = None),
        ("podman-rootless", Note, |f| {
            let engine = f.engine.as_mut().unwrap();
            engine.kind = "Podman".into();
            engine.rootless = true;
        }),
        ("cluster-not-yet", Blocker, |f| {
            in_a_cluster(f, |_| {});
            f.server.as_mut().unwrap().version = "3.4.0".into();
        }),
        ("cluster-forbidden", Blocker, |f| {
            in_a_cluster(f, |it| it.forbidden = vec!["update statefulsets".into()]);
        }),
        ("cluster-agent-refused", Blocker, |f| {
            in_a_cluster(f, |it| it.agent_refusal = "violates PodSecurity".into());
        }),
        ("cluster-reconciled", Blocker, |f| {
            in_a_cluster(f, |it| it.reconcilers = vec!["Flux".into()]);
        }),
        ("cluster-replicas", Blocker, |f| {
            in_a_cluster(f, |it| it.replicas = 0)
        }),
        ("cluster-pod-not-ready", Blocker, |f| {
            in_a_cluster(f, |it| it.ready = false)
        }),
        ("cluster-claim", Blocker, |f| {
            in_a_cluster(f, |it| it.sub_path = true)
        }),
        ("cluster-claim", Blocker, |f| {
            in_a_cluster(f, |it| it.access_modes = vec!["ReadWriteOncePod".into()]);
        }),
        ("cluster-service-account", Blocker, |f| {
            in_a_cluster(f, |it| {
                it.missing_service_account = "pmm-service-account".into()
            });
        }),
        ("cluster-fs-group", Warning, |f| {
            in_a_cluster(f, |it| it.fs_group = Some(1000))
        }),
        ("cluster-liveness", Warning, |f| {
            in_a_cluster(f, |it| it.liveness_probe = true)
        }),
        ("cluster-helm", Warning, |f| in_a_cluster(f, |_| {})),
        ("cluster-chart", Warning, |f| {
            in_a_cluster(f, |it| it.chart = "pmm-1.2.3".into())
        }),
        ("cluster-chart", Warning, |f| {
            in_a_cluster(f, |it| it.release_history = false)
        }),
        ("container-unfenceable", Blocker, |f| {
            f.container.as_mut().unwrap().fence_obstacle = "`x` lies on a mount".into();
        }),
        ("engine-unknown", Blocker, |f| {
            f.engine.as_mut().unwrap().kind = "crun".into()
        }),
        ("container-unobserved", Blocker, |f| f.container = None),
        ("container-paused", Blocker, |f| {
            f.container.as_mut().unwrap().status = "paused".into()
        }),
        ("container-restarting", Blocker, |f| {
            f.container.as_mut().unwrap().status = "restarting".into();
        }),
        ("container-not-running", Blocker, |f| {
            f.container.as_mut().unwrap().running = false;
            f.server = None;
        }),
        ("container-auto-remove", Blocker, |f| {
            f.container.as_mut().unwrap().auto_remove = true
        }),
        ("container-managed", Blocker, |f| {
            f.container.as_mut().unwrap().managed_by = "compose".into();
        }),
        ("container-swarm-service", Blocker, |f| {
            f.container.as_mut().unwrap().managed_by = "swarm".into();
        }),
        ("carry-over-refused", Blocker, |f| {
            f.container.as_mut().unwrap().carry_over_refusal = "it joins another's network".into();
        }),
        ("updater-beside", Warning, |f| {
            f.container.as_mut().unwrap().updaters = vec!["watchtower".into()];
        }),
        ("restarter-beside", Warning, |f| {
            f.container.as_mut().unwrap().restarters = vec!["autoheal".into()];
        }),
        ("carry-over", Warning, |f| carried(f, "of-a-later-release")),
        ("host-network-ports", Warning, |f| {
            f.container.as_mut().unwrap().networks = vec!["host".into()];
        }),
        ("env-invalid", Blocker, |f| {
            environment(f, EnvironmentChangeKind::Invalid)
        }),
        ("env-renamed", Warning, |f| {
            environment(f, EnvironmentChangeKind::Inverted)
        }),
        ("env-ignored", Warning, |f| {
            environment(f, EnvironmentChangeKind::Foreign);
            f.container.as_mut().unwrap().environment[0].name = "PERCONA_TEST_OLD".into();
        }),
        ("env-unknown", Warning, |f| {
            environment(f, EnvironmentChangeKind::Unknown)
        }),
        ("dbaas-removed", Warning, |f| {
            f.container.as_mut().unwrap().environment[0].name = "ENABLE_DBAAS".into();
        }),
        ("not-pmm", Blocker, |f| {
            f.image.as_mut().unwrap().version.clear();
            f.image.as_mut().unwrap().pmm_major = 0;
            f.server.as_mut().unwrap().version.clear();
        }),
        ("version-unknown", Blocker, |f| {
            f.image.as_mut().unwrap().version.clear();
            f.server.as_mut().unwrap().version.clear();
        }),
        ("already-pmm-3", Blocker, |f| {
            f.server.as_mut().unwrap().version = "3.4.0".into();
            to(f, "2.44.1");
        }),
        ("update", Note, |f| {
            f.server.as_mut().unwrap().version = "3.4.0".into()
        }),
        ("update-not-newer", Blocker, |f| {
            f.server.as_mut().unwrap().version = "3.8.1".into()
        }),
        ("update-short", Warning, |f| {
            f.server.as_mut().unwrap().version = "2.41.2".into();
            to(f, "2.43.2");
        }),
        ("update-postgres-upgrade", Warning, |f| {
            f.server.as_mut().unwrap().version = "3.8.1".into();
            to(f, "3.10.0");
        }),
        ("version-too-old", Blocker, |f| {
            f.server.as_mut().unwrap().version = "2.41.2".into()
        }),
        ("version-not-last", Warning, |f| {
            f.server.as_mut().unwrap().version = "2.44.0".into()
        }),
        ("updated-inside", Note, |f| {
            f.image.as_mut().unwrap().version = "2.30.0".into()
        }),
        ("target-unobserved", Blocker, |f| f.target = None),
        ("target-unobserved", Blocker, |f| {
            f.target.as_mut().unwrap().reference = "x:1".into()
        }),
        ("target-unavailable", Blocker, |f| {
            f.target.as_mut().unwrap().failure = "manifest unknown".into();
        }),
        ("target-missing", Blocker, |f| {
            f.target.as_mut().unwrap().present = false
        }),
        ("target-not-pmm-3", Blocker, |f| {
            f.target.as_mut().unwrap().pmm_major = 2
        }),
        ("target-unidentified", Blocker, |f| {
            f.target.as_mut().unwrap().id.clear()
        }),
        ("target-owner-root", Blocker, |f| {
            f.target.as_mut().unwrap().uid = 0
        }),
        ("target-version-unknown", Blocker, |f| {
            f.target.as_mut().unwrap().version.clear()
        }),
        ("target-too-new", Blocker, |f| to(f, "3.13.0")),
        ("target-not-pmm-3", Blocker, |f| to(f, "1.17.4")),
        ("update-not-newer", Blocker, |f| to(f, "2.44.1")),
        ("target-postgres-upgrade", Blocker, |f| to(f, "3.10.0")),
        ("target-beyond-tested", Warning, |f| to(f, "3.9.1")),
        ("target-3-7-0", Blocker, |f| to(f, "3.7.0")),
        ("server-unobserved", Blocker, |f| f.server = None),
        ("update-running", Blocker, |f| {
            f.server.as_mut().unwrap().update_running = true
        }),
        ("server-not-ready", Blocker, |f| {
            f.server.as_mut().unwrap().ready = false
        }),
        ("program-failing", Warning, |f| {
            f.server.as_mut().unwrap().programs[0].state = "FATAL".into();
        }),
        ("clickhouse-schema-dirty", Blocker, |f| {
            f.server.as_mut().unwrap().clickhouse_dirty = true;
        }),
        ("inventory-empty", Blocker, |f| {
            f.server.as_mut().unwrap().nodes = 0
        }),
        ("moved-appliance", Warning, |f| {
            f.server.as_mut().unwrap().distribution = "ami".into();
        }),
        ("metrics-stale", Warning, |f| {
            f.server.as_mut().unwrap().last_metric_age_seconds = 900.0;
        }),
        ("role-not-scram", Warning, |_| {}),
        ("role-missing", Warning, |f| {
            f.server.as_mut().unwrap().roles.clear()
        }),
        ("role-custom-password", Blocker, |f| {
            custom(f, "grafana");
            f.server.as_mut().unwrap().roles[1].password_kind = "none".into();
        }),
        ("role-custom-password", Blocker, |f| custom(f, "grafana")),
        ("role-custom-password", Warning, |f| {
            custom(f, "pmm-managed")
        }),
        ("role-custom-password", Blocker, |f| {
            to(f, "3.7.0");
            custom(f, "pmm-managed");
        }),
        ("role-custom-password", Warning, |f| {
            to(f, "3.6.0");
            custom(f, "grafana");
        }),
        ("postgres-local-not-trusted", Blocker, |f| {
            f.server.as_mut().unwrap().postgres_local_trust = false;
        }),
        ("custom-rule-files", Warning, |f| {
            f.server
                .as_mut()
                .unwrap()
                .custom_rule_files
                .push("prometheus/rules/a.yml".into());
        }),
        ("certificates-unreadable", Blocker, |f| {
            unreadable(f, "nginx/certificate.key: its own owner may not read it")
        }),
        ("files-unreadable", Warning, |f| {
            unreadable(f, "logs/old.log")
        }),
        ("external-postgres", Blocker, |f| {
            f.server.as_mut().unwrap().external_postgres = true
        }),
        ("external-clickhouse", Blocker, |f| {
            let server = f.server.as_mut().unwrap();
            server.external_clickhouse = true;
            server.database_variables = vec!["PERCONA_TEST_PMM_CLICKHOUSE_ADDR".into()];
        }),
        ("start-up-failed", Blocker, |f| {
            f.server.as_mut().unwrap().start_up_failed = true
        }),
        ("host-port-taken", Blocker, |f| {
            let container = f.container.as_mut().unwrap();
            container.networks = vec!["host".into()];
            container.taken_ports = vec![8443];
        }),
        ("scheduled-backups", Warning, |f| {
            f.server.as_mut().unwrap().scheduled_backups = 2
        }),
        ("alerting-channels", Warning, |f| {
            used(f).alerting_channels = 1
        }),
        ("alerting-rules", Warning, |f| used(f).alerting_rules = 3),
        ("external-alertmanager", Warning, |f| {
            used(f).external_alertmanager = true
        }),
        ("dbaas-clusters", Warning, |f| used(f).dbaas_clusters = 2),
        ("platform-connected", Warning, |f| {
            used(f).platform_connected = true
        }),
        ("logins-sso-only", Warning, |f| no_local_admin(f, 1)),
        ("logins-sso-only", Blocker, |f| {
            no_local_admin(f, 4);
            used(f).platform_connected = true;
        }),
        ("angular-panels", Warning, |f| {
            used(f).dashboards = vec!["Our MySQL".into()];
            used(f).dashboards_count = 7;
        }),
        ("prometheus-data-unread", Warning, |f| {
            used(f).prometheus_data = true
        }),
        ("leftovers", Note, |f| {
            used(f).leftovers = vec!["postgres11".into()]
        }),
        ("api-keys-automatic", Note, |_| {}),
        ("api-keys-at-login", Warning, |f| to(f, "3.0.0")),
        ("api-key-accepted", Note, |f| tried(f, true)),
        ("api-key-refused", Blocker, |f| tried(f, false)),
        ("unobserved", Warning, |f| unobserved(f, "dashboards")),
        ("unobserved-essential", Blocker, |f| {
            unobserved(f, "inventory")
        }),
        ("data-unobserved", Blocker, |f| f.data = None),
        ("data-bind-mount", Note, |f| {
            f.container.as_mut().unwrap().mounts[0].kind = "bind".into()
        }),
        ("data-mount-kind", Blocker, |f| {
            f.container.as_mut().unwrap().mounts[0].kind = "tmpfs".into();
        }),
        ("data-without-volume", Blocker, |f| {
            f.container.as_mut().unwrap().mounts.clear()
        }),
        ("data-read-only", Blocker, |f| {
            f.data.as_mut().unwrap().read_only = true
        }),
        ("data-empty", Blocker, |f| {
            f.data.as_mut().unwrap().entries = 0
        }),
        ("disk-too-small", Blocker, |f| {
            f.data.as_mut().unwrap().backup_free_bytes = 40 << 30
        }),
        ("disk-tight", Warning, |f| {
            f.data.as_mut().unwrap().backup_free_bytes = 44 << 30
        }),
        ("disk-too-small", Blocker, |f| {
            // Enough for the copy, and none of it left to others.
            f.data.as_mut().unwrap().backup_free_bytes = 44 << 30;
            f.data.as_mut().unwrap().backup_reserve_bytes = 4 << 30;
        }),
        ("inodes-too-few", Blocker, |f| {
            f.data.as_mut().unwrap().backup_free_inodes = 1
        }),
        ("proof-room", Blocker, |f| {
            f.data.as_mut().unwrap().free_bytes = 1
        }),
        ("proof-room", Blocker, |f| {
            f.data.as_mut().unwrap().free_bytes = 8 << 30;
            f.data.as_mut().unwrap().reserve_bytes = 8 << 30;
        }),
        ("data-shared", Blocker, |f| shared(f, "pmm-old (running)")),
        ("data-shared-stopped", Warning, |f| {
            shared(f, "pmm-old (exited)")
        }),
        ("hard-links-outside", Blocker, |f| {
            f.data
                .as_mut()
                .unwrap()
                .hard_links_outside
                .push("backup/a.tar".into());
            f.data.as_mut().unwrap().hard_links_outside_count = 12;
        }),
        ("immutable-files", Blocker, |f| {
            f.data.as_mut().unwrap().immutable.push("grafana/x".into());
        }),
        ("mount-below-read-only", Blocker, |f| {
            below(f, "/srv/nginx", true)
        }),
        ("mount-below-read-only", Warning, |f| {
            below(f, "/srv/nginx/certificate.crt", true)
        }),
        ("mount-below", Warning, |f| {
            below(f, "/srv/clickhouse", false)
        }),
        ("disk-room", Note, |_| {}),
        ("data-disk-too-small", Blocker, |f| {
            f.data.as_mut().unwrap().backup_same_disk = false;
            f.data.as_mut().unwrap().free_bytes = 1 << 20;
        }),
        ("data-disk-too-small", Blocker, |f| {
            f.data.as_mut().unwrap().backup_same_disk = false;
            f.data.as_mut().unwrap().free_bytes = 8 << 30;
            f.data.as_mut().unwrap().reserve_bytes = 8 << 30;
        }),
        ("data-disk-room", Note, |f| {
            f.data.as_mut().unwrap().backup_same_disk = false
        }),
        ("owners-many", Note, |f| {
            f.data.as_mut().unwrap().owners = (0..40)
                .map(|uid| OwnerCount {
                    uid,
                    gid: 0,
                    entries: 1,
                })
                .collect();
        }),
        ("open-run", Blocker, |f| {
            f.data.as_mut().unwrap().open_run = "7f3a9c21".into()
        }),
        ("open-run", Blocker, |f| {
            f.data.as_mut().unwrap().crossed_by = "7f3a9c21".into()
        }),
    ]
};

fn in_a_cluster(f: &mut Facts, change: fn(&mut ferry_proto::v1::ClusterFacts)) {
    *f = samples::in_a_cluster();
    change(f.cluster.as_mut().unwrap());
}

fn carried(facts: &mut Facts, code: &str) {
    let note = CarryOverNote {
        code: code.into(),
        text: "something of it is not as it was".into(),
    };
    facts
        .container
        .as_mut()
        .unwrap()
        .carry_over_notes
        .push(note);
}

fn used(facts: &mut Facts) -> &mut UsedFacts {
    let server = facts.server.as_mut().unwrap();
    server.used.get_or_insert_default()
}

fn no_local_admin(facts: &mut Facts, outside: u32) {
    used(facts).logins = Some(LoginFacts {
        outside,
        local_admins: 0,
    });
}

fn to(facts: &mut Facts, version: &str) {
    facts.target.as_mut().unwrap().version = version.into();
}

fn environment(facts: &mut Facts, kind: EnvironmentChangeKind) {
    facts.container.as_mut().unwrap().environment[0].kind = kind.into();
}

fn custom(facts: &mut Facts, name: &str) {
    for role in &mut facts.server.as_mut().unwrap().roles {
        if role.name == name {
            role.password_kind = "md5".into();
            role.default_password = false;
        }
    }
}

fn unreadable(facts: &mut Facts, path: &str) {
    facts
        .server
        .as_mut()
        .unwrap()
        .unreadable_files
        .push(path.into());
}

fn unobserved(facts: &mut Facts, what: &str) {
    let part = Unobserved {
        what: what.into(),
        why: "no answer within 10 s".into(),
    };
    facts.server.as_mut().unwrap().unobserved.push(part);
}

fn tried(facts: &mut Facts, accepted: bool) {
    let why = if accepted {
        ""
    } else {
        "the server refuses it with status 401"
    };
    facts.server.as_mut().unwrap().key_trial = Some(KeyTrial {
        accepted,
        why: why.into(),
    });
}

fn shared(facts: &mut Facts, other: &str) {
    facts
        .data
        .as_mut()
        .unwrap()
        .other_containers
        .push(other.into());
}

fn below(facts: &mut Facts, destination: &str, read_only: bool) {
    let mount = MountFact {
        destination: destination.into(),
        read_only,
        ..MountFact::default()
    };
    facts.data.as_mut().unwrap().mounts_below.push(mount);
}

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
