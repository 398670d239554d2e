//! Whether this user may do here what a crossing does, asked of the cluster before anything is done.

use serde_json::json;

use crate::{Kubernetes, error::ClusterError};

/// Verb, group, resource and subresource of all that a crossing asks for; `deploy/kubernetes/rbac.yaml` grants these.
const NEEDED: &[(&str, &str, &str, &str)] = &[
    ("get", "apps", "statefulsets", ""),
    ("update", "apps", "statefulsets", ""),
    ("patch", "apps", "statefulsets", ""),
    ("get", "", "pods", ""),
    ("list", "", "pods", ""),
    ("create", "", "pods", ""),
    ("delete", "", "pods", ""),
    ("get", "", "pods", "log"),
    ("get", "", "pods", "exec"),
    ("create", "", "pods", "exec"),
    ("update", "", "pods", "ephemeralcontainers"),
    ("get", "", "persistentvolumeclaims", ""),
    ("list", "", "persistentvolumeclaims", ""),
    ("create", "", "persistentvolumeclaims", ""),
    ("delete", "", "persistentvolumeclaims", ""),
    ("get", "", "configmaps", ""),
    ("create", "", "configmaps", ""),
    ("update", "", "configmaps", ""),
    ("patch", "", "configmaps", ""),
    ("delete", "", "configmaps", ""),
    ("list", "", "services", ""),
    ("update", "", "services", ""),
    ("get", "", "serviceaccounts", ""),
];

/// What is needed and not allowed, as `update statefulsets`.
pub(crate) async fn forbidden(
    cluster: &Kubernetes,
    namespace: &str,
) -> Result<Vec<String>, ClusterError> {
    let mut forbidden = Vec::new();
    for (verb, group, resource, subresource) in NEEDED {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": {
                "namespace": namespace, "verb": verb, "group": group, "resource": resource, "subresource": subresource,
            }},
        });
        if !cluster.api.may(&review).await? {
            let slash = if subresource.is_empty() { "" } else { "/" };
            forbidden.push(format!("{verb} {resource}{slash}{subresource}"));
        }
    }
    Ok(forbidden)
}

#[cfg(test)]
mod tests {
    use super::NEEDED;

    /// The manifest that is shipped grants what is asked for, and nothing that changes more.
    #[test]
    fn the_manifest_grants_what_is_needed() {
        let manifest = include_str!("../../deploy/kubernetes/rbac.yaml");
        for (verb, _, resource, subresource) in NEEDED {
            let slash = if subresource.is_empty() { "" } else { "/" };
            let resource = format!("\"{resource}{slash}{subresource}\"");
            let granted =
                manifest
                    .lines()
                    .zip(manifest.lines().skip(1))
                    .any(|(resources, verbs)| {
                        resources.contains("resources:")
                            && resources.contains(&resource)
                            && verbs.contains(&format!("\"{verb}\""))
                    });
            assert!(granted, "{verb} {resource}");
        }
    }
}
