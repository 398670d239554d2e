//! Which Podman to talk to: the one that the `podman` client of this user has its containers in.
//!
//! Order: `CONTAINER_HOST`, else the socket of this user's own service: `/run/podman/podman.sock` for root,
//! `$XDG_RUNTIME_DIR/podman/podman.sock` for everybody else. Podman has no daemon: without its service the containers are there, and
//! nobody answers for them.
//!
//! Rejected: looking into both places. Root and each user have containers of their own, and those of one name are different servers.

use std::path::PathBuf;

use super::Endpoint;
use crate::engine::{Engine, EngineError, EngineKind};

/// What decides which Podman is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodmanConfig {
    /// `CONTAINER_HOST`.
    pub container_host: Option<String>,
    /// `CONTAINER_CONNECTION`: a name in a configuration of the client's own, which is not read here.
    pub container_connection: Option<String>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// The user that asks.
    pub uid: u32,
}

impl PodmanConfig {
    /// Reads the variables through `get`, for the user `uid`.
    pub fn from_env(get: impl Fn(&str) -> Option<String>, uid: u32) -> Self {
        let set = |name: &str| get(name).filter(|value| !value.is_empty());
        Self {
            container_host: set("CONTAINER_HOST"),
            container_connection: set("CONTAINER_CONNECTION"),
            runtime_dir: set("XDG_RUNTIME_DIR").map(PathBuf::from),
            uid,
        }
    }

    /// The endpoint that these settings mean.
    ///
    /// # Errors
    /// An address of a form that cannot be used, or a connection's name.
    pub fn resolve(&self) -> Result<Endpoint, EngineError> {
        let bad = |endpoint: &str, reason: &str| EngineError::PodmanEndpoint {
            endpoint: endpoint.to_owned(),
            reason: reason.to_owned(),
        };
        if let Some(host) = &self.container_host {
            if host.starts_with("ssh://") {
                return Err(bad(
                    host,
                    "Podman over SSH is not supported: run ferryctl on that host, or forward its socket by `ssh -L`",
                ));
            }
            return match Endpoint::parse(host, None) {
                Ok(Endpoint::Ssh { .. }) => {
                    Err(bad(host, "it must start with `unix://` or `tcp://`"))
                }
                Ok(Endpoint::Unix { .. }) if host == "unix://" => {
                    Err(bad(host, "it names no socket"))
                }
                Ok(endpoint) => Ok(endpoint),
                Err(_) => Err(bad(host, "it must start with `unix://` or `tcp://`")),
            };
        }
        if let Some(name) = &self.container_connection {
            return Err(bad(
                name,
                "CONTAINER_CONNECTION names a connection of the client's own, which is not looked up",
            ));
        }
        let folder = match (&self.runtime_dir, self.uid) {
            (_, 0) => PathBuf::from("/run"),
            (Some(folder), _) => folder.clone(),
            (None, uid) => PathBuf::from(format!("/run/user/{uid}")),
        };
        Ok(Endpoint::Unix {
            path: folder.join("podman/podman.sock"),
        })
    }

    /// What connecting came to: only Podman will do, and where nothing answers the way to its service is told.
    pub(crate) fn accept(
        &self,
        engine: Result<Engine, EngineError>,
    ) -> Result<Engine, EngineError> {
        match engine {
            Ok(engine) if engine.kind() != EngineKind::Podman => Err(EngineError::PodmanEndpoint {
                endpoint: engine.endpoint().to_owned(),
                reason: "what answers there is no Podman".to_owned(),
            }),
            Err(EngineError::Unreachable { endpoint, reason }) => Err(EngineError::NoPodman {
                endpoint,
                reason,
                rootless: self.uid != 0,
            }),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(vars: &[(&str, &str)], uid: u32) -> Result<String, String> {
        let get = |name: &str| {
            let found = vars.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let resolved = PodmanConfig::from_env(get, uid).resolve();
        resolved
            .map(|it| it.to_string())
            .map_err(|it| it.to_string())
    }

    #[test]
    fn each_user_has_an_engine_of_its_own() {
        let root = Ok("unix:///run/podman/podman.sock".to_owned());
        assert_eq!(socket(&[], 0), root);
        // `sudo` may leave the variable of the user before.
        assert_eq!(socket(&[("XDG_RUNTIME_DIR", "/run/user/1000")], 0), root);
        let own = Ok("unix:///run/user/1000/podman/podman.sock".to_owned());
        assert_eq!(socket(&[], 1000), own);
        let elsewhere = Ok("unix:///tmp/run/podman/podman.sock".to_owned());
        assert_eq!(socket(&[("XDG_RUNTIME_DIR", "/tmp/run")], 1000), elsewhere);
        let told = Ok("unix:///x/p.sock".to_owned());
        assert_eq!(
            socket(&[("CONTAINER_HOST", "unix:///x/p.sock")], 1000),
            told
        );
        let empty = [("CONTAINER_HOST", "")];
        assert_eq!(socket(&empty, 0), root);
    }

    #[test]
    fn what_cannot_be_reached_is_refused_with_the_reason() {
        for (name, value, reason) in [
            (
                "CONTAINER_HOST",
                "ssh://u@h/run/podman/podman.sock",
                "forward its socket",
            ),
            ("CONTAINER_HOST", "ssh://u@h", "forward its socket"),
            (
                "CONTAINER_HOST",
                "/run/podman/podman.sock",
                "must start with",
            ),
            ("CONTAINER_HOST", "unix://", "names no socket"),
            ("CONTAINER_CONNECTION", "prod", "not looked up"),
        ] {
            let why = socket(&[(name, value)], 0).unwrap_err();
            assert!(why.contains(reason), "{value}: {why}");
        }
    }

    #[test]
    fn where_nobody_answers_the_service_is_named() {
        for (uid, command) in [
            (0, "systemctl enable --now podman.socket"),
            (1000, "systemctl --user enable --now podman.socket"),
        ] {
            let config = PodmanConfig {
                uid,
                ..PodmanConfig::default()
            };
            let error = config
                .accept(Err(EngineError::Unreachable {
                    endpoint: "unix:///run/podman/podman.sock".into(),
                    reason: "No such file or directory".into(),
                }))
                .unwrap_err();
            assert_eq!(error.code(), "engine-unreachable");
            let hint = error.hint().unwrap();
            assert!(hint.contains(&format!("`{command}`")), "{hint}");
        }
    }
}
