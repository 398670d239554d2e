//! TLS to an engine, with the files that the `docker` client uses.
//!
//! Why not the system's authorities as well: an engine is root on its host; only the authority that its operator named may vouch
//! for it.

use std::{io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{endpoint::TlsFiles, error::EngineError};

/// A client that knows whom to trust and whom to expect.
#[derive(Clone)]
pub(crate) struct TlsClient {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl TlsClient {
    pub(crate) async fn handshake(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), tcp).await
    }
}

/// Reads `files` for a connection to `host`.
///
/// # Errors
/// Names the file that is missing or unusable.
pub(crate) fn client(host: &str, files: &TlsFiles) -> Result<TlsClient, EngineError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(&files.ca, "the engine's authority")? {
        roots
            .add(authority)
            .map_err(|error| bad(&files.ca, "the engine's authority", &error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(&files.ca, "TLS with", &error))?
        .with_root_certificates(roots);
    let config = if files.cert.exists() || files.key.exists() {
        let chain = certificates(&files.cert, "the client certificate")?;
        let key = PrivateKeyDer::from_pem_file(&files.key)
            .map_err(|error| bad(&files.key, "the client's private key", &error))?;
        builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| bad(&files.cert, "the client certificate", &error))?
    } else {
        builder.with_no_client_auth()
    };
    let name = ServerName::try_from(host.to_owned()).map_err(|error| EngineError::Endpoint {
        endpoint: host.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(TlsClient {
        connector: TlsConnector::from(Arc::new(config)),
        name,
    })
}

fn certificates(
    path: &Path,
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, EngineError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|error| bad(path, what, &error))?
        .collect();
    let all = all.map_err(|error| bad(path, what, &error))?;
    if all.is_empty() {
        return Err(bad(path, what, &"it holds no certificate"));
    }
    Ok(all)
}

fn bad(path: &Path, what: &'static str, reason: &dyn std::fmt::Display) -> EngineError {
    EngineError::Config {
        what,
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
