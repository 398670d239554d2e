//! A gRPC channel over any byte stream.

use std::{convert::Infallible, future::ready, time::Duration};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tonic::transport::{Channel, Endpoint};

use super::ConnectError;

// Bulk events at line rate need more than HTTP/2's 64 KiB.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
// A silent network or a stuck engine is noticed within half a minute; a step may be silent for
// hours, and its agent still answers pings.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_PATIENCE: Duration = Duration::from_secs(20);
// Longer than the slowest dial: a new tunnel may have to start a container first.
const DIAL_PATIENCE: Duration = Duration::from_secs(30);

/// Connects, and dials again whenever the connection was lost and is needed again.
///
/// `what` names the agent in the error.
///
/// # Errors
/// [`ConnectError::Unreachable`] when the first dial fails.
pub async fn open_channel<D, F, IO, E>(what: &str, dial: D) -> Result<Channel, ConnectError>
where
    D: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = Result<IO, E>> + Send + 'static,
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    let connector = tower::service_fn(move |_uri| {
        let dialled = dial();
        async move { dialled.await.map(TokioIo::new) }
    });
    endpoint()
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE)
        .keep_alive_while_idle(true)
        .connect_timeout(DIAL_PATIENCE)
        .connect_with_connector(connector)
        .await
        .map_err(|error| ConnectError::unreachable(what, &error))
}

/// Connects to an agent in this process, over the streams in memory that `connect` makes.
///
/// There is no network between the two, so nothing is pinged and no dial can take long: a suspended
/// laptop must not look like a lost agent.
///
/// # Errors
/// [`ConnectError::Unreachable`] when the agent has ended already.
pub async fn open_in_memory<C>(what: &str, connect: C) -> Result<Channel, ConnectError>
where
    C: Fn() -> DuplexStream + Send + Sync + 'static,
{
    let connector =
        tower::service_fn(move |_uri| ready(Ok::<_, Infallible>(TokioIo::new(connect()))));
    endpoint()
        .connect_with_connector(connector)
        .await
        .map_err(|error| ConnectError::unreachable(what, &error))
}

fn endpoint() -> Endpoint {
    // The name is never resolved: the connector decides where the bytes go.
    Endpoint::from_static("http://agent.ferry.invalid")
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
}
