//! What the engine says of a container or an image, with every field kept.
//!
//! Why the raw JSON stays inside: a container is made again from it, and a typed copy loses fields (facts/building-blocks.md 1).
//! The accessors name what the steps read; a missing field reads as the engine's own default.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ids;

/// How a time begins that never was.
const NEVER: &str = "0001-";

/// The answer to "inspect container". Its `Debug` shows no environment.
#[derive(Clone, PartialEq)]
pub struct ContainerInspect(Value);

/// The answer to "inspect image".
#[derive(Clone, PartialEq)]
pub struct ImageInspect(Value);

/// What the engine does when the container ends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RestartPolicy {
    /// `no`, `always`, `unless-stopped` or `on-failure`; empty means `no`.
    #[serde(rename = "Name", default)]
    pub name: String,
    /// For `on-failure`: how often; 0 is without limit.
    #[serde(rename = "MaximumRetryCount", default)]
    pub maximum_retry_count: i64,
}

impl RestartPolicy {
    /// The policy that never starts a container by itself.
    #[must_use]
    pub fn off() -> Self {
        Self {
            name: "no".into(),
            maximum_retry_count: 0,
        }
    }

    /// Whether the engine may start the container by itself.
    #[must_use]
    pub fn is_off(&self) -> bool {
        matches!(self.name.as_str(), "" | "no")
    }

    /// Reads what `Display` writes: the name, and after a colon how often. Empty is "no".
    #[must_use]
    pub fn from_words(words: &str) -> Self {
        let (name, count) = words.split_once(':').unwrap_or((words, ""));
        Self {
            name: name.to_owned(),
            maximum_retry_count: count.parse().unwrap_or(0),
        }
    }
}

impl std::fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        if self.maximum_retry_count > 0 {
            write!(f, ":{}", self.maximum_retry_count)?;
        }
        Ok(())
    }
}

/// One mount of a container, as it is and not as it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mount {
    /// `volume`, `bind` or `tmpfs`.
    pub kind: String,
    /// The volume's name; empty for the others.
    pub name: String,
    /// The folder on the engine's host.
    pub source: String,
    /// The volume's driver; empty for the others.
    pub driver: String,
    /// The folder in the container.
    pub destination: String,
    /// Options such as `z`, as given.
    pub mode: String,
    /// Whether the container may write.
    pub writable: bool,
    /// Mount propagation; empty for volumes.
    pub propagation: String,
}

/// One published port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublishedPort {
    /// `443/tcp`.
    pub container: String,
    /// The host's address; empty for all.
    pub host_ip: String,
    /// The host's port; empty for any.
    pub host_port: String,
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn flag(value: &Value, pointer: &str) -> bool {
    value
        .pointer(pointer)
        .and_then(Value::as_bool)
        .unwrap_or_default()
}

fn number(value: &Value, pointer: &str) -> i64 {
    value
        .pointer(pointer)
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

fn texts(value: &Value, pointer: &str) -> Vec<String> {
    let list = value.pointer(pointer).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

fn map(value: &Value, pointer: &str) -> BTreeMap<String, String> {
    let object = value.pointer(pointer).and_then(Value::as_object);
    object
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
}

fn keys(value: &Value, pointer: &str) -> Vec<String> {
    let object = value.pointer(pointer).and_then(Value::as_object);
    object
        .into_iter()
        .flatten()
        .map(|(key, _)| key.clone())
        .collect()
}

/// `NAME=value` pairs in order; a name without `=` has an empty value.
pub(crate) fn env_pairs(value: &Value, pointer: &str) -> Vec<(String, String)> {
    texts(value, pointer)
        .into_iter()
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (pair, String::new()),
        })
        .collect()
}

impl ContainerInspect {
    /// Wraps the engine's answer.
    #[must_use]
    pub fn new(raw: Value) -> Self {
        Self(raw)
    }

    /// The engine's answer itself. It holds the environment: keep it out of logs.
    #[must_use]
    pub fn raw(&self) -> &Value {
        &self.0
    }

    /// The full id.
    #[must_use]
    pub fn id(&self) -> &str {
        text(&self.0, "/Id")
    }

    /// The name, without the engine's leading slash.
    #[must_use]
    pub fn name(&self) -> &str {
        text(&self.0, "/Name").trim_start_matches('/')
    }

    /// The id of the image it was made from.
    #[must_use]
    pub fn image_id(&self) -> &str {
        text(&self.0, "/Image")
    }

    /// The image as it was asked for.
    #[must_use]
    pub fn image_ref(&self) -> &str {
        text(&self.0, "/Config/Image")
    }

    /// The program of its first process, as it was asked for.
    #[must_use]
    pub fn first_program(&self) -> &str {
        text(&self.0, "/Path")
    }

    /// Whether its first process runs; a paused container runs.
    #[must_use]
    pub fn running(&self) -> bool {
        flag(&self.0, "/State/Running")
    }

    /// Whether it is frozen.
    #[must_use]
    pub fn paused(&self) -> bool {
        flag(&self.0, "/State/Paused")
    }

    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    #[must_use]
    pub fn status(&self) -> &str {
        text(&self.0, "/State/Status")
    }

    /// The health check's state; `None` without a check.
    #[must_use]
    pub fn health(&self) -> Option<&str> {
        self.0
            .pointer("/State/Health/Status")
            .and_then(Value::as_str)
    }

    /// The first process's id on the host; 0 when it does not run.
    #[must_use]
    pub fn pid(&self) -> i64 {
        number(&self.0, "/State/Pid")
    }

    /// The exit code of the last end.
    #[must_use]
    pub fn exit_code(&self) -> i64 {
        number(&self.0, "/State/ExitCode")
    }

    /// Whether it ended for lack of memory.
    #[must_use]
    pub fn oom_killed(&self) -> bool {
        flag(&self.0, "/State/OOMKilled")
    }

    /// When it last started, RFC 3339.
    #[must_use]
    pub fn started_at(&self) -> &str {
        text(&self.0, "/State/StartedAt")
    }

    /// When it last ended, RFC 3339.
    #[must_use]
    pub fn finished_at(&self) -> &str {
        text(&self.0, "/State/FinishedAt")
    }

    /// How often the engine started it again by its restart policy.
    #[must_use]
    pub fn restart_count(&self) -> i64 {
        number(&self.0, "/RestartCount")
    }

    /// Its restart policy.
    #[must_use]
    pub fn restart_policy(&self) -> RestartPolicy {
        RestartPolicy {
            name: text(&self.0, "/HostConfig/RestartPolicy/Name").to_owned(),
            maximum_retry_count: number(&self.0, "/HostConfig/RestartPolicy/MaximumRetryCount"),
        }
    }

    /// Whether it was ever started, by whomever.
    #[must_use]
    pub fn has_run(&self) -> bool {
        let started = self.started_at();
        !started.is_empty() && !started.starts_with(NEVER)
    }

    /// How many processes it may have; 0: as many as it likes. An engine says that in three ways.
    #[must_use]
    pub fn pids_limit(&self) -> i64 {
        number(&self.0, "/HostConfig/PidsLimit").max(0)
    }

    /// Whether the engine removes it when it ends.
    #[must_use]
    pub fn auto_remove(&self) -> bool {
        flag(&self.0, "/HostConfig/AutoRemove")
    }

    /// The environment, in order. Values may be secrets.
    #[must_use]
    pub fn env(&self) -> Vec<(String, String)> {
        env_pairs(&self.0, "/Config/Env")
    }

    /// The names of the environment alone.
    #[must_use]
    pub fn env_names(&self) -> Vec<String> {
        self.env().into_iter().map(|(name, _)| name).collect()
    }

    /// The labels.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        map(&self.0, "/Config/Labels")
    }

    /// One label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.0
            .pointer("/Config/Labels")
            .and_then(|labels| labels.get(key))
            .and_then(Value::as_str)
    }

    /// The networks it is on.
    #[must_use]
    pub fn networks(&self) -> Vec<String> {
        keys(&self.0, "/NetworkSettings/Networks")
    }

    /// `default`, `bridge`, `host`, `none`, `container:…` or a network's name.
    #[must_use]
    pub fn network_mode(&self) -> &str {
        text(&self.0, "/HostConfig/NetworkMode")
    }

    /// Its user namespace: empty is the engine's default, `keep-id:uid=…,gid=…` and `private` are its own.
    #[must_use]
    pub fn userns_mode(&self) -> &str {
        text(&self.0, "/HostConfig/UsernsMode")
    }

    /// Its user namespace where that is its own; empty where its owners are those of the engine's default, or another container's.
    #[must_use]
    pub fn own_ids(&self) -> &str {
        let mode = self.userns_mode();
        if ids::is_own(mode) { mode } else { "" }
    }

    /// The signal that asks it to end; `SIGTERM` unless configured.
    #[must_use]
    pub fn stop_signal(&self) -> &str {
        match text(&self.0, "/Config/StopSignal") {
            "" => "SIGTERM",
            signal => signal,
        }
    }

    /// Its mounts as they are.
    #[must_use]
    pub fn mounts(&self) -> Vec<Mount> {
        let list = self.0.pointer("/Mounts").and_then(Value::as_array);
        list.into_iter().flatten().map(Mount::read).collect()
    }

    /// What is mounted exactly at `destination`.
    #[must_use]
    pub fn mount_at(&self, destination: &str) -> Option<Mount> {
        self.mounts()
            .into_iter()
            .find(|mount| mount.destination == destination)
    }

    /// The ports that are asked to be published.
    #[must_use]
    pub fn ports(&self) -> Vec<PublishedPort> {
        let bindings = self
            .0
            .pointer("/HostConfig/PortBindings")
            .and_then(Value::as_object);
        let mut ports = Vec::new();
        for (container, hosts) in bindings.into_iter().flatten() {
            for host in hosts.as_array().into_iter().flatten() {
                ports.push(PublishedPort {
                    container: container.clone(),
                    host_ip: text(host, "/HostIp").to_owned(),
                    host_port: text(host, "/HostPort").to_owned(),
                });
            }
        }
        ports
    }
}

impl Mount {
    pub(crate) fn read(raw: &Value) -> Self {
        let get = |pointer| text(raw, pointer).to_owned();
        Self {
            kind: get("/Type"),
            name: get("/Name"),
            source: get("/Source"),
            driver: get("/Driver"),
            destination: get("/Destination"),
            mode: get("/Mode"),
            writable: flag(raw, "/RW"),
            propagation: get("/Propagation"),
        }
    }
}

impl std::fmt::Debug for ContainerInspect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContainerInspect")
            .field("name", &self.name())
            .field("id", &self.id())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl ImageInspect {
    /// Wraps the engine's answer.
    #[must_use]
    pub fn new(raw: Value) -> Self {
        Self(raw)
    }

    /// The engine's answer itself.
    #[must_use]
    pub fn raw(&self) -> &Value {
        &self.0
    }

    /// The image's id.
    #[must_use]
    pub fn id(&self) -> &str {
        text(&self.0, "/Id")
    }

    /// Its names, each `repository:tag`.
    #[must_use]
    pub fn tags(&self) -> Vec<String> {
        texts(&self.0, "/RepoTags")
    }

    /// `repository@sha256:…` as the registry knows it, or the id of an image that never came from one. An image that several
    /// repositories have may have several; that of `repository` counts, if there is one.
    #[must_use]
    pub fn digest(&self, repository: Option<&str>) -> String {
        let all = texts(&self.0, "/RepoDigests");
        let of_it = |digest: &&String| digest.split('@').next() == repository;
        let found = all.iter().find(of_it).or(all.first());
        found.cloned().unwrap_or_else(|| self.id().to_owned())
    }

    /// Its labels.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        map(&self.0, "/Config/Labels")
    }

    /// Its environment.
    #[must_use]
    pub fn env(&self) -> Vec<(String, String)> {
        env_pairs(&self.0, "/Config/Env")
    }

    /// The user as written in it: a name, a number, with or without a group, or nothing for root.
    #[must_use]
    pub fn user(&self) -> &str {
        text(&self.0, "/Config/User")
    }

    /// The folders that get a volume of their own when nothing is mounted there.
    #[must_use]
    pub fn volumes(&self) -> Vec<String> {
        keys(&self.0, "/Config/Volumes")
    }

    /// The ports it says it listens on, as `8443/tcp`.
    #[must_use]
    pub fn exposed_ports(&self) -> Vec<String> {
        keys(&self.0, "/Config/ExposedPorts")
    }

    /// Whether a container could be made from it without naming a command.
    #[must_use]
    pub fn has_command(&self) -> bool {
        !texts(&self.0, "/Config/Cmd").is_empty()
            || !texts(&self.0, "/Config/Entrypoint").is_empty()
    }
}

impl std::fmt::Debug for ImageInspect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageInspect")
            .field("id", &self.id())
            .field("tags", &self.tags())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_of_the_environment_keep_their_equal_signs() {
        let c = ContainerInspect::new(json!({"Config": {"Env": ["A=1=2", "B=", "C"]}}));
        assert_eq!(
            c.env(),
            [
                ("A".into(), "1=2".into()),
                ("B".into(), String::new()),
                ("C".into(), String::new())
            ]
        );
    }

    #[test]
    fn what_never_started_has_the_first_day_as_its_time() {
        let started = |at: &str| ContainerInspect::new(json!({ "State": { "StartedAt": at } }));
        assert!(!started("0001-01-01T00:00:00Z").has_run());
        assert!(!started("").has_run());
        assert!(started("2026-11-28T15:41:22.5Z").has_run());
    }

    #[test]
    fn debug_shows_no_secret() {
        let c = ContainerInspect::new(json!({"Name": "/x", "Config": {"Env": ["P=hunter2"]}}));
        assert!(!format!("{c:?}").contains("hunter2"));
        assert_eq!(c.name(), "x");
    }

    #[test]
    fn nulls_read_as_nothing() {
        let c = ContainerInspect::new(
            json!({"Config": {"Labels": null}, "Mounts": null, "HostConfig": {"PortBindings": {"80/tcp": null}}}),
        );
        assert!(c.labels().is_empty() && c.mounts().is_empty() && c.ports().is_empty());
        assert!(c.restart_policy().is_off());
        assert_eq!(c.stop_signal(), "SIGTERM");
    }

    #[test]
    fn an_image_without_a_digest_is_known_by_its_id() {
        let image =
            |digests: Value| ImageInspect::new(json!({"Id": "sha256:1", "RepoDigests": digests}));
        assert_eq!(image(json!([])).digest(None), "sha256:1");
        assert_eq!(image(Value::Null).digest(Some("r")), "sha256:1");
        assert_eq!(image(json!(["r@sha256:2"])).digest(None), "r@sha256:2");
        let two = image(json!(["r@sha256:2", "s:5000/r@sha256:3"]));
        assert_eq!(two.digest(Some("s:5000/r")), "s:5000/r@sha256:3");
        assert_eq!(two.digest(Some("other")), "r@sha256:2");
    }
}
