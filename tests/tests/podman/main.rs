//! Servers of root's Podman and of an ordinary user's: there, back, and back by itself; and nobody starts the old one in between.

mod units;

use ferry_tests::Result;
use ferry_tests::ferryctl::{Ferryctl, Finished};
use ferry_tests::podman::{self, PrivatePodman};
use ferry_tests::server::{Data, Fault, Options, TestServer};
use ferry_tests::witness::{self, Seen};

/// Podman calls what it was given so.
const FROM: &str = "localhost/ferry-test/pmm-server:2.44.1";
const TO: &str = "localhost/ferry-test/pmm-server:3.8.1";
/// What a container has in which the user is 1000, as PMM 3's unit has it. PMM 2 runs as root in it, because it can as nobody else.
const KEPT: [&str; 4] = ["--userns", "keep-id:uid=1000,gid=1000", "--user", "0:0"];

fn from() -> Options {
    Options {
        reference: Some(FROM.to_owned()),
        ..Options::default()
    }
}

/// A server as an ordinary user starts it.
fn of_user(words: &[&str]) -> Options {
    Options {
        by_podman: true,
        docker: words.iter().map(|&word| word.to_owned()).collect(),
        ..from()
    }
}

fn tool(podman: &PrivatePodman) -> Result<Ferryctl> {
    let tool = Ferryctl::new()?.called_by(podman)?.without("DOCKER_HOST");
    Ok(match podman.user() {
        // It is found where the user's own client finds it.
        Some(_) => tool,
        None => tool.env("CONTAINER_HOST", podman.address()),
    })
}

fn migrate(tool: &Ferryctl, server: &TestServer, more: &[&str]) -> Result<Finished> {
    let address = format!("podman:{}", server.name);
    let words = ["migrate", &address, "--to", TO, "--yes"];
    tool.run(&[&words[..], more].concat())
}

/// Over, with all that was there and in the hands of `owner` as the host sees it, and back to the same bytes.
fn there_and_back(podman: &PrivatePodman, options: Options, owner: (u32, u32)) -> Result<()> {
    let _there = podman.enter();
    let server = TestServer::used(options)?;
    let tree = server.snapshot_between()?;
    let (before, was) = (Seen::of(&server)?, server.inspect()?);
    let tool = tool(podman)?;
    let done = migrate(&tool, &server, &[])?;
    assert_eq!(done.code, 0, "{}", done.shown());
    assert_eq!(witness::version(&server)?, "3.8.1");
    assert_eq!(before.lost(&Seen::of(&server)?), [""; 0]);
    let now = server.inspect()?;
    for setting in ["UsernsMode", "IDMappings", "NetworkMode"] {
        assert_eq!(
            now["HostConfig"][setting], was["HostConfig"][setting],
            "{setting}"
        );
    }
    assert_eq!(witness::strangers(&server.mountpoint()?, owner)?, [""; 0]);

    let run = tool.only_run()?;
    let old = server.named(&format!("{}-2.44.1-{run}", server.name));
    let started = ferry_tests::docker(&["start", &old.name]);
    assert!(started.is_err(), "somebody could start the old server");
    assert_eq!(old.inspect()?["Id"], was["Id"]);
    let verified = tool.run(&["backup", "--engine", "podman", "verify", &run])?;
    assert_eq!(verified.code, 0, "{}", verified.shown());

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

/// PMM 3 does not start, and all is as it was without anybody's doing.
fn back_by_itself(podman: &PrivatePodman, options: Options) -> Result<()> {
    let _there = podman.enter();
    let server = TestServer::used(Options {
        fault: Some(Fault::Exit),
        ..options
    })?;
    let tree = server.snapshot_between()?;
    let (before, was) = (Seen::of(&server)?, server.inspect()?);
    let beside = witness::beside(&server.name)?;
    let tool = tool(podman)?;
    let failed = migrate(&tool, &server, &["--ready-timeout", "60"])?;
    assert_eq!(failed.code, 1, "{}", failed.shown());
    assert!(failed.shown().contains("FATAL"), "{}", failed.shown());
    server.wait_ready()?;
    let is = server.inspect()?;
    for part in ["Id", "Name", "Image", "HostConfig", "Config", "Mounts"] {
        assert_eq!(is[part], was[part], "{part}");
    }
    assert_eq!(before.lost(&Seen::of(&server)?), [""; 0]);
    assert_eq!(server.unclean()?, [""; 0]);
    assert_eq!(witness::beside(&server.name)?, beside);
    server.stop(60)?;
    let now = server.tree_snapshot()?;
    assert_eq!(witness::not_as_before(&tree, &now, 2), [""; 0]);
    Ok(())
}

#[test]
#[ignore = "needs the packages podman, runc and containernetworking-plugins, and a kernel that lets them work"]
fn a_named_volume_there_and_back() -> Result<()> {
    there_and_back(&PrivatePodman::start()?, from(), (1000, 0))
}

#[test]
#[ignore = "needs the packages podman, runc, uidmap and slirp4netns, and a kernel that lets them work"]
fn an_ordinary_users_server_there_and_back() -> Result<()> {
    // The container's root is the user.
    let owner = (podman::FIRST + 999, podman::UID);
    there_and_back(&PrivatePodman::start_rootless()?, of_user(&[]), owner)
}

#[test]
#[ignore = "needs the packages podman, runc, uidmap and slirp4netns, and a kernel that lets them work"]
fn a_server_that_keeps_the_users_id_there_and_back() -> Result<()> {
    // The container's 1000 is the user, and its root the first of the others.
    let owner = (podman::UID, podman::FIRST);
    there_and_back(&PrivatePodman::start_rootless()?, of_user(&KEPT), owner)
}

#[test]
#[ignore = "needs the packages podman, runc, uidmap and slirp4netns, and a kernel that lets them work"]
fn an_ordinary_users_server_goes_back_by_itself() -> Result<()> {
    back_by_itself(&PrivatePodman::start_rootless()?, of_user(&[]))
}

#[test]
#[ignore = "needs the packages podman, runc, uidmap and slirp4netns, and a kernel that lets them work"]
fn a_server_that_keeps_the_users_id_goes_back_by_itself() -> Result<()> {
    // The unit starts such a server anew, as documented. Podman 4.3.1 itself does not in this namespace: it waits for a network that never
    // comes, with the container locked (docs/podman.md).
    let options = Options {
        restart: "no".to_owned(),
        ..of_user(&KEPT)
    };
    back_by_itself(&PrivatePodman::start_rootless()?, options)
}

#[test]
#[ignore = "needs the packages podman, runc and containernetworking-plugins, and a kernel that lets them work"]
fn roots_server_goes_back_by_itself() -> Result<()> {
    back_by_itself(&PrivatePodman::start()?, from())
}

#[test]
#[ignore = "needs the packages podman, runc and containernetworking-plugins, and a kernel that lets them work"]
fn each_other_way_of_roots_there_and_back() -> Result<()> {
    let podman = PrivatePodman::start()?;
    for data in [Data::Anonymous, Data::Container, Data::Folder] {
        let options = Options { data, ..from() };
        there_and_back(&podman, options, (1000, 0))?;
    }
    Ok(())
}

#[test]
#[ignore = "needs the packages podman, runc and containernetworking-plugins, and a kernel that lets them work"]
fn each_other_way_of_roots_goes_back_by_itself() -> Result<()> {
    let podman = PrivatePodman::start()?;
    for data in [Data::Anonymous, Data::Container, Data::Folder] {
        back_by_itself(&podman, Options { data, ..from() })?;
    }
    Ok(())
}
