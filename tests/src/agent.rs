//! A client of the agent's own API, over any byte stream: what a controller of somebody else's making would be.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use ferry_proto::v1::agent_service_client::AgentServiceClient;
use hyper_util::rt::TokioIo;
use tokio::io::{Join, join};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ListServiceResponse, ServerReflectionRequest};

/// The name of the service, as health checks and reflection know it.
pub const SERVICE: &str = "ferry.v1.AgentService";

/// A connection to an agent.
#[derive(Clone, Debug)]
pub struct Agent {
    channel: Channel,
}

impl Agent {
    /// Connects to a socket of this machine.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn at(socket: &Path) -> Result<Self, tonic::transport::Error> {
        let socket: PathBuf = socket.to_owned();
        let connector = tower::service_fn(move |_uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let channel = endpoint().connect_with_connector(connector).await?;
        Ok(Self { channel })
    }

    /// Connects to the agent inside a container, as a person without any network may: by a program that copies its own input and output to
    /// the agent's socket.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn inside(container: &str) -> Result<Self, tonic::transport::Error> {
        let container = container.to_owned();
        let connector = tower::service_fn(move |_uri| {
            let stream = dial(&container);
            async move { stream.map(TokioIo::new) }
        });
        let channel = endpoint().connect_with_connector(connector).await?;
        Ok(Self { channel })
    }

    /// The service itself.
    #[must_use]
    pub fn service(&self) -> AgentServiceClient<Channel> {
        AgentServiceClient::new(self.channel.clone())
    }

    /// What the agent says of its health.
    ///
    /// # Errors
    /// When it has no health service.
    pub async fn health(&self) -> Result<ServingStatus, tonic::Status> {
        let request = HealthCheckRequest {
            service: SERVICE.to_owned(),
        };
        let answer = HealthClient::new(self.channel.clone())
            .check(request)
            .await?;
        Ok(answer.into_inner().status())
    }

    /// The names of the services that reflection lists.
    ///
    /// # Errors
    /// When it has no reflection.
    pub async fn services(&self) -> Result<Vec<String>, tonic::Status> {
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = ServerReflectionClient::new(self.channel.clone());
        let answers = client
            .server_reflection_info(tokio_stream::once(request))
            .await?;
        let answer = answers.into_inner().message().await?;
        match answer.and_then(|answer| answer.message_response) {
            Some(MessageResponse::ListServicesResponse(ListServiceResponse { service })) => {
                Ok(service.into_iter().map(|service| service.name).collect())
            }
            other => Err(tonic::Status::internal(format!("no list: {other:?}"))),
        }
    }
}

fn endpoint() -> Endpoint {
    // Never resolved: the connector decides where the bytes go.
    Endpoint::from_static("http://agent.invalid")
}

/// The process ends with the stream, which owns it.
struct Dialled {
    streams: Join<ChildStdout, ChildStdin>,
    _process: Child,
}

fn dial(container: &str) -> std::io::Result<Dialled> {
    let words = [
        "exec",
        "--interactive",
        container,
        "/usr/local/bin/ferryd",
        "dial",
        "/run/ferry/agent.sock",
    ];
    let mut process = Command::new("docker")
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let none = || std::io::Error::other("a process without its pipes");
    let stdout = process.stdout.take().ok_or_else(none)?;
    let stdin = process.stdin.take().ok_or_else(none)?;
    Ok(Dialled {
        streams: join(stdout, stdin),
        _process: process,
    })
}

mod io {
    use std::io::Result;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::Dialled;

    impl AsyncRead for Dialled {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<Result<()>> {
            Pin::new(&mut self.streams).poll_read(cx, buffer)
        }
    }

    impl AsyncWrite for Dialled {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<Result<usize>> {
            Pin::new(&mut self.streams).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
            Pin::new(&mut self.streams).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
            Pin::new(&mut self.streams).poll_shutdown(cx)
        }
    }
}
