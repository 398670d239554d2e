//! The inventory as the two majors show it: other words for the same things (facts/pmm.md 3.2).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tokio_postgres::Client;

use crate::Result;
use crate::pg;

/// Everything of the three tables, as it was read at one moment.
pub(crate) struct Inventory {
    pub(crate) nodes: Vec<Value>,
    pub(crate) services: Vec<Value>,
    pub(crate) agents: Vec<Value>,
}

pub(crate) fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row.get(field).and_then(Value::as_str).unwrap_or("")
}

impl Inventory {
    pub(crate) async fn read(client: &Client) -> Result<Self> {
        Ok(Self {
            nodes: pg::rows(client, "SELECT * FROM nodes ORDER BY node_name").await?,
            services: pg::rows(client, "SELECT * FROM services ORDER BY service_name").await?,
            agents: pg::rows(client, "SELECT * FROM agents ORDER BY agent_id").await?,
        })
    }

    /// What a server shows that lost everything but itself.
    pub(crate) fn only_server(mut self) -> Self {
        self.nodes.retain(|n| text(n, "node_id") == "pmm-server");
        self.services.clear();
        self.agents.retain(|a| {
            text(a, "agent_id") == "pmm-server" || text(a, "pmm_agent_id") == "pmm-server"
        });
        self.agents.retain(|a| text(a, "service_id").is_empty());
        self
    }

    /// What a server shows that lost every other service, and some nodes with them.
    pub(crate) fn half(mut self) -> Self {
        let mut index = 0;
        self.services.retain(|_| {
            index += 1;
            index % 2 == 0
        });
        let keep = self.nodes.len().div_ceil(2);
        let server = self
            .nodes
            .iter()
            .position(|n| text(n, "node_id") == "pmm-server");
        if let Some(server) = server {
            self.nodes.swap(0, server);
        }
        self.nodes.truncate(keep);
        let has = |rows: &[Value], field: &str, id: &str| {
            id.is_empty() || rows.iter().any(|r| text(r, field) == id)
        };
        self.services
            .retain(|s| has(&self.nodes, "node_id", text(s, "node_id")));
        self.agents.retain(|a| {
            has(&self.nodes, "node_id", text(a, "node_id"))
                && has(&self.nodes, "node_id", text(a, "runs_on_node_id"))
                && has(&self.services, "service_id", text(a, "service_id"))
        });
        self
    }

    /// The pmm-agent that an agent belongs to, be it itself.
    fn owner<'a>(&'a self, agent: &'a Value) -> Option<&'a Value> {
        match (text(agent, "agent_type"), text(agent, "pmm_agent_id")) {
            ("pmm-agent", _) => Some(agent),
            (_, "") => {
                let node = text(agent, "runs_on_node_id");
                self.agents.iter().find(|a| {
                    text(a, "agent_type") == "pmm-agent" && text(a, "runs_on_node_id") == node
                })
            }
            (_, id) => self.agents.iter().find(|a| text(a, "agent_id") == id),
        }
    }

    /// The service of an agent, when it has one.
    pub(crate) fn service(&self, agent: &Value) -> Option<&Value> {
        let id = text(agent, "service_id");
        self.services.iter().find(|s| text(s, "service_id") == id)
    }

    /// The node that an agent tells about.
    pub(crate) fn node(&self, agent: &Value) -> Option<&Value> {
        let mut id = text(agent, "node_id");
        if let Some(service) = self.service(agent) {
            id = text(service, "node_id");
        }
        if id.is_empty() {
            id = text(agent, "runs_on_node_id");
        }
        self.nodes.iter().find(|n| text(n, "node_id") == id)
    }

    /// Whether an agent's client has reached this server. The server's own is there at once, others take their time.
    pub(crate) fn connected(&self, agent: &Value, clients_back: bool) -> bool {
        self.owner(agent).is_some_and(|owner| {
            text(owner, "agent_id") == "pmm-server"
                || (clients_back && text(owner, "status") == "RUNNING")
        })
    }
}

/// How answers are worded: by major, and whether the clients are back.
#[derive(Clone, Copy)]
pub(crate) struct Wording {
    pub(crate) v3: bool,
    pub(crate) clients_back: bool,
}

impl Wording {
    /// PMM 2 leaves out what is zero, PMM 3 writes it.
    fn object(self, fields: &[(&str, Value)]) -> Value {
        let empty = |v: &Value| {
            v.is_null()
                || *v == json!("")
                || *v == json!(0)
                || *v == json!(false)
                || *v == json!({})
                || *v == json!([])
        };
        fields
            .iter()
            .filter(|(_, v)| self.v3 || !empty(v))
            .map(|(k, v)| ((*k).to_owned(), v.clone()))
            .collect::<Map<_, _>>()
            .into()
    }

    fn groups(self, names: &[&str], items: impl Iterator<Item = (String, Value)>) -> Value {
        let mut groups: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        if self.v3 {
            groups.extend(names.iter().map(|n| ((*n).to_owned(), Vec::new())));
        }
        for (group, item) in items {
            groups.entry(group).or_default().push(item);
        }
        json!(groups)
    }

    pub(crate) fn nodes(self, inventory: &Inventory) -> Value {
        let names = [
            "generic",
            "container",
            "remote",
            "remote_rds",
            "remote_azure_database",
        ];
        let items = inventory.nodes.iter().map(|n| {
            let fields = [
                ("node_id", n["node_id"].clone()),
                ("node_name", n["node_name"].clone()),
                ("address", n["address"].clone()),
                ("machine_id", json!(text(n, "machine_id"))),
                ("distro", n["distro"].clone()),
                ("node_model", n["node_model"].clone()),
                ("region", json!(text(n, "region"))),
                ("az", n["az"].clone()),
                ("custom_labels", labels(n)),
            ];
            (text(n, "node_type").to_owned(), self.object(&fields))
        });
        self.groups(&names, items)
    }

    pub(crate) fn services(self, inventory: &Inventory) -> Value {
        let mut names = vec![
            "mysql",
            "mongodb",
            "postgresql",
            "proxysql",
            "haproxy",
            "external",
        ];
        if self.v3 {
            names.push("valkey");
        }
        let items = inventory.services.iter().map(|s| {
            let fields = [
                ("service_id", s["service_id"].clone()),
                ("service_name", s["service_name"].clone()),
                ("node_id", s["node_id"].clone()),
                ("address", json!(text(s, "address"))),
                ("port", s["port"].clone()),
                ("socket", json!(text(s, "socket"))),
                ("environment", s["environment"].clone()),
                ("cluster", s["cluster"].clone()),
                ("replication_set", s["replication_set"].clone()),
                ("custom_labels", labels(s)),
            ];
            (text(s, "service_type").to_owned(), self.object(&fields))
        });
        self.groups(&names, items)
    }

    pub(crate) fn agents(self, inventory: &Inventory) -> Value {
        let names = [
            "pmm_agent",
            "vm_agent",
            "node_exporter",
            "mysqld_exporter",
            "mongodb_exporter",
            "postgres_exporter",
            "proxysql_exporter",
            "qan_mysql_perfschema_agent",
            "qan_mysql_slowlog_agent",
            "qan_mongodb_profiler_agent",
            "qan_postgresql_pgstatements_agent",
            "qan_postgresql_pgstatmonitor_agent",
            "rds_exporter",
            "external_exporter",
            "azure_database_exporter",
        ];
        let items = inventory.agents.iter().map(|a| {
            let connected = inventory.connected(a, self.clients_back);
            let group = match text(a, "agent_type") {
                "vmagent" => "vm_agent".to_owned(),
                other => other.replace('-', "_"),
            };
            let mut fields = vec![
                ("agent_id", a["agent_id"].clone()),
                ("runs_on_node_id", json!(text(a, "runs_on_node_id"))),
                ("custom_labels", labels(a)),
            ];
            if group == "pmm_agent" {
                fields.push(("connected", json!(connected)));
            } else {
                let status = if connected { "RUNNING" } else { "UNKNOWN" };
                let status = if self.v3 {
                    format!("AGENT_STATUS_{status}")
                } else {
                    status.to_owned()
                };
                fields.extend([
                    ("pmm_agent_id", json!(text(a, "pmm_agent_id"))),
                    ("node_id", json!(text(a, "node_id"))),
                    ("service_id", json!(text(a, "service_id"))),
                    ("username", json!(text(a, "username"))),
                    ("disabled", a["disabled"].clone()),
                    ("listen_port", a["listen_port"].clone()),
                    ("status", json!(status)),
                ]);
            }
            (group, self.object(&fields))
        });
        self.groups(&names, items)
    }

    /// The lists that the user interface is made from, with each item's agents beside it.
    pub(crate) fn managed_nodes(self, inventory: &Inventory) -> Value {
        let nodes: Vec<_> = inventory
            .nodes
            .iter()
            .map(|n| {
                let id = text(n, "node_id");
                let agents = inventory
                    .agents
                    .iter()
                    .filter(|a| text(a, "node_id") == id || text(a, "runs_on_node_id") == id);
                let services = inventory
                    .services
                    .iter()
                    .filter(|s| text(s, "node_id") == id)
                    .map(|s| {
                        self.object(&[
                            ("service_id", s["service_id"].clone()),
                            ("service_type", s["service_type"].clone()),
                            ("service_name", s["service_name"].clone()),
                        ])
                    });
                self.object(&[
                    ("node_id", n["node_id"].clone()),
                    ("node_type", n["node_type"].clone()),
                    ("node_name", n["node_name"].clone()),
                    ("machine_id", json!(text(n, "machine_id"))),
                    ("address", n["address"].clone()),
                    ("distro", n["distro"].clone()),
                    ("custom_labels", labels(n)),
                    ("created_at", n["created_at"].clone()),
                    ("updated_at", n["updated_at"].clone()),
                    (
                        "agents",
                        agents.map(|a| self.universal(inventory, a)).collect(),
                    ),
                    ("services", services.collect()),
                ])
            })
            .collect();
        json!({ "nodes": nodes })
    }

    pub(crate) fn managed_services(self, inventory: &Inventory) -> Value {
        let services: Vec<_> = inventory
            .services
            .iter()
            .map(|s| {
                let id = text(s, "service_id");
                let agents = inventory
                    .agents
                    .iter()
                    .filter(|a| text(a, "service_id") == id);
                let node = inventory
                    .nodes
                    .iter()
                    .find(|n| n["node_id"] == s["node_id"]);
                self.object(&[
                    ("service_id", s["service_id"].clone()),
                    ("service_type", s["service_type"].clone()),
                    ("service_name", s["service_name"].clone()),
                    ("database_name", s["database_name"].clone()),
                    ("node_id", s["node_id"].clone()),
                    (
                        "node_name",
                        node.map_or(Value::Null, |n| n["node_name"].clone()),
                    ),
                    ("environment", s["environment"].clone()),
                    ("cluster", s["cluster"].clone()),
                    ("replication_set", s["replication_set"].clone()),
                    ("custom_labels", labels(s)),
                    ("external_group", s["external_group"].clone()),
                    ("address", json!(text(s, "address"))),
                    ("port", s["port"].clone()),
                    (
                        "agents",
                        agents.map(|a| self.universal(inventory, a)).collect(),
                    ),
                ])
            })
            .collect();
        json!({ "services": services })
    }

    pub(crate) fn managed_agents(self, inventory: &Inventory) -> Value {
        let agents: Vec<_> = inventory
            .agents
            .iter()
            .map(|a| self.universal(inventory, a))
            .collect();
        json!({ "agents": agents })
    }

    fn universal(self, inventory: &Inventory, agent: &Value) -> Value {
        let connected = inventory.connected(agent, self.clients_back);
        let status = if connected { "RUNNING" } else { "UNKNOWN" };
        self.object(&[
            ("agent_id", agent["agent_id"].clone()),
            ("agent_type", agent["agent_type"].clone()),
            (
                "is_connected",
                json!(connected && text(agent, "agent_type") == "pmm-agent"),
            ),
            (
                "status",
                json!(if self.v3 {
                    format!("AGENT_STATUS_{status}")
                } else {
                    status.to_owned()
                }),
            ),
            ("disabled", agent["disabled"].clone()),
            ("pmm_agent_id", json!(text(agent, "pmm_agent_id"))),
            ("runs_on_node_id", json!(text(agent, "runs_on_node_id"))),
            ("service_id", json!(text(agent, "service_id"))),
            ("node_id", json!(text(agent, "node_id"))),
        ])
    }

    /// Who is behind: clients stay at the old major after their server moved on.
    pub(crate) fn versions(self, inventory: &Inventory, server: &str) -> Value {
        let agents: Vec<_> = inventory
            .agents
            .iter()
            .filter(|a| text(a, "agent_type") == "pmm-agent")
            .map(|a| {
                let own = text(a, "agent_id") == "pmm-server";
                let version = if own { server } else { text(a, "version") };
                let severity = match (version == server, version.starts_with('2')) {
                    (true, _) => "UP_TO_DATE",
                    (false, true) => "CRITICAL",
                    (false, false) => "REQUIRED",
                };
                json!({
                    "agent_id": a["agent_id"], "version": version,
                    "node_name": inventory.node(a).map_or("", |n| text(n, "node_name")),
                    "severity": format!("UPDATE_SEVERITY_{severity}"),
                })
            })
            .collect();
        json!({ "agent_versions": agents })
    }
}

pub(crate) fn labels(row: &Value) -> Value {
    serde_json::from_str(text(row, "custom_labels")).unwrap_or_else(|_| json!({}))
}
