//! What comes before a crossing whose data lies in the container itself: which volume it is copied to, whether it has to be, and the
//! wishes for that run.

use ferry_proto::v1::Facts;

use super::{Failed, Session, check};
use crate::{
    cli::Layer,
    connect::{ConnectedHost, address::Address},
    facts,
    recipes::{self, Wishes, data_mount, pmm_move_data},
};

/// What has to be done before the crossing.
pub(super) enum First {
    /// The data has a mount, or nobody asked for a volume.
    Nothing,
    /// What lies ahead is blocked, and was shown: then the data is not moved either.
    Blockers,
    /// This.
    Move(Box<Wishes>),
}

/// The volume that was asked for; by default it is called after the server.
pub(super) async fn volume(
    session: &Session,
    host: &ConnectedHost,
    address: &Address,
    layer: &Layer,
) -> Result<Option<String>, Failed> {
    Ok(match layer.data_to_volume.as_deref() {
        None => None,
        Some("") => {
            let seen = identify(session, host, address).await?;
            let name = seen.container.map(|it| it.name).unwrap_or_default();
            Some(format!("{name}-data"))
        }
        Some(name) => Some(name.to_owned()),
    })
}

/// Whether the data has to be moved first. Nobody's data is moved for a crossing that cannot follow, so that is looked at before.
pub(super) async fn first(
    session: &Session,
    host: &ConnectedHost,
    address: &Address,
    crossing: &Wishes,
) -> Result<First, Failed> {
    if crossing.data_volume.is_none() {
        return Ok(First::Nothing);
    }
    let seen = identify(session, host, address).await?;
    if data_mount(&seen).is_some() {
        return Ok(First::Nothing);
    }
    let facts = session.facts(host, address, crossing, true).await?;
    let ahead = recipes::findings(&facts, crossing);
    if recipes::has_blocker(&ahead) {
        check::show(session, &facts, &ahead, &[]);
        return Ok(First::Blockers);
    }
    let image = seen.image.unwrap_or_default();
    Ok(First::Move(Box::new(pmm_move_data::wishes(
        crossing, &image.id,
    ))))
}

/// The container as the engine has it; nothing is launched beside it.
async fn identify(
    session: &Session,
    host: &ConnectedHost,
    address: &Address,
) -> Result<Facts, Failed> {
    session.printer.detail("looking where the data is");
    Ok(facts::identify(host.agent(), address.container()).await?)
}
