//! The engine module against a real container engine. Skipped, with the reason printed, where none answers.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests are tests, and say why one is skipped"
)]

mod engine_support;

#[path = "engine_support/agents.rs"]
mod agents;
#[path = "engine_support/answers.rs"]
mod answers;
#[path = "engine_support/carry_over.rs"]
mod carry_over;
#[path = "engine_support/carry_over_table.rs"]
mod carry_over_table;
#[path = "engine_support/removing.rs"]
mod removing;
#[path = "engine_support/tls.rs"]
mod tls;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use engine_support::{Names, docker, engine};
use ferry_agent::engine::{
    EndpointConfig, Engine, EngineError, RestartPolicy, containers::StopOutcome, streams::LogRange,
    users::Owner,
};
use futures_util::StreamExt as _;
use serde_json::json;

const NOW: Duration = Duration::from_secs(10);

#[tokio::test]
async fn an_engine_says_what_it_is() {
    let Some(engine) = engine("an_engine_says_what_it_is").await else {
        return;
    };
    let info = engine.info().await.unwrap();
    assert_eq!(info.version, docker(&["info", "-f", "{{.ServerVersion}}"]));
    assert_eq!(info.id, docker(&["info", "-f", "{{.ID}}"]));
    assert_eq!(info.root_dir, docker(&["info", "-f", "{{.DockerRootDir}}"]));
    assert!(info.api.starts_with("1."));
    assert_eq!(info.kind, ferry_agent::engine::EngineKind::Docker);
}

#[tokio::test]
async fn no_engine_is_named_with_a_hint() {
    let error = Engine::connect(&EndpointConfig::host("unix:///nonexistent/ferry.sock"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "engine-unreachable");
    assert!(
        error.to_string().contains("unix:///nonexistent/ferry.sock"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("DOCKER_HOST"));
}

#[tokio::test]
async fn what_ssh_says_is_passed_on() {
    let error = Engine::connect(&EndpointConfig::host("ssh://127.0.0.1:1"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "engine-unreachable");
    let text = error.to_string();
    assert!(text.contains("ssh://127.0.0.1:1"), "{text}");
    assert!(
        text.contains("refused") || text.contains("No such file"),
        "{text}"
    );
}

#[tokio::test]
async fn a_missing_container_is_told_with_names_that_look_alike() {
    let Some(engine) = engine("a_missing_container").await else {
        return;
    };
    let names = Names::new("alike");
    let image = names.image("i", &[], &[r#"CMD ["/ferryd"]"#]);
    let name = names.container("server");
    engine
        .create(&name, &json!({"Image": image}))
        .await
        .unwrap();
    let wrong = name.replace("server", "sever");
    let error = engine.inspect_container(&wrong).await.unwrap_err();
    assert_eq!(error.code(), "container-not-found");
    assert!(error.hint().unwrap().contains(&name), "{:?}", error.hint());
    assert!(error.is_not_found());
    let error = engine.start(&wrong).await.unwrap_err();
    assert_eq!(error.code(), "container-not-found");
    let error = engine
        .inspect_image(&image.replace("-i:", "-j:"))
        .await
        .unwrap_err();
    assert!(error.hint().unwrap().contains(&image), "{:?}", error.hint());
    for name in ["x/../../info", "", "a?b", "/"] {
        assert_eq!(
            engine.inspect_container(name).await.unwrap_err().code(),
            "engine-bad-name"
        );
    }
}

#[tokio::test]
async fn a_containers_life() {
    let Some(engine) = engine("a_containers_life").await else {
        return;
    };
    let names = Names::new("life");
    let image = names.image("i", &[], &[r#"ENTRYPOINT ["/ferryd"]"#]);
    let (name, volume) = (names.container("c"), names.volume("v"));
    let labels = BTreeMap::from([("ferry.run".to_owned(), "r".to_owned())]);
    let made = engine.create_volume(&volume, &labels).await.unwrap();
    assert_eq!(made.labels, labels);
    assert!(made.mountpoint.contains(&volume));
    let body = json!({
        "Image": image, "Cmd": ["hold"], "HostConfig": {
            "Binds": [format!("{volume}:/srv")], "NetworkMode": "none", "RestartPolicy": {"Name": "always"},
        },
    });
    let id = engine.create(&name, &body).await.unwrap().id;
    let using: Vec<_> = engine.containers_using_volume(&volume).await.unwrap();
    assert_eq!(
        using
            .iter()
            .map(|entry| entry.name.as_str())
            .collect::<Vec<_>>(),
        [name.as_str()]
    );
    assert!(engine.remove_volume(&volume).await.is_err(), "in use");

    // From a moment ago, so that it does not matter which of the two requests comes to the engine first.
    let since = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() - 1;
    let events = engine.events(&id, i64::try_from(since).ok());
    let mut events =
        events.filter(|it| std::future::ready(!matches!(it, Ok(it) if it.action == "create")));
    let exit = engine.next_exit(&id).await.unwrap();
    let seen = tokio::spawn({
        let engine = engine.clone();
        let id = id.clone();
        async move { engine.start(&id).await }
    });
    let event = tokio::time::timeout(NOW, events.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(
        (
            event.action.as_str(),
            event.id.as_str(),
            event.name.as_str()
        ),
        ("start", id.as_str(), name.as_str())
    );
    seen.await.unwrap().unwrap();
    engine.start(&id).await.unwrap();

    let inspect = engine.inspect_container(&name).await.unwrap();
    assert!(inspect.running());
    assert_eq!(inspect.mount_at("/srv").unwrap().name, volume);
    assert_eq!(inspect.restart_policy().name, "always");
    // The fence, then the stop: an `always` container stays down.
    engine
        .update_restart_policy(&id, &RestartPolicy::off())
        .await
        .unwrap();
    assert!(
        engine
            .inspect_container(&id)
            .await
            .unwrap()
            .restart_policy()
            .is_off()
    );
    engine
        .update_restart_policy(
            &id,
            &RestartPolicy {
                name: "always".into(),
                maximum_retry_count: 0,
            },
        )
        .await
        .unwrap();
    let stopped = engine.stop(&id, NOW).await.unwrap();
    assert_eq!(
        stopped,
        StopOutcome::Stopped {
            exit_code: 7,
            already: false
        }
    );
    assert_eq!(exit.wait(NOW).await.unwrap(), 7);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = engine.inspect_container(&id).await.unwrap();
    assert!(!after.running(), "a stopped `always` container came back");
    assert_eq!(
        engine.stop(&id, NOW).await.unwrap(),
        StopOutcome::Stopped {
            exit_code: 7,
            already: true
        }
    );
    let log = engine.logs(&id, LogRange::default()).await.unwrap();
    assert!(
        log.contains("to stdout\n") && log.contains("to stderr\n"),
        "{log}"
    );
    assert_eq!(
        engine
            .logs(
                &id,
                LogRange {
                    tail: Some(1),
                    since: None
                }
            )
            .await
            .unwrap()
            .lines()
            .count(),
        1
    );

    let renamed = names.container("renamed");
    engine.rename(&name, &renamed).await.unwrap();
    assert_eq!(engine.inspect_container(&renamed).await.unwrap().id(), id);
    engine.remove_container(&renamed).await.unwrap();
    engine.remove_container(&renamed).await.unwrap();
    engine.remove_volume(&volume).await.unwrap();
    assert!(engine.find_volume(&volume).await.unwrap().is_none());
}

#[tokio::test]
async fn who_ignores_the_signal_is_reported_and_lives() {
    let Some(engine) = engine("who_ignores_the_signal").await else {
        return;
    };
    let names = Names::new("stubborn");
    let image = names.image("i", &[], &[r#"ENTRYPOINT ["/ferryd"]"#]);
    let name = names.container("c");
    let id = engine
        .create(
            &name,
            &json!({"Image": image, "Cmd": ["ignore"], "HostConfig": {"NetworkMode": "none"}}),
        )
        .await
        .unwrap()
        .id;
    engine.start(&id).await.unwrap();
    let begin = Instant::now();
    assert_eq!(
        engine.stop(&id, Duration::from_secs(1)).await.unwrap(),
        StopOutcome::StillRunning
    );
    assert!(begin.elapsed() >= Duration::from_secs(1));
    assert!(engine.inspect_container(&id).await.unwrap().running());
    let error = engine.remove_container(&id).await.unwrap_err();
    assert!(
        matches!(error, EngineError::Refused { status: 409, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn who_does_not_hear_the_signal_at_first_is_asked_again() {
    let Some(engine) = engine("who_does_not_hear_the_signal").await else {
        return;
    };
    let names = Names::new("late");
    let image = names.image("i", &[], &[r#"ENTRYPOINT ["/ferryd"]"#]);
    let name = names.container("c");
    let body = json!({"Image": image, "Cmd": ["late"], "HostConfig": {"NetworkMode": "none"}});
    let id = engine.create(&name, &body).await.unwrap().id;
    engine.start(&id).await.unwrap();
    let stopped = engine.stop(&id, Duration::from_secs(60)).await.unwrap();
    let wanted = StopOutcome::Stopped {
        exit_code: 7,
        already: false,
    };
    assert_eq!(stopped, wanted);
}

#[tokio::test]
async fn an_image_is_known_by_its_contents() {
    let Some(engine) = engine("an_image_is_known_by_its_contents").await else {
        return;
    };
    let names = Names::new("probe");
    let version = "usr/share/percona-dashboards/VERSION";
    let v2 = names.image(
        "v2",
        &[
            ("etc/passwd", "root:x:0:0::/:/\npmm:x:1000:1000::/:/\n"),
            ("etc/group", "pmm:x:1000:\n"),
            (version, "2.44.1\n"),
        ],
        &[r#"CMD ["/ferryd"]"#, "EXPOSE 80 443"],
    );
    let v3 = names.image(
        "v3",
        &[
            ("etc/passwd", "pmm:x:1000:0::/:/\n"),
            ("etc/group", "pmm:x:1000:\n"),
            (version, "3.8.1"),
        ],
        &[
            "USER 1000",
            "VOLUME /srv",
            "EXPOSE 8080 8443",
            r#"LABEL com.percona.pmm="true""#,
        ],
    );
    let other = names.image("other", &[], &["USER nobody"]);
    let probe = engine.probe_image(&v2).await.unwrap();
    assert_eq!(
        (probe.version.as_deref(), probe.pmm_major),
        (Some("2.44.1"), Some(2))
    );
    assert_eq!(probe.user, Owner { uid: 0, gid: 0 });
    assert_eq!(probe.exposed_ports, ["443/tcp", "80/tcp"]);
    let probe = engine.probe_image(&v3).await.unwrap();
    assert_eq!(
        (probe.version.as_deref(), probe.pmm_major),
        (Some("3.8.1"), Some(3))
    );
    assert_eq!(probe.user, Owner { uid: 1000, gid: 0 });
    assert_eq!(probe.volumes, ["/srv"]);
    assert_eq!(
        probe.digest, probe.id,
        "an image from no registry is known by its id"
    );
    let error = engine.probe_image(&other).await.unwrap_err();
    assert!(error.to_string().contains("nobody"), "{error}");

    let left = engine
        .list_containers(&[("label", "ferry.role=probe")])
        .await
        .unwrap();
    let mine: Vec<_> = left
        .iter()
        .filter(|entry| [&v2, &v3, &other].contains(&&entry.image))
        .collect();
    assert!(mine.is_empty(), "{mine:?}");
    // Others may work on this engine: a volume that each probe left would show every time.
    let unused = || docker(&["volume", "ls", "-q", "-f", "dangling=true"]);
    let mut left_some = 0;
    for _ in 0..3 {
        let before = unused();
        engine.probe_image(&v3).await.unwrap();
        left_some += usize::from(unused().lines().any(|line| !before.contains(line)));
    }
    assert!(left_some < 3, "each probe leaves a volume");
}

#[tokio::test]
async fn an_image_that_is_there_is_not_pulled_and_a_failed_pull_says_why() {
    let Some(engine) = engine("an_image_that_is_there_is_not_pulled").await else {
        return;
    };
    let names = Names::new("pull");
    let image = names.image("i", &[], &[]);
    let there = engine
        .pull(&image, None, |_| panic!("nothing to pull"))
        .await
        .unwrap();
    assert_eq!(there.id(), engine.inspect_image(&image).await.unwrap().id());
    assert!(!engine.has_image("127.0.0.1:1/none:1").await.unwrap());
    let error = engine
        .pull("127.0.0.1:1/none:1", None, |_| ())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "engine-refused");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn files_go_in_and_out() {
    let Some(engine) = engine("files_go_in_and_out").await else {
        return;
    };
    let names = Names::new("files");
    let image = names.image("i", &[("etc/passwd", "x")], &[r#"CMD ["/ferryd"]"#]);
    let id = engine
        .create(&names.container("c"), &json!({"Image": image}))
        .await
        .unwrap()
        .id;
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o600);
    tar.append_data(&mut header, "new", &b"abc"[..]).unwrap();
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    tar.append_link(&mut link, "link", "../etc/new").unwrap();
    engine
        .put_archive(&id, "/etc", tar.into_inner().unwrap().into())
        .await
        .unwrap();
    assert_eq!(
        engine.read_file(&id, "/etc/new").await.unwrap().as_deref(),
        Some(&b"abc"[..])
    );
    assert_eq!(
        engine.read_file(&id, "/etc/link").await.unwrap().as_deref(),
        Some(&b"abc"[..])
    );
    assert_eq!(engine.read_file(&id, "/etc/none").await.unwrap(), None);
    assert!(engine.read_file(&id, "/etc").await.is_err());
}
