//! What an image is: a pod is made of it that starts this program in the place of its own, and says what it sees (`ferryd describe`).

use std::time::Duration;

use ferry_agent::{
    engine::{labels::ROLE_LABEL, probe},
    error::StepError,
    pod::Description,
};
use ferry_proto::v1::ImageFacts;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    Kubernetes,
    api::{Kind, entries, text},
    pod::{self, State},
    workload::{Name, START_PATIENCE},
};

const POLL: Duration = Duration::from_millis(100);
const PROGRAMS: &str = "/ferry";
const ANSWER: &str = "/dev/termination-log";

/// What the node says of an image that it has run: the digest, where it came from a registry.
pub(crate) fn digest(image_id: &str) -> String {
    let bare = image_id
        .split_once("://")
        .map_or(image_id, |(_, rest)| rest);
    bare.to_owned()
}

/// Looks at an image on the server's node, which fetches it where it is missing: in a cluster nobody else can. `asker` is who wants to
/// know, the same again after a kill: what one that was killed left is removed then.
pub(crate) async fn look(
    cluster: &Kubernetes,
    server: &Name,
    template: &Value,
    node: &str,
    (reference, asker): (&str, &str),
) -> ImageFacts {
    let mut facts = ImageFacts {
        reference: reference.to_owned(),
        ..ImageFacts::default()
    };
    match run(cluster, server, template, node, (reference, asker)).await {
        Ok((id, said)) => {
            let labels = std::collections::BTreeMap::new();
            let (version, major, mut evidence) =
                probe::judge(&labels, said.version_file.as_deref());
            evidence.push(format!(
                "a container of it runs as {}:{}",
                said.uid, said.gid
            ));
            facts.present = true;
            facts.digest = digest(&id);
            facts.id = facts.digest.clone();
            facts.version = version.unwrap_or_default();
            facts.pmm_major = major.unwrap_or_default();
            (facts.uid, facts.gid) = (said.uid, said.gid);
            facts.evidence = evidence;
        }
        Err(error) => facts.failure = error.to_string(),
    }
    facts
}

/// The image's id and what it says.
async fn run(
    cluster: &Kubernetes,
    server: &Name,
    template: &Value,
    node: &str,
    (reference, asker): (&str, &str),
) -> Result<(String, Description), StepError> {
    let name = pod_name(reference, asker);
    let body = body(cluster, &name, template, node, reference);
    remove(cluster, server, &name).await?;
    cluster
        .api
        .create(Kind::Pods, &server.namespace, &body)
        .await?;
    let said = wait(cluster, server, &name).await;
    remove(cluster, server, &name).await?;
    said
}

/// Whoever else looks at the same image at the same time has a pod of another name: neither takes away what the other waits for.
fn pod_name(reference: &str, asker: &str) -> String {
    let number = blake3::hash(format!("{reference} {asker}").as_bytes()).to_hex();
    format!("ferry-image-{}", &number[..10])
}

/// Removes the pod of a look that was cut off.
pub(crate) async fn forget(
    cluster: &Kubernetes,
    server: &Name,
    (reference, asker): (&str, &str),
) -> Result<(), StepError> {
    remove(cluster, server, &pod_name(reference, asker)).await
}

fn body(cluster: &Kubernetes, name: &str, template: &Value, node: &str, reference: &str) -> Value {
    let labels = json!({ "app.kubernetes.io/managed-by": "ferry", ROLE_LABEL: "image" });
    let mut body = pod::own(name, &labels, template, node);
    let mount = json!([{ "name": "ferry", "mountPath": PROGRAMS }]);
    body["spec"]["volumes"] = json!([{ "name": "ferry", "emptyDir": {} }]);
    body["spec"]["initContainers"] = json!([{
        "name": "program", "image": cluster.agent_image, "imagePullPolicy": "IfNotPresent",
        "args": ["install", PROGRAMS], "volumeMounts": mount,
        "securityContext": { "runAsUser": 0, "runAsNonRoot": false, "allowPrivilegeEscalation": false },
    }]);
    body["spec"]["containers"] = json!([{
        "name": "image", "image": reference,
        "imagePullPolicy": "IfNotPresent",
        "command": [format!("{PROGRAMS}/ferryd"), "describe", ANSWER],
        "terminationMessagePath": ANSWER, "volumeMounts": mount,
        "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
    }]);
    body
}

async fn wait(
    cluster: &Kubernetes,
    server: &Name,
    name: &str,
) -> Result<(String, Description), StepError> {
    let deadline = Instant::now() + START_PATIENCE;
    let failed = |why: String| Err(StepError::new("image-look", why));
    loop {
        let pod = cluster.api.get(Kind::Pods, &server.namespace, name).await?;
        match pod::state(&pod, "initContainerStatuses", "program") {
            State::Hopeless(why) => {
                return failed(format!(
                    "the agent's image `{}` does not start: {why}",
                    cluster.agent_image
                ));
            }
            State::Ended(code) if code != 0 => {
                return failed(format!("the agent's image ended with code {code}"));
            }
            _ => {}
        }
        match pod::state(&pod, "containerStatuses", "image") {
            State::Ended(code) => return answer(&pod, code),
            State::Hopeless(why) => return failed(why),
            State::Coming(why) if Instant::now() > deadline => {
                return failed(format!("its pod does not start: {why}"));
            }
            _ => sleep(POLL).await,
        }
    }
}

fn answer(pod: &Value, code: i64) -> Result<(String, Description), StepError> {
    let mut statuses = entries(&pod["status"]["containerStatuses"]);
    let status = statuses.find(|it| it["name"] == "image");
    let status = status.cloned().unwrap_or_default();
    let message = text(&status["state"]["terminated"]["message"]);
    let said = serde_json::from_str(message).map_err(|_| {
        StepError::new(
            "image-look",
            format!("a container of it ended with code {code} and said nothing of use"),
        )
    })?;
    Ok((text(&status["imageID"]).to_owned(), said))
}

async fn remove(cluster: &Kubernetes, server: &Name, name: &str) -> Result<(), StepError> {
    if cluster
        .api
        .delete(Kind::Pods, &server.namespace, name, Some(0))
        .await?
    {
        cluster.gone(&server.namespace, name, "no grace").await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_images_id_is_told_without_the_nodes_own_word() {
        for id in [
            "docker-pullable://r.example/pmm@sha256:9b1e",
            "r.example/pmm@sha256:9b1e",
        ] {
            assert_eq!(digest(id), "r.example/pmm@sha256:9b1e");
        }
        assert_eq!(digest("sha256:9b1e"), "sha256:9b1e");
    }
}
