//! The little of HTTP that the programs need, because each of them answers a handful of addresses and nothing more: one request
//! read whole, one response, and a client for loopback.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::Result;

/// One request, read whole.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Of the address and, for forms, of the body; the body wins.
    pub(crate) params: HashMap<String, String>,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Bytes,
}

impl Request {
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The body as JSON; an empty one is an empty object, as the gateways have it.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| json!({}))
    }

    async fn read(request: hyper::Request<Incoming>) -> Result<Self> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let headers: HashMap<_, _> = parts
            .headers
            .iter()
            .map(|(k, v)| {
                (
                    k.as_str().to_owned(),
                    String::from_utf8_lossy(v.as_bytes()).into_owned(),
                )
            })
            .collect();
        let mut params: HashMap<_, _> =
            form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes())
                .into_owned()
                .collect();
        if headers
            .get("content-type")
            .is_some_and(|t| t.starts_with("application/x-www-form"))
        {
            params.extend(form_urlencoded::parse(&body).into_owned());
        }
        Ok(Self {
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            params,
            headers,
            body,
        })
    }
}

/// What is answered.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn json(status: u16, value: &Value) -> Self {
        Self {
            status,
            kind: "application/json",
            body: value.to_string().into_bytes(),
        }
    }

    pub(crate) fn ok(value: &Value) -> Self {
        Self::json(200, value)
    }

    pub(crate) fn text(status: u16, text: impl Into<String>) -> Self {
        Self {
            status,
            kind: "text/plain; charset=utf-8",
            body: text.into().into_bytes(),
        }
    }

    /// An error in the shape of the gRPC gateways (`error`, `code`, `message`, `details`).
    pub(crate) fn grpc(status: u16, code: u8, message: &str) -> Self {
        Self::json(
            status,
            &json!({ "error": message, "code": code, "message": message, "details": [] }),
        )
    }
}

/// Answers at `port` of loopback until the program ends.
pub(crate) async fn serve<F, Fut>(port: u16, handler: F) -> Result<()>
where
    F: Fn(Request) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response> + Send,
{
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let handler = handler.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let handler = handler.clone();
                async move {
                    let response = match Request::read(request).await {
                        Ok(request) => handler(request).await,
                        Err(error) => Response::text(400, error.to_string()),
                    };
                    hyper::Response::builder()
                        .status(response.status)
                        .header("content-type", response.kind)
                        .body(Full::new(Bytes::from(response.body)))
                }
            });
            // A client that goes away is its own affair.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// How long a program on loopback gets for an answer: on a busy machine it may be seconds. One that does not run refuses at once.
const PATIENCE: Duration = Duration::from_secs(15);

/// One call to a program on loopback: status and body.
pub(crate) async fn call(
    method: &str,
    port: u16,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<(u16, Bytes)> {
    let exchange = async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(target)
            .header("host", "127.0.0.1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned())))?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    };
    tokio::time::timeout(PATIENCE, exchange).await?
}

/// Whether a program answers 200 there.
pub(crate) async fn healthy(port: u16, target: &str) -> bool {
    matches!(call("GET", port, target, &[], "").await, Ok((200, _)))
}
