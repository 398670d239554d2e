//! The inventory of a server that has been in use: what a migration has to bring across.

use std::io::Read;

use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::Result;
use crate::pg;

const NOW: &str = "2026-03-01 10:00:00";

/// A random id: two servers never share one, so a server that was made afresh is told from one that was carried.
pub(crate) fn uuid() -> Result<String> {
    let mut bytes = [0u8; 16];
    fs_err::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    Ok([
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-"))
}

/// Rows as they are gathered before they go to the database in three statements.
struct Rows {
    prefixed: bool,
    version: String,
    nodes: Vec<Value>,
    services: Vec<Value>,
    agents: Vec<Value>,
}

impl Rows {
    fn id(&self, kind: &str) -> Result<String> {
        let id = uuid()?;
        Ok(if self.prefixed {
            format!("/{kind}/{id}")
        } else {
            id
        })
    }

    fn node(&mut self, id: &str, name: &str, kind: &str, address: &str) -> Result<()> {
        let machine = uuid()?.replace('-', "");
        let machine = if self.prefixed {
            format!("/machine_id/{machine}")
        } else {
            machine
        };
        self.nodes.push(json!({
            "node_id": id, "node_type": kind, "node_name": name, "machine_id": machine, "distro": "linux",
            "node_model": "", "az": "", "region": null, "address": address,
            "custom_labels": format!(r#"{{"rack":"r{}"}}"#, self.nodes.len() % 7),
            "created_at": NOW, "updated_at": NOW,
        }));
        Ok(())
    }

    fn agent(&mut self, id: &str, kind: &str, status: &str, links: &Value) {
        let own = json!({
            "agent_id": id, "agent_type": kind, "disabled": false, "status": status, "tls": false,
            "tls_skip_verify": false, "push_metrics": true, "max_query_length": 2048,
            "created_at": NOW, "updated_at": NOW,
        });
        let mut row = own;
        if let (Some(row), Some(links)) = (row.as_object_mut(), links.as_object()) {
            row.extend(links.clone());
            if kind == "pmm-agent" {
                row.insert("version".to_owned(), json!(self.version));
            }
        }
        self.agents.push(row);
    }

    /// A node with its pmm-agent, vmagent and node_exporter; the id of the pmm-agent.
    fn monitored_node(&mut self, name: &str, index: usize, up: bool) -> Result<(String, String)> {
        let node = self.id("node_id")?;
        let kind = if index % 5 == 4 {
            "container"
        } else {
            "generic"
        };
        let address = format!("10.20.{}.{}", index / 250, index % 250 + 1);
        self.node(&node, name, kind, &address)?;
        let status = if up { "RUNNING" } else { "UNKNOWN" };
        let agent = self.id("agent_id")?;
        self.agent(
            &agent,
            "pmm-agent",
            status,
            &json!({ "runs_on_node_id": node }),
        );
        for kind in ["vmagent", "node_exporter"] {
            let id = self.id("agent_id")?;
            let links = json!({ "pmm_agent_id": agent, "node_id": node, "listen_port": 42000 + self.agents.len() % 9999 });
            self.agent(&id, kind, status, &links);
        }
        Ok((node, agent))
    }

    fn service(&mut self, index: usize, node: &str, agent: &str, up: bool) -> Result<()> {
        let (kind, exporter, qan, port) = match index % 6 {
            0 | 1 => (
                "mysql",
                "mysqld_exporter",
                Some("qan-mysql-perfschema-agent"),
                3306,
            ),
            2 => (
                "mongodb",
                "mongodb_exporter",
                Some("qan-mongodb-profiler-agent"),
                27017,
            ),
            3 => (
                "postgresql",
                "postgres_exporter",
                Some("qan-postgresql-pgstatements-agent"),
                5432,
            ),
            4 => ("proxysql", "proxysql_exporter", None, 6032),
            _ => ("external", "external-exporter", None, 9100),
        };
        let id = self.id("service_id")?;
        let group = if kind == "external" { "external" } else { "" };
        self.services.push(json!({
            "service_id": id, "service_type": kind, "service_name": format!("{kind}-{index:04}"), "node_id": node,
            "environment": if index.is_multiple_of(3) { "prod" } else { "" }, "cluster": format!("cluster-{}", index % 4),
            "replication_set": "", "address": "127.0.0.1", "port": port, "database_name": "", "external_group": group,
            "custom_labels": if index.is_multiple_of(2) { json!(r#"{"team":"dba"}"#) } else { Value::Null },
            "created_at": NOW, "updated_at": NOW,
        }));
        let status = if up { "RUNNING" } else { "UNKNOWN" };
        for kind in std::iter::once(exporter).chain(qan) {
            let agent_id = self.id("agent_id")?;
            let mut links = json!({
                "pmm_agent_id": agent, "service_id": id, "username": "pmm", "password": format!("secret-{index}"),
                "listen_port": 42000 + self.agents.len() % 9999,
            });
            if kind == "external-exporter" {
                links = json!({ "runs_on_node_id": node, "service_id": id, "listen_port": 9100, "metrics_path": "/metrics", "metrics_scheme": "http" });
            }
            self.agent(&agent_id, kind, status, &links);
        }
        Ok(())
    }
}

/// Fills an unused database: the server itself, and beside it `nodes` and `services` in all.
///
/// From four nodes on, the last one is out of reach, as there is always one in the field.
pub(crate) async fn inventory(
    client: &Client,
    prefixed: bool,
    version: &str,
    nodes: usize,
    services: usize,
) -> Result<()> {
    let mut rows = Rows {
        prefixed,
        version: version.to_owned(),
        nodes: Vec::new(),
        services: Vec::new(),
        agents: Vec::new(),
    };
    // The server's own node and agent are the ones with names for ids.
    rows.node("pmm-server", "pmm-server", "generic", "127.0.0.1")?;
    rows.agent(
        "pmm-server",
        "pmm-agent",
        "RUNNING",
        &json!({ "runs_on_node_id": "pmm-server" }),
    );
    let exporter = rows.id("agent_id")?;
    let links =
        json!({ "pmm_agent_id": "pmm-server", "node_id": "pmm-server", "listen_port": 42000 });
    rows.agent(&exporter, "node_exporter", "RUNNING", &links);
    let mut hosts = Vec::new();
    for index in 1..nodes {
        let up = nodes < 4 || index + 1 < nodes;
        let (node, agent) = rows.monitored_node(&format!("db-{index:03}"), index, up)?;
        hosts.push((node, agent, up));
    }
    for index in 0..services {
        let (node, agent, up) = match hosts.len() {
            0 => ("pmm-server".to_owned(), "pmm-server".to_owned(), true),
            n => hosts[index % n].clone(),
        };
        rows.service(index, &node, &agent, up)?;
    }
    pg::insert(client, "nodes", &rows.nodes).await?;
    pg::insert(client, "services", &rows.services).await?;
    pg::insert(client, "agents", &rows.agents).await?;
    Ok(())
}

/// What else a used PMM 2 has: some of it is dropped on the way to 3, which a migration must say beforehand.
pub(crate) async fn extras(client: &Client) -> Result<()> {
    let service: Option<String> = client
        .query_opt(
            "SELECT service_id FROM services ORDER BY service_name LIMIT 1",
            &[],
        )
        .await?
        .map(|row| row.get(0));
    let (location, task, template) = (uuid()?, uuid()?, uuid()?);
    pg::insert(client, "backup_locations", &[json!({
        "id": format!("/location_id/{location}"), "name": "s3-weekly", "description": "", "type": "s3",
        "s3_config": { "endpoint": "https://s3.example.com", "bucket_name": "pmm" }, "created_at": NOW, "updated_at": NOW,
    })]).await?;
    pg::insert(client, "scheduled_tasks", &[json!({
        "id": format!("/scheduled_task_id/{task}"), "cron_expression": "0 3 * * 0", "type": "mysql_backup",
        "data": { "mysql_backup": { "service_id": service, "location_id": format!("/location_id/{location}") } },
        "disabled": false, "running": false, "error": "", "created_at": NOW, "updated_at": NOW,
    })]).await?;
    pg::insert(client, "ia_templates", &[json!({
        "name": "pmm_mysql_down", "version": 1, "summary": "MySQL is down", "source": "USER_API",
        "yaml": "templates: []\n", "created_at": NOW, "updated_at": NOW,
    })]).await?;
    pg::insert(client, "ia_channels", &[json!({
        "id": format!("/channel_id/{template}"), "summary": "on call", "type": "email", "disabled": false, "created_at": NOW,
    })]).await?;
    Ok(())
}
