//! API keys: those of every organisation, and one of the operator's own, which is tried on both servers and told nowhere.

use std::path::Path;

use ferry_tests::ferryctl::{Ferryctl, Finished};
use ferry_tests::server::{Options, TestServer, seeded_key};
use ferry_tests::witness::Untouched;
use ferry_tests::{Result, docker};

const TO: &str = "ferry-test/pmm-server:3.8.1";

fn key_file(folder: &Path, content: &str) -> Result<String> {
    let path = folder.join("key");
    fs_err::write(&path, content)?;
    Ok(path.to_string_lossy().into_owned())
}

/// Files below a folder that hold the text.
fn holders(folder: &Path, text: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            found.extend(holders(&path, text)?);
        } else if entry.file_type()?.is_file() {
            let bytes = fs_err::read(&path)?;
            if bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes())
            {
                found.push(path.display().to_string());
            }
        }
    }
    Ok(found)
}

fn status_of(server: &TestServer, key: &str) -> Result<String> {
    let header = format!("Authorization: Bearer {key}");
    let url = "http://127.0.0.1:8080/v1/server/version";
    let words = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"];
    server.exec(&[&words[..], &["-H", &header, url]].concat())
}

/// What was said, wherever its lines were broken.
fn words(finished: &Finished) -> String {
    let words: Vec<&str> = finished.stdout.split_whitespace().collect();
    words.join(" ")
}

#[test]
fn the_operators_key_opens_both_servers_and_is_told_nowhere() -> Result<()> {
    let server = TestServer::used(Options::default())?;
    let folder = tempfile::tempdir()?;
    let key = seeded_key(2, "second");
    let file = key_file(folder.path(), &format!("{key}\n"))?;
    let tool = Ferryctl::new()?.env("FERRY_LOG", "trace");
    let migrate = ["migrate", &server.address(), "--to", TO, "--yes", "-vv"];
    let done = tool.run(&[&migrate[..], &["--api-key-file", &file]].concat())?;
    assert_eq!(done.code, 0, "{}", done.shown());
    assert!(
        words(&done).contains("your API key opens it"),
        "{}",
        done.stdout
    );
    assert!(
        done.stderr.lines().count() > 50,
        "the log is there to be searched"
    );

    // Each organisation's keys are tokens of accounts with the key's own role.
    let left = "SELECT count(*) FROM api_key k LEFT JOIN org_user u ON u.user_id = k.service_account_id \
                AND u.org_id = k.org_id WHERE u.role IS DISTINCT FROM k.role";
    assert_eq!(server.psql("grafana", left)?, "0");
    assert_eq!(status_of(&server, &key)?, "200");

    let run = tool.only_run()?;
    let logs = docker(&["logs", &server.name])?;
    for (what, text) in [
        ("stdout", &done.stdout),
        ("stderr", &done.stderr),
        ("logs", &logs),
    ] {
        assert!(!text.contains(&key), "{what} has the key");
    }
    let backup = format!("{}-data-ferry-{run}", server.name);
    let backup = docker(&["volume", "inspect", "--format", "{{.Mountpoint}}", &backup])?;
    let kept = Path::new(&backup).join("run");
    for place in [tool.state(), &server.mountpoint()?.join(".ferry"), &kept] {
        assert_eq!(holders(place, &key)?, [""; 0]);
    }
    // The search finds what is there: that a key was tried, for one.
    assert!(!holders(tool.state(), "your API key opens it")?.is_empty());
    Ok(())
}

#[test]
fn a_key_that_opens_nothing_stops_the_crossing_before_it_begins() -> Result<()> {
    let server = TestServer::used(Options::default())?;
    let folder = tempfile::tempdir()?;
    let tool = Ferryctl::new()?;
    let before = Untouched::before(&server)?;
    let migrate = |content: &str| -> Result<Finished> {
        let file = key_file(folder.path(), content)?;
        let words = ["migrate", &server.address(), "--to", TO, "--yes"];
        tool.run(&[&words[..], &["--api-key-file", &file]].concat())
    };
    let refused = migrate(&seeded_key(1, "expired"))?;
    assert_eq!(refused.code, 3, "{}", refused.shown());
    let said = words(&refused);
    assert!(
        said.contains("blocker api-key-refused "),
        "{}",
        refused.shown()
    );
    assert!(
        said.contains("the server refuses it with status 401"),
        "{}",
        refused.shown()
    );
    let odd = migrate("not a key")?;
    assert_eq!(odd.code, 1, "{}", odd.shown());
    assert!(odd.stderr.contains("holds no API key") && !odd.stderr.contains("not a key"));
    assert_eq!(
        before.changes(&server, Some(&server.mountpoint()?))?,
        [""; 0]
    );

    let shown = tool.run(&["check", &server.address(), "--to", TO, "--show", "keys"])?;
    assert_eq!(shown.code, 0, "{}", shown.shown());
    for line in [
        "  second      organisation 2 (Second Org.), Admin, never expires",
        "  ci          organisation 1 (Main Org.), Editor, never expires",
        "  expired     organisation 1 (Main Org.), Admin, expired 2020-09-13 12:26:40 UTC",
    ] {
        assert!(
            shown.stdout.lines().any(|it| it == line),
            "{}",
            shown.shown()
        );
    }
    Ok(())
}
