//! A PMM 2 whose data lies in its container's own layer: one command copies the data out to a volume and carries the server over, as
//! two runs. Each is taken back by itself, the last first, down to the first container with the data in its layer.

use ferry_tests::failing_image::FailingImage;
use ferry_tests::ferryctl::Ferryctl;
use ferry_tests::kill::{Ended, Tool, agents_of, is, kill_container};
use ferry_tests::server::{Data, Options, Seed, TestServer};
use ferry_tests::snapshot::{self, Entry, differences};
use ferry_tests::witness::{self, Seen};
use ferry_tests::{Result, docker};
use serde_json::Value;

const TO: &str = "ferry-test/pmm-server:3.8.1";

/// A used server without a volume, and how it was.
struct Scene {
    server: TestServer,
    /// The volume that it shall get.
    volume: String,
    tree: Vec<Entry>,
    seen: Seen,
    was: Value,
    /// How often PMM 2 has run on the layer since `tree`.
    starts: usize,
}

impl Scene {
    fn new() -> Result<Self> {
        let server = TestServer::used(Options {
            data: Data::Layer,
            seed: Seed {
                odd: true,
                ..Options::default().seed
            },
            env: vec![("DATA_RETENTION".into(), "480h".into())],
            publish: true,
            ..Options::default()
        })?;
        let tree = server.snapshot_between()?;
        assert!(tree.len() > 50, "{} entries", tree.len());
        Ok(Self {
            volume: format!("{}-data", server.name),
            seen: Seen::of(&server)?,
            was: server.inspect()?,
            starts: 1,
            server,
            tree,
        })
    }

    fn mountpoint(&self) -> Result<std::path::PathBuf> {
        let words = ["volume", "inspect", "--format", "{{.Mountpoint}}"];
        Ok(docker(&[&words[..], &[&self.volume]].concat())?.into())
    }

    fn has_volume(&self) -> Result<bool> {
        let found = docker(&["volume", "ls", "--format", "{{.Name}}"])?;
        Ok(found.lines().any(|name| name == self.volume))
    }

    /// It is that version, with all that it had, on the volume and on nothing else.
    fn assert_on_volume(&self, version: &str) -> Result<()> {
        let server = &self.server;
        server.wait_ready()?;
        assert_eq!(witness::version(server)?, version);
        assert_eq!(self.seen.lost(&Seen::of(server)?), [""; 0]);
        let (is, mount) = (server.inspect()?, server.data_mount()?);
        assert_eq!(is["Mounts"].as_array().map(Vec::len), Some(1), "{is:#}");
        assert_eq!(mount["Name"], self.volume);
        assert_eq!(is["HostConfig"]["RestartPolicy"]["Name"], "always");
        assert_eq!(agents_of(&server.name)?, [""; 0]);
        Ok(())
    }

    /// The first container with the same settings, and in its layer the same data.
    fn assert_as_before(&mut self) -> Result<()> {
        let server = &self.server;
        server.wait_ready()?;
        let is = server.inspect()?;
        for part in ["Id", "Name", "Image", "HostConfig", "Config", "Mounts"] {
            assert_eq!(is[part], self.was[part], "{part}");
        }
        assert_eq!(witness::version(server)?, "2.44.1");
        assert_eq!(self.seen.lost(&Seen::of(server)?), [""; 0]);
        assert_eq!(server.unclean()?, [""; 0]);
        assert_eq!(agents_of(&server.name)?, [""; 0]);
        assert_eq!(witness::beside(&server.name)?, [""; 0]);
        self.starts += 1;
        server.stop(60)?;
        let tree = server.tree_snapshot()?;
        let found = witness::not_as_before(&self.tree, &tree, self.starts);
        assert_eq!(found, [""; 0]);
        assert!(!server.mountpoint()?.join(".ferry").exists());
        server.restart_after_stop()?;
        server.wait_ready()?;
        self.starts += 1;
        Ok(())
    }
}

/// The findings of a check, by their codes.
fn codes(lines: &[Value]) -> Vec<&str> {
    let findings = lines.iter().filter_map(|line| line["findings"].as_array());
    let codes = findings.flatten().filter_map(|it| it["code"].as_str());
    codes.collect()
}

#[test]
fn one_command_goes_to_a_volume_and_on_to_pmm_3_and_two_go_back() -> Result<()> {
    let mut scene = Scene::new()?;
    let tool = Ferryctl::new()?;
    let address = scene.server.address();
    let check = ["check", &address, "--to", TO, "--output", "json"];
    let refused = tool.run(&check)?;
    assert_eq!(refused.code, 3, "{}", refused.shown());
    assert!(
        refused.shown().contains("--data-to-volume"),
        "{}",
        refused.shown()
    );
    let fits = tool.run(&[&check[..], &["--data-to-volume"]].concat())?;
    assert_eq!(fits.code, 0, "{}", fits.shown());
    let found = fits.json()?;
    assert!(codes(&found).contains(&"data-to-volume"), "{found:?}");

    let words = ["migrate", &address, "--to", TO, "--data-to-volume", "--yes"];
    let words = [&words[..], &["--output", "json"]].concat();
    let done = tool.run(&words)?;
    assert_eq!(done.code, 0, "{}", done.shown());
    let lines = done.json()?;
    let ends: Vec<_> = lines.iter().filter(|it| it["kind"] == "summary").collect();
    assert_eq!(ends.len(), 2, "{ends:?}");
    assert_eq!(ends[0]["moved_to"], scene.volume, "{ends:?}");
    let run = |at: usize| ends[at]["run"].as_str().unwrap_or_default().to_owned();
    scene.assert_on_volume("3.8.1")?;
    let data = scene.mountpoint()?;
    assert_eq!(witness::strangers(&data, (1000, 0))?, [""; 0]);

    // The crossing has a backup and a way back of its own, to PMM 2 on the volume.
    let back = tool.run(&["rollback", &run(1), "--yes"])?;
    assert_eq!(back.code, 0, "{}", back.shown());
    scene.assert_on_volume("2.44.1")?;
    let env = scene.server.inspect()?["Config"]["Env"].to_string();
    assert!(env.contains("\"DATA_RETENTION=480h\""), "{env}");
    let ports = scene.server.inspect()?["HostConfig"]["PortBindings"].clone();
    assert_eq!(ports, scene.was["HostConfig"]["PortBindings"]);

    let back = tool.run(&["rollback", &run(0), "--yes"])?;
    assert_eq!(back.code, 0, "{}", back.shown());
    // A server has run on it, so it is nobody's to remove.
    assert!(back.shown().contains("is kept"), "{}", back.shown());
    assert!(scene.has_volume()?);
    scene.assert_as_before()?;

    let taken = tool.run(&words)?;
    assert_eq!(taken.code, 3, "{}", taken.shown());
    assert!(
        codes(&taken.json()?).contains(&"data-volume-taken"),
        "{}",
        taken.shown()
    );
    Ok(())
}

/// Resumes a run to its end, which must be good.
fn resumed(tool: &Tool, run: &str) -> Result<Ended> {
    let ended = tool.run(&["resume", run])?;
    assert_eq!(ended.code, 0, "{ended:?}");
    Ok(ended)
}

#[test]
#[ignore = "cases of the crash matrix too; there and back is in every run"]
fn who_is_killed_within_the_copy_and_behind_it_goes_on() -> Result<()> {
    let mut scene = Scene::new()?;
    let tool = Tool::new()?;
    let address = scene.server.address();
    let words = ["migrate", &address, "--to", TO, "--data-to-volume", "--yes"];
    // Slow enough to be within the copy for a while.
    let mut call = tool.start(&[&words[..], &["--io-limit", "20M"]].concat())?;
    let run = call.run_name()?;
    call.wait_for("the copy", is("progress", "copy-data-out", false))?;
    call.kill()?;
    kill_container(&format!("ferry-sidecar-{}", scene.server.name))?;
    let other = tool.run(&words)?;
    assert_eq!(other.code, 5, "the server is the run's: {other:?}");

    let mut call = tool.start(&["resume", &run])?;
    call.wait_for("the last pass", is("finished", "copy-data-changes", false))?;
    call.kill()?;
    // Seen from outside: nothing runs, and both trees are the same to the byte, the nanosecond, the hard link.
    let layer = snapshot::take(&scene.server.mountpoint()?)?;
    let copy = snapshot::take(&scene.mountpoint()?)?;
    assert_eq!(differences(&layer, &copy), [""; 0]);

    resumed(&tool, &run)?;
    scene.assert_on_volume("2.44.1")?;
    let old = format!("{}-2.44.1-{run}", scene.server.name);
    let old = scene.server.named(&old).inspect()?;
    assert_eq!(old["Id"], scene.was["Id"]);
    assert_eq!(old["State"]["Running"], false);
    assert_eq!(old["HostConfig"]["RestartPolicy"]["Name"], "no");

    let back = tool.run(&["rollback", &run, "--yes"])?;
    assert_eq!(back.code, 0, "{back:?}");
    scene.assert_as_before()
}

/// By a plan that is kept and applied; and somebody starts PMM again after its data was copied for the last time.
#[test]
fn a_server_that_was_started_behind_the_copy_is_not_carried_over() -> Result<()> {
    let mut scene = Scene::new()?;
    let tool = Tool::new()?;
    let address = scene.server.address();
    let folder = tempfile::tempdir()?;
    let plan = folder.path().join("plan.json");
    let plan = plan.to_string_lossy();
    let name = format!("{}-moved", scene.server.name);
    let words = ["plan", &address, "--to", TO, "--data-to-volume", &name];
    let planned = tool.run(&[&words[..], &["--out", &plan]].concat())?;
    assert_eq!(planned.code, 0, "{planned:?}");

    let mut call = tool.start(&["apply", &plan, "--yes"])?;
    let run = call.run_name()?;
    call.wait_for("the last pass", is("finished", "copy-data-changes", false))?;
    call.kill()?;
    docker(&["restart", "--time", "60", &scene.server.name])?;
    scene.server.wait_ready()?;
    scene.starts += 1;

    let ended = tool.run(&["resume", &run])?;
    assert_eq!(ended.code, 1, "{ended:?}");
    let told = format!("{:?}", ended.last("summary")["failure"]);
    assert!(told.contains("was started again"), "{told}");
    // No server has run on it: it is gone with the run.
    let volumes = docker(&["volume", "ls", "--format", "{{.Name}}"])?;
    assert!(!volumes.lines().any(|it| it == name), "{volumes}");
    scene.assert_as_before()
}

/// The crossing behind the move is taken back, and the move is not: PMM 2 is on the volume, and goes on from there.
#[test]
fn what_fails_behind_the_move_leaves_pmm_2_on_the_volume() -> Result<()> {
    let scene = Scene::new()?;
    let (tool, image) = (Ferryctl::new()?, FailingImage::of(&scene.server.name)?);
    let address = scene.server.address();
    let words = ["migrate", &address, "--to", &image.name, "--data-to-volume"];
    let failed = tool.run(&[&words[..], &["--ready-timeout", "180", "--yes"]].concat())?;
    assert_eq!(failed.code, 1, "{}", failed.shown());
    assert!(failed.shown().contains("FATAL"), "{}", failed.shown());
    scene.assert_on_volume("2.44.1")
}
