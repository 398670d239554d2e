//! What is done about a crossing after it: its backup proven, restored or removed, and the crossing
//! declared finished. Each is a small plan with steps at agents like any other, so that it is
//! journaled, can be killed at any point and gone on with, and needs no second way to do things.

use ferry_proto::v1::{
    self as v1, Action, BackupPlace, ContainerFacts, EngineFacts, Facts, Place, Plan, Step,
    action::Kind,
};
use pbjson_types::Timestamp;

use crate::connect::address::EngineChoice;

/// Compare a backup with its manifest.
pub const VERIFY: &str = "verify-backup";
/// Make a new volume of a backup.
pub const RESTORE: &str = "restore-backup";
/// Remove a backup.
pub const PRUNE: &str = "prune-backup";
/// Remove what a crossing kept for the way back.
pub const FINISH: &str = "finish-crossing";

/// Whether a plan is of one of the recipes here.
#[must_use]
pub fn is_upkeep(plan: &Plan) -> bool {
    matches!(plan.recipe.as_str(), VERIFY | RESTORE | PRUNE | FINISH)
}

/// What a plan here does, in words that stand in a list of runs.
#[must_use]
pub fn words(plan: &Plan) -> &'static str {
    match plan.recipe.as_str() {
        VERIFY => "verify a backup",
        RESTORE => "restore a backup",
        PRUNE => "remove a backup",
        FINISH => "finish a crossing",
        _ => "carry a server over",
    }
}

/// What a plan is about.
#[derive(Debug, Clone, PartialEq)]
pub struct About {
    /// Where the backup is.
    pub place: BackupPlace,
    /// The server that it is a copy of.
    pub server: String,
    /// The engine that has it.
    pub engine: EngineFacts,
    /// How that is reached, also when the run is gone on with.
    pub reached: EngineChoice,
    /// When the plan is made.
    pub created: Timestamp,
}

impl About {
    fn plan(&self, recipe: &str, steps: Vec<Step>) -> Result<Plan, ferry_proto::PlanError> {
        let container = ContainerFacts {
            name: self.server.clone(),
            ..ContainerFacts::default()
        };
        ferry_proto::seal(Plan {
            created: Some(self.created),
            recipe: recipe.to_owned(),
            server: self.reached.address(&self.server),
            facts: Some(Facts {
                engine: Some(self.engine.clone()),
                container: Some(container),
                ..Facts::default()
            }),
            steps,
            ..Plan::default()
        })
    }

    /// `volume pmm-data-ferry-7f3a9c21`.
    fn whereabouts(&self) -> String {
        match self.place.volume.as_str() {
            "" => format!("folder {}", self.place.folder),
            volume => format!("volume {volume}"),
        }
    }

    fn open(&self, restore_to: &str) -> Step {
        let open = Kind::OpenBackup(v1::OpenBackup {
            backup: Some(self.place.clone()),
            restore_to: restore_to.to_owned(),
            server: self.server.clone(),
        });
        let title = format!("open {}", self.whereabouts());
        step(Place::Host, &title, open)
    }
}

/// Compares a backup with its manifest, and that with the digest that the journal has of it (empty:
/// none is known).
///
/// # Errors
/// When the plan cannot be written as JSON.
pub fn verify(about: &About, digest: &str) -> Result<Plan, ferry_proto::PlanError> {
    about.plan(VERIFY, vec![about.open(""), prove(digest), retire()])
}

/// Makes the new volume `into` of a backup that is proven before and compared afterwards.
///
/// # Errors
/// When the plan cannot be written as JSON.
pub fn restore(about: &About, digest: &str, into: &str) -> Result<Plan, ferry_proto::PlanError> {
    let title = format!("restore into new volume {into}");
    let restore = Kind::RestoreBackup(v1::RestoreBackup {});
    let steps = vec![
        about.open(into),
        prove(digest),
        step(Place::Volume, &title, restore),
        retire(),
    ];
    about.plan(RESTORE, steps)
}

/// Removes a backup.
///
/// # Errors
/// When the plan cannot be written as JSON.
pub fn prune(about: &About) -> Result<Plan, ferry_proto::PlanError> {
    about.plan(PRUNE, vec![remove(about)])
}

/// Removes the container that `run` has set aside, the agents' image when nobody needs it, and the
/// backup when that is wanted too. `unit` makes the server's container, where one does, and there is no old one then. `made_by` is a later run, where the server's container is that one's by now.
///
/// # Errors
/// When the plan cannot be written as JSON.
pub fn finish(
    about: &About,
    old_container_id: &str,
    made_by: Option<String>,
    unit: Option<v1::ServiceUnit>,
    agent_image: bool,
    backup: bool,
) -> Result<Plan, ferry_proto::PlanError> {
    let finish = Kind::FinishRun(v1::FinishRun {
        run: about.place.run.clone(),
        container: about.server.clone(),
        old_container_id: old_container_id.to_owned(),
        remove_agent_image: agent_image,
        made_by: made_by.unwrap_or_default(),
        unit,
    });
    let mut steps = vec![step(Place::Host, "remove the old container", finish)];
    if backup {
        steps.push(remove(about));
    }
    about.plan(FINISH, steps)
}

fn remove(about: &About) -> Step {
    let title = format!("remove {}", about.whereabouts());
    let remove = Kind::RemoveBackup(v1::RemoveBackup {
        backup: Some(about.place.clone()),
    });
    step(Place::Host, &title, remove)
}

fn prove(digest: &str) -> Step {
    let prove = Kind::ProveCopy(v1::ProveCopy {
        final_manifest: true,
        digest: digest.to_owned(),
        ..v1::ProveCopy::default()
    });
    step(Place::Volume, "compare with the manifest", prove)
}

fn retire() -> Step {
    let retire = Kind::RetireAgents(v1::RetireAgents::default());
    step(Place::Host, "retire the agent", retire)
}

fn step(place: Place, title: &str, kind: Kind) -> Step {
    let action = Action { kind: Some(kind) };
    Step {
        id: action.kind_name().to_owned(),
        place: place.into(),
        title: title.to_owned(),
        action: Some(action),
        ..Step::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about() -> About {
        About {
            place: BackupPlace {
                run: "7f3a9c21".into(),
                volume: "pmm-data-ferry-7f3a9c21".into(),
                folder: String::new(),
            },
            server: "pmm-server".into(),
            engine: EngineFacts::default(),
            reached: crate::connect::address::EngineChoice::Docker,
            created: Timestamp::default(),
        }
    }

    fn ids(plan: &Plan) -> Vec<&str> {
        plan.steps.iter().map(|step| step.id.as_str()).collect()
    }

    #[test]
    fn plans_are_sealed_and_their_steps_come_in_order() {
        let about = about();
        let plans = [
            (
                verify(&about, "ab").unwrap(),
                vec!["open-backup", "prove-copy", "retire-agents"],
            ),
            (
                restore(&about, "ab", "new").unwrap(),
                vec![
                    "open-backup",
                    "prove-copy",
                    "restore-backup",
                    "retire-agents",
                ],
            ),
            (prune(&about).unwrap(), vec!["remove-backup"]),
            (
                finish(&about, "old", None, None, true, true).unwrap(),
                vec!["finish-run", "remove-backup"],
            ),
            (
                finish(&about, "old", None, None, true, false).unwrap(),
                vec!["finish-run"],
            ),
        ];
        for (plan, steps) in plans {
            ferry_proto::verify(&plan).unwrap();
            assert_eq!(ids(&plan), steps);
            assert!(is_upkeep(&plan), "{}", plan.recipe);
            assert!(plan.steps.iter().all(|step| !step.downtime));
        }
        assert!(!is_upkeep(&crate::samples::plan()));
    }

    #[test]
    fn nothing_of_the_servers_is_asked_for_by_a_proof() {
        let plan = verify(&about(), "").unwrap();
        let retire = plan.steps.last().unwrap().action.clone().unwrap();
        assert_eq!(
            retire.kind,
            Some(Kind::RetireAgents(v1::RetireAgents::default()))
        );
    }
}
