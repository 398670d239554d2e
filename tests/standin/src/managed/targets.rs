//! What is scraped, and under which labels: series carry ids, so those written before a migration and after it are not the same.

use serde_json::{Map, Value, json};

use super::inventory::{Inventory, Wording, labels, text};
use crate::product::Product;

/// Series that are being written now, each `{"labels": {...}, "value": n}`.
pub(crate) fn series(inventory: &Inventory, wording: Wording, product: &Product) -> Vec<Value> {
    let mut all = Vec::new();
    let mut own = vec![
        "victoriametrics",
        "vmalert",
        "grafana",
        "pmm-managed",
        "qan-api2",
        "clickhouse",
    ];
    if !product.is_v3() {
        own.push("alertmanager");
    }
    for job in own {
        all.push(one("up", &[("job", job), ("instance", "pmm-server")], 1.0));
    }
    for node in &inventory.nodes {
        let fields = ["node_id", "node_name", "node_type"].map(|f| (f, text(node, f)));
        all.push(one("pmm_managed_inventory_nodes", &fields, 1.0));
    }
    for service in &inventory.services {
        let fields = ["service_id", "service_name", "service_type", "node_id"]
            .map(|f| (f, text(service, f)));
        all.push(one("pmm_managed_inventory_services", &fields, 1.0));
    }
    for agent in &inventory.agents {
        let connected = inventory.connected(agent, wording.clients_back);
        let node = inventory.node(agent);
        let mut fields = [
            "agent_id",
            "agent_type",
            "service_id",
            "node_id",
            "pmm_agent_id",
            "version",
        ]
        .map(|f| (f, text(agent, f)))
        .to_vec();
        fields.push(("node_name", node.map_or("", |n| text(n, "node_name"))));
        fields.push((
            "disabled",
            if agent["disabled"] == json!(true) {
                "1"
            } else {
                "0"
            },
        ));
        all.push(one(
            "pmm_managed_inventory_agents",
            &fields,
            f64::from(u8::from(connected)),
        ));
        if connected {
            scraped(&mut all, inventory, agent);
        }
    }
    all
}

/// The exporter's own series. An exporter whose client is away writes nothing at all, rather than `up 0`.
fn scraped(all: &mut Vec<Value>, inventory: &Inventory, agent: &Value) {
    let kind = text(agent, "agent_type");
    if !kind.contains("exporter") {
        return;
    }
    let id = text(agent, "agent_id");
    let glue = if id.starts_with('/') { "" } else { "_" };
    let job = format!("{kind}{glue}{}_hr-5s", id.replace('/', "_"));
    let mut fields = vec![
        ("job", job.as_str()),
        ("instance", id),
        ("agent_id", id),
        ("agent_type", kind),
    ];
    let node = inventory.node(agent);
    if let Some(node) = node {
        fields.extend(["node_id", "node_name", "node_type"].map(|f| (f, text(node, f))));
    }
    let service = inventory.service(agent);
    if let Some(service) = service {
        let names = [
            "service_id",
            "service_name",
            "service_type",
            "environment",
            "cluster",
        ];
        fields.extend(names.map(|f| (f, text(service, f))));
    }
    let custom = labels(service.or(node).unwrap_or(&Value::Null));
    for (name, value) in custom.as_object().into_iter().flatten() {
        fields.push((name, value.as_str().unwrap_or("")));
    }
    all.push(one("up", &fields, 1.0));
    if kind == "node_exporter" {
        all.push(one("node_boot_time_seconds", &fields, 1_760_000_000.0));
    }
    if kind == "mysqld_exporter" {
        all.push(one("mysql_up", &fields, 1.0));
    }
}

fn one(name: &str, fields: &[(&str, &str)], value: f64) -> Value {
    let mut labels = Map::new();
    labels.insert("__name__".to_owned(), json!(name));
    for (field, value) in fields.iter().filter(|(_, v)| !v.is_empty()) {
        labels.insert((*field).to_owned(), json!(value));
    }
    json!({ "labels": labels, "value": value })
}
