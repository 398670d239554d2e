//! A server in a cluster, which is a double (`tests/src/cluster.rs`): from PMM 2 to 3 and back, and what is refused.

mod backups;
mod crossing;

use ferry_tests::cluster::{Chart, Cluster, agent_image};
use ferry_tests::ferryctl::{Ferryctl, Finished};
use ferry_tests::kill::{Call, Tool};
use ferry_tests::server::Container;
use ferry_tests::{Result, snapshot};
use serde_json::json;

const TO: &str = "ferry-test/pmm-server:3.8.1";
const CLAIM: &str = "pmm-storage-pmm-0";

/// The tool, with the cluster as its context and an image of its agent that the cluster can have.
fn tool(cluster: &Cluster) -> Result<Ferryctl> {
    let tool = Ferryctl::new()?.env("KUBECONFIG", cluster.kubeconfig());
    let image = agent_image(tool.agent())?;
    Ok(tool.env("FERRY_AGENT_IMAGE", image))
}

/// The tool as it can be killed at a word of its own. What its agents are made of it is not told.
fn killable(cluster: &Cluster) -> Result<Tool> {
    Ok(Tool::new()?.env("KUBECONFIG", cluster.kubeconfig()))
}

/// Starts a crossing with it.
fn begin(tool: &Tool) -> Result<Call> {
    let image = agent_image(tool.agent())?;
    let address = Chart::address();
    let words = ["migrate", &address, "--to", TO, "--yes"];
    tool.start(&[&words[..], &["--agent-image", &image]].concat())
}

fn migrate(tool: &Ferryctl) -> Result<Finished> {
    tool.run(&[
        "migrate",
        &Chart::address(),
        "--to",
        TO,
        "--yes",
        "--output",
        "json",
    ])
}

/// The volume as it is while nobody writes to it: the pod is gone for it, and is back afterwards.
fn at_rest(cluster: &Cluster, server: &Container) -> Result<Vec<snapshot::Entry>> {
    scale(cluster, server, 0)?;
    let tree = snapshot::take(&cluster.mountpoint(CLAIM)?)?;
    scale(cluster, server, 1)?;
    cluster.wait_ready(server)?;
    Ok(tree)
}

fn scale(cluster: &Cluster, server: &Container, replicas: u8) -> Result<()> {
    cluster.merge(
        "statefulsets",
        Chart::namespace(),
        "pmm",
        &json!({ "spec": { "replicas": replicas } }),
    )?;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(90);
    while server.is_running().unwrap_or(false) != (replicas > 0) {
        assert!(std::time::Instant::now() < deadline, "still at {replicas}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Ok(())
}

/// Nothing of Ferry's but what is named here.
fn assert_left(cluster: &Cluster, pods: &[&str], claims: &[String], maps: &[String]) {
    let namespace = Chart::namespace();
    assert_eq!(cluster.names("pods", namespace), pods);
    assert_eq!(cluster.names("persistentvolumeclaims", namespace), claims);
    let own: Vec<String> = cluster
        .names("configmaps", namespace)
        .into_iter()
        .filter(|it| it != "pmm")
        .collect();
    assert_eq!(own, maps);
}
