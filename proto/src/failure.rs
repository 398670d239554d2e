//! Every error that crosses the wire carries a stable code and a hint, beside gRPC's own status:
//! a person reads the hint, a program branches on the code.

use std::fmt;

use tonic::{Code, Status, metadata::MetadataValue};

use crate::v1::Failure;

/// The metadata key of the stable code.
pub const CODE_KEY: &str = "ferry-code";
/// The metadata key of the hint, percent-free UTF-8 as bytes.
pub const HINT_KEY: &str = "ferry-hint-bin";

/// Puts a failure into a gRPC status.
#[must_use]
pub fn failure_to_status(code: Code, failure: &Failure) -> Status {
    let mut status = Status::new(code, failure.message.clone());
    if let Ok(value) = failure.code.parse() {
        status.metadata_mut().insert(CODE_KEY, value);
    }
    if !failure.hint.is_empty() {
        let value = MetadataValue::from_bytes(failure.hint.as_bytes());
        status.metadata_mut().insert_bin(HINT_KEY, value);
    }
    status
}

/// Reads a failure out of a gRPC status. A status without our code is one of the transport.
#[must_use]
pub fn failure_from_status(status: &Status) -> Failure {
    let code = status.metadata().get(CODE_KEY).and_then(|value| value.to_str().ok());
    let hint = status
        .metadata()
        .get_bin(HINT_KEY)
        .and_then(|value| value.to_bytes().ok())
        .and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
    Failure {
        code: code.unwrap_or("connection-lost").to_owned(),
        message: status.message().to_owned(),
        hint: hint.unwrap_or_default(),
        details: Vec::new(),
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
            details: Vec::new(),
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
