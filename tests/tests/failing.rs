//! PMM 3 fails in each way it is known to fail in; each time PMM 2 runs again as it was, and the tool says what happened.

use ferry_tests::Result;
use ferry_tests::ferryctl::{Ferryctl, Finished};
use ferry_tests::server::{Fault, Options, TestServer};
use ferry_tests::witness::{self, Seen};

const TO: &str = "ferry-test/pmm-server:3.8.1";
/// What a server gets that becomes ready, in seconds: more than any machine takes.
const PATIENCE: u32 = 180;

/// Migrates a server whose PMM 3 has this fault and so many seconds to be ready, and proves that all is as it was.
fn rolled_back(fault: Fault, ready_seconds: u32) -> Result<Finished> {
    rolled_back_by(&[], fault, ready_seconds)
}

/// The same with these words more.
fn rolled_back_by(words: &[&str], fault: Fault, ready_seconds: u32) -> Result<Finished> {
    let server = TestServer::used(Options {
        fault: Some(fault),
        ..Options::default()
    })?;
    let tree = server.snapshot_between()?;
    let seen = Seen::of(&server)?;
    let was = server.inspect()?;

    let tool = Ferryctl::new()?;
    let (address, seconds) = (server.address(), ready_seconds.to_string());
    let migrate = ["migrate", &address, "--to", TO, "--yes"];
    let patience = ["--ready-timeout", &seconds, "--compare-timeout", "8"];
    let failed = tool.run(&[&migrate[..], &patience, words].concat())?;
    assert_eq!(failed.code, 1, "{}", failed.shown());

    // The same container, under its name, with its settings, and it runs.
    let is = server.inspect()?;
    for part in ["Id", "Name", "Image", "HostConfig", "Config", "Mounts"] {
        assert_eq!(is[part], was[part], "{part}");
    }
    assert_eq!(is["State"]["Running"], true);
    server.wait_ready()?;
    assert_eq!(witness::version(&server)?, "2.44.1");
    assert_eq!(seen.lost(&Seen::of(&server)?), [""; 0]);
    assert_eq!(server.unclean()?, [""; 0]);
    assert_eq!(witness::beside(&server.name)?, [""; 0]);
    server.stop(60)?;
    assert_eq!(
        witness::not_as_before(&tree, &server.tree_snapshot()?, 2),
        [""; 0]
    );
    let runs = tool.run(&["runs", "--output", "json"])?.json()?;
    assert_eq!(runs[0]["state"], "rolled-back", "{runs:?}");
    Ok(failed)
}

fn assert_says(finished: &Finished, words: &[&str]) {
    let said = finished.shown();
    for word in words {
        assert!(said.contains(word), "no `{word}` in\n{said}");
    }
}

#[test]
#[ignore = "as one that exits in a loop, which is in every run"]
fn it_does_not_start() -> Result<()> {
    assert_says(&rolled_back(Fault::Exit, 30)?, &["FATAL"]);
    Ok(())
}

#[test]
fn it_exits_in_a_loop() -> Result<()> {
    assert_says(&rolled_back(Fault::Loop, 30)?, &["exit"]);
    Ok(())
}

#[test]
#[ignore = "as one with half the inventory, which is in every run"]
fn it_is_ready_but_empty() -> Result<()> {
    assert_says(&rolled_back(Fault::Empty, PATIENCE)?, &["services"]);
    Ok(())
}

#[test]
fn it_is_ready_with_half_the_inventory() -> Result<()> {
    assert_says(&rolled_back(Fault::Half, PATIENCE)?, &["services"]);
    Ok(())
}

#[test]
fn it_stays_on_its_maintenance_page() -> Result<()> {
    assert_says(&rolled_back(Fault::Maintenance, 12)?, &["ready"]);
    Ok(())
}

#[test]
fn it_is_ready_and_scrapes_nothing() -> Result<()> {
    assert_says(&rolled_back(Fault::NoUp, PATIENCE)?, &["targets up in job"]);
    Ok(())
}

#[test]
fn it_does_not_start_with_a_new_cluster() -> Result<()> {
    let recipe = ["--recipe", "pmm-dump-restore"];
    assert_says(&rolled_back_by(&recipe, Fault::Exit, 30)?, &["FATAL"]);
    Ok(())
}
