//! The units of `deploy/` under a real systemd: each is what systemd understands, says by itself that it is up, is started again when it is
//! killed, and ends when it is told to. What the other two do, with all that their units take away from them, is in `clients_upgrade.rs`
//! and `remote.rs`.

use std::time::{Duration, Instant};

use ferry_tests::host_agent::HostAgent;
use ferry_tests::kill::programs;
use ferry_tests::systemd::Systemd;
use ferry_tests::{Error, Result, docker};

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
const UNITS: [&str; 4] = [
    "ferryd.service",
    "ferryd-host.service",
    "ferryd-client.service",
    "ferryd-appliance.service",
];

/// Whom an appliance lets in (docs/appliance.md).
const POLICY: &str =
    r#"{"format": 1, "readers": ["night.example.com"], "operators": [], "steps": []}"#;

/// A property of a unit.
fn shown(machine: &Systemd, unit: &str, property: &str) -> Result<String> {
    let shown = machine.sh(&format!("systemctl show --property {property} {unit}"))?;
    Ok(shown.rsplit_once('=').map_or("", |it| it.1).to_owned())
}

/// Its main process, once it has said that it is up.
fn up(machine: &Systemd, unit: &str, unlike: &str) -> Result<String> {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(30) {
        let id = shown(machine, unit, "MainPID")?;
        if shown(machine, unit, "ActiveState")? == "active" && id != unlike {
            return Ok(id);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let log = machine.sh(&format!("journalctl --no-pager --unit {unit}"))?;
    Err(Error::of(format!("{unit} is not up: {log}")))
}

#[test]
fn each_unit_is_understood_and_those_without_an_engine_live_and_end() -> Result<()> {
    let name = format!("ferry-test-{}-services", std::process::id());
    let folder = HostAgent::prepare(&[])?;
    let program = format!("{}:/usr/local/bin/ferryd:ro", programs()?.ferryd.display());
    let own = folder.path().join("localhost");
    let tls = format!("{}:/etc/ferry/tls:ro", own.display());
    let volumes = ["--volume", &program, "--volume", &tls];
    let machine = Systemd::start(&name, &volumes)?;
    for unit in UNITS {
        let to = format!("{name}:/etc/systemd/system/");
        docker(&["cp", &format!("{DEPLOY}/{unit}"), &to])?;
        // It complains on its standard error, and of other units, too.
        let said = machine.sh(&format!("systemd-analyze verify {unit} 2>&1 || true"))?;
        assert!(!said.contains("ferryd"), "{said}");
    }
    machine.sh(&format!(
        "echo '{POLICY}' >/etc/ferry/policy.json; systemctl daemon-reload"
    ))?;
    for unit in ["ferryd.service", "ferryd-appliance.service"] {
        machine.sh(&format!("systemctl enable --now {unit}"))?;
        let first = up(&machine, unit, "")?;
        assert_eq!(shown(&machine, unit, "Type")?, "notify");
        machine.sh(&format!(
            "systemctl kill --kill-whom=main --signal=KILL {unit}"
        ))?;
        up(&machine, unit, &first)?;
        assert_eq!(shown(&machine, unit, "NRestarts")?, "1", "{unit}");
        machine.sh(&format!("systemctl stop {unit}"))?;
        let end = [
            shown(&machine, unit, "Result")?,
            shown(&machine, unit, "ExecMainStatus")?,
        ];
        assert_eq!(end, ["success", "0"], "{unit}");
    }
    Ok(())
}
