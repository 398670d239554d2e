//! A server behind a host agent on another machine: reached with a certificate, within the agent's own policy, and carried across
//! also when that agent dies.

use ferry_tests::Result;
use ferry_tests::ferryctl::{Ferryctl, Finished};
use ferry_tests::host_agent::HostAgent;
use ferry_tests::kill::{Tool, agents_of, is};
use ferry_tests::server::{Options, TestServer};
use ferry_tests::witness::{self, Seen};

const TO: &str = "ferry-test/pmm-server:3.8.1";

/// Refused with this code, and the server never touched.
fn assert_refused(call: &Finished, code: &str, told: &str) {
    assert_eq!(call.code, 1, "{}", call.shown());
    for word in [code, told] {
        assert!(call.stdout.contains(word), "{word}: {}", call.shown());
    }
}

#[test]
fn a_server_elsewhere_crosses_and_comes_back_though_its_host_agent_dies() -> Result<()> {
    let server = TestServer::used(Options::default())?;
    let agent = HostAgent::start(&[&server.name])?;
    crosses_and_comes_back(&server, agent)
}

/// With all that the unit takes away from it.
#[test]
fn a_host_agent_of_a_real_systemds_carries_a_server_and_is_started_again() -> Result<()> {
    let server = TestServer::used(Options::default())?;
    let name = format!("{}-elsewhere", server.name);
    let agent = HostAgent::start_by_unit(&name, &[&server.name])?;
    crosses_and_comes_back(&server, agent)
}

fn crosses_and_comes_back(server: &TestServer, mut agent: HostAgent) -> Result<()> {
    let (tool, seen) = (Tool::new()?, Seen::of(server)?);
    let was = server.inspect()?["Id"].clone();
    let (address, tls) = (agent.address(&server.name), agent.tls());
    let tls = tls.to_string_lossy();
    let words = ["migrate", &address, "--to", TO, "--yes", "--tls", &tls];
    let mut call = tool.start(&words)?;
    let run = call.run_name()?;
    call.wait_for("the stop", is("intended", "stop-server", false))?;
    agent.replace()?;
    let done = call.end()?;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(matches!(agent.restarts()?, None | Some(1)));
    assert_eq!(witness::version(server)?, "3.8.1");
    assert_eq!(seen.lost(&Seen::of(server)?), [""; 0]);
    assert_eq!(agents_of(&server.name)?, [""; 0]);

    let back = tool.run(&["rollback", &run, "--yes", "--tls", &tls])?;
    assert_eq!(back.code, 0, "{back:?}");
    server.wait_ready()?;
    assert_eq!(server.inspect()?["Id"], was);
    assert_eq!(agent.end()?, Some(0));
    Ok(())
}

#[test]
fn strangers_and_other_peoples_servers_are_refused() -> Result<()> {
    let server = TestServer::start(&Options::default())?;
    server.wait_ready()?;
    let agent = HostAgent::start(&["pmm-server"])?;
    let tool = Ferryctl::new()?;
    let json = ["--output", "json", "--tls"];
    let look = |address: &str, tls: &std::path::Path| {
        let tls = tls.to_string_lossy();
        tool.run(&[&["check", address, "--to", TO], &json[..], &[&*tls]].concat())
    };
    // Its name is not in the policy.
    let denied = look(&agent.address(&server.name), &agent.tls())?;
    assert_refused(&denied, "policy-denied", &server.name);
    // Neither is one that only looks like it, by its id.
    let id = server.inspect()?["Id"].clone();
    let denied = look(
        &agent.address(id.as_str().unwrap_or_default()),
        &agent.tls(),
    )?;
    assert_refused(&denied, "policy-denied", &server.name);
    // An allowed name that no container has is as unknown as anywhere.
    let unknown = look(&agent.address("pmm-server"), &agent.tls())?;
    assert_refused(&unknown, "container-not-found", "pmm-server");
    // A certificate of the right authority with a name that no policy knows.
    let stranger = look(&agent.address("pmm-server"), &agent.foreign_tls())?;
    assert_refused(
        &stranger,
        "agent-unreachable",
        "its log says whom it refused",
    );
    // No certificates at all.
    let none = look(&agent.address("pmm-server"), tool.state())?;
    assert_refused(&none, "bad-certificates", "--tls");
    // Backups of others are not told.
    let engine = agent.address("");
    let tls = agent.tls();
    let tls = tls.to_string_lossy();
    let list = ["backup", "--engine", &engine, "list"];
    let list = tool.run(&[&list[..], &json, &[&*tls]].concat())?;
    assert_eq!((list.code, &*list.stdout), (0, ""), "{}", list.shown());
    Ok(())
}
