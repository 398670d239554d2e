//! Starts the target image on the copy. It has the settings of the server as the crossing would carry them over, and
//! nothing by which anybody could meet it: a network of its own without a way out, no ports, no other name, none of the
//! server's labels, and limits, because the server goes on serving on the same host.

use std::time::Duration;

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    context::Context,
    engine::{
        ContainerInspect, EngineInfo,
        labels::{ROLE_LABEL, RUN_LABEL},
    },
    error::StepError,
    places::{self, rehearsal_name},
    steps::{Work, count, done_with},
    successor::{self, Successor},
};

use super::end_rehearsal::complaints;

pub(in crate::steps) struct StartRehearsal(pub(in crate::steps) v1::StartRehearsal);

const POLL: Duration = Duration::from_millis(100);
/// More processes than PMM 3 has with every client of a large server.
const MOST_PROCESSES: i64 = 8192;
/// Less memory than this, and PMM 3 fails for want of it and of nothing else.
const LEAST_MEMORY: u64 = 2 << 30;
/// What of the container's own settings decides whether the target boots.
const HOST_SETTINGS: [&str; 7] = [
    "ShmSize",
    "Ulimits",
    "Sysctls",
    "SecurityOpt",
    "UsernsMode",
    "Tmpfs",
    "Init",
];
const SETTINGS: [&str; 8] = [
    "Env",
    "Image",
    "Cmd",
    "Entrypoint",
    "User",
    "WorkingDir",
    "StopSignal",
    "StopTimeout",
];

#[async_trait]
impl Work for StartRehearsal {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        let engine = &host.engine;
        let name = rehearsal_name(&self.0.container, &cx.run);
        cx.keep(&true)?;
        if let Some(there) = engine.find_container(&name).await? {
            places::check_ours(&there, &cx.run)?;
            if !there.running() {
                // Half made by an attempt that was cut off, or exited: it is made again.
                engine.remove_container(there.id()).await?;
            }
        }
        let mut warnings = Vec::new();
        if engine.find_container(&name).await?.is_none() {
            let network = places::make_network(host, &self.0.container, &cx.run).await?;
            // What the engine does with the server when it stops says nothing of the copy.
            let server = engine.inspect_container(&self.0.container).await?.kept();
            let new = Successor {
                image_id: &self.0.image_id,
                version: &self.0.target_version,
                same_major: false,
                data_volume: None,
            };
            let carried = successor::settings(engine, &server, new).await?;
            warnings.extend(carried.over.notes.iter().map(|note| note.text.clone()));
            let limits = limits(&server, &engine.info().await?);
            let mounts = mounts(&server, &self.0.data_destination, &name);
            let mut body = body(&carried.over.body, &network, mounts, &limits);
            body["Labels"] = json!({ RUN_LABEL: cx.run, ROLE_LABEL: "rehearsal" });
            engine.create(&name, &body).await?;
        }
        engine.start(&name).await?;
        let until = Instant::now() + Duration::from_secs(u64::from(self.0.settle_seconds));
        while Instant::now() < until {
            cx.check_cancelled()?;
            self.watch(cx, &name).await?;
            sleep(POLL).await;
        }
        let mut outcome = done_with(format!("runs as {name}"), warnings);
        outcome.values.insert("container".to_owned(), name);
        Ok(outcome)
    }

    /// It runs, on the copy and on nothing of the server's that it could write to.
    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let name = rehearsal_name(&self.0.container, &cx.run);
        let made = self.watch(cx, &name).await?;
        let wrong = made.mounts().into_iter().find(|mount| {
            mount.writable && mount.destination != self.0.data_destination && mount.kind != "tmpfs"
        });
        let data = made.mount_at(&self.0.data_destination);
        if data.is_none_or(|mount| mount.name != name) || wrong.is_some() {
            return Err(StepError::new(
                "wrong-volume",
                format!("`{name}` has mounts that are not the copy"),
            ));
        }
        Ok(())
    }

    /// What it complained of is the most that a rehearsal that failed can tell: it is read before it is gone.
    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        let name = rehearsal_name(&self.0.container, &cx.run);
        let said = match host.engine.find_container(&name).await? {
            Some(_) => complaints(host, &name).await,
            None => Vec::new(),
        };
        places::discard(host, &self.0.container, &cx.run, false).await?;
        let number = count(said.len() as u64, "complaint");
        Ok(done_with(
            format!("it is gone, with {number} in its log"),
            said,
        ))
    }
}

impl StartRehearsal {
    async fn watch(&self, cx: &Context, name: &str) -> Result<ContainerInspect, StepError> {
        let host = cx.surroundings.host()?;
        let container = host.engine.inspect_container(name).await?;
        places::booted(host, &container, &cx.run).await?;
        Ok(container)
    }
}

/// The copy in the place of the data; everything else that the server mounts, to be read only.
fn mounts(server: &ContainerInspect, data: &str, copy: &str) -> Vec<Value> {
    let mut mounts = vec![json!({ "Type": "volume", "Source": copy, "Target": data })];
    for mount in server.mounts() {
        let source = match mount.kind.as_str() {
            _ if mount.destination == data => continue,
            "volume" => &mount.name,
            "bind" => &mount.source,
            _ => continue,
        };
        mounts.push(json!({
            "Type": mount.kind,
            "Source": source,
            "Target": mount.destination,
            "ReadOnly": true,
        }));
    }
    mounts
}

/// The server's own limits, or half of the host.
fn limits(server: &ContainerInspect, info: &EngineInfo) -> Value {
    let own = &server.raw()["HostConfig"];
    let own = |key: &str| own[key].as_u64().filter(|limit| *limit > 0);
    let processors = info.processors.saturating_mul(1_000_000_000) / 2;
    json!({
        "Memory": own("Memory").unwrap_or_else(|| (info.memory / 2).max(LEAST_MEMORY)),
        "NanoCpus": own("NanoCpus").unwrap_or_else(|| processors.max(1_000_000_000)),
        "PidsLimit": MOST_PROCESSES,
    })
}

fn body(carried: &Value, network: &str, mounts: Vec<Value>, limits: &Value) -> Value {
    let mut body = json!({});
    for key in SETTINGS {
        if !carried[key].is_null() {
            body[key] = carried[key].clone();
        }
    }
    let mut host = limits.clone();
    for key in HOST_SETTINGS {
        let setting = &carried["HostConfig"][key];
        if !setting.is_null() {
            host[key] = setting.clone();
        }
    }
    host["Mounts"] = Value::Array(mounts);
    host["NetworkMode"] = json!(network);
    host["RestartPolicy"] = json!({ "Name": "no" });
    // Whatever the server's log goes to, this one has to be read.
    host["LogConfig"] = json!({ "Type": "json-file", "Config": { "max-size": "20m" } });
    body["HostConfig"] = host;
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_can_meet_it_and_it_can_change_nothing_of_the_server() {
        let server = ContainerInspect::new(json!({
            "Name": "/pmm",
            "HostConfig": { "Memory": 5 },
            "Mounts": [
                { "Type": "volume", "Name": "pmm-data", "Destination": "/srv", "RW": true },
                { "Type": "bind", "Source": "/certs", "Destination": "/certs", "RW": true },
            ],
        }));
        let info = limits(&server, &info());
        let mounts = mounts(&server, "/srv", "pmm-rehearsal-r");
        let carried = json!({
            "Env": ["A=b"],
            "Hostname": "pmm.example",
            "Labels": { "traefik.enable": "true" },
            "ExposedPorts": { "8443/tcp": {} },
            "HostConfig": {
                "PortBindings": { "8443/tcp": [{ "HostPort": "443" }] },
                "RestartPolicy": { "Name": "always" },
                "Binds": ["pmm-data:/srv"],
                "ShmSize": 7,
                "Privileged": true,
            },
            "NetworkingConfig": { "EndpointsConfig": { "web": { "Aliases": ["pmm"] } } },
        });
        let body = body(&carried, "pmm-rehearsal-r", mounts, &info);
        let expected = json!({
            "Env": ["A=b"],
            "HostConfig": {
                "Memory": 5,
                "NanoCpus": 2_000_000_000_u64,
                "PidsLimit": MOST_PROCESSES,
                "ShmSize": 7,
                "Mounts": [
                    { "Type": "volume", "Source": "pmm-rehearsal-r", "Target": "/srv" },
                    { "Type": "bind", "Source": "/certs", "Target": "/certs", "ReadOnly": true },
                ],
                "NetworkMode": "pmm-rehearsal-r",
                "RestartPolicy": { "Name": "no" },
                "LogConfig": { "Type": "json-file", "Config": { "max-size": "20m" } },
            },
        });
        assert_eq!(body, expected);
    }

    fn info() -> EngineInfo {
        EngineInfo {
            name: String::new(),
            version: String::new(),
            id: String::new(),
            api: String::new(),
            root_dir: String::new(),
            security_options: Vec::new(),
            architecture: String::new(),
            logging_driver: String::new(),
            memory: 8 << 30,
            processors: 4,
            kind: crate::engine::EngineKind::Docker,
            rootless: false,
        }
    }
}
