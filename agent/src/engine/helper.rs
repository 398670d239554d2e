//! A container that lives for a moment: the agent's own program with a few folders, which answers
//! with one line and is gone. It is how a folder of the engine's host is reached wherever that is.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    agents::{AgentMount, TREE_CAPABILITIES, mount_json},
    ask::Ask,
    client::Engine,
    error::EngineError,
    labels::{BINARY_LABEL, ROLE_LABEL, role_filter},
    streams::LogRange,
    tunnel::Unstarted,
    volumes::Volume,
};
use hyper::Method;

/// Removing a large backup is the longest that it does.
const PATIENCE: Duration = Duration::from_secs(3600);
/// How often it is looked whether one of an earlier call has ended.
const PAUSE: Duration = Duration::from_millis(250);
/// Tells these containers from others ([`ROLE_LABEL`]).
pub(super) const ROLE: &str = "folder";

impl Engine {
    /// Runs the agent's program once and returns what it wrote. With a label it is alone under it: one
    /// that an earlier call has started, whose owner was killed since, is waited for and removed before.
    ///
    /// # Errors
    /// The engine refuses, for one because a folder to mount is not there, or it does not end.
    pub async fn run_helper(
        &self,
        image: &str,
        mounts: &[AgentMount],
        args: &[String],
        alone: Option<(&str, &str)>,
    ) -> Result<String, EngineError> {
        if let Some(label) = alone {
            self.outwait_helpers(label).await?;
        }
        let labels: BTreeMap<&str, &str> = alone.into_iter().chain([(ROLE_LABEL, ROLE)]).collect();
        let mut cmd = vec!["folder".to_owned()];
        cmd.extend(args.iter().cloned());
        let mounts: Vec<Value> = mounts.iter().map(mount_json).collect();
        let body = json!({
            "Image": image,
            "Cmd": cmd,
            "Labels": labels,
            "HostConfig": {
                "NetworkMode": "none",
                "CapDrop": ["ALL"],
                "CapAdd": TREE_CAPABILITIES,
                "ReadonlyRootfs": true,
                "LogConfig": { "Type": "json-file", "Config": { "max-size": "1m" } },
                "RestartPolicy": { "Name": "no" },
                "Mounts": mounts,
            },
        });
        let name = format!("ferry-folder-{:016x}", rand::random::<u64>());
        let created = self.create(&name, &body).await?;
        let unstarted = Unstarted::new(self, &created.id);
        let ended = async {
            let exit = self.next_exit(&created.id).await?;
            self.start(&created.id).await?;
            exit.wait(PATIENCE).await?;
            self.logs(&created.id, LogRange::default()).await
        };
        let said = ended.await;
        let removed = self.remove_container(&created.id).await;
        if removed.is_ok() {
            unstarted.settled();
        }
        let said = said?;
        removed?;
        Ok(said)
    }

    async fn outwait_helpers(&self, (key, value): (&str, &str)) -> Result<(), EngineError> {
        let labels = [role_filter(ROLE), format!("{key}={value}")];
        let filters: Vec<(&str, &str)> = labels.iter().map(|it| ("label", it.as_str())).collect();
        let began = Instant::now();
        for left in self.list_containers(&filters).await? {
            while self
                .find_container(&left.id)
                .await?
                .is_some_and(|it| it.running())
                && began.elapsed() < PATIENCE
            {
                tokio::time::sleep(PAUSE).await;
            }
            self.remove_container(&left.id).await?;
        }
        Ok(())
    }

    /// All volumes that carry every one of these labels.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn list_volumes(
        &self,
        labels: &BTreeMap<String, String>,
    ) -> Result<Vec<Volume>, EngineError> {
        let wanted: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let filters = json!({ "label": wanted }).to_string();
        let query = [("filters", filters.as_str())];
        let ask = Ask::new(Method::GET, "/volumes".into(), "list volumes".into()).query(&query);
        let answer = self.ask_json(ask).await?;
        let volumes = answer["Volumes"].as_array().into_iter().flatten();
        // Podman gives those that carry any one of them (seen on 4.3.1), and who asks may be about to remove what is found.
        Ok(volumes
            .map(Volume::read)
            .filter(|volume| volume.carries(labels))
            .collect())
    }

    /// The images that agents were made of, by id.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn agent_images(&self) -> Result<Vec<String>, EngineError> {
        let filters = json!({ "label": [BINARY_LABEL] }).to_string();
        let query = [("filters", filters.as_str())];
        let ask = Ask::new(Method::GET, "/images/json".into(), "list images".into()).query(&query);
        let list = self.ask_json(ask).await?;
        let ids = list.as_array().into_iter().flatten();
        Ok(ids
            .filter_map(|image| image["Id"].as_str().map(str::to_owned))
            .collect())
    }
}
