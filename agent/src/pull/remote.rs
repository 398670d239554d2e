//! The other machine's agent, as a source of its tree.

use std::{error::Error as _, fmt, io, path::Path, str::FromStr, sync::Arc, time::Duration};

use ferry_proto::{
    failure_from_status,
    v1::{
        Failure, FilePiece, ListTreeRequest, ReadBaselineRequest, ReadFilesRequest, TreePart,
        tree_service_client::TreeServiceClient,
    },
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, runtime::Handle};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Code, Status, Streaming,
    transport::{Channel, Endpoint},
};

use crate::{
    error::StepError,
    serve::Files,
    steps::Before,
    tree::{PullError, Source},
};

/// What a connection that was lost is told as.
pub(super) const LOST: &str = "connection-lost";
/// Finds an agent that is gone without a word.
const KEEPALIVE: Duration = Duration::from_secs(10);
const GREETING: Duration = Duration::from_secs(20);
/// As the agent's own windows.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// The largest baseline that is taken: one of ten thousand services has a few MiB.
const BASELINE: usize = 64 << 20;

/// Where an agent listens: `https://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let rest = text.strip_prefix("https://")?;
            let rest = rest.strip_suffix('/').unwrap_or(rest);
            let (host, port) = rest.rsplit_once(':')?;
            let port = port.parse().ok()?;
            // An IPv6 address stands in brackets.
            let inner = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
            let host = inner.unwrap_or(host);
            // Whatever can be no name in a certificate is no address either.
            ServerName::try_from(host).ok()?;
            Some(Self {
                host: host.to_owned(),
                port,
            })
        };
        read().ok_or_else(|| {
            "an address looks like https://pmm.example.com:7650: the name in the agent's certificate, and its port".to_owned()
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "https://[{}]:{}", self.host, self.port),
            false => write!(f, "https://{}:{}", self.host, self.port),
        }
    }
}

/// A connection to it, made anew as often as it is lost.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) address: Address,
    pub(super) channel: Channel,
}

impl Connection {
    /// Connects, with a certificate on both sides.
    pub(super) async fn make(address: &Address, tls: &Path) -> Result<Self, StepError> {
        let files = Files::in_folder(tls);
        let bad = |error: String| {
            StepError::new("bad-certificates", error)
                .hint("name the folder with `ca.pem`, `cert.pem` and `key.pem` by `--tls`")
        };
        files.client().map_err(|error| bad(error.to_string()))?;
        let to = address.clone();
        let connector = tower::service_fn(move |_uri| {
            let (to, files) = (to.clone(), files.clone());
            async move {
                let dialled = tokio::time::timeout(GREETING, dial(to, files)).await;
                dialled
                    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                    .map(TokioIo::new)
            }
        });
        // Never resolved: the connector decides where the bytes go.
        let channel = Endpoint::from_static("http://agent.invalid")
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .connect_with_connector(connector)
            .await
            .map_err(|error| unreachable(address, &innermost(&error)))?;
        Ok(Self {
            address: address.clone(),
            channel,
        })
    }
}

/// The tree there. Its calls wait, so they are a thread's work.
pub(super) struct Remote {
    handle: Handle,
    address: Address,
    client: TreeServiceClient<Channel>,
    at_rest: bool,
    parts: Option<Streaming<TreePart>>,
    pieces: Option<Streaming<FilePiece>>,
    /// It has answered with something of the tree.
    heard: bool,
}

impl Remote {
    /// With `at_rest` the other side refuses while a program of the server runs.
    pub(super) fn over(connection: &Connection, at_rest: bool) -> Self {
        Self {
            handle: Handle::current(),
            address: connection.address.clone(),
            client: TreeServiceClient::new(connection.channel.clone()),
            at_rest,
            parts: None,
            pieces: None,
            heard: false,
        }
    }

    /// What a run has put down of the server before it was stopped.
    pub(super) fn before(&mut self, run: &str) -> Result<Before, PullError> {
        let request = ReadBaselineRequest {
            run: run.to_owned(),
        };
        let answer = self.handle.block_on(self.client.read_baseline(request));
        let mut pieces = answer.map_err(|status| self.failed(&status))?.into_inner();
        let mut before = Before {
            baseline: Vec::new(),
            key_tried: false,
        };
        loop {
            let piece = self.handle.block_on(pieces.message());
            let Some(piece) = piece.map_err(|status| self.failed(&status))? else {
                return Ok(before);
            };
            self.heard = true;
            before.key_tried |= piece.api_key_tried;
            before.baseline.extend(piece.data);
            if before.baseline.len() > BASELINE {
                return Err(PullError::Unsound {
                    path: "the baseline".to_owned(),
                    what: "it has no end",
                });
            }
        }
    }

    fn failed(&self, status: &Status) -> PullError {
        let failure = failure_from_status(status);
        PullError::Source(match status.code() {
            Code::Unimplemented => Failure {
                code: "wrong-agent".to_owned(),
                message: format!("the agent at {} gives no data", self.address),
                hint: "start `ferryd appliance` there".to_owned(),
                ..Failure::default()
            },
            _ if failure.code == LOST && !self.heard => {
                let why = status.source().map_or_else(|| failure.message, innermost);
                unreachable(&self.address, &why).into()
            }
            _ if failure.code == LOST => Failure {
                message: format!("the connection to {} was lost", self.address),
                hint: "pull again: what is here is not sent again".to_owned(),
                ..failure
            },
            _ => failure,
        })
    }
}

/// The agent there and the operator here have different logs: the reason for a refusal is in the other one.
fn unreachable(address: &Address, why: &str) -> StepError {
    StepError::new(
        "agent-unreachable",
        format!("the agent at {address} cannot be asked: {why}"),
    )
    .hint(
        "is `ferryd appliance` running there, and this name among the `readers` of its policy? Its log says whom it refused",
    )
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}

/// The files are read again each time: a connection may be made anew hours later, with a certificate that was renewed.
async fn dial(address: Address, files: Files) -> io::Result<TlsStream<TcpStream>> {
    let config = files.client().map_err(io::Error::other)?;
    let name = ServerName::try_from(address.host.clone()).map_err(io::Error::other)?;
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
    stream.set_nodelay(true)?;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

impl Source for Remote {
    fn list(&mut self) -> Result<(), PullError> {
        let request = ListTreeRequest {
            at_rest: self.at_rest,
        };
        let answer = self.handle.block_on(self.client.list_tree(request));
        self.parts = Some(answer.map_err(|status| self.failed(&status))?.into_inner());
        Ok(())
    }

    fn next_part(&mut self) -> Result<Option<TreePart>, PullError> {
        let Some(parts) = self.parts.as_mut() else {
            return Ok(None);
        };
        let part = self.handle.block_on(parts.message());
        let part = part.map_err(|status| self.failed(&status))?;
        self.heard |= part.is_some();
        Ok(part)
    }

    fn read(&mut self, request: ReadFilesRequest) -> Result<(), PullError> {
        let answer = self.handle.block_on(self.client.read_files(request));
        self.pieces = Some(answer.map_err(|status| self.failed(&status))?.into_inner());
        Ok(())
    }

    fn next_piece(&mut self) -> Result<Option<FilePiece>, PullError> {
        let Some(pieces) = self.pieces.as_mut() else {
            return Ok(None);
        };
        let piece = self.handle.block_on(pieces.message());
        piece.map_err(|status| self.failed(&status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_name_and_a_port() {
        let fine: Address = "https://pmm.example.com:7650".parse().unwrap();
        assert_eq!(fine.to_string(), "https://pmm.example.com:7650");
        assert_eq!("https://pmm.example.com:7650/".parse(), Ok(fine));
        let six: Address = "https://[::1]:7650".parse().unwrap();
        assert_eq!(
            (&*six.host, six.to_string()),
            ("::1", "https://[::1]:7650".to_owned())
        );
        for odd in [
            "pmm.example.com:7650",
            "http://pmm.example.com:7650",
            "https://pmm.example.com",
            "https://:7650",
            "https://pmm.example.com:x",
            "https://pmm.example.com:7650/srv",
        ] {
            assert!(odd.parse::<Address>().is_err(), "{odd}");
        }
    }
}
