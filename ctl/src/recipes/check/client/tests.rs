use ferry_proto::v1::Severity;

use super::{cases::facts, *};

#[test]
fn each_kind_of_bad_client_gets_its_finding() {
    assert_eq!(client_findings(&facts(), None), []);
    for other in [cases::from_tarball, cases::from_rpm] {
        let mut facts = facts();
        other(&mut facts);
        assert_eq!(client_findings(&facts, None), []);
    }
    for (code, severity, spoil) in cases::CASES {
        let mut facts = facts();
        spoil(&mut facts);
        let found = client_findings(&facts, None);
        let hit = |it: &Finding| it.code == *code && it.severity() == *severity;
        assert!(found.iter().any(hit), "{code} is missing in {found:#?}");
        let blocked = crate::recipes::has_blocker(&found);
        assert_eq!(blocked, *severity == Severity::Blocker, "{found:#?}");
    }
}

#[test]
fn the_newest_that_the_server_knows_is_meant() {
    let target = |to: Option<&str>| client_target(&facts(), to).map(|it| it.package);
    assert_eq!(target(None).as_deref(), Some("3.8.1-7.bookworm"));
    assert_eq!(target(Some("3.8.0")).as_deref(), Some("3.8.0-7.bookworm"));
    assert_eq!(
        target(Some("3.9.0-7.bookworm")).as_deref(),
        Some("3.9.0-7.bookworm")
    );
    assert_eq!(target(Some("3.7.0")), None);
}

#[test]
fn a_client_is_never_newer_than_its_server() {
    for (server, to) in [
        ("3.8.1", "3.9.0"),
        ("3.8.1", "3.10.0"),
        ("2.44.1", "3.8.1"),
        ("", "3.8.1"),
    ] {
        let mut facts = facts();
        facts.server.as_mut().unwrap().version = server.into();
        let found = client_findings(&facts, Some(to));
        let first = found.iter().any(|it| it.code == "client-server-first");
        assert!(first, "{to} at {server}: {found:?}");
    }
    assert_eq!(client_findings(&facts(), Some("3.8.1")), []);
    // Backwards is no upgrade.
    let found = client_findings(&facts(), Some("2.40.0"));
    assert!(
        found.iter().any(|it| it.code == "client-package-missing"),
        "{found:?}"
    );
}

#[test]
fn what_is_to_be_done_is_said_in_the_words_of_the_hosts_own_package_manager() {
    let mut facts = facts();
    cases::from_rpm(&mut facts);
    let host = facts.client_host.as_mut().unwrap();
    host.available.clear();
    host.way_back.clear();
    let found = client_findings(&facts, None);
    assert_eq!(found.len(), 2, "{found:?}");
    for finding in found {
        let said = format!("{} {}", finding.text, finding.hint);
        assert!(said.contains("dnf") && !said.contains("apt"), "{said}");
    }
}
