//! `ferryctl clients upgrade`: look, plan, confirm and apply for one client after the other; the first that fails ends it.
//!
//! Why one after the other: what is wrong with the first would most likely be wrong with all, and one client that does not come back is
//! better than forty.

use ferry_proto::v1::{Facts, GetFactsRequest};

use super::super::{End, Failed, Session, apply, check, plan::now, session::Way};
use crate::{
    cli::UpgradeClients,
    connect::{
        ConnectedHost,
        address::{Address, AgentAddress},
    },
    exit::Exit,
    facts::{self, FactsError, Wanted},
    recipes::{
        Version, client_target, client_version,
        pmm_client_upgrade::{self, ClientWishes},
    },
    report,
    run::journal::server_key,
};

pub(super) async fn run(arguments: &UpgradeClients, session: &Session) -> End {
    let server: Address = arguments.server.parse()?;
    let host = session.host(server.engine()).await?;
    for client in &arguments.hosts {
        let exit = one(arguments, session, &host, &server, client).await?;
        if exit != Exit::Done {
            return Ok(exit);
        }
    }
    Ok(Exit::Done)
}

async fn one(
    arguments: &UpgradeClients,
    session: &Session,
    host: &ConnectedHost,
    server: &Address,
    client: &AgentAddress,
) -> End {
    let file = arguments.package.as_deref().unwrap_or_default();
    let facts = look(session, host, server, client, file).await?;
    let wishes = ClientWishes {
        client: format!("https://{client}"),
        to: arguments.to.clone(),
        timeout_seconds: arguments.timeout,
    };
    if let Some(version) = up_to_date(&facts, &wishes) {
        session
            .printer
            .say(&format!("The client at {client} is PMM {version} already."));
        return Ok(Exit::Done);
    }
    let made = pmm_client_upgrade::plan(&server.to_string(), facts.clone(), &wishes, now());
    let plan = match made {
        Ok(plan) => plan,
        Err(refused) => return Ok(check::show(session, &facts, &refused.findings, &[])),
    };
    let settings = session.printer.settings();
    session
        .printer
        .say(&report::plan(&plan, "", settings.stderr));
    let of = pmm_client_upgrade::client_of(&plan)
        .map(|it| it.host.clone())
        .unwrap_or_default();
    let question = format!(
        "Carry the client on {of} from PMM {} to {} now?",
        plan.from_version, plan.to_version
    );
    session.confirm(arguments.yes, &question).await?;
    let journal = session.journal()?;
    let run = journal.create_run(&plan, &key(&facts))?;
    session
        .drive(
            host,
            &journal,
            &run,
            &plan,
            Some(arguments.on_failure),
            &Way::Onward,
        )
        .await
}

/// The client as its server knows it, and as it is on its host.
async fn look(
    session: &Session,
    host: &ConnectedHost,
    server: &Address,
    client: &AgentAddress,
    file: &str,
) -> Result<Facts, Failed> {
    session.printer.detail("looking at the client");
    let agent = session.client(client).await?;
    let request = GetFactsRequest {
        client_file: file.to_owned(),
        ..GetFactsRequest::default()
    };
    let answer = agent.client().get_facts(request).await;
    let there = answer.map_err(FactsError::from)?.into_inner();
    let identity = facts::identify(host.agent(), server.container()).await?;
    apply::refuse_locked(session, &identity)?;
    let wanted = Wanted {
        container: server.container().to_owned(),
        clients: true,
        only_clients: true,
        ..Wanted::default()
    };
    let facts = facts::gather(host.agent(), &wanted, &session.shutdown).await?;
    if facts.clients.is_none() {
        return Err(super::untold(&facts, server.container()));
    }
    Ok(Facts {
        client_host: there.client_host,
        ..facts
    })
}

/// The version of a client that is what it would become.
fn up_to_date(facts: &Facts, wishes: &ClientWishes) -> Option<Version> {
    let now = client_version(facts)?;
    let target = client_target(facts, wishes.to.as_deref())?;
    (target.version == now).then_some(now)
}

/// What is locked while a client is worked on: the client, and not its server.
fn key(facts: &Facts) -> String {
    let agent = facts
        .client_host
        .as_ref()
        .map_or("", |it| it.agent_id.as_str());
    format!("{}/client/{agent}", server_key(facts))
}
