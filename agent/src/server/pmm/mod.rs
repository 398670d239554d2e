//! PMM's own API, version 2 or 3.
//!
//! Why through pmm-managed's port first: it asks for no password (`facts/pmm.md` 3.5), so that inventory can be proven
//! without anybody's secret. Where nothing listens there, nginx is asked, which does ask for one.
//!
//! What is read is brought into one shape, without the id prefixes and enum names that differ between the majors
//! (`facts/pmm.md` 3.1–3.3), so that whoever compares need not know the version.

mod clients;
mod inventory;
mod normal;

pub use clients::Client;
pub use inventory::{AgentCount, Agents, Node, PMM_SERVER, Service};
pub use normal::{normal_enum, normal_id, normal_job};

use ferry_proto::Secret;
use serde_json::Value;

use super::http::{Credentials, Local, Ports};
use super::{Result, ServerError};

/// The majors whose API is known.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Major {
    /// PMM 2
    V2,
    /// PMM 3
    V3,
}

/// What a server says of its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Such as `2.44.1`.
    pub version: String,
    /// With the build, such as `2.44.1-…`; empty where it is not told.
    pub full: String,
    /// `DOCKER`, `OVF`, `AMI`, …; empty where it is not told.
    pub distribution: String,
}

/// Whether a server takes requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// It does.
    Yes,
    /// It does not yet.
    NotYet(String),
    /// nginx answers everything with its maintenance page.
    Maintenance,
}

/// What a server answers to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAnswer {
    /// It opens.
    Accepted,
    /// It does not, with this status.
    Refused(u16),
    /// Nobody is asked for a key, so that none can be tried.
    EverybodyIsLetIn,
}

impl std::fmt::Display for KeyAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Accepted => f.write_str("the server accepts it"),
            Self::Refused(status) => write!(f, "the server refuses it with status {status}"),
            Self::EverybodyIsLetIn => {
                f.write_str("the server lets in everybody, with and without a key")
            }
        }
    }
}

/// The way to one server's API.
#[derive(Debug, Clone)]
pub struct Pmm {
    major: Major,
    api: Local,
    front: Local,
    version: Version,
}

impl Pmm {
    /// Finds out which major answers, and where.
    ///
    /// # Errors
    /// Nothing listens, nothing known answers, or nginx wants other credentials.
    pub async fn detect(ports: &Ports, credentials: Option<Credentials>) -> Result<Self> {
        let ways = [
            (ports.managed, &[Major::V3, Major::V2][..]),
            (ports.nginx_v3, &[Major::V3]),
            (ports.nginx_v2, &[Major::V2]),
        ];
        let mut first_error = None;
        for (port, majors) in ways {
            let api = Local::port(port).with_credentials(credentials.clone());
            for major in majors.iter().copied() {
                match version_at(&api, major).await {
                    Ok(version) => {
                        let front = match major {
                            Major::V2 => ports.nginx_v2,
                            Major::V3 => ports.nginx_v3,
                        };
                        return Ok(Self {
                            major,
                            api,
                            front: Local::port(front),
                            version,
                        });
                    }
                    Err(error) => {
                        let refused = error.is_refused();
                        // An answer says more than a port on which nobody listens.
                        if first_error.as_ref().is_none_or(ServerError::is_refused) {
                            first_error = Some(error);
                        }
                        if refused {
                            break;
                        }
                    }
                }
            }
        }
        Err(first_error.unwrap_or(ServerError::Missing {
            what: "PMM's API",
            why: "no port was asked".into(),
        }))
    }

    /// The major whose API answers.
    #[must_use]
    pub fn major(&self) -> Major {
        self.major
    }

    /// The version that was told when the server was found.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.version
    }

    pub(super) fn api(&self) -> &Local {
        &self.api
    }

    /// Tries a key as its owner would: at nginx, which asks everybody who they are. That the page is closed to somebody without
    /// a key is seen first; otherwise it would say nothing that it opens.
    ///
    /// # Errors
    /// nginx does not answer, or answers with something else than yes or no.
    pub async fn try_key(&self, key: &Secret) -> Result<KeyAnswer> {
        let path = version_page(self.major);
        if self.front.get(path).await?.status == 200 {
            return Ok(KeyAnswer::EverybodyIsLetIn);
        }
        let with_key = Some(Credentials::key(key));
        let asked = self.front.clone().with_credentials(with_key);
        match asked.get(path).await?.status {
            200 => Ok(KeyAnswer::Accepted),
            status @ (401 | 403) => Ok(KeyAnswer::Refused(status)),
            status => Err(self
                .front
                .odd(path, format!("it answers with status {status}"))),
        }
    }

    /// Whether the server is ready, seen from outside too: pmm-managed says yes, and nginx lets requests through.
    ///
    /// # Errors
    /// The request cannot be made at all; a server that does not answer is [`Ready::NotYet`].
    pub async fn ready(&self) -> Result<Ready> {
        let path = match self.major {
            Major::V2 => "/v1/readyz",
            Major::V3 => "/v1/server/readyz",
        };
        // nginx first: in maintenance the inner port may be ready already.
        for local in [&self.front, &self.api] {
            match local.get(path).await {
                Ok(answer) if answer.status == 200 => {}
                Ok(answer) => {
                    let json: Option<Value> = serde_json::from_slice(&answer.body).ok();
                    if answer.status == 503 && json.is_none() {
                        return Ok(Ready::Maintenance);
                    }
                    let told = json.as_ref().and_then(|json| {
                        json.get("error").or_else(|| json.get("message"))?.as_str()
                    });
                    return Ok(Ready::NotYet(told.map_or_else(
                        || {
                            format!(
                                "port {} answers with status {}",
                                local.number(),
                                answer.status
                            )
                        },
                        str::to_owned,
                    )));
                }
                Err(error) => return Ok(Ready::NotYet(error.to_string())),
            }
        }
        Ok(Ready::Yes)
    }
}

/// The page that whoever may see anything may see, and nobody else (`facts/pmm.md` 3.1).
fn version_page(major: Major) -> &'static str {
    match major {
        Major::V2 => "/v1/version",
        Major::V3 => "/v1/server/version",
    }
}

async fn version_at(api: &Local, major: Major) -> Result<Version> {
    let path = version_page(major);
    let json = api.get_json(path).await?;
    let text = |pointer: &str| {
        json.pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let version = text("/version")
        .or_else(|| text("/server/version"))
        .filter(|version| !version.is_empty())
        .ok_or_else(|| api.odd(path, "it tells no version"))?;
    Ok(Version {
        version,
        full: text("/server/full_version").unwrap_or_default(),
        distribution: text("/distribution_method")
            .map(|method| normal_enum(&method).to_owned())
            .unwrap_or_default(),
    })
}
