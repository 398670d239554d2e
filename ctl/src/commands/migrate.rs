//! `ferryctl migrate`: check, plan, confirm and apply in one go; or in several, one run for each image on the way.
//!
//! Why a run each and not one long run: each has a backup of what it started from, and proves what it ended with before the next
//! begins. What has succeeded stays when a later one fails, and each is taken back by itself, the last first.

use super::{End, Session, apply, plan, rehearse};
use crate::{
    cli::Migrate,
    connect::{ConnectedHost, address::Address},
    exit::Exit,
    recipes::{Wishes, pmm_in_place},
    report,
};

pub(super) async fn run(arguments: &Migrate, session: &Session) -> End {
    let address: Address = arguments.subject.server.parse()?;
    let host = session.host(address.engine()).await?;
    let way = arguments.via.iter().chain([&arguments.subject.to]);
    for image in way {
        let exit = one(arguments, session, &host, &address, image).await?;
        if exit != Exit::Done {
            return Ok(exit);
        }
    }
    Ok(Exit::Done)
}

/// To one image.
async fn one(
    arguments: &Migrate,
    session: &Session,
    host: &ConnectedHost,
    address: &Address,
    image: &str,
) -> End {
    let wishes = Wishes {
        target_image: image.to_owned(),
        recipe: arguments.way.recipe,
        jobs: arguments.jobs,
        ready_seconds: arguments.patience.ready_timeout,
        compare_seconds: arguments.patience.compare_timeout,
        backup: plan::backup(&arguments.target),
        bytes_per_second: arguments.pace.io_limit,
        ..plan::wishes(&arguments.subject)
    };
    let (_, made) = plan::make(session, host, address, &wishes).await?;
    let Ok(mut plan) = made else {
        return Ok(Exit::Blockers);
    };
    if arguments.rehearse && plan.recipe != pmm_in_place::UPDATE {
        let exit = rehearse::rehearse(session, host, address, &wishes, false).await?;
        if exit != Exit::Done {
            return Ok(exit);
        }
        // It may have taken hours.
        let (_, made) = plan::make(session, host, address, &wishes).await?;
        match made {
            Ok(fresh) => plan = fresh,
            Err(exit) => return Ok(exit),
        }
    }
    session
        .printer
        .say(&report::plan(&plan, "", session.printer.settings().stderr));
    let question = format!(
        "Carry {} from PMM {} to {} now?",
        address.container(),
        plan.from_version,
        plan.to_version
    );
    session.confirm(arguments.yes, &question).await?;
    apply::begin(session, host, &plan, arguments.on_failure).await
}
