//! What the server's own doors say: supervisor, database, interfaces, files.

use std::{collections::BTreeMap, path::Path};

use ferry_proto::{
    Secret,
    v1::{
        ApiKeyFact, ClientFacts, ClientsFacts, DataFacts, DatabaseFact, Facts, GetFactsRequest,
        KeyTrial, LoginFacts, ProgramFact, RoleFact, ServerFacts, Unobserved, UsedFacts,
    },
};

use super::data;
use crate::{
    error::StepError,
    ledger::now_ms,
    server::{
        Result,
        baseline::{Access, Baseline, capture},
        facts::{PostgresFacts, ServerObservation, Uses, observe as look},
        pmm::{Client, KeyAnswer, Pmm, Ready},
        postgres::{PasswordKind, Postgres},
        users::Users,
        victoria::Victoria,
    },
    surroundings::Container,
};

pub(super) async fn observe(
    container: &Container,
    request: &GetFactsRequest,
) -> Result<Facts, StepError> {
    let access = Access::default();
    if request.only_clients {
        return Ok(only_clients(&access).await);
    }
    let seen = look(&container.root, &access).await;
    let cluster: Option<&Postgres> = seen.postgres.as_ref().map(|it| &it.cluster);
    let now = i64::try_from(now_ms() / 1000).unwrap_or(i64::MAX);
    let baseline = capture(&access, cluster, None, now).await;
    let mut server = server_facts(&seen, &baseline, &container.data);
    server.last_metric_age_seconds = freshest(&access).await;
    let pmm = Pmm::detect(&access.ports, None).await;
    server.ready = match &pmm {
        Ok(pmm) => matches!(pmm.ready().await, Ok(Ready::Yes)),
        Err(_) => false,
    };
    let clients = match &pmm {
        Ok(pmm) if request.clients => Some(clients(pmm, &access, &mut server).await),
        _ => None,
    };
    if let Some(key) = &request.api_key {
        server.key_trial = Some(trial(pmm, key).await);
    }
    let mut data = None;
    if request.walk {
        let root = &container.root;
        let tree = data::Tree {
            layer_of: root.has_alone(&container.data).then(|| root.clone()),
            data: container.data.clone(),
        };
        // A container that is no PMM server may have no data at all: that is a finding, no error.
        match data::observe(tree, container.engine_disk.clone()).await {
            Ok(observed) => data = Some(named(observed, container, &mut server)),
            Err(error) => server.unobserved.push(Unobserved {
                what: "the data".to_owned(),
                why: error.to_string(),
            }),
        }
    }
    Ok(Facts {
        server: Some(server),
        data,
        clients: clients.flatten(),
        ..Facts::default()
    })
}

/// With the names behind the numbers, where the data goes to a machine that has others.
fn named(data: DataFacts, container: &Container, server: &mut ServerFacts) -> DataFacts {
    if !container.gives_data {
        return data;
    }
    match Users::of(&container.root) {
        Ok(names) => DataFacts {
            users: data::users(&names),
            groups: data::groups(&names),
            ..data
        },
        Err(error) => {
            server.unobserved.push(Unobserved {
                what: "the names of users".to_owned(),
                why: error.to_string(),
            });
            data
        }
    }
}

/// The server's version and its clients: what is asked for again and again while one is waited for.
async fn only_clients(access: &Access) -> Facts {
    let mut server = ServerFacts::default();
    let clients = match Pmm::detect(&access.ports, None).await {
        Ok(pmm) => {
            server.version.clone_from(&pmm.version().version);
            clients(&pmm, access, &mut server).await
        }
        Err(error) => {
            server.unobserved.push(Unobserved {
                what: "PMM's API".to_owned(),
                why: error.to_string(),
            });
            None
        }
    };
    Facts {
        server: Some(server),
        clients,
        ..Facts::default()
    }
}

/// The clients; `None` when the server does not tell, which is noted.
async fn clients(pmm: &Pmm, access: &Access, server: &mut ServerFacts) -> Option<ClientsFacts> {
    let versions = pmm
        .client_versions(&Victoria::on(access.ports.victoria))
        .await;
    let (versions, versions_unobserved) = match versions {
        Ok(versions) => (versions, String::new()),
        Err(error) => (BTreeMap::new(), error.to_string()),
    };
    match pmm.clients(&versions).await {
        Ok(clients) => Some(ClientsFacts {
            clients: clients.into_iter().map(client).collect(),
            versions_unobserved,
        }),
        Err(error) => {
            server.unobserved.push(Unobserved {
                what: "the clients".to_owned(),
                why: error.to_string(),
            });
            None
        }
    }
}

fn client(client: Client) -> ClientFacts {
    ClientFacts {
        agent_id: client.agent_id,
        node: client.node_name,
        node_kind: client.node_kind,
        address: client.address,
        version: client.version.unwrap_or_default(),
        connected: client.connected,
        services: u32::try_from(client.services).unwrap_or(u32::MAX),
    }
}

/// Seconds since the newest sample of any node; negative when none is known.
async fn freshest(access: &Access) -> f64 {
    let ages = Victoria::on(access.ports.victoria)
        .freshness()
        .await
        .unwrap_or_default();
    let youngest = ages.values().min().copied();
    youngest.map_or(-1.0, |seconds| {
        u32::try_from(seconds).map_or(f64::INFINITY, f64::from)
    })
}

fn server_facts(seen: &ServerObservation, baseline: &Baseline, data: &Path) -> ServerFacts {
    let api = seen
        .version
        .api
        .as_ref()
        .map(|version| version.version.clone());
    let version = api
        .clone()
        .or(seen.version.volume.clone())
        .or(seen.version.image.clone());
    let evidence = [
        ("its API", &api),
        ("the volume's marker", &seen.version.volume),
        ("the image's marker", &seen.version.image),
    ];
    let evidence = evidence
        .into_iter()
        .filter_map(|(what, version)| Some(format!("{what} says {}", version.as_ref()?)));
    let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let elsewhere = &seen.elsewhere;
    let mut facts = ServerFacts {
        version: version.unwrap_or_default(),
        evidence: evidence.collect(),
        distribution: seen.distribution.clone().unwrap_or_default(),
        programs: programs(seen),
        update_running: seen.update_running,
        custom_rule_files: seen
            .alert_rules
            .iter()
            .map(|path| relative(path, data))
            .collect(),
        unreadable_files: seen
            .certificates
            .iter()
            .map(|it| format!("{}: {}", relative(&it.path, data), it.why))
            .collect(),
        nodes: baseline.nodes.as_ref().map_or(0, |it| length(it.len())),
        services: baseline.services.as_ref().map_or(0, |it| length(it.len())),
        agents: baseline.agents.as_ref().map_or(0, |agents| {
            agents
                .by_kind
                .values()
                .map(|kind| u32::try_from(kind.total).unwrap_or(0))
                .sum()
        }),
        api_keys: baseline.api_keys.as_ref().map_or(0, |it| length(it.len())),
        keys: keys(baseline),
        external_postgres: seen.external_postgres || !elsewhere.postgres.is_empty(),
        external_clickhouse: seen.external_clickhouse || !elsewhere.clickhouse.is_empty(),
        database_variables: [&elsewhere.postgres[..], &elsewhere.clickhouse].concat(),
        start_up_failed: seen.started_up == Some(false),
        unobserved: unobserved(seen, baseline),
        used: Some(used(&seen.uses)),
        ..ServerFacts::default()
    };
    if let Some(schema) = &seen.qan_schema {
        facts.clickhouse_dirty = schema.dirty;
        facts.clickhouse_dirty_version = i64::try_from(schema.version).unwrap_or(i64::MAX);
    }
    if let Some(postgres) = &seen.postgres {
        add_postgres(&mut facts, postgres);
    }
    facts
}

/// What the server says to the operator's own key.
async fn trial(pmm: Result<Pmm>, key: &Secret) -> KeyTrial {
    let answer = match pmm {
        Ok(pmm) => pmm.try_key(key).await,
        Err(error) => Err(error),
    };
    let (accepted, why) = match answer {
        Ok(KeyAnswer::Accepted) => (true, String::new()),
        Ok(answer) => (false, answer.to_string()),
        Err(error) => (false, error.to_string()),
    };
    KeyTrial { accepted, why }
}

fn keys(baseline: &Baseline) -> Vec<ApiKeyFact> {
    let keys = baseline.api_keys.iter().flatten();
    keys.map(|key| ApiKeyFact {
        organisation: key.org,
        organisation_name: key.org_name.clone().unwrap_or_default(),
        name: key.name.clone(),
        role: key.role.clone(),
        expires: key.expires.unwrap_or_default(),
        service_account: key.migrated,
    })
    .collect()
}

fn programs(seen: &ServerObservation) -> Vec<ProgramFact> {
    let programs = seen.programs.iter().map(|program| ProgramFact {
        name: program.process.full_name(),
        state: program.process.state.as_str().to_owned(),
        user: program.user.clone().unwrap_or_default(),
        stop_wait_seconds: u32::try_from(program.stop_wait).unwrap_or(u32::MAX),
    });
    programs.collect()
}

fn add_postgres(facts: &mut ServerFacts, postgres: &PostgresFacts) {
    facts.postgres_version.clone_from(&postgres.cluster.major);
    facts.postgres_bin = postgres.cluster.bin_dir.display().to_string();
    facts.postgres_data = postgres.cluster.data_dir.display().to_string();
    facts.postgres_local_trust = postgres.trusts_local.unwrap_or(false);
    facts.schema_version = postgres
        .schema
        .and_then(|schema| u32::try_from(schema).ok())
        .unwrap_or(0);
    facts.scheduled_backups = postgres
        .scheduled_backups
        .and_then(|it| u32::try_from(it).ok())
        .unwrap_or(0);
    let databases = postgres.databases.iter().flatten();
    facts.databases = databases
        .map(|(name, bytes)| DatabaseFact {
            name: name.clone(),
            bytes: *bytes,
        })
        .collect();
    let roles = postgres.roles.iter().flatten();
    facts.roles = roles
        .map(|role| RoleFact {
            name: role.name.clone(),
            password_kind: match role.kind {
                PasswordKind::Scram => "scram",
                PasswordKind::Md5Default | PasswordKind::Md5Custom => "md5",
                PasswordKind::None => "none",
                PasswordKind::Other => "other",
            }
            .to_owned(),
            default_password: role.can_be_healed(),
        })
        .collect();
}

/// What was not observed counts as not used here; it is named among what was not observed.
fn used(uses: &Uses) -> UsedFacts {
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let count = |number: Option<u64>| number.map_or(0, small);
    UsedFacts {
        alerting_channels: count(uses.alerting_channels),
        alerting_rules: count(uses.alerting_rules),
        external_alertmanager: uses.external_alertmanager.unwrap_or(false),
        dbaas_clusters: count(uses.dbaas_clusters),
        platform_connected: uses.platform_connected.unwrap_or(false),
        dashboards: uses
            .dashboards
            .iter()
            .flat_map(|it| it.titles.clone())
            .collect(),
        dashboards_count: count(uses.dashboards.as_ref().map(|it| it.count)),
        logins: uses.logins.map(|logins| LoginFacts {
            outside: small(logins.outside),
            local_admins: small(logins.local_admins),
        }),
        prometheus_data: uses.prometheus_data.unwrap_or(false),
        leftovers: uses.leftovers.clone(),
    }
}

/// The path as seen from the data's root.
fn relative(path: &Path, data: &Path) -> String {
    path.strip_prefix(data)
        .unwrap_or(path)
        .display()
        .to_string()
}

fn unobserved(seen: &ServerObservation, baseline: &Baseline) -> Vec<Unobserved> {
    let all = seen.unobserved.iter().chain(&baseline.unobserved);
    let mut list: Vec<Unobserved> = all
        .map(|it| Unobserved {
            what: it.what.clone(),
            why: it.why.clone(),
        })
        .collect();
    list.sort_by(|a, b| a.what.cmp(&b.what));
    list.dedup_by(|a, b| a.what == b.what);
    list
}
