//! The engine's HTTP interface: raw requests where every field counts, bollard where a protocol does.
//!
//! Why both: bollard knows how to demultiplex an attached stream, to follow events and to report a pull; but its typed inspect
//! loses fields (a fixed MAC address among them), so whatever a container is made again from travels as raw JSON. Both go through
//! one connector and one pool of connections.

use std::{error::Error as StdError, pin::Pin, sync::Arc, time::Duration};

use bollard::{BollardRequest, ClientVersion, Docker};
use bytes::Bytes;
use futures_util::Stream;
use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use hyper::{
    Method, Request, Response,
    body::{Frame, Incoming},
};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use serde_json::Value;

use super::{
    ask::{Ask, repeated},
    connector::{CONNECT_TIMEOUT, Connector},
    endpoint::{Endpoint, EndpointConfig},
    error::EngineError,
    kind::EngineKind,
};

/// The newest API that is asked for. From 1.44 on, inspect no longer tells a configured MAC address from a made-up one, so an
/// engine that still speaks 1.43 is asked in it; a newer one that does not is asked in the oldest version it knows.
const NEWEST_API: (usize, usize) = (1, 43);

/// The oldest engine that this was tried on: Docker 20.10.
const OLDEST_API: (usize, usize) = (1, 41);
/// Podman's own interface, of the version that every Podman which is spoken to here has.
const PODMANS: &str = "/v4.0.0/libpod";

/// How long an ordinary question may take. Creating a container may wait for a busy disk.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

type BodyStream = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, std::io::Error>> + Send>>;
type Body = Either<Full<Bytes>, StreamBody<BodyStream>>;
type HttpClient = Client<Connector, Body>;

/// A container engine that has answered.
///
/// Cheap to clone; all clones share one pool of connections.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    client: HttpClient,
    connector: Connector,
    pub(crate) docker: Docker,
    pub(crate) endpoint: String,
    pub(crate) api: (usize, usize),
    pub(crate) kind: EngineKind,
    /// Whether the engine changes containers that exist, once asked.
    pub(crate) updates: tokio::sync::OnceCell<bool>,
    /// Whether the engine's host enforces SELinux, once asked.
    pub(crate) selinux: tokio::sync::OnceCell<bool>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("endpoint", &self.inner.endpoint)
            .field("api", &self.inner.api)
            .finish()
    }
}

impl Engine {
    /// Connects to the engine that `config` means and agrees on a version of its interface.
    ///
    /// # Errors
    /// A configuration of no use, or an engine that does not answer within 10 s; the error names the endpoint.
    pub async fn connect(config: &EndpointConfig) -> Result<Self, EngineError> {
        let engine = Self::connect_to(config.resolve()?).await;
        match &config.podman {
            None => engine,
            Some(podman) => podman.accept(engine),
        }
    }

    /// Connects to one given endpoint; see [`Engine::connect`].
    ///
    /// # Errors
    /// As [`Engine::connect`].
    pub async fn connect_to(endpoint: Endpoint) -> Result<Self, EngineError> {
        let name = endpoint.to_string();
        let connector = Connector::new(endpoint)?;
        let client: HttpClient = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .build(connector.clone());
        let ask = Ask::new(
            Method::GET,
            "/version".to_owned(),
            "tell its version".to_owned(),
        );
        let asked = tokio::time::timeout(CONNECT_TIMEOUT, async {
            let request = build(&ask, None)?;
            let response = match client.request(request).await {
                Ok(response) => response,
                Err(error) => return Err(broken(&name, &connector, &ask, &error).await),
            };
            finish(response, &ask, &name).await
        });
        let version = match asked.await {
            Ok(Ok(bytes)) => json(&bytes, &ask.action)?,
            Ok(Err(EngineError::Interrupted {
                endpoint, reason, ..
            })) => {
                return Err(EngineError::Unreachable { endpoint, reason });
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                return Err(EngineError::Timeout {
                    endpoint: name,
                    action: ask.action,
                    after: CONNECT_TIMEOUT,
                });
            }
        };
        let api = agree(&version)?;
        let docker = bollard_over(client.clone(), connector.clone(), api)?;
        Ok(Self {
            inner: Arc::new(Inner {
                client,
                connector,
                docker,
                endpoint: name,
                api,
                kind: EngineKind::of(&version),
                updates: tokio::sync::OnceCell::new(),
                selinux: tokio::sync::OnceCell::new(),
            }),
        })
    }

    /// Whether the agreed version of the interface is this one or newer.
    #[must_use]
    pub fn api_at_least(&self, major: usize, minor: usize) -> bool {
        self.inner.api >= (major, minor)
    }

    /// The endpoint, as a person would write it.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.inner.endpoint
    }

    /// Whether inspect tells only the MAC addresses in use and not the configured ones (API 1.44 and later); see
    /// [`super::carry_over::CarryOverOptions`].
    #[must_use]
    pub fn hides_configured_mac(&self) -> bool {
        self.inner.api > NEWEST_API
    }

    pub(crate) fn docker(&self) -> &Docker {
        &self.inner.docker
    }

    /// Asks and returns the answer's body; an empty one for "nothing to do" (304). Where that is safe, an engine that fails is asked again.
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Result<Bytes, EngineError> {
        if ask.may_be_repeated() {
            repeated(|| self.ask_once(&ask)).await
        } else {
            self.ask_once(&ask).await
        }
    }

    async fn ask_once(&self, ask: &Ask<'_>) -> Result<Bytes, EngineError> {
        self.in_time(ask, async {
            let response = self.send(ask).await?;
            finish(response, ask, &self.inner.endpoint).await
        })
        .await
    }

    /// Asks and returns as soon as the engine begins to answer; the body comes later.
    pub(crate) async fn open(&self, ask: &Ask<'_>) -> Result<Response<Incoming>, EngineError> {
        let response = self.in_time(ask, self.send(ask)).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        finish(response, ask, &self.inner.endpoint).await?;
        Err(EngineError::Answer {
            action: ask.action.clone(),
            reason: "it has no body".to_owned(),
        })
    }

    async fn send(&self, ask: &Ask<'_>) -> Result<Response<Incoming>, EngineError> {
        let inner = &self.inner;
        match inner.client.request(build(ask, Some(inner.api))?).await {
            Ok(response) => Ok(response),
            Err(error) => Err(broken(&inner.endpoint, &inner.connector, ask, &error).await),
        }
    }

    async fn in_time<T>(
        &self,
        ask: &Ask<'_>,
        work: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        tokio::time::timeout(ANSWER_TIMEOUT, work)
            .await
            .unwrap_or_else(|_| {
                Err(EngineError::Timeout {
                    endpoint: self.inner.endpoint.clone(),
                    action: ask.action.clone(),
                    after: ANSWER_TIMEOUT,
                })
            })
    }

    /// Asks and reads the answer as JSON.
    pub(crate) async fn ask_json(&self, ask: Ask<'_>) -> Result<Value, EngineError> {
        let action = ask.action.clone();
        json(&self.ask(ask).await?, &action)
    }

    /// What Podman's own interface tells, for which Docker's has no word; null where what is asked about was removed in between: what was told
    /// of it is still true. Only a Podman has these pages.
    pub(crate) async fn ask_podman(
        &self,
        path: String,
        action: String,
    ) -> Result<Value, EngineError> {
        let ask = Ask {
            podmans: true,
            ..Ask::new(Method::GET, path, action)
        };
        match self.ask_json(ask).await {
            Err(EngineError::Refused { status: 404, .. }) => Ok(Value::Null),
            other => other,
        }
    }

    /// Puts bollard's error into our words.
    pub(crate) fn explain(&self, action: &str, error: bollard::errors::Error) -> EngineError {
        use bollard::errors::Error;
        let (action, endpoint) = (action.to_owned(), self.inner.endpoint.clone());
        match error {
            Error::DockerResponseServerError {
                status_code,
                message,
            } => EngineError::Refused {
                action,
                status: status_code,
                message,
            },
            Error::DockerStreamError { error } => EngineError::Refused {
                action,
                status: 200,
                message: error,
            },
            Error::RequestTimeoutError => EngineError::Timeout {
                endpoint,
                action,
                after: ANSWER_TIMEOUT,
            },
            Error::JsonDataError { message, .. } => EngineError::Answer {
                action,
                reason: message,
            },
            other => EngineError::Interrupted {
                endpoint,
                action,
                reason: chain(&other),
            },
        }
    }
}

/// bollard, speaking through our client and in the agreed version.
///
/// The version is put into the path here: bollard drops it from its own paths, and the engine would then answer in its newest.
fn bollard_over(
    client: HttpClient,
    connector: Connector,
    api: (usize, usize),
) -> Result<Docker, EngineError> {
    let transport = move |request: BollardRequest| {
        let (client, connector) = (client.clone(), connector.clone());
        async move {
            let (mut parts, body) = request.into_parts();
            let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
            if !path.starts_with("/v1.") {
                parts.uri = format!("http://engine/v{}.{}{path}", api.0, api.1).parse()?;
            }
            match client.request(Request::from_parts(parts, body)).await {
                Ok(response) => Ok(response),
                Err(error) => {
                    let reason = with_complaint(&connector, &error).await;
                    Err(bollard::errors::Error::from(std::io::Error::other(reason)))
                }
            }
        }
    };
    let version = ClientVersion {
        major_version: api.0,
        minor_version: api.1,
    };
    Docker::connect_with_custom_transport(
        transport,
        Some("http://engine"),
        ANSWER_TIMEOUT.as_secs(),
        &version,
    )
    .map_err(|error| EngineError::Answer {
        action: "set up".to_owned(),
        reason: error.to_string(),
    })
}

fn build(ask: &Ask<'_>, api: Option<(usize, usize)>) -> Result<Request<Body>, EngineError> {
    let mut uri = String::from("http://engine");
    if ask.podmans {
        uri.push_str(PODMANS);
    } else if let Some((major, minor)) = api {
        uri.push_str(&format!("/v{major}.{minor}"));
    }
    uri.push_str(&ask.path);
    for (index, (key, value)) in ask.query.iter().enumerate() {
        uri.push(if index == 0 { '?' } else { '&' });
        uri.push_str(key);
        uri.push('=');
        uri.push_str(&encode(value));
    }
    let mut request = Request::builder().method(ask.method.clone()).uri(uri);
    let bytes = match ask.body {
        Some(body) => {
            request = request.header(hyper::header::CONTENT_TYPE, "application/json");
            Bytes::from(body.to_string())
        }
        None => Bytes::new(),
    };
    request
        .body(bollard::body_full(bytes))
        .map_err(|error| EngineError::Answer {
            action: ask.action.clone(),
            reason: error.to_string(),
        })
}

async fn finish(
    response: Response<Incoming>,
    ask: &Ask<'_>,
    endpoint: &str,
) -> Result<Bytes, EngineError> {
    let status = response.status();
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(|error| EngineError::Interrupted {
            endpoint: endpoint.to_owned(),
            action: ask.action.clone(),
            reason: chain(&error),
        })?;
    let bytes = body.to_bytes();
    if status.is_success() || status == hyper::StatusCode::NOT_MODIFIED {
        return Ok(bytes);
    }
    let message = serde_json::from_slice::<Value>(&bytes)
        .ok()
        .and_then(|answer| answer["message"].as_str().map(str::to_owned))
        .unwrap_or_else(|| String::from_utf8_lossy(&bytes).trim().to_owned());
    Err(EngineError::Refused {
        action: ask.action.clone(),
        status: status.as_u16(),
        message,
    })
}

fn json(bytes: &[u8], action: &str) -> Result<Value, EngineError> {
    serde_json::from_slice(bytes).map_err(|error| EngineError::Answer {
        action: action.to_owned(),
        reason: error.to_string(),
    })
}

/// A request that failed before its answer: nothing was done when no connection stood; otherwise nobody knows.
async fn broken(
    endpoint: &str,
    connector: &Connector,
    ask: &Ask<'_>,
    error: &hyper_util::client::legacy::Error,
) -> EngineError {
    let (endpoint, reason) = (endpoint.to_owned(), with_complaint(connector, error).await);
    if error.is_connect() {
        EngineError::Unreachable { endpoint, reason }
    } else {
        EngineError::Interrupted {
            endpoint,
            action: ask.action.clone(),
            reason,
        }
    }
}

/// The transport's words, and those of `ssh`, which alone knows why.
async fn with_complaint(connector: &Connector, error: &(dyn StdError + Sync)) -> String {
    let complaint = connector.complaint().await;
    if complaint.is_empty() {
        chain(error)
    } else {
        format!("{}: {complaint}", chain(error))
    }
}

/// An error and its causes in one line; causes that only repeat are left out.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = inner.source();
    }
    text
}

/// The version to speak with an engine that told this of itself.
fn agree(version: &Value) -> Result<(usize, usize), EngineError> {
    let bad = |reason: String| EngineError::Answer {
        action: "tell its version".to_owned(),
        reason,
    };
    let number = |key: &str| {
        version[key].as_str().and_then(|text| {
            let (major, minor) = text.split_once('.')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        })
    };
    let newest: (usize, usize) =
        number("ApiVersion").ok_or_else(|| bad("it names no API version".into()))?;
    let oldest = number("MinAPIVersion").unwrap_or((1, 0));
    if newest < OLDEST_API {
        return Err(bad(format!(
            "it speaks API {}.{}; {}.{} (Docker 20.10) is needed",
            newest.0, newest.1, OLDEST_API.0, OLDEST_API.1
        )));
    }
    Ok(newest.min(NEWEST_API.max(oldest)))
}

/// Encodes what may not stand in a path's part or a query's value.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn versions_are_only_lowered_and_never_below_the_engines_own() {
        let agreed =
            |api: &str, min: &str| agree(&json!({"ApiVersion": api, "MinAPIVersion": min})).ok();
        assert_eq!(agreed("1.41", "1.12"), Some((1, 41)));
        assert_eq!(agreed("1.47", "1.24"), Some((1, 43)));
        assert_eq!(agreed("1.52", "1.44"), Some((1, 44)));
        assert_eq!(agreed("1.40", "1.12"), None);
        assert_eq!(agree(&json!({"ApiVersion": "1.41"})).unwrap(), (1, 41));
        assert!(agree(&json!({})).is_err());
    }

    #[test]
    fn nothing_in_a_name_can_change_the_request() {
        assert_eq!(encode("pmm-server_1.x"), "pmm-server_1.x");
        assert_eq!(encode("a/b?c#d%é\n"), "a%2Fb%3Fc%23d%25%C3%A9%0A");
    }
}
