//! The StatefulSet that is the server: found, scaled, waited for.

use std::time::Duration;

use ferry_agent::error::StepError;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    Kubernetes,
    api::{Kind, entries, text},
    claims,
    error::ClusterError,
    pod::{self, State},
    sidecar,
};

/// On the pods of a template that a run has made: which.
pub(crate) const RUN_MARK: &str = "ferry.run";

const POLL: Duration = Duration::from_millis(200);
/// What a node may take to fetch images and attach volumes.
pub(crate) const START_PATIENCE: Duration = Duration::from_secs(600);
/// How long a server's programs may take to end, in seconds: PostgreSQL and ClickHouse may need 300 (facts/pmm.md 7.3), and the chart gives
/// the pod 30.
const GRACE_SECONDS: u32 = 330;
/// A pod's grace comes on top of it.
const STOP_PATIENCE: Duration = Duration::from_secs(120);
/// How much of a log an error shows.
const LOG_LINES: u32 = 15;

/// A StatefulSet, as addresses name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Name {
    pub(crate) fn parse(text: &str) -> Result<Self, StepError> {
        let Some((namespace, name)) = text.split_once('/') else {
            return Err(StepError::new(
                "bad-parameter",
                format!("`{text}` is no NAMESPACE/STATEFULSET"),
            ));
        };
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Its first pod.
    pub(crate) fn pod(&self) -> String {
        format!("{}-0", self.name)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The claim that has the data of the first pod; `None` when the data is on none.
pub(crate) fn claim(set: &Value) -> Option<String> {
    let spec = &set["spec"]["template"]["spec"];
    let mount = pod::data_mount(pod::server_container(spec))?;
    let volume = text(&mount["name"]);
    let mut templates = entries(&set["spec"]["volumeClaimTemplates"]);
    if templates.any(|it| it["metadata"]["name"] == volume) {
        return Some(format!("{volume}-{}-0", text(&set["metadata"]["name"])));
    }
    let claim = &pod::volume(spec, volume)?["persistentVolumeClaim"]["claimName"];
    claim.as_str().map(str::to_owned)
}

/// Whether the cluster deletes the claim with the data when the set is given no pod. Only a claim of its own templates is the set's to delete.
pub(crate) fn claim_goes_with_pod(set: &Value) -> bool {
    let spec = &set["spec"];
    let of_template = claim(set).is_some_and(|claim| {
        let name = text(&set["metadata"]["name"]);
        entries(&spec["volumeClaimTemplates"])
            .any(|it| format!("{}-{name}-0", text(&it["metadata"]["name"])) == claim)
    });
    of_template && spec["persistentVolumeClaimRetentionPolicy"]["whenScaled"] == "Delete"
}

/// BLAKE3 over what a person sets of it. How many pods it has is none of it: a run changes that.
pub(crate) fn digest(set: &Value) -> String {
    let spec = &set["spec"];
    let settings = json!([
        spec["template"],
        spec["volumeClaimTemplates"],
        spec["serviceName"]
    ]);
    blake3::hash(settings.to_string().as_bytes())
        .to_hex()
        .to_string()
}

impl Kubernetes {
    pub(crate) async fn set(&self, name: &Name) -> Result<Value, StepError> {
        let found = self
            .api
            .find(Kind::StatefulSets, &name.namespace, &name.name)
            .await?;
        found.ok_or_else(|| {
            StepError::new(
                "no-such-container",
                format!(
                    "namespace `{}` has no StatefulSet `{}`",
                    name.namespace, name.name
                ),
            )
            .hint("`kubectl get statefulsets --all-namespaces` lists them")
        })
    }

    pub(crate) async fn pod(&self, name: &Name) -> Result<Option<Value>, ClusterError> {
        self.api
            .find(Kind::Pods, &name.namespace, &name.pod())
            .await
    }

    /// How many pods there shall be.
    pub(crate) async fn scale(&self, name: &Name, replicas: i32) -> Result<(), ClusterError> {
        let patch = json!({ "spec": { "replicas": replicas } });
        let set = &name.name;
        self.api
            .merge(Kind::StatefulSets, &name.namespace, set, &patch)
            .await?;
        Ok(())
    }

    /// Gives the StatefulSet no pod, and is sure of it: what follows relies on nobody using the data.
    pub(crate) async fn stop(&self, name: &Name) -> Result<(), StepError> {
        self.check_claim_stays(name).await?;
        self.scale(name, 0).await?;
        self.gone(&name.namespace, &name.pod(), "its grace").await
    }

    /// Asked for by a check too, and somebody may have changed it since; between a crossing and its rollback there are days.
    async fn check_claim_stays(&self, name: &Name) -> Result<(), StepError> {
        let set = self.set(name).await?;
        let Some(claim) = claim(&set) else {
            return Ok(());
        };
        let there = self.api.find(Kind::Claims, &name.namespace, &claim).await?;
        let (why, hint) = if there.is_some_and(|it| claims::is_leaving(&it)) {
            (
                "somebody has deleted it",
                "nothing takes that back: leave the pod running, and copy the data to another claim",
            )
        } else if claim_goes_with_pod(&set) {
            (
                "the StatefulSet has `whenScaled: Delete`",
                "set `persistentVolumeClaimRetentionPolicy.whenScaled` to `Retain`, then try again",
            )
        } else {
            return Ok(());
        };
        Err(StepError::new(
            "claim-goes",
            format!(
                "claim `{claim}`, which has the data of {name}, would be gone with its pod: {why}"
            ),
        )
        .hint(hint))
    }

    /// As [`Self::stop`], of a server whose programs this run has stopped. Where they may run again, the pod gets the time that they need.
    ///
    /// Such a pod is asked to go before its set is told to have none: what the set removes gets the grace of the template, which can be made longer neither
    /// there, without a new pod, nor afterwards. One in which nothing runs is not: it could be gone, and made anew, before its set is told.
    pub(crate) async fn stop_stopped(&self, name: &Name, run: &str) -> Result<(), StepError> {
        let pod = self.pod(name).await?;
        let is_asked = |pod: &Value| {
            let stays = pod["metadata"]["deletionTimestamp"].is_null();
            stays && sidecar::has_restarted(pod, run)
        };
        if let Some(pod) = pod.filter(is_asked) {
            let own = pod["spec"]["terminationGracePeriodSeconds"].as_u64();
            let own = own.and_then(|it| u32::try_from(it).ok()).unwrap_or(0);
            let grace = Some(own.max(GRACE_SECONDS));
            self.api
                .delete(Kind::Pods, &name.namespace, &name.pod(), grace)
                .await?;
        }
        self.stop(name).await
    }

    /// Waits until a pod is not there any more.
    pub(crate) async fn gone(
        &self,
        namespace: &str,
        pod: &str,
        grace: &str,
    ) -> Result<(), StepError> {
        let mut deadline = None;
        while let Some(there) = self.api.find(Kind::Pods, namespace, pod).await? {
            let own = there["metadata"]["deletionGracePeriodSeconds"]
                .as_u64()
                .unwrap_or(30);
            let until =
                *deadline.get_or_insert(Instant::now() + STOP_PATIENCE + Duration::from_secs(own));
            if Instant::now() > until {
                return Err(StepError::new(
                    "still-stopping",
                    format!("pod `{pod}` is still there after {grace} and {} s", STOP_PATIENCE.as_secs()),
                )
                .hint(format!(
                    "`kubectl describe pod {pod} --namespace {namespace}` says what it waits for; when it is gone, `ferryctl resume`"
                )));
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Waits until the server's container runs, for as long as a node may need to fetch and attach.
    pub(crate) async fn started(&self, name: &Name) -> Result<Value, StepError> {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            let found = self.pod(name).await?;
            let why = match &found {
                None => "the StatefulSet has made no pod".to_owned(),
                Some(pod) => match self.server_state(pod) {
                    State::Running => return Ok(pod.clone()),
                    State::Coming(why) => why,
                    State::Ended(code) => {
                        return Err(self
                            .exited(name, pod, &format!("exited with code {code}"))
                            .await);
                    }
                    State::Hopeless(why) => {
                        return Err(self
                            .exited(name, pod, &format!("does not start: {why}"))
                            .await);
                    }
                },
            };
            if Instant::now() > deadline {
                return Err(StepError::new(
                    "pod-not-started",
                    format!(
                        "pod `{}` does not run after {} s: {why}",
                        name.pod(),
                        START_PATIENCE.as_secs()
                    ),
                )
                .hint(format!(
                    "`kubectl describe pod {} --namespace {}` says more",
                    name.pod(),
                    name.namespace
                )));
            }
            sleep(POLL).await;
        }
    }

    /// Refuses where the server's container has ended or cannot start. Of a pod that this run made, one restart is enough: it restarts
    /// because it exited.
    pub(crate) async fn booted(&self, name: &Name, run: &str) -> Result<(), StepError> {
        let Some(pod) = self.pod(name).await? else {
            return Err(not_running(name));
        };
        let container = server_name(&pod);
        let restarts = pod::restarts(&pod, &container);
        let ours = pod["metadata"]["annotations"][RUN_MARK] == run;
        if ours && restarts > 0 {
            return Err(self
                .exited(name, &pod, &format!("restarted {restarts} times"))
                .await);
        }
        match self.server_state(&pod) {
            State::Running => Ok(()),
            State::Coming(_) => Err(not_running(name)),
            State::Ended(code) => Err(self
                .exited(name, &pod, &format!("exited with code {code}"))
                .await),
            State::Hopeless(why) => Err(self
                .exited(name, &pod, &format!("does not start: {why}"))
                .await),
        }
    }

    pub(crate) fn server_state(&self, pod: &Value) -> State {
        pod::state(pod, "containerStatuses", &server_name(pod))
    }

    async fn exited(&self, name: &Name, pod: &Value, what: &str) -> StepError {
        let container = server_name(pod);
        let lines = match self
            .api
            .log(&name.namespace, &name.pod(), &container, LOG_LINES)
            .await
        {
            Ok(text) => text.lines().map(str::to_owned).collect(),
            Err(error) => vec![format!("its log cannot be read: {error}")],
        };
        StepError::new(
            "container-exited",
            format!("container `{container}` of pod `{}` {what}", name.pod()),
        )
        .details(lines)
    }
}

/// The server's container, by name.
pub(crate) fn server_name(pod: &Value) -> String {
    text(&pod::server_container(&pod["spec"])["name"]).to_owned()
}

pub(crate) fn not_running(name: &Name) -> StepError {
    StepError::new(
        "server-not-running",
        format!(
            "pod `{}` of {name} does not run: nobody can be asked in it",
            name.pod()
        ),
    )
    .hint(format!(
        "`kubectl describe pod {} --namespace {}` says why; when it runs, try again",
        name.pod(),
        name.namespace
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_claim_is_of_a_template_or_of_the_pod() {
        let mount = json!([{ "name": "pmm-storage", "mountPath": "/srv" }]);
        let containers = json!([{ "name": "pmm", "volumeMounts": mount }]);
        let mut set = json!({
            "metadata": { "name": "pmm" },
            "spec": {
                "template": { "spec": { "containers": containers } },
                "volumeClaimTemplates": [{ "metadata": { "name": "pmm-storage" } }],
            },
        });
        assert_eq!(claim(&set).as_deref(), Some("pmm-storage-pmm-0"));
        set["spec"]["volumeClaimTemplates"] = json!([]);
        assert_eq!(claim(&set), None);
        set["spec"]["template"]["spec"]["volumes"] =
            json!([{ "name": "pmm-storage", "persistentVolumeClaim": { "claimName": "own" } }]);
        assert_eq!(claim(&set).as_deref(), Some("own"));
    }

    #[test]
    fn how_many_pods_there_are_is_no_setting() {
        let set = |replicas, image: &str| json!({ "spec": { "replicas": replicas, "template": { "image": image } } });
        assert_eq!(digest(&set(1, "a")), digest(&set(0, "a")));
        assert_ne!(digest(&set(1, "a")), digest(&set(1, "b")));
    }
}
