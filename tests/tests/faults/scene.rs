//! What all faults have in common: a run that meets one, what it must say, and the server afterwards.

use ferry_tests::kill::{Call, Ended, is};
use ferry_tests::matrix::Stage;
use ferry_tests::{Result, docker};
use serde_json::Value;

/// Starts a crossing and waits for a word of the journal about a step.
pub(crate) fn until(
    stage: &Stage,
    event: &'static str,
    step: &'static str,
) -> Result<(Call, String)> {
    let mut call = stage.begin()?;
    let run = call.run_name()?;
    call.wait_for(step, is(event, step, false))?;
    Ok((call, run))
}

/// What a fault must be told as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    /// The stable code.
    pub(crate) code: &'a str,
    /// Words of the message or its details.
    pub(crate) says: &'a [&'a str],
}

impl Told<'_> {
    fn check(&self, ended: &Ended) {
        let failure = &ended.last("summary")["failure"];
        assert_eq!(failure["code"], self.code, "{ended:#?}");
        let text = failure.to_string();
        for word in self.says {
            assert!(text.contains(word), "no `{word}` in {failure:#}");
        }
    }
}

/// The run failed, was taken back by itself, and says why; the server is as before.
pub(crate) fn rolled_back(stage: &Stage, ended: &Ended, told: Told<'_>) -> Result<()> {
    is_rolled_back(ended, told);
    stage.assert_as_before()
}

/// The run failed, was taken back by itself, and says why.
pub(crate) fn is_rolled_back(ended: &Ended, told: Told<'_>) {
    assert_eq!(ended.code, 1, "{ended:#?}");
    assert_eq!(ended.last("summary")["state"], "rolled-back");
    told.check(ended);
}

/// The run stopped where it is, and names the commands that go on.
pub(crate) fn held(ended: &Ended, run: &str, told: Told<'_>) {
    assert_eq!(ended.code, 4, "{ended:#?}");
    told.check(ended);
    let next = &ended.last("summary")["next"];
    for verb in ["resume", "rollback"] {
        let command = format!("ferryctl {verb} {run}");
        assert!(next.to_string().contains(&command), "{next}");
    }
    let where_what = &ended.last("summary")["failure"]["details"];
    assert!(
        where_what.as_array().is_some_and(|lines| !lines.is_empty()),
        "{ended:#?}"
    );
}

/// With the fault gone, a held run is gone on with: it was on its way back.
pub(crate) fn goes_on_back(stage: &Stage, run: &str) -> Result<()> {
    is_taken_back(stage, run)?;
    stage.assert_as_before()
}

/// As [`goes_on_back`] after a fault that itself ended programs of the server.
pub(crate) fn goes_on_back_but_killed(stage: &Stage, run: &str) -> Result<()> {
    is_taken_back(stage, run)?;
    stage.assert_as_before_but_killed()
}

fn is_taken_back(stage: &Stage, run: &str) -> Result<()> {
    let ended = stage.run(&["resume", run])?;
    assert_eq!(ended.code, 1, "{ended:#?}");
    assert_eq!(ended.last("summary")["state"], "rolled-back", "{ended:#?}");
    Ok(())
}

/// With the fault gone, a held run is gone on with to its end.
pub(crate) fn goes_on_to_the_end(stage: &Stage, run: &str) -> Result<()> {
    let ended = stage.run(&["resume", run])?;
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert!(stage.scene.server.is_v3()?);
    and_back(stage, run)
}

/// A crossing that nothing was wrong with can be taken back.
pub(crate) fn and_back(stage: &Stage, run: &str) -> Result<()> {
    let ended = stage.run(&["rollback", run, "--yes"])?;
    assert_eq!(ended.code, 0, "{ended:#?}");
    stage.assert_as_before()
}

/// A plan in a file, and the run's name that it will have.
pub(crate) struct Planned {
    folder: tempfile::TempDir,
    /// The run's name.
    pub(crate) run: String,
}

impl Planned {
    pub(crate) fn make(stage: &Stage, target: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("plan.json");
        let out = file.to_string_lossy().into_owned();
        let address = stage.scene.server.address();
        let ended = stage.run(&["plan", &address, "--to", target, "--out", &out])?;
        assert_eq!(ended.code, 0, "{ended:#?}");
        let plan: Value = serde_json::from_slice(&fs_err::read(&file)?)?;
        let run = plan["id"].as_str().or_else(|| plan["plan"]["id"].as_str());
        let run = run.unwrap_or_default().to_owned();
        assert!(!run.is_empty(), "{plan:#}");
        Ok(Self { folder, run })
    }

    /// Makes the volume of the run's backup as the run itself would make it, but in memory and of so many bytes. Gives its name.
    pub(crate) fn backup_in_memory(&self, stage: &Stage, bytes: u64) -> Result<String> {
        let name = format!("{}-ferry-{}", stage.scene.server.volume, self.run);
        let label = format!("ferry.run={}", self.run);
        let size = format!("o=size={bytes}");
        let mut words = vec!["volume", "create"];
        for pair in [
            ["--label", &label],
            ["--label", "ferry.role=backup"],
            ["--opt", "type=tmpfs"],
            ["--opt", "device=tmpfs"],
            ["--opt", &size],
        ] {
            words.extend(pair);
        }
        docker(&[&words[..], &[&name]].concat())?;
        Ok(name)
    }

    /// Starts the run.
    pub(crate) fn start(&self, stage: &Stage) -> Result<Call> {
        let file = self.folder.path().join("plan.json");
        stage.start(&["apply", &file.to_string_lossy(), "--yes"])
    }

    pub(crate) fn apply(&self, stage: &Stage) -> Result<Ended> {
        self.start(stage)?.end()
    }
}
