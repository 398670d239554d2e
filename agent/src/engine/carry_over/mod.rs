//! The body that makes a container again from another image, with everything its operator set.
//!
//! Why from raw JSON and not from a list of flags: upstream's script keeps name, volume and one port, and loses the rest: other
//! ports, certificates' mounts, labels, aliases, limits (facts/pmm.md 2.1, defect 6). Here everything is kept unless a row of the
//! table in facts/pmm.md 7.4 says otherwise, and what is changed or dropped is reported with a stable code.
//!
//! Pure: the engine is not asked. Rejected: a typed body, which loses fields.

mod config;
mod health;
mod host;
mod mounts;
mod networks;

use serde_json::{Map, Value};

use super::ids;

/// PMM's data folder.
pub const DATA_FOLDER: &str = "/srv";

/// What the caller decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CarryOverOptions {
    /// The image to create from, best by id; the new image's own id when absent.
    pub image: Option<String>,
    /// A volume for [`DATA_FOLDER`] instead of what the old container has there.
    pub data_volume: Option<String>,
    /// Labels to add.
    pub labels: Vec<(String, String)>,
    /// The engine only tells the MAC address in use, not the configured one (API 1.44 and later): carry that one over.
    pub mac_from_networks: bool,
    /// The engine takes no `--ulimit` through Docker's interface (an ordinary user's Podman, 4.3.1).
    pub no_ulimits: bool,
    /// Both images are of one major version: ports and paths mean the same to both, and nothing is translated.
    pub same_major: bool,
}

/// The new container, as the engine wants it.
#[derive(Clone, PartialEq)]
pub struct CarryOver {
    /// The body for "create", with `HostConfig` and, for the first network, `NetworkingConfig`.
    pub body: Value,
    /// Networks to connect before the start, each with its raw `EndpointConfig`.
    pub extra_networks: Vec<(String, Value)>,
    /// What is not as before, or needs a person's eye.
    pub notes: Vec<Note>,
}

impl std::fmt::Debug for CarryOver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The body holds the environment.
        f.debug_struct("CarryOver")
            .field("notes", &self.notes)
            .finish_non_exhaustive()
    }
}

/// Something that a person should know about the new container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Stable, kebab-case.
    pub code: &'static str,
    /// A sentence.
    pub text: String,
}

/// Why no new container can be described.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CarryOverError {
    /// `--rm`: stopping it removes it, and an anonymous volume with it.
    #[error(
        "container `{container}` was started with `--rm`: stopping it would delete it, and with it the way back"
    )]
    AutoRemove {
        /// Its name.
        container: String,
    },
    /// PMM 3 would get a fresh volume and be an empty, healthy server.
    #[error(
        "container `{container}` has nothing mounted at /srv: its data is in the container itself"
    )]
    NoDataMount {
        /// Its name.
        container: String,
    },
    /// Podman: a map of ids that was given by `--uidmap`, `auto` or `nomap`. With another one, its files are somebody else's.
    #[error(
        "container `{container}` has a user namespace with a map of ids of its own, which is none of `keep-id`'s: it cannot be asked for again"
    )]
    UserNamespace {
        /// Its name.
        container: String,
    },
    /// The inspected JSON lacks what every engine tells.
    #[error("what the engine says of the container lacks `{field}`")]
    Incomplete {
        /// The missing field.
        field: &'static str,
    },
}

impl CarryOverError {
    /// A stable name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::AutoRemove { .. } => "container-auto-remove",
            Self::NoDataMount { .. } => "container-no-data-mount",
            Self::UserNamespace { .. } => "container-user-namespace",
            Self::Incomplete { .. } => "container-inspect-incomplete",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::AutoRemove { .. } => {
                Some("start the server again without `--rm`, on the same volume".into())
            }
            Self::NoDataMount { .. } => {
                Some("copy /srv into a volume first and start the server with it".into())
            }
            Self::UserNamespace { .. } => Some(
                "start the server again without `--uidmap`, `--userns=auto` or `nomap`, with owners that fit".into(),
            ),
            Self::Incomplete { .. } => None,
        }
    }
}

/// What the parts read and add to.
struct Scene<'a> {
    old: &'a Value,
    old_image: &'a Value,
    new_image: &'a Value,
    options: &'a CarryOverOptions,
    notes: Vec<Note>,
}

impl Scene<'_> {
    fn note(&mut self, code: &'static str, text: impl Into<String>) {
        debug_assert!(
            ferry_proto::carry_over::CODES.contains(&code),
            "`{code}` is not listed, so no controller can explain it"
        );
        self.notes.push(Note {
            code,
            text: text.into(),
        });
    }

    /// Where a port of the old image is found in the new one.
    fn port<'p>(&self, port: &'p str) -> &'p str {
        if self.options.same_major {
            port
        } else {
            translate_port(port)
        }
    }

    /// Whether the container is made again from the very image that it has.
    fn is_same_image(&self) -> bool {
        let id = |image: &Value| image["Id"].as_str().map(str::to_owned);
        id(self.old_image).is_some() && id(self.old_image) == id(self.new_image)
    }

    fn name(&self) -> String {
        self.old["Name"]
            .as_str()
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned()
    }
}

/// Describes the container that replaces `old` (facts/pmm.md 7.4).
///
/// `old`, `old_image` and `new_image` are the engine's raw answers; `env` is the user's environment in the new version's words
/// ([`super::environment`]).
///
/// # Errors
/// [`CarryOverError`]: the old container cannot be replaced safely.
pub fn carry_over(
    old: &Value,
    old_image: &Value,
    new_image: &Value,
    env: &[(String, String)],
    options: &CarryOverOptions,
) -> Result<CarryOver, CarryOverError> {
    let mut scene = Scene {
        old,
        old_image,
        new_image,
        options,
        notes: Vec::new(),
    };
    for field in ["Id", "Name", "Config", "HostConfig", "Mounts"] {
        if old.get(field).is_none_or(Value::is_null) {
            return Err(CarryOverError::Incomplete { field });
        }
    }
    if old["HostConfig"]["AutoRemove"].as_bool() == Some(true) {
        return Err(CarryOverError::AutoRemove {
            container: scene.name(),
        });
    }
    if old["HostConfig"]["UsernsMode"].as_str() == Some(ids::PRIVATE) {
        return Err(CarryOverError::UserNamespace {
            container: scene.name(),
        });
    }
    let mut body = config::config(&mut scene, env)?;
    let mut host = host::host(&mut scene);
    mounts::mounts(&mut scene, &mut host)?;
    body.insert("HostConfig".to_owned(), Value::Object(host));
    let networks = networks::networks(&mut scene);
    if let Some((name, settings)) = networks.first {
        let mut endpoints = Map::new();
        endpoints.insert(name, settings);
        body.insert(
            "NetworkingConfig".to_owned(),
            serde_json::json!({ "EndpointsConfig": endpoints }),
        );
    }
    Ok(CarryOver {
        body: Value::Object(body),
        extra_networks: networks.extra,
        notes: scene.notes,
    })
}

/// Where a port of PMM 2 is found in PMM 3; others are the user's own.
fn translate_port(port: &str) -> &str {
    match port {
        "80/tcp" => "8080/tcp",
        "443/tcp" => "8443/tcp",
        other => other,
    }
}

/// Null, empty text, empty list, empty object.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
