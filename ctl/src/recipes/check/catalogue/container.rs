//! The engine and the container.

super::codes! { "Engine and container"
    ENGINE_UNOBSERVED "engine-unobserved" [Blocker] "7.1":
        "the container engine did not answer, so nothing can be known or done"
        => "see that it answers (`docker version`), and that you may use it";
    PODMAN_UNSUPPORTED "podman-unsupported" [Blocker] "7.2":
        "an ordinary user's Podman has user namespaces, in which owners mean something else than on its host; this release carries over the containers of root's Podman only"
        => "migrate a server of root's Podman or of Docker, or follow upstream's manual steps for Podman";
    CONTAINER_UNFENCEABLE "container-unfenceable" [Blocker] "2.1":
        "the engine changes no limit of a container that exists, and the container's first program is not its image's own, so nothing would keep the old server off the new one's data"
        => "make the container again with its image's own command, none of it on a mount";
    ENGINE_UNKNOWN "engine-unknown" [Blocker] "7.1":
        "what answers says that it is neither Docker nor Podman"
        => "point at a Docker engine (`DOCKER_HOST` or a context) or a Podman (`podman:NAME`)";
    CONTAINER_UNOBSERVED "container-unobserved" [Blocker] "7.4":
        "the engine told nothing of the container, or not its id and name"
        => "see `docker ps --all` for its name";
    CONTAINER_PAUSED "container-paused" [Blocker] "7.4":
        "the container is paused, and nothing in it can answer or be stopped in order"
        => "`docker unpause` it";
    CONTAINER_RESTARTING "container-restarting" [Blocker] "7.4":
        "the server ends again and again; a crossing must begin with one that works"
        => "see its log for the reason and repair it first";
    CONTAINER_NOT_RUNNING "container-not-running" [Blocker] "9":
        "a server that does not run cannot show what must be found again afterwards"
        => "start it, and wait until PMM answers";
    CONTAINER_AUTO_REMOVE "container-auto-remove" [Blocker] "7.4":
        "it was started with `--rm`: the engine would delete it when it stops, and an anonymous volume with it"
        => "make the container again without `--rm`, on the same volume";
    CONTAINER_MANAGED "container-managed" [Blocker] "7.5":
        "Compose, Swarm, systemd or Kubernetes manages the container, and would make it anew or restart it in the middle of the run"
        => "for Compose, `--compose edit` or `--compose container-only` ([docs/compose.md](compose.md)); for Kubernetes, the address `kubernetes:NAMESPACE/STATEFULSET` ([docs/kubernetes.md](kubernetes.md)); otherwise take it out of that tool's hands for the crossing";
    COMPOSE_CONTAINER_ONLY "compose-container-only" [Warning] "7.4":
        "Compose made the container, and by choice the container alone is made again: Compose's file still describes PMM 2, and would bring it up on PMM 3's data"
        => "change the file as the finding says, before Compose makes the container again ([docs/compose.md](compose.md))";
    COMPOSE_FILE_EDITED "compose-file-edited" [Note] "7.5":
        "Compose made the container, and by choice the run changes its file: image, names and values of variables, the container's side of ports; all else in it stays, and the file as it was lies beside it"
        => "nothing; the finding and the plan show each entry, without the values of variables";
    COMPOSE_FILE_REFUSED "compose-file-refused" [Blocker] "7.5":
        "`--compose edit` was said, and the file is not on this machine, does not describe this container any more, or has what must change in a form that cannot be edited so that it is surely right"
        => "mend what the finding names, or say `--compose container-only` and change the file yourself ([docs/compose.md](compose.md))";
    COMPOSE_REMOVES_OLD "compose-removes-old" [Warning] "7.5":
        "an engine cannot take Compose's labels off the old container: the next `docker compose up` finds one container too many and removes that one"
        => "decide before it whether to keep PMM 3; the backup stays in any case";
    UPDATER_BESIDE "updater-beside" [Warning] "2.2":
        "a Watchtower runs at the same engine: it may replace containers by itself, also the server in the middle of a run, or the new one by a later version"
        => "stop it for the crossing; PMM 3 from 3.9 on has no use for it";
    RESTARTER_BESIDE "restarter-beside" [Warning] "6":
        "an autoheal runs at the same engine: it restarts containers that are unhealthy, as the server is while its programs are stopped"
        => "stop it for the crossing";
    CARRY_OVER_REFUSED "carry-over-refused" [Blocker] "7.4":
        "a setting of the container makes it impossible to make it again as it is"
        => "make the container again without that setting";
    HOST_NETWORK_PORTS "host-network-ports" [Warning] "7.4":
        "the container uses the host's network, where PMM 3 listens on 8080 and 8443 instead of 80 and 443; its image has no setting for that"
        => "have 8080 and 8443 free on the host, and plan for clients and browsers to use 8443";
}
