//! The inventory: nodes, services, agents.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::Result;
use super::super::http::number;
use super::normal::normal_id;
use super::{Major, Pmm};

/// The id that the server's own node and pmm-agent have, and the node's name.
pub const PMM_SERVER: &str = "pmm-server";

/// A node.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// `generic`, `container`, `remote`, `remote_rds`, `remote_azure_database`.
    pub kind: String,
    /// Its address.
    pub address: String,
    /// Its id, without a prefix.
    pub id: String,
}

/// A service.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// `mysql`, `mongodb`, `postgresql`, `proxysql`, `haproxy`, `external`, …
    pub kind: String,
    /// The name of its node; the node's id where the node is not listed.
    pub node_name: String,
    /// Its address.
    pub address: String,
    /// Its port; 0 where it has none.
    pub port: u64,
    /// Its socket.
    pub socket: String,
    /// Its environment.
    pub environment: String,
    /// Its cluster.
    pub cluster: String,
    /// Its replication set.
    pub replication_set: String,
    /// Its id, without a prefix.
    pub id: String,
}

/// How many agents of a kind there are.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct AgentCount {
    /// All of them.
    pub total: u64,
    /// Those that are switched off.
    pub disabled: u64,
    /// Those that the server runs for itself, of which each release has others.
    pub of_server: u64,
}

/// The agents.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Agents {
    /// By kind, such as `node_exporter`. PMM 3 lists kinds of which there are none too.
    pub by_kind: BTreeMap<String, AgentCount>,
    /// The ids of the pmm-agents that are connected, without prefixes, sorted.
    pub connected: Vec<String>,
}

impl Pmm {
    pub(super) async fn list(&self, what: &str) -> Result<Value> {
        match self.major() {
            Major::V2 => {
                let name = match what {
                    "nodes" => "Nodes",
                    "services" => "Services",
                    _ => "Agents",
                };
                self.api()
                    .post_json(&format!("/v1/inventory/{name}/List"), &json!({}))
                    .await
            }
            Major::V3 => self.api().get_json(&format!("/v1/inventory/{what}")).await,
        }
    }

    /// All nodes, sorted.
    ///
    /// # Errors
    /// The API cannot be reached, refuses, or answers something else.
    pub async fn nodes(&self) -> Result<Vec<Node>> {
        Ok(parse_nodes(&self.list("nodes").await?))
    }

    /// All services, sorted, with the names of the nodes given.
    ///
    /// # Errors
    /// As [`Self::nodes`].
    pub async fn services(&self, nodes: &[Node]) -> Result<Vec<Service>> {
        Ok(parse_services(&self.list("services").await?, nodes))
    }

    /// All agents.
    ///
    /// # Errors
    /// As [`Self::nodes`].
    pub async fn agents(&self) -> Result<Agents> {
        Ok(parse_agents(&self.list("agents").await?))
    }
}

/// The entries of an answer, which is an object of lists by kind.
pub(super) fn entries(answer: &Value) -> impl Iterator<Item = (&String, &Value)> {
    answer
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(kind, list)| Some((kind, list.as_array()?)))
        .flat_map(|(kind, list)| list.iter().map(move |entry| (kind, entry)))
}

fn text(entry: &Value, key: &str) -> String {
    entry
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

pub(super) fn id(entry: &Value, key: &str) -> String {
    normal_id(&text(entry, key)).to_owned()
}

fn parse_nodes(answer: &Value) -> Vec<Node> {
    let mut nodes: Vec<Node> = entries(answer)
        .map(|(kind, entry)| Node {
            name: text(entry, "node_name"),
            kind: kind.clone(),
            address: text(entry, "address"),
            id: id(entry, "node_id"),
        })
        .collect();
    nodes.sort();
    nodes
}

fn parse_services(answer: &Value, nodes: &[Node]) -> Vec<Service> {
    let mut services: Vec<Service> = entries(answer)
        .map(|(kind, entry)| {
            let node_id = id(entry, "node_id");
            let node = nodes.iter().find(|node| node.id == node_id);
            Service {
                name: text(entry, "service_name"),
                kind: kind.clone(),
                node_name: node.map_or(node_id, |node| node.name.clone()),
                address: text(entry, "address"),
                port: entry.get("port").and_then(number).unwrap_or_default(),
                socket: text(entry, "socket"),
                environment: text(entry, "environment"),
                cluster: text(entry, "cluster"),
                replication_set: text(entry, "replication_set"),
                id: id(entry, "service_id"),
            }
        })
        .collect();
    services.sort();
    services
}

fn parse_agents(answer: &Value) -> Agents {
    let mut agents = Agents::default();
    let flag = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_bool) == Some(true);
    for (kind, list) in answer.as_object().into_iter().flatten() {
        if list.is_array() {
            agents.by_kind.entry(kind.clone()).or_default();
        }
    }
    for (kind, entry) in entries(answer) {
        let count = agents.by_kind.entry(kind.clone()).or_default();
        count.total += 1;
        count.disabled += u64::from(flag(entry, "disabled"));
        count.of_server += u64::from(id(entry, "pmm_agent_id") == PMM_SERVER);
        if kind == "pmm_agent" && flag(entry, "connected") {
            agents.connected.push(id(entry, "agent_id"));
        }
    }
    agents.connected.sort();
    agents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_majors_give_the_same_inventory() {
        let v2 = json!({"generic": [{"node_id": "/node_id/1", "node_name": "db", "address": "10.0.0.1"}]});
        let v3 = json!({"generic": [{"node_id": "1", "node_name": "db", "address": "10.0.0.1", "region": ""}],
                        "remote": []});
        let nodes = parse_nodes(&v2);
        assert_eq!(nodes, parse_nodes(&v3));
        let v2 = json!({"mysql": [{"service_id": "/service_id/2", "service_name": "m", "node_id": "/node_id/1",
                                   "address": "10.0.0.1", "port": 3306}]});
        let v3 = json!({"mysql": [{"service_id": "2", "service_name": "m", "node_id": "1", "address": "10.0.0.1",
                                   "port": 3306, "socket": "", "cluster": ""}], "valkey": []});
        let services = parse_services(&v2, &nodes);
        assert_eq!(services, parse_services(&v3, &nodes));
        assert_eq!(services[0].node_name, "db");
    }

    #[test]
    fn agents_are_counted() {
        let agents = parse_agents(&json!({
            "pmm_agent": [{"agent_id": "/agent_id/b", "connected": true}, {"agent_id": "a"}],
            "node_exporter": [{"agent_id": "c", "disabled": true}, {"agent_id": "d", "pmm_agent_id": "pmm-server"}], "nomad_agent": []
        }));
        assert_eq!(agents.connected, ["b"]);
        assert_eq!(agents.by_kind["pmm_agent"].total, 2);
        let expected = AgentCount {
            total: 2,
            disabled: 1,
            of_server: 1,
        };
        assert_eq!(agents.by_kind["node_exporter"], expected);
        assert_eq!(agents.by_kind["nomad_agent"].total, 0);
    }
}
