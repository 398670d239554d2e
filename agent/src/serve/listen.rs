//! The gRPC server and its unix socket.

use std::{future::Future, io, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use ferry_proto::{
    DESCRIPTORS, MAX_MESSAGE_BYTES,
    v1::{
        Place, agent_service_server::AgentServiceServer, tree_service_server::TreeServiceServer,
        tunnel_service_server::TunnelServiceServer,
    },
};
use futures_util::{Stream, StreamExt as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{UnixListener, UnixStream},
};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Server, server::Connected};

use super::{
    access,
    connection::{Caller, Connection},
    handlers::Handlers,
    tree::Trees,
    tunnel::Tunnels,
};
use crate::runner::Runner;

/// Finds a controller that is gone without a word; its steps do not mind.
const KEEPALIVE: std::time::Duration = std::time::Duration::from_secs(10);
/// HTTP/2 windows: large enough for the tunnel, small enough that a stalled stream costs little.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Serves the API on these connections until `shutdown`.
///
/// # Errors
/// When the server cannot go on.
pub async fn serve<S, C>(
    runner: Arc<Runner>,
    connections: S,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error>
where
    S: Stream<Item = io::Result<C>>,
    C: AsyncRead + AsyncWrite + Connected<ConnectInfo = Caller> + Unpin + Send + 'static,
{
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<AgentServiceServer<Handlers>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    let agent = AgentServiceServer::new(Handlers::new(Arc::clone(&runner)))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let tunnel = (runner.surroundings().place() == Place::Host).then(|| {
        TunnelServiceServer::new(Tunnels::new(Arc::clone(&runner)))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
    });
    let tree = runner.surroundings().gives_data().then(|| {
        TreeServiceServer::new(Trees::new(Arc::clone(&runner)))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
    });
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .layer(tower::filter::FilterLayer::new(access::check))
        .add_service(agent)
        .add_optional_service(tunnel)
        .add_optional_service(tree)
        .add_service(health)
        .add_optional_service(reflection.ok())
        .serve_with_incoming_shutdown(connections, shutdown)
        .await
}

/// Binds the agent's socket (mode 0600; a stale one is removed) and lets in its own user and root.
///
/// # Errors
/// When the socket cannot be made.
pub fn unix_connections(
    path: &Path,
) -> io::Result<impl Stream<Item = io::Result<Connection<UnixStream>>> + use<>> {
    match fs_err::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(|e| {
        io::Error::new(
            e.kind(),
            format!("cannot listen on `{}`: {e}", path.display()),
        )
    })?;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    let own = users::get_effective_uid();
    Ok(
        UnixListenerStream::new(listener).filter_map(move |connection| {
            let known = connection.ok().and_then(|stream| {
                let caller = stream.peer_cred().map(|cred| cred.uid());
                let role = caller.ok().and_then(|uid| access::role_of_uid(uid, own));
                if role.is_none() {
                    tracing::warn!(
                        "a caller that is neither root nor the agent's user was refused"
                    );
                }
                role.map(|role| Ok(Connection::new(stream, role)))
            });
            std::future::ready(known)
        }),
    )
}
