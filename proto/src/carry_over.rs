//! The codes of what an agent says of settings that do not carry over as they are. Here, because the agent that says
//! them and the controller that explains them must know the same ones.

/// All of them; none changes its meaning.
pub const CODES: &[&str] = &[
    "port-translated",
    "host-network-ports",
    "user-unset",
    "custom-cmd",
    "custom-entrypoint",
    "custom-working-dir",
    "custom-stop-signal",
    "custom-healthcheck",
    "healthcheck-old-port",
    "readonly-rootfs",
    "privileged",
    "log-driver-dropped",
    "ulimits-unset",
    "network-of-container",
    "mount-moved",
    "mount-dropped",
    "mount-nginx",
    "mount-v2-config",
    "new-anonymous-volume",
    "orchestrator-compose",
    "orchestrator-swarm",
    "orchestrator-podman-systemd",
    "orchestrator-kubernetes",
];
