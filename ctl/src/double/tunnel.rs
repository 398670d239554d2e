//! The double's tunnels.

use std::pin::Pin;

use ferry_proto::v1::{
    Failure, Place, TunnelFrame, tunnel_frame, tunnel_service_server::TunnelService,
};
use futures_util::{Stream, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Double;

type Frames = Pin<Box<dyn Stream<Item = Result<TunnelFrame, Status>> + Send>>;

#[tonic::async_trait]
impl TunnelService for Double {
    type OpenStream = Frames;

    /// Bridges to the agent in the container, which is this double too; or, for the container
    /// `echo`, gives back what it gets and says `bye` when the caller has ended.
    async fn open(
        &self,
        request: Request<Streaming<TunnelFrame>>,
    ) -> Result<Response<Frames>, Status> {
        let mut incoming = request.into_inner();
        let first = incoming.message().await?.and_then(|frame| frame.kind);
        let Some(tunnel_frame::Kind::Target(target)) = first else {
            return Err(Status::invalid_argument("the first frame names no target"));
        };
        if target.container == "missing" {
            let failure = Failure {
                code: "no-such-container".into(),
                message: "no container is called missing".into(),
                ..Failure::default()
            };
            return Err(ferry_proto::failure_to_status(
                tonic::Code::NotFound,
                &failure,
            ));
        }
        let far = match target.container.as_str() {
            "echo" => echo(),
            _ => self.connect(),
        };
        assert_ne!(target.place(), Place::Host);
        let (mut from_agent, mut to_agent) = tokio::io::split(far);
        tokio::spawn(async move {
            while let Some(Ok(frame)) = incoming.next().await {
                if let Some(tunnel_frame::Kind::Data(data)) = frame.kind
                    && to_agent.write_all(&data).await.is_err()
                {
                    return;
                }
            }
            let _ = to_agent.shutdown().await;
        });
        let (sender, receiver) = mpsc::channel(4);
        tokio::spawn(async move {
            let mut buffer = vec![0; 32 * 1024];
            while let Ok(count @ 1..) = from_agent.read(&mut buffer).await {
                let kind = Some(tunnel_frame::Kind::Data(buffer[..count].to_vec()));
                if sender.send(Ok(TunnelFrame { kind })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

fn echo() -> DuplexStream {
    let (near, far) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        let (mut read, mut write) = tokio::io::split(far);
        tokio::io::copy(&mut read, &mut write).await.unwrap();
        write.write_all(b"bye").await.unwrap();
        write.shutdown().await.unwrap();
    });
    near
}
