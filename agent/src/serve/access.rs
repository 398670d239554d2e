//! Who may call what: one table over every method, denied by default.

use tonic::Status;

/// What a caller may do. A unix socket tells who the caller is; the in-process channel has one
/// caller only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// May look.
    Viewer,
    /// May run steps and take them back.
    Operator,
}

/// The role that each method needs.
const METHODS: &[(&str, Role)] = &[
    ("/ferry.v1.AgentService/GetInfo", Role::Viewer),
    ("/ferry.v1.AgentService/GetFacts", Role::Operator),
    ("/ferry.v1.AgentService/RunStep", Role::Operator),
    ("/ferry.v1.AgentService/UndoStep", Role::Operator),
    ("/ferry.v1.AgentService/AttachStep", Role::Viewer),
    ("/ferry.v1.AgentService/CancelStep", Role::Operator),
    ("/ferry.v1.AgentService/ListSteps", Role::Viewer),
    ("/ferry.v1.TunnelService/Open", Role::Operator),
    ("/grpc.health.v1.Health/Check", Role::Viewer),
    ("/grpc.health.v1.Health/List", Role::Viewer),
    ("/grpc.health.v1.Health/Watch", Role::Viewer),
    (
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        Role::Viewer,
    ),
];

/// Whether a caller with this role may call this method. A method that is not in the table is
/// nobody's.
#[must_use]
pub(super) fn allowed(role: Role, path: &str) -> bool {
    METHODS
        .iter()
        .any(|(method, needed)| *method == path && role >= *needed)
}

/// The role of a caller on the agent's unix socket: its own user and root operate, nobody else
/// gets in (the socket's mode says the same).
#[must_use]
pub(super) fn role_of_uid(caller: u32, own: u32) -> Option<Role> {
    (caller == own || caller == 0).then_some(Role::Operator)
}

/// The table, as a filter in front of the services. Whoever has got as far as a connection operates:
/// the socket let in nobody else.
///
/// # Errors
/// For a method that is in no role.
pub(super) fn check<B>(request: http::Request<B>) -> Result<http::Request<B>, tower::BoxError> {
    if allowed(Role::Operator, request.uri().path()) {
        return Ok(request);
    }
    Err(Box::new(Status::permission_denied(
        "no role may call this method",
    )))
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn every_method_of_the_api_is_in_the_table() {
        let set = prost_types::FileDescriptorSet::decode(ferry_proto::DESCRIPTORS).unwrap();
        let mut methods = 0;
        for file in set.file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    assert!(allowed(Role::Operator, &path), "{path} is in no role");
                    methods += 1;
                }
            }
        }
        assert!(methods >= 8);
    }

    #[test]
    fn what_is_not_in_the_table_is_denied() {
        assert!(!allowed(Role::Operator, "/ferry.v1.AgentService/Exec"));
        assert!(!allowed(Role::Viewer, "/ferry.v1.AgentService/RunStep"));
    }

    #[test]
    fn strangers_have_no_role() {
        assert_eq!(role_of_uid(33, 0), None);
        assert_eq!(role_of_uid(0, 1000), Some(Role::Operator));
        assert_eq!(role_of_uid(1000, 1000), Some(Role::Operator));
    }
}
