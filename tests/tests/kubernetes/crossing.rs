//! From PMM 2 to 3 and back, what somebody does to the server meanwhile, and what is refused.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use ferry_tests::answers::{Answer, Rule};
use ferry_tests::cluster::{Chart, Cluster};
use ferry_tests::kill::{Ended, Tool, is, stop_behind};
use ferry_tests::server::{Container, Fault, Options};
use ferry_tests::witness::{self, Seen};
use ferry_tests::{Result, docker, snapshot};
use rustix::process::Signal;
use serde_json::json;

use super::{CLAIM, TO, assert_left, at_rest, begin, killable, migrate, scale, tool};

#[test]
fn a_server_in_a_cluster_crosses_whole_and_comes_back_whole() -> Result<()> {
    let cluster = Cluster::start()?;
    let server = Chart {
        env: vec![
            ("DATA_RETENTION".into(), "480h".into()),
            ("DISABLE_UPDATES".into(), "1".into()),
        ],
        ..Chart::default()
    }
    .install(&cluster)?;
    let tool = tool(&cluster)?;
    let tree = at_rest(&cluster, &server)?;
    let before = Seen::of(&server)?;
    let was = cluster.settings();

    let done = migrate(&tool)?;
    assert_eq!(done.code, 0, "{}", done.shown());
    let run = tool.only_run()?;

    // The same server, one major later.
    assert!(server.is_v3()?);
    cluster.wait_ready(&server)?;
    let after = Seen::of(&server)?;
    assert_eq!(before.lost(&after), [""; 0]);
    assert_eq!(
        witness::strangers(&cluster.mountpoint(CLAIM)?, (1000, 0))?,
        [""; 0]
    );
    let set = cluster.get("statefulsets", Chart::namespace(), "pmm");
    let spec = &set["spec"]["template"]["spec"];
    assert_eq!(set["spec"]["replicas"], 1);
    assert_eq!(spec["securityContext"], json!({ "runAsUser": 1000 }));
    assert_eq!(spec["containers"][0]["ports"][0]["containerPort"], 8443);
    let env = cluster.get("configmaps", Chart::namespace(), "pmm")["data"].clone();
    assert_eq!(env["PMM_DATA_RETENTION"], "480h");
    assert_eq!(env["PMM_ENABLE_UPDATES"], "false");
    assert!(env["DATA_RETENTION"].is_null(), "{env}");
    let ports =
        cluster.get("services", Chart::namespace(), "monitoring-service")["spec"]["ports"].clone();
    assert_eq!(
        (&ports[0]["targetPort"], &ports[1]["targetPort"]),
        (&json!("https"), &json!(8080))
    );
    let postgres = fs_err::metadata(cluster.mountpoint(CLAIM)?.join("postgres14"))?;
    assert_eq!(
        (postgres.uid(), postgres.gid(), postgres.mode() & 0o7077),
        (1000, 0, 0o050),
        "PostgreSQL's folder"
    );

    // The way back, and what Helm has to be told.
    let backup = format!("{CLAIM}-ferry-{run}");
    let claims = [CLAIM.to_owned(), backup.clone()];
    assert_left(&cluster, &["pmm-0"], &claims, &[format!("ferry-pmm-{run}")]);
    assert!(
        done.stdout.contains("helm upgrade pmm percona/pmm"),
        "{}",
        done.shown()
    );
    let values = values_file(tool.state())?.unwrap_or_default();
    let text = fs_err::read_to_string(&values)?;
    assert!(text.contains("\"PMM_ENABLE_UPDATES\": \"false\""), "{text}");
    assert_eq!(fs_err::metadata(&values)?.mode() & 0o077, 0);

    // What it is taken back to has to be there, which is found while the new one serves.
    let (namespace, name) = (Chart::namespace(), "monitoring-service");
    let mut service = cluster.get("services", namespace, name);
    cluster.delete("services", namespace, name)?;
    let held = tool.run(&["rollback", &run, "--yes"])?;
    assert_eq!(held.code, 4, "{}", held.shown());
    assert!(held.shown().contains(name), "{}", held.shown());
    assert!(server.is_v3()? && server.is_running()?);
    for field in ["resourceVersion", "uid"] {
        service["metadata"].as_object_mut().unwrap().remove(field);
    }
    cluster.create("services", namespace, service)?;

    let back = tool.run(&["rollback", &run, "--yes"])?;
    assert_eq!(back.code, 0, "{}", back.shown());
    assert!(!server.is_v3()?);
    cluster.wait_ready(&server)?;
    assert_eq!(cluster.settings(), was);
    assert_eq!(before.lost(&Seen::of(&server)?), [""; 0]);
    assert_left(&cluster, &["pmm-0"], &[CLAIM.to_owned()], &[]);
    scale(&cluster, &server, 0)?;
    let again = snapshot::take(&cluster.mountpoint(CLAIM)?)?;
    assert_eq!(witness::not_as_before(&tree, &again, 2), [""; 0]);
    Ok(())
}

/// The values for Helm, wherever in the tool's state they lie.
fn values_file(folder: &Path) -> Result<Option<PathBuf>> {
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if path.ends_with("values.yaml") {
            return Ok(Some(path));
        }
        if path.is_dir()
            && let Some(found) = values_file(&path)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

#[test]
fn a_check_says_what_a_cluster_has_and_leaves_nothing_running() -> Result<()> {
    let cluster = Cluster::start()?;
    let server = Chart {
        patch: json!({ "spec": { "template": { "spec": { "securityContext": { "supplementalGroups": [7] } } } } }),
        ..Chart::default()
    }
    .install(&cluster)?;
    let tool = tool(&cluster)?;
    let check = ["check", &Chart::address(), "--to", TO];
    let done = tool.run(&check)?;
    assert_eq!(done.code, 0, "{}", done.shown());
    for part in [
        "monitoring/pmm",
        "on Kubernetes 1.33.1",
        "cluster-helm",
        "release pmm, chart pmm-1.3.21",
    ] {
        assert!(done.stdout.contains(part), "{part}: {}", done.shown());
    }
    assert_left(&cluster, &["pmm-0"], &[CLAIM.to_owned()], &[]);
    let label = format!("label=ferry.cluster={}", cluster.id);
    let running = docker(&["ps", "--quiet", "--filter", &label])?;
    assert_eq!(running.lines().count(), 1, "the server alone");
    assert_eq!(server.inspect()?["RestartCount"], 0);

    // What stands in the way is told before anything is done.
    cluster.forbid("update statefulsets");
    cluster.forbid("create pods/exec");
    let done = tool.run(&check)?;
    assert_eq!(done.code, 3, "{}", done.shown());
    for word in ["cluster-forbidden", "statefulsets`", "pods/exec`"] {
        assert!(done.stdout.contains(word), "{}", done.shown());
    }
    Ok(())
}

#[test]
fn a_namespace_that_takes_no_such_agent_is_told_by_the_check() -> Result<()> {
    let cluster = Cluster::start()?;
    Chart::default().install(&cluster)?;
    cluster.refuse_capabilities();
    let tool = tool(&cluster)?;
    let done = tool.run(&["check", &Chart::address(), "--to", TO])?;
    assert_eq!(done.code, 3, "{}", done.shown());
    for word in ["cluster-agent-refused", "SYS_PTRACE"] {
        assert!(done.stdout.contains(word), "{}", done.shown());
    }
    Ok(())
}

#[test]
fn a_target_that_does_not_start_is_taken_back() -> Result<()> {
    let cluster = Cluster::start()?;
    let server = Chart {
        server: Options {
            fault: Some(Fault::Exit),
            seed: Chart::default().server.seed,
            ..Options::default()
        },
        ..Chart::default()
    }
    .install(&cluster)?;
    let tool = tool(&cluster)?;
    let before = Seen::of(&server)?;
    let was = cluster.settings();
    let done = migrate(&tool)?;
    assert_eq!(done.code, 1, "{}", done.shown());
    assert!(
        done.stdout
            .contains("FATAL: this server was told not to start"),
        "{}",
        done.shown()
    );
    assert!(!server.is_v3()?);
    cluster.wait_ready(&server)?;
    assert_eq!(cluster.settings(), was);
    assert_eq!(before.lost(&Seen::of(&server)?), [""; 0]);
    assert_left(&cluster, &["pmm-0"], &[CLAIM.to_owned()], &[]);
    Ok(())
}

/// Whoever finds the set at no pods scales it up: what the server writes then is neither changed under it nor overwritten.
#[test]
fn a_server_that_somebody_scales_up_in_its_downtime_is_left_alone() -> Result<()> {
    let cluster = Cluster::start()?;
    let server = Chart::default().install(&cluster)?;
    let tool = killable(&cluster)?;
    let mut call = begin(&tool)?;
    let run = call.run_name()?;
    // It stands still before it has heard of the end of the step, so that it has not asked for the next; and goes on with the agent that it knows.
    call.wait_for("the copy", is("intended", "copy-changes", false))?;
    stop_behind(&call, &cluster.mountpoint(CLAIM)?, "copy-changes")?;
    scale(&cluster, &server, 1)?;
    cluster.wait_ready(&server)?;
    let table = "CREATE TABLE zz_later (number int)";
    server.psql("pmm-managed", table)?;
    call.signal(Signal::CONT)?;
    let held = call.end()?;
    assert_eq!(held.code, 4, "{held:#?}");
    assert_eq!(held.count("finished", "transfer-ownership"), 0, "{held:#?}");
    assert!(is_in_use(&held), "{held:#?}");
    for verb in [&["resume", &run][..], &["rollback", &run, "--yes"]] {
        let held = tool.run(verb)?;
        assert_eq!(held.code, 4, "{verb:?}: {held:#?}");
        assert!(is_in_use(&held), "{held:#?}");
        server.psql("pmm-managed", "SELECT * FROM zz_later")?;
    }
    // Who says that it may go stops it.
    scaled_down_it_is_taken_back(&cluster, &server, &tool, &run)
}

/// And so does whoever scales it up between two steps of a way back, where the agent on the data is known already.
#[test]
fn a_server_that_somebody_scales_up_while_it_is_taken_back_is_left_alone() -> Result<()> {
    let cluster = Cluster::start()?;
    let server = Chart::default().install(&cluster)?;
    let before = Seen::of(&server)?;
    let tool = killable(&cluster)?;
    let mut call = begin(&tool)?;
    let run = call.run_name()?;
    let done = call.end()?;
    assert_eq!(done.code, 0, "{done:#?}");
    let mut call = tool.start(&["rollback", &run, "--yes"])?;
    call.wait_for("the restore", is("intended", "hand-over-volume", true))?;
    // Slowly, so that the pod is there before the next step has looked for one.
    cluster.answers().wait(1500);
    call.wait_for("the end of it", is("finished", "hand-over-volume", true))?;
    scale(&cluster, &server, 1)?;
    let held = call.end()?;
    cluster.answers().heal();
    assert_eq!(held.code, 4, "{held:#?}");
    assert!(is_in_use(&held), "{held:#?}");
    scaled_down_it_is_taken_back(&cluster, &server, &tool, &run)?;
    assert_eq!(before.lost(&Seen::of(&server)?), [""; 0]);
    Ok(())
}

fn scaled_down_it_is_taken_back(
    cluster: &Cluster,
    server: &Container,
    tool: &Tool,
    run: &str,
) -> Result<()> {
    scale(cluster, server, 0)?;
    wait_until_gone(cluster);
    let back = tool.run(&["resume", run])?;
    assert_eq!(back.last("summary")["state"], "rolled-back", "{back:#?}");
    cluster.wait_ready(server)?;
    assert!(!server.is_v3()?);
    Ok(())
}

fn is_in_use(held: &Ended) -> bool {
    let told = format!("{:?}", held.lines);
    told.contains("data-in-use") && told.contains("pmm-0")
}

/// The claim with the data would be deleted in the downtime, and the disk with it.
#[test]
fn a_claim_that_goes_with_its_pod_is_no_place_for_a_crossing() -> Result<()> {
    let cluster = Cluster::start()?;
    let policy = |when: &str| json!({ "spec": { "persistentVolumeClaimRetentionPolicy": { "whenScaled": when } } });
    let chart = Chart {
        patch: policy("Delete"),
        ..Chart::default()
    };
    let server = chart.install(&cluster)?;
    let refused = migrate(&tool(&cluster)?)?;
    assert_eq!(refused.code, 3, "{}", refused.shown());
    assert!(
        refused.shown().contains("cluster-claim-goes"),
        "{}",
        refused.shown()
    );
    // And so where somebody sets it behind the plan.
    let set = |when| cluster.merge("statefulsets", Chart::namespace(), "pmm", &policy(when));
    set("Retain")?;
    let killed = killable(&cluster)?;
    let mut call = begin(&killed)?;
    call.run_name()?;
    call.wait_for("the agents", is("finished", "launch-agents", false))?;
    set("Delete")?;
    let back = call.end()?;
    assert_eq!(back.code, 1, "{back:#?}");
    let summary = back.last("summary");
    assert_eq!(summary["state"], "rolled-back", "{back:#?}");
    assert_eq!(summary["failure"]["code"], "claim-goes", "{back:#?}");
    cluster.wait_ready(&server)?;
    assert_eq!(server.unclean()?, [""; 0]);
    Ok(())
}

/// Its own store is late, say. What comes to the same when it is asked twice is asked again.
#[test]
fn an_api_server_that_fails_for_a_moment_is_asked_again() -> Result<()> {
    let cluster = Cluster::start()?;
    Chart::default().install(&cluster)?;
    let tool = killable(&cluster)?;
    let mut call = begin(&tool)?;
    call.run_name()?;
    let answers = cluster.answers();
    let methods = ["GET ", "PATCH "];
    for method in methods {
        let rule = Rule::on(&[method, "/statefulsets/"], Answer::Error);
        answers.add(rule.times(2));
    }
    let done = call.end()?;
    assert_eq!(done.code, 0, "{done:#?}");
    assert_eq!(answers.hits(), 2 * methods.len(), "{done:#?}");
    Ok(())
}

/// Its pod made anew between the stop of the programs and the stop of the pod runs them again.
#[test]
fn a_pod_that_is_made_anew_in_the_middle_has_the_time_to_end() -> Result<()> {
    let cluster = Cluster::start()?;
    // No program of the server ends as quickly.
    let grace =
        json!({ "spec": { "template": { "spec": { "terminationGracePeriodSeconds": 0 } } } });
    let server = Chart {
        patch: grace,
        ..Chart::default()
    }
    .install(&cluster)?;
    let tool = killable(&cluster)?;
    let mut call = begin(&tool)?;
    let run = call.run_name()?;
    // Slowly, so that it is dead before the next step has asked for anything.
    call.wait_for("the stop", is("intended", "stop-services", false))?;
    cluster.answers().wait(2000);
    call.wait_for("the stop", is("finished", "stop-services", false))?;
    call.kill()?;
    cluster.answers().heal();
    scale(&cluster, &server, 0)?;
    wait_until_gone(&cluster);
    scale(&cluster, &server, 1)?;
    cluster.wait_ready(&server)?;
    let done = tool.run(&["resume", &run])?;
    assert_eq!(done.code, 0, "{done:#?}");
    assert_eq!(server.unclean()?, [""; 0]);
    Ok(())
}

fn wait_until_gone(cluster: &Cluster) {
    let is_there = || {
        cluster
            .names("pods", Chart::namespace())
            .contains(&"pmm-0".to_owned())
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(90);
    while is_there() {
        assert!(std::time::Instant::now() < deadline, "it does not go");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}
