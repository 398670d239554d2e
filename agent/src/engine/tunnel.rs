//! A byte stream to an agent's socket, over the engine's own connection.
//!
//! Why a throw-away container: it needs no open port, works over every kind of endpoint, and the agent outlives a broken line
//! (facts/building-blocks.md 2). It sees the socket's volume and nothing else of the server.
//!
//! ```text
//!  caller ⇄ attach (engine connection) ⇄ `/ferryd dial` stdin/stdout ⇄ /run/ferry/agent.sock ⇄ agent
//! ```

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bollard::{container::LogOutput, query_parameters::AttachContainerOptions};
use bytes::{Buf as _, Bytes};
use futures_util::{Stream, StreamExt as _};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    agents::{SOCKET, SOCKET_FOLDER},
    client::Engine,
    error::EngineError,
    ids,
    labels::{AGENT_IMAGE_LABEL, AGENT_LABEL, IDS_LABEL, ROLE_LABEL, RUN_LABEL},
    streams::piece,
};

/// What a proxy is labelled with ([`ROLE_LABEL`]).
pub(super) const ROLE: &str = "dial";

/// How much of the proxy's complaint is kept.
const KEPT_COMPLAINT: usize = 4096;

/// The proxy copies and holds little.
const MEMORY: i64 = 64 << 20;

type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;

/// An open tunnel. Dropping it ends the proxy, which the engine then removes.
pub struct Tunnel {
    output: Output,
    input: Pin<Box<dyn AsyncWrite + Send>>,
    rest: Bytes,
    carried: bool,
    complaint: Arc<Mutex<String>>,
    agent: String,
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnel")
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}

/// Removes a container that was made and never came to run, also when the caller goes away in between.
pub(crate) struct Unstarted {
    engine: Engine,
    id: Option<String>,
}

impl Unstarted {
    pub(crate) fn new(engine: &Engine, id: &str) -> Self {
        Self {
            engine: engine.clone(),
            id: Some(id.to_owned()),
        }
    }

    /// It runs, or was removed: nothing to do.
    pub(crate) fn settled(mut self) {
        self.id = None;
    }
}

impl Drop for Unstarted {
    fn drop(&mut self) {
        if let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) {
            let engine = self.engine.clone();
            runtime.spawn(async move {
                if let Err(error) = engine.remove_container(&id).await {
                    tracing::warn!(container = %id, %error, "a container that was never started could not be removed");
                }
            });
        }
    }
}

impl Engine {
    /// Opens a stream to the socket of an agent container. Each call makes a new proxy: use it inside a connector that can be
    /// called again.
    ///
    /// # Errors
    /// The agent does not run or has no socket volume, or the proxy cannot be started. A socket that nobody listens on shows at the
    /// first read, with the proxy's own words.
    pub async fn dial(&self, agent: &str) -> Result<Tunnel, EngineError> {
        let inspected = self.inspect_container(agent).await?;
        let refuse = |reason: &str| EngineError::Tunnel {
            container: agent.to_owned(),
            reason: reason.to_owned(),
        };
        if !inspected.running() {
            return Err(refuse("the agent does not run"));
        }
        let volume = inspected
            .mount_at(SOCKET_FOLDER)
            .filter(|mount| mount.kind == "volume");
        let volume = volume.ok_or_else(|| refuse("it has no volume for its socket"))?;
        let host = &inspected.raw()["HostConfig"];
        // The agent may be in the server's own namespace. A proxy that shared it would be a part of the server to the engine, so it gets
        // another one with the same ids, which is all that the socket asks for.
        let userns = inspected.label(IDS_LABEL);
        let userns = userns.unwrap_or_else(|| inspected.userns_mode());
        let mut body = json!({
            "Image": inspected.label(AGENT_IMAGE_LABEL).unwrap_or_else(|| inspected.image_id()),
            "Entrypoint": ["/ferryd"],
            "Cmd": ["dial", SOCKET],
            "Labels": {
                ROLE_LABEL: ROLE,
                AGENT_LABEL: inspected.id(),
                RUN_LABEL: inspected.label(RUN_LABEL).unwrap_or_default(),
            },
            "AttachStdin": true, "AttachStdout": true, "AttachStderr": true,
            "OpenStdin": true, "StdinOnce": true, "Tty": false,
            "HostConfig": {
                "NetworkMode": "none",
                "AutoRemove": true,
                "CapDrop": ["ALL"],
                "ReadonlyRootfs": true,
                "Memory": MEMORY,
                "LogConfig": { "Type": "none", "Config": {} },
                "RestartPolicy": { "Name": "no" },
                "UsernsMode": userns,
                "SecurityOpt": match &host["SecurityOpt"] { serde_json::Value::Null => json!([]), options => options.clone() },
                "Mounts": [{ "Type": "volume", "Source": volume.name, "Target": SOCKET_FOLDER }],
            },
        });
        if ids::is_own(userns) {
            body["User"] = json!("0:0");
        }
        if self.enforces_selinux().await? {
            // Labels are shared along with the process namespace; without, connecting to the socket is denied.
            body["HostConfig"]["PidMode"] = json!(format!("container:{}", inspected.id()));
        }
        let name = format!("ferry-dial-{:016x}", rand::random::<u64>());
        let created = self.create(&name, &body).await?;
        let unstarted = Unstarted::new(self, &created.id);
        // Attached before the start, so that not a byte is missed.
        let options = AttachContainerOptions {
            stream: true,
            stdin: true,
            stdout: true,
            stderr: true,
            ..Default::default()
        };
        let attached = self
            .docker()
            .attach_container(&created.id, Some(options))
            .await
            .map_err(|error| self.explain(&format!("attach to container {name}"), error))?;
        self.start(&created.id).await?;
        unstarted.settled();
        Ok(Tunnel {
            output: attached.output,
            input: attached.input,
            rest: Bytes::new(),
            carried: false,
            complaint: Arc::default(),
            agent: agent.to_owned(),
        })
    }

    async fn enforces_selinux(&self) -> Result<bool, EngineError> {
        let enforced = self
            .inner
            .selinux
            .get_or_try_init(|| async { Ok::<_, EngineError>(self.info().await?.has_selinux()) });
        enforced.await.copied()
    }
}

impl Tunnel {
    /// What the proxy wrote to its standard error so far, for the error after a failed handshake.
    #[must_use]
    pub fn complaint(&self) -> Complaint {
        Complaint(Arc::clone(&self.complaint))
    }

    fn complain(&self, words: &[u8]) {
        let mut kept = self
            .complaint
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_COMPLAINT {
            kept.push_str(&String::from_utf8_lossy(words));
        }
    }

    fn ended(&self) -> io::Result<()> {
        let said = self.complaint().to_string();
        if self.carried && said.is_empty() {
            return Ok(());
        }
        let reason = if said.is_empty() {
            "the proxy ended without a word".to_owned()
        } else {
            said
        };
        Err(io::Error::other(EngineError::Tunnel {
            container: self.agent.clone(),
            reason,
        }))
    }
}

/// What a proxy complained of; stays readable when the tunnel is in somebody else's hands.
#[derive(Debug, Clone)]
pub struct Complaint(Arc<Mutex<String>>);

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.lock().unwrap_or_else(PoisonError::into_inner).trim())
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.rest.has_remaining() {
                let count = this.rest.len().min(buf.remaining());
                buf.put_slice(&this.rest.split_to(count));
                this.carried = true;
                return Poll::Ready(Ok(()));
            }
            match this.output.poll_next_unpin(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(this.ended()),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(io::Error::other(error))),
                Poll::Ready(Some(Ok(output))) => match piece(output) {
                    (words, true) => this.complain(&words),
                    (bytes, false) => this.rest = bytes,
                },
            }
        }
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.input.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input.as_mut().poll_shutdown(cx)
    }
}
