//! What bad input gets: a finding or an error that says what is wrong, where, and what to do next; and nothing is changed.

mod filters;

use std::os::unix::net::UnixListener;
use std::time::Duration;

use ferry_tests::engine::PrivateEngine;
use ferry_tests::ferryctl::{Ferryctl, Finished};
use ferry_tests::server::{Container, Image, Options, TestServer};
use ferry_tests::witness::Untouched;
use ferry_tests::{Result, disk, docker};
use filters::assert_said;

const TO: &str = "ferry-test/pmm-server:3.8.1";
/// An answer that takes longer has made somebody wait for nothing.
const PROMPT: Duration = Duration::from_secs(15);

/// Asks for the migration of a server that must not be touched.
fn refused(server: &TestServer, of: &Container, to: &str) -> Result<Finished> {
    refused_with(server, of, to, &[])
}

/// As that, with these words more.
fn refused_with(server: &TestServer, of: &Container, to: &str, more: &[&str]) -> Result<Finished> {
    let before = Untouched::before(of)?;
    let tool = Ferryctl::new()?;
    let address = format!("docker:{}", of.name);
    let words = ["migrate", &address, "--to", to, "--yes"];
    let finished = tool.run(&[&words[..], more].concat())?;
    let volume = server.mountpoint().ok();
    assert_eq!(before.changes(of, volume.as_deref())?, [""; 0]);
    // A refusal is no run.
    let runs = tool.run(&["runs", "--output", "json"])?;
    assert_eq!((runs.code, runs.stdout.as_str()), (0, ""));
    Ok(finished)
}

fn pmm2() -> Result<TestServer> {
    TestServer::used(Options::default())
}

#[test]
fn a_name_that_no_container_has() -> Result<()> {
    let tool = Ferryctl::new()?;
    let name = "docker:ferry-test-nobody";
    for verb in ["check", "migrate"] {
        let finished = tool.run(&[verb, name, "--to", TO])?;
        assert_eq!(finished.code, 1);
        assert_said("no-such-container", &finished, None);
    }
    Ok(())
}

#[test]
fn an_address_that_is_none() -> Result<()> {
    let tool = Ferryctl::new()?;
    for (name, address) in [
        ("bare", "pmm-server"),
        ("empty", "docker:"),
        ("kubernetes", "k8s:pmm/pmm-0"),
    ] {
        let finished = tool.run(&["check", address, "--to", TO])?;
        assert_eq!(finished.code, 2);
        assert_said(&format!("address-{name}"), &finished, None);
    }
    Ok(())
}

#[test]
fn a_container_that_is_no_pmm() -> Result<()> {
    ferry_tests::images::ensure()?;
    let name = format!("ferry-test-{:07}-plain", std::process::id());
    let made = docker(&[
        "run",
        "--detach",
        "--name",
        &name,
        "ferry-test/base:latest",
        "sleep",
        "600",
    ]);
    let finished =
        Ferryctl::new()?.run(&["migrate", &format!("docker:{name}"), "--to", TO, "--yes"]);
    let left = ferry_tests::witness::beside(&name);
    docker(&["rm", "--force", "--volumes", &name])?;
    made?;
    let finished = finished?;
    assert_eq!(left?, [""; 0]);
    assert_eq!(finished.code, 3);
    assert_said("not-pmm", &finished, Some(&name));
    Ok(())
}

#[test]
fn a_server_that_is_pmm_3_already() -> Result<()> {
    let server = TestServer::start(&Options {
        image: Image::Pmm3,
        ..Options::default()
    })?;
    server.wait_ready()?;
    let finished = refused(&server, &server, TO)?;
    assert_eq!(finished.code, 3);
    assert_said("already-pmm-3", &finished, Some(&server.name));
    Ok(())
}

#[test]
fn a_version_below_2_44() -> Result<()> {
    let server = pmm2()?;
    server.exec(&[
        "sh",
        "-c",
        "echo 2.41.2 >/usr/share/percona-dashboards/VERSION",
    ])?;
    server.stop(60)?;
    server.restart_after_stop()?;
    server.wait_ready()?;
    // Told to, it would go by 2.44.1 (`updates.rs`).
    let finished = refused_with(&server, &server, TO, &["--direct"])?;
    assert_eq!(finished.code, 3);
    assert_said("version-too-old", &finished, Some(&server.name));
    Ok(())
}

#[test]
fn images_that_are_not_there_or_no_pmm_3() -> Result<()> {
    let server = pmm2()?;
    for (name, image) in [
        // Nobody listens there, so that no registry is asked.
        ("not-there", "127.0.0.1:1/pmm-server:3.8.1"),
        ("no-pmm", "ferry-test/base:latest"),
        ("pmm-2", "ferry-test/pmm-server:2.44.1"),
        ("no-name", "Not An Image"),
    ] {
        let finished = refused(&server, &server, image)?;
        assert_eq!(finished.code, 3, "{}", finished.shown());
        assert_said(&format!("image-{name}"), &finished, Some(&server.name));
    }
    Ok(())
}

#[test]
fn plans_that_were_edited_or_are_of_another_server() -> Result<()> {
    let server = pmm2()?;
    let tool = Ferryctl::new()?;
    let file = tool.state().join("plan.json");
    let path = file.to_string_lossy().into_owned();
    let planned = tool.run(&["plan", &server.address(), "--to", TO, "--out", &path])?;
    assert_eq!(planned.code, 0, "{}", planned.shown());
    let plan = fs_err::read_to_string(&file)?;
    let before = Untouched::before(&server)?;
    let apply = |text: &str| -> Result<Finished> {
        fs_err::write(&file, text)?;
        tool.run(&["apply", &path, "--yes"])
    };

    let shorter = plan.replacen("\"grace_seconds\": 330", "\"grace_seconds\": 1", 1);
    assert!(shorter != plan, "the plan has a grace to shorten");
    let finished = apply(&shorter)?;
    assert_eq!(finished.code, 5);
    assert_said("plan-edited", &finished, Some(&server.name));
    let finished = apply("{\"recipe\": ")?;
    assert_eq!(finished.code, 5);
    assert_said("plan-unreadable", &finished, Some(&server.name));
    fs_err::write(&file, &plan)?;
    let finished = tool.run(&["apply", &path])?;
    assert_eq!(finished.code, 2);
    let end = "error: nobody is there to confirm it\nnothing was changed\nhint: say `--yes` to go on without being asked\n";
    assert!(finished.stderr.ends_with(end), "{}", finished.shown());
    assert_eq!(
        before.changes(&server, Some(&server.mountpoint()?))?,
        [""; 0]
    );

    // Another server under the same name.
    docker(&["rm", "--force", &server.name])?;
    let volume = format!("{}-other:/srv", server.name);
    docker(&[
        "run",
        "--detach",
        "--name",
        &server.name,
        "--volume",
        &volume,
        "--env",
        "DATA_RETENTION=240h",
        "ferry-test/pmm-server:2.44.1",
    ])?;
    server.wait_ready()?;
    let before = Untouched::before(&server)?;
    let finished = apply(&plan)?;
    assert_eq!(finished.code, 5, "{}", finished.shown());
    assert_said("plan-of-another", &finished, Some(&server.name));
    assert_eq!(before.changes(&server, None)?, [""; 0]);
    Ok(())
}

#[test]
fn too_little_disk() -> Result<()> {
    const GIB: u64 = 1 << 30;
    // The copy goes where the engine keeps its volumes; the data lies elsewhere, and is more than fits there.
    let root = docker(&["info", "--format", "{{.DockerRootDir}}"])?;
    let free = disk::free_bytes(root.as_ref())?;
    let name = format!("ferry-test-{:07}-disk", std::process::id());
    let large = disk::Disk::make(&name, free + 100 * GIB)?;
    let server = TestServer::used(Options {
        volume: Some(large.volume.clone()),
        ..Options::default()
    })?;
    large.fill("large", free + 20 * GIB)?;
    let finished = refused(&server, &server, TO)?;
    assert_eq!(finished.code, 3, "{}", finished.shown());
    assert_said("disk-too-small", &finished, Some(&server.name));
    Ok(())
}

#[test]
fn a_container_that_goes_when_it_stops() -> Result<()> {
    let server = TestServer::used(Options {
        restart: "no".to_owned(),
        docker: vec!["--rm".to_owned()],
        ..Options::default()
    })?;
    let finished = refused(&server, &server, TO)?;
    assert_eq!(finished.code, 3);
    assert_said("auto-remove", &finished, Some(&server.name));
    Ok(())
}

/// A swarm puts these labels on the containers of its tasks, and nothing else that the engine tells is different.
#[test]
fn a_task_of_a_swarm_service() -> Result<()> {
    let label = |name: &str, value: &str| (format!("com.docker.swarm.{name}"), value.to_owned());
    let server = TestServer::used(Options {
        restart: "no".to_owned(),
        labels: vec![
            label("service.name", "pmm"),
            label("task", ""),
            label("task.name", "pmm.1.8tz"),
        ],
        ..Options::default()
    })?;
    let finished = refused(&server, &server, TO)?;
    assert_eq!(finished.code, 3);
    assert_said("swarm-service", &finished, Some(&server.name));
    Ok(())
}

/// It is no refusal: who runs it is told, and may stop it. On an engine of its own: beside every other test's server it would be, too.
#[test]
fn a_watchtower_beside_it() -> Result<()> {
    let engine = PrivateEngine::start()?;
    let _there = engine.enter();
    let server = pmm2()?;
    let image = "ferry-test/beside/watchtower:1.7.1";
    let name = format!("{}-watchtower", server.name);
    docker(&["tag", TO, image])?;
    docker(&[
        "run",
        "--detach",
        "--name",
        &name,
        "--entrypoint",
        "sleep",
        image,
        "600",
    ])?;
    let checked = Ferryctl::new()?.run(&["check", &server.address(), "--to", TO])?;
    assert_eq!(checked.code, 0, "{}", checked.shown());
    let said = checked
        .shown()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert!(said.contains("warning updater-beside"), "{said}");
    assert!(
        said.contains(&format!("`docker stop {name}` for the migration")),
        "{said}"
    );
    Ok(())
}

#[test]
fn a_volume_that_cannot_be_written_to_and_a_server_that_is_stopped() -> Result<()> {
    let server = pmm2()?;
    server.stop(60)?;
    let finished = refused(&server, &server, TO)?;
    assert_eq!(finished.code, 3);
    assert_said("stopped", &finished, Some(&server.name));

    let name = format!("{}-ro", server.name);
    let mount = format!("{}:/srv:ro", server.volume);
    docker(&[
        "run",
        "--detach",
        "--name",
        &name,
        "--volume",
        &mount,
        "--entrypoint",
        "sleep",
        "ferry-test/pmm-server:2.44.1",
        "600",
    ])?;
    let read_only = Container { name: name.clone() };
    // No PMM 2 runs so, hence there is more than this one finding.
    let finished = refused(&server, &read_only, TO)?;
    assert_eq!(finished.code, 3);
    for words in [
        "`/srv` is mounted read-only",
        "make the container again with a writable volume",
    ] {
        assert!(finished.stdout.contains(words), "{}", finished.shown());
    }
    Ok(())
}

#[test]
fn an_engine_that_does_not_answer() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = |name: &str| format!("unix://{}", folder.path().join(name).display());
    // The kernel takes calls for it; nobody ever answers them.
    let _silent = UnixListener::bind(folder.path().join("silent.sock"))?;
    for name in ["nobody", "silent"] {
        let tool = Ferryctl::new()?.env("DOCKER_HOST", socket(&format!("{name}.sock")));
        let finished = tool.run(&["migrate", "docker:pmm-server", "--to", TO, "--yes"])?;
        assert_eq!(finished.code, 1, "{}", finished.shown());
        assert!(finished.took < PROMPT, "{:?}", finished.took);
        assert_said(&format!("engine-{name}"), &finished, None);
    }
    Ok(())
}

#[test]
fn runs_that_are_not_there() -> Result<()> {
    let tool = Ferryctl::new()?;
    for words in [
        &["status", "7f3a9c21"] as &[_],
        &["watch", "7f3a9c21"],
        &["rollback", "7f3a9c21", "--yes"],
        &["resume"],
    ] {
        let finished = tool.run(words)?;
        assert_eq!(finished.code, 1, "{}", finished.shown());
        assert_said(&format!("no-run-{}", words[0]), &finished, None);
    }
    Ok(())
}
