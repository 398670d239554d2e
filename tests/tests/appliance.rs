//! A PMM 2 without a container (AMI, virtual appliance): its data is pulled to a new machine, agent to agent, becomes a PMM 2 in a container
//! there, and crosses. The old machine's data is changed in nothing, and it serves again when it is asked to.
#![allow(
    clippy::disallowed_methods,
    reason = "`chattr` is what an operator types; nothing here is shipped"
)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ferry_tests::Result;
use ferry_tests::appliance::{Appliance, begun, done, refused};
use ferry_tests::ferryctl::Ferryctl;
use ferry_tests::server::{Options, TestServer};
use ferry_tests::snapshot::{self, differences};
use ferry_tests::witness::{self, Seen};

const TO: &str = "ferry-test/pmm-server:3.8.1";

/// Files below a folder, the state folder aside.
fn files_in(folder: &Path) -> Result<usize> {
    let mut count = 0;
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() == ".ferry" {
            continue;
        }
        count += match entry.file_type()? {
            kind if kind.is_dir() => files_in(&entry.path())?,
            kind => usize::from(kind.is_file()),
        };
    }
    Ok(count)
}

/// It runs, as the version that it was, with all that it had.
fn assert_serves(server: &TestServer, seen: &Seen) -> Result<()> {
    server.wait_ready()?;
    server.wait_until("all that it had", 60, || {
        Seen::of(server).is_ok_and(|now| seen.lost(&now).is_empty())
    })?;
    assert_eq!(witness::version(server)?, "2.44.1");
    assert_eq!(server.unclean()?, [""; 0]);
    Ok(())
}

#[test]
fn it_moves_into_a_container_crosses_and_the_old_one_is_as_it_was() -> Result<()> {
    let old = Appliance::start(|_| {})?;
    let (seen, srv) = (Seen::of(&old.server)?, old.server.mountpoint()?);
    let (volume, data) = old.new_volume()?;
    let live = done(old.pull(&data, &[])?)?;
    assert!(live.files > 100, "{live:?}");
    assert_eq!(old.server.program("postgresql")?, "RUNNING");

    let last = done(old.pull(&data, &["--stop"])?)?;
    assert_eq!(old.server.program("postgresql")?, "STOPPED");
    assert!(last.known > 50 && last.bytes < live.bytes, "{last:?}");
    // Seen from outside: the same to the byte, the owner, the nanosecond, the hard link.
    let there = snapshot::take(&srv)?;
    assert_eq!(differences(&there, &snapshot::take(&data)?), [""; 0]);
    assert!(!srv.join(".ferry").exists());

    let new = TestServer::start(&Options {
        volume: Some(volume),
        ..Options::default()
    })?;
    assert_serves(&new, &seen)?;
    let tool = Ferryctl::new()?;
    let check = ["check", &new.address(), "--to", TO, "--output", "json"];
    let check = tool.run(&check)?;
    assert!(
        check.stdout.contains("moved-appliance"),
        "{}",
        check.shown()
    );
    let crossed = tool.run(&["migrate", &new.address(), "--to", TO, "--yes"])?;
    assert_eq!(crossed.code, 0, "{}", crossed.shown());
    assert_eq!(witness::version(&new)?, "3.8.1");
    assert_eq!(seen.lost(&Seen::of(&new)?), [""; 0]);
    assert_eq!(witness::strangers(&data, (1000, 0))?, [""; 0]);

    // Meanwhile nobody has touched the old one.
    assert_eq!(differences(&there, &snapshot::take(&srv)?), [""; 0]);
    done(old.pull(&data, &["--start-again"])?)?;
    assert_serves(&old.server, &seen)
}

#[test]
fn who_is_killed_behind_the_stop_goes_on_and_a_failure_starts_the_old_one_again() -> Result<()> {
    let old = Appliance::start(|_| {})?;
    let seen = Seen::of(&old.server)?;
    let (_, data) = old.new_volume()?;
    let mut call = begun(old.pull(&data, &["--stop"])?)?;
    old.server.wait_until("the stop", 90, || {
        old.server.program("nginx").is_ok_and(|it| it == "STOPPED")
    })?;
    call.kill()?;
    call.wait()?;
    // The agent does not notice, and ends the step.
    old.server.wait_until("the end of the stop", 60, || {
        let database = old.server.program("postgresql");
        database.is_ok_and(|it| it == "STOPPED")
    })?;

    // Something in the folder that the old server does not have, and that cannot be removed.
    let stuck = data.join("stuck");
    fs_err::write(&stuck, "")?;
    let attribute = |word: &str| Command::new("chattr").arg(word).arg(&stuck).status();
    assert!(attribute("+i")?.success());
    let said = refused(old.pull(&data, &["--stop"])?);
    assert!(attribute("-i")?.success());
    let said = said?;
    for word in ["stuck", "serves again"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_serves(&old.server, &seen)?;

    done(old.pull(&data, &["--stop"])?)?;
    let (there, here) = (
        snapshot::take(&old.server.mountpoint()?)?,
        snapshot::take(&data)?,
    );
    assert_eq!(differences(&there, &here), [""; 0]);
    Ok(())
}

#[test]
fn a_pull_that_was_killed_does_not_begin_again() -> Result<()> {
    let old = Appliance::start(|_| {})?;
    let (_, data) = old.new_volume()?;
    let slowly = ["--io-limit", "4000000", "--map-user", "26:2600"];
    let mut call = begun(old.pull(&data, &slowly)?)?;
    old.server.wait_until("some files", 60, || {
        files_in(&data).is_ok_and(|count| count > 60)
    })?;
    call.kill()?;
    call.wait()?;
    let here = files_in(&data)?;
    let rest = done(old.pull(&data, &["--map-user", "26:2600"])?)?;
    let kept = usize::try_from(rest.known + rest.same).unwrap_or_default();
    // The one that was under way is sent again, and what the server has changed since.
    assert!(kept + 30 > here && kept > 30, "{here} were here: {rest:?}");

    let owner = |path: &str| -> Result<u32> {
        let meta = fs_err::symlink_metadata(data.join(path))?;
        Ok(std::os::unix::fs::MetadataExt::uid(&meta))
    };
    assert_eq!((owner("postgres14")?, owner("grafana")?), (2600, 998));
    Ok(())
}

#[test]
fn strangers_and_those_who_may_only_read_are_refused() -> Result<()> {
    let old = Appliance::start(|policy| {
        policy["operators"] = serde_json::json!([]);
    })?;
    let seen = Seen::of(&old.server)?;
    let (_, data) = old.new_volume()?;
    let stranger = refused(old.pull_as_stranger(&data)?)?;
    assert!(stranger.contains("agent-unreachable"), "{stranger}");
    let serves = refused(old.pull(&data, &["--final"])?)?;
    assert!(serves.contains("programs-run-again"), "{serves}");
    assert_eq!(files_in(&data)?, 0);
    // It may read, and no more.
    let stop = refused(old.pull(&data, &["--stop"])?)?;
    assert!(stop.contains("not-allowed"), "{stop}");
    assert!(files_in(&data)? > 100);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(old.server.program("nginx")?, "RUNNING");
    assert_serves(&old.server, &seen)
}
