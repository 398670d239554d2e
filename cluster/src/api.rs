//! Objects of the API server, as they are: JSON in, JSON out.

use std::time::Duration;

use http::{Method, Request};
use k8s_openapi::api::core::v1::Pod;
use kube::{Client, Config};
use serde_json::Value;

use crate::error::ClusterError;

type Result<T> = std::result::Result<T, ClusterError>;

/// No answer of the API server takes longer; what takes longer is asked for again and again.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often an API server is asked that answers with an error of its own, as when its own store is late, where it makes no difference that it is
/// asked again. One that says itself that it is busy or away is waited for, by whoever asked for the step.
const TRIES: usize = 3;
/// The time between two of them.
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

/// A connection to a cluster.
pub(crate) struct Api {
    client: Client,
    /// Where it is.
    pub(crate) url: String,
    /// The namespace of the current context.
    pub(crate) namespace: String,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// A kind of objects, by the path of its list.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    StatefulSets,
    Pods,
    Claims,
    ConfigMaps,
    Secrets,
    Services,
    ServiceAccounts,
}

impl Kind {
    fn path(self, namespace: &str) -> String {
        let (root, name) = match self {
            Self::StatefulSets => ("/apis/apps/v1", "statefulsets"),
            Self::Pods => ("/api/v1", "pods"),
            Self::Claims => ("/api/v1", "persistentvolumeclaims"),
            Self::ConfigMaps => ("/api/v1", "configmaps"),
            Self::Secrets => ("/api/v1", "secrets"),
            Self::Services => ("/api/v1", "services"),
            Self::ServiceAccounts => ("/api/v1", "serviceaccounts"),
        };
        format!("{root}/namespaces/{namespace}/{name}")
    }

    fn word(self) -> &'static str {
        match self {
            Self::StatefulSets => "StatefulSet",
            Self::Pods => "pod",
            Self::Claims => "claim",
            Self::ConfigMaps => "ConfigMap",
            Self::Secrets => "secret",
            Self::Services => "service",
            Self::ServiceAccounts => "service account",
        }
    }
}

impl Api {
    pub(crate) async fn connect() -> Result<Self> {
        let config = Config::infer().await;
        let mut config = config.map_err(|error| ClusterError::Config(innermost(&error)))?;
        // An exec lasts as long as a run.
        config.read_timeout = None;
        let url = config.cluster_url.to_string();
        let namespace = config.default_namespace.clone();
        let client =
            Client::try_from(config).map_err(|error| ClusterError::Config(innermost(&error)))?;
        let api = Self {
            client,
            url,
            namespace,
        };
        api.version().await?;
        Ok(api)
    }

    /// What the API server calls its version.
    pub(crate) async fn version(&self) -> Result<String> {
        let answer = self
            .ask(Method::GET, "/version", None, "tell its version")
            .await?;
        Ok(text(&answer["gitVersion"])
            .trim_start_matches('v')
            .to_owned())
    }

    /// `None` when it is not there.
    pub(crate) async fn find(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>> {
        match self.get(kind, namespace, name).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn get(&self, kind: Kind, namespace: &str, name: &str) -> Result<Value> {
        let path = format!("{}/{name}", kind.path(namespace));
        let action = format!("show {} {name}", kind.word());
        self.ask(Method::GET, &path, None, &action).await
    }

    /// Those with labels, such as `owner=helm,name=pmm`.
    pub(crate) async fn list(
        &self,
        kind: Kind,
        namespace: &str,
        labels: &str,
    ) -> Result<Vec<Value>> {
        let mut path = kind.path(namespace);
        if !labels.is_empty() {
            path = format!(
                "{path}?labelSelector={}",
                labels.replace('=', "%3D").replace(',', "%2C")
            );
        }
        let action = format!("list {}s", kind.word());
        let answer = self.ask(Method::GET, &path, None, &action).await?;
        Ok(answer["items"].as_array().cloned().unwrap_or_default())
    }

    pub(crate) async fn create(&self, kind: Kind, namespace: &str, body: &Value) -> Result<Value> {
        let name = text(&body["metadata"]["name"]);
        let action = format!("make {} {name}", kind.word());
        self.ask(Method::POST, &kind.path(namespace), Some(body), &action)
            .await
    }

    /// Puts an object in the place of itself as it was read: refused when somebody has changed it meanwhile.
    pub(crate) async fn replace(&self, kind: Kind, namespace: &str, body: &Value) -> Result<Value> {
        let name = text(&body["metadata"]["name"]);
        let path = format!("{}/{name}", kind.path(namespace));
        let action = format!("change {} {name}", kind.word());
        self.ask(Method::PUT, &path, Some(body), &action).await
    }

    /// Changes the named fields and no others.
    pub(crate) async fn merge(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value> {
        let path = format!("{}/{name}", kind.path(namespace));
        let action = format!("change {} {name}", kind.word());
        self.ask(Method::PATCH, &path, Some(patch), &action).await
    }

    /// Whether it was there. `grace` seconds for a pod to end.
    pub(crate) async fn delete(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        grace: Option<u32>,
    ) -> Result<bool> {
        let mut path = format!("{}/{name}", kind.path(namespace));
        if let Some(grace) = grace {
            path = format!("{path}?gracePeriodSeconds={grace}");
        }
        let action = format!("remove {} {name}", kind.word());
        match self.ask(Method::DELETE, &path, None, &action).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_absent() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Adds an ephemeral container to a pod as it was read; `try_only`: all of the cluster's rules are asked, and nothing is done.
    pub(crate) async fn set_ephemeral(
        &self,
        namespace: &str,
        pod: &Value,
        try_only: bool,
    ) -> Result<Value> {
        let name = text(&pod["metadata"]["name"]);
        let dry = if try_only { "?dryRun=All" } else { "" };
        let path = format!(
            "{}/{name}/ephemeralcontainers{dry}",
            Kind::Pods.path(namespace)
        );
        let action = format!("add an ephemeral container to pod {name}");
        self.ask(Method::PUT, &path, Some(pod), &action).await
    }

    /// Whether this user may do something here.
    pub(crate) async fn may(&self, review: &Value) -> Result<bool> {
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer = self
            .ask(
                Method::POST,
                path,
                Some(review),
                "say what this user may do",
            )
            .await?;
        Ok(answer["status"]["allowed"] == true)
    }

    /// The end of a container's log.
    pub(crate) async fn log(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        lines: u32,
    ) -> Result<String> {
        let path = format!(
            "{}/{pod}/log?container={container}&tailLines={lines}",
            Kind::Pods.path(namespace)
        );
        let action = format!("show the log of pod {pod}");
        let request = request(Method::GET, &path, None, &action)?;
        let answer = tokio::time::timeout(PATIENCE, self.client.request_text(request)).await;
        settle(&action, answer)
    }

    /// Pods, for `exec`.
    pub(crate) fn pods(&self, namespace: &str) -> kube::Api<Pod> {
        kube::Api::namespaced(self.client.clone(), namespace)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        action: &str,
    ) -> Result<Value> {
        let once = async || {
            let request = request(method.clone(), path, body, action)?;
            let answer = self.client.request::<Value>(request);
            settle(action, tokio::time::timeout(PATIENCE, answer).await)
        };
        // It comes to the same when it is asked twice: it only looks, or sets what may be set. What is removed by its name could be somebody else's
        // by then.
        let may_be_repeated = [Method::GET, Method::PATCH].contains(&method);
        let tries = if may_be_repeated { TRIES } else { 1 };
        for _ in 1..tries {
            match once().await {
                Err(ClusterError::Refused { status: 500, .. }) => {
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
                other => return other,
            }
        }
        once().await
    }
}

fn request(
    method: Method,
    path: &str,
    body: Option<&Value>,
    action: &str,
) -> Result<Request<Vec<u8>>> {
    let kind = if method == Method::PATCH {
        "application/merge-patch+json"
    } else {
        "application/json"
    };
    let body = body
        .map(|body| body.to_string().into_bytes())
        .unwrap_or_default();
    Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, kind)
        .body(body)
        .map_err(|error| ClusterError::Answer {
            action: action.to_owned(),
            reason: format!("a name cannot stand in an address: {error}"),
        })
}

fn settle<T>(
    action: &str,
    answer: std::result::Result<kube::Result<T>, tokio::time::error::Elapsed>,
) -> Result<T> {
    match answer {
        Ok(answer) => answer.map_err(|error| explain(action, error)),
        Err(_) => Err(ClusterError::Unreachable(format!(
            "no answer within {} s, to {action}",
            PATIENCE.as_secs()
        ))),
    }
}

/// What `kube` says, in our words.
pub(crate) fn explain(action: &str, error: kube::Error) -> ClusterError {
    let action = action.to_owned();
    match error {
        kube::Error::Api(status) => ClusterError::Refused {
            action,
            status: status.code,
            message: if status.message.is_empty() {
                status.reason.clone()
            } else {
                status.message.clone()
            },
        },
        kube::Error::SerdeError(error) => ClusterError::Answer {
            action,
            reason: error.to_string(),
        },
        other => ClusterError::Unreachable(format!("{}, to {action}", innermost(&other))),
    }
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// A string of an object; empty when it is none.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The entries of a list; none when it is none.
pub(crate) fn entries(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
