//! Facts that are spoiled in one way each, and what is to be found of them.

use ferry_proto::v1::{
    CarryOverNote, EnvironmentChangeKind, Facts, KeyTrial, LoginFacts, MountFact, OwnerCount,
    Severity, Unobserved, UsedFacts,
};

use crate::samples;

/// A finding's code, its severity, and how facts come to deserve it.
pub(super) type Case = (&'static str, Severity, fn(&mut Facts));

pub(super) const CASES: &[Case] = {
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
        ("cluster-claim-goes", Blocker, |f| {
            in_a_cluster(f, |it| it.claim_goes_with_pod = true);
        }),
        ("cluster-claim-goes", Blocker, |f| {
            in_a_cluster(f, |it| it.claim_leaving = true)
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

pub(super) fn carried(facts: &mut Facts, code: &str) {
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

pub(super) fn to(facts: &mut Facts, version: &str) {
    facts.target.as_mut().unwrap().version = version.into();
}

pub(super) fn environment(facts: &mut Facts, kind: EnvironmentChangeKind) {
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

pub(super) fn shared(facts: &mut Facts, other: &str) {
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
