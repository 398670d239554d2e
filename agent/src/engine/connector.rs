//! One connector for every way to an engine: socket, TCP, TLS, SSH.
//!
//! Why our own: bollard's TCP leaves Nagle's algorithm on, which costs 44 ms a call, and its SSH leaves a master process behind for
//! every connection (facts/building-blocks.md 0 and 8). Here a connection that is dropped takes its `ssh` child along.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
};

use super::{
    endpoint::Endpoint,
    tls::{self, TlsClient},
};
use crate::engine::error::EngineError;

/// How long a connection may take to stand.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of what `ssh` complains about is kept for the error.
const KEPT_COMPLAINT: usize = 2048;

/// Any byte stream to an engine.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Makes connections to one endpoint.
#[derive(Clone)]
pub(crate) struct Connector {
    endpoint: Arc<Endpoint>,
    tls: Option<TlsClient>,
    complaint: Arc<Mutex<String>>,
}

impl Connector {
    /// Reads the certificates, when there are any; connects nowhere yet.
    pub(crate) fn new(endpoint: Endpoint) -> Result<Self, EngineError> {
        let tls = match &endpoint {
            Endpoint::Tcp {
                host,
                tls: Some(files),
                ..
            } => Some(tls::client(host, files)?),
            _ => None,
        };
        Ok(Self {
            endpoint: Arc::new(endpoint),
            tls,
            complaint: Arc::default(),
        })
    }

    /// What `ssh` wrote to its standard error for the latest connection; empty for the other transports. Its words may arrive a
    /// moment after its end.
    pub(crate) async fn complaint(&self) -> String {
        let said = || {
            self.complaint
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .trim()
                .to_owned()
        };
        if matches!(*self.endpoint, Endpoint::Ssh { .. }) && said().is_empty() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        said()
    }

    async fn open(self) -> io::Result<Wire> {
        let connecting = async {
            let stream: Box<dyn Stream> = match &*self.endpoint {
                Endpoint::Unix { path } => Box::new(UnixStream::connect(path).await?),
                Endpoint::Tcp { host, port, .. } => {
                    let tcp = TcpStream::connect((host.as_str(), *port)).await?;
                    tcp.set_nodelay(true)?;
                    match &self.tls {
                        Some(tls) => Box::new(tls.handshake(tcp).await?),
                        None => Box::new(tcp),
                    }
                }
                Endpoint::Ssh { user, host, port } => Box::new(SshStream::start(
                    user.as_deref(),
                    host,
                    *port,
                    &self.complaint,
                )?),
            };
            Ok(Wire(TokioIo::new(stream)))
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .unwrap_or_else(|_| {
                Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()),
                ))
            })
    }
}

impl tower::Service<hyper::Uri> for Connector {
    type Response = Wire;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Wire>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: hyper::Uri) -> Self::Future {
        Box::pin(self.clone().open())
    }
}

/// A connection as hyper wants it.
pub(crate) struct Wire(TokioIo<Box<dyn Stream>>);

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The two pipes of an `ssh` child; dropping it ends the child.
struct SshStream {
    _child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl SshStream {
    fn start(
        user: Option<&str>,
        host: &str,
        port: Option<u16>,
        complaint: &Arc<Mutex<String>>,
    ) -> io::Result<Self> {
        // The environment stays: `ssh` needs the agent's socket and the user's configuration, and runs as the user who called us.
        #[expect(
            clippy::disallowed_methods,
            reason = "the one program of this module, with fixed arguments; no shell on this side"
        )]
        let mut command = Command::new("ssh");
        command.args([
            "-T",
            "-o",
            "BatchMode=yes",
            "-o",
            "ConnectTimeout=10",
            "-o",
            "ServerAliveInterval=15",
        ]);
        if let Some(user) = user {
            command.args(["-l", user]);
        }
        if let Some(port) = port {
            command.args(["-p", &port.to_string()]);
        }
        command.args(["--", host, "docker", "system", "dial-stdio"]);
        command
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let (Some(input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("`ssh` was started without its pipes"));
        };
        complaint
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        tokio::spawn(keep_complaint(errors, Arc::clone(complaint)));
        Ok(Self {
            _child: child,
            input: Some(input),
            output,
        })
    }
}

async fn keep_complaint(mut errors: ChildStderr, complaint: Arc<Mutex<String>>) {
    let mut buffer = [0; 512];
    while let Ok(read @ 1..) = errors.read(&mut buffer).await {
        let mut kept = complaint.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_str(&String::from_utf8_lossy(&buffer[..read]));
        while kept.len() > KEPT_COMPLAINT {
            kept.remove(0);
        }
    }
}

impl AsyncRead for SshStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(cx, buf)
    }
}

impl AsyncWrite for SshStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.input {
            Some(input) => Pin::new(input).poll_write(cx, buf),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input
            .as_mut()
            .map_or(Poll::Ready(Ok(())), |input| Pin::new(input).poll_flush(cx))
    }

    /// The far side learns of the end only by the pipe being closed, hence the drop.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(input) = &mut self.input else {
            return Poll::Ready(Ok(()));
        };
        let flushed = Pin::new(input).poll_flush(cx);
        if flushed.is_ready() {
            self.input = None;
        }
        flushed
    }
}
