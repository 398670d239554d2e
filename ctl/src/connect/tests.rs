//! Tunnels and the agents at their ends, over the double.

use ferry_proto::v1::{GetFactsRequest, GetInfoRequest, Place, ServerFacts, TunnelTarget};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::double::Double;

async fn echo() -> Tunnel {
    let host = Double::new().host().await;
    let target = TunnelTarget {
        run: "7f3a9c21".into(),
        place: Place::Container.into(),
        container: "echo".into(),
    };
    Tunnel::open(host.tunnels(), target).await.unwrap()
}

#[tokio::test]
async fn ten_megabytes_come_back_and_a_half_closed_tunnel_is_read_to_its_end() {
    let sent: Vec<u8> = (0..10_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let (mut read, mut write) = tokio::io::split(echo().await);
    let writing = async {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let mut got = Vec::new();
    let (_, count) = tokio::join!(writing, read.read_to_end(&mut got));
    assert_eq!(count.unwrap(), sent.len() + 3);
    assert!(got[..sent.len()] == sent, "the bytes are others");
    assert_eq!(&got[sent.len()..], b"bye");
}

#[tokio::test]
async fn nothing_is_written_after_the_half_close() {
    let mut tunnel = echo().await;
    tunnel.shutdown().await.unwrap();
    let refused = tunnel.write_all(b"late").await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::BrokenPipe);
    let mut rest = String::new();
    tunnel.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "bye");
}

#[tokio::test]
async fn an_agent_is_reached_through_the_tunnel_and_the_connection_is_kept() {
    let double = Double::new();
    let agents = double.host().await.beside("7f3a9c21", "pmm");
    for _ in 0..3 {
        for place in [Place::Container, Place::Volume] {
            let mut client = agents.at(place).await.unwrap();
            let info = client
                .get_info(GetInfoRequest {})
                .await
                .unwrap()
                .into_inner();
            assert_eq!(info.version, "double");
        }
    }
    assert_eq!(
        double.state().dials,
        3,
        "one to the host, one to each agent"
    );
    agents.forget(Place::Volume).await;
    agents.at(Place::Volume).await.unwrap();
    assert_eq!(double.state().dials, 4);
}

#[tokio::test]
async fn what_was_cut_is_dialled_again() {
    let double = Double::new();
    let agents = double.host().await.beside("7f3a9c21", "pmm");
    let mut client = agents.at(Place::Container).await.unwrap();
    client.get_info(GetInfoRequest {}).await.unwrap();
    double.cut();
    // The first calls may still fall into the old connection; then both the host's channel and
    // the tunnel in it are made anew, without anybody asking for it.
    let mut lost = 0;
    while let Err(status) = client.get_info(GetInfoRequest {}).await {
        assert!(matches!(refusal(&status), Refusal::Lost(_)), "{status:?}");
        lost += 1;
        assert!(lost < 100, "never found again");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_host_agents_refusal_is_told_as_its_own() {
    let agents = Double::new().host().await.beside("7f3a9c21", "missing");
    let error = agents.at(Place::Container).await.unwrap_err();
    assert_eq!(error.code(), "no-such-container");
    assert_eq!(error.to_string(), "no container is called missing");
    assert_eq!(
        agents.at(Place::Unknown).await.unwrap_err().code(),
        "unknown-place"
    );
}

#[tokio::test]
async fn facts_of_a_large_server_fit() {
    let double = Double::new();
    let unreadable_files = (0..80_000)
        .map(|n| format!("clickhouse/store/{n:060}"))
        .collect();
    let facts = ServerFacts {
        unreadable_files,
        ..ServerFacts::default()
    };
    double.state().facts.1.server = Some(facts);
    let agents = double.host().await.beside("7f3a9c21", "pmm");
    let mut client = agents.at(Place::Container).await.unwrap();
    let request = GetFactsRequest {
        walk: true,
        ..GetFactsRequest::default()
    };
    let got = client.get_facts(request).await.unwrap().into_inner();
    assert_eq!(got.server.unwrap().unreadable_files.len(), 80_000);
}

#[tokio::test]
async fn an_agent_in_this_process_is_found_again() {
    let double = Double::new();
    let other = double.clone();
    let channel = open_in_memory("host", move || other.connect())
        .await
        .unwrap();
    let mut client = HostAgent::over(channel).client();
    client.get_info(GetInfoRequest {}).await.unwrap();
    double.cut();
    let mut lost = 0;
    // The first calls may still fall into the connection that ends.
    while client.get_info(GetInfoRequest {}).await.is_err() {
        lost += 1;
        assert!(lost < 100, "never found again");
        tokio::task::yield_now().await;
    }
    // The host's channel is made of one connection at a time.
    assert!(double.state().dials <= 2);
}
