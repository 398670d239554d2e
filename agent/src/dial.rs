//! `ferryd dial`: copies standard input and output to an agent's socket. It is the whole of the
//! throw-away container by which a tunnel reaches a sidecar, over whatever carries the engine's API.

use std::{path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::Instant,
};

/// A sidecar that was just started needs a moment to bind its socket.
const SOCKET_WAIT: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(10);
const BUFFER_BYTES: usize = 64 * 1024;

/// Copies until either side ends.
///
/// # Errors
/// When no agent listens within ten seconds, or the copying fails.
pub async fn dial(socket: &Path) -> std::io::Result<()> {
    let stream = connect(socket).await?;
    let (mut from_agent, mut to_agent) = stream.into_split();
    let upward = async {
        let mut input = tokio::io::stdin();
        tokio::io::copy(&mut input, &mut to_agent).await?;
        to_agent.shutdown().await
    };
    let downward = async {
        let mut output = tokio::io::stdout();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let length = from_agent.read(&mut buffer).await?;
            if length == 0 {
                return Ok(());
            }
            output.write_all(&buffer[..length]).await?;
            // Without this an answer would sit in the buffer until the next one.
            output.flush().await?;
        }
    };
    tokio::pin!(upward, downward);
    tokio::select! {
        ended = &mut downward => ended,
        // The caller has said all: what the agent still answers is passed on.
        sent = &mut upward => { sent?; downward.await }
    }
}

async fn connect(socket: &Path) -> std::io::Result<UnixStream> {
    let deadline = Instant::now() + SOCKET_WAIT;
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() >= deadline => {
                let message = format!("no agent listens on `{}`: {error}", socket.display());
                return Err(std::io::Error::new(error.kind(), message));
            }
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}
