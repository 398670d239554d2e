//! `ferryctl migrate`: check, plan, confirm and apply in one go; or in several, one run for each image on the way, typed or put there by
//! the policy, and one before them where the data has to be copied to a volume first, or the server comes from another machine.
//!
//! Why a run each and not one long run: each has a backup of what it started from, and proves what it ended with before the next
//! begins. What has succeeded stays when a later one fails, and each is taken back by itself, the last first.

use ferry_proto::v1::Facts;

use super::{End, Failed, Session, apply, arrival, hops, moving, plan, rehearse};
use crate::{
    cli::Migrate,
    connect::{ConnectedHost, address::Address},
    exit::Exit,
    recipes::{Wishes, pmm_in_place},
    report,
};

/// What is asked before a run is begun.
#[derive(Clone, Copy)]
enum Consent {
    /// This run alone.
    Asked,
    /// Nothing: who agreed to the move has agreed to what follows.
    Given,
}

pub(super) async fn run(arguments: &Migrate, session: &Session) -> End {
    let (subject, onto, layer) = (&arguments.subject, &arguments.onto, &arguments.layer);
    let typed = arguments.hopping.direct || !arguments.via.is_empty();
    let onto = arrival::Move::of(subject, onto, layer, typed)?;
    let (address, volume, mut consent) = match onto {
        None => (arguments.subject.server.parse()?, true, Consent::Asked),
        Some(moving) => {
            let address = moving.address.clone();
            let exit = arrival::migrate(moving, arguments, session).await?;
            if exit != Exit::Done {
                return Ok(exit);
            }
            // The volume was for the data of the old machine.
            (address, false, Consent::Given)
        }
    };
    let host = session.host(address.engine()).await?;
    let volume = match volume {
        true => moving::volume(session, &host, &address, &arguments.layer).await?,
        false => None,
    };
    let (way, mut seen) = match way(arguments, session, &host, &address, volume.as_deref()).await? {
        Some(way) => way,
        None => return Ok(Exit::Blockers),
    };
    for (number, image) in way.iter().enumerate() {
        let wishes = wishes(arguments, image, volume.as_deref());
        if number == 0 {
            match moving::first(session, &host, &address, &wishes).await? {
                moving::First::Nothing => {}
                moving::First::Blockers => return Ok(Exit::Blockers),
                moving::First::Move(first) => {
                    let exit = to_volume(arguments, session, &host, &address, &first, &way).await?;
                    if exit != Exit::Done {
                        return Ok(exit);
                    }
                    consent = Consent::Given;
                    // Its data is elsewhere now.
                    seen = None;
                }
            }
        }
        let crossing = Crossing {
            arguments,
            wishes: &wishes,
            consent,
            seen: seen.take(),
        };
        let exit = one(crossing, session, &host, &address).await?;
        if exit != Exit::Done {
            return Ok(exit);
        }
    }
    Ok(Exit::Done)
}

/// The images to go to, as they were typed or as the policy has them; with what was seen of the server on the occasion, where it is to
/// go to the first of them at once. `None`: blockers were shown.
async fn way(
    arguments: &Migrate,
    session: &Session,
    host: &ConnectedHost,
    address: &Address,
    volume: Option<&str>,
) -> Result<Option<(Vec<String>, Option<Facts>)>, Failed> {
    let to = &arguments.subject.to;
    if !arguments.via.is_empty() {
        let typed = arguments.via.iter().chain([to]);
        return Ok(Some((typed.cloned().collect(), None)));
    }
    let wishes = wishes(arguments, to, volume);
    let way = hops::way(session, host, address, &wishes, arguments.hopping).await?;
    let images = way.images(to);
    Ok(match way {
        hops::Way::Blocked => None,
        hops::Way::Direct(facts) => Some((images, Some(*facts))),
        hops::Way::Over(_) => {
            let say = format!("The way goes to {}: a run each.", images.join(", then "));
            session.printer.say(&say);
            Some((images, None))
        }
    })
}

pub(super) fn wishes(arguments: &Migrate, image: &str, volume: Option<&str>) -> Wishes {
    Wishes {
        target_image: image.to_owned(),
        recipe: arguments.way.recipe,
        jobs: arguments.jobs,
        ready_seconds: arguments.patience.ready_timeout,
        compare_seconds: arguments.patience.compare_timeout,
        backup: plan::backup(&arguments.target),
        bytes_per_second: arguments.pace.io_limit,
        data_volume: volume.map(str::to_owned),
        ..plan::wishes(&arguments.subject)
    }
}

/// The run that copies the data to a volume. What follows is asked for here too: it is planned when this is done, and begins at once.
async fn to_volume(
    arguments: &Migrate,
    session: &Session,
    host: &ConnectedHost,
    address: &Address,
    wishes: &Wishes,
    way: &[String],
) -> End {
    let (_, made) = plan::make(session, host, address, wishes).await?;
    let Ok(plan) = made else {
        return Ok(Exit::Blockers);
    };
    session
        .printer
        .say(&report::plan(&plan, "", session.printer.settings().stderr));
    let question = format!(
        "Copy the data of {} to the new volume {} now, and then carry it from PMM {} to {}, each with a stop of the server?",
        address.container(),
        wishes.data_volume.as_deref().unwrap_or_default(),
        plan.from_version,
        way.join(", then ")
    );
    session.confirm(arguments.yes, &question).await?;
    apply::begin(session, host, &plan, arguments.on_failure).await
}

/// One run of the way.
struct Crossing<'a> {
    arguments: &'a Migrate,
    wishes: &'a Wishes,
    consent: Consent,
    /// What was seen of the server a moment ago.
    seen: Option<Facts>,
}

/// To one image.
async fn one(
    crossing: Crossing<'_>,
    session: &Session,
    host: &ConnectedHost,
    address: &Address,
) -> End {
    let (arguments, wishes) = (crossing.arguments, crossing.wishes);
    let (_, made) = match crossing.seen {
        Some(facts) => plan::of(session, address, wishes, facts),
        None => plan::make(session, host, address, wishes).await?,
    };
    let Ok(mut plan) = made else {
        return Ok(Exit::Blockers);
    };
    if arguments.rehearse && plan.recipe != pmm_in_place::UPDATE {
        let exit = rehearse::rehearse(session, host, address, wishes, false).await?;
        if exit != Exit::Done {
            return Ok(exit);
        }
        // It may have taken hours.
        let (_, made) = plan::make(session, host, address, wishes).await?;
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
    let agreed = arguments.yes || matches!(crossing.consent, Consent::Given);
    session.confirm(agreed, &question).await?;
    apply::begin(session, host, &plan, arguments.on_failure).await
}
