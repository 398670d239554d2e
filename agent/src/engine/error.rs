//! What can go wrong with a container engine, as sentences an operator can act on.
//!
//! Why one enum: whether a failure is the endpoint's, the engine's or the container's decides what a person does next, and that
//! is known only where the error is born.

use std::{path::PathBuf, time::Duration};

/// A failure to reach a container engine, or its refusal of what was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The endpoint's address or the configuration that names it cannot be used.
    #[error("the engine endpoint `{endpoint}` cannot be used: {reason}")]
    Endpoint {
        /// The address or the context's name, as configured.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that configures the endpoint cannot be read or understood.
    #[error("{what} `{path}` cannot be used: {reason}")]
    Config {
        /// What the file is for.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// Why it is of no use.
        reason: String,
    },
    /// Nothing answered at the endpoint.
    #[error("no container engine answers at {endpoint}: {reason}")]
    Unreachable {
        /// The endpoint that was tried.
        endpoint: String,
        /// The transport's own words.
        reason: String,
    },
    /// Nothing answered where this user's Podman would.
    #[error("no Podman answers at {endpoint}: {reason}")]
    NoPodman {
        /// The endpoint that was tried.
        endpoint: String,
        /// The transport's own words.
        reason: String,
        /// Whether it would be an ordinary user's.
        rootless: bool,
    },
    /// What is meant by `podman:` cannot be used.
    #[error("the Podman endpoint `{endpoint}` cannot be used: {reason}")]
    PodmanEndpoint {
        /// The address, as configured.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The engine took longer than it was given.
    #[error("the container engine at {endpoint} did not answer to `{action}` within {}", seconds(*.after))]
    Timeout {
        /// The endpoint that was asked.
        endpoint: String,
        /// What was asked.
        action: String,
        /// How long was waited.
        after: Duration,
    },
    /// The connection broke while an answer was under way.
    #[error(
        "the connection to the container engine at {endpoint} broke during `{action}`: {reason}"
    )]
    Interrupted {
        /// The endpoint.
        endpoint: String,
        /// What was under way.
        action: String,
        /// The transport's own words.
        reason: String,
    },
    /// No container, image, volume or network of that name.
    #[error("there is no {kind} `{name}` in the container engine at {endpoint}")]
    NotFound {
        /// `container`, `image`, `volume` or `network`.
        kind: &'static str,
        /// What was asked for.
        name: String,
        /// The endpoint that was asked: the wrong engine is the usual cause.
        endpoint: String,
        /// Names that exist and look alike, best first.
        close: Vec<String>,
    },
    /// The engine refused.
    #[error("the container engine refused to {action}: {message} (status {status})")]
    Refused {
        /// What was asked, as a verb phrase.
        action: String,
        /// The HTTP status.
        status: u16,
        /// The engine's own words.
        message: String,
    },
    /// The engine's answer makes no sense to this client.
    #[error("the container engine's answer to `{action}` cannot be understood: {reason}")]
    Answer {
        /// What was asked.
        action: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The engine has no such call.
    #[error("{engine} cannot {action}: this version of it has no such call")]
    Unsupported {
        /// What was asked, as a verb phrase.
        action: String,
        /// Which engine.
        engine: &'static str,
    },
    /// A container cannot be kept from being started.
    #[error("container `{container}` cannot be kept from being started: {reason}")]
    Gate {
        /// Its name.
        container: String,
        /// Why.
        reason: String,
    },
    /// A name that would change the meaning of a request.
    #[error("`{name}` is not a valid {kind} name")]
    BadName {
        /// What it should name.
        kind: &'static str,
        /// As given.
        name: String,
    },
    /// The image cannot be judged.
    #[error("the image `{image}` cannot be probed: {reason}")]
    Probe {
        /// The image as asked for.
        image: String,
        /// Why.
        reason: String,
    },
    /// Another run holds the server.
    #[error(
        "`{container}` belongs to run `{run}`: another run works on this server, or was cut off while it did"
    )]
    HeldByRun {
        /// The agent container that stands in the way.
        container: String,
        /// The run it belongs to, from its label.
        run: String,
    },
    /// A container of the wanted name is not one of ours.
    #[error("a container named `{container}` exists and is not an agent of this server: {reason}")]
    NotOurs {
        /// Its name.
        container: String,
        /// What differs.
        reason: String,
    },
    /// A tunnel into an agent container ended before it carried anything.
    #[error("the tunnel into `{container}` ended: {reason}")]
    Tunnel {
        /// The agent container.
        container: String,
        /// What the proxy said on its standard error, or why it could not start.
        reason: String,
    },
    /// A local file cannot be read.
    #[error("cannot read `{path}`: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
}

impl EngineError {
    /// A stable name for scripts and for the service's status details.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Endpoint { .. } | Self::PodmanEndpoint { .. } => "engine-endpoint",
            Self::Config { .. } => "engine-config",
            Self::Unreachable { .. } | Self::NoPodman { .. } => "engine-unreachable",
            Self::Timeout { .. } => "engine-timeout",
            Self::Interrupted { .. } => "engine-interrupted",
            Self::NotFound {
                kind: "container", ..
            } => "container-not-found",
            Self::NotFound { kind: "image", .. } => "image-not-found",
            Self::NotFound { kind: "volume", .. } => "volume-not-found",
            Self::NotFound { .. } => "engine-not-found",
            Self::Refused { .. } => "engine-refused",
            Self::Answer { .. } => "engine-answer",
            Self::Unsupported { .. } => "engine-unsupported",
            Self::Gate { .. } => "container-gate",
            Self::BadName { .. } => "engine-bad-name",
            Self::Probe { .. } => "image-probe",
            Self::HeldByRun { .. } => "server-held-by-run",
            Self::NotOurs { .. } => "agent-name-taken",
            Self::Tunnel { .. } => "agent-tunnel",
            Self::File { .. } => "engine-file",
        }
    }

    /// What to do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Endpoint { .. } | Self::Config { .. } => Some(
                "set DOCKER_HOST to the engine's address, or choose a context with `docker context use`".into(),
            ),
            Self::Unreachable { .. } | Self::Timeout { .. } => Some(
                "start the engine, or set DOCKER_HOST to the address of the engine that runs the server".into(),
            ),
            Self::NoPodman { endpoint, rootless, .. } => {
                let (systemctl, whose) = if *rootless {
                    ("systemctl --user", "this user's")
                } else {
                    ("systemctl", "root's")
                };
                Some(format!(
                    "`{systemctl} enable --now podman.socket` starts {whose} Podman service (without systemd: `podman system service \
                     --time=0 {endpoint}`); a server of another user is carried over by that user"
                ))
            }
            Self::PodmanEndpoint { .. } => Some(
                "set CONTAINER_HOST to `unix://` and the path of the Podman service's socket, or unset it for this user's own".into(),
            ),
            Self::NotFound { close, .. } if !close.is_empty() => {
                Some(format!("did you mean `{}`?", close.join("`, `")))
            }
            Self::NotFound { kind: "container", .. } => {
                Some("`docker ps -a` lists the containers; DOCKER_HOST or DOCKER_CONTEXT chooses the engine".into())
            }
            Self::NotFound { kind: "image", .. } => Some("pull or load the image first".into()),
            Self::HeldByRun { run, .. } => {
                Some(format!("finish it with `ferryctl resume {run}` or take it back with `ferryctl rollback {run}`"))
            }
            Self::NotOurs { container, .. } => Some(format!("rename or remove `{container}`")),
            Self::Refused { message, .. } if says_port_is_taken(message) => Some(
                "`ss -ltnp` says who has the port. If it is a `docker-proxy` of no container that `docker ps` shows, the daemon was killed while \
                 it started one: stop the daemon, remove `network/files/local-kv.db` below its data root (networks of your own are to be \
                 made again), and start it"
                    .into(),
            ),
            _ => None,
        }
    }

    /// Whether the thing asked for does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(
            self,
            Self::NotFound { .. } | Self::Refused { status: 404, .. }
        )
    }
}

/// Whether an engine did not start a container because of a port of the host.
fn says_port_is_taken(message: &str) -> bool {
    ["port is already allocated", "address already in use"]
        .iter()
        .any(|words| message.contains(words))
}

fn seconds(after: Duration) -> String {
    format!("{} s", after.as_secs())
}

/// The three of `names` that look most like `wanted`, best first; none when nothing is near.
pub(crate) fn close_names<'a>(
    wanted: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Vec<String> {
    let wanted = wanted.to_lowercase();
    let mut scored: Vec<(usize, &str)> = names
        .into_iter()
        .filter_map(|name| {
            let lower = name.to_lowercase();
            let contained = lower.len() >= 3
                && wanted.len() >= 3
                && (lower.contains(&wanted) || wanted.contains(&lower));
            let distance = edit_distance(&wanted, &lower);
            let near = distance <= (wanted.chars().count() / 3).max(1);
            (contained || near).then_some((distance, name))
        })
        .collect();
    scored.sort_unstable();
    scored
        .into_iter()
        .take(3)
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// Levenshtein's distance: insertions, deletions and replacements from `a` to `b`.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_is_levenshtein() {
        for (a, b, d) in [
            ("", "", 0),
            ("a", "", 1),
            ("kitten", "sitting", 3),
            ("pmm", "pmm", 0),
            ("ab", "ba", 2),
        ] {
            assert_eq!(edit_distance(a, b), d, "{a} {b}");
            assert_eq!(edit_distance(b, a), d, "{b} {a}");
        }
    }

    #[test]
    fn near_names_come_first_and_far_ones_not_at_all() {
        let names = [
            "pmm-server",
            "pmm-serve",
            "registry",
            "pmm-server-old",
            "db",
        ];
        assert_eq!(close_names("pmm-sever", names), ["pmm-server", "pmm-serve"]);
        assert_eq!(
            close_names("PMM-SERVER", names),
            ["pmm-server", "pmm-serve", "pmm-server-old"]
        );
        assert!(close_names("pmm-server", ["registry", "db"]).is_empty());
    }

    #[test]
    fn a_missing_container_names_the_engine_and_the_likely_name() {
        let error = EngineError::NotFound {
            kind: "container",
            name: "pmm".into(),
            endpoint: "unix:///run/docker.sock".into(),
            close: vec!["pmm-server".into()],
        };
        assert_eq!(
            error.to_string(),
            "there is no container `pmm` in the container engine at unix:///run/docker.sock"
        );
        assert_eq!(error.hint().as_deref(), Some("did you mean `pmm-server`?"));
        assert_eq!(error.code(), "container-not-found");
    }

    #[test]
    fn who_has_a_port_is_looked_for_and_other_refusals_speak_for_themselves() {
        let refused = |message: &str| {
            let message = message.to_owned();
            EngineError::Refused {
                action: "start container pmm".to_owned(),
                status: 500,
                message,
            }
            .hint()
        };
        let taken = refused("Bind for 0.0.0.0:443 failed: port is already allocated");
        assert!(taken.is_some_and(|hint| hint.contains("`ss -ltnp`")));
        let taken = refused("listen tcp4 0.0.0.0:443: bind: address already in use");
        assert!(taken.is_some());
        assert_eq!(refused("no space left on device"), None);
    }
}
