//! What is done about a crossing after it: its backup proven, restored or removed, and the crossing
//! declared finished. Each is a small plan with steps at agents like any other, so that it is
//! journaled, can be killed at any point and gone on with, and needs no second way to do things.

use ferry_proto::v1::{
    self as v1, Action, BackupPlace, ClusterFacts, ContainerFacts, EngineFacts, Facts, Place, Plan,
    Step, action::Kind,
};
use pbjson_types::Timestamp;

use crate::{backups, connect::address::EngineChoice};

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
                cluster: self.cluster(),
                ..Facts::default()
            }),
            steps,
            ..Plan::default()
        })
    }

    /// `volume pmm-data-ferry-7f3a9c21`.
    fn whereabouts(&self) -> String {
        backups::words(&self.place)
    }

    /// Of a cluster, what the agents there are made of: who goes on with the run need not say it again.
    fn cluster(&self) -> Option<ClusterFacts> {
        let EngineChoice::Kubernetes(place) = &self.reached else {
            return None;
        };
        Some(ClusterFacts {
            agent_image: place.agent_image.clone().unwrap_or_default(),
            ..ClusterFacts::default()
        })
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

    fn retire(&self) -> Step {
        let retire = Kind::RetireAgents(v1::RetireAgents {
            // In a cluster it is known by its namespace only.
            opened: self.reached.is_cluster().then(|| self.place.clone()),
            ..v1::RetireAgents::default()
        });
        step(Place::Host, "retire the agent", retire)
    }
}

/// Compares a backup with its manifest, and that with the digest that the journal has of it (empty:
/// none is known).
///
/// # Errors
/// When the plan cannot be written as JSON.
pub fn verify(about: &About, digest: &str) -> Result<Plan, ferry_proto::PlanError> {
    about.plan(VERIFY, vec![about.open(""), prove(digest), about.retire()])
}

/// Makes the new volume `into`, or the new claim, of a backup that is proven before and compared afterwards.
///
/// # Errors
/// When the plan cannot be written as JSON.
pub fn restore(about: &About, digest: &str, into: &str) -> Result<Plan, ferry_proto::PlanError> {
    let kind = if about.reached.is_cluster() {
        "claim"
    } else {
        "volume"
    };
    let title = format!("restore into new {kind} {into}");
    let restore = Kind::RestoreBackup(v1::RestoreBackup {});
    let steps = vec![
        about.open(into),
        prove(digest),
        step(Place::Volume, &title, restore),
        about.retire(),
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
/// In a cluster there is neither an old container nor an image of the engine's: what the StatefulSet was goes.
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
    let mut finish = v1::FinishRun {
        run: about.place.run.clone(),
        container: about.server.clone(),
        ..v1::FinishRun::default()
    };
    let title = if about.reached.is_cluster() {
        "remove what the StatefulSet was"
    } else {
        finish.old_container_id = old_container_id.to_owned();
        finish.remove_agent_image = agent_image;
        finish.made_by = made_by.unwrap_or_default();
        finish.unit = unit;
        "remove the old container"
    };
    let mut steps = vec![step(Place::Host, title, Kind::FinishRun(finish))];
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
                ..BackupPlace::default()
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
    fn in_a_cluster_it_is_known_where_the_agent_is_and_what_it_is_made_of() {
        let place = BackupPlace {
            run: "7f3a9c21".into(),
            claim: "monitoring/pmm-storage-pmm-0-ferry-7f3a9c21".into(),
            ..BackupPlace::default()
        };
        let reached = EngineChoice::Kubernetes(crate::connect::address::InCluster {
            namespace: Some("monitoring".into()),
            agent_image: Some("r.example/ferryd:1".into()),
        });
        let about = About {
            place: place.clone(),
            server: "monitoring/pmm".into(),
            reached: reached.clone(),
            ..about()
        };
        let plan = restore(&about, "ab", "new").unwrap();
        assert_eq!(EngineChoice::of(&plan), reached);
        let titles: Vec<&str> = plan.steps.iter().map(|it| it.title.as_str()).collect();
        assert_eq!(
            titles,
            [
                "open claim monitoring/pmm-storage-pmm-0-ferry-7f3a9c21",
                "compare with the manifest",
                "restore into new claim new",
                "retire the agent",
            ]
        );
        let retire = plan.steps.last().unwrap().action.clone().unwrap();
        let opened = v1::RetireAgents {
            opened: Some(place),
            ..v1::RetireAgents::default()
        };
        assert_eq!(retire.kind, Some(Kind::RetireAgents(opened)));
        // There is no old container, and no image of an engine's.
        let plan = finish(&about, "uid", None, None, true, true).unwrap();
        let expected = v1::FinishRun {
            run: "7f3a9c21".into(),
            container: "monitoring/pmm".into(),
            ..v1::FinishRun::default()
        };
        let kind = plan.steps[0].action.clone().unwrap().kind;
        assert_eq!(kind, Some(Kind::FinishRun(expected)));
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
