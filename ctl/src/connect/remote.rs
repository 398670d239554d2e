//! A host agent on another machine: TCP, with a certificate on both sides.
//!
//! Why not the system's authorities as well: whoever is taken for the agent is told what is to become of a server. Only the
//! authority that was made for that may vouch for it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use ferry_proto::v1::{AgentInfo, GetInfoRequest, Place};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    ConnectError, ConnectedHost, HostAgent, Refusal,
    address::{AgentAddress, EngineChoice},
    open_channel, refusal,
};

/// `ca.pem`, `cert.pem` and `key.pem` of a controller, in one folder.
#[derive(Debug, Clone)]
pub struct TlsFolder(PathBuf);

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of them.
    #[error("{what} `{}` cannot be used: {reason}", path.display())]
    File {
        /// What it is.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// All of them together.
    #[error("the certificates in `{}` cannot be used: {reason}", folder.display())]
    Parts {
        /// Where they are.
        folder: PathBuf,
        /// Why not.
        reason: String,
    },
}

impl TlsFolder {
    /// The files in this folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// Where they are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A client that trusts the one authority, and shows its own certificate.
    fn client(&self) -> Result<ClientConfig, TlsError> {
        let parts = |reason: &dyn std::fmt::Display| TlsError::Parts {
            folder: self.0.clone(),
            reason: reason.to_string(),
        };
        let mut roots = RootCertStore::empty();
        for authority in self.certificates("ca.pem", "the authority")? {
            roots.add(authority).map_err(|e| parts(&e))?;
        }
        let chain = self.certificates("cert.pem", "the certificate")?;
        let path = self.0.join("key.pem");
        let key = PrivateKeyDer::from_pem_file(&path).map_err(|e| TlsError::File {
            what: "the private key",
            path,
            reason: e.to_string(),
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| parts(&e))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|e| parts(&e))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    fn certificates(
        &self,
        name: &str,
        what: &'static str,
    ) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let path = self.0.join(name);
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
}

/// Connects to a host agent, and is sure that it is one.
///
/// # Errors
/// [`ConnectError::Tls`] when the files are of no use, [`ConnectError::Elsewhere`] when nobody answers there or the other side
/// does not want this caller, [`ConnectError::Refused`] when it says why.
pub async fn connect_remote(
    address: &AgentAddress,
    tls: &TlsFolder,
) -> Result<ConnectedHost, ConnectError> {
    let agent = connect(address, tls, Place::Host).await?;
    let engine = EngineChoice::Agent(address.clone());
    Ok(ConnectedHost::new(agent, engine, None))
}

/// Connects to the agent on a client's host, and is sure that it is one.
///
/// # Errors
/// As [`connect_remote`].
pub async fn connect_client(
    address: &AgentAddress,
    tls: &TlsFolder,
) -> Result<HostAgent, ConnectError> {
    connect(address, tls, Place::Client).await
}

/// Connects to the agent on the machine that a server moves away from, and is sure that it is one.
///
/// # Errors
/// As [`connect_remote`].
pub async fn connect_origin(
    address: &AgentAddress,
    tls: &TlsFolder,
) -> Result<HostAgent, ConnectError> {
    connect(address, tls, Place::Origin).await
}

/// What the agent there calls itself, where that is not what is wanted.
fn another(info: &AgentInfo, wanted: Place) -> Option<String> {
    let place = info.place();
    // Beside its server it is like any other; that it gives the data away is what makes it this one.
    let gives = info.capabilities.iter().any(|it| it == "origin");
    match wanted {
        Place::Origin if place == Place::Container && gives => None,
        Place::Origin => Some(format!(
            "it is the {} agent, not one that gives a server's data away: start `ferryd appliance` there, of this release",
            place.word()
        )),
        wanted if place == wanted => None,
        wanted => Some(format!(
            "it is the {} agent, not a {} agent",
            place.word(),
            wanted.word()
        )),
    }
}

async fn connect(
    address: &AgentAddress,
    tls: &TlsFolder,
    wanted: Place,
) -> Result<HostAgent, ConnectError> {
    let elsewhere = |why: String| ConnectError::Elsewhere {
        address: address.to_string(),
        why,
    };
    tls.client()?;
    let (to, files) = (address.clone(), tls.clone());
    let dial = move || dial(to.clone(), files.clone());
    let channel = open_channel(wanted.word(), dial)
        .await
        .map_err(|error| match error {
            ConnectError::Unreachable { why, .. } => elsewhere(why),
            other => other,
        })?;
    let agent = HostAgent::over(channel);
    // With TLS 1.3 a caller hears only with the first answer that it is not wanted.
    let info = agent.client().get_info(GetInfoRequest {}).await;
    let info = info.map_err(|status| match refusal(&status) {
        Refusal::Lost(why) => elsewhere(why),
        Refusal::Refused(failure) => ConnectError::Refused(failure),
    })?;
    match another(&info.into_inner(), wanted) {
        Some(why) => Err(elsewhere(why)),
        None => Ok(agent),
    }
}

/// The files are read again each time: a connection may be made anew hours later, with a certificate that was renewed.
async fn dial(address: AgentAddress, tls: TlsFolder) -> io::Result<TlsStream<TcpStream>> {
    let config = tls.client().map_err(io::Error::other)?;
    let name = ServerName::try_from(address.name().to_owned()).map_err(io::Error::other)?;
    let stream = TcpStream::connect((address.name(), address.port())).await?;
    stream.set_nodelay(true)?;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_taken_for_nothing_that_it_is_not() {
        let agent = |place: Place, can: &[&str]| AgentInfo {
            place: place.into(),
            capabilities: can.iter().map(|&it| it.to_owned()).collect(),
            ..AgentInfo::default()
        };
        let host = agent(Place::Host, &["engine"]);
        let origin = agent(Place::Container, &["supervisor", "origin"]);
        let older = agent(Place::Container, &["supervisor"]);
        assert_eq!(another(&host, Place::Host), None);
        assert_eq!(another(&origin, Place::Origin), None);
        for (info, wanted) in [
            (&origin, Place::Host),
            (&host, Place::Origin),
            (&older, Place::Origin),
            (&host, Place::Client),
        ] {
            assert!(another(info, wanted).is_some(), "{info:?} {wanted:?}");
        }
    }
}
