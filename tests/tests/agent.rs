//! The agent's promises to the machine that it runs on: little memory, readiness told, an end when it is asked for, and a sentence
//! when it cannot start. How quickly it is ready is measured by `cargo xtask bench agent`.
#![allow(
    clippy::disallowed_methods,
    reason = "the agent is started as its users start it; nothing here is shipped"
)]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ferry_proto::v1::{
    Action, GetInfoRequest, Place, RunStepRequest, Step, StepEvent, WaitUntilReady, action,
    step_event,
};
use ferry_tests::Result;
use ferry_tests::daemon::{Daemon, Notifications};
use ferry_tests::kill::programs;

/// 4 MiB. With the pages of its program `cargo xtask bench agent` measures what is shipped: how many of those are counted with it depends on
/// how the program was built, and on what the machine has at hand of it.
const MOST_OF_ITS_OWN_KIB: u64 = 4 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn idle_it_takes_little_memory() -> Result<()> {
    for role in ["inside", "sidecar", "volume"] {
        let own = idle_kib(role).await?;
        assert!(own <= MOST_OF_ITS_OWN_KIB, "{role}: {own} KiB");
    }
    Ok(())
}

async fn idle_kib(role: &str) -> Result<u64> {
    let daemon = Daemon::start(role, &[])?;
    daemon.answered().await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let idle = daemon.own_kib()?;
    assert_eq!(daemon.terminate()?, Some(0), "{role}");
    Ok(idle)
}

#[tokio::test(flavor = "multi_thread")]
async fn its_place_is_what_it_was_started_as() -> Result<()> {
    for (role, place) in [("inside", Place::Container), ("volume", Place::Volume)] {
        let daemon = Daemon::start(role, &[])?;
        let (agent, _) = daemon.answered().await?;
        let info = agent.service().get_info(GetInfoRequest {}).await;
        assert_eq!(
            info.expect("it answered before").into_inner().place(),
            place
        );
        let socket = daemon.socket().to_owned();
        assert_eq!(daemon.terminate()?, Some(0));
        assert!(!socket.exists(), "the socket goes with it");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_hears_of_readiness_life_and_the_end() -> Result<()> {
    let systemd = Notifications::listen()?;
    let path = systemd.path();
    let daemon = Daemon::start(
        "inside",
        &[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", "600000")],
    )?;
    let heard = systemd.until("READY=1", Duration::from_secs(10))?;
    assert!(
        heard.iter().any(|line| line.starts_with("STATUS=")),
        "{heard:?}"
    );
    // Ready means that it answers.
    daemon.answered().await?;
    for _ in 0..3 {
        systemd.until("WATCHDOG=1", Duration::from_secs(5))?;
    }
    let asked = std::thread::spawn(move || daemon.terminate());
    let heard = systemd.until("STOPPING=1", Duration::from_secs(10))?;
    assert!(
        heard.iter().any(|line| line.starts_with("STATUS=")),
        "{heard:?}"
    );
    assert_eq!(asked.join().expect("the thread only waits")?, Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_step_is_ended_at_a_safe_place_before_it_goes() -> Result<()> {
    let daemon = Daemon::start("inside", &[])?;
    let (agent, _) = daemon.answered().await?;
    // Nobody will ever be ready here: without the signal this step takes five minutes.
    let kind = action::Kind::WaitUntilReady(WaitUntilReady {
        version: "3.8.1".to_owned(),
        timeout_seconds: 300,
    });
    let step = Step {
        id: "wait-until-ready".to_owned(),
        place: Place::Container.into(),
        action: Some(Action { kind: Some(kind) }),
        ..Step::default()
    };
    let request = RunStepRequest {
        run: "r1".to_owned(),
        step: Some(step),
        attempt: 1,
        ..RunStepRequest::default()
    };
    let mut events = agent
        .service()
        .run_step(request)
        .await
        .expect("it runs")
        .into_inner();
    let first = events.message().await.expect("a stream").expect("an event");
    assert!(
        matches!(first.kind, Some(step_event::Kind::Started(_))),
        "{first:?}"
    );
    let ended = std::thread::spawn(move || daemon.terminate());
    let mut last: Option<StepEvent> = None;
    while let Ok(Some(event)) = events.message().await {
        last = Some(event);
    }
    match last.and_then(|event| event.kind) {
        Some(step_event::Kind::Failed(failure)) => {
            assert_eq!(failure.code, "cancelled", "{failure:?}")
        }
        other => panic!("the reader is told how it ended: {other:?}"),
    }
    drop((events, agent));
    assert_eq!(ended.join().expect("the thread only waits")?, Some(0));
    Ok(())
}

#[test]
fn a_caller_that_does_not_hang_up_is_not_waited_for() -> Result<()> {
    let daemon = Daemon::start("inside", &[])?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (agent, _) = runtime.block_on(daemon.answered())?;
    // Nobody turns this client's wheels any more: it does not hear that it is to go.
    let asked = Instant::now();
    assert_eq!(daemon.terminate()?, Some(0));
    assert!(
        asked.elapsed() < Duration::from_secs(10),
        "{:?}",
        asked.elapsed()
    );
    drop(agent);
    Ok(())
}

#[test]
fn what_it_cannot_do_it_says_at_once() -> Result<()> {
    let ferryd = programs()?.ferryd;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("file");
    fs_err::write(&file, "")?;
    let below = file.join("agent.sock");
    let below = below.to_str().expect("made of plain letters");
    let cases: [(&[&str], i32, &str); 4] = [
        (&[], 2, "Usage"),
        (&["inside", "--no-such"], 2, "--no-such"),
        (&["everywhere"], 2, "everywhere"),
        (&["inside", "--socket", below], 64, "file"),
    ];
    for (words, code, says) in cases {
        let output = Command::new(&ferryd)
            .args(words)
            .stdin(Stdio::null())
            .output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {stderr}");
        assert!(stderr.contains(says), "{words:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{words:?}");
    }
    Ok(())
}
