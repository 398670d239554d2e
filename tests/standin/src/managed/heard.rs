//! Clients that really are there: a double of pmm-agent on another host says every moment who it is. They stand in the inventory beside
//! those that were seeded, and are connected as long as they are heard.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::inventory::{Inventory, text};

/// Who is silent for so long is not connected. They speak several times a second, and on a busy machine a word takes seconds.
const SILENCE: Duration = Duration::from_secs(15);

/// By agent id.
#[derive(Default)]
pub(crate) struct Heard(Mutex<BTreeMap<String, Client>>);

struct Client {
    node: String,
    version: String,
    last: Instant,
}

impl Heard {
    /// Somebody says who it is.
    pub(crate) fn note(&self, said: &Value) {
        let client = Client {
            node: text(said, "node").to_owned(),
            version: text(said, "version").to_owned(),
            last: Instant::now(),
        };
        // As PMM 3 does with the ids of PMM 2 (facts/pmm.md 5.3).
        let id = text(said, "agent_id").trim_start_matches("/agent_id/");
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.insert(id.to_owned(), client);
    }

    /// The inventory with them.
    pub(crate) fn add_to(&self, inventory: &mut Inventory) {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, client) in &*heard {
            let status = if client.last.elapsed() < SILENCE {
                "RUNNING"
            } else {
                "UNKNOWN"
            };
            let node = format!("node-of-{id}");
            inventory.nodes.push(json!({
                "node_id": node, "node_name": client.node, "node_type": "generic", "address": "192.0.2.7",
            }));
            inventory.agents.push(json!({
                "agent_id": id, "agent_type": "pmm-agent", "runs_on_node_id": node, "status": status,
                "version": client.version, "disabled": false,
            }));
        }
    }
}
