//! `ferryctl check`: findings; nothing is changed.

use ferry_proto::v1::{Facts, Finding};

use super::{End, Session, arrival, hops, moving, plan};
use crate::{
    cli::{Check, Show},
    connect::address::Address,
    exit::Exit,
    recipes::{self, Wishes},
    report::{self, CheckOptions},
};

pub(super) async fn run(arguments: &Check, session: &Session) -> End {
    let (subject, onto, layer) = (&arguments.subject, &arguments.onto, &arguments.layer);
    if let Some(moving) = arrival::Move::of(subject, onto, layer, arguments.hopping.direct)? {
        return arrival::check(moving, arguments, session).await;
    }
    let address: Address = arguments.subject.server.parse()?;
    let host = session.host(address.engine()).await?;
    let wishes = Wishes {
        recipe: arguments.way.recipe,
        backup: plan::backup(&arguments.target),
        data_volume: moving::volume(session, &host, &address, &arguments.layer).await?,
        ..plan::wishes(&arguments.subject)
    };
    // An image that is missing is not pulled by a mere look; that it is missing is the finding.
    let facts = session.facts(&host, &address, &wishes, false).await?;
    let hopping = arguments.hopping;
    let hops = hops::of(session, &host, &address, &facts, &wishes, hopping, false).await?;
    let findings = recipes::findings(&facts, &Wishes { hops, ..wishes });
    Ok(show(session, &facts, &findings, &arguments.show))
}

/// Prints the findings; the exit code says whether there are blockers.
pub(super) fn show(session: &Session, facts: &Facts, findings: &[Finding], parts: &[Show]) -> Exit {
    let options = |look| CheckOptions {
        look,
        show_env: parts.contains(&Show::Env),
        show_keys: parts.contains(&Show::Keys),
    };
    session.printer.data(
        |look| report::check(facts, findings, options(look)),
        || report::json::check(facts, findings),
    );
    if recipes::has_blocker(findings) {
        Exit::Blockers
    } else {
        Exit::Done
    }
}
