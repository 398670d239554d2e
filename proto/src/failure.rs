//! Every error that crosses the wire carries a stable code and a hint, beside gRPC's own status:
//! a person reads the hint, a program branches on the code.

use std::fmt;

use prost::Message as _;
use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};

use crate::v1::Failure;

/// The metadata key of the stable code.
pub const CODE_KEY: &str = "ferry-code";
/// The metadata key of the hint, percent-free UTF-8 as bytes.
pub const HINT_KEY: &str = "ferry-hint-bin";

/// The codes of an engine that was not there, or not for long enough; and of a cluster's API server.
const ENGINE_AWAY: [&str; 5] = [
    "engine-unreachable",
    "engine-interrupted",
    "engine-timeout",
    "cluster-unreachable",
    "cluster-busy",
];

/// Whether a code says nothing but that the engine was away; see [`Failure::is_engine_away`].
#[must_use]
pub fn is_engine_away(code: &str) -> bool {
    ENGINE_AWAY.contains(&code)
}

impl Failure {
    /// Whether it says nothing but that the container engine, or the cluster, did not answer. A daemon that is restarted, a host that is
    /// booted, an API server that is moved comes back, and then the same may be asked again.
    #[must_use]
    pub fn is_engine_away(&self) -> bool {
        is_engine_away(&self.code)
    }
}

/// Puts a failure into a gRPC status. All of it is in the status's details; code and hint are in
/// the metadata too, for clients that are not ours.
#[must_use]
pub fn failure_to_status(code: Code, failure: &Failure) -> Status {
    let mut metadata = MetadataMap::new();
    if let Ok(value) = failure.code.parse() {
        metadata.insert(CODE_KEY, value);
    }
    if !failure.hint.is_empty() {
        metadata.insert_bin(HINT_KEY, MetadataValue::from_bytes(failure.hint.as_bytes()));
    }
    let details = failure.encode_to_vec().into();
    Status::with_details_and_metadata(code, failure.message.clone(), details, metadata)
}

/// Reads a failure out of a gRPC status. A status without our code is one of the transport.
#[must_use]
pub fn failure_from_status(status: &Status) -> Failure {
    let code = status
        .metadata()
        .get(CODE_KEY)
        .and_then(|value| value.to_str().ok());
    match (code, Failure::decode(status.details())) {
        (Some(code), Ok(failure)) if failure.code == code => failure,
        (code, _) => Failure {
            code: code.unwrap_or("connection-lost").to_owned(),
            message: status.message().to_owned(),
            ..Failure::default()
        },
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_hint_cross_the_wire() {
        let failure = Failure {
            code: "no-such-container".into(),
            message: "no container is called pmm".into(),
            hint: "did you mean `pmm-server`? — see `docker ps`".into(),
            details: vec!["FATAL: /srv is not writable".into()],
        };
        let status = failure_to_status(Code::NotFound, &failure);
        assert_eq!(failure_from_status(&status), failure);
    }

    #[test]
    fn a_transport_error_is_a_lost_connection() {
        let failure = failure_from_status(&Status::unknown("h2 protocol error"));
        assert_eq!(failure.code, "connection-lost");
    }
}
