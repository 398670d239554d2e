//! A client's package is exchanged on its host, and its server says what became of it. Two agents are in it: the one on the client's
//! host, which changes it, and the host agent of the server, which asks the server.
//!
//! ```text
//!  keep-client (client) → see-client (host) → upgrade-client (client) → prove-client (host)
//!                          undo: as before,  ◄ undo: old package,
//!                          says the server      old configuration
//! ```
//!
//! Why the look at the client as it is comes behind what is kept: undone in the other order, what was kept goes only when the server has
//! said that the client is back as it was.

use ferry_proto::v1::{
    AwaitClient, ClientChange, ClientHostFacts, Facts, KeepClient, Place, Plan, UpgradeClient,
    action::Kind,
};
use pbjson_types::Timestamp;

use super::{
    PlanRefused,
    check::{client_findings, client_target, client_version},
    has_blocker,
    pmm_in_place::{
        refused,
        steps::{Refine as _, step},
    },
};

/// The name of this recipe in a plan.
pub const NAME: &str = "pmm-client-upgrade";

/// The package that a client becomes.
const PACKAGE: &str = "pmm-client";
/// Two packages of about 150 MB, from a mirror or from a disk.
const KEEP: u64 = 30_000;
/// Unpacking one, and starting the client anew.
const UPGRADE: u64 = 20_000;
/// An observer beside the server, and an answer.
const SEE: u64 = 3_000;
/// A client tries again after some seconds.
const PROVE: u64 = 15_000;

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientWishes {
    /// The address of the agent on the client's host.
    pub client: String,
    /// The version: PMM's or the package's; `None`: the newest that is not newer than the server.
    pub to: Option<String>,
    /// Seconds that the client gets to be connected again.
    pub timeout_seconds: u32,
}

/// Makes the plan for one client. `server` is the server's address.
///
/// # Errors
/// [`PlanRefused`] when a finding is a blocker: a plan is never made with one.
pub fn plan(
    server: &str,
    facts: Facts,
    wishes: &ClientWishes,
    created: Timestamp,
) -> Result<Plan, PlanRefused> {
    let findings = client_findings(&facts, wishes.to.as_deref());
    let host = facts.client_host.clone();
    let target = client_target(&facts, wishes.to.as_deref());
    let from = client_version(&facts);
    let (false, Some(host), Some(target), Some(from)) =
        (has_blocker(&findings), host, target, from)
    else {
        return Err(refused(
            findings,
            "there is no version that it could become",
        ));
    };
    let (from, to) = (from.to_string(), target.version.to_string());
    let file = host.file.clone().unwrap_or_default();
    let change = ClientChange {
        installation: host.installation.clone(),
        package: host.package.clone(),
        package_version: host.package_version.clone(),
        architecture: host.architecture.clone(),
        target_package: if host.file.is_some() { "" } else { PACKAGE }.to_owned(),
        target_package_version: target.package.clone(),
        config_digest: host.config_digest.clone(),
        folder: host.folder.clone(),
        file: file.path.clone(),
        file_sha256: file.sha256,
    };
    let container = facts.container.as_ref().map(|it| it.name.clone());
    let waits = AwaitClient {
        container: container.unwrap_or_default(),
        agent_id: host.agent_id.clone(),
        timeout_seconds: wishes.timeout_seconds,
        ..AwaitClient::default()
    };
    let see = Kind::AwaitClient(AwaitClient {
        version: from.clone(),
        back_version: from.clone(),
        ..waits.clone()
    });
    let prove = Kind::AwaitClient(AwaitClient {
        version: to.clone(),
        ..waits
    });
    let keep = Kind::KeepClient(KeepClient {
        change: Some(change.clone()),
    });
    let upgrade = Kind::UpgradeClient(UpgradeClient {
        change: Some(change),
    });
    let (kept, installed) = match &host.file {
        Some(_) => (
            format!("keep {}, unpack {}", host.folder, file.path),
            format!("PMM {to} into {}", host.folder),
        ),
        None => (
            format!(
                "keep {} {}, fetch {PACKAGE} {}",
                host.package, host.package_version, target.package
            ),
            format!("{PACKAGE} {}", target.package),
        ),
    };
    let steps = vec![
        step(Place::Client, &kept, KEEP, keep),
        step(
            Place::Host,
            &format!("see it connected as {from}"),
            SEE,
            see,
        )
        .id("see-client"),
        step(
            Place::Client,
            &format!("install {installed}, restart it"),
            UPGRADE,
            upgrade,
        ),
        step(
            Place::Host,
            &format!("wait until the server says {to}"),
            PROVE,
            prove,
        )
        .id("prove-client"),
    ];
    let plan = Plan {
        created: Some(created),
        recipe: NAME.to_owned(),
        server: server.to_owned(),
        client: wishes.client.clone(),
        from_version: from,
        to_version: to,
        facts: Some(facts),
        findings: findings.clone(),
        steps,
        ..Plan::default()
    };
    ferry_proto::seal(plan).map_err(|error| refused(findings, &error.to_string()))
}

/// The client that a plan is about; `None` where it is about a server.
#[must_use]
pub fn client_of(plan: &Plan) -> Option<&ClientHostFacts> {
    let facts = plan.facts.as_ref().filter(|_| plan.recipe == NAME);
    facts.and_then(|facts| facts.client_host.as_ref())
}

#[cfg(test)]
mod tests {
    use super::super::check::client_cases;
    use super::*;

    fn wishes() -> ClientWishes {
        ClientWishes {
            client: "https://db7.example.com:7651".into(),
            to: None,
            timeout_seconds: 60,
        }
    }

    #[test]
    fn the_steps_come_in_their_order_and_the_way_back_is_proven_before_what_is_kept_goes() {
        let facts = client_cases::facts();
        let plan = plan("docker:pmm-server", facts, &wishes(), Timestamp::default()).unwrap();
        ferry_proto::verify(&plan).unwrap();
        let steps: Vec<(&str, Place)> = plan.steps.iter().map(|it| (&*it.id, it.place())).collect();
        let expected = [
            ("keep-client", Place::Client),
            ("see-client", Place::Host),
            ("upgrade-client", Place::Client),
            ("prove-client", Place::Host),
        ];
        assert_eq!(steps, expected);
        assert_eq!(
            (&*plan.from_version, &*plan.to_version),
            ("2.44.1", "3.8.1")
        );
        assert_eq!(client_of(&plan).unwrap().host, "db7");
        assert!(
            plan.steps
                .iter()
                .all(|step| !step.downtime && plan.needs_undo_of(step))
        );
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(ferry_proto::read_plan(&text).unwrap(), plan);
    }

    #[test]
    fn a_tarball_is_named_with_its_sum() {
        let mut facts = client_cases::facts();
        client_cases::from_tarball(&mut facts);
        let plan = plan("docker:pmm-server", facts, &wishes(), Timestamp::default()).unwrap();
        let action = plan.steps[0].action.clone().unwrap();
        let Some(Kind::KeepClient(KeepClient {
            change: Some(change),
        })) = action.kind
        else {
            panic!("{action:?}");
        };
        assert_eq!(
            (&*change.file_sha256, &*change.target_package),
            ("cd34", "")
        );
        assert_eq!(
            (&*plan.from_version, &*plan.to_version),
            ("2.44.1", "3.8.1")
        );
    }

    #[test]
    fn no_plan_is_made_with_a_blocker() {
        let wishes = ClientWishes {
            to: Some("3.9.0".into()),
            ..wishes()
        };
        let made = plan(
            "docker:pmm-server",
            client_cases::facts(),
            &wishes,
            Timestamp::default(),
        );
        assert_eq!(made.unwrap_err().findings[0].code, "client-server-first");
        assert!(client_of(&crate::samples::plan()).is_none());
    }
}
