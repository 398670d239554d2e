//! What the engine says of itself.
//!
//! Why: plans name the engine they were made for by its id, and what its host enforces (user namespaces, SELinux) decides what an
//! agent needs.

use hyper::Method;
use serde_json::Value;

use super::{ask::Ask, client::Engine, error::EngineError, kind::EngineKind};

/// The engine's description of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// Its host's name.
    pub name: String,
    /// Its version, such as `20.10.24`.
    pub version: String,
    /// Its id, which stays over restarts.
    pub id: String,
    /// The version of the interface that was agreed on, such as `1.41`.
    pub api: String,
    /// The folder of its images and volumes on its host.
    pub root_dir: String,
    /// `name=seccomp,profile=default`, `name=selinux`, `name=userns`, `name=rootless`, …
    pub security_options: Vec<String>,
    /// The architecture of its host, such as `x86_64`.
    pub architecture: String,
    /// The log driver that containers get unless they name one.
    pub logging_driver: String,
    /// The memory of its host in bytes; 0 when it does not say.
    pub memory: u64,
    /// The processors of its host; 0 when it does not say.
    pub processors: u64,
    /// Which engine it is.
    pub kind: EngineKind,
    /// Whether it runs as an ordinary user, so that its root is nobody on its host.
    pub rootless: bool,
}

impl EngineInfo {
    /// Whether containers are confined by SELinux.
    #[must_use]
    pub fn has_selinux(&self) -> bool {
        self.security_options
            .iter()
            .any(|it| it.contains("selinux"))
    }
}

impl Engine {
    /// Asks the engine what it is.
    ///
    /// # Errors
    /// A broken connection.
    pub async fn info(&self) -> Result<EngineInfo, EngineError> {
        let ask = Ask::new(Method::GET, "/info".into(), "describe itself".into());
        let raw = self.ask_json(ask).await?;
        let get = |key: &str| raw[key].as_str().unwrap_or_default().to_owned();
        let kind = self.kind();
        Ok(EngineInfo {
            name: get("Name"),
            version: get("ServerVersion"),
            id: match kind {
                EngineKind::Docker => get("ID"),
                // Its own is another one in each answer. What it has is in this folder of this host.
                EngineKind::Podman => format!("{}:{}", get("Name"), get("DockerRootDir")),
            },
            api: format!("{}.{}", self.inner.api.0, self.inner.api.1),
            root_dir: get("DockerRootDir"),
            security_options: raw["SecurityOptions"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            architecture: get("Architecture"),
            logging_driver: get("LoggingDriver"),
            memory: raw["MemTotal"].as_u64().unwrap_or_default(),
            processors: raw["NCPU"].as_u64().unwrap_or_default(),
            kind,
            rootless: rootless(&raw),
        })
    }
}

fn rootless(info: &Value) -> bool {
    let options = info["SecurityOptions"].as_array().into_iter().flatten();
    let mut options = options.filter_map(Value::as_str);
    info["Rootless"].as_bool() == Some(true) || options.any(|option| option == "name=rootless")
}
