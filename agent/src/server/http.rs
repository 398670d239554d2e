//! A small HTTP client for the ports that a server opens on loopback.
//!
//! Why not a full one: there is nothing but `127.0.0.1`, no TLS, no redirects to follow (they would leave the port that
//! was asked), and every answer is bounded in time and size.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ferry_proto::Secret;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::{Result, ServerError};

/// The largest answer that is read, in bytes.
const MAX_BODY: usize = 64 << 20;
/// How much of an error's body is told.
const MAX_TOLD: usize = 300;

/// What a request shows who it is by. Neither shown nor logged.
#[derive(Clone)]
pub struct Credentials(String);

impl Credentials {
    /// Takes a user name and password.
    pub fn new(user: impl std::fmt::Display, password: impl std::fmt::Display) -> Self {
        Self(format!(
            "Basic {}",
            STANDARD.encode(format!("{user}:{password}"))
        ))
    }

    /// Takes an API key, or the token of a service account.
    #[must_use]
    pub fn key(key: &Secret) -> Self {
        Self(format!("Bearer {}", key.reveal()))
    }

    fn header(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

/// A port on loopback.
#[derive(Debug, Clone)]
pub struct Local {
    port: u16,
    time: Duration,
    credentials: Option<Credentials>,
    headers: Vec<(&'static str, String)>,
}

impl Local {
    /// The service on that port, which has 20 s for each answer.
    #[must_use]
    pub fn port(port: u16) -> Self {
        Self {
            port,
            time: Duration::from_secs(20),
            credentials: None,
            headers: Vec::new(),
        }
    }

    /// The same with that much time for each answer.
    #[must_use]
    pub fn with_time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// The same with a user name and password.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Option<Credentials>) -> Self {
        self.credentials = credentials;
        self
    }

    /// The same with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The port's number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.port
    }

    /// Gets a path; any status is an answer.
    ///
    /// # Errors
    /// Nothing listens, or there is no whole answer in time.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, None).await
    }

    /// Posts a JSON body; any status is an answer.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::POST, path, Some(body.to_string())).await
    }

    /// Gets a path and reads the answer as JSON.
    ///
    /// # Errors
    /// As [`Self::get`]; the status is not 200, or the body is no JSON.
    pub async fn get_json(&self, path: &str) -> Result<Value> {
        let answer = self.get(path).await?;
        self.json(path, &answer)
    }

    /// Posts a JSON body and reads the answer as JSON.
    ///
    /// # Errors
    /// As [`Self::get_json`].
    pub async fn post_json(&self, path: &str, body: &Value) -> Result<Value> {
        let answer = self.post(path, body).await?;
        self.json(path, &answer)
    }

    /// Gets a path and reads the answer as text.
    ///
    /// # Errors
    /// As [`Self::get`]; the status is not 200.
    pub async fn get_text(&self, path: &str) -> Result<String> {
        let answer = self.get(path).await?;
        self.check(path, &answer)?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// An error that says that the answer of `path` is not what it must be.
    #[must_use]
    pub fn odd(&self, path: &str, why: impl Into<String>) -> ServerError {
        ServerError::HttpAnswer {
            port: self.port,
            path: bare(path),
            why: why.into(),
        }
    }

    fn check(&self, path: &str, answer: &Answer) -> Result<()> {
        if answer.status == 200 {
            return Ok(());
        }
        let body = String::from_utf8_lossy(&answer.body);
        let body = body.trim().chars().take(MAX_TOLD).collect();
        Err(ServerError::HttpStatus {
            port: self.port,
            path: bare(path),
            status: answer.status,
            body,
        })
    }

    fn json(&self, path: &str, answer: &Answer) -> Result<Value> {
        self.check(path, answer)?;
        serde_json::from_slice(&answer.body).map_err(|error| self.odd(path, error.to_string()))
    }

    async fn send(&self, method: Method, path: &str, body: Option<String>) -> Result<Answer> {
        match tokio::time::timeout(self.time, self.exchange(method, path, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(ServerError::Timeout {
                what: format!("the answer of http://127.0.0.1:{}{}", self.port, bare(path)),
                after: self.time,
            }),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<String>) -> Result<Answer> {
        let unreachable = |why: String, refused| ServerError::HttpUnreachable {
            port: self.port,
            path: bare(path),
            why,
            refused,
        };
        let stream = TcpStream::connect(("127.0.0.1", self.port))
            .await
            .map_err(|error| {
                let refused = error.kind() == std::io::ErrorKind::ConnectionRefused;
                unreachable(error.to_string(), refused)
            })?;
        let broken = |error: hyper::Error| unreachable(error.to_string(), false);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        // Ends with the sender, at the end of this request.
        let connection = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("Host", format!("127.0.0.1:{}", self.port))
            .header("Accept", "application/json");
        if body.is_some() {
            request = request.header("Content-Type", "application/json");
        }
        if let Some(credentials) = &self.credentials {
            request = request.header("Authorization", credentials.header());
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| unreachable(error.to_string(), false))?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_BODY).collect().await;
        drop(sender);
        connection.abort();
        let body = body
            .map_err(|error| unreachable(error.to_string(), false))?
            .to_bytes();
        Ok(Answer { status, body })
    }
}

/// A path without its query, which is too long to tell.
fn bare(path: &str) -> String {
    path.split('?').next().unwrap_or_default().to_owned()
}

/// Text as part of a query.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A number, which the two majors write as a number or as text.
#[must_use]
pub fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// Where a server's services listen (`facts/pmm.md` 1.2, 1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// pmm-managed's JSON gateway, which asks for no password.
    pub managed: u16,
    /// nginx of PMM 2.
    pub nginx_v2: u16,
    /// nginx of PMM 3.
    pub nginx_v3: u16,
    /// Grafana.
    pub grafana: u16,
    /// VictoriaMetrics.
    pub victoria: u16,
    /// qan-api2's JSON gateway.
    pub qan: u16,
    /// ClickHouse over HTTP.
    pub clickhouse: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            managed: 7772,
            nginx_v2: 80,
            nginx_v3: 8080,
            grafana: 3000,
            victoria: 9090,
            qan: 9922,
            clickhouse: 8123,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded_and_secrets_hidden() {
        assert_eq!(
            encode("count(up == 1) ä"),
            "count%28up%20%3D%3D%201%29%20%C3%A4"
        );
        assert_eq!(
            format!("{:?}", Credentials::new("admin", "secret")),
            "Credentials(…)"
        );
        assert_eq!(number(&serde_json::json!("12")), Some(12));
        assert_eq!(bare("/a?b=c"), "/a");
    }

    #[tokio::test]
    async fn a_closed_port_is_told_apart() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        assert!(Local::port(port).get("/x").await.unwrap_err().is_refused());
    }
}
