//! One server as most are in the field, for tests to spoil.

use ferry_proto::v1::{
    ApiKeyFact, ArrivalFacts, ClusterFacts, ContainerFacts, DataFacts, DatabaseFact, EngineFacts,
    EnvironmentChange, EnvironmentChangeKind as Kind, Facts, ImageFacts, LoginFacts, MountFact,
    NameFact, NewServer, NewVolumeFacts, OwnerCount, Plan, ProgramFact, PublishedPort, RoleFact,
    ServerFacts, UsedFacts,
};
use pbjson_types::Timestamp;

use crate::recipes::{
    Recipe, Wishes, pmm_in_place,
    pmm_move_appliance::{self, MoveWishes},
};

pub(crate) const TARGET: &str = "percona/pmm-server:3.8.1";
/// 2026-11-20 19:02:11 UTC.
pub(crate) const OBSERVED: i64 = 1_795_201_331;

pub(crate) fn wishes() -> Wishes {
    Wishes::new(TARGET)
}

pub(crate) fn plan() -> Plan {
    let created = Timestamp {
        seconds: OBSERVED + 9,
        nanos: 0,
    };
    pmm_in_place::plan("docker:pmm-server", facts(), &wishes(), created).unwrap()
}

/// The same server as the pod of a StatefulSet that Helm has made.
pub(crate) fn in_a_cluster() -> Facts {
    let mut facts = facts();
    let engine = facts.engine.as_mut().unwrap();
    engine.kind = "Kubernetes".into();
    engine.version = "1.33.1".into();
    let container = facts.container.as_mut().unwrap();
    container.id = "7c1f0a52-0000-4000-8000-000000000001".into();
    container.name = "monitoring/pmm".into();
    container.restart_policy.clear();
    container.mounts[0].name = "pmm-storage-pmm-0".into();
    container.networks.clear();
    facts.cluster = Some(ClusterFacts {
        namespace: "monitoring".into(),
        stateful_set: "pmm".into(),
        replicas: 1,
        pod: "pmm-0".into(),
        node: "node-1".into(),
        container: "pmm".into(),
        ready: true,
        claim: "pmm-storage-pmm-0".into(),
        storage_class: "standard".into(),
        claim_bytes: 128 << 30,
        access_modes: vec!["ReadWriteOnce".into()],
        release: "pmm".into(),
        chart: "pmm-1.3.21".into(),
        release_history: true,
        agent_image: "r.example/ferryd:0.1.0".into(),
        ..ClusterFacts::default()
    });
    facts
}

/// The same server without a volume, and what moves its data to one.
pub(crate) fn in_the_layer() -> (Facts, Wishes) {
    let mut facts = facts();
    facts.container.as_mut().unwrap().mounts.clear();
    let image = facts.image.clone().unwrap_or_default();
    facts.target = Some(ImageFacts {
        reference: image.id.clone(),
        ..image.clone()
    });
    facts.data.as_mut().unwrap().new_volume = Some(NewVolumeFacts {
        name: "pmm-server-data".into(),
        taken: false,
        free_bytes: 128 << 30,
        free_inodes: 8_000_000,
        reserve_bytes: 0,
    });
    let wishes = Wishes {
        recipe: Recipe::PmmMoveData,
        data_volume: Some("pmm-server-data".into()),
        ..Wishes::new(image.id)
    };
    (facts, wishes)
}

/// The same server without a container, on a machine that it leaves, and what moves it.
pub(crate) fn arriving() -> (Facts, MoveWishes) {
    let facts = facts();
    let name = |name: &str, number| NameFact {
        name: name.into(),
        number,
    };
    let port = PublishedPort {
        host: 443,
        container: 443,
        ..PublishedPort::default()
    };
    let new = NewServer {
        container: "pmm-server".into(),
        volume: "pmm-data".into(),
        ports: vec![port.clone()],
        origin: "https://old.example.com:7650".into(),
    };
    let image = "percona/pmm-server:2.44.1";
    let arrival = ArrivalFacts {
        volume: new.volume.clone(),
        free_bytes: 128 << 30,
        free_inodes: 8_000_000,
        ports: vec![port],
        users: vec![name("root", 0), name("postgres", 26), name("pmm", 994)],
        groups: vec![name("root", 0), name("postgres", 26)],
        ..ArrivalFacts::default()
    };
    let here = Facts {
        container: Some(ContainerFacts {
            name: new.container.clone(),
            ..ContainerFacts::default()
        }),
        image: None,
        target: Some(ImageFacts {
            reference: image.into(),
            ..facts.image.clone().unwrap_or_default()
        }),
        server: None,
        data: None,
        arrival: Some(arrival),
        ..facts.clone()
    };
    let there = Facts {
        server: facts.server.map(|server| ServerFacts {
            distribution: "ami".into(),
            ..server
        }),
        data: facts.data.map(|data| DataFacts {
            users: vec![name("root", 0), name("postgres", 26), name("pmm", 1000)],
            groups: vec![name("root", 0), name("postgres", 26)],
            ..data
        }),
        ..facts
    };
    let wishes = MoveWishes {
        new,
        users: Vec::new(),
        groups: Vec::new(),
        common: Wishes::new(image),
    };
    (pmm_move_appliance::merge(here, there), wishes)
}

/// A healthy PMM 2.44.1 of 41.2 GiB with an md5 role and renamed variables.
pub(crate) fn facts() -> Facts {
    Facts {
        observed: Some(Timestamp {
            seconds: OBSERVED,
            nanos: 0,
        }),
        engine: Some(EngineFacts {
            kind: "Docker".into(),
            version: "24.0.7".into(),
            id: "6ZQ3:ENGINE".into(),
            endpoint: "unix:///var/run/docker.sock".into(),
            rootless: false,
        }),
        container: Some(container()),
        image: Some(ImageFacts {
            reference: "percona/pmm-server:2".into(),
            present: true,
            id: "sha256:4d1c0a5b7e22".into(),
            version: "2.44.1".into(),
            pmm_major: 2,
            ..ImageFacts::default()
        }),
        target: Some(ImageFacts {
            reference: TARGET.into(),
            present: true,
            id: "sha256:9b1e7c3306aa".into(),
            digest: "sha256:9b1e7c3306aa".into(),
            version: "3.8.1".into(),
            pmm_major: 3,
            uid: 1000,
            gid: 0,
            ..ImageFacts::default()
        }),
        server: Some(server()),
        backups: Vec::new(),
        clients: None,
        client_host: None,
        cluster: None,
        arrival: None,
        data: Some(DataFacts {
            destination: "/srv".into(),
            entries: 612_408,
            bytes: 44_238_163_149,
            free_bytes: 128 << 30,
            free_inodes: 8_000_000,
            backup_free_bytes: 128 << 30,
            backup_free_inodes: 8_000_000,
            backup_same_disk: true,
            owners: vec![
                OwnerCount {
                    uid: 0,
                    gid: 0,
                    entries: 500_000,
                },
                OwnerCount {
                    uid: 26,
                    gid: 26,
                    entries: 111_977,
                },
                OwnerCount {
                    uid: 1000,
                    gid: 0,
                    entries: 431,
                },
            ],
            ..DataFacts::default()
        }),
    }
}

fn container() -> ContainerFacts {
    let change = |name: &str, new_name: &str, kind: Kind| EnvironmentChange {
        name: name.into(),
        new_name: new_name.into(),
        kind: kind.into(),
        note: String::new(),
    };
    ContainerFacts {
        id: "c0ffee5ad1e1".into(),
        name: "pmm-server".into(),
        running: true,
        status: "running".into(),
        started: Some(Timestamp {
            seconds: OBSERVED - 63 * 86_400 - 40,
            nanos: 0,
        }),
        restart_policy: "always".into(),
        settings_digest: "51e7".into(),
        environment: vec![
            change("DATA_RETENTION", "PMM_DATA_RETENTION", Kind::Renamed),
            change("DISABLE_UPDATES", "PMM_ENABLE_UPDATES", Kind::Inverted),
            change("LESS_LOG_NOISE", "", Kind::Dropped),
            change("GF_SMTP_HOST", "GF_SMTP_HOST", Kind::Kept),
            change("HOUSE_SITE", "HOUSE_SITE", Kind::Foreign),
        ],
        mounts: vec![MountFact {
            kind: "volume".into(),
            name: "pmm-data".into(),
            source: "/var/lib/docker/volumes/pmm-data/_data".into(),
            destination: "/srv".into(),
            read_only: false,
        }],
        ports: vec!["0.0.0.0:443 → 443/tcp".into(), "0.0.0.0:80 → 80/tcp".into()],
        networks: vec!["pmm-net".into()],
        ..ContainerFacts::default()
    }
}

fn key(organisation: i64, organisation_name: &str, name: &str, expires: i64) -> ApiKeyFact {
    ApiKeyFact {
        organisation,
        organisation_name: organisation_name.into(),
        name: name.into(),
        role: "Admin".into(),
        expires,
        service_account: false,
    }
}

fn server() -> ServerFacts {
    let role = |name: &str, kind: &str| RoleFact {
        name: name.into(),
        password_kind: kind.into(),
        default_password: true,
    };
    let database = |name: &str, bytes| DatabaseFact {
        name: name.into(),
        bytes,
    };
    ServerFacts {
        version: "2.44.1".into(),
        programs: vec![ProgramFact {
            name: "postgresql".into(),
            state: "RUNNING".into(),
            user: "postgres".into(),
            stop_wait_seconds: 300,
        }],
        postgres_version: "14.9".into(),
        postgres_local_trust: true,
        roles: vec![
            role("pmm-managed", "scram"),
            role("grafana", "md5"),
            role("postgres", "none"),
        ],
        databases: vec![
            database("pmm-managed", 41 << 20),
            database("grafana", 96 << 20),
        ],
        schema_version: 88,
        nodes: 9,
        services: 214,
        agents: 612,
        api_keys: 3,
        keys: vec![
            key(1, "Main Org.", "ci", 0),
            key(1, "Main Org.", "old dashboards", 1_600_000_000),
            key(2, "Second Org.", "pmm-client", OBSERVED + 86_400),
        ],
        last_metric_age_seconds: 4.0,
        ready: true,
        ..ServerFacts::default()
    }
}

/// Everything that a server can use that PMM 3 does not have.
pub(crate) fn used() -> UsedFacts {
    UsedFacts {
        alerting_channels: 2,
        alerting_rules: 14,
        external_alertmanager: true,
        dbaas_clusters: 1,
        platform_connected: true,
        dashboards: vec!["Latency".into(), "Our MySQL".into()],
        dashboards_count: 2,
        logins: Some(LoginFacts {
            outside: 5,
            local_admins: 1,
        }),
        prometheus_data: true,
        leftovers: vec!["postgres11".into()],
    }
}
