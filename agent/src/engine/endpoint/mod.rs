//! Which engine to talk to: the same answer that the `docker` client would give.
//!
//! Why not only a socket path: operators reach their engines by contexts, SSH and TLS, and a tool that silently talks to the local
//! socket instead would work on the wrong machine. The environment is read by the caller and passed in, so that all of this is
//! tested as data.
//!
//! Order (as the client's): `DOCKER_HOST`, `DOCKER_CONTEXT`, `currentContext` of `config.json`, the local socket.
//!
//! Rejected: a context with `SkipTLSVerify`, and `DOCKER_TLS` without `DOCKER_TLS_VERIFY`. The engine is root on its host; an
//! unverified one is refused with the reason.

mod podman;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde_json::Value;

pub use self::podman::PodmanConfig;
use super::error::EngineError;

/// Where the client looks when nothing is configured.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// The variables and folders that decide which engine is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointConfig {
    /// `DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub docker_context: Option<String>,
    /// `DOCKER_CONFIG`; `~/.docker` without it.
    pub docker_config: Option<PathBuf>,
    /// `DOCKER_CERT_PATH`; the configuration folder without it.
    pub docker_cert_path: Option<PathBuf>,
    /// `DOCKER_TLS_VERIFY`: any text but the empty one means TLS.
    pub docker_tls_verify: Option<String>,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// Podman is meant, and this says which; nothing above counts then.
    pub podman: Option<PodmanConfig>,
}

impl EndpointConfig {
    /// Reads the variables through `get`, for example `|name| std::env::var(name).ok()`.
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| get(name).filter(|value| !value.is_empty());
        Self {
            docker_host: set("DOCKER_HOST"),
            docker_context: set("DOCKER_CONTEXT"),
            docker_config: set("DOCKER_CONFIG").map(PathBuf::from),
            docker_cert_path: set("DOCKER_CERT_PATH").map(PathBuf::from),
            docker_tls_verify: set("DOCKER_TLS_VERIFY"),
            home: set("HOME").map(PathBuf::from),
            podman: None,
        }
    }

    /// The Podman of the user `uid`; the variables are read through `get`.
    pub fn podman(get: impl Fn(&str) -> Option<String>, uid: u32) -> Self {
        Self {
            podman: Some(PodmanConfig::from_env(get, uid)),
            ..Self::default()
        }
    }

    /// One given address and nothing else.
    #[must_use]
    pub fn host(address: impl Into<String>) -> Self {
        Self {
            docker_host: Some(address.into()),
            ..Self::default()
        }
    }

    /// The endpoint that these settings mean.
    ///
    /// # Errors
    /// An address of an unknown form, a context that does not exist, or a file that cannot be read.
    pub fn resolve(&self) -> Result<Endpoint, EngineError> {
        if let Some(podman) = &self.podman {
            return podman.resolve();
        }
        if let Some(host) = &self.docker_host {
            let tls = self.docker_tls_verify.is_some().then(|| {
                let folder = self
                    .docker_cert_path
                    .clone()
                    .or_else(|| self.config_folder());
                TlsFiles::in_folder(&folder.unwrap_or_default())
            });
            return Endpoint::parse(host, tls);
        }
        let context = match &self.docker_context {
            Some(name) => Some(name.clone()),
            None => self.current_context()?,
        };
        match context.as_deref() {
            None | Some("" | "default") => Ok(Endpoint::Unix {
                path: DEFAULT_SOCKET.into(),
            }),
            Some(name) => self.context(name),
        }
    }

    /// The folder of `config.json`.
    #[must_use]
    pub fn config_folder(&self) -> Option<PathBuf> {
        self.docker_config
            .clone()
            .or_else(|| self.home.as_ref().map(|home| home.join(".docker")))
    }

    fn current_context(&self) -> Result<Option<String>, EngineError> {
        let Some(path) = self
            .config_folder()
            .map(|folder| folder.join("config.json"))
        else {
            return Ok(None);
        };
        match fs_err::read(&path) {
            Ok(bytes) => {
                let config = parse(&bytes, "the engine client's configuration", &path)?;
                Ok(config["currentContext"].as_str().map(str::to_owned))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(EngineError::File { path, source }),
        }
    }

    fn context(&self, name: &str) -> Result<Endpoint, EngineError> {
        let folder = self.config_folder().ok_or_else(|| EngineError::Endpoint {
            endpoint: name.to_owned(),
            reason: "it is a context, and neither DOCKER_CONFIG nor HOME says where contexts are"
                .into(),
        })?;
        let id = sha256_hex(name.as_bytes());
        let path = folder.join("contexts/meta").join(&id).join("meta.json");
        let bytes = fs_err::read(&path).map_err(|error| EngineError::Endpoint {
            endpoint: name.to_owned(),
            reason: format!("there is no such context: {error}"),
        })?;
        let meta = parse(&bytes, "the context", &path)?;
        let docker = &meta["Endpoints"]["docker"];
        let host = docker["Host"]
            .as_str()
            .filter(|host| !host.is_empty())
            .ok_or_else(|| EngineError::Config {
                what: "the context",
                path: path.clone(),
                reason: "it names no docker endpoint".into(),
            })?;
        if docker["SkipTLSVerify"].as_bool() == Some(true) {
            return Err(EngineError::Config {
                what: "the context",
                path,
                reason: "it skips the verification of the engine's certificate".into(),
            });
        }
        let tls = folder.join("contexts/tls").join(&id).join("docker");
        Endpoint::parse(host, tls.is_dir().then(|| TlsFiles::in_folder(&tls)))
    }
}

fn parse(bytes: &[u8], what: &'static str, path: &Path) -> Result<Value, EngineError> {
    serde_json::from_slice(bytes).map_err(|error| EngineError::Config {
        what,
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// The lower-case hexadecimal SHA-256, as contexts and image layers are named by.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The files that prove both sides of a TLS connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authority that signed the engine's certificate.
    pub ca: PathBuf,
    /// The client's certificate; together with `key` or not at all.
    pub cert: PathBuf,
    /// The client's private key.
    pub key: PathBuf,
}

impl TlsFiles {
    fn in_folder(folder: &Path) -> Self {
        Self {
            ca: folder.join("ca.pem"),
            cert: folder.join("cert.pem"),
            key: folder.join("key.pem"),
        }
    }
}

/// How an engine is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A local socket.
    Unix {
        /// Its path.
        path: PathBuf,
    },
    /// A TCP port, in clear or with TLS.
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// The port; 2375, or 2376 with TLS, when the address names none.
        port: u16,
        /// Files for TLS; none means in clear.
        tls: Option<TlsFiles>,
    },
    /// The `docker` client of a far host, over SSH.
    Ssh {
        /// The user, when the address names one.
        user: Option<String>,
        /// The host, as `ssh` and its configuration know it.
        host: String,
        /// The port, when the address names one.
        port: Option<u16>,
    },
}

impl Endpoint {
    /// Understands the forms that the `docker` client takes.
    ///
    /// # Errors
    /// Names the address and what is wrong with it.
    pub fn parse(address: &str, tls: Option<TlsFiles>) -> Result<Self, EngineError> {
        let bad = |reason: &str| EngineError::Endpoint {
            endpoint: address.to_owned(),
            reason: reason.to_owned(),
        };
        let Some((scheme, rest)) = address.split_once("://") else {
            return Err(bad(
                "it must start with `unix://`, `tcp://`, `https://` or `ssh://`",
            ));
        };
        match scheme {
            "unix" if rest.is_empty() => Ok(Self::Unix {
                path: DEFAULT_SOCKET.into(),
            }),
            "unix" => Ok(Self::Unix { path: rest.into() }),
            "tcp" | "http" | "https" => {
                if scheme == "https" && tls.is_none() {
                    return Err(bad("TLS needs DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH"));
                }
                let default_port = if tls.is_some() { 2376 } else { 2375 };
                let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
                if !path.is_empty() {
                    return Err(bad("a path after the port is not supported"));
                }
                let (host, port) =
                    host_and_port(authority).ok_or_else(|| bad("the port is not a number"))?;
                if host.contains('@') {
                    return Err(bad("a user name has no meaning here"));
                }
                let host = if host.is_empty() {
                    "localhost".to_owned()
                } else {
                    host
                };
                Ok(Self::Tcp {
                    host,
                    port: port.unwrap_or(default_port),
                    tls,
                })
            }
            "ssh" => {
                let authority = rest.strip_suffix('/').unwrap_or(rest);
                if authority.contains('/') {
                    return Err(bad("a path after the host is not supported"));
                }
                let (user, host) = match authority.rsplit_once('@') {
                    Some((user, _)) if user.contains(':') => {
                        return Err(bad("a password in the address is refused"));
                    }
                    Some((user, host)) => (Some(user), host),
                    None => (None, authority),
                };
                let (host, port) =
                    host_and_port(host).ok_or_else(|| bad("the port is not a number"))?;
                // `ssh` would take such a word for an option of its own.
                if host.is_empty()
                    || host.starts_with('-')
                    || user.is_some_and(|u| u.is_empty() || u.starts_with('-'))
                {
                    return Err(bad("the host or the user is missing or starts with `-`"));
                }
                Ok(Self::Ssh {
                    user: user.map(str::to_owned),
                    host,
                    port,
                })
            }
            "npipe" | "fd" => Err(bad("this kind of endpoint cannot be reached from here")),
            _ => Err(bad(
                "it must start with `unix://`, `tcp://`, `https://` or `ssh://`",
            )),
        }
    }
}

/// Splits `host`, `host:port`, `[::1]` and `[::1]:port`; `None` for a bad port.
fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        let port = match after.strip_prefix(':') {
            Some(port) => Some(port.parse().ok()?),
            None if after.is_empty() => None,
            None => return None,
        };
        return Some((host.to_owned(), port));
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host.to_owned(), Some(port.parse().ok()?))),
        None => Some((authority.to_owned(), None)),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bracketed = |host: &str| {
            if host.contains(':') {
                format!("[{host}]")
            } else {
                host.to_owned()
            }
        };
        match self {
            Self::Unix { path } => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port, tls } => {
                let scheme = if tls.is_some() { "https" } else { "tcp" };
                write!(f, "{scheme}://{}:{port}", bracketed(host))
            }
            Self::Ssh { user, host, port } => {
                f.write_str("ssh://")?;
                if let Some(user) = user {
                    write!(f, "{user}@")?;
                }
                f.write_str(&bracketed(host))?;
                port.map_or(Ok(()), |port| write!(f, ":{port}"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
