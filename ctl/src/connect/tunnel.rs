//! A byte stream to an agent in a container, through the host agent's `TunnelService.Open`: frames
//! of a gRPC stream on one side, `AsyncRead + AsyncWrite` on the other.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use ferry_proto::v1::{
    TunnelFrame, TunnelTarget, tunnel_frame::Kind, tunnel_service_client::TunnelServiceClient,
};
use futures_util::StreamExt as _;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::PollSender;
use tonic::{Status, Streaming, transport::Channel};

// What one frame carries at most: far below the message limit, far above the cost of a frame.
const FRAME_BYTES: usize = 64 * 1024;
// Frames that wait for the connection; more of them only delay the pushing back.
const FRAMES_WAITING: usize = 8;

/// Both directions of one tunnel. Shutting down the writing side half-closes it: what the agent
/// still says can be read. Dropping it closes it.
#[derive(Debug)]
pub struct Tunnel {
    outgoing: PollSender<TunnelFrame>,
    incoming: Streaming<TunnelFrame>,
    unread: Bytes,
}

impl Tunnel {
    /// Opens a tunnel to the agent that `target` names.
    ///
    /// # Errors
    /// The host agent's refusal, or a failure of the connection to it.
    pub async fn open(
        mut client: TunnelServiceClient<Channel>,
        target: TunnelTarget,
    ) -> Result<Self, Status> {
        let (sender, receiver) = mpsc::channel(FRAMES_WAITING);
        let first = tokio_stream::once(TunnelFrame {
            kind: Some(Kind::Target(target)),
        });
        let frames = first.chain(ReceiverStream::new(receiver));
        let incoming = client.open(frames).await?.into_inner();
        Ok(Self {
            outgoing: PollSender::new(sender),
            incoming,
            unread: Bytes::new(),
        })
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(self.incoming.poll_next_unpin(cx)) {
                Some(Ok(TunnelFrame {
                    kind: Some(Kind::Data(data)),
                })) => self.unread = data.into(),
                // Nothing else is sent this way by an agent of ours; a newer one may.
                Some(Ok(_)) => {}
                Some(Err(status)) => return Poll::Ready(Err(io::Error::other(status))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..count]);
        self.unread.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.outgoing.poll_reserve(cx)).map_err(|_| broken())?;
        let count = bytes.len().min(FRAME_BYTES);
        let frame = TunnelFrame {
            kind: Some(Kind::Data(bytes[..count].to_vec())),
        };
        self.outgoing.send_item(frame).map_err(|_| broken())?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A frame is on its way as soon as it is written.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.close();
        Poll::Ready(Ok(()))
    }
}

fn broken() -> io::Error {
    io::Error::new(
        io::ErrorKind::BrokenPipe,
        "the tunnel was closed at the host agent",
    )
}
