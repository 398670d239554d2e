//! `ferryctl apply`: carries out a plan, if it still fits.

use std::path::Path;

use ferry_proto::{
    PlanError,
    v1::{Facts, Plan},
};

use super::{End, Failed, Session, arrival, check, session::Way};
use crate::{
    cli::{Apply, OnFailure},
    connect::{ConnectedHost, address::Address},
    recipes::{self, Backup, Wishes, compare_facts, pmm_move_appliance, pmm_move_data, policy},
    report::{self, Problem},
    run::journal::server_key,
};

pub(super) async fn run(arguments: &Apply, session: &Session) -> End {
    let plan = read(&arguments.plan)?;
    if !plan.client.is_empty() {
        return Err(Failed::plain(
            "plan-other-verb",
            format!(
                "`{}` is the plan of a client's upgrade",
                arguments.plan.display()
            ),
        )
        .hint("`ferryctl clients upgrade` makes such a plan and carries it out"));
    }
    if pmm_move_appliance::origin_of(&plan).is_some() {
        return arrival::apply(&plan, arguments, session).await;
    }
    let address: Address = plan.server.parse()?;
    let host = session.host(address.engine()).await?;
    let image = plan.facts.as_ref().and_then(|facts| facts.target.as_ref());
    let image = image
        .map(|target| target.reference.clone())
        .unwrap_or_default();
    refuse_locked(session, &plan.facts.clone().unwrap_or_default())?;
    let mut planned = plan.facts.clone().unwrap_or_default();
    let wishes = Wishes {
        backup: Backup::of(&planned),
        allowed: policy::Allowed::of(&plan),
        compose: recipes::Compose::of(&plan),
        unit: recipes::Unit::of(&plan),
        recipe: recipes::Recipe::of(&plan),
        data_volume: pmm_move_data::volume_of(&plan).map(str::to_owned),
        ..Wishes::new(&image)
    };
    let mut now = facts_for(session, &host, &address, &wishes, &plan).await?;
    if wishes.compose == recipes::Compose::ContainerOnly {
        // The file is the operator's to change, who may have done it already.
        for facts in [&mut planned, &mut now] {
            if let Some(container) = &mut facts.container {
                container.compose = None;
            }
        }
    }
    let changes = compare_facts(&planned, &now);
    if !changes.is_empty() {
        let name = address.container();
        let again = match pmm_move_data::volume_of(&plan) {
            Some(volume) => format!("--data-to-volume {volume} --to IMAGE"),
            None => format!("--to {image}"),
        };
        let hint = format!("look at what changed, then `ferryctl plan {address} {again}` again");
        let problem = Problem::stale_plan(name, &changes, hint);
        return Err(Failed {
            exit: crate::exit::Exit::Refused,
            problem: Box::new(problem),
        });
    }
    // What the plan does not rest on may stand in its way all the same.
    let findings = recipes::findings(&now, &wishes);
    if recipes::has_blocker(&findings) {
        return Ok(check::show(session, &now, &findings, &[]));
    }
    let question = match pmm_move_data::volume_of(&plan) {
        Some(volume) => format!(
            "Copy the data of {} to the new volume {volume} by this plan?",
            address.container()
        ),
        None => format!(
            "Carry {} from PMM {} to {} by this plan?",
            address.container(),
            plan.from_version,
            plan.to_version
        ),
    };
    if !arguments.yes {
        let file = arguments.plan.display().to_string();
        session.printer.say(&report::plan(
            &plan,
            &file,
            session.printer.settings().stderr,
        ));
    }
    session.confirm(arguments.yes, &question).await?;
    begin(session, &host, &plan, arguments.on_failure).await
}

/// What the server is now, with the image that the plan has: where its name moves, it is looked up by its id.
async fn facts_for(
    session: &Session,
    host: &ConnectedHost,
    address: &Address,
    wishes: &Wishes,
    plan: &Plan,
) -> Result<Facts, Failed> {
    let by = policy::look_up(plan).unwrap_or(&wishes.target_image);
    let look = Wishes {
        target_image: by.to_owned(),
        ..wishes.clone()
    };
    let mut facts = session.facts(host, address, &look, false).await?;
    if let Some(target) = &mut facts.target {
        target.reference.clone_from(&wishes.target_image);
    }
    Ok(facts)
}

/// Makes a run of a plan that fits, and drives it.
pub(super) async fn begin(
    session: &Session,
    host: &ConnectedHost,
    plan: &Plan,
    on_failure: OnFailure,
) -> End {
    let journal = session.journal()?;
    let key = server_key(&plan.facts.clone().unwrap_or_default());
    let run = journal.create_run(plan, &key)?;
    session
        .drive(host, &journal, &run, plan, Some(on_failure), &Way::Onward)
        .await
}

/// Before any look at the server: another run's agents may be at work there.
pub(super) fn refuse_locked(session: &Session, server: &Facts) -> Result<(), Failed> {
    match session.journal()?.open_run_for(&server_key(server))? {
        None => Ok(()),
        Some(row) => Err(Failed::plain(
            "server-locked",
            format!("run {} on this server is {}", row.run, row.state.word()),
        )
        .hint(format!(
            "`ferryctl resume {0}` or `ferryctl rollback {0}`",
            row.run
        ))),
    }
}

fn read(path: &Path) -> Result<Plan, Failed> {
    let unreadable = |why: String| {
        Failed::plain(
            "plan-unreadable",
            format!("`{}` is no plan: {why}", path.display()),
        )
        .hint("`ferryctl plan` makes one")
    };
    let text = fs_err::read_to_string(path).map_err(|e| unreadable(e.to_string()))?;
    ferry_proto::read_plan(&text).map_err(|error| match error {
        PlanError::Unreadable(why) => unreadable(why.to_string()),
        PlanError::Format { .. } => Failed::plain(
            error.code(),
            format!("`{}` is refused: {error}", path.display()),
        )
        .hint("`ferryctl plan` makes one for this release; or use the release that made it"),
        error => Failed::plain(
            error.code(),
            format!("`{}` is refused: {error}", path.display()),
        )
        .hint("plans are not edited: `ferryctl plan` makes another"),
    })
}
