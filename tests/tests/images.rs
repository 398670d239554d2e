//! The three images of the `Dockerfile`, built the way a user builds them but on bases that are at hand, and a PMM server made from the
//! third, with the agent as one of its own programs.

use std::time::Duration;

use ferry_proto::v1::{GetFactsRequest, GetInfoRequest, Place};
use ferry_tests::agent::{Agent, SERVICE};
use ferry_tests::kill::{Tool, agents_of, xtask};
use ferry_tests::server::{Image, Options, Seed, TestServer};
use ferry_tests::{Result, docker, images};
use tonic_health::pb::health_check_response::ServingStatus;

/// What a slow line or a small disk has to take is 15 MB, and `cargo xtask bench agent` measures it of what is shipped. What the tests have is not
/// optimised as a whole, and a third larger, and was seen to differ by 4 in a hundred between builds of nearly one source: this
/// keeps it from growing unseen by more than that.
const MOST_BYTES: u64 = 20_500_000;

/// An image that goes with its test.
struct Built(String);

impl Built {
    fn new(kind: &str, version: &str, base: Option<&str>) -> Result<Self> {
        let tag = format!("ferry-test-{kind}:{version}-{}", std::process::id());
        let mut words = vec!["image", kind, "--tag", &tag];
        words.extend(base.iter().flat_map(|base| ["--base", base]));
        let printed = xtask(&words)?;
        assert_eq!(printed.lines().last(), Some(tag.as_str()), "{printed}");
        Ok(Self(tag))
    }

    fn inspect(&self, format: &str) -> Result<String> {
        docker(&["image", "inspect", "--format", format, &self.0])
    }
}

impl Drop for Built {
    fn drop(&mut self) {
        // Layers that others use stay; a failure must not hide the test's own.
        let _left = docker(&["image", "rm", "--force", &self.0]);
    }
}

#[test]
fn the_agents_image_is_the_agent_alone() -> Result<()> {
    let image = Built::new("agent", "alone", None)?;
    let size: u64 = image.inspect("{{.Size}}")?.parse().expect("a number");
    assert!(size <= MOST_BYTES, "{size} bytes");
    assert_eq!(image.inspect("{{len .RootFS.Layers}}")?, "1");
    assert_eq!(
        docker(&["run", "--rm", &image.0, "--version"])?,
        version("ferryd")
    );
    Ok(())
}

#[test]
fn the_controllers_image_has_the_agent_beside_it() -> Result<()> {
    let on_nothing = Built::new("ctl", "scratch", None)?;
    assert_eq!(
        docker(&["run", "--rm", &on_nothing.0, "--version"])?,
        version("ferryctl")
    );
    let on_base = Built::new("ctl", "base", Some("ferry-test/base"))?;
    assert_eq!(
        docker(&["run", "--rm", &on_base.0, "--version"])?,
        version("ferryctl")
    );

    // It finds the agent by itself, launches it, and takes it away again: a whole check from within a container.
    let server = small(Image::Pmm2, None)?;
    let address = format!("docker:{}", server.name);
    let target = images::ensure()?.pmm3;
    let socket = "/var/run/docker.sock:/var/run/docker.sock";
    let state = ["--state-dir", "/state", "--tmpfs", "/state"];
    let words = [
        "run",
        "--rm",
        "--volume",
        socket,
        state[2],
        state[3],
        &on_nothing.0,
    ];
    let check = [
        "check", &address, "--to", &target, state[0], state[1], "--output", "json",
    ];
    let answer = docker(&[&words[..], &check].concat())?;
    assert!(
        answer.contains("2.44.1") && answer.contains("\"kind\":\"check\""),
        "{answer}"
    );
    assert_eq!(agents_of(&server.name)?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_derived_server_has_the_agent_inside_and_crosses() -> Result<()> {
    let doubles = images::ensure()?;
    let old = Built::new("inside", "2.44.1", Some(&doubles.pmm2))?;
    let new = Built::new("inside", "3.8.1", Some(&doubles.pmm3))?;
    for (derived, base) in [(&old, &doubles.pmm2), (&new, &doubles.pmm3)] {
        for field in [
            "User",
            "Entrypoint",
            "Cmd",
            "ExposedPorts",
            "Volumes",
            "WorkingDir",
        ] {
            let format = format!("{{{{json .Config.{field}}}}}");
            let of_base = docker(&["image", "inspect", "--format", &format, base])?;
            assert_eq!(derived.inspect(&format)?, of_base, "{base}: {field}");
        }
    }

    let server = small(Image::Pmm2, Some(old.0.clone()))?;
    server.wait_until("ferryd", 20, || {
        server.program("ferryd").is_ok_and(|s| s == "RUNNING")
    })?;
    answers_inside(&server, "2.44.1", 0).await?;
    let (nodes, services) = (server.count("nodes")?, server.count("services")?);

    let tool = Tool::new()?;
    let address = format!("docker:{}", server.name);
    let ended = tool.run(&["migrate", &address, "--to", &new.0, "--yes"])?;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(server.is_v3()?);
    assert_eq!(
        (server.count("nodes")?, server.count("services")?),
        (nodes, services)
    );
    assert_eq!(server.unclean()?, [""; 0]);
    server.wait_until("ferryd", 20, || {
        server.program("ferryd").is_ok_and(|s| s == "RUNNING")
    })?;
    answers_inside(&server, "3.8.1", 1000).await
}

/// The agent inside says who it is, that it is well, what it can be asked, and what it sees.
async fn answers_inside(server: &TestServer, version: &str, uid: u32) -> Result<()> {
    let agent = Agent::inside(&server.name)
        .await
        .expect("its socket is there");
    let mut service = agent.service();
    let info = service
        .get_info(GetInfoRequest {})
        .await
        .expect("an answer")
        .into_inner();
    assert_eq!(info.place(), Place::Container, "{info:?}");
    assert_eq!(info.uid, uid, "{info:?}");
    assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(
        agent.health().await.expect("an answer"),
        ServingStatus::Serving
    );
    let services = agent.services().await.expect("a list");
    assert!(services.iter().any(|name| name == SERVICE), "{services:?}");
    let facts = tokio::time::timeout(
        Duration::from_secs(30),
        service.get_facts(GetFactsRequest::default()),
    );
    let facts = facts.await.expect("in time").expect("facts").into_inner();
    assert_eq!(facts.server.expect("a server").version, version);
    Ok(())
}

fn small(image: Image, reference: Option<String>) -> Result<TestServer> {
    let server = TestServer::start(&Options {
        image,
        reference,
        seed: Seed {
            nodes: 5,
            services: 12,
            files: 60,
            mib: 1,
            odd: false,
        },
        ..Options::default()
    })?;
    server.wait_ready()?;
    Ok(server)
}

fn version(program: &str) -> String {
    format!("{program} {}", env!("CARGO_PKG_VERSION"))
}
