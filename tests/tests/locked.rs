//! One run on a server at a time, whoever asks, and also when the one that drove it has crashed.

mod filters;

use std::time::Duration;

use ferry_tests::Result;
use ferry_tests::ferryctl::Ferryctl;
use ferry_tests::kill::{Tool, is};
use ferry_tests::server::{Fault, Options, TestServer};
use ferry_tests::witness::{self, Seen};
use filters::assert_said;

const TO: &str = "ferry-test/pmm-server:3.8.1";

#[test]
fn a_second_run_is_refused_also_after_a_crash_and_the_first_can_be_taken_back() -> Result<()> {
    let server = TestServer::used(Options {
        // Time to look while the services stop.
        fault: Some(Fault::SlowStop),
        ..Options::default()
    })?;
    let seen = Seen::of(&server)?;
    let tool = Ferryctl::new()?;
    let words = ["migrate", &server.address(), "--to", TO, "--yes"];
    let first = tool.spawn(&words)?;
    server.wait_until("the stop of nginx", 120, || {
        server
            .program("nginx")
            .is_ok_and(|state| state == "STOPPED")
    })?;
    let run = tool.only_run()?;

    let second = tool.run(&words)?;
    assert_eq!(second.code, 5, "{}", second.shown());
    assert_said("second-run", &second, Some(&server.name));
    // Somebody with other journals sees it by the server itself.
    let stranger = tool.stranger()?.run(&words)?;
    assert!([3, 5].contains(&stranger.code), "{}", stranger.shown());
    assert!(stranger.shown().contains(&run), "{}", stranger.shown());

    let crashed = first.kill()?;
    assert_eq!(crashed.code, -1, "{}", crashed.shown());
    let third = tool.run(&words)?;
    assert_eq!(third.code, 5, "{}", third.shown());
    assert!(
        third.stderr.contains(&format!("ferryctl resume {run}")),
        "{}",
        third.shown()
    );

    std::thread::sleep(Duration::from_millis(300));
    let back = tool.run(&["rollback", &run, "--yes"])?;
    assert_eq!(back.code, 0, "{}", back.shown());
    server.wait_ready()?;
    assert_eq!(witness::version(&server)?, "2.44.1");
    assert_eq!(seen.lost(&Seen::of(&server)?), [""; 0]);
    assert_eq!(witness::beside(&server.name)?, [""; 0]);
    assert_eq!(server.unclean()?, [""; 0]);
    Ok(())
}

/// The run's name is the plan's, whoever applies it.
#[test]
fn a_plan_that_another_journal_has_applied_is_left_to_it() -> Result<()> {
    let server = TestServer::used(Options::default())?;
    let (first, second) = (Tool::new()?, Tool::new()?);
    let (folder, address) = (tempfile::tempdir()?, server.address());
    let plan = folder.path().join("plan.json");
    let plan = plan.to_string_lossy();
    let planned = first.run(&["plan", &address, "--to", TO, "--out", &plan])?;
    assert_eq!(planned.code, 0, "{planned:?}");
    let mut call = first.start(&["apply", &plan, "--yes"])?;
    let run = call.run_name()?;
    call.wait_for("the copy", is("finished", "copy-volume", false))?;
    call.kill()?;
    let refused = second.run(&["apply", &plan, "--yes"])?;
    assert_ne!(refused.code, 0, "{refused:?}");
    let told = format!("{:?}", refused.lines);
    assert!(told.contains("server-held-by-run"), "{refused:#?}");
    // Nothing of the first one's has gone with it.
    let ended = first.run(&["resume", &run])?;
    assert_eq!(ended.code, 0, "{ended:#?}");
    let back = first.run(&["rollback", &run, "--yes"])?;
    assert_eq!(back.code, 0, "{back:#?}");
    server.wait_ready()?;
    // It was taken back where the data is, and does not go forward there again.
    let refused = second.run(&["apply", &plan, "--yes"])?;
    assert_ne!(refused.code, 0, "{refused:?}");
    Ok(())
}
