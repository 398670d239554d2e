//! The real controller and real agents, killed with SIGKILL at the worst moments, between and within steps. Whatever moment that is,
//! `ferryctl resume` ends where an undisturbed crossing ends, and `ferryctl rollback` where it began.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ferry_tests::kill::{
    self, BULK_OWNER, Bulk, Call, Ended, Tool, agents_of, is, kill_container, owners, pid_of, send,
    stop_within,
};
use ferry_tests::random::Random;
use ferry_tests::server::{Fault, Options, Seed, TestServer};
use ferry_tests::snapshot::{self, Entry, differences};
use ferry_tests::{Result, docker, images};
use rustix::process::Signal;
use serde_json::Value;

/// Enough files for a step over them to take longer than it takes to notice that it began.
const MANY: (usize, usize) = (300, 400);

/// A used PMM 2, and all that must be found again.
struct Scene {
    server: TestServer,
    tool: Tool,
    address: String,
    target: String,
    bulk: Option<Bulk>,
    nodes: usize,
    services: usize,
    history: Option<f64>,
    container: Value,
    owners: BTreeMap<PathBuf, (u32, u32, u32)>,
    /// Files that no program touches, to the byte.
    still: Vec<Entry>,
}

impl Scene {
    fn new(bulk: Option<(usize, usize)>) -> Result<Self> {
        Self::with(bulk, None)
    }

    /// Whose PMM 3 has a fault.
    fn failing(fault: Fault) -> Result<Self> {
        Self::with(None, Some(fault))
    }

    fn with(bulk: Option<(usize, usize)>, fault: Option<Fault>) -> Result<Self> {
        let server = TestServer::start(&Options {
            fault,
            seed: Seed {
                nodes: 5,
                services: 12,
                files: 60,
                mib: 1,
                odd: true,
            },
            ..Options::default()
        })?;
        let data = server.mountpoint()?;
        let make = |(folders, files)| Bulk::make(data.join("dump/many"), folders, files);
        let bulk = bulk.map(make).transpose()?;
        server.wait_ready()?;
        let history = server.metric("count(up offset 1d)")?;
        assert!(history > Some(1.0), "{history:?}");
        Ok(Self {
            nodes: server.count("nodes")?,
            services: server.count("services")?,
            history,
            container: server.inspect()?,
            owners: owners(&data)?,
            still: snapshot::take(&data.join("dump"))?,
            address: format!("docker:{}", server.name),
            target: images::ensure()?.pmm3,
            tool: Tool::new()?,
            server,
            bulk,
        })
    }

    fn migrate(&self) -> Result<Call> {
        self.migrate_with(&[])
    }

    fn migrate_with(&self, more: &[&str]) -> Result<Call> {
        let words = ["migrate", &self.address, "--to", &self.target, "--yes"];
        self.tool.start(&[&words[..], more].concat())
    }

    /// The journal of the killed controller ends with this word, and stands where that leaves it.
    fn assert_said(&self, run: &str, word: &str) -> Result<()> {
        let status = self.tool.run(&["status"])?;
        assert_eq!(status.last("run")["run"], run, "{status:?}");
        let state = &status.last("run")["state"];
        let backward = state == "rolling-back";
        assert!(word == "failed" || backward, "after `{word}`: {state}");
        Ok(())
    }

    /// Kills the controller when the new container is there and the data not handed over yet. Its run.
    fn stop_before_hand_over(&self) -> Result<String> {
        let mut call = self.migrate()?;
        let run = call.run_name()?;
        call.wait_for("the stop", is("intended", "stop-services", false))?;
        // Known before it is needed: to ask the engine takes longer than the steps between.
        let agent = pid_of(&self.volume_agent())?;
        call.wait_for("the owners", is("finished", "transfer-ownership", false))?;
        send(agent, Signal::STOP)?;
        call.wait_for("the hand-over", is("intended", "hand-over-volume", false))?;
        call.kill()?;
        kill_container(&self.volume_agent())?;
        assert!(self.server.is_v3()?, "the new container is there");
        Ok(run)
    }

    fn bulk(&self) -> &Bulk {
        self.bulk
            .as_ref()
            .expect("the scene was made with many files")
    }

    fn volume_agent(&self) -> String {
        format!("ferry-volume-{}", self.server.name)
    }

    fn sidecar(&self) -> String {
        format!("ferry-sidecar-{}", self.server.name)
    }

    /// Waits for the first changed owners, stops the agent there, and proves that the moment is within the transfer.
    fn stop_in_transfer(&self, call: &mut Call) -> Result<u32> {
        let agent = pid_of(&self.volume_agent())?;
        call.wait_for("the transfer", is("intended", "transfer-ownership", false))?;
        stop_within(agent, || self.bulk().is_changing())?;
        let (changed, of) = self.bulk().changed()?;
        assert!(0 < changed && changed < of, "{changed} of {of}: not within");
        Ok(agent)
    }

    /// While a run is open nobody else gets the server, and `status` tells of it.
    fn assert_open(&self, run: &str) -> Result<()> {
        let other = self.migrate()?.end()?;
        assert_eq!(other.code, 5, "{other:?}");
        let hint = format!("ferryctl resume {run}");
        assert!(format!("{other:?}").contains(&hint), "{other:?}");
        let status = self.tool.run(&["status"])?;
        assert_eq!(status.code, 0, "{status:?}");
        assert_eq!(status.last("run")["run"], run, "{status:?}");
        assert_eq!(status.last("run")["state"], "running", "{status:?}");
        Ok(())
    }

    /// The result of an undisturbed crossing.
    fn assert_crossed(&self, run: &str, ended: &Ended) -> Result<()> {
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_eq!(ended.last("summary")["run"], run, "{ended:?}");
        assert!(self.server.is_v3()?);
        assert_eq!(self.server.count("nodes")?, self.nodes);
        assert_eq!(self.server.count("services")?, self.services);
        assert_eq!(self.server.metric("count(up offset 1d)")?, self.history);
        assert_eq!(self.server.unclean()?, [""; 0]);
        let now = self.server.inspect()?;
        assert_eq!(now["HostConfig"]["RestartPolicy"]["Name"], "always");
        let old = format!("{}-2.44.1-{run}", self.server.name);
        let old = self.server.named(&old).inspect()?;
        assert_eq!(old["Id"], self.container["Id"]);
        assert_eq!(old["State"]["Running"], false);
        assert_eq!(old["HostConfig"]["RestartPolicy"]["Name"], "no");
        assert_eq!(agents_of(&self.server.name)?, [""; 0]);
        let data = self.server.mountpoint()?;
        for (path, (uid, gid, _)) in owners(&data.join("dump"))? {
            assert_eq!((uid, gid), (1000, 0), "{}", path.display());
        }
        self.assert_over()
    }

    /// As if nothing had been asked for.
    fn assert_as_before(&self) -> Result<()> {
        self.server.wait_ready()?;
        assert!(!self.server.is_v3()?);
        let now = self.server.inspect()?;
        for field in ["Id", "Name", "Config", "HostConfig", "Mounts"] {
            assert_eq!(now[field], self.container[field], "{field}");
        }
        assert_eq!(self.server.count("nodes")?, self.nodes);
        assert_eq!(self.server.count("services")?, self.services);
        self.server.wait_until("the history", 30, || {
            self.server
                .metric("count(up offset 1d)")
                .is_ok_and(|history| history == self.history)
        })?;
        assert_eq!(self.server.unclean()?, [""; 0]);
        assert_eq!(agents_of(&self.server.name)?, [""; 0]);
        let data = self.server.mountpoint()?;
        let still = snapshot::take(&data.join("dump"))?;
        let changes = differences(&self.still, &still);
        assert!(changes.is_empty(), "{:?}", &changes[..changes.len().min(5)]);
        let now = owners(&data)?;
        for (path, was) in &self.owners {
            if let Some(is) = now.get(path) {
                assert_eq!(is, was, "{}", path.display());
            }
        }
        self.assert_over()
    }

    fn assert_over(&self) -> Result<()> {
        let open = self.tool.run(&["status"])?;
        assert_eq!((open.code, open.lines.len()), (0, 0), "{open:?}");
        Ok(())
    }
}

#[test]
fn a_controller_killed_again_and_again_is_resumed_to_the_end() -> Result<()> {
    let scene = Scene::new(Some((60, 200)))?;
    let mut call = scene.migrate()?;
    let run = call.run_name()?;
    call.wait_for("the live copy", is("progress", "copy-volume", false))?;
    call.kill()?;
    scene.assert_open(&run)?;

    let resume = || scene.tool.start(&["resume", &run]);
    let mut call = resume()?;
    call.wait_for("the stop", is("progress", "stop-services", false))?;
    call.kill()?;
    scene.assert_open(&run)?;

    let mut call = resume()?;
    call.wait_for(
        "the new container",
        is("finished", "replace-container", false),
    )?;
    call.kill()?;
    scene.assert_open(&run)?;

    let mut call = resume()?;
    call.wait_for("the boot", is("intended", "wait-until-ready", false))?;
    call.kill()?;
    scene.assert_open(&run)?;

    let ended = resume()?.end()?;
    assert_eq!(ended.count("intended", "replace-container"), 0, "{ended:?}");
    scene.assert_crossed(&run, &ended)
}

#[test]
fn a_controller_killed_within_the_transfer_of_owners_is_resumed() -> Result<()> {
    let scene = Scene::new(Some(MANY))?;
    let mut call = scene.migrate()?;
    let run = call.run_name()?;
    call.wait_for("the live copy", is("intended", "copy-volume", false))?;
    let agent = scene.stop_in_transfer(&mut call)?;
    call.kill()?;
    // The agent goes on without a controller; the next one finds it at work, or done.
    send(agent, Signal::CONT)?;
    let ended = scene.tool.run(&["resume", &run])?;
    scene.assert_crossed(&run, &ended)
}

#[test]
#[ignore = "a case of the crash matrix too; the one that is resumed is in every run"]
fn a_controller_killed_within_the_transfer_of_owners_is_rolled_back() -> Result<()> {
    let scene = Scene::new(Some(MANY))?;
    let mut call = scene.migrate()?;
    let run = call.run_name()?;
    call.wait_for("the live copy", is("intended", "copy-volume", false))?;
    let agent = scene.stop_in_transfer(&mut call)?;
    call.kill()?;
    send(agent, Signal::CONT)?;

    // The way back is cut off too.
    let mut call = scene.tool.start(&["rollback", &run, "--yes"])?;
    call.wait_for("the owners", is("intended", "transfer-ownership", true))?;
    call.kill()?;
    // What was asked for is the rollback: going on with it ends in "rolled back".
    let ended = scene.tool.run(&["resume", &run])?;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert_eq!(ended.last("summary")["state"], "rolled-back", "{ended:?}");
    scene.assert_as_before()
}

#[test]
#[ignore = "a case of the crash matrix too"]
fn a_controller_killed_before_the_new_server_is_ready_is_rolled_back() -> Result<()> {
    let scene = Scene::new(None)?;
    let mut call = scene.migrate()?;
    let run = call.run_name()?;
    call.wait_for("the boot", is("intended", "wait-until-ready", false))?;
    call.kill()?;
    scene.assert_open(&run)?;
    let mut call = scene.tool.start(&["rollback", &run, "--yes"])?;
    call.wait_for("the volume", is("intended", "hand-over-volume", true))?;
    call.kill()?;
    let ended = scene.tool.run(&["rollback", &run, "--yes"])?;
    assert_eq!(ended.code, 0, "{ended:?}");
    scene.assert_as_before()
}

#[test]
fn an_old_server_that_somebody_starts_in_between_stays_down() -> Result<()> {
    // While the transfer takes its time nothing overtakes the person.
    let scene = Scene::new(Some(MANY))?;
    let mut call = scene.migrate()?;
    let run = call.run_name()?;
    call.wait_for("the owners", is("intended", "transfer-ownership", false))?;
    call.kill()?;
    scene.server.assert_start_is_fruitless()?;
    let ended = scene.tool.run(&["resume", &run])?;
    scene.assert_crossed(&run, &ended)?;
    let told = format!("{:?}", ended.lines);
    assert!(
        told.contains("somebody started the old container"),
        "{told}"
    );
    Ok(())
}

/// PMM 3 must not run on data that is not its own yet, whoever starts it.
#[test]
fn a_new_server_that_somebody_starts_before_its_turn_stays_down() -> Result<()> {
    let scene = Scene::new(None)?;
    let run = scene.stop_before_hand_over()?;
    scene.server.assert_start_is_fruitless()?;
    let ended = scene.tool.run(&["resume", &run])?;
    scene.assert_crossed(&run, &ended)?;
    let told = format!("{:?}", ended.lines);
    assert!(
        told.contains("somebody started the new container"),
        "{told}"
    );
    let now = scene.server.inspect()?;
    assert!(now["HostConfig"]["PidsLimit"].as_i64().unwrap_or(0) <= 0);
    Ok(())
}

/// Who takes the fence off, too, has PMM 3 write to data that no step handed over: the way back has it from the copy.
#[test]
fn a_new_server_that_somebody_unfences_before_its_turn_is_taken_back() -> Result<()> {
    let scene = Scene::new(None)?;
    let run = scene.stop_before_hand_over()?;
    scene.server.unfence_and_start()?;
    // Without the copy nobody knows what it wrote.
    let volume = format!("{}-ferry-{run}", scene.server.volume);
    let place = docker(&["volume", "inspect", "--format", "{{.Mountpoint}}", &volume])?;
    let (copy, beside) = (
        Path::new(&place).join("data"),
        Path::new(&place).join("beside"),
    );
    fs_err::rename(&copy, &beside)?;
    let held = scene.tool.run(&["rollback", &run, "--yes"])?;
    assert_eq!(held.code, 4, "{held:?}");
    let told = format!("{:?}", held.lines);
    assert!(told.contains("/backup/data"), "{told}");
    fs_err::rename(&beside, &copy)?;
    let ended = scene.tool.run(&["resume", &run])?;
    assert_eq!(ended.last("summary")["state"], "rolled-back", "{ended:?}");
    let told = format!("{:?}", ended.lines);
    for words in [
        "somebody started the new container",
        "without its fence",
        "changed while the server was down",
    ] {
        assert!(told.contains(words), "no `{words}` in {told}");
    }
    scene.assert_as_before()
}

/// The other way: PMM 3 must not run on data that is half PMM 2's again.
#[test]
fn a_new_server_that_somebody_starts_during_the_restore_stays_down() -> Result<()> {
    let scene = Scene::new(Some(MANY))?;
    let mut call = scene.migrate()?;
    let run = call.run_name()?;
    assert_eq!(call.end()?.code, 0);
    let mut call = scene.tool.start(&["rollback", &run, "--yes"])?;
    call.wait_for("the restore", is("intended", "hand-over-volume", true))?;
    let agent = pid_of(&scene.volume_agent())?;
    send(agent, Signal::STOP)?;
    call.kill()?;
    assert!(scene.server.is_v3()?, "the new container has its name yet");
    scene.server.assert_start_is_fruitless()?;
    send(agent, Signal::CONT)?;
    let ended = scene.tool.run(&["resume", &run])?;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert_eq!(ended.last("summary")["state"], "rolled-back", "{ended:?}");
    scene.assert_as_before()
}

#[test]
fn a_controller_killed_while_it_looks_is_in_nobodys_way() -> Result<()> {
    let scene = Scene::new(None)?;
    let call = scene.migrate()?;
    scene.server.wait_until("the sidecar", 30, || {
        agents_of(&scene.server.name).is_ok_and(|agents| agents.contains(&scene.sidecar()))
    })?;
    let killed = call.kill()?;
    assert!(killed.lines.is_empty(), "there is no run yet: {killed:?}");
    let mut call = scene.migrate()?;
    let run = call.run_name()?;
    scene.assert_crossed(&run, &call.end()?)
}

#[test]
fn agents_that_are_killed_are_started_again_and_the_run_goes_on() -> Result<()> {
    let scene = Scene::new(Some(MANY))?;
    let mut call = scene.migrate()?;
    let run = call.run_name()?;
    call.wait_for("the agents", is("finished", "launch-agents", false))?;
    call.wait_for("the baseline", is("intended", "capture-baseline", false))?;
    kill_container(&scene.sidecar())?;
    call.wait_for("the copy", is("intended", "copy-volume", false))?;
    kill_in_stop(&scene, &mut call)?;
    scene.stop_in_transfer(&mut call)?;
    kill_container(&scene.volume_agent())?;
    let ended = call.end()?;
    for step in ["stop-services", "transfer-ownership"] {
        assert!(ended.count("reconnecting", step) > 0, "{step}: {ended:?}");
    }
    scene.assert_crossed(&run, &ended)
}

/// A step has failed, and nothing is written down yet of what follows from that; and the moment after.
#[test]
fn a_controller_killed_when_a_step_has_failed_goes_on_back() -> Result<()> {
    for word in ["failed", "rolling-back"] {
        let scene = Scene::failing(Fault::Empty)?;
        let more = ["--compare-timeout", "4"];
        let mut call = scene.migrate_with(&more)?;
        let run = call.run_name()?;
        call.wait_for("the failure", |line| line["event"] == word)?;
        call.kill()?;
        scene.assert_said(&run, word)?;
        let ended = scene.tool.run(&["resume", &run])?;
        assert_eq!(ended.code, 1, "{ended:?}");
        assert_eq!(ended.last("summary")["state"], "rolled-back", "{ended:?}");
        scene.assert_as_before()?;
    }
    Ok(())
}

/// Kills the agent while it stops the services, by its process: to ask the engine may take longer than they do.
fn kill_in_stop(scene: &Scene, call: &mut Call) -> Result<()> {
    call.wait_for("the stop", is("intended", "stop-services", false))?;
    let agent = pid_of(&scene.sidecar())?;
    call.wait_for("the first of it", is("progress", "stop-services", false))?;
    send(agent, Signal::KILL)
}

/// An agent is lost, and the controller too while it looks for it.
#[test]
fn a_controller_killed_while_it_looks_for_an_agent_is_resumed() -> Result<()> {
    let scene = Scene::new(None)?;
    let mut call = scene.migrate()?;
    let run = call.run_name()?;
    kill_in_stop(&scene, &mut call)?;
    call.wait_for("the loss", |line| line["event"] == "reconnecting")?;
    call.kill()?;
    let ended = scene.tool.run(&["resume", &run])?;
    scene.assert_crossed(&run, &ended)
}

#[test]
fn an_interrupted_controller_says_how_to_go_on() -> Result<()> {
    let scene = Scene::new(None)?;
    let mut call = scene.migrate()?;
    let run = call.run_name()?;
    call.wait_for("the stop", is("progress", "stop-services", false))?;
    call.signal(Signal::INT)?;
    let ended = call.end()?;
    assert_eq!(ended.code, 4, "{ended:?}");
    let hint = format!("ferryctl resume {run}");
    assert!(format!("{ended:?}").contains(&hint), "{ended:?}");
    scene.assert_open(&run)?;
    let ended = scene.tool.run(&["resume", &run])?;
    scene.assert_crossed(&run, &ended)
}

/// Moments that nobody thought of. `FERRY_TEST_SEED` repeats them.
#[test]
fn a_controller_killed_at_any_moment_can_be_taken_back_or_gone_on_with() -> Result<()> {
    let mut random = Random::new();
    let scene = Scene::new(None)?;
    for round in 0..3 {
        let mut call = scene.migrate()?;
        let run = call.run_name()?;
        let moment = Instant::now() + random.up_to(Duration::from_secs(11));
        std::thread::sleep(moment.saturating_duration_since(Instant::now()));
        let killed = match call.kill() {
            Ok(killed) => killed.lines,
            // A quick machine is done before the later moments.
            Err(_) => Vec::new(),
        };
        let at = killed.iter().rev().find(|line| line["step_id"].is_string());
        random.tell(&format!("round {round} ended at {at:?}"));
        if round == 2 {
            let ended = scene.tool.run(&["resume", &run])?;
            if ended.code == 0 {
                return scene.assert_crossed(&run, &ended);
            }
            assert_eq!(ended.last("error")["code"], "run-over", "{ended:?}");
            return Ok(());
        }
        let ended = scene.tool.run(&["rollback", &run, "--yes"])?;
        assert_eq!(ended.code, 0, "{ended:?}");
        scene.assert_as_before()?;
    }
    Ok(())
}

#[test]
fn the_many_files_are_nobodys_before() {
    let folder = tempfile::tempdir().unwrap();
    let bulk = kill::Bulk::make(folder.path().join("many"), 3, 4).unwrap();
    assert_eq!(bulk.changed().unwrap(), (0, 12));
    let (uid, gid) = BULK_OWNER;
    let found = owners(folder.path()).unwrap();
    let theirs = found.values().filter(|o| (o.0, o.1) == (uid, gid)).count();
    assert_eq!(theirs, 1 + 3 + 12);
}
