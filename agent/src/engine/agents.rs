//! Agents in containers: beside a running server, or on its volumes alone.
//!
//! Why the agent's name is a lock: it is made from the server's name, and an engine has a name only once. Whoever finds it taken by
//! another run stops, and that survives every crash of ours.
//!
//! Rejected: an anonymous volume for the socket. It could only be removed together with its container, and the engine would then
//! also try the server's own anonymous volumes, which the agent takes over.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{
    agent_image::program_tar,
    client::Engine,
    containers::StopOutcome,
    error::EngineError,
    inspect::ContainerInspect,
    labels::{
        AGENT_IMAGE_LABEL, COPY_LABEL, IDS_LABEL, ROLE_LABEL, RUN_LABEL, SERVER_LABEL, SPEC_LABEL,
        role_filter,
    },
    remove, tunnel,
};

/// Where an agent's socket lives, in a volume of its own.
pub const SOCKET_FOLDER: &str = "/run/ferry";

/// The agent's socket.
pub const SOCKET: &str = "/run/ferry/agent.sock";

/// What the volume with an agent's socket is called, behind the agent's name.
const SOCKET_SUFFIX: &str = "-socket";

/// Enough for the agent and the server's own dump program, which counts as the agent's.
pub const DEFAULT_MEMORY: i64 = 512 << 20;

/// What work on a tree needs, and no more.
pub(super) const TREE_CAPABILITIES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "SETFCAP",
    "MKNOD",
];

/// What running the server's own programs as their own users needs beside that, and ending them.
const PROGRAM_CAPABILITIES: &[&str] = &["SETUID", "SETGID", "KILL"];

/// Where an agent without the server's data keeps its state.
const STATE: &str = "/ferry-state";

/// The agent's program in a container of another image.
const PROGRAM: &str = "ferryd";

/// Which agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentKind {
    /// Beside the running server: its processes, its network, its volumes. It dies with the server.
    Sidecar,
    /// As the sidecar, but its mounts of the server's volumes are read-only: not even an access time changes.
    Observer {
        /// The volume for its state; one that only looks has none.
        state: Option<String>,
    },
    /// As the sidecar, of a server whose data lies in its own layer: with the new volume that the data is copied to, on which also its
    /// state is, because the server's layer is not to be changed.
    Mover {
        /// The new volume.
        volume: String,
    },
    /// On the given mounts alone, for work while the server is down.
    Volume {
        /// The server's data at its own place, the backup's volume, and so on.
        mounts: Vec<AgentMount>,
    },
    /// In the place of the volume agent, on the server's own image: with its programs.
    Workshop {
        /// As of the volume agent.
        mounts: Vec<AgentMount>,
        /// The server's own image, by id.
        image: String,
        /// The agent's static program, which is put into the container.
        program: PathBuf,
        /// The volume of the copy; a label says it to whoever finds the agent.
        copy: String,
    },
    /// A sidecar beside a second container of the same server: the copy of a rehearsal.
    Second,
}

impl AgentKind {
    fn role(&self) -> &'static str {
        match self {
            Self::Sidecar | Self::Observer { .. } | Self::Mover { .. } => "sidecar",
            Self::Volume { .. } | Self::Workshop { .. } => "volume",
            Self::Second => "second",
        }
    }

    /// Whether its work is with all files of a server.
    #[must_use]
    pub fn walks_trees(&self) -> bool {
        match self {
            Self::Volume { .. } | Self::Workshop { .. } | Self::Mover { .. } => true,
            Self::Sidecar | Self::Observer { .. } | Self::Second => false,
        }
    }

    /// What its program is started as.
    fn command(&self) -> &'static str {
        match self {
            Self::Sidecar | Self::Observer { .. } | Self::Mover { .. } | Self::Second => "sidecar",
            Self::Volume { .. } => "volume",
            Self::Workshop { .. } => "workshop",
        }
    }
}

/// Something mounted into a volume agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentMount {
    /// A volume's name, or a folder of the engine's host when it starts with a slash.
    pub source: String,
    /// Where, in the agent.
    pub destination: String,
    /// Whether the agent may only read.
    pub read_only: bool,
}

/// An agent that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSpec {
    /// The server's name as the plan knows it. It stays the same when containers are renamed, and is what is locked.
    pub server: String,
    /// The container to work beside or for, by name or id; empty for an agent on a backup alone.
    pub container: String,
    /// The user namespace that owners are seen from, where no container says it ([`IDS_LABEL`]); empty is the engine's default.
    pub ids: String,
    /// The run it works for.
    pub run: String,
    /// The agent's image, by id ([`Engine::load_agent_image`]).
    pub image: String,
    /// Which agent.
    pub kind: AgentKind,
    /// Arguments after the role. They are visible to everyone who can inspect: no secrets.
    pub args: Vec<String>,
    /// Limit in bytes; [`DEFAULT_MEMORY`] when absent.
    pub memory: Option<i64>,
}

/// An agent that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launched {
    /// The container's id.
    pub id: String,
    /// The container's name.
    pub name: String,
    /// Whether it ran before.
    pub reused: bool,
}

/// What became of an agent that is no longer wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retired {
    /// It is gone, and its socket's volume.
    Removed,
    /// There was none.
    Absent,
    /// It still runs after the whole grace; nothing was removed.
    StillRunning,
}

/// The name that locks `server` for one agent of `kind`.
#[must_use]
pub fn agent_name(server: &str, kind: &AgentKind) -> String {
    format!("ferry-{}-{server}", kind.role())
}

impl Engine {
    /// Makes sure that the agent runs. Doing it twice is fine: an agent of the same run and description is used as it is, an ended
    /// one is started again, one of an older description is replaced.
    ///
    /// # Errors
    /// [`EngineError::HeldByRun`] when another run holds the server, [`EngineError::NotOurs`] when the name is taken by something
    /// else, or the engine's refusal.
    pub async fn launch(&self, spec: &AgentSpec) -> Result<Launched, EngineError> {
        let server = if spec.container.is_empty() {
            ContainerInspect::new(json!({ "HostConfig": { "UsernsMode": spec.ids } }))
        } else {
            self.inspect_container(&spec.container).await?
        };
        let name = agent_name(&spec.server, &spec.kind);
        let body = body(spec, &server, &name);
        let wanted = body["Labels"][SPEC_LABEL]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if let Some(existing) = self.find_container(&name).await? {
            owned(&existing, spec.kind.role(), &spec.run)?;
            if existing.label(SPEC_LABEL) == Some(wanted.as_str()) {
                let reused = existing.running();
                if reused || self.started_again(&spec.kind, existing.id()).await? {
                    return Ok(Launched {
                        id: existing.id().to_owned(),
                        name,
                        reused,
                    });
                }
            }
            if !self.end(existing.id(), Duration::from_secs(30)).await? {
                return Err(EngineError::NotOurs {
                    container: name,
                    reason: "it is an agent of this run with other settings, and did not end within 30 s".to_owned(),
                });
            }
        }
        let labels = labels(spec);
        self.create_volume(&socket_volume(&name), &labels).await?;
        let created = match self.create(&name, &body).await {
            Err(EngineError::Refused {
                status: 409,
                action,
                message,
            }) => {
                // Somebody was quicker: say who.
                if let Some(existing) = self.find_container(&name).await? {
                    owned(&existing, spec.kind.role(), &spec.run)?;
                }
                return Err(EngineError::Refused {
                    status: 409,
                    action,
                    message,
                });
            }
            other => other?,
        };
        self.put_program(&spec.kind, &created.id).await?;
        self.start(&created.id).await?;
        Ok(Launched {
            id: created.id,
            name,
            reused: false,
        })
    }

    /// Starts an agent that has ended. `false`: the engine fails at it, as one does for good that was killed in the middle of such a start and
    /// holds the id for taken. What an agent has done is not in its container, so that another can take its place.
    async fn started_again(&self, kind: &AgentKind, id: &str) -> Result<bool, EngineError> {
        // Whoever made it may have been cut off before.
        self.put_program(kind, id).await?;
        match self.start(id).await {
            Ok(()) => Ok(true),
            Err(EngineError::Refused {
                status: 500..,
                message,
                ..
            }) => {
                tracing::warn!(
                    "the agent's container {id} cannot be started again, another takes its place: {message}"
                );
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// A container of another image has to be given the agent's program.
    async fn put_program(&self, kind: &AgentKind, container: &str) -> Result<(), EngineError> {
        let AgentKind::Workshop { program, .. } = kind else {
            return Ok(());
        };
        let tar = program_tar(program, PROGRAM).await?;
        self.put_archive(container, "/", tar).await
    }

    /// Ends an agent of `run` and removes it and its socket. It is asked to end and gets `grace`.
    ///
    /// # Errors
    /// It belongs to another run or is not an agent.
    pub async fn retire(
        &self,
        server: &str,
        kind: &AgentKind,
        run: &str,
        grace: Duration,
    ) -> Result<Retired, EngineError> {
        let name = agent_name(server, kind);
        let Some(existing) = self.find_container(&name).await? else {
            self.remove_socket(&name).await?;
            return Ok(Retired::Absent);
        };
        owned(&existing, kind.role(), run)?;
        if !self.end(existing.id(), grace).await? {
            return Ok(Retired::StillRunning);
        }
        self.remove_socket(&name).await?;
        Ok(Retired::Removed)
    }

    /// Asks an agent to end, and removes it; `false`: it still runs after `grace`.
    async fn end(&self, id: &str, grace: Duration) -> Result<bool, EngineError> {
        let deadline = Instant::now() + remove::PATIENCE;
        loop {
            match self.stop(id, grace).await {
                Ok(StopOutcome::StillRunning) => return Ok(false),
                Ok(StopOutcome::Stopped { .. }) => {}
                // A controller that was killed had asked for its removal.
                Err(error) if error.is_not_found() => return Ok(true),
                Err(error) => return Err(error),
            }
            // The engine finishes what a controller that was killed had asked it for: to start the agent again, say.
            match self.remove_ended(id).await? {
                None => return Ok(true),
                Some(refusal) if Instant::now() >= deadline => return Err(refusal),
                Some(_) => tokio::time::sleep(remove::PAUSE).await,
            }
        }
    }

    /// Removes the sockets of a run's agents that are gone themselves.
    ///
    /// # Errors
    /// The engine's refusal, of a socket that is still in use for one.
    pub async fn remove_sockets(&self, run: &str, role: &str) -> Result<(), EngineError> {
        let labels = [(ROLE_LABEL, role), (RUN_LABEL, run)];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        for volume in self.list_volumes(&labels.into()).await? {
            if let Some(agent) = volume.name.strip_suffix(SOCKET_SUFFIX) {
                self.remove_socket(agent).await?;
            }
        }
        Ok(())
    }

    /// Proxies that were still connected end with the agent, and the engine removes them. One whose owner was killed before it was
    /// started is removed by nobody else, and an engine may be late or fail with one that has ended; so what does not run is removed
    /// here. A proxy that still runs is left to its end, for [`remove::PATIENCE`]; nothing that is not labelled as a proxy is touched.
    async fn remove_socket(&self, agent: &str) -> Result<(), EngineError> {
        let deadline = Instant::now() + remove::PATIENCE;
        let socket = socket_volume(agent);
        let role = role_filter(tunnel::ROLE);
        let proxies = [("volume", socket.as_str()), ("label", role.as_str())];
        loop {
            for proxy in self.list_containers(&proxies).await? {
                if proxy.state != "running" {
                    // What is refused now has just been started, or is being removed: the next round tells.
                    self.remove_ended(&proxy.id).await?;
                }
            }
            match self.remove_volume(&socket).await {
                Err(EngineError::Refused { status: 409, .. }) if Instant::now() < deadline => {
                    tokio::time::sleep(remove::PAUSE).await;
                }
                other => return other,
            }
        }
    }

    /// Removes a container that has ended, or never ran. `Some` is the engine's refusal, while the container is there: it runs again, or
    /// somebody else is removing it.
    async fn remove_ended(&self, id: &str) -> Result<Option<EngineError>, EngineError> {
        match self.remove_container(id).await {
            Ok(()) => Ok(None),
            Err(refusal) if self.is_in_use(&refusal) => Ok(Some(refusal)),
            Err(error) => Err(error),
        }
    }
}

/// A mount as the engine takes it. A folder that is missing is then refused and not made.
pub(super) fn mount_json(mount: &AgentMount) -> Value {
    let kind = if mount.source.starts_with('/') {
        "bind"
    } else {
        "volume"
    };
    json!({ "Type": kind, "Source": mount.source, "Target": mount.destination, "ReadOnly": mount.read_only })
}

fn owned(existing: &ContainerInspect, role: &str, run: &str) -> Result<(), EngineError> {
    let container = existing.name().to_owned();
    match (existing.label(ROLE_LABEL), existing.label(RUN_LABEL)) {
        (Some(its_role), Some(its_run)) if its_role == role => {
            if its_run == run {
                Ok(())
            } else {
                Err(EngineError::HeldByRun {
                    container,
                    run: its_run.to_owned(),
                })
            }
        }
        _ => Err(EngineError::NotOurs {
            container,
            reason: "it does not carry the labels of an agent".to_owned(),
        }),
    }
}

fn socket_volume(agent: &str) -> String {
    format!("{agent}{SOCKET_SUFFIX}")
}

fn labels(spec: &AgentSpec) -> BTreeMap<String, String> {
    [
        (ROLE_LABEL, spec.kind.role()),
        (RUN_LABEL, &spec.run),
        (SERVER_LABEL, &spec.server),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// The body for "create", with a digest of itself as a label.
fn body(spec: &AgentSpec, server: &ContainerInspect, name: &str) -> Value {
    let old = &server.raw()["HostConfig"];
    let own_ids = server.own_ids();
    let mut mounts =
        vec![json!({ "Type": "volume", "Source": socket_volume(name), "Target": SOCKET_FOLDER })];
    let mut cmd = vec![spec.kind.command().to_owned()];
    let mut host = json!({
        "RestartPolicy": { "Name": "no" },
        "Memory": spec.memory.unwrap_or(DEFAULT_MEMORY),
        "LogConfig": { "Type": "json-file", "Config": { "max-size": "10m" } },
        // What the server's labels allow, the agent is allowed too; and ids mean the same in both.
        "UsernsMode": server.userns_mode(),
        "SecurityOpt": security(old),
    });
    match &spec.kind {
        AgentKind::Sidecar
        | AgentKind::Observer { .. }
        | AgentKind::Mover { .. }
        | AgentKind::Second => {
            let namespace = format!("container:{}", server.id());
            host["PidMode"] = json!(namespace);
            host["NetworkMode"] = json!(namespace);
            host["VolumesFrom"] = json!([server.id()]);
            if !own_ids.is_empty() {
                // To look into its processes takes rights in the very namespace that they are in.
                host["UsernsMode"] = json!(namespace);
            }
            // The server's first process may run as another user: its root is then readable with this alone.
            host["CapAdd"] = json!(["SYS_PTRACE"]);
            if let AgentKind::Observer { state } = &spec.kind {
                host["VolumesFrom"] = json!([format!("{}:ro", server.id())]);
                if let Some(state) = state {
                    mounts.push(json!({ "Type": "volume", "Source": state, "Target": STATE }));
                    cmd.extend(["--state".to_owned(), STATE.to_owned()]);
                }
            }
            if let AgentKind::Mover { volume } = &spec.kind {
                mounts.push(json!({ "Type": "volume", "Source": volume, "Target": STATE }));
                cmd.extend(["--state".to_owned(), STATE.to_owned()]);
                // It also gives the copy its owners, modes and special files.
                host["CapAdd"] = json!([&["SYS_PTRACE"], TREE_CAPABILITIES].concat());
            }
        }
        AgentKind::Volume { mounts: wanted } | AgentKind::Workshop { mounts: wanted, .. } => {
            host["NetworkMode"] = json!("none");
            host["CapDrop"] = json!(["ALL"]);
            let programs = match &spec.kind {
                AgentKind::Workshop { .. } => PROGRAM_CAPABILITIES,
                _ => &[],
            };
            host["CapAdd"] = json!([TREE_CAPABILITIES, programs].concat());
            mounts.extend(wanted.iter().map(mount_json));
        }
    }
    host["Mounts"] = Value::Array(mounts);
    cmd.extend(spec.args.iter().cloned());
    let mut body = json!({
        "Image": spec.image,
        "Cmd": cmd,
        "StopSignal": "SIGTERM",
        "HostConfig": host,
    });
    if !own_ids.is_empty() {
        // Podman would take the user that such a mode keeps.
        body["User"] = json!("0:0");
    }
    if let AgentKind::Workshop { image, .. } = &spec.kind {
        body["Image"] = json!(image);
        // Nothing of the image runs by itself: neither its own first program nor its health check.
        body["Entrypoint"] = json!([format!("/{PROGRAM}")]);
        body["User"] = json!("0:0");
        body["WorkingDir"] = json!("/");
        body["Healthcheck"] = json!({ "Test": ["NONE"] });
    }
    let digest = blake3::hash(body.to_string().as_bytes())
        .to_hex()
        .to_string();
    let mut all: Map<String, Value> = labels(spec)
        .into_iter()
        .map(|(key, value)| (key, json!(value)))
        .collect();
    all.insert(SPEC_LABEL.into(), json!(digest));
    if !own_ids.is_empty() {
        all.insert(IDS_LABEL.into(), json!(own_ids));
    }
    if let AgentKind::Workshop { copy, .. } = &spec.kind {
        all.insert(COPY_LABEL.into(), json!(copy));
        all.insert(AGENT_IMAGE_LABEL.into(), json!(spec.image));
    }
    body["Labels"] = Value::Object(all);
    body
}

/// The server's security options; a privileged server is unconfined, and only an unconfined agent may look into it.
fn security(server_host: &Value) -> Value {
    if server_host["Privileged"].as_bool() == Some(true) {
        return json!(["apparmor=unconfined", "label=disable"]);
    }
    match &server_host["SecurityOpt"] {
        Value::Null => json!([]),
        options => options.clone(),
    }
}

#[cfg(test)]
mod tests;
