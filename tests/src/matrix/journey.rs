//! What is played: a recipe with a server that gives its plan all the steps there are. Each journey has its own cases beside those
//! that it shares with the first, which has most.

use super::Case;
use crate::Result;
use crate::compose::Project;
use crate::server::{Data, Options, TestServer};

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
}

impl Journey {
    /// The server that it starts from.
    pub(super) fn options(self, options: Options) -> Options {
        match self {
            Self::MoveData => Options {
                data: Data::Layer,
                ..options
            },
            Self::InPlace | Self::NewCluster | Self::EditedFile => options,
        }
    }

    /// The project that the server belongs to, where it belongs to one.
    pub(super) fn project(self, server: &TestServer) -> Result<Option<Project>> {
        match self {
            Self::EditedFile => {
                Project::of(server, "    environment:\n      DATA_RETENTION: 720h\n").map(Some)
            }
            Self::InPlace | Self::NewCluster | Self::MoveData => Ok(None),
        }
    }

    /// What is said beside the server and the image.
    pub(super) fn words(self) -> &'static [&'static str] {
        match self {
            Self::InPlace => &["--recipe", "pmm-in-place"],
            Self::NewCluster => &["--recipe", "pmm-dump-restore"],
            Self::MoveData => &["--data-to-volume"],
            Self::EditedFile => &["--compose", "edit"],
        }
    }

    /// Whether one command would go on to another run: then the plan is made and applied, for that run alone.
    pub(super) fn is_first_of_two(self) -> bool {
        self == Self::MoveData
    }

    /// The cases of steps that the first journey has not, or does another way. Of the first, all.
    #[must_use]
    pub fn own(self, all: Vec<Case>) -> Vec<Case> {
        let steps: &[&str] = match self {
            Self::InPlace => return all,
            Self::NewCluster => &[
                "stop-services",
                "dump-at-rest",
                "restore-databases",
                "stop-database",
                "renew-cluster",
            ],
            Self::MoveData => &[
                "launch-agents",
                "copy-data-out",
                "stop-services",
                "fence-server",
                "copy-data-changes",
                "stop-server",
                "set-aside-container",
                "replace-container",
                "start-server",
                "retire-agents",
            ],
            Self::EditedFile => &["edit-compose-file", "replace-container"],
        };
        let is_own = |case: &Case| steps.contains(&case.step.as_str());
        all.into_iter().filter(is_own).collect()
    }
}

/// The files of a project, without the run's name.
pub(super) fn files(project: &Project, run: Option<&str>) -> Result<Vec<(String, String)>> {
    let unnamed = |text: String| match run {
        Some(run) => text.replace(run, "RUN"),
        None => text,
    };
    let files = project.files()?.into_iter();
    Ok(files
        .map(|(name, text)| (unnamed(name), unnamed(text)))
        .collect())
}
