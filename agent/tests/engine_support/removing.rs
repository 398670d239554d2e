//! Removals that the engine was asked for by somebody who was killed meanwhile: moments of milliseconds, so an engine that says its lines
//! stands for the real one.

use std::{path::PathBuf, time::Duration};

use ferry_agent::engine::{
    Endpoint, Engine, EngineError,
    agents::{AgentKind, Retired},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
    task::JoinHandle,
};

const VERSION: (&str, u16, &str) = (
    "GET /version",
    200,
    r#"{"ApiVersion":"1.41","MinAPIVersion":"1.12"}"#,
);
const IN_PROGRESS: (u16, &str) = (
    409,
    r#"{"message":"removal of container x is already in progress"}"#,
);
const GONE: (u16, &str) = (404, r#"{"message":"No such container: x"}"#);

/// What is asked, the status and the answer, in this order.
type Line = (&'static str, u16, &'static str);

fn line(asked: &'static str, (status, answer): (u16, &'static str)) -> Line {
    (asked, status, answer)
}

/// An engine that says its lines; whoever waits for it sees each said.
async fn scripted(lines: Vec<Line>) -> (Engine, JoinHandle<()>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("engine.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let saying = tokio::spawn(async move {
        for (asked, status, answer) in std::iter::once(VERSION).chain(lines) {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = connection.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let first = request.lines().next().unwrap_or_default();
            let (method, rest) = asked.split_once(' ').unwrap();
            assert!(
                first.starts_with(method) && first.contains(rest),
                "`{asked}` was to come, and `{first}` came"
            );
            let length = answer.len();
            let reply = format!(
                "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}"
            );
            connection.write_all(reply.as_bytes()).await.unwrap();
        }
    });
    let engine = Engine::connect_to(Endpoint::Unix { path }).await.unwrap();
    (engine, saying, folder)
}

#[tokio::test]
async fn a_container_that_is_being_removed_is_waited_for() {
    let removing = r#"{"Id":"x","Name":"/x","State":{"Status":"removing","Running":false}}"#;
    let (engine, saying, _folder) = scripted(vec![
        line("DELETE /containers/x", IN_PROGRESS),
        ("GET /containers/x/json", 200, removing),
        line("DELETE /containers/x", IN_PROGRESS),
        line("GET /containers/x/json", GONE),
    ])
    .await;
    engine.remove_container("x").await.unwrap();
    saying.await.unwrap();
}

#[tokio::test]
async fn a_container_that_runs_is_refused_at_once() {
    let runs = r#"{"Id":"x","Name":"/x","State":{"Status":"running","Running":true}}"#;
    let (engine, saying, _folder) = scripted(vec![
        (
            "DELETE /containers/x",
            409,
            r#"{"message":"You cannot remove a running container x"}"#,
        ),
        ("GET /containers/x/json", 200, runs),
    ])
    .await;
    let error = engine.remove_container("x").await.unwrap_err();
    assert!(
        matches!(error, EngineError::Refused { status: 409, .. }),
        "{error}"
    );
    saying.await.unwrap();
}

#[tokio::test]
async fn a_volume_that_a_removed_container_holds_for_a_moment_is_waited_for() {
    let (engine, saying, _folder) = scripted(vec![
        (
            "DELETE /volumes/v",
            409,
            r#"{"message":"remove v: volume is in use - [x]"}"#,
        ),
        ("GET /containers/json", 200, "[]"),
        ("DELETE /volumes/v", 204, ""),
    ])
    .await;
    engine.remove_volume("v").await.unwrap();
    saying.await.unwrap();
}

#[tokio::test]
async fn an_agent_that_goes_between_two_questions_is_retired() {
    let ended = r#"{"Id":"abc","Name":"/ferry-volume-pmm","State":{"Status":"exited","Running":false},
        "Config":{"Labels":{"ferry.role":"volume","ferry.run":"r"}}}"#;
    let (engine, saying, _folder) = scripted(vec![
        ("GET /containers/ferry-volume-pmm/json", 200, ended),
        line("GET /containers/abc/json", GONE),
        // Whoever misses a container is told of names like it.
        ("GET /containers/json", 200, "[]"),
        // Its socket.
        ("GET /containers/json", 200, "[]"),
        ("DELETE /volumes/ferry-volume-pmm-socket", 204, ""),
    ])
    .await;
    let kind = AgentKind::Volume { mounts: Vec::new() };
    let retired = engine
        .retire("pmm", &kind, "r", Duration::from_secs(1))
        .await
        .unwrap();
    assert_eq!(retired, Retired::Removed);
    saying.await.unwrap();
}
