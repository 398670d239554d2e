//! PMM 2 → 3 on the same volume: the ownership changes, the data stays where it is. PMM 2 and 3 run
//! the same PostgreSQL major up to 3.9, so nothing needs to be dumped and restored; the dump and
//! the copy are the way back.
//!
//! The ownership is transferred after the container has stopped, not before: then no process holds
//! the tree, and undoing the steps in reverse gives the old owners back before the old container
//! starts again. Rejected: transferring while PMM 2 runs; its ClickHouse does not restart on a tree
//! of another owner (facts/pmm.md 1.8).

mod rehearsal;
pub(super) mod steps;

use ferry_proto::{
    REHEARSAL,
    v1::{self as v1, Facts, Plan, ServerFacts, Severity},
};
use pbjson_types::Timestamp;

use self::steps::Ground;
use super::{
    PlanRefused, Recipe, Version, Wishes,
    catalogue::{backup, cluster, image},
    check::Subject,
    count_of, findings, policy,
    space::Space,
};
use crate::units::bytes;

/// The name of this recipe in a plan.
pub const NAME: &str = "pmm-in-place";
/// Its name where the image is of the server's own major version: the same steps, without those that make a PMM 2 a PMM 3.
pub const UPDATE: &str = "pmm-update";

/// Makes the plan for one server.
///
/// # Errors
/// [`PlanRefused`] when a finding is a blocker: a plan is never made with one.
pub fn plan(
    server: &str,
    facts: Facts,
    wishes: &Wishes,
    created: Timestamp,
) -> Result<Plan, PlanRefused> {
    let recipe = if Subject::new(&facts).is_update() {
        UPDATE
    } else {
        NAME
    };
    made(recipe, server, facts, wishes, created, |ground| {
        ground.steps(wishes)
    })
}

/// Makes the plan of a rehearsal: the same crossing of a copy, which is discarded unless it is to be kept. It is one for both recipes: the copy
/// gets a new cluster in either case, because that of a running server is torn.
///
/// # Errors
/// As [`plan`]: what blocks the crossing blocks its rehearsal.
pub fn rehearsal(
    server: &str,
    facts: Facts,
    wishes: &Wishes,
    keep: bool,
    created: Timestamp,
) -> Result<Plan, PlanRefused> {
    if Subject::new(&facts).is_update() {
        return Err(not_rehearsed(&facts, wishes));
    }
    if facts.cluster.is_some() {
        return Err(not_in_a_cluster(&facts, wishes));
    }
    if let Some(finding) = no_room_for_the_copy(&facts) {
        let mut findings = findings(&facts, wishes);
        findings.insert(0, finding);
        return Err(PlanRefused { findings });
    }
    made(REHEARSAL, server, facts, wishes, created, |ground| {
        ground.rehearsal_steps(wishes, keep)
    })
}

pub(super) fn made(
    recipe: &str,
    server: &str,
    facts: Facts,
    wishes: &Wishes,
    created: Timestamp,
    steps: impl FnOnce(&Ground<'_>) -> Vec<v1::Step>,
) -> Result<Plan, PlanRefused> {
    let findings = findings(&facts, wishes);
    let Some(ground) = Ground::new(&facts).filter(|_| count_of(&findings, Severity::Blocker) == 0)
    else {
        return Err(refused(findings, "the facts are not complete"));
    };
    let plan = Plan {
        created: Some(created),
        recipe: recipe.to_owned(),
        rehearses: match recipe {
            REHEARSAL => wishes.recipe.name().to_owned(),
            _ => String::new(),
        },
        server: server.to_owned(),
        from_version: ground.version_now().to_owned(),
        to_version: ground.version_then().to_owned(),
        owner: ground.owner(),
        steps: steps(&ground),
        findings: findings.clone(),
        policy: match wishes.recipe {
            // It goes nowhere, so nothing is judged.
            Recipe::PmmMoveData => Vec::new(),
            _ => policy::applied(
                &facts,
                Version::parse(ground.version_now()),
                Version::parse(ground.version_then()),
                wishes,
            ),
        },
        facts: Some(facts.clone()),
        ..Plan::default()
    };
    ferry_proto::seal(plan).map_err(|error| refused(findings, &error.to_string()))
}

/// What a rehearsal lacks that its crossing may have elsewhere: dumps and scratch cluster lie on the copy.
fn no_room_for_the_copy(facts: &Facts) -> Option<v1::Finding> {
    let (server, data) = (facts.server.as_ref()?, facts.data.as_ref()?);
    let (space, free) = (Space::of_rehearsal(server, data), data.backup_free_bytes);
    // Of a server that was not measured something else is said.
    (data.bytes > 0 && free < space.at_backup()).then(|| v1::Finding {
        severity: Severity::Blocker.into(),
        code: backup::DISK_TOO_SMALL.name().to_owned(),
        text: format!(
            "the copy of the rehearsal needs {}, {} are free where the engine keeps volumes",
            space.backup_words(),
            bytes(free)
        ),
        hint: "free or add space where the engine keeps volumes, then rehearse again".to_owned(),
    })
}

fn not_in_a_cluster(facts: &Facts, wishes: &Wishes) -> PlanRefused {
    let mut findings = findings(facts, wishes);
    findings.insert(
        0,
        v1::Finding {
            severity: Severity::Blocker.into(),
            code: cluster::CLUSTER_NOT_YET.name().to_owned(),
            text: "a rehearsal is not there for servers in a cluster".to_owned(),
            hint: "`ferryctl migrate` without one: it has a backup, and goes back by itself"
                .to_owned(),
        },
    );
    PlanRefused { findings }
}

fn not_rehearsed(facts: &Facts, wishes: &Wishes) -> PlanRefused {
    let code = image::UPDATE_NOT_REHEARSED;
    let mut findings = findings(facts, wishes);
    findings.insert(
        0,
        v1::Finding {
            severity: Severity::Blocker.into(),
            code: code.name().to_owned(),
            text: "an update within a major version is not rehearsed".to_owned(),
            hint:
                "`ferryctl migrate` without a rehearsal: it has a backup, and goes back by itself"
                    .to_owned(),
        },
    );
    PlanRefused { findings }
}

/// A refusal always names a blocker, so that nobody is told "no" without a reason.
pub(super) fn refused(mut findings: Vec<v1::Finding>, why: &str) -> PlanRefused {
    if count_of(&findings, Severity::Blocker) == 0 {
        let text = format!("no plan can be made: {why}");
        let hint = "use agent and controller of one release, then check again".to_owned();
        let code = "plan-impossible".to_owned();
        findings.insert(
            0,
            v1::Finding {
                severity: Severity::Blocker.into(),
                code,
                text,
                hint,
            },
        );
    }
    PlanRefused { findings }
}

/// The roles whose password the plan sets to the same, stored as PMM 3 needs it: those that have
/// the well-known default one (facts/pmm.md 1.6). Sorted.
pub(super) fn roles_to_heal(server: &ServerFacts) -> Vec<String> {
    if server.external_postgres {
        return Vec::new();
    }
    let ours = |name: &str| matches!(name, "pmm-managed" | "grafana");
    let mut roles: Vec<String> = server
        .roles
        .iter()
        .filter(|role| role.default_password && role.password_kind != "scram" && ours(&role.name))
        .map(|role| role.name.clone())
        .collect();
    roles.sort();
    roles.dedup();
    roles
}

/// How large the databases are that are dumped.
pub(super) fn database_bytes(server: &ServerFacts) -> u64 {
    let wanted = |database: &&v1::DatabaseFact| steps::DATABASES.contains(&database.name.as_str());
    server
        .databases
        .iter()
        .filter(wanted)
        .fold(0, |sum, database| database.bytes.saturating_add(sum))
}

#[cfg(test)]
mod tests {
    use ferry_proto::v1::action::Kind;

    use crate::samples;

    #[test]
    fn the_steps_come_in_their_order() {
        let mut facts = samples::facts();
        facts
            .server
            .as_mut()
            .unwrap()
            .custom_rule_files
            .push("prometheus/rules/a.yml".into());
        let plan = super::plan("docker:p", facts, &samples::wishes(), Default::default()).unwrap();
        let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "pull-image",
                "launch-agents",
                "capture-baseline",
                "dump-databases",
                "prove-dumps",
                "copy-volume",
                "prove-copy",
                "heal-roles",
                "stop-services",
                "fence-server",
                "stop-server",
                "copy-changes",
                "set-aside-files",
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
            ]
        );
    }

    #[test]
    fn a_bound_on_bytes_a_second_reaches_who_reads_beside_the_running_server_alone() {
        let mut wishes = samples::wishes();
        wishes.bytes_per_second = Some(5 << 20);
        let plan = super::plan("docker:p", samples::facts(), &wishes, Default::default()).unwrap();
        let bounds = plan.steps.iter().filter_map(|step| {
            let bound = match step.action.as_ref()?.kind.as_ref()? {
                Kind::CopyVolume(copy) => copy.bytes_per_second,
                Kind::ProveCopy(prove) => prove.bytes_per_second,
                _ => return None,
            };
            Some((step.id.as_str(), bound))
        });
        assert_eq!(
            bounds.collect::<Vec<_>>(),
            [
                ("copy-volume", 5 << 20),
                ("prove-copy", 5 << 20),
                // The server is down.
                ("copy-changes", 0),
            ]
        );
    }

    #[test]
    fn steps_that_have_nothing_to_do_are_left_out() {
        let mut facts = samples::facts();
        facts
            .server
            .as_mut()
            .unwrap()
            .roles
            .retain(|role| role.password_kind == "scram");
        let plan = super::plan("docker:p", facts, &samples::wishes(), Default::default()).unwrap();
        let has = |id: &str| plan.steps.iter().any(|step| step.id == id);
        assert!(!has("heal-roles") && !has("set-aside-files"));
        assert!(has("migrate-api-keys"));
    }

    /// What makes a PMM 2 a PMM 3 is left out of an update; all that keeps and proves the data is in it.
    #[test]
    fn an_update_has_the_steps_of_a_crossing_but_those_across_majors() {
        let ids = |from: &str, to: &str| {
            let mut facts = samples::facts();
            let server = facts.server.as_mut().unwrap();
            server.version = from.into();
            server
                .custom_rule_files
                .push("prometheus/rules/a.yml".into());
            let target = facts.target.as_mut().unwrap();
            target.version = to.into();
            target.pmm_major = if to.starts_with('2') { 2 } else { 3 };
            let made = super::plan("docker:p", facts, &samples::wishes(), Default::default());
            let plan = made.unwrap();
            let ids = plan.steps.iter().map(|step| step.id.clone());
            (
                plan.recipe.clone(),
                plan.owner.is_some(),
                Vec::from_iter(ids),
            )
        };
        let (_, _, crossing) = ids("2.44.1", "3.8.1");
        let without = |left_out: &[&str]| {
            let kept = crossing
                .iter()
                .filter(|id| !left_out.contains(&id.as_str()));
            Vec::from_iter(kept.cloned())
        };
        let across = ["heal-roles", "set-aside-files", "migrate-api-keys"];
        let within_3 = without(&across);
        assert_eq!(ids("3.4.0", "3.8.1"), ("pmm-update".into(), true, within_3));
        let of_3 = ["transfer-ownership", "keep-encryption-key"];
        let within_2 = without(&[&across[..], &of_3].concat());
        assert_eq!(
            ids("2.41.2", "2.44.1"),
            ("pmm-update".into(), false, within_2)
        );
    }

    #[test]
    fn an_update_is_not_rehearsed() {
        let mut facts = samples::facts();
        facts.server.as_mut().unwrap().version = "3.4.0".into();
        let wishes = samples::wishes();
        let made = super::rehearsal("docker:p", facts, &wishes, false, Default::default());
        let refused = made.unwrap_err();
        assert_eq!(refused.findings[0].code, "update-not-rehearsed");
    }

    #[test]
    fn a_rehearsal_leaves_out_whatever_changes_the_server() {
        let plan = super::rehearsal(
            "docker:p",
            samples::facts(),
            &samples::wishes(),
            false,
            Default::default(),
        );
        let plan = plan.unwrap();
        assert!(plan.is_rehearsal());
        assert!(
            plan.steps
                .iter()
                .all(|step| !step.downtime && !step.point_of_no_return)
        );
        insta::assert_json_snapshot!(plan.steps);
    }

    #[test]
    fn a_rehearsal_needs_its_room_where_its_copy_is() {
        let rehearsed = |free: u64| {
            let mut facts = samples::facts();
            let data = facts.data.as_mut().unwrap();
            data.backup_same_disk = false;
            data.backup_free_bytes = free;
            let of = super::Space::of_rehearsal(facts.server.as_ref().unwrap(), data);
            let wishes = samples::wishes();
            let made = super::rehearsal("docker:p", facts, &wishes, false, Default::default());
            (of.at_backup(), made)
        };
        let (needed, _) = rehearsed(0);
        assert!(rehearsed(needed).1.is_ok());
        let refused = rehearsed(needed - 1).1.unwrap_err();
        let finding = &refused.findings[0];
        assert_eq!(finding.code, "disk-too-small");
        assert!(finding.text.contains("scratch cluster"), "{finding:?}");
    }

    #[test]
    fn a_plan_is_the_same_for_the_same_facts() {
        assert_eq!(samples::plan(), samples::plan());
        insta::assert_json_snapshot!(samples::plan().steps);
    }
}
