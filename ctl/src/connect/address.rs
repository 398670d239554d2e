//! How a server is named on the command line: `docker:NAME`, `podman:NAME`, `kubernetes:NAMESPACE/STATEFULSET`, or
//! `https://HOST:PORT/NAME` behind a host agent elsewhere.

use std::{fmt, str::FromStr};

use ferry_proto::v1::Plan;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    engine: EngineChoice,
    container: String,
}

/// Which engine is meant. Where no server is, it is named by itself: an engine has backups of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// The engine that the `docker` client would use.
    #[default]
    Docker,
    /// This user's Podman.
    Podman,
    /// The cluster of the current context.
    Kubernetes(InCluster),
    /// The engine of a host agent that listens elsewhere.
    Agent(AgentAddress),
}

/// What is meant in a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InCluster {
    /// The namespace; none: the one of the current context.
    pub namespace: Option<String>,
    /// What the agents there are made of, where a plan says it.
    pub agent_image: Option<String>,
}

/// Where a host agent listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentAddress {
    host: String,
    port: u16,
}

impl AgentAddress {
    /// The name that its certificate must have: a name or an address, without brackets.
    #[must_use]
    pub fn name(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Reads `HOST:PORT`; an IPv6 address stands in brackets.
    fn read(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let inner = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let sound = match inner {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => is_host_name(host),
        };
        sound.then(|| Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for AgentAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for AgentAddress {
    type Err = AddressError;

    /// Reads `https://HOST:PORT`.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let rest = text.strip_prefix("https://");
        rest.and_then(|rest| Self::read(rest.trim_end_matches('/')))
            .ok_or_else(|| AddressError::Agent(text.to_owned()))
    }
}

impl EngineChoice {
    /// The address of one of its containers.
    #[must_use]
    pub fn address(&self, container: &str) -> String {
        let container = container.to_owned();
        let engine = self.clone();
        Address { engine, container }.to_string()
    }

    /// The engine that the run of a plan was for, by its address. Plans of the first releases name Docker only.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let engine = plan
            .server
            .parse()
            .map_or_else(|_| Self::default(), |address: Address| address.engine);
        let cluster = plan.facts.as_ref().and_then(|it| it.cluster.as_ref());
        match (engine, cluster) {
            (Self::Kubernetes(place), Some(cluster)) => {
                let image = Some(cluster.agent_image.clone());
                let agent_image = image.filter(|image| !image.is_empty());
                Self::Kubernetes(InCluster {
                    agent_image,
                    ..place
                })
            }
            (engine, _) => engine,
        }
    }

    /// A cluster takes the place of an engine.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        matches!(self, Self::Kubernetes(_))
    }

    /// The namespace that is meant in a cluster; empty where none is said.
    #[must_use]
    pub fn namespace(&self) -> &str {
        match self {
            Self::Kubernetes(place) => place.namespace.as_deref().unwrap_or_default(),
            _ => "",
        }
    }

    /// What `ferryctl backup` has to be told of it, with a space before: nothing of the engine that it takes by itself.
    #[must_use]
    pub fn option(&self) -> String {
        match self {
            Self::Docker => String::new(),
            other => format!(" --engine {other}"),
        }
    }
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Docker => f.write_str("docker"),
            Self::Podman => f.write_str("podman"),
            Self::Kubernetes(place) => match &place.namespace {
                Some(namespace) => write!(f, "kubernetes:{namespace}"),
                None => f.write_str("kubernetes"),
            },
            Self::Agent(agent) => write!(f, "https://{agent}"),
        }
    }
}

impl FromStr for EngineChoice {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text {
            "docker" => Ok(Self::Docker),
            "podman" => Ok(Self::Podman),
            "kubernetes" => Ok(Self::Kubernetes(InCluster::default())),
            _ => match text.strip_prefix("kubernetes:") {
                Some(namespace) if is_object_name(namespace) => Ok(Self::Kubernetes(InCluster {
                    namespace: Some(namespace.to_owned()),
                    ..InCluster::default()
                })),
                _ => text
                    .parse()
                    .map(Self::Agent)
                    .map_err(|_| AddressError::Engine(text.to_owned())),
            },
        }
    }
}

impl Address {
    /// The server's container, by name or id; of a cluster its `NAMESPACE/STATEFULSET`.
    #[must_use]
    pub fn container(&self) -> &str {
        &self.container
    }

    /// The engine that it is in.
    #[must_use]
    pub fn engine(&self) -> &EngineChoice {
        &self.engine
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (engine, container) = (&self.engine, &self.container);
        match engine {
            EngineChoice::Docker | EngineChoice::Podman => write!(f, "{engine}:{container}"),
            // Its name has the namespace.
            EngineChoice::Kubernetes(_) => write!(f, "kubernetes:{container}"),
            EngineChoice::Agent(_) => write!(f, "{engine}/{container}"),
        }
    }
}

/// Why an address is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not of a form that is known.
    #[error("`{0}` is no address of a server")]
    Form(String),
    /// Not an engine.
    #[error("`{0}` is no engine")]
    Engine(String),
    /// Not an agent on a client's host.
    #[error("`{0}` is no address of an agent")]
    Agent(String),
    /// A kind that is reserved.
    #[error("servers at `{kind}:` are not supported yet")]
    Unsupported {
        /// Which kind.
        kind: String,
    },
    /// A name that no container can have.
    #[error("`{0}` is no name of a container: letters, digits, `_`, `.` and `-` are allowed")]
    Name(String),
    /// A name that no StatefulSet can have.
    #[error("`{0}` is no name of a StatefulSet in its namespace")]
    StatefulSet(String),
}

impl AddressError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Form(_)
            | Self::Name(_)
            | Self::StatefulSet(_)
            | Self::Engine(_)
            | Self::Agent(_) => "bad-address",
            Self::Unsupported { .. } => "address-unsupported",
        }
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Form(text) if is_container_name(text) => {
                format!("write `docker:{text}` or `podman:{text}` for a container of that name")
            }
            Self::Form(text) if text.starts_with("https://") => {
                "write `https://HOST:PORT/NAME` for a container behind a host agent, for example \
                 `https://db7.example.com:7650/pmm-server`; a PMM 2 without a container is moved by `--onto docker:NAME`"
                    .into()
            }
            Self::Agent(_) => {
                "write `https://HOST:PORT`, for example `https://db7.example.com:7651`".into()
            }
            Self::StatefulSet(_) => {
                "write `kubernetes:NAMESPACE/STATEFULSET`, for example `kubernetes:monitoring/pmm`"
                    .into()
            }
            Self::Engine(_) => {
                "write `docker`, `podman`, `kubernetes:NAMESPACE` or `https://HOST:PORT`".into()
            }
            _ => "write `docker:NAME` or `podman:NAME`, for example `docker:pmm-server`".into(),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let form = || AddressError::Form(text.to_owned());
        let (engine, name) = match text.split_once(':') {
            Some(("docker", name)) => (EngineChoice::Docker, name),
            Some(("podman", name)) => (EngineChoice::Podman, name),
            Some(("kubernetes", name)) => {
                let sound = |part: &str| is_object_name(part);
                return match name.split_once('/') {
                    Some((namespace, set)) if sound(namespace) && sound(set) => Ok(Self {
                        engine: EngineChoice::Kubernetes(InCluster {
                            namespace: Some(namespace.to_owned()),
                            ..InCluster::default()
                        }),
                        container: name.to_owned(),
                    }),
                    _ => Err(AddressError::StatefulSet(name.to_owned())),
                };
            }
            Some(("https", rest)) => {
                let rest = rest.strip_prefix("//").ok_or_else(form)?;
                let (agent, name) = rest.split_once('/').ok_or_else(form)?;
                let agent = AgentAddress::read(agent).ok_or_else(form)?;
                (EngineChoice::Agent(agent), name)
            }
            Some(("unix", _)) => {
                return Err(AddressError::Unsupported {
                    kind: "unix".to_owned(),
                });
            }
            _ => return Err(form()),
        };
        if !is_container_name(name) {
            return Err(AddressError::Name(name.to_owned()));
        }
        let container = name.to_owned();
        Ok(Self { engine, container })
    }
}

/// What a certificate can be made out to.
fn is_host_name(text: &str) -> bool {
    let label = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !part.starts_with('-')
    };
    text.split('.').all(label)
}

/// The rule of clusters for names that are labels of DNS.
pub(crate) fn is_object_name(name: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=63).contains(&name.len())
        && name.starts_with(edge)
        && name.ends_with(edge)
        && name.chars().all(|c| edge(c) || c == '-')
}

/// The rule of both engines for names.
fn is_container_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stateful_set_is_named_with_its_namespace() {
        let address: Address = "kubernetes:monitoring/pmm".parse().unwrap();
        assert_eq!(address.container(), "monitoring/pmm");
        let place = |image: Option<&str>| {
            EngineChoice::Kubernetes(InCluster {
                namespace: Some("monitoring".into()),
                agent_image: image.map(str::to_owned),
            })
        };
        assert_eq!(address.engine(), &place(None));
        assert_eq!(
            address.engine().address("monitoring/pmm"),
            address.to_string()
        );
        assert_eq!(address.to_string(), "kubernetes:monitoring/pmm");
        for wrong in [
            "kubernetes:pmm",
            "kubernetes:Monitoring/pmm",
            "kubernetes:a/b/c",
            "kubernetes:a/-b",
        ] {
            let error = wrong.parse::<Address>().unwrap_err();
            assert!(
                error.hint().contains("kubernetes:NAMESPACE/STATEFULSET"),
                "{error}"
            );
        }
        // Who goes back does not have to say again which image it was.
        let plan = |image: &str| Plan {
            server: "kubernetes:monitoring/pmm".into(),
            facts: Some(ferry_proto::v1::Facts {
                cluster: Some(ferry_proto::v1::ClusterFacts {
                    agent_image: image.into(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Plan::default()
        };
        let image = "r.example/ferryd:1";
        assert_eq!(EngineChoice::of(&plan(image)), place(Some(image)));
        assert_eq!(EngineChoice::of(&plan("")), place(None));
    }

    #[test]
    fn a_container_is_named_and_written_back() {
        let agent = |host: &str| {
            EngineChoice::Agent(AgentAddress {
                host: host.into(),
                port: 7650,
            })
        };
        for (text, engine) in [
            ("docker:pmm-server", EngineChoice::Docker),
            ("podman:pmm-server", EngineChoice::Podman),
            (
                "https://db7.example.com:7650/pmm-server",
                agent("db7.example.com"),
            ),
            ("https://10.0.0.7:7650/pmm-server", agent("10.0.0.7")),
            ("https://[fd00::7]:7650/pmm-server", agent("[fd00::7]")),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.container(), "pmm-server");
            assert_eq!(address.to_string(), text);
            assert_eq!(address.engine(), &engine);
            assert_eq!(engine.address("pmm-server"), text);
            let plan = Plan {
                server: text.to_owned(),
                ..Plan::default()
            };
            assert_eq!(EngineChoice::of(&plan), engine);
        }
    }

    #[test]
    fn reserved_kinds_are_told_from_nonsense() {
        let error = "unix:/run/ferry.sock".parse::<Address>().unwrap_err();
        assert_eq!(error.code(), "address-unsupported");
        for text in [
            "",
            ":",
            "pmm-server",
            "ssh:pmm",
            "docker:",
            "docker:a b",
            "docker:-x",
            "podman:",
            "podman:a/b",
            "https:db7:7650/pmm",
            "https://db7/pmm",
            "https://db7:7650",
            "https://db7:0/pmm",
            "https://db7:7650/",
            "https://db7:7650/a/b",
            "https://u@db7:7650/pmm",
            "https://fd00::7:7650/pmm",
            "https://:7650/pmm",
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert_eq!(error.code(), "bad-address", "{text}");
        }
    }

    #[test]
    fn a_bare_name_gets_the_address_it_meant() {
        let error = "pmm-server".parse::<Address>().unwrap_err();
        assert_eq!(
            error.hint(),
            "write `docker:pmm-server` or `podman:pmm-server` for a container of that name"
        );
    }

    #[test]
    fn an_engine_is_named_by_itself_too() {
        for (text, option) in [
            ("docker", ""),
            ("podman", " --engine podman"),
            ("kubernetes", " --engine kubernetes"),
            ("kubernetes:monitoring", " --engine kubernetes:monitoring"),
            (
                "https://db7.example.com:7650",
                " --engine https://db7.example.com:7650",
            ),
        ] {
            let engine: EngineChoice = text.parse().unwrap();
            assert_eq!(engine.to_string(), text);
            assert_eq!(engine.option(), option);
        }
        for text in ["kubernetes:", "kubernetes:Monitoring", "kubernetes:a/b"] {
            let error = text.parse::<EngineChoice>().unwrap_err();
            assert!(error.hint().contains("`kubernetes:NAMESPACE`"), "{text}");
        }
        let agent: AgentAddress = "https://db7.example.com:7651/".parse().unwrap();
        assert_eq!(agent.to_string(), "db7.example.com:7651");
        for text in ["db7:7651", "https://db7", "docker", "https://db7:7651/pmm"] {
            let error = text.parse::<AgentAddress>().unwrap_err();
            assert_eq!(error.code(), "bad-address", "{text}");
        }
        let error = "containerd".parse::<EngineChoice>().unwrap_err();
        assert_eq!(error.code(), "bad-address");
        assert!(error.hint().contains("`https://HOST:PORT`"));
    }
}
