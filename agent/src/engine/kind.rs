//! What kind of engine answers, and what it lets be done with a container that exists.
//!
//! Why observed and not configured: Podman speaks Docker's interface, so an address says little about what is behind it, and which
//! calls it has differs by version. Whoever needs one that may be missing asks here, and nowhere else is a version compared.

use hyper::Method;
use serde_json::{Value, json};

use super::{ask::Ask, client::Engine, error::EngineError, podman};

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// Docker, or something that says nothing else of itself.
    Docker,
    /// Podman behind Docker's interface.
    Podman,
}

impl EngineKind {
    /// By the engine's answer to `/version`.
    pub(super) fn of(version: &Value) -> Self {
        let parts = version["Components"].as_array().into_iter().flatten();
        let mut names = parts.filter_map(|part| part["Name"].as_str());
        if names.any(|name| name.to_lowercase().contains("podman")) {
            Self::Podman
        } else {
            Self::Docker
        }
    }

    /// As people write it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Docker => "Docker",
            Self::Podman => "Podman",
        }
    }

    /// Whether a refusal to remove something means that it is in use: Docker says 409. Podman says 500 of a container that runs, and of
    /// all else that can be wrong with one.
    pub(super) fn is_conflict(self, status: u16) -> bool {
        status == 409 || (self == Self::Podman && status == 500)
    }

    /// An inspected container in Docker's words.
    pub(super) fn container(self, raw: Value) -> Value {
        match self {
            Self::Docker => raw,
            Self::Podman => podman::in_dockers_words(raw),
        }
    }
}

impl Engine {
    /// What kind of engine it is.
    #[must_use]
    pub fn kind(&self) -> EngineKind {
        self.inner.kind
    }

    /// Whether it changes limits and the restart policy of a container that exists. Podman 4.3 has no such call in Docker's
    /// interface, and its own ignores the policy and fails on a container that does not run (facts/building-blocks.md 1).
    ///
    /// # Errors
    /// A broken connection.
    pub async fn can_update(&self) -> Result<bool, EngineError> {
        if self.kind() == EngineKind::Docker {
            return Ok(true);
        }
        let observed = self.inner.updates.get_or_try_init(|| async {
            // A container that is not there: an engine that has the call says so, one that has not says that there is no such page.
            let name = format!("ferry-none-{:016x}", rand::random::<u64>());
            let body = json!({});
            let path = format!("/containers/{name}/update");
            let ask = Ask::new(Method::POST, path, "change a container".into()).body(&body);
            match self.ask(ask).await {
                Err(EngineError::Refused {
                    status: 404,
                    message,
                    ..
                }) => Ok(message.contains("no such container") || message.contains(&name)),
                Err(EngineError::Refused { status, .. }) => Ok(!matches!(status, 405 | 501)),
                Err(error) => Err(error),
                Ok(_) => Ok(true),
            }
        });
        observed.await.copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_known_by_its_parts() {
        let of = |name: &str| EngineKind::of(&json!({ "Components": [{ "Name": name }] }));
        assert_eq!(of("Podman Engine"), EngineKind::Podman);
        assert_eq!(of("Engine"), EngineKind::Docker);
        assert_eq!(EngineKind::of(&json!({})), EngineKind::Docker);
    }
}
