//! A server with much the matter with it is told all of it by one `check`, as a program reads it: what agents observe, and what the checks
//! look for in it, must be the same words.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use ferry_tests::ferryctl::Ferryctl;
use ferry_tests::server::{Data, Fault, Options, TestServer};
use ferry_tests::{Result, docker, images};

const TO: &str = "ferry-test/pmm-server:3.8.1";

/// What is the matter, by the codes that must say so, with a word of the sentence.
const EXPECTED: [(&str, &str, &str); 11] = [
    ("BLOCKER", "certificates-unreadable", "own.key"),
    ("BLOCKER", "certificates-unreadable", "closed.key"),
    ("BLOCKER", "external-clickhouse", "CLICKHOUSE_ADDR"),
    ("BLOCKER", "clickhouse-schema-dirty", ""),
    ("BLOCKER", "role-custom-password", "grafana"),
    ("BLOCKER", "postgres-local-not-trusted", ""),
    ("BLOCKER", "data-shared", "-twin"),
    ("BLOCKER", "env-invalid", "PMM_ENABLE_UPDATES"),
    ("WARNING", "logins-sso-only", "no administrator"),
    ("WARNING", "custom-rule-files", "own.yml"),
    ("WARNING", "mount-below", "/srv/extra"),
];

#[test]
fn a_server_with_much_the_matter_is_told_all_of_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (extra, key) = (folder.path().join("extra"), folder.path().join("own.key"));
    fs_err::create_dir(&extra)?;
    fs_err::write(&key, "a key")?;
    fs_err::set_permissions(&key, PermissionsExt::from_mode(0o600))?;
    let mount = |from: &std::path::Path, to: &str| {
        ["--volume".to_owned(), format!("{}:{to}", from.display())]
    };
    let mounts = [
        mount(&extra, "/srv/extra"),
        mount(&key, "/srv/nginx/own.key"),
    ];
    let server = TestServer::used(Options {
        data: Data::Folder,
        fault: Some(Fault::ClickhouseDirty),
        env: [
            ("PERCONA_TEST_PMM_CLICKHOUSE_ADDR", "ch.example.com:9000"),
            // PMM 2 does not know the name.
            ("PMM_ENABLE_UPDATES", "perhaps"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .to_vec(),
        docker: mounts.concat(),
        ..Options::default()
    })?;
    server.exec(&[
        "sh",
        "-ec",
        "touch /srv/nginx/closed.key; chmod 000 /srv/nginx/closed.key; \
         printf 'groups:\\n- name: own\\n  rules:\\n  - alert: Down\\n' > /srv/prometheus/rules/own.yml; \
         sed -i 's/trust$/md5/' /srv/postgres14/pg_hba.conf",
    ])?;
    // PostgreSQL has not read the file again, so that it can be asked still.
    let own = format!("ALTER ROLE grafana PASSWORD 'md5{}'", "0".repeat(32));
    server.psql("postgres", &own)?;
    server.psql("grafana", "UPDATE \"user\" SET password = ''")?;
    let source = server.data_mount()?["Source"].clone();
    let logs = format!("{}/logs:/logs", source.as_str().unwrap_or_default());
    let twin = format!("{}-twin", server.name);
    let words = ["run", "--detach", "--name", &twin, "--volume", &logs];
    let program = ["--entrypoint", "sleep", &images::ensure()?.pmm2, "600"];
    docker(&[&words[..], &program].concat())?;

    let tool = Ferryctl::new()?;
    let address = server.address();
    let check = tool.run(&["check", &address, "--to", TO, "--output", "json"])?;
    assert_eq!(check.code, 3, "{}", check.shown());
    let told = check.json()?;
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for finding in told[0]["findings"].as_array().into_iter().flatten() {
        let word = |field: &str| finding[field].as_str().unwrap_or_default().to_owned();
        let severity = word("severity").replace("SEVERITY_", "");
        if severity == "BLOCKER" {
            assert_ne!(word("hint"), "", "{finding}");
        }
        let text = found
            .entry(format!("{severity} {}", word("code")))
            .or_default();
        text.push_str(&word("text"));
    }
    for (severity, code, word) in EXPECTED {
        let text = found.get(&format!("{severity} {code}"));
        assert!(
            text.is_some_and(|text| text.contains(word)),
            "{code}: {found:#?}"
        );
    }
    // A folder that may be written to is not told for one that may not, though the agent that looks sees it so.
    assert!(
        !found.keys().any(|it| it.contains("mount-below-read-only")),
        "{found:#?}"
    );
    Ok(())
}
