//! The clients: the pmm-agents on other hosts, with the versions that they run.
//!
//! Why two ways to the versions: PMM 3 has a list of them, PMM 2 tells them as a label of a metric about itself
//! (`facts/pmm.md` 5.2). Where neither answers the clients are listed all the same: who is there is known without.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::Result;
use super::super::victoria::Victoria;
use super::inventory::{entries, id};
use super::{Major, Node, PMM_SERVER, Pmm, normal_id};

/// One pmm-agent that is not the server's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Client {
    /// The name of its node; the node's id where the node is not listed.
    pub node_name: String,
    /// Its id, without a prefix.
    pub agent_id: String,
    /// What the node is: `generic`, `container`, …
    pub node_kind: String,
    /// The node's address.
    pub address: String,
    /// Its version; `None` where the server does not tell.
    pub version: Option<String>,
    /// Whether it is connected.
    pub connected: bool,
    /// How many services it looks after.
    pub services: usize,
}

/// Versions by agent id.
type Versions = BTreeMap<String, String>;

impl Pmm {
    /// All clients, sorted by node.
    ///
    /// # Errors
    /// As [`Self::nodes`]. That versions cannot be had is no error: they are asked for by [`Self::client_versions`].
    pub async fn clients(&self, versions: &BTreeMap<String, String>) -> Result<Vec<Client>> {
        let nodes = self.nodes().await?;
        Ok(parse_clients(&self.list("agents").await?, &nodes, versions))
    }

    /// The versions of all pmm-agents, by their ids without prefixes.
    ///
    /// # Errors
    /// Neither the API nor the metrics tell them.
    pub async fn client_versions(&self, metrics: &Victoria) -> Result<BTreeMap<String, String>> {
        if self.major() == Major::V3
            && let Ok(answer) = self.api().get_json("/v1/management/agents/versions").await
        {
            return Ok(parse_versions(&answer));
        }
        let told = "pmm_managed_inventory_agents{version!=\"\"}";
        let samples = metrics.query(told, None).await?;
        let versions = samples.into_iter().filter_map(|(mut labels, _)| {
            let agent = labels.remove("agent_id")?;
            Some((normal_id(&agent).to_owned(), labels.remove("version")?))
        });
        Ok(versions.collect())
    }
}

fn parse_versions(answer: &Value) -> Versions {
    let told = answer.get("agent_versions").and_then(Value::as_array);
    told.into_iter()
        .flatten()
        .map(|entry| {
            let version = entry.get("version").and_then(Value::as_str);
            (
                id(entry, "agent_id"),
                version.unwrap_or_default().to_owned(),
            )
        })
        .filter(|(_, version)| !version.is_empty())
        .collect()
}

fn parse_clients(answer: &Value, nodes: &[Node], versions: &Versions) -> Vec<Client> {
    let mut services: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, entry) in entries(answer) {
        let service = id(entry, "service_id");
        if !service.is_empty() {
            let of = services.entry(id(entry, "pmm_agent_id")).or_default();
            of.insert(service);
        }
    }
    let agents = entries(answer).filter(|(kind, _)| *kind == "pmm_agent");
    let mut clients: Vec<Client> = agents
        .map(|(_, entry)| {
            let agent_id = id(entry, "agent_id");
            let node_id = id(entry, "runs_on_node_id");
            let node = nodes.iter().find(|node| node.id == node_id);
            let of_node = |text: fn(&Node) -> &String| node.map(text).cloned().unwrap_or_default();
            Client {
                node_kind: of_node(|node| &node.kind),
                address: of_node(|node| &node.address),
                node_name: node.map_or(node_id, |node| node.name.clone()),
                version: versions.get(&agent_id).cloned(),
                connected: entry.get("connected").and_then(Value::as_bool) == Some(true),
                services: services.get(&agent_id).map_or(0, BTreeSet::len),
                agent_id,
            }
        })
        .filter(|client| client.agent_id != PMM_SERVER)
        .collect();
    clients.sort();
    clients
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nodes() -> Vec<Node> {
        vec![Node {
            name: "db-01".into(),
            kind: "container".into(),
            address: "10.0.0.1".into(),
            id: "n1".into(),
        }]
    }

    #[test]
    fn both_majors_give_the_same_clients() {
        let v2 = json!({
            "pmm_agent": [
                {"agent_id": "pmm-server", "runs_on_node_id": "pmm-server", "connected": true},
                {"agent_id": "/agent_id/a", "runs_on_node_id": "/node_id/n1", "connected": true},
                {"agent_id": "/agent_id/b", "runs_on_node_id": "/node_id/gone"}],
            "mysqld_exporter": [{"agent_id": "/agent_id/c", "pmm_agent_id": "/agent_id/a", "service_id": "/service_id/s"}],
            "qan_mysql_perfschema_agent":
                [{"agent_id": "/agent_id/d", "pmm_agent_id": "/agent_id/a", "service_id": "/service_id/s"}]
        });
        let v3 = json!({
            "pmm_agent": [
                {"agent_id": "b", "runs_on_node_id": "gone", "connected": false},
                {"agent_id": "a", "runs_on_node_id": "n1", "connected": true}],
            "mysqld_exporter": [{"agent_id": "c", "pmm_agent_id": "a", "service_id": "s"}],
            "valkey_exporter": []
        });
        let versions = Versions::from([("a".to_owned(), "2.44.1".to_owned())]);
        let clients = parse_clients(&v2, &nodes(), &versions);
        assert_eq!(clients, parse_clients(&v3, &nodes(), &versions));
        let expected = Client {
            node_name: "db-01".into(),
            agent_id: "a".into(),
            node_kind: "container".into(),
            address: "10.0.0.1".into(),
            version: Some("2.44.1".into()),
            connected: true,
            services: 1,
        };
        assert_eq!(clients[0], expected);
        assert_eq!(clients[1].node_name, "gone");
        assert_eq!((&clients[1].version, clients.len()), (&None, 2));
    }

    #[test]
    fn versions_are_those_that_are_told() {
        let answer = json!({"agent_versions": [
            {"agent_id": "/agent_id/a", "version": "2.44.1", "node_name": "db", "severity": "UPDATE_SEVERITY_CRITICAL"},
            {"agent_id": "b", "version": ""}, {"agent_id": "c"}]});
        let expected = Versions::from([("a".to_owned(), "2.44.1".to_owned())]);
        assert_eq!(parse_versions(&answer), expected);
        assert_eq!(parse_versions(&json!({})), Versions::new());
    }
}
