//! The listener for callers on other machines: TCP, with a certificate on both sides, and none without.
//!
//! Why the files are read again for each connection: a certificate that was renewed counts from the next caller on. Connections
//! are few, and a restart of the agent would interrupt steps.

use std::{
    io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::Stream;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;

use super::connection::Connection;
use crate::policy::Policy;

/// How long a caller may take to say who it is.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// So many may be at it at once; others wait to be accepted.
const HANDSHAKES: usize = 32;
/// Pause after an accept that failed, for want of descriptors for example.
const PAUSE: Duration = Duration::from_millis(200);

/// Where certificates and key are, in PEM.
#[derive(Debug, Clone)]
pub struct Files {
    folder: PathBuf,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file that cannot be used.
    #[error("{what} `{}` cannot be used: {reason}", path.display())]
    File {
        /// What it is.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The parts do not fit each other.
    #[error("the certificates in `{}` cannot be used: {reason}", folder.display())]
    Parts {
        /// Where they are.
        folder: PathBuf,
        /// Why not.
        reason: String,
    },
}

impl Files {
    /// `ca.pem`, `cert.pem` and `key.pem` in a folder.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// What a connection is served with: this agent's certificate, and callers of this authority only.
    fn server(&self) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let callers = WebPkiClientVerifier::builder_with_provider(
            Arc::new(self.roots()?),
            Arc::clone(&provider),
        )
        .build()
        .map_err(|e| self.parts(&e))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| self.parts(&e))?
            .with_client_cert_verifier(callers)
            .with_single_cert(
                self.certificates("cert.pem", "the certificate")?,
                self.key()?,
            )
            .map_err(|e| self.parts(&e))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    /// What another agent is called with: nobody but this authority vouches for it, and it is shown this agent's own certificate.
    pub(crate) fn client(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| self.parts(&e))?
            .with_root_certificates(self.roots()?)
            .with_client_auth_cert(
                self.certificates("cert.pem", "the certificate")?,
                self.key()?,
            )
            .map_err(|e| self.parts(&e))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    /// Who vouches for the other side: this authority, and nobody else.
    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in self.certificates("ca.pem", "the authority")? {
            roots.add(authority).map_err(|e| self.parts(&e))?;
        }
        Ok(roots)
    }

    fn parts(&self, reason: &dyn std::fmt::Display) -> TlsError {
        TlsError::Parts {
            folder: self.folder.clone(),
            reason: reason.to_string(),
        }
    }

    fn certificates(
        &self,
        name: &str,
        what: &'static str,
    ) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let path = self.folder.join(name);
        let read = || {
            let all = CertificateDer::pem_file_iter(&path).map_err(|e| e.to_string())?;
            let all: Vec<_> = all.collect::<Result<_, _>>().map_err(|e| e.to_string())?;
            if all.is_empty() {
                return Err("it holds no certificate".to_owned());
            }
            Ok(all)
        };
        read().map_err(|reason| TlsError::File { what, path, reason })
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let path = self.folder.join("key.pem");
        let read = || {
            let mode = fs_err::metadata(&path).map_err(|e| e.to_string())?;
            if mode.permissions().mode() & 0o077 != 0 {
                return Err("others than its owner can read it: `chmod 600`".to_owned());
            }
            PrivateKeyDer::from_pem_file(&path).map_err(|e| e.to_string())
        };
        read().map_err(|reason| TlsError::File {
            what: "the private key",
            path,
            reason,
        })
    }
}

/// Listens for callers that have a certificate of the agent's authority with a name that the policy knows.
///
/// # Errors
/// When the address cannot be listened on, or the files are of no use.
pub async fn tls_connections(
    listen: SocketAddr,
    files: Files,
    policy: Policy,
) -> io::Result<(
    SocketAddr,
    impl Stream<Item = io::Result<Connection<TlsStream<TcpStream>>>>,
)> {
    // An agent that nobody can reach does not look as if it ran.
    files.server().map_err(io::Error::other)?;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|e| io::Error::new(e.kind(), format!("cannot listen on {listen}: {e}")))?;
    let address = listener.local_addr()?;
    let (known, incoming) = mpsc::channel(1);
    tokio::spawn(accept(listener, files, policy, known));
    Ok((address, ReceiverStream::new(incoming)))
}

type Known = mpsc::Sender<io::Result<Connection<TlsStream<TcpStream>>>>;

async fn accept(listener: TcpListener, files: Files, policy: Policy, known: Known) {
    let places = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let (stream, peer) = tokio::select! {
            () = known.closed() => return,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("a caller was not accepted: {error}");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        let (files, policy, known) = (files.clone(), policy.clone(), known.clone());
        // A caller that says nothing must not keep others waiting.
        tokio::spawn(async move {
            let connection = tokio::time::timeout(HANDSHAKE, greet(stream, &files, &policy)).await;
            drop(place);
            match connection {
                Ok(Ok(connection)) => {
                    let _serving_has_ended = known.send(Ok(connection)).await;
                }
                Ok(Err(error)) => tracing::warn!(%peer, "a caller was refused: {error}"),
                Err(_) => tracing::warn!(%peer, "a caller did not say in time who it is"),
            }
        });
    }
}

/// Who is it, and what may it do?
async fn greet(
    stream: TcpStream,
    files: &Files,
    policy: &Policy,
) -> io::Result<Connection<TlsStream<TcpStream>>> {
    stream.set_nodelay(true)?;
    let config = files.server().map_err(io::Error::other)?;
    let stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await?;
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().and_then(<[_]>::first);
    let certificate = certificate.ok_or_else(|| io::Error::other("it has no certificate"))?;
    let certificate = webpki::EndEntityCert::try_from(certificate).map_err(io::Error::other)?;
    let names: Vec<&str> = certificate.valid_dns_names().collect();
    let rights = policy.rights_of(names.iter().copied()).ok_or_else(|| {
        io::Error::other(format!(
            "the policy has no role for the names in its certificate ({})",
            names.join(", ")
        ))
    })?;
    tracing::info!(caller = names.join(", "), role = %rights, "a caller is connected");
    Ok(Connection::new(stream, rights))
}

#[cfg(test)]
mod tests;
