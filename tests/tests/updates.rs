//! Updates within a major version, alone and on the way to PMM 3: each is a run with a backup, and is taken back by itself.

use ferry_tests::Result;
use ferry_tests::failing_image::FailingImage;
use ferry_tests::ferryctl::{Asking, Ferryctl};
use ferry_tests::own_images::OwnImages;
use ferry_tests::server::{Options, TestServer};
use ferry_tests::witness::{self, Seen};

const LAST_2: &str = "ferry-test/pmm-server:2.44.1";
const TO: &str = "ferry-test/pmm-server:3.8.1";

/// A PMM 2 that says of itself that it is an older one.
fn older() -> Result<TestServer> {
    let server = TestServer::used(Options {
        env: vec![("DATA_RETENTION".into(), "480h".into())],
        publish: true,
        ..Options::default()
    })?;
    let version = "echo 2.41.2 >/usr/share/percona-dashboards/VERSION";
    server.exec(&["sh", "-c", version])?;
    server.stop(60)?;
    server.restart_after_stop()?;
    server.wait_ready()?;
    assert_eq!(witness::version(&server)?, "2.41.2");
    Ok(server)
}

/// What an update leaves as it is.
fn settings(server: &TestServer) -> Result<[serde_json::Value; 3]> {
    let is = server.inspect()?;
    let host = &is["HostConfig"];
    Ok([
        host["PortBindings"].clone(),
        host["RestartPolicy"].clone(),
        is["Mounts"].clone(),
    ])
}

#[test]
fn an_older_pmm_2_goes_to_the_last_one_and_on_to_pmm_3_and_back() -> Result<()> {
    let server = older()?;
    let before = Seen::of(&server)?;
    let was = settings(&server)?;
    let tool = Ferryctl::new()?;
    let address = server.address();
    let done = tool.run(&[
        "migrate", &address, "--via", LAST_2, "--to", TO, "--yes", "--output", "json",
    ])?;
    assert_eq!(done.code, 0, "{}", done.shown());
    let lines = done.json()?;
    let ends: Vec<_> = lines.iter().filter(|it| it["kind"] == "summary").collect();
    let of = |at: usize, what: &str| ends[at][what].as_str().unwrap_or_default().to_owned();
    assert_eq!(ends.len(), 2, "{ends:?}");
    assert_eq!(
        (of(0, "state"), of(1, "state")),
        ("done".into(), "done".into())
    );
    assert_eq!(witness::version(&server)?, "3.8.1");
    assert_eq!(before.lost(&Seen::of(&server)?), [""; 0]);

    // Back by the same two steps, the last first. Who was asked before that whether the other backup may go says yes too late: by then it
    // is the one to go back to.
    let prune = tool.command(&["backup", "prune"]);
    let asking = Asking::start(&prune, "Remove 1 backup for good?")?;
    let back = tool.run(&["rollback", &of(1, "run"), "--yes"])?;
    assert_eq!(back.code, 0, "{}", back.shown());
    let pruned = asking.answer("y")?;
    assert_eq!(pruned.code, 0, "{}", pruned.shown());
    assert!(
        pruned.stdout.contains("stays: its server is not"),
        "{}",
        pruned.shown()
    );
    server.wait_ready()?;
    assert_eq!(witness::version(&server)?, "2.44.1");
    assert_eq!(settings(&server)?, was);
    let env = server.inspect()?["Config"]["Env"].to_string();
    assert!(env.contains("\"DATA_RETENTION=480h\""), "{env}");
    let back = tool.run(&["rollback", &of(0, "run"), "--yes"])?;
    assert_eq!(back.code, 0, "{}", back.shown());
    server.wait_ready()?;
    assert_eq!(witness::version(&server)?, "2.41.2");
    assert_eq!(settings(&server)?, was);
    assert_eq!(before.lost(&Seen::of(&server)?), [""; 0]);
    Ok(())
}

#[test]
fn an_old_pmm_2_goes_all_the_way_to_a_late_pmm_3_unasked() -> Result<()> {
    let mut images = OwnImages::new("way");
    images.add_as("2.41.2", "2.44.1")?;
    images.add_as("3.9.1", "3.8.1")?;
    let server = TestServer::used(Options {
        reference: Some(images.name("2.41.2")),
        ..Options::default()
    })?;
    let before = Seen::of(&server)?;
    let (tool, address, to) = (Ferryctl::new()?, server.address(), images.name("3.9.1"));
    let migrate = [
        "migrate", &address, "--to", &to, "--yes", "--output", "json",
    ];

    // What comes first is looked for before anything is stopped; and without it the server is too old.
    let missing = tool.run(&migrate)?;
    assert_eq!(missing.code, 3, "{}", missing.shown());
    for version in ["2.44.1", "3.8.1"] {
        let name = format!("`{}`, which comes first", images.name(version));
        assert!(missing.shown().contains(&name), "{}", missing.shown());
    }
    let direct = tool.run(&[&migrate[..], &["--direct"]].concat())?;
    assert_eq!(direct.code, 3, "{}", direct.shown());
    assert!(
        direct.shown().contains("version-too-old"),
        "{}",
        direct.shown()
    );
    assert_eq!(witness::version(&server)?, "2.41.2");

    images.add("2.44.1")?;
    images.add("3.8.1")?;
    let check = tool.run(&["check", &address, "--to", &to])?;
    assert_eq!(check.code, 0, "{}", check.shown());
    assert!(check.shown().contains("hops"), "{}", check.shown());
    let done = tool.run(&migrate)?;
    assert_eq!(done.code, 0, "{}", done.shown());
    let lines = done.json()?;
    let ends = lines.iter().filter(|it| it["kind"] == "summary");
    let versions: Vec<_> = ends.map(|it| it["to_version"].clone()).collect();
    assert_eq!(versions, ["2.44.1", "3.8.1", "3.9.1"]);
    assert_eq!(witness::version(&server)?, "3.9.1");
    assert_eq!(before.lost(&Seen::of(&server)?), [""; 0]);
    Ok(())
}

#[test]
#[ignore = "the same steps as from PMM 2, between two of PMM 3"]
fn a_pmm_3_goes_to_a_later_one_and_back() -> Result<()> {
    let server = TestServer::used(Options::default())?;
    let before = Seen::of(&server)?;
    let tool = Ferryctl::new()?;
    let address = server.address();
    let first = "ferry-test/pmm-server:3.0.0";
    let words = [
        "migrate", &address, "--via", first, "--to", TO, "--yes", "--output", "json",
    ];
    let done = tool.run(&words)?;
    assert_eq!(done.code, 0, "{}", done.shown());
    assert_eq!(witness::version(&server)?, "3.8.1");
    assert_eq!(before.lost(&Seen::of(&server)?), [""; 0]);
    assert_eq!(
        witness::strangers(&server.mountpoint()?, (1000, 0))?,
        [""; 0]
    );
    let lines = done.json()?;
    let ends = lines.iter().filter(|it| it["kind"] == "summary");
    let runs: Vec<_> = ends.filter_map(|it| it["run"].as_str()).collect();
    for (run, version) in runs.iter().rev().zip(["3.0.0", "2.44.1"]) {
        let back = tool.run(&["rollback", run, "--yes"])?;
        assert_eq!(back.code, 0, "{}", back.shown());
        server.wait_ready()?;
        assert_eq!(witness::version(&server)?, version);
        assert_eq!(before.lost(&Seen::of(&server)?), [""; 0]);
    }
    Ok(())
}

#[test]
fn a_later_pmm_3_that_does_not_start_leaves_the_one_before() -> Result<()> {
    let server = TestServer::used(Options::default())?;
    let before = Seen::of(&server)?;
    let (tool, image) = (Ferryctl::new()?, FailingImage::of(&server.name)?);
    let (address, first) = (server.address(), "ferry-test/pmm-server:3.0.0");
    let words = ["migrate", &address, "--via", first, "--to", &image.name];
    let patience = ["--ready-timeout", "180", "--yes"];
    let failed = tool.run(&[&words[..], &patience].concat())?;
    assert_eq!(failed.code, 1, "{}", failed.shown());
    assert!(failed.shown().contains("FATAL"), "{}", failed.shown());
    server.wait_ready()?;
    assert_eq!(witness::version(&server)?, "3.0.0");
    assert_eq!(before.lost(&Seen::of(&server)?), [""; 0]);
    Ok(())
}
