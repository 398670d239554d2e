//! The look at a server, over the double: whatever comes of it, nothing is left behind.

use ferry_proto::v1::{ContainerFacts, DataFacts, ServerFacts};

use super::*;
use crate::double::Double;

fn double(running: bool) -> Double {
    let double = Double::new();
    double.state().facts = (
        Facts {
            container: Some(ContainerFacts {
                name: "pmm".into(),
                running,
                ..Default::default()
            }),
            ..Facts::default()
        },
        Facts {
            server: Some(ServerFacts {
                version: "2.44.1".into(),
                ..ServerFacts::default()
            }),
            data: Some(DataFacts {
                entries: 7,
                ..DataFacts::default()
            }),
            ..Facts::default()
        },
    );
    double
}

async fn look(double: &Double, shutdown: &CancellationToken) -> Result<Facts, FactsError> {
    let wanted = Wanted {
        container: "pmm".into(),
        ..Wanted::default()
    };
    gather(&double.host().await, &wanted, shutdown).await
}

const LAUNCHED_AND_TAKEN_AWAY: [&str; 2] = ["do launch-agents", "undo launch-agents"];

#[tokio::test]
async fn a_running_server_is_seen_from_beside_it() {
    let double = double(true);
    let facts = look(&double, &CancellationToken::new()).await.unwrap();
    assert_eq!(facts.container.unwrap().name, "pmm");
    assert_eq!(facts.server.unwrap().version, "2.44.1");
    assert_eq!(facts.data.unwrap().entries, 7);
    assert_eq!(double.state().effects, LAUNCHED_AND_TAKEN_AWAY);
}

#[tokio::test]
async fn a_key_is_sent_to_the_agent_beside_the_server_alone() {
    let double = double(true);
    let wanted = Wanted {
        container: "pmm".into(),
        api_key: Some(Secret::new("glsa_1")),
        ..Wanted::default()
    };
    let host = double.host().await;
    gather(&host, &wanted, &CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(double.state().keyed, ["look, walk true"]);
}

#[tokio::test]
async fn a_stopped_server_is_seen_from_the_host_only() {
    let double = double(false);
    let facts = look(&double, &CancellationToken::new()).await.unwrap();
    assert_eq!(facts.server, None);
    assert!(double.state().effects.is_empty());
}

#[tokio::test]
async fn a_look_that_fails_leaves_nothing_behind() {
    let blind = double(true);
    blind.state().blind = true;
    let error = look(&blind, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.code(), "agent-refused");
    assert_eq!(blind.state().effects, LAUNCHED_AND_TAKEN_AWAY);

    let broken = double(true);
    broken.state().fail.insert(("launch-agents".into(), false));
    let error = look(&broken, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.code(), "broken");
    assert_eq!(broken.state().effects, LAUNCHED_AND_TAKEN_AWAY);
}

#[tokio::test]
async fn a_look_that_is_stopped_leaves_nothing_behind() {
    let double = double(true);
    double.state().hang.insert("launch-agents".into());
    let stop = CancellationToken::new();
    let stopping = async {
        while double.state().effects.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stop.cancel();
    };
    let (looked, ()) = tokio::join!(look(&double, &stop), stopping);
    assert_eq!(looked.unwrap_err().code(), "interrupted");
    assert_eq!(double.state().effects, LAUNCHED_AND_TAKEN_AWAY);
    let asked = double.state().asked.clone();
    assert_eq!(asked[1..], ["cancel launch-agents", "undo launch-agents 1"]);
}

#[tokio::test]
async fn a_sidecar_that_stays_is_named() {
    let double = double(true);
    double.state().fail.insert(("launch-agents".into(), true));
    let error = look(&double, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.code(), "agents-left-behind");
    assert!(
        error.hint().unwrap().contains("ferry.run=check-"),
        "{error}"
    );
}
