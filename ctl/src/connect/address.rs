//! How a server is named on the command line: `docker:NAME`.

use std::{fmt, str::FromStr};

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A container of the Docker engine, by name or id.
    Docker {
        /// The container.
        container: String,
    },
}

impl Address {
    /// The server's container, by name or id.
    #[must_use]
    pub fn container(&self) -> &str {
        match self {
            Self::Docker { container } => container,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Docker { container } => write!(f, "docker:{container}"),
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
                format!("write `docker:{text}` for a container of that name")
            }
            _ => "write `docker:NAME`, for example `docker:pmm-server`".into(),
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
            Some(("docker", name)) => Err(AddressError::Name(name.to_owned())),
            Some((kind @ ("podman" | "unix" | "https"), _)) => Err(AddressError::Unsupported {
                kind: kind.to_owned(),
            }),
            _ => Err(AddressError::Form(text.to_owned())),
        }
    }
}

/// Docker's own rule for names.
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
        let address: Address = "docker:pmm-server".parse().unwrap();
        assert_eq!(address.container(), "pmm-server");
        assert_eq!(address.to_string(), "docker:pmm-server");
    }

    #[test]
    fn reserved_kinds_are_told_from_nonsense() {
        for text in ["podman:pmm", "unix:/run/ferry.sock", "https://pmm.example"] {
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
            "write `docker:pmm-server` for a container of that name"
        );
    }
}
