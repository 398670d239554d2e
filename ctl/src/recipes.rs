//! Facts in, findings and plans out, without a clock and without I/O: what would be done to a
//! server can be tested, read and approved before anything touches it, and the same facts always
//! give the same plan.

mod check;
mod compare;
pub mod downtime;
mod estimate;
pub mod pmm_client_upgrade;
pub mod pmm_dump_restore;
pub mod pmm_in_place;
pub mod pmm_kubernetes;
pub mod pmm_move_appliance;
pub mod pmm_move_data;
pub mod policy;
#[cfg(test)]
mod properties;
mod space;
pub mod upkeep;
mod version;

pub use check::{
    arrival_findings, catalogue, client_findings, client_target, client_version, data_mount,
    findings,
};
pub use compare::{FactChange, compare_facts};
pub use version::Version;

use ferry_proto::v1::{Facts, Finding, Plan, ServiceUnit, Severity, action::Kind};

use crate::units::counted;

/// What the operator asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wishes {
    /// The image to become, as it was typed.
    pub target_image: String,
    /// Which refusals of the target policy are overruled.
    pub allowed: policy::Allowed,
    /// What comes before the image: each is a run of its own, and the one to the image follows.
    pub hops: policy::Hops,
    /// By which recipe.
    pub recipe: Recipe,
    /// Where the copy of the data goes.
    pub backup: Backup,
    /// What is done about Compose, where it has made the container.
    pub compose: Compose,
    /// What is done about a unit of systemd, where one makes the container.
    pub unit: Unit,
    /// The new volume that the data is copied to first, where it lies in the container itself; `None`: such a server is refused.
    pub data_volume: Option<String>,
    /// How many bytes a second the live copy may take; `None`: as many as it can.
    pub bytes_per_second: Option<u64>,
    /// Parallel jobs of one database dump. More than the server has cores gains nothing
    /// (facts/practice.md 1.2).
    pub jobs: u32,
    /// Seconds that the new server gets to be ready; `None`: what fits the size of its data.
    pub ready_seconds: Option<u32>,
    /// Seconds that the new server gets until the baseline is found again.
    pub compare_seconds: u32,
}

/// What upstream's own tests wait for agents to come back (facts/pmm.md 2.3).
const COMPARE_SECONDS: u32 = 300;

impl Wishes {
    /// The target with everything else as most people want it.
    #[must_use]
    pub fn new(target_image: impl Into<String>) -> Self {
        Self {
            target_image: target_image.into(),
            allowed: policy::Allowed::default(),
            hops: policy::Hops::default(),
            recipe: Recipe::default(),
            backup: Backup::default(),
            compose: Compose::default(),
            unit: Unit::default(),
            data_volume: None,
            bytes_per_second: None,
            jobs: 2,
            ready_seconds: None,
            compare_seconds: COMPARE_SECONDS,
        }
    }
}

impl Wishes {
    /// Whether this plan is the one that moves the data; the crossing comes after it.
    #[must_use]
    pub fn is_move(&self) -> bool {
        self.recipe == Recipe::PmmMoveData
    }
}

/// The ways from PMM 2 to PMM 3, of which both stop the server, keep a proven copy, and go back by it; and what may have to come before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipe {
    /// The volume stays as it is, its owners change
    #[default]
    PmmInPlace,
    /// As that, and PostgreSQL is dumped at rest and restored into a new cluster: for one that is damaged or was moved
    PmmDumpRestore,
    /// The server stays what it is, its data is copied out of the container to a new volume. Asked for by a flag of its own
    #[value(skip)]
    PmmMoveData,
}

impl Recipe {
    /// Its name in a plan.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PmmInPlace => pmm_in_place::NAME,
            Self::PmmDumpRestore => pmm_dump_restore::NAME,
            Self::PmmMoveData => pmm_move_data::NAME,
        }
    }
}

impl Recipe {
    /// What a plan was made by, or tries; the default for what is no crossing.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let all = [Self::PmmInPlace, Self::PmmDumpRestore, Self::PmmMoveData];
        let name = match plan.is_rehearsal() {
            true => &plan.rehearses,
            false => &plan.recipe,
        };
        let found = all.into_iter().find(|it| it.name() == *name);
        found.unwrap_or_default()
    }
}

/// What the policy puts before the wished image; nothing where data is moved, or where it is not known which version becomes which.
#[must_use]
pub fn hops(facts: &Facts, wishes: &Wishes) -> policy::Hops {
    let subject = check::Subject::new(facts);
    match wishes.is_move() {
        true => policy::Hops::default(),
        false => subject.hops(facts, wishes),
    }
}

/// Makes the plan of the wished recipe.
///
/// # Errors
/// [`PlanRefused`] when a finding is a blocker: a plan is never made with one.
pub fn plan(
    server: &str,
    facts: Facts,
    wishes: &Wishes,
    created: pbjson_types::Timestamp,
) -> Result<Plan, PlanRefused> {
    // Within a major version there is one way only.
    let update = check::Subject::new(&facts).is_update();
    match wishes.recipe {
        Recipe::PmmMoveData => pmm_move_data::plan(server, facts, wishes, created),
        _ if facts.cluster.is_some() => pmm_kubernetes::plan(server, facts, wishes, created),
        _ if update => pmm_in_place::plan(server, facts, wishes, created),
        Recipe::PmmInPlace => pmm_in_place::plan(server, facts, wishes, created),
        Recipe::PmmDumpRestore => pmm_dump_restore::plan(server, facts, wishes, created),
    }
}

/// Where the copy of the server's data goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Backup {
    /// A new volume of the same engine, named after the run.
    #[default]
    NewVolume,
    /// A new folder, named after the run, in this one on the engine's host.
    Folder(String),
}

impl Backup {
    /// Where a plan that was made from these facts puts it.
    #[must_use]
    pub fn of(facts: &Facts) -> Self {
        let data = facts.data.as_ref();
        match data.and_then(|data| data.backup_folder.as_ref()) {
            Some(folder) => Self::Folder(folder.path.clone()),
            None => Self::NewVolume,
        }
    }

    /// The folder; empty for a volume.
    #[must_use]
    pub fn folder(&self) -> &str {
        match self {
            Self::NewVolume => "",
            Self::Folder(path) => path,
        }
    }
}

/// What is done about a container that Compose has made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compose {
    /// Nothing: such a container is left alone.
    #[default]
    Refuse,
    /// The container is made again without Compose; its file is the operator's to change.
    ContainerOnly,
    /// As that, and the run changes the file.
    Edit,
}

impl Compose {
    /// What a plan was made with.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let has = |code: &catalogue::Code| {
            let mut findings = plan.findings.iter();
            findings.any(|finding| finding.code == code.name())
        };
        if has(catalogue::container::COMPOSE_FILE_EDITED) {
            Self::Edit
        } else if has(catalogue::container::COMPOSE_CONTAINER_ONLY) {
            Self::ContainerOnly
        } else {
            Self::Refuse
        }
    }
}

/// The unit that makes the server's container in this plan.
#[must_use]
pub fn unit_of(plan: &Plan) -> Option<ServiceUnit> {
    plan.steps
        .iter()
        .find_map(|step| match step.action.as_ref()?.kind.as_ref()? {
            Kind::StopServer(it) => it.unit.clone(),
            _ => None,
        })
}

/// What is done about a container that a unit of systemd makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unit {
    /// Nothing: such a container is left alone.
    #[default]
    Refuse,
    /// The unit is stopped, its files are changed, and it is started; one that makes no container is held, and let go.
    Edit,
}

impl Unit {
    /// What a plan was made with.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let chosen = [
            catalogue::container::UNIT_FILES_EDITED.name(),
            catalogue::container::UNIT_STARTS.name(),
        ];
        let mut findings = plan.findings.iter();
        if findings.any(|it| chosen.contains(&it.code.as_str())) {
            Self::Edit
        } else {
            Self::Refuse
        }
    }
}

/// A plan is not made, because it would fail or lose something.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("no plan was made: {}", counted(self.blockers(), "blocker"))]
pub struct PlanRefused {
    /// All findings, blockers first.
    pub findings: Vec<Finding>,
}

impl PlanRefused {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "plan-refused"
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some("do what each blocker's hint says, then check again")
    }

    fn blockers(&self) -> u64 {
        count_of(&self.findings, Severity::Blocker)
    }
}

/// How many findings have this severity.
#[must_use]
pub fn count_of(findings: &[Finding], severity: Severity) -> u64 {
    findings
        .iter()
        .filter(|finding| finding.severity() == severity)
        .count() as u64
}

/// Whether any of the findings stands in the way.
#[must_use]
pub fn has_blocker(findings: &[Finding]) -> bool {
    count_of(findings, Severity::Blocker) > 0
}
