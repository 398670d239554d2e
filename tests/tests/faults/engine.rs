//! An engine that answers badly, or lets connections go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ferry_tests::answers::{Answer, Rule};
use ferry_tests::kill::is;
use ferry_tests::matrix::Stage;
use ferry_tests::proxy::EngineProxy;
use ferry_tests::server::{Fault, Options};
use ferry_tests::{Result, docker};
use serde_json::Value;

use crate::scene::{Planned, Told, and_back, goes_on_back, goes_on_to_the_end, held, rolled_back};

const REFUSED: Told<'static> = Told {
    code: "engine-refused",
    says: &["the test's engine is ill", "500"],
};

/// The engine fails twice at what may be asked again: that is not noticed.
pub(crate) fn the_engine_fails_for_a_moment() -> Result<()> {
    let stage = Stage::new()?;
    let id = stage.scene.server.inspect()?["Id"].to_string();
    let id = id.trim_matches('"');
    let proxy = EngineProxy::start()?;
    let _there = proxy.enter();
    let mut call = stage.begin()?;
    let run = call.run_name()?;
    let words: [&[&str]; 4] = [
        &["GET", id, "/json"],
        &["GET", "/images/", "/json"],
        &["POST", id, "/update"],
        &["DELETE", "/containers/"],
    ];
    for words in words {
        proxy.answers.add(Rule::on(words, Answer::Error).times(2));
    }
    let ended = call.end()?;
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(proxy.answers.hits(), 2 * words.len(), "{ended:#?}");
    let warnings = ended.report()["warnings"].to_string();
    assert!(!warnings.contains("the test's engine is ill"), "{warnings}");
    proxy.answers.heal();
    and_back(&stage, &run)
}

/// The engine fails once, at each request that changes something: the step fails, and all is taken back.
pub(crate) fn the_engine_fails_once() -> Result<()> {
    let stage = Stage::new()?;
    let name = stage.scene.server.name.clone();
    let id = stage.scene.server.inspect()?["Id"].to_string();
    let id = id.trim_matches('"');
    let create = format!("/containers/create?name={name} ");
    for words in [
        // Ferry asks a container to end by a signal, and waits for it itself.
        &["POST", id, "/kill"] as &[&str],
        &["POST", id, "/rename"],
        &["POST", &create],
        &["POST", "/volumes/create"],
    ] {
        let proxy = EngineProxy::start()?;
        let _there = proxy.enter();
        // The look before the run launches an agent of its own.
        let mut call = stage.begin()?;
        call.run_name()?;
        proxy.answers.add(Rule::on(words, Answer::Error).times(1));
        let ended = call.end()?;
        assert_eq!(proxy.answers.hits(), 1, "{words:?}: {ended:#?}");
        rolled_back(&stage, &ended, REFUSED)?;
    }
    the_start_fails_once(&stage)
}

/// At the start of the new container, from which on a way back restores.
fn the_start_fails_once(stage: &Stage) -> Result<()> {
    let proxy = EngineProxy::start()?;
    let _there = proxy.enter();
    let mut call = stage.begin()?;
    call.wait_for(
        "the new container",
        is("finished", "replace-container", false),
    )?;
    let id = stage.scene.server.inspect()?["Id"].to_string();
    let id = id.trim_matches('"');
    proxy
        .answers
        .add(Rule::on(&["POST", id, "/start"], Answer::Error).times(1));
    let ended = call.end()?;
    assert_eq!(proxy.answers.hits(), 1, "{ended:#?}");
    rolled_back(stage, &ended, REFUSED)
}

/// The engine fails for good when it is asked to make the new container, and to bring back the restart policy.
pub(crate) fn the_engine_fails_for_good() -> Result<()> {
    let stage = Stage::new()?;
    let proxy = EngineProxy::start()?;
    let _there = proxy.enter();
    let mut call = stage.begin()?;
    let run = call.run_name()?;
    call.wait_for("the fence", is("finished", "fence-server", false))?;
    proxy.answers.add(Rule::on(
        &["POST", "/containers/", "/rename"],
        Answer::Error,
    ));
    proxy.answers.add(Rule::on(
        &["POST", "/containers/", "/update"],
        Answer::Error,
    ));
    let ended = call.end()?;
    held(&ended, &run, REFUSED);
    proxy.answers.heal();
    goes_on_back(&stage, &run)
}

/// The engine is not there at all for good, in the middle of a run.
pub(crate) fn the_engine_is_gone_for_good() -> Result<()> {
    let stage = Stage::new()?;
    let proxy = EngineProxy::start()?;
    let _there = proxy.enter();
    let mut call = stage.begin()?;
    let run = call.run_name()?;
    call.wait_for("the stop", is("finished", "stop-services", false))?;
    proxy.answers.add(Rule::on(&["/"], Answer::Nothing));
    let ended = call.end()?;
    let told = Told {
        code: "connection-lost",
        says: &["the container engine or cluster was not found again"],
    };
    held(&ended, &run, told);
    proxy.answers.heal();
    goes_on_to_the_end(&stage, &run)
}

/// The tunnel to an agent is cut once in each of two steps, one of them in the downtime: nobody notices but the journal.
pub(crate) fn the_tunnel_is_cut_for_a_moment() -> Result<()> {
    const CUT: [&str; 2] = ["stop-services", "wait-until-ready"];
    // So that the cut is in the middle of the first on any machine.
    let slowly = Options {
        fault: Some(Fault::SlowStop),
        ..Options::default()
    };
    let stage = Stage::with(slowly, |_| Ok(()))?;
    let mut call = stage.begin()?;
    let run = call.run_name()?;
    let mut felt_in = Vec::new();
    for step in CUT {
        let (at_work, over) = (is("progress", step, false), is("finished", step, false));
        let felt = |line: &Value| line["event"] == "reconnecting" && line["step_id"] == step;
        let line = call.wait_for(step, |line| at_work(line) || over(line))?;
        // Where launching the agent took long, the server was ready at the first look: there was nothing to cut.
        if line["event"] == "progress" {
            cut(&run)?;
            let was_cut = Instant::now();
            let line = call.wait_for(step, |line| felt(line) || over(line))?;
            // It may have been over when the last connection was cut.
            let is_felt = line["event"] == "reconnecting";
            felt_in.extend(is_felt.then_some(step));
            let went_on = call.heard().saturating_duration_since(was_cut);
            assert!(
                is_felt || went_on < Duration::from_secs(1),
                "{step}: the cut was not felt: {line:#}"
            );
        }
    }
    let ended = call.end()?;
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(felt_in.first(), CUT.first(), "{ended:#?}");
    and_back(&stage, &run)
}

/// No tunnel comes to stand any more: the run is held after the patience, and goes on where it was.
pub(crate) fn the_tunnel_is_cut_for_ever() -> Result<()> {
    let stage = Stage::new()?;
    for step in ["copy-volume", "copy-changes"] {
        is_cut_for_ever(&stage, step)?;
    }
    Ok(())
}

fn is_cut_for_ever(stage: &Stage, step: &'static str) -> Result<()> {
    let proxy = EngineProxy::start()?;
    let _there = proxy.enter();
    let mut call = stage.begin()?;
    let run = call.run_name()?;
    call.wait_for("the copy", is("intended", step, false))?;
    proxy.answers.add(Rule::on(
        &["POST", "/containers/", "/attach"],
        Answer::Nothing,
    ));
    cut(&run)?;
    let ended = call.end()?;
    held(
        &ended,
        &run,
        Told {
            code: "connection-lost",
            says: &["agent was not found again", &run],
        },
    );
    proxy.answers.heal();
    goes_on_to_the_end(stage, &run)
}

/// Kills the throw-away containers that carry a run's tunnels.
fn cut(run: &str) -> Result<()> {
    let label = format!("label=ferry.run={run}");
    let found = docker(&[
        "ps",
        "--quiet",
        "--filter",
        "label=ferry.role=dial",
        "--filter",
        &label,
    ])?;
    for id in found.lines() {
        // One that ended meanwhile is cut as well.
        let _over = docker(&["kill", id]);
    }
    Ok(())
}

/// Somebody removes the image between the plan and the run.
pub(crate) fn the_image_is_gone() -> Result<()> {
    let stage = Stage::new()?;
    let target = OwnTarget::make(&stage, "gone")?;
    let planned = Planned::make(&stage, &target.0)?;
    target.remove()?;
    let ended = planned.apply(&stage)?;
    let error = ended.last("error");
    assert_eq!(ended.code, 5, "{ended:#?}");
    assert!(error.to_string().contains(&target.0), "{ended:#?}");
    stage.assert_as_before()
}

/// Somebody prunes images while the old server is down, which has no image for the new one any more then.
pub(crate) fn the_image_is_gone_in_the_downtime() -> Result<()> {
    let stage = Stage::new()?;
    let target = OwnTarget::make(&stage, "pruned")?;
    let planned = Planned::make(&stage, &target.0)?;
    let mut call = planned.start(&stage)?;
    call.wait_for("the stop", is("finished", "stop-server", false))?;
    target.remove()?;
    let ended = call.end()?;
    assert_eq!(ended.count("failed", "replace-container"), 1, "{ended:#?}");
    let told = Told {
        code: "image-not-found",
        says: &["there is no image"],
    };
    rolled_back(&stage, &ended, told)
}

/// A target of a test's own, which is gone when it is dropped.
struct OwnTarget(String);

impl OwnTarget {
    fn make(stage: &Stage, word: &str) -> Result<Self> {
        let target = format!("ferry-test/{word}-{}:3.8.1", std::process::id());
        let folder = tempfile::tempdir()?;
        let label = format!("LABEL ferry.test.own={target}");
        fs_err::write(
            folder.path().join("Dockerfile"),
            format!("FROM {}\n{label}\n", stage.scene.target),
        )?;
        let context = folder.path().to_string_lossy();
        docker(&["build", "--quiet", "--tag", &target, &context])?;
        Ok(Self(target))
    }

    fn remove(&self) -> Result<()> {
        docker(&["rmi", "--force", &self.0]).map(drop)
    }
}

impl Drop for OwnTarget {
    fn drop(&mut self) {
        // The test has removed it, or has failed before, which its own error tells.
        let _gone = self.remove();
    }
}

/// Kills in a loop, until told to stop.
#[derive(Debug)]
pub(crate) struct Again {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<usize>>,
}

impl Again {
    /// Does `what` again and again; it says whether it hit something.
    pub(crate) fn and_again(what: impl Fn() -> bool + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut hits = 0;
            while !asked.load(Ordering::Relaxed) {
                hits += usize::from(what());
                std::thread::sleep(Duration::from_millis(20));
            }
            hits
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    /// How often it hit.
    pub(crate) fn hits(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .take()
            .and_then(|thread| thread.join().ok())
            .unwrap_or(0)
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
