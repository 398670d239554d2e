//! `ferryctl plan`: a file that a person can read, keep and apply later; nothing is changed.

use std::{io::Write as _, path::Path};

use ferry_proto::v1::{Facts, Plan};
use fs_err::os::unix::fs::OpenOptionsExt as _;
use pbjson_types::Timestamp;

use super::{End, Failed, Session, arrival, check, hops, moving};
use crate::{
    cli::{self, MakePlan, Subject, Target},
    connect::{ConnectedHost, address::Address},
    exit::Exit,
    recipes::{
        self, Backup, Compose, Unit, Wishes,
        policy::{self, Allowed},
    },
    report,
    run::journal,
};

pub(super) async fn run(arguments: &MakePlan, session: &Session) -> End {
    let (subject, onto, layer) = (&arguments.subject, &arguments.onto, &arguments.layer);
    if let Some(moving) = arrival::Move::of(subject, onto, layer, arguments.hopping.direct)? {
        return arrival::plan(moving, arguments, session).await;
    }
    let address: Address = arguments.subject.server.parse()?;
    let host = session.host(address.engine()).await?;
    let wishes = Wishes {
        recipe: arguments.way.recipe,
        jobs: arguments.jobs,
        ready_seconds: arguments.patience.ready_timeout,
        compare_seconds: arguments.patience.compare_timeout,
        backup: backup(&arguments.target),
        bytes_per_second: arguments.pace.io_limit,
        data_volume: moving::volume(session, &host, &address, &arguments.layer).await?,
        ..wishes(&arguments.subject)
    };
    let way = hops::way(session, &host, &address, &wishes, arguments.hopping).await?;
    let images = way.images(&wishes.target_image);
    let (wishes, seen) = match way {
        hops::Way::Blocked => return Ok(Exit::Blockers),
        hops::Way::Direct(facts) => (wishes, Some(*facts)),
        hops::Way::Over(_) => {
            session.printer.say(&format!(
                "The way goes to {}: this is the plan for the first alone. When it is carried out, plan again for {}.",
                images.join(", then "),
                wishes.target_image
            ));
            let target_image = images.into_iter().next().unwrap_or_default();
            (
                Wishes {
                    target_image,
                    ..wishes
                },
                None,
            )
        }
    };
    let (wishes, seen) = match moving::first(session, &host, &address, &wishes).await? {
        moving::First::Nothing => (wishes, seen),
        moving::First::Blockers => return Ok(Exit::Blockers),
        moving::First::Move(first) => {
            session.printer.say(&format!(
                "The data is copied to a volume first: this is the plan for that alone. When it is carried out, plan again for {}.",
                wishes.target_image
            ));
            (*first, None)
        }
    };
    let (_, made) = match seen {
        Some(facts) => of(session, &address, &wishes, facts),
        None => make(session, &host, &address, &wishes).await?,
    };
    let Ok(plan) = made else {
        return Ok(Exit::Blockers);
    };
    write(&arguments.out, &plan)?;
    let file = arguments.out.display().to_string();
    session.printer.data(
        |look| report::plan(&plan, &file, look),
        || report::json::plan(&plan),
    );
    Ok(Exit::Done)
}

/// Looks at the server and plans. When there are blockers they are printed, and there is no plan.
pub(super) async fn make(
    session: &Session,
    host: &ConnectedHost,
    address: &Address,
    wishes: &Wishes,
) -> Result<(Facts, Result<Plan, Exit>), Failed> {
    let facts = session.facts(host, address, wishes, true).await?;
    Ok(of(session, address, wishes, facts))
}

/// Plans from what was just seen, in the same way.
pub(super) fn of(
    session: &Session,
    address: &Address,
    wishes: &Wishes,
    facts: Facts,
) -> (Facts, Result<Plan, Exit>) {
    let planned = recipes::plan(&address.to_string(), facts.clone(), wishes, now());
    match planned {
        Ok(plan) => (facts, Ok(plan)),
        Err(refused) => {
            let exit = check::show(session, &facts, &refused.findings, &[]);
            (facts, Err(exit))
        }
    }
}

/// What was asked for, with everything else as most people want it.
pub(super) fn wishes(subject: &Subject) -> Wishes {
    let rules = subject.allow_target.iter().cloned();
    let mut allowed = rules.fold(Allowed::default(), Allowed::and);
    if subject.allow_floating_tag {
        allowed = allowed.and(policy::FLOATING.name);
    }
    let compose = match subject.compose {
        Some(cli::Compose::ContainerOnly) => Compose::ContainerOnly,
        Some(cli::Compose::Edit) => Compose::Edit,
        None => Compose::Refuse,
    };
    let unit = match subject.unit {
        Some(cli::Unit::Edit) => Unit::Edit,
        None => Unit::Refuse,
    };
    Wishes {
        allowed,
        compose,
        unit,
        ..Wishes::new(&subject.to)
    }
}

/// Where the copy was asked for.
pub(super) fn backup(target: &Target) -> Backup {
    let folder = target.backup_to.clone();
    folder.map_or(Backup::NewVolume, Backup::Folder)
}

pub(super) fn write(path: &Path, plan: &Plan) -> Result<(), Failed> {
    let text = serde_json::to_string_pretty(plan)
        .map_err(|e| Failed::plain("plan-json", format!("the plan cannot be written: {e}")))?;
    // It tells host paths and versions: for its owner only. Whole or not at all: a plan that was cut
    // off must not lie under the name that was asked for.
    let fresh = path.with_extension("ferry-new");
    let written = fs_err::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut file| file.write_all((text + "\n").as_bytes()))
        .and_then(|()| fs_err::rename(&fresh, path));
    written.map_err(|e| {
        Failed::plain("plan-unwritable", e.to_string()).hint("name another file with `--out`")
    })
}

pub(super) fn now() -> Timestamp {
    let now = journal::now();
    Timestamp {
        seconds: now.div_euclid(1000),
        nanos: i32::try_from(now.rem_euclid(1000) * 1_000_000).unwrap_or(0),
    }
}
