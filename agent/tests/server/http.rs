//! PMM's, VictoriaMetrics', Query Analytics' and Grafana's answers, in the shapes of both majors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use ferry_agent::server::baseline::{Access, CompareMode, Severity, capture, compare};
use ferry_agent::server::http::{Credentials, Ports};
use ferry_agent::server::keys::migrate_keys;
use ferry_agent::server::pmm::{KeyAnswer, Major, Pmm, Ready};
use ferry_agent::server::qan::Qan;
use ferry_agent::server::victoria::Victoria;
use ferry_proto::Secret;
use serde_json::{Value, json};

use super::http_double::{Double, Seen};

const NOT_FOUND: &str = r#"{"code":5,"error":"Not Found","message":"Not Found"}"#;
const NOW: i64 = 1_700_000_000;

/// Whether a report is asked for a window that is over.
fn in_past(seen: &Seen) -> bool {
    let body: Value = serde_json::from_str(&seen.body).unwrap();
    // RFC 3339 in UTC sorts as text; this is NOW.
    let to = body["period_start_to"].as_str().unwrap();
    body["group_by"] == "queryid" && to.ends_with('Z') && to < "2023-11-14T22:13:20Z"
}

/// What PMM 2 answers: POST, prefixes, zeros left out.
fn v2(seen: &Seen) -> (u16, String) {
    let body: Value = match (seen.method.as_str(), seen.path.as_str()) {
        ("GET", "/v1/version") => json!({"version": "2.44.1", "distribution_method": "DOCKER",
            "server": {"version": "2.44.1", "full_version": "2.44.1-1.el9"}}),
        ("GET", "/v1/readyz") => json!({}),
        ("POST", "/v1/inventory/Nodes/List") => json!({"generic": [
            {"node_id": "pmm-server", "node_name": "pmm-server", "address": "127.0.0.1"},
            {"node_id": "/node_id/n1", "node_name": "db1", "address": "10.0.0.1"}]}),
        ("POST", "/v1/inventory/Services/List") => json!({"mysql": [
            {"service_id": "/service_id/s1", "service_name": "db1-mysql", "node_id": "/node_id/n1",
             "address": "10.0.0.1", "port": 3306, "cluster": "c"}]}),
        ("POST", "/v1/inventory/Agents/List") => json!({
            "pmm_agent": [{"agent_id": "pmm-server", "connected": true},
                          {"agent_id": "/agent_id/a1", "connected": true}],
            "mysqld_exporter": [{"agent_id": "/agent_id/a2", "status": "RUNNING"}]}),
        ("POST", "/v0/qan/GetReport") if in_past(seen) => json!({"total_rows": 12, "rows": []}),
        _ => return (404, NOT_FOUND.into()),
    };
    (200, body.to_string())
}

/// What PMM 3 answers for the same server: GET, no prefixes, everything written out.
fn v3(seen: &Seen) -> (u16, String) {
    let body: Value = match (seen.method.as_str(), seen.path.as_str()) {
        ("GET", "/v1/server/version") => json!({"version": "3.8.1",
            "distribution_method": "DISTRIBUTION_METHOD_DOCKER",
            "server": {"version": "3.8.1", "full_version": "3.8.1"}}),
        ("GET", "/v1/server/readyz") => json!({}),
        ("GET", "/v1/inventory/nodes") => json!({"generic": [
            {"node_id": "pmm-server", "node_name": "pmm-server", "address": "127.0.0.1", "region": ""},
            {"node_id": "n1", "node_name": "db1", "address": "10.0.0.1"}], "remote": []}),
        ("GET", "/v1/inventory/services") => json!({"mysql": [
            {"service_id": "s1", "service_name": "db1-mysql", "node_id": "n1", "address": "10.0.0.1",
             "port": 3306, "socket": "", "environment": "", "cluster": "c", "replication_set": ""}], "valkey": []}),
        ("GET", "/v1/inventory/agents") => json!({
            "pmm_agent": [{"agent_id": "pmm-server", "connected": true}, {"agent_id": "a1", "connected": true}],
            "mysqld_exporter": [{"agent_id": "a2", "status": "AGENT_STATUS_RUNNING"}], "nomad_agent": []}),
        ("POST", "/v1/qan/metrics:getReport") if in_past(seen) => {
            json!({"total_rows": 12, "offset": 0, "limit": 10, "rows": []})
        }
        _ => return (404, NOT_FOUND.into()),
    };
    (200, body.to_string())
}

/// A VictoriaMetrics whose data began ten days before [`NOW`].
fn victoria(seen: &Seen) -> (u16, String) {
    assert_eq!(seen.path, "/prometheus/api/v1/query");
    let at = seen
        .query
        .split('&')
        .find_map(|part| part.strip_prefix("time="));
    let at: i64 = at.map_or(NOW, |at| at.parse().unwrap());
    let first = NOW - 10 * 86400;
    let one =
        |labels: Value, value: i64| json!({"metric": labels, "value": [at, value.to_string()]});
    let result = if seen.query.contains("tfirst_over_time") {
        vec![one(json!({}), first)]
    } else if seen.query.contains("count_over_time") {
        let value = if seen.query.contains("query=sum") {
            30
        } else {
            3
        };
        if at < first {
            vec![]
        } else {
            vec![one(json!({}), value)]
        }
    } else if seen.query.contains("timestamp") && seen.query.contains("job") {
        // The newest sample.
        vec![one(
            json!({"job": "mysqld_exporter_hr-5s", "node_name": "db1"}),
            NOW + 590,
        )]
    } else if seen.query.contains("timestamp") {
        vec![one(json!({"node_name": "db1"}), 4)]
    } else {
        vec![one(
            json!({"job": "mysqld_exporter_hr-5s", "node_name": "db1"}),
            1,
        )]
    };
    let body = json!({"status": "success", "data": {"resultType": "vector", "result": result}});
    (200, body.to_string())
}

fn clickhouse(seen: &Seen) -> (u16, String) {
    assert_eq!(seen.method, "GET");
    if seen.query.contains("schema_migrations") {
        (200, "17\t1\n".into())
    } else {
        (200, "4321\n".into())
    }
}

async fn server(api: fn(&Seen) -> (u16, String)) -> (Ports, Vec<Double>) {
    let doubles = vec![
        Double::start(api).await,
        Double::start(victoria).await,
        Double::start(clickhouse).await,
    ];
    let ports = Ports {
        managed: doubles[0].port,
        nginx_v2: doubles[0].port,
        nginx_v3: doubles[0].port,
        qan: doubles[0].port,
        victoria: doubles[1].port,
        clickhouse: doubles[2].port,
        grafana: 1,
    };
    (ports, doubles)
}

#[tokio::test]
async fn both_majors_are_found_and_told_in_one_shape() {
    let (ports2, _two) = server(v2).await;
    let (ports3, _three) = server(v3).await;
    let two = Pmm::detect(&ports2, None).await.unwrap();
    let three = Pmm::detect(&ports3, None).await.unwrap();
    assert_eq!((two.major(), three.major()), (Major::V2, Major::V3));
    assert_eq!(two.version().full, "2.44.1-1.el9");
    assert_eq!(two.version().distribution, three.version().distribution);
    let nodes = two.nodes().await.unwrap();
    assert_eq!(nodes, three.nodes().await.unwrap());
    assert_eq!(
        two.services(&nodes).await.unwrap(),
        three.services(&nodes).await.unwrap()
    );
    assert_eq!(two.services(&nodes).await.unwrap()[0].node_name, "db1");
    assert_eq!(
        two.agents().await.unwrap().connected,
        three.agents().await.unwrap().connected
    );
    assert_eq!(two.ready().await.unwrap(), Ready::Yes);
    assert_eq!(three.ready().await.unwrap(), Ready::Yes);
}

#[tokio::test]
async fn a_migration_is_proven_by_the_two_baselines() {
    let (ports2, _two) = server(v2).await;
    let (ports3, _three) = server(v3).await;
    let access = |ports| Access {
        ports,
        ..Access::default()
    };
    let before = capture(&access(ports2), None, None, NOW).await;
    // Nothing has come since it was started: what was up before is seen still, and proves nothing.
    let since = |metrics_since| Access {
        metrics_since,
        ..access(ports3)
    };
    let silent = capture(&since(NOW + 595), None, Some(&before), NOW + 600).await;
    assert_eq!(silent.up, Some(Vec::new()));
    let after = capture(&since(NOW + 300), None, Some(&before), NOW + 600).await;
    assert_eq!(after.up, before.up);
    let history = before.history.clone().unwrap();
    // 1 h, 6 h, 1 d, 7 d, and near the oldest.
    assert_eq!(history.len(), 5);
    assert!(history[0].oldest);
    assert_eq!(after.history.as_deref(), Some(&history[..]));
    let qan = before.qan.unwrap();
    assert_eq!((qan.report, qan.table), (Some(12), Some(4321)));
    let failures = |differences: Vec<_>| -> Vec<String> {
        differences
            .into_iter()
            .filter(|d: &ferry_agent::server::baseline::Difference| d.severity == Severity::Failure)
            .map(|d| d.code)
            .collect()
    };
    assert_eq!(
        failures(compare(&before, &after, CompareMode::AcrossMajors)),
        Vec::<String>::new()
    );
    assert_eq!(
        failures(compare(&before, &after, CompareMode::SameMajor)),
        ["major"]
    );
    let mut lost = after.clone();
    lost.history.as_mut().unwrap()[2].samples -= 1;
    assert_eq!(
        failures(compare(&before, &lost, CompareMode::AcrossMajors)),
        ["history"]
    );
}

#[tokio::test]
async fn not_ready_and_maintenance_are_told_apart() {
    let status = Arc::new(AtomicU16::new(200));
    let answers = status.clone();
    let front = Double::start(move |_| match answers.load(Ordering::SeqCst) {
        500 => (
            500,
            r#"{"code":13,"error":"PMM Server is not ready yet."}"#.into(),
        ),
        503 => (503, "<html>PMM is being upgraded</html>".into()),
        other => (other, "{}".into()),
    })
    .await;
    let api = Double::start(v3).await;
    let ports = Ports {
        managed: api.port,
        nginx_v3: front.port,
        ..Ports::default()
    };
    let pmm = Pmm::detect(&ports, None).await.unwrap();
    assert_eq!(pmm.ready().await.unwrap(), Ready::Yes);
    status.store(503, Ordering::SeqCst);
    assert_eq!(pmm.ready().await.unwrap(), Ready::Maintenance);
    status.store(500, Ordering::SeqCst);
    assert_eq!(
        pmm.ready().await.unwrap(),
        Ready::NotYet("PMM Server is not ready yet.".into())
    );
    drop(front);
    tokio::task::yield_now().await;
    assert!(matches!(pmm.ready().await.unwrap(), Ready::NotYet(_)));
}

#[tokio::test]
async fn nginx_is_asked_with_credentials_where_the_inner_port_is_closed() {
    let front = Double::start(|seen| match &seen.authorization {
        Some(basic) if basic == "Basic YWRtaW46c2VjcmV0" => v2(seen),
        _ => (401, "{}".into()),
    })
    .await;
    let ports = Ports {
        managed: 1,
        nginx_v3: 1,
        nginx_v2: front.port,
        ..Ports::default()
    };
    let error = Pmm::detect(&ports, None).await.unwrap_err();
    assert_eq!(error.http_status(), Some(401));
    assert!(error.hint().unwrap().contains("administrator"));
    let pmm = Pmm::detect(&ports, Some(Credentials::new("admin", "secret")))
        .await
        .unwrap();
    assert_eq!(pmm.nodes().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_key_is_tried_at_the_door_that_is_closed_without_one() {
    let inner = Double::start(v2).await;
    let trial = async |front: fn(&Seen) -> (u16, String)| {
        let front = Double::start(front).await;
        let ports = Ports {
            managed: inner.port,
            nginx_v2: front.port,
            ..Ports::default()
        };
        let pmm = Pmm::detect(&ports, None).await.unwrap();
        pmm.try_key(&Secret::new("eyJr")).await
    };
    let accepted = trial(|seen| match seen.authorization.as_deref() {
        Some("Bearer eyJr") => v2(seen),
        _ => (401, "{}".into()),
    });
    assert_eq!(accepted.await.unwrap(), KeyAnswer::Accepted);
    for status in [401, 403] {
        let closed: fn(&Seen) -> (u16, String) = match status {
            401 => |_| (401, "{}".into()),
            _ => |_| (403, "{}".into()),
        };
        assert_eq!(trial(closed).await.unwrap(), KeyAnswer::Refused(status));
    }
    // A door that is open proves nothing, and one that is broken neither.
    assert_eq!(trial(v2).await.unwrap(), KeyAnswer::EverybodyIsLetIn);
    let error = trial(|_| (503, "<html>".into())).await.unwrap_err();
    assert!(!error.to_string().contains("eyJr"), "{error}");
}

#[tokio::test]
async fn metrics_and_queries() {
    let (ports, _doubles) = server(v3).await;
    let victoria = Victoria::on(ports.victoria);
    assert_eq!(victoria.freshness().await.unwrap()["db1"], 4);
    assert_eq!(victoria.up().await.unwrap()[0].count, 1);
    let qan = Qan::on(&ports, Major::V3);
    let schema = qan.schema().await.unwrap();
    assert_eq!((schema.version, schema.dirty), (17, true));
}

#[tokio::test]
async fn keys_are_migrated_for_each_organisation() {
    let grafana = Double::start(|seen| match seen.path.as_str() {
        "/graph/api/serviceaccounts/migrate" => {
            let failed = i32::from(seen.org.as_deref() == Some("2"));
            let body = json!({"total": 2, "migrated": 2 - failed, "failed": failed,
                "failedDetails": if failed == 1 { vec!["API key name: x - Error: y"] } else { vec![] }});
            (200, body.to_string())
        }
        _ => (404, NOT_FOUND.into()),
    })
    .await;
    let credentials = Some(Credentials::new("admin", "admin"));
    let done = migrate_keys(grafana.port, &[1, 2], credentials.clone()).await;
    assert!(done.offered);
    assert_eq!((done.total, done.migrated, done.failed), (4, 3, 1));
    assert_eq!(done.details.len(), 1);
    assert!(
        grafana
            .seen
            .lock()
            .unwrap()
            .iter()
            .all(|seen| seen.authorization.is_some())
    );

    let newer = Double::start(|_| (404, NOT_FOUND.into())).await;
    let done = migrate_keys(newer.port, &[1], credentials.clone()).await;
    assert!(!done.offered && done.refused.is_empty());
    // One that refuses does not keep the next from being asked.
    let strict = Double::start(|seen| match seen.org.as_deref() {
        Some("1") => (401, "{}".into()),
        _ => (200, json!({"total": 1, "migrated": 1}).to_string()),
    })
    .await;
    let done = migrate_keys(strict.port, &[1, 2], None).await;
    assert_eq!((done.migrated, done.refused.len()), (1, 1));
    assert_eq!(done.refused[0].0, 1);
    assert!(done.refused[0].1.contains("401"), "{:?}", done.refused);
}
