//! The labels of what Ferry makes on an engine: a container or a volume is Ferry's, and of which run, by nothing else. They stay when the
//! agent is updated, so a name once given is not given another meaning.

/// Which run made it. On servers that a run made, too.
pub const RUN_LABEL: &str = "ferry.run";

/// What Ferry has it for; servers that a run made have none.
pub const ROLE_LABEL: &str = "ferry.role";

/// Which server it serves, or is a copy of.
pub const SERVER_LABEL: &str = "ferry.server";

/// On the proxy of a tunnel: the agent that it leads to.
pub const AGENT_LABEL: &str = "ferry.agent";

/// On an agent: the digest of what it was made by, so that one that was made otherwise is known.
pub const SPEC_LABEL: &str = "ferry.spec";

/// On the agent of a rehearsal: the volume of its copy.
pub const COPY_LABEL: &str = "ferry.copy";

/// On an agent whose container has another image: the agent's own image, which proxies are made of.
pub const AGENT_IMAGE_LABEL: &str = "ferry.agent-image";

/// On an agent or a backup whose owners are seen from a user namespace that is not the engine's default: the mode that makes another one
/// with the same ids ([`ContainerInspect::own_ids`](super::ContainerInspect::own_ids)).
pub const IDS_LABEL: &str = "ferry.ids";

/// On an image of the agent: which program is inside.
pub const BINARY_LABEL: &str = "ferry.binary";

/// The filter that finds what Ferry has for this.
#[must_use]
pub fn role_filter(role: &str) -> String {
    format!("{ROLE_LABEL}={role}")
}
