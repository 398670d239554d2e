//! `exec` by WebSocket, as the API server speaks it from version 1.30 on (`v5.channel.k8s.io`): each message begins with the number of
//! its stream, and 255 closes one.

use std::process::Stdio;

use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::serve::{Body, told};
use super::store::status;

const PROTOCOL: &str = "v5.channel.k8s.io";
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const CLOSE: u8 = 255;

/// Begins to speak WebSocket, and runs `words` in a container of the engine.
pub(super) fn exec(
    mut request: Request<Incoming>,
    container: String,
    words: Vec<String>,
) -> Response<Body> {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).cloned();
    let offered = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
    let speaks = offered
        .and_then(|it| it.to_str().ok())
        .is_some_and(|it| it.contains(PROTOCOL));
    let (Some(key), true) = (key, speaks) else {
        return told(
            400,
            &status(
                400,
                "BadRequest",
                "no WebSocket of a protocol that is known",
            ),
        );
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let socket =
                WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
            run(socket, &container, &words).await;
        }
    });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(
        header::SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(PROTOCOL),
    );
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

async fn run(
    socket: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>,
    container: &str,
    words: &[String],
) {
    let (mut outgoing, mut incoming) = socket.split();
    let child = Command::new("docker")
        .args(["exec", "--interactive", container])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let Ok(mut child) = child else { return };
    let mut stdin = child.stdin.take();
    let (sender, mut messages) = mpsc::channel::<Vec<u8>>(16);
    let streams = [
        child
            .stdout
            .take()
            .map(|it| tokio::spawn(forward(it, STDOUT, sender.clone()))),
        child
            .stderr
            .take()
            .map(|it| tokio::spawn(forward(it, STDERR, sender.clone()))),
    ];
    drop(sender);
    let sending = async {
        while let Some(message) = messages.recv().await {
            if outgoing.send(Message::binary(message)).await.is_err() {
                return outgoing;
            }
        }
        outgoing
    };
    let receiving = async {
        while let Some(Ok(message)) = incoming.next().await {
            match message {
                Message::Binary(bytes) => match bytes.as_ref() {
                    [STDIN, rest @ ..] => {
                        let Some(input) = &mut stdin else { continue };
                        if input.write_all(rest).await.is_err() || input.flush().await.is_err() {
                            stdin = None;
                        }
                    }
                    [CLOSE, STDIN] => stdin = None,
                    _ => {}
                },
                Message::Close(_) => return,
                _ => {}
            }
        }
    };
    tokio::pin!(sending);
    let mut outgoing = tokio::select! {
        outgoing = &mut sending => outgoing,
        // The caller has gone; the program goes with it.
        () = receiving => return,
    };
    for stream in streams.into_iter().flatten() {
        let _ = stream.await;
    }
    let ended = child.wait().await;
    let told = match ended {
        Ok(status) if status.success() => {
            serde_json::json!({ "status": "Success", "metadata": {} })
        }
        Ok(code) => status(
            500,
            "NonZeroExitCode",
            &format!("command terminated with {code}"),
        ),
        Err(error) => status(500, "InternalError", &error.to_string()),
    };
    let mut message = vec![STATUS];
    message.extend(told.to_string().bytes());
    let _ = outgoing.send(Message::binary(message)).await;
    let _ = outgoing.close().await;
}

async fn forward(mut stream: impl AsyncRead + Unpin, channel: u8, sender: mpsc::Sender<Vec<u8>>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        buffer[0] = channel;
        match stream.read(&mut buffer[1..]).await {
            Ok(0) | Err(_) => return,
            Ok(length) => {
                if sender.send(buffer[..=length].to_vec()).await.is_err() {
                    return;
                }
            }
        }
    }
}
