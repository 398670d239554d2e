//! What a person reads of a server's clients.

use ferry_proto::v1::{ClientFacts, ClientsFacts};

use super::*;
use crate::clients::clients;

fn client(node: &str, version: &str, services: u32) -> ClientFacts {
    ClientFacts {
        agent_id: format!("id-of-{node}"),
        node: node.into(),
        node_kind: "generic".into(),
        address: "10.0.0.1".into(),
        version: version.into(),
        connected: services > 0,
        services,
    }
}

fn told(version: &str, all: Vec<ClientFacts>, versions_unobserved: &str) -> Facts {
    let mut facts = samples::facts();
    facts.server.as_mut().unwrap().version = version.into();
    facts.clients = Some(ClientsFacts {
        clients: all,
        versions_unobserved: versions_unobserved.into(),
    });
    facts
}

fn shown(facts: &Facts) -> String {
    let version = &facts.server.as_ref().unwrap().version;
    let why = &facts.clients.as_ref().unwrap().versions_unobserved;
    let address = "docker:pmm-server";
    let all = clients(facts, address);
    let server = (address, version.as_str());
    let mut text = both(|look| super::super::clients(&all, server, why, look));
    text.push_str("── JSON\n");
    text.push_str(&json::clients(&all));
    text
}

#[test]
fn clients_of_each_kind_the_worst_first() {
    let all = vec![
        client("db-02", "3.8.1", 3),
        client("db-01", "2.44.1", 1204),
        client(
            "a-node-with-quite-a-long-name.of.some.domain.example",
            "3.7.0",
            0,
        ),
        client("db\x1b[2J", "", 1),
        client("db-00", "2.41.0", 0),
        client("db-03", "3.9.0", 1),
    ];
    insta::assert_snapshot!(shown(&told("3.8.1", all, "")));
}

#[test]
fn many_clients_that_can_be_upgraded() {
    let all = ["db-01", "db-02", "db-03", "db-04", "db-05"];
    let all = all.map(|node| client(node, "2.44.1", 1)).into();
    insta::assert_snapshot!(shown(&told("3.8.1", all, "")));
}

#[test]
fn clients_whose_versions_nobody_tells() {
    let all = vec![client("db-01", "", 2)];
    insta::assert_snapshot!(shown(&told(
        "2.44.1",
        all,
        "VictoriaMetrics does not answer on port 9090"
    )));
}

#[test]
fn a_server_without_clients() {
    insta::assert_snapshot!(shown(&told("3.8.1", Vec::new(), "")));
}
