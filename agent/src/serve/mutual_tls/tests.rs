//! Callers with certificates of all sorts, at a listener of its own on loopback.

use std::net::{Ipv4Addr, SocketAddr};

use ferry_proto::v1::{
    GetInfoRequest, ListStepsRequest, RunStepRequest, Step,
    agent_service_client::AgentServiceClient,
};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tonic::{Code, Status, transport::Channel};

use super::*;
use crate::{ledger::Ledger, runner::Runner, surroundings};

const AGENT: &str = "db7.example.com";
const POLICY: &str = r#"{"format": 1, "operators": ["night.example.com"], "viewers": ["desk.example.com"],
    "readers": ["new.example.com"]}"#;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// A folder as somebody is given it.
    fn issue(&self, name: &str) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        for (file, text) in [
            ("ca.pem", self.0.pem()),
            ("cert.pem", certificate.pem()),
            ("key.pem", key.serialize_pem()),
        ] {
            fs_err::write(folder.path().join(file), text).unwrap();
        }
        let owner_only = std::fs::Permissions::from_mode(0o600);
        fs_err::set_permissions(folder.path().join("key.pem"), owner_only).unwrap();
        folder
    }
}

/// An agent that listens as long as this lives.
struct Listening {
    authority: Authority,
    files: TempDir,
    address: SocketAddr,
    _state: TempDir,
}

impl Listening {
    async fn start() -> Self {
        Self::start_as(AGENT, |state| {
            surroundings::Surroundings::Volume(surroundings::Volume {
                data: state.to_owned(),
                backup: state.to_owned(),
                live: None,
            })
        })
        .await
    }

    async fn start_as(name: &str, around: fn(&Path) -> surroundings::Surroundings) -> Self {
        let authority = Authority::new();
        let files = authority.issue(name);
        let state = tempfile::tempdir().unwrap();
        let policy_file = state.path().join("policy.json");
        fs_err::write(&policy_file, POLICY).unwrap();
        let policy = Policy::read(&policy_file).unwrap();
        let around = around(state.path());
        let runner = Runner::new(Arc::new(around), Ledger::at(state.path(), ".ferry"));
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let at = Files::in_folder(files.path());
        let (address, connections) = tls_connections(any, at, policy).await.unwrap();
        tokio::spawn(super::super::serve(
            runner,
            connections,
            std::future::pending(),
        ));
        Self {
            authority,
            files,
            address,
            _state: state,
        }
    }

    /// A caller with what is in this folder; without a certificate when it is to show none.
    async fn call(
        &self,
        folder: &TempDir,
        shows: bool,
    ) -> Result<Channel, tonic::transport::Error> {
        self.call_by(AGENT, folder, shows).await
    }

    /// The same, of an agent with another name.
    async fn call_by(
        &self,
        agent: &'static str,
        folder: &TempDir,
        shows: bool,
    ) -> Result<Channel, tonic::transport::Error> {
        let files = Files::in_folder(folder.path());
        let mut roots = RootCertStore::empty();
        // Whoever it calls itself, it knows this agent.
        let here = Files::in_folder(self.files.path());
        for authority in here.certificates("ca.pem", "the authority").unwrap() {
            roots.add(authority).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = if shows {
            let chain = files.certificates("cert.pem", "the certificate").unwrap();
            builder
                .with_client_auth_cert(chain, files.key().unwrap())
                .unwrap()
        } else {
            builder.with_no_client_auth()
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (config, address) = (Arc::new(config), self.address);
        let dial = move |_uri| {
            let config = Arc::clone(&config);
            async move {
                let stream = TcpStream::connect(address).await?;
                let name = ServerName::try_from(agent).unwrap();
                let stream = TlsConnector::from(config).connect(name, stream).await?;
                Ok::<_, io::Error>(TokioIo::new(stream))
            }
        };
        tonic::transport::Endpoint::from_static("http://agent.invalid")
            .connect_with_connector(tower::service_fn(dial))
            .await
    }

    /// What a caller is told who looks.
    async fn look(&self, folder: &TempDir, shows: bool) -> Result<String, String> {
        let channel = self.call(folder, shows).await.map_err(|e| e.to_string())?;
        let info = AgentServiceClient::new(channel)
            .get_info(GetInfoRequest {})
            .await;
        info.map(|info| info.into_inner().version)
            .map_err(|e| e.to_string())
    }
}

async fn run(channel: Channel) -> Status {
    let request = RunStepRequest {
        run: "7f3a9c21".into(),
        step: Some(Step {
            id: "a".into(),
            ..Step::default()
        }),
        ..RunStepRequest::default()
    };
    let answer = AgentServiceClient::new(channel).run_step(request).await;
    answer.map(|_| ()).unwrap_err()
}

#[tokio::test]
async fn each_caller_does_what_its_role_may() {
    let agent = Listening::start().await;
    let night = agent.authority.issue("night.example.com");
    let channel = agent.call(&night, true).await.unwrap();
    // It gets as far as the step itself, which is none.
    assert_eq!(run(channel).await.code(), Code::InvalidArgument);

    let desk = agent.authority.issue("desk.example.com");
    let channel = agent.call(&desk, true).await.unwrap();
    let mut client = AgentServiceClient::new(channel.clone());
    let list = client.list_steps(ListStepsRequest::default());
    assert!(list.await.is_ok());
    let refused = run(channel).await;
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("viewer"), "{refused:?}");
}

#[tokio::test]
async fn nobody_else_gets_in() {
    let agent = Listening::start().await;
    let night = agent.authority.issue("night.example.com");
    assert!(agent.look(&night, true).await.is_ok());
    for (who, folder, shows) in [
        ("without a certificate", &night, false),
        (
            "of another authority",
            &Authority::new().issue("night.example.com"),
            true,
        ),
        (
            "with a name that no policy knows",
            &agent.authority.issue("day.example.com"),
            true,
        ),
        ("with the agent's own name", &agent.files, true),
    ] {
        assert!(agent.look(folder, shows).await.is_err(), "{who}");
    }
    // And the one that may still does.
    assert!(agent.look(&night, true).await.is_ok());
}

#[tokio::test]
async fn who_says_nothing_keeps_nobody_waiting() {
    let agent = Listening::start().await;
    let mut silent = Vec::new();
    for _ in 0..HANDSHAKES - 1 {
        silent.push(TcpStream::connect(agent.address).await.unwrap());
    }
    let night = agent.authority.issue("night.example.com");
    let look = tokio::time::timeout(HANDSHAKE / 2, agent.look(&night, true));
    assert!(look.await.unwrap().is_ok());
    drop(silent);
}

#[tokio::test]
async fn a_renewed_certificate_counts_from_the_next_caller_on() {
    let agent = Listening::start().await;
    let other = Authority::new();
    let night = other.issue("night.example.com");
    assert!(agent.look(&night, true).await.is_err());
    // The agent's own certificate stays; callers are of the other authority from now on.
    let both = agent.authority.0.pem() + &other.0.pem();
    fs_err::write(agent.files.path().join("ca.pem"), both).unwrap();
    assert!(agent.look(&night, true).await.is_ok());
}

#[tokio::test]
async fn files_of_no_use_are_told_before_anybody_calls() {
    let authority = Authority::new();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    for (file, content, told) in [
        ("ca.pem", None, "the authority"),
        ("cert.pem", Some("nonsense"), "it holds no certificate"),
        ("key.pem", None, "the private key"),
    ] {
        let folder = authority.issue(AGENT);
        let path = folder.path().join(file);
        match content {
            Some(content) => fs_err::write(&path, content).unwrap(),
            None => fs_err::remove_file(&path).unwrap(),
        }
        let files = Files::in_folder(folder.path());
        let error = tls_connections(any, files, Policy::unbounded())
            .await
            .err()
            .unwrap();
        assert!(error.to_string().contains(told), "{error}");
    }
    let folder = authority.issue(AGENT);
    let everybody = std::fs::Permissions::from_mode(0o644);
    fs_err::set_permissions(folder.path().join("key.pem"), everybody).unwrap();
    let files = Files::in_folder(folder.path());
    let error = tls_connections(any, files, Policy::unbounded())
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("`chmod 600`"), "{error}");
}

/// An agent on a server's own machine, with data that has one file.
fn appliance(state: &Path) -> surroundings::Surroundings {
    let data = state.join("srv");
    fs_err::create_dir(&data).unwrap();
    fs_err::write(data.join("pmm-distribution"), "ami").unwrap();
    surroundings::Surroundings::Container(surroundings::Container {
        root: crate::server::ServerRoot::new(state),
        data,
        engine_disk: None,
        own_program: None,
        state_apart: Some(state.to_owned()),
        at_rest: false,
        gives_data: true,
    })
}

async fn pulled(options: crate::args::Pull) -> Result<String, crate::error::StepError> {
    crate::pull::run(&options, crate::tree::CancelFlag::new()).await
}

fn options(agent: &Listening, tls: &TempDir) -> crate::args::Pull {
    crate::args::Pull {
        from: format!("https://localhost:{}", agent.address.port())
            .parse()
            .unwrap(),
        into: std::path::PathBuf::new(),
        tls: tls.path().to_owned(),
        stop: false,
        r#final: false,
        start_again: false,
        owner: None,
        map_user: Vec::new(),
        map_group: Vec::new(),
        io_limit: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_is_given_to_readers_alone() {
    let agent = Listening::start_as("localhost", appliance).await;
    let pull = async |tls: &TempDir, r#final| {
        let into = tempfile::tempdir().unwrap();
        let result = pulled(crate::args::Pull {
            into: into.path().to_owned(),
            r#final,
            ..options(&agent, tls)
        })
        .await;
        (
            result,
            fs_err::read(into.path().join("pmm-distribution")).ok(),
        )
    };
    if rustix::process::geteuid().is_root() {
        let (result, file) = pull(&agent.authority.issue("new.example.com"), false).await;
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(file.as_deref(), Some(&b"ami"[..]));
    }
    // Whoever may run steps may not read; a stranger may do nothing.
    for (name, told) in [
        ("night.example.com", "not-allowed"),
        ("desk.example.com", "not-allowed"),
        ("day.example.com", "agent-unreachable"),
    ] {
        let (result, file) = pull(&agent.authority.issue(name), false).await;
        let error = result.unwrap_err();
        let said = format!("{error} ({})", error.code());
        assert!(said.contains(told), "{name}: {said}");
        assert_eq!(file, None, "{name}");
    }
    // What is not there is removed here: a folder that somebody else uses is none to pull into.
    let used = agent.authority.issue("new.example.com");
    let into = pulled(crate::args::Pull {
        into: used.path().to_owned(),
        ..options(&agent, &used)
    });
    assert_eq!(into.await.unwrap_err().code(), "pull-folder");
    assert!(used.path().join("key.pem").exists());
    // Nobody says that the programs have stopped: there is no supervisor to ask.
    let (result, file) = pull(&agent.authority.issue("new.example.com"), true).await;
    assert_eq!((result.unwrap_err().code(), file), ("pull-source", None));
    // And whoever reads may do nothing else.
    let reader = agent.authority.issue("new.example.com");
    let channel = agent.call_by("localhost", &reader, true).await.unwrap();
    assert_eq!(run(channel).await.code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_not_started_for_it_gives_nothing() {
    let agent = Listening::start_as("localhost", |state| {
        let mut around = appliance(state);
        if let surroundings::Surroundings::Container(container) = &mut around {
            container.gives_data = false;
        }
        around
    })
    .await;
    let reader = agent.authority.issue("new.example.com");
    let into = tempfile::tempdir().unwrap();
    let pull = pulled(crate::args::Pull {
        into: into.path().to_owned(),
        ..options(&agent, &reader)
    });
    let error = pull.await.unwrap_err().to_string();
    assert!(error.contains("wrong-agent"), "{error}");
}
