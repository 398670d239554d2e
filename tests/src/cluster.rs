//! A double of a Kubernetes cluster: an API server that behaves as the real one does for what Ferry asks of it, and a node whose pods are
//! containers of the local engine.
//!
//! What it has of the real one: objects with a uid and a resource version, refused when they are changed by somebody who has read an
//! older one (409) or where they cannot be changed (422); names that are there once; merge patches; trial runs; a StatefulSet's pod,
//! claims and rolling update; claims that stay for the pod that uses them; a pod's grace, init containers, restarts with their count, termination messages, readiness; ephemeral
//! containers in the processes of their target, which can be neither changed nor removed; the kubelet's `fsGroup`; `exec` by the
//! WebSocket protocol v5. What it has not: watches, schedulers with more than one node, storage that attaches, quotas, webhooks.

mod chart;
mod exec;
mod files;
mod kubelet;
mod serve;
mod sets;
mod store;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

pub use chart::Chart;

use crate::answers::Answers;
use crate::command::docker;
use crate::server::Container;
use crate::{Error, Result};
use store::Store;

static NEXT: AtomicU32 = AtomicU32::new(1);

/// The label on all containers of a cluster.
const LABEL: &str = "ferry.cluster";
/// The label on images of the agent.
const AGENT_LABEL: &str = "ferry.test.agent";

/// A cluster. All that it made goes with it.
#[derive(Debug)]
pub struct Cluster {
    /// What its containers' and volumes' names begin with.
    pub id: String,
    store: Arc<Store>,
    folder: tempfile::TempDir,
    over: Arc<AtomicBool>,
    kubelet: Option<std::thread::JoinHandle<()>>,
    /// Where the API server listens.
    port: u16,
    /// All that the API server does; `None` while it is away.
    api: Mutex<Option<tokio::runtime::Runtime>>,
}

impl Cluster {
    /// Starts one.
    ///
    /// # Errors
    /// When no port or no folder is to be had.
    pub fn start() -> Result<Self> {
        let id = format!(
            "ferry-test-k{:07}-{:02}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = tempfile::tempdir()?;
        let store = Arc::new(Store::default());
        let (api, port) = serving(0, &store, &id)?;
        let config = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "double",
            "clusters": [{ "name": "double", "cluster": { "server": format!("http://127.0.0.1:{port}") } }],
            "users": [{ "name": "double", "user": {} }],
            "contexts": [{ "name": "double", "context": { "cluster": "double", "user": "double" } }],
        });
        fs_err::write(folder.path().join("config"), config.to_string())?;
        let over = Arc::new(AtomicBool::new(false));
        let node = kubelet::Kubelet::new(id.clone(), Arc::clone(&store), folder.path().to_owned());
        let told = Arc::clone(&over);
        let kubelet = std::thread::spawn(move || node.run(&told));
        Ok(Self {
            id,
            store,
            folder,
            over,
            kubelet: Some(kubelet),
            port,
            api: Mutex::new(Some(api)),
        })
    }

    /// The file that KUBECONFIG names.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    /// Makes an object, as `kubectl create` does.
    ///
    /// # Errors
    /// What the API server refuses.
    pub fn create(&self, plural: &str, namespace: &str, object: Value) -> Result<()> {
        self.store
            .create(plural, namespace, object)
            .map(drop)
            .map_err(refused)
    }

    /// Changes fields of an object, as `kubectl patch --type merge` does.
    ///
    /// # Errors
    /// What the API server refuses.
    pub fn merge(&self, plural: &str, namespace: &str, name: &str, patch: &Value) -> Result<()> {
        self.store
            .merge(plural, namespace, name, patch)
            .map(drop)
            .map_err(refused)
    }

    /// Removes an object, as `kubectl delete` does.
    ///
    /// # Errors
    /// When it is not there.
    pub fn delete(&self, plural: &str, namespace: &str, name: &str) -> Result<()> {
        self.store
            .delete(plural, namespace, name, None)
            .map(drop)
            .map_err(refused)
    }

    /// An object; null when it is not there.
    #[must_use]
    pub fn get(&self, plural: &str, namespace: &str, name: &str) -> Value {
        self.store.get(plural, namespace, name).unwrap_or_default()
    }

    /// All objects of a kind in a namespace, by name.
    #[must_use]
    pub fn names(&self, plural: &str, namespace: &str) -> Vec<String> {
        let objects = self.store.list(plural, namespace, "").into_iter();
        objects
            .map(|it| {
                it["metadata"]["name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    }

    /// Ends the API server, with all that goes through it. Objects stay, and the node goes on.
    pub fn kill_api_server(&self) {
        let api = self
            .api
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(api) = api {
            api.shutdown_background();
        }
    }

    /// Starts it again, at the same address.
    ///
    /// # Errors
    /// When somebody else has the address by now.
    pub fn revive_api_server(&self) -> Result<()> {
        let (api, _) = serving(self.port, &self.store, &self.id)?;
        *self.api.lock().unwrap_or_else(PoisonError::into_inner) = Some(api);
        Ok(())
    }

    /// What the API server answers by rules of a test.
    #[must_use]
    pub fn answers(&self) -> Answers {
        self.store.answers.clone()
    }

    /// From here this user may not do something, `update statefulsets`.
    pub fn forbid(&self, what: &str) {
        self.store.forbid(what);
    }

    /// From here the namespaces take no pod that adds capabilities, as Pod Security's `baseline` does.
    pub fn refuse_capabilities(&self) {
        self.store.refuse_capabilities();
    }

    /// The engine's container of a pod's container.
    #[must_use]
    pub fn container(&self, pod: &str, container: &str) -> Container {
        Container::named(format!("{}-{pod}-{container}", self.id))
    }

    /// What a person set of the objects of a release, without what the cluster counts.
    #[must_use]
    pub fn settings(&self) -> Value {
        let namespace = Chart::namespace();
        json!({
            "set": self.get("statefulsets", namespace, "pmm")["spec"],
            "env": self.get("configmaps", namespace, "pmm")["data"],
            "service": self.get("services", namespace, "monitoring-service")["spec"],
        })
    }

    /// Containers of this cluster that run, and whose names behind the cluster's begin with these words.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn running(&self, words: &str) -> Result<Vec<String>> {
        let label = format!("label={LABEL}={}", self.id);
        let names = docker(&["ps", "--filter", &label, "--format", "{{.Names}}"])?;
        let begin = format!("{}-{words}", self.id);
        let all = names.lines().filter(|name| name.starts_with(&begin));
        Ok(all.map(str::to_owned).collect())
    }

    /// Waits until a server answers and its pod is called ready, which the node finds out some time later.
    ///
    /// # Errors
    /// When that does not happen in time.
    pub fn wait_ready(&self, server: &Container) -> Result<()> {
        server.wait_ready()?;
        server.wait_until("a ready pod", 30, || {
            let pod = self.get("pods", Chart::namespace(), "pmm-0");
            let conditions = pod["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            conditions.any(|it| it["type"] == "Ready" && it["status"] == "True")
        })
    }

    /// The engine's volume of a claim.
    #[must_use]
    pub fn volume(&self, claim: &str) -> String {
        format!("{}-{claim}", self.id)
    }

    /// Where the data of a claim is on this host.
    ///
    /// # Errors
    /// When there is no such volume.
    pub fn mountpoint(&self, claim: &str) -> Result<PathBuf> {
        let volume = self.volume(claim);
        Ok(docker(&["volume", "inspect", "--format", "{{.Mountpoint}}", &volume])?.into())
    }
}

/// The API server at this port, or at one that is free, and that one.
fn serving(port: u16, store: &Arc<Store>, id: &str) -> Result<(tokio::runtime::Runtime, u16)> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", port)))?;
    let port = listener.local_addr()?.port();
    runtime.spawn(serve::serve(listener, Arc::clone(store), id.to_owned()));
    Ok((runtime, port))
}

/// The image of an agent that a cluster can have, as `cargo xtask image agent` makes it.
///
/// # Errors
/// When it cannot be built.
pub fn agent_image(agent: &Path) -> Result<String> {
    let tag = format!(
        "ferry-test/agent:{}",
        &blake3::hash(&fs_err::read(agent)?).to_hex()[..12]
    );
    if docker(&["image", "inspect", "--format", "{{.Id}}", &tag]).is_ok() {
        return Ok(tag);
    }
    let folder = tempfile::tempdir()?;
    fs_err::copy(agent, folder.path().join("ferryd"))?;
    fs_err::write(
        folder.path().join("Dockerfile"),
        format!(
            "FROM scratch\nLABEL {AGENT_LABEL}=1\nCOPY ferryd /ferryd\nENTRYPOINT [\"/ferryd\"]\n"
        ),
    )?;
    docker(&[
        "build",
        "--quiet",
        "--tag",
        &tag,
        &folder.path().to_string_lossy(),
    ])?;
    Ok(tag)
}

fn refused(status: Value) -> Error {
    std::io::Error::other(status.to_string()).into()
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(kubelet) = self.kubelet.take() {
            // A kubelet that has panicked has said so; what is left is removed all the same.
            let _ = kubelet.join();
        }
        let label = format!("label={LABEL}={}", self.id);
        let containers =
            docker(&["ps", "--all", "--quiet", "--filter", &label]).unwrap_or_default();
        for container in containers.lines() {
            let _ = docker(&["rm", "--force", "--volumes", container]);
        }
        let name = format!("name={}-", self.id);
        let volumes = docker(&["volume", "ls", "--quiet", "--filter", &name]).unwrap_or_default();
        for volume in volumes.lines() {
            let _ = docker(&["volume", "rm", "--force", volume]);
        }
    }
}
