//! What Percona's chart for PMM 2 makes, as far as a crossing sees it (facts/pmm.md 7.3).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Cluster;
use crate::Result;
use crate::images;
use crate::server::{Container, Options, Seed};

/// The namespace of the release.
const NAMESPACE: &str = "monitoring";
const CHART: &str = "pmm-1.3.21";

/// A release of the chart, called `pmm`.
#[derive(Clone, Debug)]
pub struct Chart {
    /// `pmmEnv`.
    pub env: Vec<(String, String)>,
    /// What the server's double is and what it has been used for.
    pub server: Options,
    /// Changes to the StatefulSet before it is made, as a merge patch.
    pub patch: Value,
}

impl Default for Chart {
    fn default() -> Self {
        let server = Options {
            seed: Seed {
                nodes: 5,
                services: 12,
                files: 60,
                mib: 1,
                odd: false,
            },
            ..Options::default()
        };
        Self {
            env: Vec::new(),
            server,
            patch: json!({}),
        }
    }
}

impl Chart {
    /// Its address for the tool.
    #[must_use]
    pub fn address() -> String {
        format!("kubernetes:{NAMESPACE}/pmm")
    }

    /// The namespace that it is in.
    #[must_use]
    pub fn namespace() -> &'static str {
        NAMESPACE
    }

    /// Makes its objects, and waits until its server has something behind it.
    ///
    /// # Errors
    /// When an image cannot be made, or the server is not ready in time.
    pub fn install(self, cluster: &Cluster) -> Result<Container> {
        let images = images::ensure()?;
        let labels =
            json!({ "app.kubernetes.io/instance": "pmm", "app.kubernetes.io/name": "pmm" });
        let mut own = labels.clone();
        own["app.kubernetes.io/managed-by"] = json!("Helm");
        own["helm.sh/chart"] = json!(CHART);
        let meta = |name: &str| json!({ "name": name, "labels": own, "annotations": { "meta.helm.sh/release-name": "pmm" } });
        let env: serde_json::Map<String, Value> = self
            .env
            .iter()
            .chain(&self.server.environment())
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        cluster.create(
            "configmaps",
            NAMESPACE,
            json!({ "metadata": meta("pmm"), "data": env }),
        )?;
        let password = STANDARD.encode("admin");
        cluster.create(
            "secrets",
            NAMESPACE,
            json!({ "metadata": meta("pmm-secret"), "data": { "PMM_ADMIN_PASSWORD": password } }),
        )?;
        let history = json!({ "name": "sh.helm.release.v1.pmm.v1", "labels": { "owner": "helm", "name": "pmm" } });
        cluster.create(
            "secrets",
            NAMESPACE,
            json!({ "metadata": history, "data": {} }),
        )?;
        cluster.create(
            "serviceaccounts",
            NAMESPACE,
            json!({ "metadata": meta("pmm-service-account") }),
        )?;
        let ports = json!([{ "name": "https", "port": 443, "targetPort": "https" }, { "name": "http", "port": 80, "targetPort": 80 }]);
        cluster.create(
            "services",
            NAMESPACE,
            json!({ "metadata": meta("monitoring-service"), "spec": { "type": "NodePort", "selector": labels, "ports": ports } }),
        )?;
        let container = json!({
            "name": "pmm", "image": images.pmm2, "imagePullPolicy": "IfNotPresent",
            "envFrom": [{ "secretRef": { "name": "pmm-secret" } }, { "configMapRef": { "name": "pmm" } }],
            "ports": [{ "name": "https", "containerPort": 443 }, { "name": "http", "containerPort": 80 }],
            "readinessProbe": { "httpGet": { "scheme": "HTTP", "path": "/v1/readyz", "port": 80 } },
            "volumeMounts": [{ "name": "pmm-storage", "mountPath": "/srv" }],
        });
        let claim = json!({
            "metadata": { "name": "pmm-storage" },
            "spec": { "accessModes": ["ReadWriteOnce"], "storageClassName": "standard", "resources": { "requests": { "storage": "10Gi" } } },
        });
        let set = json!({
            "metadata": meta("pmm"),
            "spec": {
                "replicas": 1, "serviceName": "monitoring-service", "selector": { "matchLabels": labels },
                "updateStrategy": { "type": "RollingUpdate" },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": { "serviceAccountName": "pmm-service-account", "securityContext": {}, "containers": [container] },
                },
                "volumeClaimTemplates": [claim],
            },
        });
        cluster.create("statefulsets", NAMESPACE, set)?;
        if self.patch != json!({}) {
            cluster.merge("statefulsets", NAMESPACE, "pmm", &self.patch)?;
        }
        let server = cluster.container("pmm-0", "pmm");
        wait_used(cluster, &server)?;
        Ok(server)
    }
}

fn wait_used(cluster: &Cluster, server: &Container) -> Result<()> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !server.is_running().unwrap_or(false) && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    cluster.wait_ready(server)?;
    server.wait_until("targets", 30, || {
        server
            .metric("count(up == 1)")
            .is_ok_and(|n| n > Some(10.0))
    })
}
