//! Against a real supervisord.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ferry_agent::server::ServerRoot;
use ferry_agent::server::baseline::Access;
use ferry_agent::server::facts::observe;
use ferry_agent::server::http::Ports;
use ferry_agent::server::pmm::Major;
use ferry_agent::server::services::{ServiceEvent, plan_stop, start_all, stop_all};
use ferry_agent::server::supervisor::{ProcessState, Supervisor, SupervisorState};
use tokio_util::sync::CancellationToken;

/// A supervisord whose "server root" is a folder of ours.
struct Fixture {
    dir: tempfile::TempDir,
    child: Child,
}

impl Fixture {
    fn start(programs: &str) -> Option<Self> {
        let daemon = ["/usr/bin/supervisord", "/usr/local/bin/supervisord"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let Some(daemon) = daemon else {
            eprintln!("supervisord is not installed: not tried");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        for path in ["etc/supervisord.d", "run/supervisor", "var", "logs"] {
            std::fs::create_dir_all(base.join(path)).unwrap();
        }
        // As on a real system; followed inside the root, it leads to our own `run`.
        std::os::unix::fs::symlink("/run", base.join("var/run")).unwrap();
        let http = "username=dummy\npassword=dummy\nchmod=0700\n";
        let shape = |socket: &str| format!("[unix_http_server]\nfile={socket}\n{http}");
        // What the server has: names as it sees them.
        let main = "[supervisord]\nnodaemon=true\n[include]\nfiles = supervisord.d/*.ini\n";
        std::fs::write(base.join("etc/supervisord.conf"), main).unwrap();
        let ini = shape("/var/run/supervisor/supervisor.sock") + programs;
        std::fs::write(base.join("etc/supervisord.d/pmm.ini"), ini).unwrap();
        // What runs here: the same with paths of this machine.
        let b = base.display();
        let real = shape(&format!("{b}/run/supervisor/supervisor.sock"))
            + &format!(
                "[supervisord]\nnodaemon=true\nlogfile={b}/s.log\npidfile={b}/s.pid\nchildlogdir={b}\nuser=root\n\
                 [rpcinterface:supervisor]\n\
                 supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
            )
            + programs;
        std::fs::write(base.join("real.conf"), real).unwrap();
        let child = Command::new(daemon)
            .arg("-n")
            .arg("-c")
            .arg(base.join("real.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let fixture = Self { dir, child };
        let deadline = Instant::now() + Duration::from_secs(20);
        // It is there a moment before anybody listens on it.
        let socket = fixture.dir.path().join("run/supervisor/supervisor.sock");
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < deadline, "supervisord does not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(fixture)
    }

    fn supervisor(&self) -> Supervisor {
        Supervisor::at(&ServerRoot::new(self.dir.path())).unwrap()
    }

    async fn running(&self, names: &[&str]) {
        let supervisor = self.supervisor();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            // The socket is there a moment before anybody listens on it.
            let all = supervisor.processes().await.unwrap_or_default();
            let is_up = |name: &&str| {
                all.iter()
                    .any(|p| p.is_named(name) && p.state == ProcessState::Running)
            };
            if names.iter().all(is_up) {
                return;
            }
            assert!(Instant::now() < deadline, "{all:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // Asked, not killed, so that it ends its own programs.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(15);
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PROGRAMS: &str = "\
[program:postgresql]
command=/bin/sleep 1000
stopsignal=INT
stopwaitsecs=300
startsecs=0
[program:grafana]
command=/bin/sleep 1000
[program:nginx]
command=/bin/sleep 1000
[program:ferryd]
command=/bin/sleep 1000
[program:pmm-agent]
command=/bin/sleep 1000
autostart=false
[program:theirs]
command=/bin/sleep 1000
process_name=%(program_name)s_%(process_num)02d
numprocs=2
[program:broken]
command=/nowhere/at/all
startretries=0
";

#[tokio::test(flavor = "multi_thread")]
async fn all_is_stopped_by_name_and_started_again() {
    let Some(fixture) = Fixture::start(PROGRAMS) else {
        return;
    };
    let supervisor = fixture.supervisor();
    fixture
        .running(&[
            "postgresql",
            "grafana",
            "nginx",
            "ferryd",
            "theirs:theirs_01",
        ])
        .await;
    assert!(
        supervisor
            .version()
            .await
            .unwrap()
            .starts_with(['3', '4', '5'])
    );
    assert_eq!(supervisor.state().await.unwrap(), SupervisorState::Running);
    assert_eq!(supervisor.pid().await.unwrap(), fixture.child.id());
    assert_eq!(
        supervisor.config().stop_wait("postgresql", "postgresql"),
        Duration::from_secs(300)
    );

    let before = supervisor.processes().await.unwrap();
    let broken = before.iter().find(|p| p.name == "broken").unwrap();
    assert_eq!(broken.state, ProcessState::Fatal);
    assert!(!broken.spawn_error.is_empty());
    let plan = plan_stop(&before, Some("ferryd"));
    assert_eq!(
        plan.order,
        [
            "nginx",
            "broken",
            "theirs:theirs_00",
            "theirs:theirs_01",
            "pmm-agent",
            "grafana",
            "postgresql"
        ]
    );
    assert_eq!(
        plan.ran,
        [
            "nginx",
            "theirs:theirs_00",
            "theirs:theirs_01",
            "grafana",
            "postgresql"
        ]
    );

    let cancel = CancellationToken::new();
    let mut events = Vec::new();
    stop_all(&supervisor, &plan, &mut |event| events.push(event), &cancel)
        .await
        .unwrap();
    let stopped: Vec<&str> = events
        .iter()
        .filter_map(|event| match event {
            ServiceEvent::Stopped(name, true) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(stopped, plan.ran);
    for old in before.iter().filter(|p| p.name != "ferryd") {
        if let Some(pid) = old.pid {
            assert!(
                !Path::new(&format!("/proc/{pid}")).exists(),
                "{} is left",
                old.name
            );
        }
    }
    let now = supervisor.process("ferryd").await.unwrap();
    assert_eq!(now.state, ProcessState::Running);

    // Again: nothing to do, and no error.
    stop_all(&supervisor, &plan, &mut |_| {}, &cancel)
        .await
        .unwrap();

    let mut started = Vec::new();
    let patience = Duration::from_secs(20);
    let mut on = |event| {
        if let ServiceEvent::Running(name) = event {
            started.push(name);
        }
    };
    start_all(&supervisor, &plan.ran, patience, &mut on, &cancel)
        .await
        .unwrap();
    let mut reverse = plan.ran.clone();
    reverse.reverse();
    assert_eq!(started, reverse);
    fixture.running(&["postgresql", "nginx"]).await;
    let pmm_agent = supervisor.process("pmm-agent").await.unwrap();
    assert_eq!(pmm_agent.state, ProcessState::Stopped);
    start_all(&supervisor, &plan.ran, patience, &mut |_| {}, &cancel)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_typed_and_failures_named() {
    let programs = "[program:short]\ncommand=/bin/false\nautostart=false\nstartretries=0\n\
                    [program:stubborn]\ncommand=/bin/sh -c 'trap \"\" TERM; while :; do sleep 1; done'\n\
                    stopwaitsecs=3\nstopasgroup=true\nkillasgroup=true\n";
    let Some(fixture) = Fixture::start(programs) else {
        return;
    };
    let supervisor = fixture.supervisor();
    fixture.running(&["stubborn"]).await;
    let error = supervisor.stop("nobody").await.unwrap_err();
    assert_eq!(error.code(), "supervisor-fault");
    assert!(error.to_string().contains("BAD_NAME"), "{error}");
    assert!(!supervisor.stop("short").await.unwrap());
    assert!(!supervisor.start("stubborn").await.unwrap());

    let cancel = CancellationToken::new();
    let names = vec!["short".to_owned()];
    let patience = Duration::from_secs(10);
    let error = start_all(&supervisor, &names, patience, &mut |_| {}, &cancel)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "program-failed", "{error}");

    // It ignores TERM; cancelling comes through while it is waited for.
    let plan = plan_stop(&supervisor.processes().await.unwrap(), None);
    let early = cancel.child_token();
    let later = early.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        later.cancel();
    });
    let error = stop_all(&supervisor, &plan, &mut |_| {}, &early)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "cancelled");
    // Repeating it goes on where it was.
    stop_all(&supervisor, &plan, &mut |_| {}, &cancel)
        .await
        .unwrap();
}

/// The supervisor answers that it could not be started, and tries again by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_at_first_is_waited_for() {
    let programs = "[program:late]\ncommand=/bin/sleep 1000\nautostart=false\n\
                    stdout_logfile=%(here)s/logs/late.log\n";
    let Some(fixture) = Fixture::start(programs) else {
        return;
    };
    let supervisor = fixture.supervisor();
    let logs = fixture.dir.path().join("logs");
    std::fs::remove_dir_all(&logs).unwrap();
    let cancel = CancellationToken::new();
    let names = ["late".to_owned()];
    let mut on = |_| {};
    let starting = start_all(
        &supervisor,
        &names,
        Duration::from_secs(20),
        &mut on,
        &cancel,
    );
    let mending = async {
        let deadline = Instant::now() + Duration::from_secs(20);
        while supervisor.process("late").await.unwrap().state != ProcessState::Backoff {
            assert!(Instant::now() < deadline, "it was never tried");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        std::fs::create_dir(&logs).unwrap();
    };
    let (started, ()) = tokio::join!(starting, mending);
    started.unwrap();
    fixture.running(&["late"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_server_is_observed_as_far_as_it_can_be() {
    let programs = "[program:pmm-update-perform]\ncommand=/bin/sleep 1000\n\
                    [program:pmm-update-perform-init]\ncommand=/bin/true\nautorestart=false\nstartsecs=0\n\
                    [program:clickhouse]\ncommand=/bin/sleep 1000\nstopwaitsecs=300\n";
    let Some(fixture) = Fixture::start(programs) else {
        return;
    };
    fixture.running(&["pmm-update-perform", "clickhouse"]).await;
    let write = |path: &str, text: &str| {
        let path = fixture.dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("srv/grafana/PERCONA_DASHBOARDS_VERSION", "2.44.1\n");
    write("srv/pmm-distribution", "docker");
    write(
        "srv/prometheus/rules/pmm.rules.yml",
        "groups:\n- rules:\n  - alert: Down\n    expr: up == 0\n",
    );
    write(
        "srv/prometheus/rules/record.yml",
        "groups:\n- rules:\n  - record: a\n    expr: up\n",
    );
    write("etc/passwd", "pmm:x:1000:1000::/home/pmm:/bin/false\n");
    let root = ServerRoot::new(fixture.dir.path());
    let closed = Ports {
        managed: 1,
        nginx_v2: 1,
        nginx_v3: 1,
        grafana: 1,
        victoria: 1,
        qan: 1,
        clickhouse: 1,
    };
    let seen = observe(
        &root,
        &Access {
            ports: closed,
            ..Access::default()
        },
    )
    .await;
    assert_eq!(seen.major(), Some(Major::V2));
    assert_eq!(seen.distribution.as_deref(), Some("docker"));
    assert!(seen.update_running);
    assert_eq!(seen.started_up, Some(true));
    assert!(seen.external_postgres && !seen.external_clickhouse);
    assert_eq!(
        seen.alert_rules,
        [Path::new("/srv/prometheus/rules/pmm.rules.yml")]
    );
    assert_eq!(seen.state_of("clickhouse"), Some(ProcessState::Running));
    assert_eq!(seen.users.by_name("pmm").unwrap().uid, 1000);
    assert!(seen.pid1_uid.is_some() && seen.supervisor.is_some());
    let program = seen
        .programs
        .iter()
        .find(|p| p.process.name == "clickhouse")
        .unwrap();
    assert_eq!(program.stop_wait, 300);
    let mut missing: Vec<&str> = seen.unobserved.iter().map(|u| u.what.as_str()).collect();
    // This machine's first process is no server's, and may be nobody's to look into.
    missing.retain(|what| *what != "the server's variables");
    assert_eq!(missing, ["PMM's API", "Query Analytics' schema"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_missing_socket_are_told_apart() {
    let Some(fixture) = Fixture::start("[program:a]\ncommand=/bin/sleep 1000\n") else {
        return;
    };
    let ini = fixture.dir.path().join("etc/supervisord.d/pmm.ini");
    let text = std::fs::read_to_string(&ini).unwrap();
    std::fs::write(&ini, text.replace("password=dummy", "password=other")).unwrap();
    let error = fixture.supervisor().processes().await.unwrap_err();
    assert_eq!(error.code(), "supervisor-refused");

    let empty = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::at(&ServerRoot::new(empty.path())).unwrap();
    let error = supervisor.processes().await.unwrap_err();
    assert_eq!(error.code(), "supervisor-unreachable");
    assert!(error.hint().is_some());
}
