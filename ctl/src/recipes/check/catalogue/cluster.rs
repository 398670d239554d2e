//! A server in a Kubernetes cluster.

super::codes! { "Kubernetes"
    CLUSTER_NOT_YET "cluster-not-yet" [Blocker] "7.5":
        "the server is in a cluster, and what was asked for is not there for one: another recipe than the default one, a rehearsal, a folder for the backup, or an update within a major version, which Helm does itself"
        => "leave the flag out, or use `helm upgrade` for the update ([docs/kubernetes.md](kubernetes.md))";
    CLUSTER_FORBIDDEN "cluster-forbidden" [Blocker] "7.5":
        "the cluster does not allow this user something that a crossing does; it was asked before anything is done"
        => "bind the role of `deploy/kubernetes/rbac.yaml` to whoever runs `ferryctl`";
    CLUSTER_AGENT_REFUSED "cluster-agent-refused" [Blocker] "8.4":
        "the cluster takes no ephemeral container with the agent, which runs as root and looks into another user's processes: a policy for pods forbids it in this namespace, or the cluster is older than 1.25"
        => "let the namespace have privileged pods for the crossing (`pod-security.kubernetes.io/enforce`)";
    CLUSTER_RECONCILED "cluster-reconciled" [Blocker] "6":
        "something watches over the StatefulSet and would put PMM 2 back in the middle of the run"
        => "suspend it for the crossing, and give it the new values before it goes on";
    CLUSTER_REPLICAS "cluster-replicas" [Blocker] "7.3":
        "the StatefulSet shall have none or several pods; PMM has one"
        => "scale it to one, and wait until PMM answers";
    CLUSTER_POD_NOT_READY "cluster-pod-not-ready" [Blocker] "7.3":
        "the pod does not run, or Kubernetes does not call it ready; a crossing must begin with a server that works"
        => "see `kubectl describe pod` for the reason and repair it first";
    CLUSTER_CLAIM "cluster-claim" [Blocker] "8.2":
        "the data is on no claim, on a folder of one, or on one that a single pod alone may use: then no second pod and no ephemeral container can have it"
        => "have the data on a claim of its own with the access mode ReadWriteOnce";
    CLUSTER_CLAIM_GOES "cluster-claim-goes" [Blocker] "6":
        "the cluster deletes the data's claim when the StatefulSet is given no pod, as a crossing does, or somebody has deleted it: then it goes with its last pod, and the data with it"
        => "set `persistentVolumeClaimRetentionPolicy.whenScaled` to `Retain`; of a claim that is deleted already, copy the data to another";
    CLUSTER_SERVICE_ACCOUNT "cluster-service-account" [Blocker] "6":
        "the service account that the StatefulSet names is not there: no new pod would be made of it"
        => "make it, or set `serviceAccount.create` for the chart";
    CLUSTER_FS_GROUP "cluster-fs-group" [Warning] "6":
        "the pod has an `fsGroup`: at each start the kubelet gives all files to that group and lets it write, at whose sight PostgreSQL does not start; the crossing leaves it out"
        => "leave it out of your own values too; those that are written out have it so";
    CLUSTER_LIVENESS "cluster-liveness" [Warning] "6":
        "a liveness probe may restart the server in the seconds between the stop of its programs and of its pod"
        => "take it out for the crossing; the chart for PMM 2 has none";
    CLUSTER_HELM "cluster-helm" [Warning] "6":
        "Helm made the StatefulSet and does not know what the run changes: its next upgrade with the old values would put PMM 2 on PMM 3's data"
        => "after the crossing use the values that the run writes out ([docs/kubernetes.md](kubernetes.md))";
    CLUSTER_CHART "cluster-chart" [Warning] "7.3":
        "the chart is older than 1.3, the first for PMM 2.44, or Helm's own revisions are not to be seen"
        => "upgrade the release to chart 1.3 first; a rollback by Ferry does not need Helm's revisions";
}
