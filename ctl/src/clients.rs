//! A server's clients, and what is to be done with each: by its version beside the server's (`facts/pmm.md` 5.3). Pure.
//!
//! Why it is told for both majors: before a crossing it says who will be left behind, afterwards who still is.

use ferry_proto::v1::{ClientFacts, Facts};
use serde::Serialize;

use crate::recipes::Version;

/// How a client stands to its server. The words are those that PMM 3 itself uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Of an older major version: it sends metrics and queries, and nothing on it can be changed any more.
    Critical,
    /// Newer than the server, which no release promises to understand.
    Unsupported,
    /// Older than the server, of the same major version.
    Required,
    /// The server does not tell its version.
    Unknown,
    /// As new as the server.
    UpToDate,
}

impl Severity {
    /// All, the worst first.
    pub const ALL: [Self; 5] = [
        Self::Critical,
        Self::Unsupported,
        Self::Required,
        Self::Unknown,
        Self::UpToDate,
    ];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Unsupported => "unsupported",
            Self::Required => "required",
            Self::Unknown => "unknown",
            Self::UpToDate => "up to date",
        }
    }

    /// What is to be done with a client of this kind; empty when nothing is.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Critical => {
                "install `pmm-client` 3 on its host. Until then it sends metrics and Query Analytics, but `pmm-admin` on it can add, \
                 change and remove nothing. A client in a container that sets itself up (`PMM_AGENT_SETUP=1`) fails at its next start"
            }
            Self::Unsupported => {
                "it is newer than the server: bring the server to its version, or the client back"
            }
            Self::Required => "upgrade its `pmm-client` to the server's version when it suits",
            Self::Unknown => "`pmm-admin status` on its host says which version it is",
            Self::UpToDate => "",
        }
    }

    /// Of two versions.
    #[must_use]
    pub fn of(client: &str, server: &str) -> Self {
        let (Some(client), Some(server)) = (Version::parse(client), Version::parse(server)) else {
            return Self::Unknown;
        };
        match client.cmp(&server) {
            std::cmp::Ordering::Equal => Self::UpToDate,
            std::cmp::Ordering::Greater => Self::Unsupported,
            std::cmp::Ordering::Less if client.major < server.major => Self::Critical,
            std::cmp::Ordering::Less => Self::Required,
        }
    }
}

/// One client.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Client {
    /// How it stands to the server.
    pub severity: Severity,
    /// The node that it runs on.
    pub node: String,
    /// Its pmm-agent's id.
    pub agent_id: String,
    /// What its node is: `generic`, `container`, …
    pub node_kind: String,
    /// Its node's address.
    pub address: String,
    /// Its version; empty when the server does not tell.
    pub version: String,
    /// Whether it is connected.
    pub connected: bool,
    /// How many services it looks after.
    pub services: u32,
    /// What is to be done; empty when nothing is.
    pub remedy: &'static str,
    /// What does it, where an agent serves on the client's host; empty when Ferry cannot.
    pub command: String,
}

/// The clients of the server with this address, those that need something first.
#[must_use]
pub fn clients(facts: &Facts, address: &str) -> Vec<Client> {
    let server = facts.server.as_ref().map_or("", |server| &server.version);
    let all = facts.clients.iter().flat_map(|it| &it.clients);
    let mut clients: Vec<Client> = all.map(|client| judge(client, server, address)).collect();
    clients.sort();
    clients
}

/// What upgrades the clients on these hosts.
#[must_use]
pub fn upgrade_command<'n>(nodes: impl Iterator<Item = &'n str>, address: &str) -> String {
    let hosts: String = nodes
        .map(|node| format!("https://{node}:{PORT} "))
        .collect();
    format!("ferryctl clients upgrade {hosts}--server {address}")
}

/// Where the agent on a client's host listens, by `deploy/ferryd-client.service`.
const PORT: u16 = 7651;

/// Whether `ferryctl clients upgrade` would not refuse the client for what its server tells: an older one, connected, on a host with a name,
/// whose server is PMM 3.
fn is_upgradable(client: &ClientFacts, severity: Severity, server: &str) -> bool {
    let named = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    matches!(severity, Severity::Critical | Severity::Required)
        && Version::parse(server).is_some_and(|server| server.major >= 3)
        && client.connected
        && client.node_kind == "generic"
        && client.node.starts_with(|c: char| c.is_ascii_alphanumeric())
        && client.node.bytes().all(named)
}

fn judge(client: &ClientFacts, server: &str, address: &str) -> Client {
    let severity = Severity::of(&client.version, server);
    let command = if is_upgradable(client, severity, server) {
        upgrade_command(std::iter::once(&*client.node), address)
    } else {
        String::new()
    };
    Client {
        severity,
        node: client.node.clone(),
        agent_id: client.agent_id.clone(),
        node_kind: client.node_kind.clone(),
        address: client.address.clone(),
        version: client.version.clone(),
        connected: client.connected,
        services: client.services,
        remedy: severity.remedy(),
        command,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_judged_as_pmm_3_judges_it() {
        for (client, server, severity) in [
            ("2.44.1", "3.8.1", Severity::Critical),
            ("3.8.1", "3.8.1", Severity::UpToDate),
            ("3.8.1-1.el9", "3.8.1", Severity::UpToDate),
            ("3.8.0", "3.8.1", Severity::Required),
            ("3.9.0", "3.10.0", Severity::Required),
            ("2.43.0", "2.44.1", Severity::Required),
            ("3.9.0", "3.8.1", Severity::Unsupported),
            ("3.0.0", "2.44.1", Severity::Unsupported),
            ("", "3.8.1", Severity::Unknown),
            ("2.44.1", "", Severity::Unknown),
        ] {
            assert_eq!(
                Severity::of(client, server),
                severity,
                "{client} at {server}"
            );
        }
    }

    #[test]
    fn a_command_is_named_for_what_it_can_upgrade_and_nothing_else() {
        let client = ClientFacts {
            node: "db7.example.com".into(),
            node_kind: "generic".into(),
            version: "2.44.1".into(),
            connected: true,
            ..ClientFacts::default()
        };
        let command = |client: &ClientFacts, server| judge(client, server, "docker:pmm").command;
        assert_eq!(
            command(&client, "3.8.1"),
            "ferryctl clients upgrade https://db7.example.com:7651 --server docker:pmm"
        );
        // The server goes first, and there is nothing to do where both are one.
        for server in ["2.44.1", "2.45.0", ""] {
            assert_eq!(command(&client, server), "", "{server}");
        }
        let spoilt: [fn(&mut ClientFacts); 6] = [
            |it| it.connected = false,
            |it| it.node_kind = "container".into(),
            |it| it.version = "3.8.1".into(),
            |it| it.version = "3.9.0".into(),
            |it| it.node = "a b; reboot".into(),
            |it| it.node = "-o".into(),
        ];
        for spoil in spoilt {
            let mut client = client.clone();
            spoil(&mut client);
            assert_eq!(command(&client, "3.8.1"), "", "{client:?}");
        }
    }

    #[test]
    fn the_worst_come_first_and_each_word_is_its_own() {
        assert!(Severity::ALL.is_sorted());
        let mut words = Severity::ALL.map(Severity::word).to_vec();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Severity::ALL.len());
    }
}
