//! A byte stream to an agent in a pod: `exec` of `ferryd dial` beside it, whose standard streams carry the bytes.
//!
//! Rejected: a forwarded port. It reaches TCP only, so the agent would have to listen on a port of the server's own network.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use ferry_agent::{cluster::ByteStream, engine::agents::SOCKET};
use kube::api::{AttachParams, AttachedProcess};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use crate::{Kubernetes, api::explain, error::ClusterError};

/// Bytes under way in each direction.
const BUFFER_BYTES: usize = 256 * 1024;
/// How much of the proxy's complaint is kept.
const KEPT_COMPLAINT: usize = 4096;

type Reader = Pin<Box<dyn AsyncRead + Send>>;
type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// An open stream. Dropping it ends the proxy.
struct Stream {
    reader: Reader,
    writer: Writer,
    carried: bool,
    complaint: Arc<Mutex<String>>,
    agent: String,
    /// Carries the bytes as long as it is held.
    _process: AttachedProcess,
}

pub(crate) async fn dial(
    cluster: &Kubernetes,
    namespace: &str,
    pod: &str,
    container: &str,
) -> Result<Box<dyn ByteStream>, ClusterError> {
    let mut process = exec(
        cluster,
        namespace,
        pod,
        container,
        &["/ferryd", "dial", SOCKET],
    )
    .await?;
    let (Some(writer), Some(reader), Some(mut complaints)) =
        (process.stdin(), process.stdout(), process.stderr())
    else {
        return Err(ClusterError::Answer {
            action: format!("start a program in pod {pod}"),
            reason: "a stream is missing".to_owned(),
        });
    };
    let complaint = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&complaint);
    tokio::spawn(async move {
        let mut buffer = [0; 1024];
        while let Ok(length @ 1..) = complaints.read(&mut buffer).await {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < KEPT_COMPLAINT {
                kept.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
        }
    });
    Ok(Box::new(Stream {
        reader: Box::pin(reader),
        writer: Box::pin(writer),
        carried: false,
        complaint,
        agent: format!("{pod}/{container}"),
        _process: process,
    }))
}

/// Starts one of this agent's own programs beside an agent.
pub(crate) async fn exec(
    cluster: &Kubernetes,
    namespace: &str,
    pod: &str,
    container: &str,
    words: &[&str],
) -> Result<AttachedProcess, ClusterError> {
    let streams = AttachParams {
        container: Some(container.to_owned()),
        stdin: true,
        stdout: true,
        stderr: true,
        tty: false,
        max_stdin_buf_size: Some(BUFFER_BYTES),
        max_stdout_buf_size: Some(BUFFER_BYTES),
        max_stderr_buf_size: None,
    };
    let pods = cluster.api.pods(namespace);
    let started = pods.exec(pod, words.iter().copied(), &streams).await;
    started.map_err(|error| explain(&format!("start a program in pod {pod}"), error))
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(this.reader.as_mut().poll_read(cx, buf))?;
        if buf.filled().len() > before {
            this.carried = true;
            return Poll::Ready(Ok(()));
        }
        let said = this
            .complaint
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if this.carried && said.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let why = match said.trim() {
            "" => "the proxy ended without a word",
            said => said,
        };
        Poll::Ready(Err(io::Error::other(format!(
            "the agent in {} is not reached: {why}",
            this.agent
        ))))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writer.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_shutdown(cx)
    }
}
