//! Who may call what: one table over every method, denied by default.

use ferry_proto::{failure_to_status, v1::Failure};
use tonic::Code;

use super::connection::Caller;
use crate::policy::{Rights, Role};

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

/// What takes the right to read the server's data, which no role has with it.
const READING: &[&str] = &[
    "/ferry.v1.TreeService/ListTree",
    "/ferry.v1.TreeService/ReadFiles",
    "/ferry.v1.TreeService/ReadBaseline",
];

/// Whether a caller with these rights may call this method. A method that is in no table is
/// nobody's.
#[must_use]
pub(super) fn allowed(rights: Rights, path: &str) -> bool {
    let in_role = METHODS
        .iter()
        .any(|(method, needed)| *method == path && rights.role >= Some(*needed));
    in_role || (rights.reads && READING.contains(&path))
}

/// The role of a caller on the agent's unix socket: its own user and root operate, nobody else
/// gets in (the socket's mode says the same).
#[must_use]
pub(super) fn role_of_uid(caller: u32, own: u32) -> Option<Role> {
    (caller == own || caller == 0).then_some(Role::Operator)
}

/// The table, as a filter in front of the services. Who called was found out when the connection was made.
///
/// # Errors
/// For a method that the caller's role may not call, and for a caller that nobody knows.
pub(super) fn check<B>(request: http::Request<B>) -> Result<http::Request<B>, tower::BoxError> {
    let path = request.uri().path();
    let denied = |why: String| -> Result<_, tower::BoxError> {
        Err(Box::new(failure_to_status(
            Code::PermissionDenied,
            &Failure {
                code: "not-allowed".into(),
                message: why,
                hint: "who runs the agent's machine decides: see the policy file that `ferryd` was started with".into(),
                details: Vec::new(),
            },
        )))
    };
    match request.extensions().get::<Caller>() {
        Some(caller) if allowed(caller.rights, path) => Ok(request),
        Some(caller) => denied(format!(
            "a caller who is {} may not call `{path}`",
            caller.rights
        )),
        None => denied("it is not known who calls".into()),
    }
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
                    let all = Rights {
                        role: Some(Role::Operator),
                        reads: true,
                    };
                    assert!(allowed(all, &path), "{path} is in no table");
                    methods += 1;
                }
            }
        }
        assert!(methods >= 8);
    }

    #[test]
    fn what_is_not_in_the_table_is_denied() {
        let (operator, viewer) = (Role::Operator.into(), Role::Viewer.into());
        assert!(!allowed(operator, "/ferry.v1.AgentService/Exec"));
        assert!(!allowed(viewer, "/ferry.v1.AgentService/RunStep"));
    }

    #[test]
    fn the_data_is_for_readers_and_nothing_else_is() {
        let reader = Rights {
            role: None,
            reads: true,
        };
        for path in READING {
            assert!(allowed(reader, path), "{path}");
            assert!(!allowed(Role::Operator.into(), path), "{path}");
        }
        for (path, _) in METHODS {
            assert!(!allowed(reader, path), "{path}");
        }
    }

    #[test]
    fn nobody_calls_without_a_role() {
        let request = |caller: Option<Role>, path: &str| {
            let mut request = http::Request::builder().uri(path).body(()).unwrap();
            if let Some(role) = caller {
                let rights = role.into();
                request.extensions_mut().insert(Caller { rights });
            }
            check(request)
        };
        let (run, look) = (
            "/ferry.v1.AgentService/RunStep",
            "/ferry.v1.AgentService/ListSteps",
        );
        assert!(request(Some(Role::Operator), run).is_ok());
        assert!(request(Some(Role::Viewer), look).is_ok());
        assert!(request(Some(Role::Viewer), run).is_err());
        assert!(request(None, look).is_err());
    }

    #[test]
    fn strangers_have_no_role() {
        assert_eq!(role_of_uid(33, 0), None);
        assert_eq!(role_of_uid(0, 1000), Some(Role::Operator));
        assert_eq!(role_of_uid(1000, 1000), Some(Role::Operator));
    }
}
