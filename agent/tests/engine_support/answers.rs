//! What an engine answers that is ill, rude, silent or late: doubles of the socket alone.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use ferry_agent::engine::{Endpoint, Engine, containers::StopOutcome};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
};

#[tokio::test]
async fn an_engine_that_breaks_off_is_not_taken_for_an_absent_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rude.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let rude = tokio::spawn(async move {
        let answer = r#"{"ApiVersion":"1.41","MinAPIVersion":"1.12"}"#;
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
            answer.len()
        );
        for reply in [answer.as_str(), ""] {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            assert!(connection.read(&mut request).await.unwrap() > 0);
            connection.write_all(reply.as_bytes()).await.unwrap();
        }
    });
    let engine = Engine::connect_to(Endpoint::Unix { path }).await.unwrap();
    let error = engine.rename("a", "b").await.unwrap_err();
    assert_eq!(error.code(), "engine-interrupted");
    rude.await.unwrap();
    let error = engine.rename("a", "b").await.unwrap_err();
    assert_eq!(error.code(), "engine-unreachable");
}

/// An engine that gives these answers, one after the other, and tells by which methods it was asked.
fn answering(path: &Path, answers: &[(u16, &str)]) -> tokio::task::JoinHandle<Vec<String>> {
    let listener = UnixListener::bind(path).unwrap();
    let version = r#"{"ApiVersion":"1.41","MinAPIVersion":"1.12"}"#;
    let answers: Vec<String> = [(200, version)]
        .iter()
        .chain(answers)
        .map(|(status, body)| {
            let length = body.len();
            format!(
                "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
        })
        .collect();
    tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = connection.read(&mut request).await.unwrap();
            let line = String::from_utf8_lossy(&request[..read]);
            asked.push(line.split(' ').next().unwrap().to_owned());
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    })
}

/// A question is asked again, and what would be done twice is not.
#[tokio::test]
async fn an_engine_that_fails_for_a_moment_is_asked_again_where_that_is_safe() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ill.sock");
    let ill = r#"{"message":"ill"}"#;
    let none = (200, "[]");
    let answers = [(500, ill), (503, ill), none, (500, ill), (500, ill)];
    let answers = [&answers[..], &[(500, ill), (500, ill), (501, ill)]].concat();
    let asked = answering(&path, &answers);
    let engine = Engine::connect_to(Endpoint::Unix { path }).await.unwrap();
    assert!(engine.list_containers(&[]).await.unwrap().is_empty());
    let refused = engine.remove_container("a").await.unwrap_err();
    assert_eq!(refused.code(), "engine-refused");
    let refused = engine.rename("a", "b").await.unwrap_err();
    assert_eq!(refused.code(), "engine-refused");
    // It never will.
    let refused = engine.list_containers(&[]).await.unwrap_err();
    assert_eq!(refused.code(), "engine-refused");
    let expected = [
        "GET", "GET", "GET", "GET", "DELETE", "DELETE", "DELETE", "POST", "GET",
    ];
    assert_eq!(asked.await.unwrap(), expected);
}

/// Docker says 409 to the signal then, and Podman 500.
#[tokio::test]
async fn a_container_that_ends_before_the_signal_comes_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("late.sock");
    let runs = r#"{"Id":"a1","State":{"Status":"running","Running":true}}"#;
    let ended = r#"{"Id":"a1","State":{"Status":"exited","Running":false,"ExitCode":0}}"#;
    let late = r#"{"message":"can only kill running containers"}"#;
    let asked = answering(
        &path,
        &[
            (200, runs),
            (500, late),
            (200, ended),
            (200, ended),
            (200, runs),
            (500, late),
            (200, runs),
        ],
    );
    let engine = Engine::connect_to(Endpoint::Unix { path }).await.unwrap();
    let grace = Duration::from_secs(5);
    let stopped = engine.stop("a1", grace).await.unwrap();
    assert_eq!(
        stopped,
        StopOutcome::Stopped {
            exit_code: 0,
            already: false
        }
    );
    // It does run.
    let refused = engine.stop("a1", grace).await.unwrap_err();
    assert_eq!(refused.code(), "engine-refused");
    asked.await.unwrap();
}

#[tokio::test]
async fn an_engine_that_stays_silent_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("silent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let silent = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            open.push(connection);
        }
    });
    let begin = Instant::now();
    let error = Engine::connect_to(Endpoint::Unix { path: path.clone() })
        .await
        .unwrap_err();
    silent.abort();
    assert_eq!(error.code(), "engine-timeout");
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
    assert!(begin.elapsed() < Duration::from_secs(12));
}
