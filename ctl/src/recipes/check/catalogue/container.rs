//! The engine and the container.

super::codes! { "Engine and container"
    ENGINE_UNOBSERVED "engine-unobserved" [Blocker] "7.1":
        "the container engine did not answer, so nothing can be known or done"
        => "see that it answers (`docker version`), and that you may use it";
    PODMAN_ROOTLESS "podman-rootless" [Note] "7.2":
        "the container is an ordinary user's; its new one is put into the same user namespace, so that owners mean the same to both. A machine that ends a user's processes with the last login ends the server with them, and a run in the middle"
        => "let the user's processes stay (`loginctl enable-linger`); what else differs is in [docs/podman.md](podman.md#an-ordinary-users-podman)";
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
        "Compose, a unit of systemd or Kubernetes manages the container, and would make it anew or restart it in the middle of the run"
        => "for Compose, `--compose edit` or `--compose container-only` ([docs/compose.md](compose.md)); for a unit or a quadlet, `--unit edit` ([docs/units.md](units.md)); for Kubernetes, the address `kubernetes:NAMESPACE/STATEFULSET` ([docs/kubernetes.md](kubernetes.md)); otherwise take it out of that tool's hands for the crossing";
    CONTAINER_SWARM_SERVICE "container-swarm-service" [Blocker] "7.5":
        "the container is a task of a Swarm service: the swarm puts another in its place when it ends or is unhealthy, and has no task that is stopped"
        => "on the task's node scale the service to 0, run a plain container on the same volume and carry that over; then give the service the new image, variables and ports, and scale it to 1";
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
    UNIT_FILES_EDITED "unit-files-edited" [Note] "7.5":
        "a unit of systemd makes the container, and by choice the run stops the unit, changes its files and starts it: image, names and values of variables, the container's side of ports; all else in them stays, and each file as it was lies beside it"
        => "nothing; the finding and the plan show each entry, without the values of variables";
    UNIT_STARTS "unit-starts" [Note] "7.5":
        "a unit of systemd starts the container by its name, and by choice the run holds the unit from before the stop until PMM 3 is proven, carries the container over like any other, and lets the unit take up the new one. The unit's files stay as they are"
        => "nothing";
    UNIT_FILE_REFUSED "unit-file-refused" [Blocker] "7.5":
        "`--unit edit` was said, and the unit's files are not on this machine, do not describe this container, have what must change in a form that cannot be edited so that it is surely right, or are about this one container and not the next of its name"
        => "mend what the finding names, or take the container out of the unit for the crossing ([docs/units.md](units.md))";
    UNIT_OF_ANOTHER "unit-of-another" [Blocker] "7.2":
        "a unit of an ordinary user's own service manager makes the container, and the agent is another user, root perhaps. It edits no files in folders that are that user's to put links in, and speaks to no service manager in that user's name"
        => "call `ferryctl` as that user, with `XDG_RUNTIME_DIR` as a login of that user's has it ([docs/units.md](units.md#an-ordinary-users-unit))";
    UNIT_MAKES_ANEW "unit-makes-anew" [Warning] "7.5":
        "the unit makes its container anew at each start, so the old container goes with its stop, and with it what was written to none of its mounts; the way back is the kept files, the old image and the copy of the data"
        => "keep the files and the image until you have no use for `ferryctl rollback`";
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
    HOST_PORT_TAKEN "host-port-taken" [Blocker] "7.4":
        "the container uses the host's network, and another program listens there on 8080 or 8443, where PMM 3 would"
        => "`ss -ltnp` on the host says who; end that program or move it, then check again";
}
