use super::*;

fn tls() -> TlsFiles {
    TlsFiles::in_folder(Path::new("/certs"))
}

fn folder_with_context(name: &str, meta: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let meta_folder = folder
        .path()
        .join("contexts/meta")
        .join(sha256_hex(name.as_bytes()));
    fs_err::create_dir_all(&meta_folder).unwrap();
    fs_err::write(meta_folder.join("meta.json"), meta).unwrap();
    folder
}

#[test]
fn forms_of_addresses() {
    let show = |address: &str, tls| {
        Endpoint::parse(address, tls)
            .map(|e| e.to_string())
            .map_err(|e| e.to_string())
    };
    assert_eq!(
        show("unix:///run/d.sock", None).unwrap(),
        "unix:///run/d.sock"
    );
    assert_eq!(
        show("unix://", None).unwrap(),
        "unix:///var/run/docker.sock"
    );
    assert_eq!(show("tcp://h:1", None).unwrap(), "tcp://h:1");
    assert_eq!(show("tcp://h", None).unwrap(), "tcp://h:2375");
    assert_eq!(show("tcp://h", Some(tls())).unwrap(), "https://h:2376");
    assert_eq!(show("tcp://[::1]:9", None).unwrap(), "tcp://[::1]:9");
    assert_eq!(show("ssh://u@h:22", None).unwrap(), "ssh://u@h:22");
    assert_eq!(show("ssh://h", None).unwrap(), "ssh://h");
    for bad in [
        "/run/d.sock",
        "tcp://h:x",
        "tcp://h:1/p",
        "ssh://-oProxyCommand=x",
        "ssh://-a@h",
        "ssh://u:p@h",
        "ssh://",
        "npipe:////./pipe/x",
        "https://h",
        "gopher://h",
        "tcp://u@h:1",
    ] {
        let error = show(bad, None).unwrap_err();
        assert!(error.contains(bad), "{error}");
    }
}

#[test]
fn docker_host_wins_over_contexts() {
    let config = EndpointConfig {
        docker_context: Some("nowhere".into()),
        ..EndpointConfig::host("unix:///x")
    };
    assert_eq!(
        config.resolve().unwrap(),
        Endpoint::Unix { path: "/x".into() }
    );
}

#[test]
fn tls_comes_from_the_verify_variable_only() {
    let mut config = EndpointConfig::host("tcp://h:2376");
    config.docker_cert_path = Some("/certs".into());
    assert!(matches!(
        config.resolve().unwrap(),
        Endpoint::Tcp { tls: None, .. }
    ));
    config.docker_tls_verify = Some("1".into());
    assert_eq!(
        config.resolve().unwrap(),
        Endpoint::Tcp {
            host: "h".into(),
            port: 2376,
            tls: Some(tls())
        }
    );
}

#[test]
fn empty_variables_count_as_unset() {
    let config = EndpointConfig::from_env(|_| Some(String::new()));
    assert_eq!(config, EndpointConfig::default());
    assert_eq!(
        config.resolve().unwrap().to_string(),
        "unix:///var/run/docker.sock"
    );
}

#[test]
fn a_context_is_found_by_the_hash_of_its_name() {
    let folder = folder_with_context(
        "far",
        r#"{"Name":"far","Endpoints":{"docker":{"Host":"ssh://ops@far"}}}"#,
    );
    let mut config = EndpointConfig {
        docker_config: Some(folder.path().into()),
        ..Default::default()
    };
    config.docker_context = Some("far".into());
    assert_eq!(config.resolve().unwrap().to_string(), "ssh://ops@far");

    config.docker_context = None;
    fs_err::write(
        folder.path().join("config.json"),
        r#"{"currentContext":"far","auths":{}}"#,
    )
    .unwrap();
    assert_eq!(config.resolve().unwrap().to_string(), "ssh://ops@far");

    config.docker_context = Some("default".into());
    assert_eq!(
        config.resolve().unwrap().to_string(),
        "unix:///var/run/docker.sock"
    );

    config.docker_context = Some("near".into());
    assert!(config.resolve().unwrap_err().to_string().contains("near"));
}

#[test]
fn a_context_brings_its_certificates() {
    let folder = folder_with_context(
        "t",
        r#"{"Endpoints":{"docker":{"Host":"tcp://t:2376","SkipTLSVerify":false}}}"#,
    );
    let files = folder
        .path()
        .join("contexts/tls")
        .join(sha256_hex(b"t"))
        .join("docker");
    fs_err::create_dir_all(&files).unwrap();
    let config = EndpointConfig {
        docker_config: Some(folder.path().into()),
        docker_context: Some("t".into()),
        ..Default::default()
    };
    assert_eq!(
        config.resolve().unwrap(),
        Endpoint::Tcp {
            host: "t".into(),
            port: 2376,
            tls: Some(TlsFiles::in_folder(&files))
        }
    );
}

#[test]
fn an_unverified_engine_is_refused() {
    let folder = folder_with_context(
        "t",
        r#"{"Endpoints":{"docker":{"Host":"tcp://t","SkipTLSVerify":true}}}"#,
    );
    let config = EndpointConfig {
        docker_config: Some(folder.path().into()),
        docker_context: Some("t".into()),
        ..Default::default()
    };
    assert!(
        config
            .resolve()
            .unwrap_err()
            .to_string()
            .contains("skips the verification")
    );
}

#[test]
fn a_broken_configuration_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("config.json"), "{").unwrap();
    let config = EndpointConfig {
        docker_config: Some(folder.path().into()),
        ..Default::default()
    };
    assert!(
        config
            .resolve()
            .unwrap_err()
            .to_string()
            .contains("config.json")
    );
}

#[test]
fn sha256_is_what_the_client_uses() {
    assert_eq!(
        sha256_hex(b"default"),
        "37a8eec1ce19687d132fe29051dca629d164e2c4958ba141d5f4133a33f0688f"
    );
}
