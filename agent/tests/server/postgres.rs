//! Against a real PostgreSQL.

use std::path::Path;

use ferry_agent::server::ServerRoot;
use ferry_agent::server::baseline::{Access, capture};
use ferry_agent::server::facts::{Logins, Uses};
use ferry_agent::server::http::Ports;
use ferry_agent::server::keys::{api_keys, service_accounts};
use ferry_agent::server::postgres::{
    DumpRequest, Hba, Manifest, PasswordKind, Postgres, ProofRequest, RestoreRequest, ToProve,
    verify_manifest,
};
use tokio_util::sync::CancellationToken;

use super::cluster::{Cluster, transplant};

#[tokio::test(flavor = "multi_thread")]
async fn a_running_cluster_is_observed_asked_and_dumped() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let postgres = cluster.find();
    assert!(postgres.running);
    assert_eq!((postgres.uid, postgres.port), (cluster.uid, 5499));
    assert_eq!(postgres.bin_dir, cluster.bin);
    assert_eq!(postgres.socket_dir, cluster.dir.path());

    cluster.sql("postgres", "CREATE DATABASE \"pmm-managed\"");
    cluster.sql("postgres", "CREATE DATABASE \"odd ' = name\"");
    cluster.sql(
        "pmm-managed",
        "CREATE TABLE schema_migrations (id int); INSERT INTO schema_migrations VALUES (1), (88); \
         CREATE TABLE \"odd \"\" 'table\" (x text); INSERT INTO \"odd \"\" 'table\" VALUES (E'a,\\\"b\\\"\\n'), (NULL), (''); \
         CREATE SCHEMA other; CREATE TABLE other.t (); \
         CREATE TABLE big AS SELECT n, md5(n::text) AS t FROM generate_series(1, 20000) n",
    );
    assert_eq!(
        postgres.databases().await.unwrap(),
        ["odd ' = name", "pmm-managed", "postgres"]
    );
    assert!(postgres.database_size("pmm-managed").await.unwrap() > 1 << 20);
    assert_eq!(postgres.schema_version().await.unwrap(), Some(88));
    let rows = postgres.table_rows("pmm-managed").await.unwrap();
    assert_eq!(rows["big"], 20000);
    assert_eq!(rows["odd \" 'table"], 3);
    assert_eq!(rows["other.t"], 0);
    let odd = postgres.query(
        "pmm-managed",
        "SELECT x FROM \"odd \"\" 'table\" ORDER BY x NULLS LAST",
    );
    assert_eq!(
        odd.await.unwrap(),
        [
            [Some(String::new())],
            [Some("a,\"b\"\n".to_owned())],
            [None]
        ]
    );
    assert!(
        postgres
            .table_rows("odd ' = name")
            .await
            .unwrap()
            .is_empty()
    );

    // A question changes nothing, and cannot leave SQL.
    let error = postgres
        .query("postgres", "CREATE TABLE x ()")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("read-only"), "{error}");
    let error = postgres
        .query("postgres", "\\! touch /tmp/x")
        .await
        .unwrap_err();
    assert_eq!(error.code(), "sql-unsafe");

    let hba = Hba::read(&postgres.root, &postgres.data_dir).unwrap();
    assert!(hba.trusts_local_superuser());
    assert_eq!(
        postgres.controldata().await.unwrap().cluster_state,
        "in production"
    );

    let dir = cluster.dir.path().join("dump");
    let request = DumpRequest {
        database: "pmm-managed".into(),
        dir: dir.clone(),
        jobs: 2.try_into().unwrap(),
    };
    let cancel = CancellationToken::new();
    let mut last = None;
    let dump = postgres
        .dump(&request, &mut |progress| last = Some(progress), &cancel)
        .await
        .unwrap();
    let manifest = &dump.manifest;
    assert_eq!(last.unwrap().written, manifest.size());
    assert!(
        manifest
            .0
            .iter()
            .any(|entry| entry.path == Path::new("toc.dat"))
    );
    verify_manifest(&dir, manifest).await.unwrap();
    assert_eq!(dump.rows, rows);
    assert_eq!(
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&dir).unwrap()),
        cluster.uid
    );
    // Never over something that is there.
    assert_eq!(
        postgres
            .dump(&request, &mut |_| {}, &cancel)
            .await
            .unwrap_err()
            .code(),
        "server-file"
    );
    // A damaged archive is seen.
    std::fs::write(dir.join("toc.dat"), "PGDMP").unwrap();
    assert_eq!(
        postgres.check_dump(&dir, &cancel).await.unwrap_err().code(),
        "tool-failed"
    );
    // Data that is cut off is not seen in the list of contents, but by the proof.
    let request = DumpRequest {
        dir: cluster.dir.path().join("cut"),
        ..request
    };
    let manifest = postgres
        .dump(&request, &mut |_| {}, &cancel)
        .await
        .unwrap()
        .manifest;
    cut_largest(&request.dir, &manifest);
    assert!(postgres.check_dump(&request.dir, &cancel).await.unwrap() > 0);
    let scratch = cluster.dir.path().join("scratch");
    let made = "CREATE DATABASE \"pmm-managed\"";
    let proof = proof("pmm-managed", &request.dir, &scratch, made);
    let error = postgres
        .prove_dumps(&proof, &mut |_| {}, &cancel)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "tool-failed", "{error}");
    assert!(
        !scratch.join("data/postmaster.pid").exists(),
        "the scratch cluster is left running"
    );
    cancel.cancel();
    let request = DumpRequest {
        dir: cluster.dir.path().join("dump2"),
        ..request
    };
    let error = postgres
        .dump(&request, &mut |_| {}, &cancel)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "cancelled");

    // As a sidecar does it: everything below another root, the programs in a chroot.
    let beside = Postgres::in_dir(
        &ServerRoot::new("/proc/self/root"),
        Path::new(&cluster.data()),
    )
    .unwrap();
    assert_eq!(
        Postgres {
            root: postgres.root.clone(),
            ..beside.clone()
        },
        postgres
    );
    assert_eq!(beside.schema_version().await.unwrap(), Some(88));
    assert_eq!(
        beside.controldata().await.unwrap().cluster_state,
        "in production"
    );

    cluster.tool(
        "pg_ctl",
        &["-D", &cluster.data(), "-w", "-m", "fast", "stop"],
    );
    let stopped = cluster.find();
    assert!(!stopped.running);
    assert_eq!(stopped.uid, cluster.uid);
    assert!(stopped.controldata().await.unwrap().is_shut_down());
    assert_eq!(stopped.databases().await.unwrap_err().code(), "tool-failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_can_be_repeated_undone_and_kept() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let postgres = cluster.find();
    cluster.sql("postgres", "CREATE ROLE grafana LOGIN");
    cluster.sql("postgres", "CREATE DATABASE grafana OWNER grafana");
    cluster.sql("grafana", "CREATE TABLE t AS SELECT 1 AS x");
    cluster.sql("grafana", "ALTER TABLE t OWNER TO grafana");
    let cancel = CancellationToken::new();
    let jobs = 2.try_into().unwrap();
    let dir = cluster.dir.path().join("dump");
    let dump = DumpRequest {
        database: "grafana".into(),
        dir: dir.clone(),
        jobs,
    };
    postgres.dump(&dump, &mut |_| {}, &cancel).await.unwrap();
    cluster.sql("grafana", "INSERT INTO t VALUES (2)");
    let request = RestoreRequest {
        database: "grafana".into(),
        owner: "grafana".into(),
        dir,
        jobs,
    };
    let rows = async || postgres.table_rows("grafana").await.unwrap()["t"];
    assert_eq!(rows().await, 2);
    for _ in 0..2 {
        postgres.restore(&request, &cancel).await.unwrap();
        assert_eq!(rows().await, 1);
        let sql = "SELECT tableowner FROM pg_tables WHERE tablename = 't'";
        assert_eq!(
            postgres.query_one("grafana", sql).await.unwrap().as_deref(),
            Some("grafana")
        );
    }
    for _ in 0..2 {
        postgres.undo_restore("grafana").await.unwrap();
        assert_eq!(rows().await, 2);
    }
    assert_eq!(postgres.databases().await.unwrap(), ["grafana", "postgres"]);
    // What does not restore changes nothing.
    std::fs::write(request.dir.join("toc.dat"), "PGDMP").unwrap();
    assert_eq!(
        postgres
            .restore(&request, &cancel)
            .await
            .unwrap_err()
            .code(),
        "tool-failed"
    );
    assert_eq!(rows().await, 2);
    assert_eq!(postgres.databases().await.unwrap(), ["grafana", "postgres"]);

    std::fs::remove_dir_all(&request.dir).unwrap();
    postgres.dump(&dump, &mut |_| {}, &cancel).await.unwrap();
    postgres.restore(&request, &cancel).await.unwrap();
    postgres.forget_restored("grafana").await.unwrap();
    assert_eq!(rows().await, 2);
    assert_eq!(postgres.databases().await.unwrap(), ["grafana", "postgres"]);
    let error = postgres.forget_restored("nothing").await.unwrap_err();
    assert_eq!(error.code(), "server-part-missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_live_in_the_servers_root_alone() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let root = cluster.dir.path();
    for program in ["pg_controldata", "psql"] {
        transplant(&cluster.bin.join(program), root);
    }
    // The same folder is `/data` in there, and is named nothing else.
    let postgres = Postgres::in_dir(&ServerRoot::new(root), Path::new("/data")).unwrap();
    assert_eq!(postgres.bin_dir, cluster.bin);
    assert_eq!(
        (postgres.uid, postgres.user.as_str()),
        (cluster.uid, "65534")
    );
    assert_eq!(
        postgres.controldata().await.unwrap().cluster_state,
        "in production"
    );
    let outside = Postgres {
        data_dir: cluster.data().into(),
        ..postgres.clone()
    };
    let error = outside.controldata().await.unwrap_err();
    assert!(error.to_string().contains("No such file"), "{error}");
    // And a program that is not in there is not started from elsewhere.
    std::fs::remove_file(
        root.join(cluster.bin.strip_prefix("/").unwrap())
            .join("pg_controldata"),
    )
    .unwrap();
    assert_eq!(
        postgres.controldata().await.unwrap_err().code(),
        "tool-start"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_default_passwords_are_healed_and_nothing_is_logged() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let postgres = cluster.find();
    for sql in [
        "CREATE EXTENSION pg_stat_statements",
        "SET password_encryption = 'md5'; CREATE ROLE \"pmm-managed\" LOGIN PASSWORD 'pmm-managed'",
        "SET password_encryption = 'md5'; CREATE ROLE theirs LOGIN PASSWORD 'own'",
        "CREATE ROLE grafana LOGIN",
        "CREATE ROLE good LOGIN PASSWORD 'x'",
    ] {
        cluster.sql("postgres", sql);
    }
    cluster.sql("postgres", "SELECT pg_stat_statements_reset()");
    let kinds = async || -> Vec<(String, PasswordKind)> {
        let roles = postgres.role_passwords().await.unwrap();
        roles
            .into_iter()
            .map(|role| (role.name, role.kind))
            .collect()
    };
    use PasswordKind::{Md5Custom, Md5Default, None, Scram};
    let of = |list: [(&str, PasswordKind); 5]| list.map(|(name, kind)| (name.to_owned(), kind));
    assert_eq!(
        kinds().await,
        of([
            ("good", Scram),
            ("grafana", None),
            ("pmm-managed", Md5Default),
            ("postgres", None),
            ("theirs", Md5Custom)
        ])
    );
    let log = cluster.dir.path().join("log");
    let before = std::fs::read_to_string(&log).unwrap().len();
    assert!(postgres.heal_role("pmm-managed").await.unwrap());
    assert!(!postgres.heal_role("pmm-managed").await.unwrap());
    assert!(postgres.heal_role("grafana").await.unwrap());
    assert_eq!(
        postgres.heal_role("theirs").await.unwrap_err().code(),
        "role-custom-password"
    );
    assert_eq!(
        postgres.heal_role("nobody").await.unwrap_err().code(),
        "server-part-missing"
    );
    assert_eq!(
        kinds().await,
        of([
            ("good", Scram),
            ("grafana", Scram),
            ("pmm-managed", Scram),
            ("postgres", None),
            ("theirs", Md5Custom)
        ])
    );
    let logged = std::fs::read_to_string(&log).unwrap().split_off(before);
    assert!(
        logged.contains("SET log_statement"),
        "the log is not what it must be to prove anything"
    );
    assert!(!logged.contains("ALTER ROLE"), "{logged}");
    let sql = "SELECT count(*) FROM pg_stat_statements WHERE query LIKE 'ALTER ROLE%'";
    assert_eq!(
        postgres
            .query_one("postgres", sql)
            .await
            .unwrap()
            .as_deref(),
        Some("0")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_the_databases_part_of_a_baseline() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let postgres = cluster.find();
    cluster.sql("postgres", "CREATE DATABASE grafana");
    cluster.sql("postgres", "CREATE DATABASE \"pmm-managed\"");
    cluster.sql(
        "pmm-managed",
        "CREATE TABLE nodes (x int); CREATE TABLE schema_migrations (id int)",
    );
    cluster.sql(
        "grafana",
        "CREATE TABLE api_key (id serial, org_id bigint, name text, key text, role text, expires bigint); \
         INSERT INTO api_key (org_id, name, key, role, expires) VALUES (1, 'ci', 'hash', 'Admin', NULL), (2, 'o,ld', 'h', 'Viewer', 5); \
         CREATE TABLE org (id serial, name text); INSERT INTO org (name) VALUES ('Main Org.'); \
         CREATE TABLE org_user (org_id bigint, user_id bigint, role text); INSERT INTO org_user VALUES (1, 7, 'Editor'); \
         CREATE TABLE \"user\" (id serial, org_id bigint, name text, login text); \
         CREATE TABLE dashboard (id int, is_folder bool); INSERT INTO dashboard VALUES (1, false), (2, false), (3, true); \
         CREATE TABLE dashboard_provisioning (dashboard_id int); INSERT INTO dashboard_provisioning VALUES (1)",
    );
    // Before Grafana had the column.
    let keys = api_keys(&postgres).await.unwrap();
    assert_eq!(keys.len(), 2);
    assert_eq!(
        (keys[1].name.as_str(), keys[1].expires, keys[1].migrated),
        ("o,ld", Some(5), false)
    );
    // Its organisation is gone.
    let orgs: Vec<_> = keys
        .iter()
        .map(|key| (key.org, key.org_name.as_deref()))
        .collect();
    assert_eq!(orgs, [(1, Some("Main Org.")), (2, None)]);
    assert_eq!((keys[0].role.as_str(), keys[1].is_dead(4)), ("Admin", true));
    assert!(service_accounts(&postgres).await.unwrap().is_empty());
    cluster.sql(
        "grafana",
        "ALTER TABLE api_key ADD service_account_id bigint; ALTER TABLE \"user\" ADD is_service_account bool; \
         INSERT INTO \"user\" VALUES (7, 1, 'sa-autogen-ci', 'sa-autogen-1-ci', true), (8, 1, 'me', 'me', false); \
         UPDATE api_key SET service_account_id = 7 WHERE name = 'ci'",
    );
    let key = api_keys(&postgres).await.unwrap().remove(0);
    assert_eq!((key.migrated, key.role.as_str()), (true, "Editor"));
    let accounts = service_accounts(&postgres).await.unwrap();
    assert_eq!(
        (accounts[0].login.as_str(), accounts[0].tokens),
        ("sa-autogen-1-ci", 1)
    );
    assert_eq!(accounts.len(), 1);

    // Nothing listens on these ports, which is recorded and ends nothing.
    let closed = closed_ports();
    let access = Access {
        ports: closed,
        ..Access::default()
    };
    let baseline = capture(&access, Some(&postgres), None, 1_700_000_000).await;
    let dashboards = baseline.dashboards.unwrap();
    assert_eq!((dashboards.total, dashboards.own), (2, 1));
    assert_eq!(baseline.rows.unwrap()["grafana.user"], 2);
    assert_eq!(baseline.schema, None);
    let missing: Vec<&str> = baseline
        .unobserved
        .iter()
        .map(|u| u.what.as_str())
        .collect();
    assert_eq!(
        missing,
        [
            "PMM's API",
            "Query Analytics",
            "history of metrics",
            "targets that are up"
        ]
    );
    assert_eq!(baseline.backups_astray.unwrap(), [""; 0]);

    // As PMM 3 leaves them: ids are short, but not in what is scheduled. One whole, three that lack something, one of another kind, one off.
    cluster.sql(
        "pmm-managed",
        "CREATE TABLE services (service_id text); INSERT INTO services VALUES ('s'); \
         CREATE TABLE backup_locations (id text); INSERT INTO backup_locations VALUES ('l'); \
         CREATE TABLE scheduled_tasks (id text, type text, disabled bool, data jsonb); INSERT INTO scheduled_tasks VALUES \
         ('1', 'mysql_backup', false, '{\"mysql_backup\": {\"name\": \"whole\", \"service_id\": \"s\", \"location_id\": \"l\"}}'), \
         ('2', 'mysql_backup', false, '{\"mysql_backup\": {\"name\": \"nightly\", \"service_id\": \"/service_id/s\", \"location_id\": \"l\"}}'), \
         ('3', 'mongodb_backup', false, '{\"mongodb_backup\": {\"name\": \"far\", \"service_id\": \"s\", \"location_id\": \"/location_id/l\"}}'), \
         ('/scheduled_task_id/4', 'mysql_backup', false, '{\"mysql_backup\": {\"service_id\": \"x\", \"location_id\": \"l\"}}'), \
         ('5', 'print', false, '{\"print\": {\"message\": \"x\"}}'), \
         ('6', 'mysql_backup', true, '{\"mysql_backup\": {\"name\": \"off\"}}'), \
         ('7', 'mysql_backup', false, 'null')",
    );
    let again = capture(&access, Some(&postgres), None, 1_700_000_000).await;
    assert_eq!(again.backups_astray.unwrap(), ["4", "far", "nightly"]);
}

/// What people use that PMM 3 does not have, as rows of PMM 2's and Grafana 9's tables (facts/pmm.md 8.6).
#[tokio::test(flavor = "multi_thread")]
async fn what_people_use_is_counted_and_exported() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let postgres = cluster.find();
    cluster.sql("postgres", "CREATE DATABASE grafana");
    cluster.sql("postgres", "CREATE DATABASE \"pmm-managed\"");
    cluster.sql(
        "pmm-managed",
        "CREATE TABLE ia_channels (id text); INSERT INTO ia_channels VALUES ('a'), ('b'); \
         CREATE TABLE ia_rules (id text); INSERT INTO ia_rules VALUES ('a'); \
         CREATE TABLE percona_sso_details (client_id text); INSERT INTO percona_sso_details VALUES ('x'); \
         CREATE TABLE settings (settings jsonb); INSERT INTO settings VALUES ('{\"alert_manager_url\": \"http://am:9093\"}')",
    );
    cluster.sql(
        "grafana",
        "CREATE TABLE org_user (user_id bigint, role text); INSERT INTO org_user VALUES (3, 'Admin'), (4, 'Admin'), (5, 'Viewer'); \
         CREATE TABLE \"user\" (id bigint, password text, is_admin bool, is_disabled bool, is_service_account bool); \
         INSERT INTO \"user\" VALUES (1, 'h', true, false, false), (2, 'h', true, true, false), (3, 'h', false, false, NULL), \
         (4, '', false, false, false), (5, NULL, false, false, false), (6, '', false, false, true), (7, 'h', false, false, false); \
         CREATE TABLE dashboard (id int, title text, is_folder bool, plugin_id text, data text); INSERT INTO dashboard VALUES \
         (1, 'B, old', false, NULL, '{\"panels\": [{\"type\" : \"graph\"}]}'), (2, 'A', false, '', '{\"type\":\"natel-discrete-panel\"}'), \
         (3, 'new', false, NULL, '{\"type\":\"timeseries\",\"x\":\"graph\"}'), (4, 'Percona', false, 'pmm-app', '{\"type\":\"graph\"}'), \
         (5, 'provisioned', false, NULL, '{\"type\":\"singlestat\"}'), (6, 'folder', true, NULL, '{\"type\":\"graph\"}'); \
         CREATE TABLE dashboard_provisioning (dashboard_id int); INSERT INTO dashboard_provisioning VALUES (5)",
    );
    let mut uses = Uses::default();
    let mut failed = Vec::new();
    uses.ask(&postgres, |what, error| {
        failed.push(format!("{what}: {error}"))
    })
    .await;
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(
        failed[0].starts_with("clusters of DBaaS: ") && failed[0].contains("kubernetes_clusters")
    );
    assert_eq!(uses.dbaas_clusters, None);
    assert_eq!(
        (uses.alerting_channels, uses.alerting_rules),
        (Some(2), Some(1))
    );
    assert_eq!(uses.external_alertmanager, Some(true));
    assert_eq!(uses.platform_connected, Some(true));
    let dashboards = uses.dashboards.unwrap();
    assert_eq!(
        (dashboards.count, dashboards.titles),
        (2, vec!["A".to_owned(), "B, old".to_owned()])
    );
    let logins = Logins {
        outside: 2,
        local_admins: 2,
    };
    assert_eq!(uses.logins, Some(logins));
    let alerting = postgres.export_alerting().await.unwrap().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&alerting.json).unwrap();
    assert_eq!(
        told,
        serde_json::json!({
            "ia_channels": [{"id": "a"}, {"id": "b"}], "ia_rules": [{"id": "a"}], "alert_manager_url": "http://am:9093",
        })
    );
    let ids = postgres.dashboards_to_export().await.unwrap();
    assert_eq!(ids, [1, 2]);
    let exports = postgres.export_dashboards(&ids).await.unwrap();
    assert_eq!(exports[0].name, "export-dashboard-1.json");
    assert_eq!(
        String::from_utf8_lossy(&exports[0].json),
        r#"{"panels": [{"type" : "graph"}]}"#
    );
    assert_eq!(exports.len(), 2);
    cluster.sql(
        "pmm-managed",
        "UPDATE settings SET settings = '{}'; CREATE TABLE kubernetes_clusters (id text)",
    );
    cluster.sql("grafana", "DROP TABLE dashboard_provisioning");
    let mut uses = Uses::default();
    uses.ask(&postgres, |what, error| panic!("{what}: {error}"))
        .await;
    assert_eq!(
        (uses.dbaas_clusters, uses.external_alertmanager),
        (Some(0), Some(false))
    );
    assert_eq!(uses.dashboards.unwrap().count, 3);
    // Rows that nobody has used are no reason for a file; what is no JSON is told and not written.
    cluster.sql(
        "pmm-managed",
        "DELETE FROM ia_rules; DELETE FROM ia_channels",
    );
    assert_eq!(postgres.export_alerting().await.unwrap(), None);
    cluster.sql(
        "grafana",
        "UPDATE dashboard SET data = '{\"type\": \"graph\"' WHERE id = 1",
    );
    let error = postgres.export_dashboards(&[1]).await.unwrap_err();
    assert!(error.to_string().contains("EOF"), "{error}");
}

fn closed_ports() -> Ports {
    // Privileged, and used by nobody.
    Ports {
        managed: 1,
        nginx_v2: 1,
        nginx_v3: 1,
        grafana: 1,
        victoria: 1,
        qan: 1,
        clickhouse: 1,
    }
}

pub fn proof(database: &str, dump: &Path, scratch: &Path, cluster_sql: &str) -> ProofRequest {
    ProofRequest {
        dumps: vec![ToProve {
            database: database.into(),
            dump: dump.into(),
        }],
        scratch: scratch.into(),
        jobs: 2.try_into().unwrap(),
        cluster_sql: cluster_sql.to_owned(),
        heal_roles: vec![],
    }
}

/// Cuts the largest file with data in half.
fn cut_largest(dir: &Path, manifest: &Manifest) {
    let data = manifest
        .0
        .iter()
        .filter(|entry| entry.path != Path::new("toc.dat"));
    let largest = dir.join(&data.max_by_key(|entry| entry.size).unwrap().path);
    let bytes = std::fs::read(&largest).unwrap();
    std::fs::write(&largest, &bytes[..bytes.len() / 2]).unwrap();
}
