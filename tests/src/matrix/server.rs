//! A used PMM 2 in a container, by whose journey it is made and described.

use std::path::{Path, PathBuf};

use super::observed::forget_kills;
use super::scene::agent_beside;
use super::{Journey, Observed, Scene, Victim};
use crate::command::docker;
use crate::compose::Project;
use crate::kill::{Call, Ended, Tool};
use crate::own_images::OwnImages;
use crate::server::{Options, Seed, TestServer};
use crate::units::Unit;
use crate::{Error, Result};

/// Alert rules of somebody's own, so that the plan has the step for them.
const RULES: (&str, &str) = (
    "prometheus/rules/pmm.rules.yml",
    "groups:\n- name: own\n  rules:\n  - alert: Down\n    expr: up == 0\n",
);

/// What a server is described by, beside itself.
#[derive(Debug)]
pub(super) enum Description {
    /// Nothing.
    None,
    /// A Compose project.
    Project(Project),
    /// A unit of systemd.
    Unit(Unit),
}

impl Description {
    /// Its files, by name.
    fn files(&self) -> Result<Vec<(String, String)>> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::Project(project) => Ok(project.files()?.into_iter().collect()),
            Self::Unit(unit) => unit.files(),
        }
    }
}

/// A server, and the tool.
#[derive(Debug)]
pub struct ServerScene {
    // It is stopped before the server's container goes.
    description: Description,
    /// The server.
    pub server: TestServer,
    /// The image to become.
    pub target: String,
    journey: Journey,
    tool: Tool,
    plans: tempfile::TempDir,
    /// What backups are told to go to, where they go to a folder.
    backups: tempfile::TempDir,
    /// They go after the server.
    _images: OwnImages,
}

impl ServerScene {
    /// Starts a server that gives the plan all its steps, to which something is done before anybody looks.
    ///
    /// # Errors
    /// When it cannot be started or is not ready in time, and what `prepare` fails with.
    pub fn new(
        journey: Journey,
        options: Options,
        prepare: impl FnOnce(&TestServer) -> Result<()>,
    ) -> Result<Self> {
        let mut images = OwnImages::new("journey");
        let options = journey.options(options, &mut images)?;
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
        let description = journey.description(&server)?;
        let tool = Tool::new()?;
        let tool = match &description {
            Description::Unit(unit) => tool.within(unit.units.within()),
            Description::None | Description::Project(_) => tool,
        };
        Ok(Self {
            description,
            tool,
            target: journey.target()?,
            journey,
            plans: tempfile::tempdir()?,
            backups: tempfile::tempdir()?,
            server,
            _images: images,
        })
    }

    /// The words of `verb` that say what shall become of the server.
    fn words<'a>(&'a self, verb: &'a str, address: &'a str) -> Vec<&'a str> {
        [&[verb, address, "--to", &self.target], self.journey.words()].concat()
    }

    /// The volume that data is moved to.
    fn moved_to(&self) -> String {
        format!("{}-data", self.server.name)
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
}

impl Scene for ServerScene {
    fn name(&self) -> &'static str {
        self.journey.name()
    }

    fn tool(&self) -> &Tool {
        &self.tool
    }

    fn begin(&self) -> Result<Call> {
        if self.journey.is_first_of_two() {
            self.planned()?;
            return self
                .tool
                .start(&["apply", &self.plan_file().to_string_lossy(), "--yes"]);
        }
        let address = self.server.address();
        if !self.goes_back() {
            return self.tool.start(&self.words("rehearse", &address));
        }
        let words = self.words("migrate", &address);
        let folder = self.backups.path().to_string_lossy();
        let mut more = vec!["--yes"];
        if self.journey == Journey::ToFolder {
            more.extend(["--backup-to", &folder]);
        }
        self.tool.start(&[&words[..], &more].concat())
    }

    fn goes_back(&self) -> bool {
        self.journey != Journey::Rehearsal
    }

    fn ledgers(&self, run: &str) -> Result<Vec<PathBuf>> {
        let host = self.tool.ledgers(run);
        // Agents that leave nothing on the data of the server have their ledgers on what the run makes.
        if self.makes_ledgers() {
            return Ok(vec![host]);
        }
        Ok(vec![host, ledgers_in(&self.server.mountpoint()?, run)])
    }

    fn makes_ledgers(&self) -> bool {
        matches!(self.journey, Journey::Rehearsal | Journey::MoveData)
    }

    fn made_ledgers(&self, run: &str) -> Result<Option<PathBuf>> {
        let volume = match self.journey {
            Journey::Rehearsal => format!("{}-rehearsal-{run}", self.server.name),
            _ => self.moved_to(),
        };
        Ok(ledgers_on(&volume, run))
    }

    fn assert_fenced_rest(&self, _run: &str) -> Result<()> {
        self.server.assert_fenced_rest()
    }

    fn observed(&self, run: Option<&str>) -> Result<Observed> {
        let seen = Observed::of(&self.server, run)?;
        let mut described = self.description.files()?;
        for entry in fs_err::read_dir(self.backups.path())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            described.push((name, "a folder".to_owned()));
        }
        Ok(seen.described_by(described, run))
    }

    fn has(&self) -> &'static [Victim] {
        match self.journey {
            Journey::Rehearsal => &[Victim::Sidecar, Victim::VolumeAgent, Victim::SecondAgent],
            _ => &[Victim::Sidecar, Victim::VolumeAgent],
        }
    }

    fn agent(&self, victim: Victim) -> Option<String> {
        agent_beside(&self.server.name, victim)
    }

    /// A unit that makes it makes another at each start.
    fn keeps_container(&self) -> bool {
        !matches!(self.journey, Journey::EditedUnit(_))
    }

    fn forget_kills(&self) -> Result<()> {
        forget_kills(&self.server.mountpoint()?)
    }

    /// The healed passwords stay healed, and the dumps stay in the state folder: rightly, and the next plan would do without them. A volume
    /// that a server ran on is kept too, and another could not be made by its name.
    fn reset(&self) -> Result<()> {
        if self.journey == Journey::MoveData {
            docker(&["volume", "rm", "--force", &self.moved_to()])?;
        }
        weaken_roles(&self.server)
    }
}

/// Where agents with the data have the ledgers of a run.
pub(super) fn ledgers_in(data: &Path, run: &str) -> PathBuf {
    data.join(".ferry/runs").join(run)
}

/// The same on a volume; `None` where it is not there yet, or not any more.
pub(super) fn ledgers_on(volume: &str, run: &str) -> Option<PathBuf> {
    let place = docker(&["volume", "inspect", "--format", "{{.Mountpoint}}", volume]).ok()?;
    Some(ledgers_in(Path::new(&place), run))
}

/// Gives the roles the passwords again that a crossing heals.
pub(super) fn weaken_roles(server: &crate::server::Container) -> Result<()> {
    for role in ["pmm-managed", "grafana"] {
        let md5 = format!("SELECT 'md5' || md5('{role}{role}')");
        let hash = server.psql("postgres", &md5)?;
        let alter = format!("ALTER ROLE \"{role}\" PASSWORD '{hash}'");
        server.psql("postgres", &alter)?;
    }
    Ok(())
}
