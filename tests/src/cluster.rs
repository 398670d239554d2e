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

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::Value;

pub use chart::Chart;

use crate::command::docker;
use crate::server::Container;
use crate::{Error, Result};
use store::Store;

static NEXT: AtomicU32 = AtomicU32::new(1);

/// The label on all containers of a cluster.
const LABEL: &str = "ferry.cluster";

/// A cluster. All that it made goes with it.
#[derive(Debug)]
pub struct Cluster {
    /// What its containers' and volumes' names begin with.
    pub id: String,
    store: Arc<Store>,
    folder: tempfile::TempDir,
    over: Arc<AtomicBool>,
    kubelet: Option<std::thread::JoinHandle<()>>,
    _runtime: tokio::runtime::Runtime,
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
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let port = listener.local_addr()?.port();
        runtime.spawn(serve::serve(listener, Arc::clone(&store), id.clone()));
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
            _runtime: runtime,
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
