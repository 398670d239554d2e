//! Agents beside a server and on volumes alone, and the tunnel to them.

use std::{collections::BTreeMap, time::Duration};

use ferry_agent::engine::{
    EndpointConfig, Engine,
    agents::{AgentKind, AgentMount, AgentSpec, Retired, agent_name},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixStream},
};

use crate::{
    NOW,
    engine_support::{Names, engine},
};

fn spec(server: &str, run: &str, image: &str, kind: AgentKind, args: &[&str]) -> AgentSpec {
    AgentSpec {
        ids: String::new(),
        server: server.into(),
        container: server.into(),
        run: run.into(),
        image: image.into(),
        kind,
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        memory: None,
    }
}

/// Sends a megabyte through a new tunnel and expects it back.
async fn echo(engine: &Engine, agent: &str) {
    let sent: Vec<u8> = (0..1_000_000_u32)
        .map(|n| u8::try_from(n % 251).unwrap())
        .collect();
    let (mut reader, mut writer) = tokio::io::split(engine.dial(agent).await.unwrap());
    let mut got = vec![0; sent.len()];
    let (wrote, read) = tokio::join!(writer.write_all(&sent), reader.read_exact(&mut got));
    wrote.unwrap();
    read.unwrap();
    assert!(got == sent);
}

async fn dials_of(engine: &Engine, agent: &str) -> usize {
    let label = format!("ferry.agent={agent}");
    engine
        .list_containers(&[("label", "ferry.role=dial"), ("label", &label)])
        .await
        .unwrap()
        .len()
}

async fn no_dials_left(engine: &Engine, agent: &str) {
    for _ in 0..100 {
        if dials_of(engine, agent).await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("proxies stayed behind");
}

/// An engine in front of this machine's that fails whenever the container `id` is to be started: as one does that was killed while it
/// started it, and takes the id for that of another one since.
async fn failing_to_start(id: &str) -> Engine {
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", front.local_addr().unwrap());
    let start = format!("/containers/{id}/start");
    tokio::spawn(async move {
        while let Ok((near, _)) = front.accept().await {
            let far = UnixStream::connect("/var/run/docker.sock").await.unwrap();
            tokio::spawn(pass_on(near, far, start.clone()));
        }
    });
    Engine::connect(&EndpointConfig::host(address))
        .await
        .unwrap()
}

/// Both ways, until somebody asks for what is refused: each request without a body comes in one piece.
async fn pass_on(near: TcpStream, far: UnixStream, refused: String) {
    let (mut asked, mut answers) = near.into_split();
    let (mut answered, mut asks) = far.into_split();
    let mut piece = vec![0; 64 * 1024];
    let mut buffer = vec![0; 64 * 1024];
    loop {
        tokio::select! {
            read = asked.read(&mut piece) => {
                let Ok(length @ 1..) = read else { return };
                let piece = &piece[..length];
                if piece.starts_with(b"POST") && String::from_utf8_lossy(piece).contains(&refused) {
                    let body = "{\"message\":\"id already in use\"}";
                    let head = "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nConnection: close";
                    let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                    let _gone = answers.write_all(answer.as_bytes()).await;
                    return;
                }
                if asks.write_all(piece).await.is_err() { return }
            }
            read = answered.read(&mut buffer) => {
                let Ok(length @ 1..) = read else { return };
                if answers.write_all(&buffer[..length]).await.is_err() { return }
            }
        }
    }
}

#[tokio::test]
async fn an_agent_whose_container_cannot_be_started_again_gets_another() {
    let Some(engine) = engine("an_agent_whose_container_cannot_be_started_again").await else {
        return;
    };
    if engine.endpoint() != "unix:///var/run/docker.sock" {
        println!("skipped: the engine is not at /var/run/docker.sock");
        return;
    }
    let names = Names::new("taken");
    let program = names.program();
    let image = engine.load_agent_image(&program).await.unwrap();
    names.also("image", &image);
    let server = names.container("server");
    let body = json!({"Image": image, "Cmd": ["hold"], "HostConfig": {"NetworkMode": "none"}});
    engine.create(&server, &body).await.unwrap();
    engine.start(&server).await.unwrap();
    let sidecar = agent_name(&server, &AgentKind::Sidecar);
    names.also("container", &sidecar);
    names.also("volume", &format!("{sidecar}-socket"));
    let wanted = spec(&server, "run-1", &image, AgentKind::Sidecar, &[]);
    let first = engine.launch(&wanted).await.unwrap();
    engine.stop(&first.id, NOW).await.unwrap();

    let failing = failing_to_start(&first.id).await;
    let refused = failing.start(&first.id).await.unwrap_err();
    assert!(refused.to_string().contains("(status 500)"), "{refused}");
    let second = failing.launch(&wanted).await.unwrap();
    assert!(!second.reused && second.id != first.id, "{second:?}");
    let inspect = engine.inspect_container(&sidecar).await.unwrap();
    assert!(inspect.running() && inspect.id() == second.id);
}

#[tokio::test]
async fn an_agent_beside_a_server() {
    let Some(engine) = engine("an_agent_beside_a_server").await else {
        return;
    };
    let names = Names::new("agents");
    let program = names.program();
    let image = engine.load_agent_image(&program).await.unwrap();
    names.also("image", &image);
    assert_eq!(engine.load_agent_image(&program).await.unwrap(), image);
    let server = names.container("server");
    let volume = names.volume("data");
    engine
        .create_volume(&volume, &BTreeMap::new())
        .await
        .unwrap();
    let body = json!({"Image": image, "Cmd": ["hold"], "HostConfig": {"NetworkMode": "none", "Binds": [format!("{volume}:/srv")]}});
    let server_id = engine.create(&server, &body).await.unwrap().id;
    engine.start(&server).await.unwrap();
    let sidecar = agent_name(&server, &AgentKind::Sidecar);
    names.also("container", &sidecar);
    names.also("volume", &format!("{sidecar}-socket"));

    let wanted = spec(&server, "run-1", &image, AgentKind::Sidecar, &[]);
    let launched = engine.launch(&wanted).await.unwrap();
    assert_eq!(
        (launched.name.as_str(), launched.reused),
        (sidecar.as_str(), false)
    );
    let again = engine.launch(&wanted).await.unwrap();
    assert_eq!(
        (again.id.as_str(), again.reused),
        (launched.id.as_str(), true)
    );
    let inspect = engine.inspect_container(&sidecar).await.unwrap();
    assert_eq!(inspect.mount_at("/srv").unwrap().name, volume);
    assert_eq!(inspect.network_mode(), format!("container:{server_id}"));
    assert_eq!(inspect.label("ferry.server"), Some(server.as_str()));

    let error = engine
        .launch(&spec(&server, "run-2", &image, AgentKind::Sidecar, &[]))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "server-held-by-run");
    assert!(error.to_string().contains("run-1"), "{error}");
    let error = engine
        .retire(&server, &AgentKind::Sidecar, "run-2", NOW)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "server-held-by-run");

    echo(&engine, &sidecar).await;
    tokio::join!(echo(&engine, &sidecar), echo(&engine, &sidecar));
    no_dials_left(&engine, &launched.id).await;

    // Over TCP as well; the proxy below is the far engine.
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", tcp.local_addr().unwrap());
    if engine.endpoint() == "unix:///var/run/docker.sock" {
        let forward = tokio::spawn(async move {
            while let Ok((mut near, _)) = tcp.accept().await {
                tokio::spawn(async move {
                    let mut far = UnixStream::connect("/var/run/docker.sock").await.unwrap();
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        let over_tcp = Engine::connect(&EndpointConfig::host(address))
            .await
            .unwrap();
        echo(&over_tcp, &sidecar).await;
        drop(over_tcp);
        forward.abort();
    }

    // Renaming the server's container does not open the lock.
    let renamed = names.container("renamed");
    engine.rename(&server, &renamed).await.unwrap();
    let mut other = spec(&server, "run-2", &image, AgentKind::Sidecar, &[]);
    other.container.clone_from(&renamed);
    assert_eq!(
        engine.launch(&other).await.unwrap_err().code(),
        "server-held-by-run"
    );
    other.run = "run-1".into();
    assert!(engine.launch(&other).await.unwrap().reused);
    engine.rename(&renamed, &server).await.unwrap();

    // The server stops and takes its sidecar along; both come back.
    engine.stop(&server, NOW).await.unwrap();
    for _ in 0..100 {
        if !engine.inspect_container(&sidecar).await.unwrap().running() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let error = engine.dial(&sidecar).await.unwrap_err();
    assert_eq!(error.code(), "agent-tunnel");
    engine.start(&server).await.unwrap();
    let back = engine.launch(&wanted).await.unwrap();
    assert_eq!(
        (back.id.as_str(), back.reused),
        (launched.id.as_str(), false)
    );
    let mut attempt = 0;
    loop {
        let mut tunnel = engine.dial(&sidecar).await.unwrap();
        tunnel.write_all(b"x").await.unwrap();
        match tunnel.read_u8().await {
            Ok(byte) => break assert_eq!(byte, b'x'),
            Err(error) => assert!(attempt < 20, "{error}"),
        }
        attempt += 1;
    }

    assert_eq!(
        engine
            .retire(&server, &AgentKind::Sidecar, "run-1", NOW)
            .await
            .unwrap(),
        Retired::Removed
    );
    assert_eq!(
        engine
            .retire(&server, &AgentKind::Sidecar, "run-1", NOW)
            .await
            .unwrap(),
        Retired::Absent
    );
    assert!(
        engine
            .find_volume(&format!("{sidecar}-socket"))
            .await
            .unwrap()
            .is_none()
    );
    assert!(engine.find_volume(&volume).await.unwrap().is_some());
}

#[tokio::test]
async fn an_agent_on_volumes_alone() {
    let Some(engine) = engine("an_agent_on_volumes_alone").await else {
        return;
    };
    let names = Names::new("volumes");
    let image = engine.load_agent_image(&names.program()).await.unwrap();
    names.also("image", &image);
    let (server, volume) = (names.container("server"), names.volume("data"));
    let body = json!({"Image": image, "Cmd": ["hold"], "HostConfig": {"NetworkMode": "none", "Binds": [format!("{volume}:/srv")]}});
    engine.create(&server, &body).await.unwrap();
    let mounts = vec![AgentMount {
        source: volume.clone(),
        destination: "/srv".into(),
        read_only: true,
    }];
    let kind = AgentKind::Volume { mounts };
    let name = agent_name(&server, &kind);
    names.also("container", &name);
    names.also("volume", &format!("{name}-socket"));

    // One that does not listen: the proxy's own words arrive.
    let silent = engine
        .launch(&spec(&server, "r", &image, kind.clone(), &["--silent"]))
        .await
        .unwrap();
    let mut tunnel = engine.dial(&name).await.unwrap();
    let error = tunnel.read_u8().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("nobody listens at /run/ferry/agent.sock"),
        "{error}"
    );
    no_dials_left(&engine, &silent.id).await;

    // Another description replaces it.
    let launched = engine
        .launch(&spec(&server, "r", &image, kind.clone(), &[]))
        .await
        .unwrap();
    assert_ne!(launched.id, silent.id);
    let inspect = engine.inspect_container(&name).await.unwrap();
    assert!(!inspect.mount_at("/srv").unwrap().writable);
    assert_eq!(inspect.raw()["HostConfig"]["PidMode"], "");
    tokio::time::sleep(Duration::from_millis(300)).await;
    echo(&engine, &name).await;
    assert_eq!(
        engine.retire(&server, &kind, "r", NOW).await.unwrap(),
        Retired::Removed
    );

    // Whoever retired it was killed between the agent and its socket.
    let launched = engine
        .launch(&spec(&server, "r", &image, kind.clone(), &[]))
        .await
        .unwrap();
    engine.stop(&launched.id, NOW).await.unwrap();
    engine.remove_container(&launched.id).await.unwrap();
    let socket = format!("{name}-socket");
    engine.remove_sockets("another", "volume").await.unwrap();
    assert!(engine.find_volume(&socket).await.unwrap().is_some());
    engine.remove_sockets("r", "volume").await.unwrap();
    assert!(engine.find_volume(&socket).await.unwrap().is_none());

    // Somebody else's container of that name is never touched.
    engine
        .create(&name, &json!({"Image": image}))
        .await
        .unwrap();
    let error = engine
        .launch(&spec(&server, "r", &image, kind.clone(), &[]))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "agent-name-taken");
    assert_eq!(
        engine
            .retire(&server, &kind, "r", NOW)
            .await
            .unwrap_err()
            .code(),
        "agent-name-taken"
    );
}
