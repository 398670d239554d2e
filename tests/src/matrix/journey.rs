//! Which way a server in a container goes: a recipe with a server that gives its plan all the steps there are. Each journey has its own
//! cases beside those that it shares with the first, which has most.

use std::path::Path;

use super::server::Description;
use super::{Case, RUN};
use crate::compose::Project;
use crate::own_images::OwnImages;
use crate::server::{Data, Options, TestServer};
use crate::units::{Unit, Units};
use crate::{Result, images};

/// The steps of the first journey. One that is missing here is played in all journeys that have it.
const FIRST: [&str; 25] = [
    // What the driver says of a run it says in all of them.
    RUN,
    "pull-image",
    "launch-agents",
    "capture-baseline",
    "set-aside-files",
    "dump-databases",
    "prove-dumps",
    "copy-volume",
    "prove-copy",
    "heal-roles",
    "stop-services",
    "fence-server",
    "stop-server",
    "copy-changes",
    "transfer-ownership",
    "set-aside-container",
    "replace-container",
    "hand-over-volume",
    "start-server",
    "launch-sidecar",
    "wait-until-ready",
    "migrate-api-keys",
    "compare-baseline",
    "keep-encryption-key",
    "retire-agents",
];

/// Which way a server goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journey {
    /// The recipe that most servers are carried over by.
    InPlace,
    /// The same data in a new cluster.
    NewCluster,
    /// Out of the container's layer to a volume, with the same PMM 2.
    MoveData,
    /// As the first, by a server whose Compose file is edited with it.
    EditedFile,
    /// As the first, by a server whose unit of systemd is edited with it, which the program at this path stands for.
    EditedUnit(&'static str),
    /// As the first, by a server that a unit of systemd starts and does not make. The program stands for systemd as above.
    StartedByUnit(&'static str),
    /// As the first, with its backup in a folder of the host.
    ToFolder,
    /// To another version of the same major one.
    Update,
    /// Not at all: on a copy, which is thrown away.
    Rehearsal,
}

/// What a server is that is updated.
const OLDER: &str = "2.41.2";
/// And what it becomes.
const LAST: &str = "2.44.1";

impl Journey {
    /// The server that it starts from; what has no image of its own gets one among `images`.
    pub(super) fn options(self, options: Options, images: &mut OwnImages) -> Result<Options> {
        Ok(match self {
            Self::MoveData => Options {
                data: Data::Layer,
                ..options
            },
            Self::Update => {
                images.add_as(OLDER, LAST)?;
                Options {
                    reference: Some(images.name(OLDER)),
                    ..options
                }
            }
            _ => options,
        })
    }

    /// The image that it becomes.
    pub(super) fn target(self) -> Result<String> {
        let images = images::ensure()?;
        Ok(match self {
            Self::Update => images.pmm2,
            _ => images.pmm3,
        })
    }

    /// What the server is described by.
    pub(super) fn description(self, server: &TestServer) -> Result<Description> {
        Ok(match self {
            Self::EditedFile => Description::Project(Project::of(
                server,
                "    environment:\n      DATA_RETENTION: 720h\n",
            )?),
            Self::EditedUnit(double) => Description::Unit(Unit::of(
                server,
                Path::new(double),
                "    -e DATA_RETENTION=720h \\\n",
            )?),
            Self::StartedByUnit(double) => {
                let units = Units::of(Path::new(double))?;
                Description::Unit(Unit::starting(server, units)?)
            }
            Self::InPlace
            | Self::NewCluster
            | Self::MoveData
            | Self::ToFolder
            | Self::Update
            | Self::Rehearsal => Description::None,
        })
    }

    /// What it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::InPlace => "in-place",
            Self::NewCluster => "new-cluster",
            Self::MoveData => "move-data",
            Self::EditedFile => "edited-file",
            Self::EditedUnit(_) => "edited-unit",
            Self::StartedByUnit(_) => "started-by-unit",
            Self::ToFolder => "to-folder",
            Self::Update => "update",
            Self::Rehearsal => "rehearsal",
        }
    }

    /// What is said beside the server and the image.
    pub(super) fn words(self) -> &'static [&'static str] {
        match self {
            Self::InPlace => &["--recipe", "pmm-in-place"],
            Self::NewCluster => &["--recipe", "pmm-dump-restore"],
            Self::MoveData => &["--data-to-volume"],
            Self::EditedFile => &["--compose", "edit"],
            Self::EditedUnit(_) | Self::StartedByUnit(_) => &["--unit", "edit"],
            Self::ToFolder | Self::Update | Self::Rehearsal => &[],
        }
    }

    /// Whether one command would go on to another run: then the plan is made and applied, for that run alone.
    pub(super) fn is_first_of_two(self) -> bool {
        self == Self::MoveData
    }

    /// The cases of steps that the first journey has not, or does another way. Of the first, all.
    #[must_use]
    pub fn own(self, all: Vec<Case>) -> Vec<Case> {
        let otherwise: &[&str] = match self {
            // What a way back finds in the new cluster is something else at each step.
            Self::InPlace | Self::NewCluster => return all,
            Self::MoveData => &[
                "launch-agents",
                "stop-services",
                "fence-server",
                "stop-server",
                "set-aside-container",
                "replace-container",
                "start-server",
                "retire-agents",
            ],
            Self::EditedFile => &["set-aside-container", "replace-container", "start-server"],
            Self::EditedUnit(_) => &[
                "fence-server",
                "stop-server",
                "transfer-ownership",
                "hand-over-volume",
                "start-server",
                "compare-baseline",
            ],
            Self::StartedByUnit(_) => &[
                "fence-server",
                "stop-server",
                "set-aside-container",
                "replace-container",
                "start-server",
            ],
            Self::ToFolder => &[
                "launch-agents",
                "copy-volume",
                "prove-copy",
                "copy-changes",
                "hand-over-volume",
                "retire-agents",
            ],
            // The server starts again with another image and the owners that it has.
            Self::Update => &[
                "set-aside-container",
                "replace-container",
                "hand-over-volume",
                "start-server",
                "wait-until-ready",
                "compare-baseline",
            ],
            // All of it is something else on a copy.
            Self::Rehearsal => return all,
        };
        let is_own = |case: &Case| {
            let step = case.step.as_str();
            otherwise.contains(&step) || !FIRST.contains(&step)
        };
        all.into_iter().filter(is_own).collect()
    }
}
