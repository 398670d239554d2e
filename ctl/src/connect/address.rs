//! How a server is named on the command line: `docker:NAME` or `podman:NAME`.

use std::{fmt, str::FromStr};

use ferry_proto::v1::Plan;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A container of the Docker engine, by name or id.
    Docker {
        /// The container.
        container: String,
    },
    /// A container of this user's Podman, by name or id.
    Podman {
        /// The container.
        container: String,
    },
}

/// Which engine is meant where no server is: one has backups of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineChoice {
    /// The engine that the `docker` client would use
    #[default]
    Docker,
    /// This user's Podman
    Podman,
}

impl EngineChoice {
    /// The address of one of its containers.
    #[must_use]
    pub fn address(self, container: &str) -> String {
        let container = container.to_owned();
        match self {
            Self::Docker => Address::Docker { container },
            Self::Podman => Address::Podman { container },
        }
        .to_string()
    }

    /// The engine that the run of a plan was for, by its address. Plans of the first releases name Docker only.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        plan.server
            .parse()
            .map_or_else(|_| Self::default(), |address: Address| address.engine())
    }
}

impl Address {
    /// The server's container, by name or id.
    #[must_use]
    pub fn container(&self) -> &str {
        match self {
            Self::Docker { container } | Self::Podman { container } => container,
        }
    }

    /// The engine that it is in.
    #[must_use]
    pub fn engine(&self) -> EngineChoice {
        match self {
            Self::Docker { .. } => EngineChoice::Docker,
            Self::Podman { .. } => EngineChoice::Podman,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Docker { container } => write!(f, "docker:{container}"),
            Self::Podman { container } => write!(f, "podman:{container}"),
        }
    }
}

/// Why an address is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not of the form `KIND:NAME`.
    #[error("`{0}` is no address of a server")]
    Form(String),
    /// A kind that is reserved.
    #[error("servers at `{kind}:` are not supported yet")]
    Unsupported {
        /// Which kind.
        kind: String,
    },
    /// A name that no container can have.
    #[error("`{0}` is no name of a container: letters, digits, `_`, `.` and `-` are allowed")]
    Name(String),
}

impl AddressError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Form(_) | Self::Name(_) => "bad-address",
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
            _ => "write `docker:NAME` or `podman:NAME`, for example `docker:pmm-server`".into(),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.split_once(':') {
            Some(("docker", name)) if is_container_name(name) => Ok(Self::Docker {
                container: name.to_owned(),
            }),
            Some(("podman", name)) if is_container_name(name) => Ok(Self::Podman {
                container: name.to_owned(),
            }),
            Some(("docker" | "podman", name)) => Err(AddressError::Name(name.to_owned())),
            Some((kind @ ("unix" | "https"), _)) => Err(AddressError::Unsupported {
                kind: kind.to_owned(),
            }),
            _ => Err(AddressError::Form(text.to_owned())),
        }
    }
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
    fn a_container_is_named_and_written_back() {
        for (text, engine) in [
            ("docker:pmm-server", EngineChoice::Docker),
            ("podman:pmm-server", EngineChoice::Podman),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.container(), "pmm-server");
            assert_eq!(address.to_string(), text);
            assert_eq!(address.engine(), engine);
            let plan = Plan {
                server: text.to_owned(),
                ..Plan::default()
            };
            assert_eq!(EngineChoice::of(&plan), engine);
        }
    }

    #[test]
    fn reserved_kinds_are_told_from_nonsense() {
        for text in ["unix:/run/ferry.sock", "https://pmm.example"] {
            let error = text.parse::<Address>().unwrap_err();
            assert_eq!(error.code(), "address-unsupported", "{text}");
        }
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
}
