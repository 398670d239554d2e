//! A used PMM 2 on which case after case is played, and the undisturbed run that the cases are measured against.

use std::path::PathBuf;
use std::time::Instant;

use super::observed::forget_kills;
use super::{Event, Journey, Moment, Observed, Victim, journey};
use crate::command::docker;
use crate::compose::Project;
use crate::kill::{Call, Ended, Tool, pid_of};
use crate::server::{Options, Seed, TestServer};
use crate::{Error, Result, images};

/// Alert rules of somebody's own, so that the plan has the step for them.
const RULES: (&str, &str) = (
    "prometheus/rules/pmm.rules.yml",
    "groups:\n- name: own\n  rules:\n  - alert: Down\n    expr: up == 0\n",
);

/// A server, the tool, and how it was before anything.
#[derive(Debug)]
pub struct Stage {
    /// The server.
    pub server: TestServer,
    /// The tool with its journals.
    pub tool: Tool,
    /// The server as it is at the begin and the end of each case.
    pub before: Observed,
    /// The image to become.
    pub target: String,
    /// Which way it goes.
    pub journey: Journey,
    /// What it belongs to.
    project: Option<Project>,
    plans: tempfile::TempDir,
}

/// What a run does when nobody dies.
#[derive(Debug)]
pub struct Undisturbed {
    /// The plan's steps.
    pub steps: Vec<String>,
    /// What the journal said of them, there and back.
    pub moments: Vec<Moment>,
    /// The server after the crossing.
    pub crossed: Observed,
}

impl Stage {
    /// Starts a server that gives the plan all its steps, and looks at it.
    ///
    /// # Errors
    /// When it cannot be started or is not ready in time.
    pub fn new() -> Result<Self> {
        Self::of(Journey::InPlace)
    }

    /// Starts one for a journey.
    ///
    /// # Errors
    /// As [`Stage::new`].
    pub fn of(journey: Journey) -> Result<Self> {
        Self::made(journey, Options::default(), |_| Ok(()))
    }

    /// One with settings of its own, to which something is done before anybody looks.
    ///
    /// # Errors
    /// As [`Stage::new`], and what `prepare` fails with.
    pub fn with(options: Options, prepare: impl FnOnce(&TestServer) -> Result<()>) -> Result<Self> {
        Self::made(Journey::InPlace, options, prepare)
    }

    fn made(
        journey: Journey,
        options: Options,
        prepare: impl FnOnce(&TestServer) -> Result<()>,
    ) -> Result<Self> {
        let options = journey.options(options);
        let server = TestServer::used(Options {
            seed: Seed {
                odd: true,
                ..options.seed
            },
            md5_roles: true,
            ..options
        })?;
        prepare(&server)?;
        fs_err::write(server.mountpoint()?.join(RULES.0), RULES.1)?;
        let project = journey.project(&server)?;
        Ok(Self {
            before: observed(&server, project.as_ref(), None)?,
            tool: Tool::new()?,
            target: images::ensure()?.pmm3,
            journey,
            project,
            plans: tempfile::tempdir()?,
            server,
        })
    }

    /// Another one in its place: what the last case left is in an unknown state.
    ///
    /// # Errors
    /// As [`Stage::new`].
    pub fn again(stage: Self) -> Result<Self> {
        let journey = stage.journey;
        drop(stage);
        Self::of(journey)
    }

    /// The words of `verb` that say what shall become of the server.
    fn words<'a>(&'a self, verb: &'a str, address: &'a str) -> Vec<&'a str> {
        [&[verb, address, "--to", &self.target], self.journey.words()].concat()
    }

    /// What the server is now. `run` made it so, when one did.
    ///
    /// # Errors
    /// When something does not answer.
    pub fn observed(&self, run: Option<&str>) -> Result<Observed> {
        observed(&self.server, self.project.as_ref(), run)
    }

    /// Starts a crossing.
    ///
    /// # Errors
    /// When the tool cannot be started.
    pub fn migrate(&self) -> Result<Call> {
        if self.journey.is_first_of_two() {
            self.planned()?;
            return self
                .tool
                .start(&["apply", &self.plan_file().to_string_lossy(), "--yes"]);
        }
        let address = self.server.address();
        let words = self.words("migrate", &address);
        self.tool.start(&[&words[..], &["--yes"]].concat())
    }

    /// The container of an agent.
    ///
    /// # Panics
    /// When it is no agent.
    #[must_use]
    pub fn agent(&self, victim: Victim) -> String {
        let role = match victim {
            Victim::Sidecar => "sidecar",
            Victim::VolumeAgent => "volume",
            Victim::Controller | Victim::Engine(_) => panic!("{victim:?} is no container"),
        };
        format!("ferry-{role}-{}", self.server.name)
    }

    /// The steps of the plan that the tool makes for this server, in order.
    ///
    /// # Errors
    /// When it makes none.
    pub fn plan(&self) -> Result<Vec<String>> {
        let planned = self.planned()?;
        let steps = planned.last("plan")["plan"]["steps"].as_array();
        let ids = steps.into_iter().flatten();
        Ok(ids
            .filter_map(|step| Some(step["id"].as_str()?.to_owned()))
            .collect())
    }

    fn plan_file(&self) -> PathBuf {
        self.plans.path().join("plan.json")
    }

    /// A plan, in a file and as it was told.
    fn planned(&self) -> Result<Ended> {
        let address = self.server.address();
        let file = self.plan_file();
        let out = file.to_string_lossy();
        let words = self.words("plan", &address);
        let planned = self.tool.run(&[&words[..], &["--out", &out]].concat())?;
        if planned.code != 0 {
            return Err(Error::of(format!("no plan: {planned:?}")));
        }
        Ok(planned)
    }

    /// A crossing and a return that nobody disturbs, with an eye on who lives at each moment.
    ///
    /// # Errors
    /// When one of them does not end well.
    pub fn undisturbed(&self) -> Result<Undisturbed> {
        let steps = self.plan()?;
        let mut moments = Vec::new();
        let mut call = self.migrate()?;
        let run = call.run_name()?;
        self.watch(&mut call, &mut moments)?;
        self.expect(&call.end()?, 0)?;
        let crossed = self.observed(Some(&run))?;
        let mut call = self.tool.start(&["rollback", &run, "--yes"])?;
        self.watch(&mut call, &mut moments)?;
        self.expect(&call.end()?, 0)?;
        self.assert_as_before()?;
        Ok(Undisturbed {
            steps,
            moments,
            crossed,
        })
    }

    /// Follows a run to its end.
    fn watch(&self, call: &mut Call, moments: &mut Vec<Moment>) -> Result<()> {
        let began = Instant::now();
        loop {
            let line = call.wait_for("the end of the run", |line| {
                line["event"] == "ended" || event_of(line).is_some()
            })?;
            let Some(event) = event_of(&line) else {
                return Ok(());
            };
            let at = began.elapsed();
            let lives = |victim: &Victim| pid_of(&self.agent(*victim)).is_ok();
            let agents = [Victim::Sidecar, Victim::VolumeAgent];
            moments.push(Moment {
                step: line["step_id"].as_str().unwrap_or_default().to_owned(),
                undo: line["undo"] == true,
                event,
                agents: agents.into_iter().filter(lives).collect(),
                at,
            });
        }
    }

    /// That a verb ended with this code.
    pub(super) fn expect(&self, ended: &Ended, code: i32) -> Result<()> {
        if ended.code == code {
            return Ok(());
        }
        Err(Error::of(format!(
            "it ended with {}, not {code}: {} {} {}",
            ended.code,
            ended.last("summary"),
            ended.last("error"),
            ended.stderr
        )))
    }

    /// That the server is what it was before the first case, and nothing of a run is left; then makes it so again for the next case
    /// where a rollback rightly leaves something.
    ///
    /// # Errors
    /// With all that differs.
    pub fn assert_as_before(&self) -> Result<()> {
        self.same(&self.before, &self.observed(None)?)?;
        self.reset()
    }

    /// As [`Stage::assert_as_before`] where the fault itself ended the server's programs: the engine's daemon killed them, or a full disk
    /// made them end.
    ///
    /// # Errors
    /// With all that differs.
    pub fn assert_as_before_but_killed(&self) -> Result<()> {
        let now = self.observed(None)?.forgiving_kills();
        self.same(&self.before, &now)?;
        forget_kills(&self.server.mountpoint()?)?;
        self.reset()
    }

    fn same(&self, before: &Observed, now: &Observed) -> Result<()> {
        let mut changes = before.changes_of_the_same(now);
        let open = self.tool.run(&["status"])?;
        if (open.code, open.lines.len()) != (0, 0) {
            changes.push(format!("a run is open: {:?}", open.lines));
        }
        told("not as before", &changes)
    }

    /// The healed passwords stay healed, and the dumps stay in the state folder: rightly, and the next plan would do without them. A volume
    /// that a server ran on is kept too, and another could not be made by its name.
    fn reset(&self) -> Result<()> {
        if self.journey == Journey::MoveData {
            let volume = format!("{}-data", self.server.name);
            docker(&["volume", "rm", "--force", &volume])?;
        }
        for role in ["pmm-managed", "grafana"] {
            let md5 = format!("SELECT 'md5' || md5('{role}{role}')");
            let hash = self.server.psql("postgres", &md5)?;
            let alter = format!("ALTER ROLE \"{role}\" PASSWORD '{hash}'");
            self.server.psql("postgres", &alter)?;
        }
        Ok(())
    }
}

fn observed(server: &TestServer, project: Option<&Project>, run: Option<&str>) -> Result<Observed> {
    let seen = Observed::of(server, run)?;
    Ok(match project {
        Some(project) => seen.described_by(journey::files(project, run)?),
        None => seen,
    })
}

/// An error with the first of many differences.
pub(super) fn told(what: &str, changes: &[String]) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let first = &changes[..changes.len().min(5)];
    Err(Error::of(format!(
        "{what}, in {} ways: {first:?}",
        changes.len()
    )))
}

/// `intended` or `finished`, when the line is one of these of a step.
fn event_of(line: &serde_json::Value) -> Option<Event> {
    match line["event"].as_str()? {
        "intended" => Some(Event::Intended),
        "finished" => Some(Event::Finished),
        _ => None,
    }
}
