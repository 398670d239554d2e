//! What the cluster says of a server, and of the image that it shall become.

use ferry_agent::error::StepError;
use ferry_proto::v1::{
    ClusterFacts, ContainerFacts, DataFacts, EngineFacts, Facts, GetFactsRequest, ImageFacts,
    MountFact,
};
use serde_json::Value;

use crate::{
    Kubernetes,
    api::{Kind, entries, text},
    claims,
    error::ClusterError,
    image, permissions,
    pod::{self, State},
    sidecar,
    successor::{self, Around, Target},
    workload::{self, Name},
};

pub(crate) async fn observe(
    cluster: &Kubernetes,
    request: &GetFactsRequest,
) -> Result<Facts, StepError> {
    let name = Name::parse(&request.container)?;
    let set = cluster.set(&name).await?;
    let pod = cluster.pod(&name).await?;
    let mut facts = Facts {
        engine: Some(engine(cluster, &name.namespace).await?),
        container: Some(container_facts(&name, &set, pod.as_ref())),
        image: Some(image_facts(&set, pod.as_ref())),
        cluster: Some(cluster_facts(cluster, &name, &set, pod.as_ref()).await?),
        ..Facts::default()
    };
    facts.data = Some(data_facts(&set, facts.cluster.as_ref()));
    if request.target_image.is_empty() {
        return Ok(facts);
    }
    let template = &set["spec"]["template"];
    let node = facts.cluster.as_ref().map_or("", |it| &it.node);
    // No run yet, whose name would be the same again.
    let asker = std::process::id().to_string();
    let image = (request.target_image.as_str(), asker.as_str());
    let target = image::look(cluster, &name, template, node, image).await;
    let around = around(cluster, &name, &set).await?;
    if let Some(container) = &mut facts.container {
        carry_over(&set, &around, &target, container);
    }
    if let Some(facts) = &mut facts.cluster {
        facts.forbidden = permissions::forbidden(cluster, &name.namespace).await?;
        if let Some(pod) = &pod
            && facts.forbidden.is_empty()
        {
            facts.agent_refusal = sidecar::refusal(cluster, &name, pod).await;
        }
    }
    facts.target = Some(target);
    Ok(facts)
}

/// A cluster's part that rights are given for: a namespace.
pub(crate) async fn engine(
    cluster: &Kubernetes,
    namespace: &str,
) -> Result<EngineFacts, ClusterError> {
    Ok(EngineFacts {
        kind: "Kubernetes".to_owned(),
        version: cluster.api.version().await?,
        id: format!("{} {namespace}", cluster.api.url),
        endpoint: cluster.api.url.clone(),
        rootless: false,
    })
}

/// A moment as objects have it.
pub(crate) fn moment(value: &Value) -> Option<pbjson_types::Timestamp> {
    let time: jiff::Timestamp = text(value).parse().ok()?;
    Some(pbjson_types::Timestamp {
        seconds: time.as_second(),
        nanos: 0,
    })
}

fn container_facts(name: &Name, set: &Value, pod: Option<&Value>) -> ContainerFacts {
    let spec = &set["spec"]["template"]["spec"];
    let server = pod::server_container(spec);
    let running = pod.map(|pod| {
        (
            pod,
            pod::state(pod, "containerStatuses", text(&server["name"])),
        )
    });
    let status = match &running {
        None => "no pod".to_owned(),
        Some((_, State::Running)) => "running".to_owned(),
        Some((_, State::Ended(code))) => format!("exited ({code})"),
        Some((_, State::Coming(why) | State::Hopeless(why))) => format!("waiting ({why})"),
    };
    let started = running.as_ref().and_then(|(pod, _)| {
        let mut statuses = entries(&pod["status"]["containerStatuses"]);
        let status = statuses.find(|it| it["name"] == server["name"])?;
        moment(&status["state"]["running"]["startedAt"])
    });
    ContainerFacts {
        id: text(&set["metadata"]["uid"]).to_owned(),
        name: name.to_string(),
        running: matches!(running, Some((_, State::Running))),
        status,
        started,
        settings_digest: workload::digest(set),
        mounts: mounts(set, spec, server),
        ..ContainerFacts::default()
    }
}

fn mounts(set: &Value, spec: &Value, server: &Value) -> Vec<MountFact> {
    let claim = workload::claim(set);
    let mounts = entries(&server["volumeMounts"]).map(|mount| {
        let destination = text(&mount["mountPath"]).to_owned();
        let is_data = destination.trim_end_matches('/') == pod::DATA;
        let volume = pod::volume(spec, text(&mount["name"]));
        let kind = volume
            .and_then(Value::as_object)
            .and_then(|it| it.keys().find(|key| *key != "name"));
        // The cluster never writes what people put into these back to where it came from.
        let fixed = kind.is_some_and(|kind| {
            ["secret", "configMap", "projected", "downwardAPI"].contains(&kind.as_str())
        });
        match &claim {
            Some(claim) if is_data => MountFact {
                kind: "volume".to_owned(),
                name: claim.clone(),
                destination,
                read_only: mount["readOnly"] == true,
                source: String::new(),
            },
            _ => MountFact {
                kind: kind.map_or("volume", String::as_str).to_owned(),
                name: text(&mount["name"]).to_owned(),
                destination,
                read_only: fixed || mount["readOnly"] == true,
                source: String::new(),
            },
        }
    });
    mounts.collect()
}

/// What the node says of the image that runs. What it is, the server itself says.
fn image_facts(set: &Value, pod: Option<&Value>) -> ImageFacts {
    let server = pod::server_container(&set["spec"]["template"]["spec"]);
    let statuses = pod
        .into_iter()
        .flat_map(|pod| entries(&pod["status"]["containerStatuses"]));
    let mut statuses = statuses.filter(|it| it["name"] == server["name"]);
    let id = statuses.next().map_or("", |it| text(&it["imageID"]));
    ImageFacts {
        reference: text(&server["image"]).to_owned(),
        present: !id.is_empty(),
        id: image::digest(id),
        digest: image::digest(id),
        ..ImageFacts::default()
    }
}

async fn cluster_facts(
    cluster: &Kubernetes,
    name: &Name,
    set: &Value,
    pod: Option<&Value>,
) -> Result<ClusterFacts, StepError> {
    let template = &set["spec"]["template"];
    let spec = &template["spec"];
    let server = pod::server_container(spec);
    let meta = &set["metadata"];
    let mut facts = ClusterFacts {
        namespace: name.namespace.clone(),
        stateful_set: name.name.clone(),
        replicas: i32::try_from(set["spec"]["replicas"].as_i64().unwrap_or(1)).unwrap_or(i32::MAX),
        pod: pod
            .map_or("", |pod| text(&pod["metadata"]["name"]))
            .to_owned(),
        node: pod
            .map_or("", |pod| text(&pod["spec"]["nodeName"]))
            .to_owned(),
        container: text(&server["name"]).to_owned(),
        ready: pod.is_some_and(pod::is_ready),
        claim: workload::claim(set).unwrap_or_default(),
        claim_goes_with_pod: workload::claim_goes_with_pod(set),
        sub_path: pod::data_mount(server)
            .is_some_and(|it| it["subPath"].is_string() || it["subPathExpr"].is_string()),
        fs_group: spec["securityContext"]["fsGroup"].as_i64(),
        liveness_probe: server["livenessProbe"].is_object(),
        reconcilers: reconcilers(meta),
        agent_image: cluster.agent_image.clone(),
        ..ClusterFacts::default()
    };
    if !facts.claim.is_empty() {
        let claim = cluster
            .api
            .find(Kind::Claims, &name.namespace, &facts.claim)
            .await?
            .unwrap_or_default();
        facts.storage_class = text(&claim["spec"]["storageClassName"]).to_owned();
        facts.access_modes = entries(&claim["spec"]["accessModes"])
            .map(|it| text(it).to_owned())
            .collect();
        facts.claim_leaving = claims::is_leaving(&claim);
        facts.claim_bytes = quantity(text(&claim["status"]["capacity"]["storage"]));
    }
    let account = text(&spec["serviceAccountName"]);
    if !account.is_empty()
        && cluster
            .api
            .find(Kind::ServiceAccounts, &name.namespace, account)
            .await?
            .is_none()
    {
        facts.missing_service_account = account.to_owned();
    }
    if meta["labels"]["app.kubernetes.io/managed-by"] == "Helm" {
        let release = text(&meta["annotations"]["meta.helm.sh/release-name"]);
        facts.release = if release.is_empty() {
            text(&meta["labels"]["app.kubernetes.io/instance"])
        } else {
            release
        }
        .to_owned();
        facts.chart = text(&meta["labels"]["helm.sh/chart"]).to_owned();
        let labels = format!("owner=helm,name={}", facts.release);
        // Who may not read secrets is not told, and no worse off for it.
        let kept = cluster
            .api
            .list(Kind::Secrets, &name.namespace, &labels)
            .await;
        facts.release_history = kept.is_ok_and(|it| !it.is_empty());
    }
    facts.other_pods = other_pods(cluster, name, &facts.claim).await?;
    Ok(facts)
}

/// Who puts objects back to what they know, by the marks that they leave (facts/pmm.md 6, row 22).
fn reconcilers(meta: &Value) -> Vec<String> {
    let marked =
        |key: &str| meta["labels"][key].is_string() || meta["annotations"][key].is_string();
    let mut found = Vec::new();
    if marked("argocd.argoproj.io/instance") || marked("argocd.argoproj.io/tracking-id") {
        found.push("Argo CD".to_owned());
    }
    if marked("helm.toolkit.fluxcd.io/name") || marked("kustomize.toolkit.fluxcd.io/name") {
        found.push("Flux".to_owned());
    }
    found
}

async fn other_pods(
    cluster: &Kubernetes,
    name: &Name,
    claim: &str,
) -> Result<Vec<String>, StepError> {
    if claim.is_empty() {
        return Ok(Vec::new());
    }
    let mut others = Vec::new();
    for pod in cluster.api.list(Kind::Pods, &name.namespace, "").await? {
        let its_name = text(&pod["metadata"]["name"]);
        let uses = entries(&pod["spec"]["volumes"])
            .any(|it| it["persistentVolumeClaim"]["claimName"] == claim);
        let over = matches!(text(&pod["status"]["phase"]), "Succeeded" | "Failed");
        if uses && !over && its_name != name.pod() {
            others.push(its_name.to_owned());
        }
    }
    others.sort();
    Ok(others)
}

fn data_facts(set: &Value, cluster: Option<&ClusterFacts>) -> DataFacts {
    let spec = &set["spec"]["template"]["spec"];
    let server = pod::server_container(spec);
    let below = mounts(set, spec, server).into_iter().filter(|mount| {
        let path = mount.destination.trim_end_matches('/');
        path.starts_with(pod::DATA) && path != pod::DATA
    });
    DataFacts {
        destination: pod::DATA.to_owned(),
        mounts_below: below.collect(),
        read_only: pod::data_mount(server).is_some_and(|it| it["readOnly"] == true),
        other_containers: cluster.map(|it| it.other_pods.clone()).unwrap_or_default(),
        ..DataFacts::default()
    }
}

/// What goes with the StatefulSet.
pub(crate) async fn around(
    cluster: &Kubernetes,
    name: &Name,
    set: &Value,
) -> Result<Around, StepError> {
    let mut around = Around::default();
    let template = &set["spec"]["template"];
    for source in entries(&pod::server_container(&template["spec"])["envFrom"]) {
        let map = text(&source["configMapRef"]["name"]);
        if !map.is_empty()
            && let Some(found) = cluster
                .api
                .find(Kind::ConfigMaps, &name.namespace, map)
                .await?
        {
            around
                .config_maps
                .insert(map.to_owned(), found["data"].clone());
        }
        let secret = text(&source["secretRef"]["name"]);
        if !secret.is_empty()
            && let Ok(Some(found)) = cluster
                .api
                .find(Kind::Secrets, &name.namespace, secret)
                .await
        {
            let names = found["data"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| name.clone());
            around.secrets.insert(secret.to_owned(), names.collect());
        }
    }
    let services = cluster
        .api
        .list(Kind::Services, &name.namespace, "")
        .await?;
    around.services = services
        .into_iter()
        .filter(|it| successor::leads_to(it, template))
        .collect();
    Ok(around)
}

/// Tries the carry-over without doing any of it, so that what it would refuse is known before.
fn carry_over(set: &Value, around: &Around, target: &ImageFacts, facts: &mut ContainerFacts) {
    facts.ports = around.services.iter().flat_map(service_ports).collect();
    let new = Target {
        reference: &target.reference,
        version: &target.version,
        uid: target.uid,
    };
    match successor::carry(set, around, &new) {
        Ok(carried) => {
            facts.environment = carried.environment;
            facts.carry_over_notes = carried.notes;
        }
        Err(why) => facts.carry_over_refusal = why,
    }
}

fn service_ports(service: &Value) -> Vec<String> {
    let name = text(&service["metadata"]["name"]);
    let ports = entries(&service["spec"]["ports"]).map(|port| {
        let target = match &port["targetPort"] {
            Value::String(name) => name.clone(),
            other => other.to_string(),
        };
        format!("{name}:{} → {target}", port["port"])
    });
    ports.collect()
}

/// A quantity of Kubernetes in bytes; 0 for what is none.
fn quantity(text: &str) -> u64 {
    const UNITS: [(&str, u64); 10] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("Pi", 1 << 50),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("", 1),
    ];
    for (unit, factor) in UNITS {
        if let Some(number) = text.strip_suffix(unit) {
            let (whole, part) = number.split_once('.').unwrap_or((number, ""));
            let Ok(whole) = whole.parse::<u64>() else {
                return 0;
            };
            let tenths = part
                .chars()
                .next()
                .and_then(|digit| digit.to_digit(10))
                .unwrap_or(0);
            return whole
                .saturating_mul(factor)
                .saturating_add(factor / 10 * u64::from(tenths));
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_are_bytes() {
        for (text, bytes) in [
            ("10Gi", 10 << 30),
            ("1.5Ti", (1 << 40) + (1 << 40) / 10 * 5),
            ("500M", 500_000_000),
            ("42", 42),
            ("", 0),
            ("x", 0),
        ] {
            assert_eq!(quantity(text), bytes, "{text}");
        }
    }

    #[test]
    fn who_reconciles_is_known_by_the_marks() {
        let meta = json!({
            "labels": { "argocd.argoproj.io/instance": "pmm" },
            "annotations": { "helm.toolkit.fluxcd.io/name": "pmm" },
        });
        assert_eq!(reconcilers(&meta), ["Argo CD", "Flux"]);
        assert!(reconcilers(&json!({})).is_empty());
    }

    #[test]
    fn a_certificate_from_a_secret_is_a_mount_below_the_data_that_cannot_be_written() {
        let set = json!({
            "metadata": { "name": "pmm" },
            "spec": {
                "volumeClaimTemplates": [{ "metadata": { "name": "d" } }],
                "template": { "spec": {
                    "volumes": [{ "name": "c", "secret": { "secretName": "certs" } }],
                    "containers": [{ "name": "pmm", "volumeMounts": [
                        { "name": "d", "mountPath": "/srv" }, { "name": "c", "mountPath": "/srv/nginx" },
                    ]}],
                }},
            },
        });
        let data = data_facts(&set, None);
        let below = &data.mounts_below[0];
        assert_eq!(
            (
                below.kind.as_str(),
                below.destination.as_str(),
                below.read_only
            ),
            ("secret", "/srv/nginx", true)
        );
        let name = Name {
            namespace: "m".into(),
            name: "pmm".into(),
        };
        let container = container_facts(&name, &set, None);
        assert_eq!(container.mounts[0].name, "d-pmm-0");
        assert_eq!(container.status, "no pod");
    }
}
