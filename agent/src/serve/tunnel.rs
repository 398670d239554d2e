//! The host agent's tunnel: a byte stream to an agent in a container, whose unix socket is reached
//! by a throw-away container that copies its stdin and stdout (`docs/architecture.md`). It works
//! over every engine endpoint, and the far agent outlives a broken connection.

use std::{pin::Pin, sync::Arc};

use ferry_proto::v1::{
    TunnelFrame, TunnelTarget, tunnel_frame::Kind, tunnel_service_server::TunnelService,
};
use futures_util::{Stream, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::handlers::status;
use crate::{
    cluster::ByteStream, error::StepError, places, runner::Runner, surroundings::Surroundings,
};

/// One frame's worth of bytes.
const FRAME_BYTES: usize = 64 * 1024;

/// The tunnel service over the host agent's engine.
#[derive(Debug, Clone)]
pub(super) struct Tunnels {
    runner: Arc<Runner>,
}

impl Tunnels {
    pub(super) fn new(runner: Arc<Runner>) -> Self {
        Self { runner }
    }

    async fn dial(&self, target: &TunnelTarget) -> Result<Box<dyn ByteStream>, StepError> {
        let around = self.runner.surroundings();
        if let Surroundings::Cluster(cluster) = around {
            return cluster.dial(target).await;
        }
        let host = around.host()?;
        self.runner.policy().check_tunnel(host, target).await?;
        Ok(Box::new(places::dial(host, target).await?))
    }
}

#[tonic::async_trait]
impl TunnelService for Tunnels {
    type OpenStream = Pin<Box<dyn Stream<Item = Result<TunnelFrame, Status>> + Send>>;

    async fn open(
        &self,
        request: Request<Streaming<TunnelFrame>>,
    ) -> Result<Response<Self::OpenStream>, Status> {
        let mut inbound = request.into_inner();
        let target = first_frame(&mut inbound).await?;
        let far = self.dial(&target).await.map_err(status)?;
        let (mut read, mut write) = tokio::io::split(far);

        tokio::spawn(async move {
            while let Some(Ok(frame)) = inbound.next().await {
                let Some(Kind::Data(bytes)) = frame.kind else {
                    break;
                };
                if write.write_all(&bytes).await.is_err() || write.flush().await.is_err() {
                    break;
                }
            }
            // The far side sees the end of its input and goes.
            let _gone = write.shutdown().await;
        });

        let (sender, receiver) = tokio::sync::mpsc::channel(16);
        tokio::spawn(async move {
            let mut buffer = vec![0; FRAME_BYTES];
            loop {
                let frame = match read.read(&mut buffer).await {
                    Ok(0) => return,
                    Ok(length) => Ok(TunnelFrame {
                        kind: Some(Kind::Data(buffer[..length].to_vec())),
                    }),
                    Err(error) => Err(Status::unavailable(format!("the tunnel broke: {error}"))),
                };
                let broken = frame.is_err();
                if sender.send(frame).await.is_err() || broken {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

async fn first_frame(inbound: &mut Streaming<TunnelFrame>) -> Result<TunnelTarget, Status> {
    match inbound.message().await? {
        Some(TunnelFrame {
            kind: Some(Kind::Target(target)),
        }) => Ok(target),
        _ => Err(Status::invalid_argument(
            "the first frame of a tunnel names its target",
        )),
    }
}
