//! What the policy puts before the wished image: found, looked at and agreed to before the first stop, so that a night does not end
//! after the first of three runs with what could have been known in the evening.

use ferry_proto::v1::Facts;

use super::{Failed, Session, check};
use crate::{
    cli::Hopping,
    connect::{ConnectedHost, address::Address},
    facts,
    recipes::{self, Wishes, policy::Hops},
};

/// How the wished image is gone to.
pub(super) enum Way {
    /// At once; with what was seen.
    Direct(Box<Facts>),
    /// By these first.
    Over(Hops),
    /// Not at all: blockers, of this image or of one on the way, were shown.
    Blocked,
}

impl Way {
    /// The images to go to, in their order.
    pub(super) fn images(&self, last: &str) -> Vec<String> {
        let hops = match self {
            Self::Over(hops) => hops.all().map(|it| it.image.clone()).collect(),
            Self::Direct(_) | Self::Blocked => Vec::new(),
        };
        [hops, vec![last.to_owned()]].concat()
    }
}

/// Looks at the server, and at every image on the way.
pub(super) async fn way(
    session: &Session,
    host: &ConnectedHost,
    address: &Address,
    wishes: &Wishes,
    hopping: Hopping,
) -> Result<Way, Failed> {
    let facts = session.facts(host, address, wishes, true).await?;
    let hops = of(session, host, address, &facts, wishes, hopping, true).await?;
    if hops.is_empty() {
        return Ok(Way::Direct(Box::new(facts)));
    }
    let wishes = Wishes {
        hops,
        ..wishes.clone()
    };
    let ahead = recipes::findings(&facts, &wishes);
    if recipes::has_blocker(&ahead) {
        check::show(session, &facts, &ahead, &[]);
        return Ok(Way::Blocked);
    }
    Ok(Way::Over(wishes.hops))
}

/// The hops from these facts, and whether the engine has their images, or can have them.
pub(super) async fn of(
    session: &Session,
    host: &ConnectedHost,
    address: &Address,
    facts: &Facts,
    wishes: &Wishes,
    hopping: Hopping,
    pull: bool,
) -> Result<Hops, Failed> {
    if hopping.direct {
        return Ok(Hops::default());
    }
    let mut hops = recipes::hops(facts, wishes);
    for hop in hops.all_mut() {
        session
            .printer
            .detail(&format!("looking at {}, which comes first", hop.image));
        let image = facts::image(host.agent(), address.container(), &hop.image, pull).await?;
        hop.look(&image);
    }
    Ok(hops)
}
