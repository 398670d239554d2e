//! Servers of root's Podman: there, back, and back by itself; and nobody starts the old one in between.

use ferry_tests::Result;
use ferry_tests::ferryctl::{Ferryctl, Finished};
use ferry_tests::podman::PrivatePodman;
use ferry_tests::server::{Options, TestServer};
use ferry_tests::witness::{self, Seen};

/// Podman calls what it was given so.
const FROM: &str = "localhost/ferry-test/pmm-server:2.44.1";
const TO: &str = "localhost/ferry-test/pmm-server:3.8.1";

fn migrate(tool: &Ferryctl, server: &TestServer, more: &[&str]) -> Result<Finished> {
    let address = format!("podman:{}", server.name);
    let words = ["migrate", &address, "--to", TO, "--yes"];
    tool.run(&[&words[..], more].concat())
}

#[test]
#[ignore = "needs the packages podman, runc and containernetworking-plugins, and a kernel that lets them work"]
fn a_named_volume_there_and_back() -> Result<()> {
    let podman = PrivatePodman::start()?;
    let _there = podman.enter();
    let server = TestServer::used(Options {
        reference: Some(FROM.to_owned()),
        ..Options::default()
    })?;
    let tree = server.snapshot_between()?;
    let (before, was) = (Seen::of(&server)?, server.inspect()?);
    let tool = Ferryctl::new()?
        .env("CONTAINER_HOST", podman.address())
        .without("DOCKER_HOST");
    let done = migrate(&tool, &server, &[])?;
    assert_eq!(done.code, 0, "{}", done.shown());
    assert_eq!(witness::version(&server)?, "3.8.1");
    assert_eq!(before.lost(&Seen::of(&server)?), [""; 0]);

    let run = tool.only_run()?;
    let old = server.named(&format!("{}-2.44.1-{run}", server.name));
    let started = ferry_tests::docker(&["start", &old.name]);
    assert!(started.is_err(), "somebody could start the old server");
    assert_eq!(old.inspect()?["Id"], was["Id"]);

    let back = tool.run(&["rollback", &run, "--yes"])?;
    assert_eq!(back.code, 0, "{}", back.shown());
    server.wait_ready()?;
    assert_eq!(server.inspect()?["Id"], was["Id"]);
    assert_eq!(witness::version(&server)?, "2.44.1");
    assert_eq!(before.lost(&Seen::of(&server)?), [""; 0]);
    server.stop(60)?;
    let now = server.tree_snapshot()?;
    assert_eq!(witness::not_as_before(&tree, &now, 2), [""; 0]);
    Ok(())
}
