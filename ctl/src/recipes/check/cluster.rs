//! A server in a cluster: whether its StatefulSet can be stopped, changed and given back.

use ferry_proto::v1::{ClusterFacts, Facts};

use super::{Notebook, Subject, catalogue::cluster, names};
use crate::recipes::{Backup, Recipe, Version, Wishes};

/// The first chart that has PMM 2.44 (facts/pmm.md 7.3).
const FIRST_CHART: Version = Version::new(1, 3, 0);

pub(super) fn check(
    facts: &Facts,
    cluster: &ClusterFacts,
    wishes: &Wishes,
    subject: &Subject,
    notebook: &mut Notebook,
) {
    check_wishes(wishes, subject, notebook);
    check_rights(cluster, notebook);
    check_pod(facts, cluster, notebook);
    check_claim(cluster, notebook);
    check_claim_stays(cluster, notebook);
    check_template(cluster, notebook);
    check_helm(cluster, notebook);
}

/// What is there for containers and not for clusters.
fn check_wishes(wishes: &Wishes, subject: &Subject, notebook: &mut Notebook) {
    let mut not_yet = |what: &str, hint: &str| {
        let text = format!(
            "{}: {what} is not there for servers in a cluster",
            subject.name
        );
        notebook.blocker(cluster::CLUSTER_NOT_YET, text, hint);
    };
    if wishes.recipe == Recipe::PmmDumpRestore {
        not_yet("the recipe pmm-dump-restore", "leave `--recipe` out");
    }
    if wishes.backup != Backup::NewVolume {
        not_yet(
            "a backup in a folder",
            "leave `--backup-to` out: the copy gets a claim of its own",
        );
    }
    if subject.is_update() {
        not_yet(
            "an update within a major version",
            "`helm upgrade` with the image's new tag does it",
        );
    }
}

fn check_rights(cluster: &ClusterFacts, notebook: &mut Notebook) {
    if !cluster.forbidden.is_empty() {
        let all = cluster.forbidden.iter().map(String::as_str);
        let text = format!(
            "this user may not {} in namespace {}",
            names(all, cluster.forbidden.len() as u64),
            cluster.namespace
        );
        notebook.blocker(
            cluster::CLUSTER_FORBIDDEN,
            text,
            "bind the role of `deploy/kubernetes/rbac.yaml`, then check again",
        );
    }
    if !cluster.agent_refusal.is_empty() {
        notebook.blocker(
            cluster::CLUSTER_AGENT_REFUSED,
            format!(
                "the agent cannot be beside the server: {}",
                cluster.agent_refusal
            ),
            "let the namespace have privileged pods for the crossing, then check again",
        );
    }
    for reconciler in &cluster.reconcilers {
        notebook.blocker(
            cluster::CLUSTER_RECONCILED,
            format!("{reconciler} looks after the StatefulSet and would put PMM 2 back in the middle of the run"),
            &format!("suspend it in {reconciler} for the crossing, then check again"),
        );
    }
}

fn check_pod(facts: &Facts, cluster: &ClusterFacts, notebook: &mut Notebook) {
    if cluster.replicas != 1 {
        notebook.blocker(
            cluster::CLUSTER_REPLICAS,
            format!("the StatefulSet shall have {} pods, and PMM has one", cluster.replicas),
            &format!(
                "`kubectl scale statefulset {} --replicas 1 --namespace {}`, wait until PMM answers, then check again",
                cluster.stateful_set, cluster.namespace
            ),
        );
    }
    let status = facts.container.as_ref().map_or("", |it| &it.status);
    let running = facts.container.as_ref().is_some_and(|it| it.running);
    if !running || !cluster.ready {
        let what = if running { "is not ready" } else { status };
        notebook.blocker(
            cluster::CLUSTER_POD_NOT_READY,
            format!("the server's pod {}-0: {what}", cluster.stateful_set),
            &format!(
                "`kubectl describe pod {}-0 --namespace {}` says why; repair it, then check again",
                cluster.stateful_set, cluster.namespace
            ),
        );
    }
}

fn check_claim(cluster: &ClusterFacts, notebook: &mut Notebook) {
    let why = if cluster.claim.is_empty() {
        "the data is on no claim"
    } else if cluster.sub_path {
        "the data is on a folder of its claim, which an ephemeral container cannot mount"
    } else if cluster
        .access_modes
        .iter()
        .any(|it| it == "ReadWriteOncePod")
    {
        "the data's claim can be used by a single pod, and the copy is made by another one"
    } else {
        return;
    };
    notebook.blocker(
        cluster::CLUSTER_CLAIM,
        why,
        "have the data on a claim of its own with the access mode ReadWriteOnce, then check again",
    );
}

fn check_claim_stays(cluster: &ClusterFacts, notebook: &mut Notebook) {
    if cluster.claim_leaving {
        notebook.blocker(
            cluster::CLUSTER_CLAIM_GOES,
            format!(
                "somebody has deleted claim `{}`, which has the data: it goes, and the data with it, when no pod has it any more",
                cluster.claim
            ),
            "nothing takes that back: leave the pod running, copy the data to another claim, give the server that, then check again",
        );
    }
    if cluster.claim_goes_with_pod {
        notebook.blocker(
            cluster::CLUSTER_CLAIM_GOES,
            format!(
                "the cluster deletes claim `{}`, which has the data, when the StatefulSet is given no pod (`whenScaled: Delete`)",
                cluster.claim
            ),
            &format!(
                "`kubectl patch statefulset {} --namespace {} --patch '{{\"spec\":{{\"persistentVolumeClaimRetentionPolicy\":{{\"whenScaled\":\"Retain\"}}}}}}'`, then check again",
                cluster.stateful_set, cluster.namespace
            ),
        );
    }
}

fn check_template(cluster: &ClusterFacts, notebook: &mut Notebook) {
    if !cluster.missing_service_account.is_empty() {
        notebook.blocker(
            cluster::CLUSTER_SERVICE_ACCOUNT,
            format!(
                "the StatefulSet names the service account `{}`, which is not there: it would get no new pod",
                cluster.missing_service_account
            ),
            "make it, or set `serviceAccount.create=true` for the chart, then check again",
        );
    }
    if let Some(group) = cluster.fs_group {
        notebook.warning(
            cluster::CLUSTER_FS_GROUP,
            format!("the pod's `fsGroup` {group} is left out: with it PMM 3's PostgreSQL finds its folder open to a group"),
            "",
        );
    }
    if cluster.liveness_probe {
        notebook.warning(
            cluster::CLUSTER_LIVENESS,
            "a liveness probe may restart the server while its programs are stopped",
            "take it out for the crossing",
        );
    }
}

fn check_helm(cluster: &ClusterFacts, notebook: &mut Notebook) {
    if cluster.release.is_empty() {
        return;
    }
    notebook.warning(
        cluster::CLUSTER_HELM,
        format!(
            "Helm made the StatefulSet (release {}, chart {}) and does not know what the run changes",
            cluster.release, cluster.chart
        ),
        "after the crossing use the values that the run writes out, in the next `helm upgrade`",
    );
    let version = cluster
        .chart
        .rsplit_once('-')
        .and_then(|(_, it)| Version::parse(it));
    if version.is_none_or(|version| version < FIRST_CHART) {
        notebook.warning(
            cluster::CLUSTER_CHART,
            format!(
                "chart {} is not known to be one for PMM 2.44",
                cluster.chart
            ),
            "upgrade the release to chart 1.3 first, if you can",
        );
    } else if !cluster.release_history {
        notebook.warning(
            cluster::CLUSTER_CHART,
            format!(
                "no revisions of release {} are to be seen, so `helm rollback` may have none",
                cluster.release
            ),
            "",
        );
    }
}
