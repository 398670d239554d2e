//! An engine behind TLS, with certificates made for the test.

use std::{path::Path, sync::Arc};

use ferry_agent::engine::{EndpointConfig, Engine};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, UnixStream},
};
use tokio_rustls::TlsAcceptor;

use crate::engine_support::engine;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn signed(authority: &Authority, name: &str) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .signed_by(&key, authority)
        .unwrap();
    (certificate, key)
}

/// A client's folder that trusts `trusted`.
fn client_folder(
    trusted: &Authority,
    certificate: &rcgen::Certificate,
    key: &KeyPair,
) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write =
        |name: &str, content: String| std::fs::write(folder.path().join(name), content).unwrap();
    write("ca.pem", trusted.pem());
    write("cert.pem", certificate.pem());
    write("key.pem", key.serialize_pem());
    folder
}

fn config(address: &str, folder: &Path) -> EndpointConfig {
    EndpointConfig {
        docker_cert_path: Some(folder.to_owned()),
        docker_tls_verify: Some("1".to_owned()),
        ..EndpointConfig::host(address)
    }
}

#[tokio::test]
async fn both_sides_must_prove_themselves() {
    let Some(engine) = engine("both_sides_must_prove_themselves").await else {
        return;
    };
    if engine.endpoint() != "unix:///var/run/docker.sock" {
        println!("skipped both_sides_must_prove_themselves: the engine is not on the local socket");
        return;
    }
    let (ours, foreign) = (authority(), authority());
    let (certificate, key) = signed(&ours, "127.0.0.1");
    let mut roots = RootCertStore::empty();
    roots.add(ours.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut near) = acceptor.accept(tcp).await {
                    let mut far = UnixStream::connect("/var/run/docker.sock").await.unwrap();
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                }
            });
        }
    });

    let (client, client_key) = signed(&ours, "client");
    let good = client_folder(&ours, &client, &client_key);
    let over_tls = Engine::connect(&config(&address, good.path()))
        .await
        .unwrap();
    assert!(over_tls.endpoint().starts_with("https://127.0.0.1:"));
    assert_eq!(over_tls.info().await.unwrap(), engine.info().await.unwrap());

    // An engine that another authority vouches for.
    let wary = client_folder(&foreign, &client, &client_key);
    let error = Engine::connect(&config(&address, wary.path()))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "engine-unreachable");
    assert!(error.to_string().contains("certificate"), "{error}");
    // A client that nobody vouches for.
    let (stranger, stranger_key) = signed(&foreign, "client");
    let unknown = client_folder(&ours, &stranger, &stranger_key);
    let error = Engine::connect(&config(&address, unknown.path()))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "engine-unreachable");
    // No authority at all: the file is named, nothing is connected to.
    std::fs::remove_file(good.path().join("ca.pem")).unwrap();
    let error = Engine::connect(&config(&address, good.path()))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "engine-config");
    assert!(error.to_string().contains("ca.pem"), "{error}");
    serving.abort();
}
