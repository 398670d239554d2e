//! Settings of the container that are not carried over as they are. Their codes are the agent's
//! ([`ferry_proto::carry_over`]) behind `carry-over-`.

use super::Code;

super::codes! { "Settings that do not carry over as they are"
    CARRY_OVER "carry-over" [Warning] "7.4":
        "an agent of another release says something of a setting that this release has no code for"
        => "read its sentence; use agent and controller of one release";
    PORT_TRANSLATED "carry-over-port-translated" [Note] "7.4":
        "PMM 3 listens on 8080 and 8443 inside; the host's ports stay what they are"
        => "nothing; clients in the same container network must use the new ports";
    HOST_NETWORK "carry-over-host-network-ports" [Warning] "7.4":
        "see `host-network-ports`"
        => "as for `host-network-ports`";
    USER_UNSET "carry-over-user-unset" [Warning] "7.4":
        "the container ran as a user of its own choosing; PMM 3 must run as its image's user"
        => "nothing, unless something outside relies on that user";
    CUSTOM_CMD "carry-over-custom-cmd" [Warning] "7.4":
        "the container has a command of its own, which is kept and was made for PMM 2"
        => "see that PMM 3 starts with it, best by `ferryctl rehearse`";
    CUSTOM_ENTRYPOINT "carry-over-custom-entrypoint" [Warning] "7.4":
        "the container has an entry point of its own, which is kept and was made for PMM 2"
        => "see that PMM 3 starts with it, best by `ferryctl rehearse`";
    CUSTOM_WORKING_DIR "carry-over-custom-working-dir" [Warning] "7.4":
        "the container has a working directory of its own, which is kept"
        => "see that PMM 3's image has that directory";
    CUSTOM_STOP_SIGNAL "carry-over-custom-stop-signal" [Warning] "7.4":
        "the container has a stop signal of its own, which is kept"
        => "see that PMM 3's supervisor stops at it";
    CUSTOM_HEALTHCHECK "carry-over-custom-healthcheck" [Warning] "7.4":
        "the container has a health check of its own, which is kept; where it asks the server by URL it follows PMM 3's ports and path"
        => "look at it after the crossing";
    HEALTHCHECK_OLD_PORT "carry-over-healthcheck-old-port" [Warning] "7.4":
        "the container's own health check names port 80 or 443 in a way that cannot be put right safely; PMM 3 would be called unhealthy"
        => "make the container again with a check of `http://127.0.0.1:8080/v1/server/readyz`, or without one of its own";
    READONLY_ROOTFS "carry-over-readonly-rootfs" [Warning] "7.4":
        "the root file system is read-only, and PMM 3 writes to `/etc/supervisord.d`, `/run` and `/usr/share/pmm-server` at its start"
        => "make the container again without `--read-only`";
    PRIVILEGED "carry-over-privileged" [Warning] "7.4":
        "the container is privileged, and stays so"
        => "consider whether PMM 3 needs that";
    LOG_DRIVER_DROPPED "carry-over-log-driver-dropped" [Warning] "6":
        "the log driver passes the engine's own streams through, which breaks PMM 3's `nginx`; the engine's default is used"
        => "choose another driver if the default does not suit";
    ULIMITS_UNSET "carry-over-ulimits-unset" [Warning] "7.2":
        "the container was made with `--ulimit`; Docker's interface of an ordinary user's Podman takes none, so the new one has that user's own limits"
        => "give the user limits that suffice (`ulimit -n`, `limits.conf`), or make the container again after the crossing";
    NETWORK_OF_CONTAINER "carry-over-network-of-container" [Warning] "7.4":
        "the container shares another container's network, whose ports change with it"
        => "start that container first, and publish 8080 and 8443 there";
    MOUNT_MOVED "carry-over-mount-moved" [Warning] "7.4":
        "something is mounted where PMM 3 has another folder; it is mounted there"
        => "see that what is in it suits PMM 3";
    MOUNT_DROPPED "carry-over-mount-dropped" [Warning] "7.4":
        "something is mounted for a program that PMM 3 does not have; it is left out"
        => "keep what you need of it yourself";
    MOUNT_NGINX "carry-over-mount-nginx" [Warning] "6":
        "something is mounted at or below `/srv/nginx`, where PMM 3 writes, and reads its key as uid 1000"
        => "mount certificates file by file, readable for uid 1000";
    MOUNT_V2_CONFIG "carry-over-mount-v2-config" [Warning] "7.4":
        "a configuration that was written for PMM 2 is mounted over PMM 3's"
        => "compare it with PMM 3's own, best by `ferryctl rehearse`";
    NEW_ANONYMOUS_VOLUME "carry-over-new-anonymous-volume" [Warning] "7.4":
        "the new image wants a volume in a place where nothing is mounted, and gets an anonymous one"
        => "nothing, unless you want that volume to have a name";
    ORCHESTRATOR_COMPOSE "carry-over-orchestrator-compose" [Warning] "7.5":
        "labels of Compose are on the container, see `container-managed`"
        => "as for `container-managed`";
    ORCHESTRATOR_SWARM "carry-over-orchestrator-swarm" [Warning] "7.5":
        "labels of a Swarm service are on the container, see `container-managed`"
        => "as for `container-managed`";
    ORCHESTRATOR_SYSTEMD "carry-over-orchestrator-podman-systemd" [Warning] "7.5":
        "the label of a systemd unit is on the container, see `container-managed`"
        => "as for `container-managed`";
    ORCHESTRATOR_KUBERNETES "carry-over-orchestrator-kubernetes" [Warning] "7.5":
        "labels of Kubernetes are on the container, see `container-managed`"
        => "as for `container-managed`";
}

/// The code for what an agent says of a setting.
#[must_use]
pub fn of(agents: &str) -> &'static Code {
    let is = |code: &&&Code| code.name.strip_prefix("carry-over-") == Some(agents);
    GROUP.codes.iter().find(is).copied().unwrap_or(CARRY_OVER)
}
