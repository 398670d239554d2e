//! `ferryctl clients`: who sends this server its metrics, and what each needs; nothing is changed unless that is asked for.

mod upgrade;

use super::{End, Failed, Session};
use crate::{
    cli::{Clients, ClientsCommand},
    clients,
    connect::address::Address,
    exit::Exit,
    facts::{self, Wanted},
    report,
};

pub(super) async fn run(arguments: &Clients, session: &Session) -> End {
    match &arguments.command {
        Some(ClientsCommand::Upgrade(arguments)) => upgrade::run(arguments, session).await,
        None => list(arguments.server.as_deref().unwrap_or_default(), session).await,
    }
}

async fn list(server: &str, session: &Session) -> End {
    let address: Address = server.parse()?;
    let host = session.host(address.engine()).await?;
    session.printer.detail("asking the server for its clients");
    let wanted = Wanted {
        container: address.container().to_owned(),
        clients: true,
        ..Wanted::default()
    };
    let facts = facts::gather(host.agent(), &wanted, &session.shutdown).await?;
    let Some(told) = &facts.clients else {
        return Err(untold(&facts, address.container()));
    };
    let all = clients::clients(&facts, server);
    let version = facts.server.as_ref().map_or("", |server| &server.version);
    session.printer.data(
        |look| report::clients(&all, (server, version), &told.versions_unobserved, look),
        || report::json::clients(&all),
    );
    Ok(Exit::Done)
}

/// Why nothing is known of a server's clients.
fn untold(facts: &ferry_proto::v1::Facts, name: &str) -> Failed {
    if facts.container.as_ref().is_some_and(|it| !it.running) {
        let what = format!("`{name}` does not run, so nobody can be asked for its clients");
        return Failed::plain("server-not-running", what)
            .hint(format!("`docker start {name}`, then ask again"));
    }
    let unobserved = facts.server.iter().flat_map(|it| &it.unobserved);
    let whys: Vec<String> = unobserved
        .filter(|it| it.what == "the clients" || it.what == "PMM's API")
        .map(|it| it.why.clone())
        .collect();
    let what = if whys.is_empty() {
        format!("`{name}` answers no question about its clients: no PMM is ready in it")
    } else {
        format!("`{name}` does not tell its clients: {}", whys.join("; "))
    };
    Failed::plain("clients-unobserved", what).hint(format!(
        "`ferryctl check docker:{name} --to IMAGE` says what is wrong with it"
    ))
}
