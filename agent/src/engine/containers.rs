//! What is done with containers: ask, stop, start, rename, create, connect, remove.
//!
//! Why nothing here can kill or force: the server's databases need their own full grace, and a run never removes the old container
//! (the engine's own `stop` kills when its patience ends, so it is not used).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::BodyExt as _;
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    ask::Ask,
    client::{Engine, encode},
    error::{EngineError, close_names},
    ids,
    inspect::{ContainerInspect, RestartPolicy},
    kind::EngineKind,
};

/// How long a server gets to stop: PMM's databases have 300 s of their own (facts/pmm.md 1.2).
pub const DEFAULT_GRACE: Duration = Duration::from_secs(330);
/// After how long a container is asked to stop once more. A first process that has no handler for the signal does not get it
/// at all, and the shell that starts a server's supervisor is one: who stops a server in its first second is not heard.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// As good as never, and a number that every engine takes.
const TEN_YEARS: &str = "315360000";

/// A request to stop that the engine answers when the container has ended.
#[derive(Debug, Clone, Default)]
struct Asking(Arc<Mutex<Option<EngineError>>>);

impl Asking {
    fn refuse(&self, error: EngineError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// The engine's refusal, once.
    fn refusal(&self) -> Option<EngineError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What a request to stop came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopOutcome {
    /// It does not run, and ended with this code.
    Stopped {
        /// The code of its first process.
        exit_code: i64,
        /// Whether it did not run in the first place.
        already: bool,
    },
    /// It still runs after the whole grace; it was not killed.
    StillRunning,
}

/// What the engine said when it made a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The full id.
    pub id: String,
    /// The engine's remarks, for example that a limit is not supported.
    pub warnings: Vec<String>,
}

/// A container in the engine's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEntry {
    /// The full id.
    pub id: String,
    /// Its name, without a slash.
    pub name: String,
    /// The image as asked for.
    pub image: String,
    /// `running`, `exited` and so on.
    pub state: String,
    /// When it was made, in seconds since 1970.
    pub created: i64,
}

/// A wait that stands at the engine; made before a container is started, so that no end is missed.
#[derive(Debug)]
pub struct NextExit {
    response: hyper::Response<hyper::body::Incoming>,
    endpoint: String,
    action: String,
}

impl NextExit {
    /// The exit code of the next end.
    ///
    /// # Errors
    /// When it does not end within `timeout`, or the connection breaks.
    pub async fn wait(self, timeout: Duration) -> Result<i64, EngineError> {
        let Self {
            response,
            endpoint,
            action,
        } = self;
        let body = match tokio::time::timeout(timeout, response.into_body().collect()).await {
            Err(_) => {
                return Err(EngineError::Timeout {
                    endpoint,
                    action,
                    after: timeout,
                });
            }
            Ok(Err(error)) => {
                return Err(EngineError::Interrupted {
                    endpoint,
                    action,
                    reason: error.to_string(),
                });
            }
            Ok(Ok(body)) => body.to_bytes(),
        };
        let answer: Value = serde_json::from_slice(&body).map_err(|error| EngineError::Answer {
            action: action.clone(),
            reason: error.to_string(),
        })?;
        answer["StatusCode"].as_i64().ok_or(EngineError::Answer {
            action,
            reason: "it has no StatusCode".into(),
        })
    }
}

/// The path of a container, for names that the engine could have given; anything else could mean another path.
pub(super) fn path(name: &str, rest: &str) -> Result<String, EngineError> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let fine = bare.starts_with(|c: char| c.is_ascii_alphanumeric())
        && bare
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if fine {
        Ok(format!("/containers/{bare}{rest}"))
    } else {
        Err(EngineError::BadName {
            kind: "container",
            name: name.to_owned(),
        })
    }
}

impl Engine {
    /// Everything that the engine knows of a container, by name or id.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] with the names that look alike.
    pub async fn inspect_container(&self, name: &str) -> Result<ContainerInspect, EngineError> {
        let ask = Ask::new(
            Method::GET,
            path(name, "/json")?,
            format!("inspect container {name}"),
        );
        match self.ask_json(ask).await {
            Ok(raw) => self.understand(raw).await,
            Err(EngineError::Refused { status: 404, .. }) => Err(self.no_container(name).await),
            Err(error) => Err(error),
        }
    }

    /// An answer in Docker's words, with what Podman tells in its own interface alone: which ids a container has that has its own.
    async fn understand(&self, raw: Value) -> Result<ContainerInspect, EngineError> {
        let mut raw = self.kind().container(raw);
        let mode = &raw["HostConfig"]["UsernsMode"];
        if self.kind() == EngineKind::Podman && mode.as_str() == Some(ids::PRIVATE) {
            let id = raw["Id"].as_str().unwrap_or_default();
            let action = format!("tell the ids of container {id}");
            let own = self.ask_podman(path(id, "/json")?, action).await?;
            if let Some(mode) = ids::mode(&own["HostConfig"]["IDMappings"]) {
                raw["HostConfig"]["UsernsMode"] = json!(mode);
            }
        }
        Ok(ContainerInspect::new(raw))
    }

    /// Like [`Engine::inspect_container`], with `None` for a container that does not exist.
    ///
    /// # Errors
    /// All but "not found".
    pub async fn find_container(
        &self,
        name: &str,
    ) -> Result<Option<ContainerInspect>, EngineError> {
        let ask = Ask::new(
            Method::GET,
            path(name, "/json")?,
            format!("inspect container {name}"),
        );
        match self.ask_json(ask).await {
            Ok(raw) => self.understand(raw).await.map(Some),
            Err(EngineError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn no_container(&self, name: &str) -> EngineError {
        let known = self.list_containers(&[]).await.unwrap_or_default();
        EngineError::NotFound {
            kind: "container",
            name: name.to_owned(),
            endpoint: self.endpoint().to_owned(),
            close: close_names(name, known.iter().map(|entry| entry.name.as_str())),
        }
    }

    /// A request about one container, with "no such container" in our words.
    async fn of_container(
        &self,
        name: &str,
        ask: Ask<'_>,
    ) -> Result<hyper::body::Bytes, EngineError> {
        match self.ask(ask).await {
            Err(EngineError::Refused {
                status: 404,
                message,
                action,
            }) => {
                // A missing network is a 404 as well.
                match self.find_container(name).await {
                    Ok(None) => Err(self.no_container(name).await),
                    _ => Err(EngineError::Refused {
                        status: 404,
                        message,
                        action,
                    }),
                }
            }
            other => other,
        }
    }

    /// All containers, running or not, that match every filter (`("label", "ferry.run=x")`, `("volume", "pmm-data")`, …).
    ///
    /// # Errors
    /// The engine's refusal of a filter.
    pub async fn list_containers(
        &self,
        filters: &[(&str, &str)],
    ) -> Result<Vec<ContainerEntry>, EngineError> {
        let mut wanted = serde_json::Map::new();
        for (key, value) in filters {
            let list = wanted.entry((*key).to_owned()).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(json!(value));
            }
        }
        let wanted = Value::Object(wanted).to_string();
        let query = [("all", "true"), ("filters", wanted.as_str())];
        let ask = Ask::new(
            Method::GET,
            "/containers/json".into(),
            "list containers".into(),
        )
        .query(&query);
        let answer = self.ask_json(ask).await?;
        let get = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let entries = answer
            .as_array()
            .into_iter()
            .flatten()
            .map(|entry| ContainerEntry {
                id: get(entry, "Id"),
                // Links add names of the form `/other/alias`; the own one has a single slash.
                name: entry["Names"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|name| name.as_str()?.strip_prefix('/'))
                    .find(|name| !name.contains('/'))
                    .unwrap_or_default()
                    .to_owned(),
                image: get(entry, "Image"),
                state: get(entry, "State"),
                created: entry["Created"].as_i64().unwrap_or_default(),
            });
        Ok(entries.collect())
    }

    /// Sets the restart policy, which takes effect at once and without a restart.
    ///
    /// # Errors
    /// No such container, or [`EngineError::Unsupported`]: see [`Engine::can_update`].
    pub async fn update_restart_policy(
        &self,
        name: &str,
        policy: &RestartPolicy,
    ) -> Result<(), EngineError> {
        let action = format!("set the restart policy of {name}");
        let body = json!({ "RestartPolicy": policy });
        self.update(name, action, &body).await
    }

    /// Sets how many processes the container may have; 0: as many as it likes. Takes effect at once, also on one that does not run.
    ///
    /// Whether the engine kept it says [`ContainerInspect::pids_limit`]: without the kernel's `pids` controller it is only warned of.
    ///
    /// # Errors
    /// No such container, or [`EngineError::Unsupported`]: see [`Engine::can_update`].
    pub async fn update_pids_limit(&self, name: &str, limit: i64) -> Result<(), EngineError> {
        // Below 0 is "none" to every engine; 0 may mean "as it is".
        let body = json!({ "PidsLimit": if limit > 0 { limit } else { -1 } });
        let action = format!("set the limit of processes of {name}");
        self.update(name, action, &body).await
    }

    async fn update(&self, name: &str, action: String, body: &Value) -> Result<(), EngineError> {
        let path = path(name, "/update")?;
        if !self.can_update().await? {
            let engine = self.kind().word();
            return Err(EngineError::Unsupported { action, engine });
        }
        let ask = Ask::new(Method::POST, path, action).body(body);
        self.of_container(name, ask).await.map(drop)
    }

    /// Sends the container's own stop signal and waits for `grace`. Nothing is killed: a container that needs longer is reported.
    ///
    /// Take the restart policy off first ([`Engine::update_restart_policy`]), where the engine can.
    ///
    /// # Errors
    /// No such container, or a broken connection; the container may then still be stopping.
    pub async fn stop(&self, name: &str, grace: Duration) -> Result<StopOutcome, EngineError> {
        let before = self.inspect_container(name).await?;
        if !before.running() {
            return Ok(StopOutcome::Stopped {
                exit_code: before.exit_code(),
                already: true,
            });
        }
        let id = before.id().to_owned();
        let asking = self.ask_to_stop(name, &before).await?;
        let deadline = Instant::now() + grace;
        let mut asked = Instant::now();
        let mut pause = Duration::from_millis(50);
        loop {
            if asked.elapsed() >= ASK_AGAIN {
                self.signal_stop(name, &before).await?;
                asked = Instant::now();
            }
            match self.find_container(&id).await? {
                Some(now) if now.running() => {}
                Some(now) => {
                    return Ok(StopOutcome::Stopped {
                        exit_code: now.exit_code(),
                        already: false,
                    });
                }
                None => return Err(self.no_container(name).await),
            }
            if let Some(refused) = asking.refusal() {
                return Err(refused);
            }
            if Instant::now() >= deadline {
                return Ok(StopOutcome::StillRunning);
            }
            tokio::time::sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
            pause = (pause * 2).min(Duration::from_millis(250));
        }
    }

    /// Asks a container to stop in the way that this kind of engine does not answer with a restart.
    ///
    /// Docker's own `stop` kills when its patience ends, so the signal is sent alone. Podman takes an end by a signal for an accident and
    /// follows the restart policy; only its `stop` says that the end is wanted. That is given ten years of patience, and left alone.
    async fn ask_to_stop(
        &self,
        name: &str,
        container: &ContainerInspect,
    ) -> Result<Asking, EngineError> {
        if self.kind() == EngineKind::Docker {
            self.signal_stop(name, container).await?;
            return Ok(Asking::default());
        }
        let path = path(container.id(), "/stop")?;
        let action = format!("stop container {name}");
        let engine = self.clone();
        let asking = Asking::default();
        let answer = asking.clone();
        tokio::spawn(async move {
            let query = [("t", TEN_YEARS)];
            let ask = Ask::new(Method::POST, path, action).query(&query);
            // The answer comes with the end, which whoever asked watches for. Until then only a refusal counts.
            match engine.ask(ask).await {
                Err(error @ EngineError::Refused { status, .. }) if status != 404 => {
                    answer.refuse(error);
                }
                _ => {}
            }
        });
        Ok(asking)
    }

    async fn signal_stop(
        &self,
        name: &str,
        container: &ContainerInspect,
    ) -> Result<(), EngineError> {
        let query = [("signal", container.stop_signal())];
        let ask = Ask::new(
            Method::POST,
            path(container.id(), "/kill")?,
            format!("stop container {name}"),
        )
        .query(&query);
        match self.of_container(container.id(), ask).await {
            // 409: it ended between the question and the signal.
            Ok(_) | Err(EngineError::Refused { status: 409, .. }) => Ok(()),
            // Podman says 500 to that (seen on 4.3.1).
            Err(refusal @ EngineError::Refused { status: 500.., .. }) => {
                match self.find_container(container.id()).await? {
                    Some(now) if now.running() => Err(refusal),
                    _ => Ok(()),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Starts a container; one that runs already is left alone.
    ///
    /// # Errors
    /// The engine's reason, for example a port that is taken.
    pub async fn start(&self, name: &str) -> Result<(), EngineError> {
        let ask = Ask::new(
            Method::POST,
            path(name, "/start")?,
            format!("start container {name}"),
        );
        self.of_container(name, ask).await.map(drop)
    }

    /// Renames a container, running or not.
    ///
    /// # Errors
    /// No such container, or a name that is taken.
    pub async fn rename(&self, name: &str, new_name: &str) -> Result<(), EngineError> {
        let query = [("name", new_name)];
        let ask = Ask::new(
            Method::POST,
            path(name, "/rename")?,
            format!("rename container {name} to {new_name}"),
        )
        .query(&query);
        self.of_container(name, ask).await.map(drop)
    }

    /// Makes a container from a raw body. It is not started.
    ///
    /// # Errors
    /// A name that is taken, an image that is not there (images are never pulled here), or settings that the engine refuses.
    pub async fn create(&self, name: &str, body: &Value) -> Result<Created, EngineError> {
        let query = [("name", name)];
        let ask = Ask::new(
            Method::POST,
            "/containers/create".into(),
            format!("create container {name}"),
        )
        .query(&query)
        .body(body);
        let answer = self.ask_json(ask).await?;
        let id = answer["Id"].as_str().ok_or_else(|| EngineError::Answer {
            action: format!("create container {name}"),
            reason: "it has no Id".into(),
        })?;
        let warnings = answer["Warnings"].as_array().into_iter().flatten();
        Ok(Created {
            id: id.to_owned(),
            warnings: warnings
                .filter_map(|warning| warning.as_str().map(str::to_owned))
                .collect(),
        })
    }

    /// Puts a container on one more network, with the settings of a raw `EndpointConfig` (aliases, addresses).
    ///
    /// # Errors
    /// No such container or network, or an address that is taken.
    pub async fn connect_network(
        &self,
        network: &str,
        name: &str,
        settings: &Value,
    ) -> Result<(), EngineError> {
        let body = json!({ "Container": name, "EndpointConfig": settings });
        let ask = Ask::new(
            Method::POST,
            format!("/networks/{}/connect", encode(network)),
            format!("connect container {name} to network {network}"),
        )
        .body(&body);
        self.ask(ask).await.map(drop)
    }

    /// Takes a container off a network.
    ///
    /// # Errors
    /// No such container or network.
    pub async fn disconnect_network(&self, network: &str, name: &str) -> Result<(), EngineError> {
        let body = json!({ "Container": name, "Force": false });
        let ask = Ask::new(
            Method::POST,
            format!("/networks/{}/disconnect", encode(network)),
            format!("disconnect container {name} from network {network}"),
        )
        .body(&body);
        self.ask(ask).await.map(drop)
    }

    /// Registers a wait for the container's next end. When this returns the wait stands: start the container afterwards.
    ///
    /// # Errors
    /// No such container.
    pub async fn next_exit(&self, name: &str) -> Result<NextExit, EngineError> {
        let query = [("condition", "next-exit")];
        let action = format!("wait for container {name}");
        let ask = Ask::new(Method::POST, path(name, "/wait")?, action.clone()).query(&query);
        let response = self.open(&ask).await?;
        Ok(NextExit {
            response,
            endpoint: self.endpoint().to_owned(),
            action,
        })
    }
}
