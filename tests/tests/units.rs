//! A server that a unit of systemd makes at each of its starts: it crosses by choice only, the unit makes the new one from its edited file,
//! and a way back gives it its file again.
//!
//! The service manager is a real systemd where a test says so, and else a double (`tests/src/bin/systemctl-double.rs`), which starts in no time
//! and is played hundreds of times; units, engine and containers are real.

use std::path::Path;

use ferry_tests::ferryctl::Ferryctl;
use ferry_tests::server::{Fault, Options, TestServer};
use ferry_tests::units::{Unit, Units, is_up, wait_up};
use ferry_tests::witness::{self, Seen};
use ferry_tests::{Result, docker};

const TO: &str = "ferry-test/pmm-server:3.8.1";
/// A variable's value, which nobody has to know.
const SECRET: &str = "correct-horse-battery";
const DOUBLE: &str = env!("CARGO_BIN_EXE_systemctl-double");

/// A server of a unit's. The unit goes first, then the server.
struct Machine {
    unit: Unit,
    server: TestServer,
}

impl Machine {
    /// `options` is what else the unit gives the container.
    fn of_used_server(options: &str) -> Result<Self> {
        let server = TestServer::used(Options::default())?;
        let unit = Unit::of(&server, Path::new(DOUBLE), options)?;
        Ok(Self { unit, server })
    }

    /// As that, with a real systemd.
    fn with_systemd(options: &str) -> Result<Self> {
        let server = TestServer::used(Options::default())?;
        let unit = Unit::of_systemd(&server, options)?;
        Ok(Self { unit, server })
    }

    /// Whose unit starts the server's container, and does not make it.
    fn that_starts(options: Options, units: fn(&str) -> Result<Units>) -> Result<Self> {
        let server = TestServer::used(options)?;
        let units = units(&format!("{}-systemd", server.name))?;
        let unit = Unit::starting(&server, units)?;
        Ok(Self { unit, server })
    }

    /// Its unit runs, by the file of before, and nothing is left beside that.
    fn assert_as_before(&self, text: &str) -> Result<()> {
        assert_eq!(self.unit.text()?, text);
        assert_eq!(
            self.unit.units.names()?,
            std::slice::from_ref(&self.unit.name)
        );
        assert!(self.unit.is_active()?);
        Ok(())
    }

    fn tool(&self) -> Result<Ferryctl> {
        Ok(Ferryctl::new()?.within(self.unit.units.within()))
    }

    fn image(&self) -> Result<String> {
        let image = self.server.inspect()?["Config"]["Image"].take();
        Ok(image.as_str().unwrap_or_default().to_owned())
    }
}

fn double(_: &str) -> Result<Units> {
    Units::of(Path::new(DOUBLE))
}

fn systemd(name: &str) -> Result<Units> {
    Units::of_systemd(name)
}

/// What the unit of the first tests gives its container.
fn many_options() -> String {
    format!(
        "    -e DATA_RETENTION=720h -e DISABLE_UPDATES=1 \\\n    # nothing else\n    -e LESS_LOG_NOISE=1 \\\n    \
         --env \"GF_SMTP_PASSWORD={SECRET}\" \\\n    -p 127.0.0.1::443 \\\n"
    )
}

#[test]
fn the_unit_crosses_with_its_files_and_comes_back_with_them() -> Result<()> {
    crosses_and_comes_back(&Machine::of_used_server(&many_options())?)
}

#[test]
fn a_real_systemds_unit_crosses_with_its_files_and_comes_back_with_them() -> Result<()> {
    crosses_and_comes_back(&Machine::with_systemd(&many_options())?)
}

fn crosses_and_comes_back(machine: &Machine) -> Result<()> {
    let (server, tool) = (&machine.server, machine.tool()?);
    let (before, seen) = (machine.unit.text()?, Seen::of(server)?);
    let address = server.address();
    let words = ["migrate", &address, "--to", TO, "--yes"];

    let refused = tool.run(&words)?;
    assert_eq!(refused.code, 3, "{}", refused.shown());
    for word in ["container-managed", &machine.unit.name, "--unit edit"] {
        assert!(refused.shown().contains(word), "{}", refused.shown());
    }
    let edit = [&words[..], &["--unit", "edit"]].concat();
    // What systemd has not read is not what it would start.
    machine
        .unit
        .units
        .write(&machine.unit.name, &before.replace("720h", "721h"))?;
    let refused = tool.run(&edit)?;
    assert_eq!(refused.code, 3, "{}", refused.shown());
    assert!(
        refused.shown().contains("unit-file-refused"),
        "{}",
        refused.shown()
    );
    machine.unit.units.write(&machine.unit.name, &before)?;
    // By the time of a file it is another one, though it says what it said.
    machine.unit.units.systemctl(&["daemon-reload"])?;

    let done = tool.run(&edit)?;
    assert_eq!(done.code, 0, "{}", done.shown());
    let mut wanted = before.clone();
    for (old, new) in [
        ("-e DATA_RETENTION=", "-e PMM_DATA_RETENTION="),
        ("DISABLE_UPDATES=1", "PMM_ENABLE_UPDATES=false"),
        ("    -e LESS_LOG_NOISE=1 \\\n", ""),
        ("::443 ", "::8443 "),
        ("ferry-test/pmm-server:2.44.1", TO),
    ] {
        assert!(wanted.contains(old), "{old}");
        wanted = wanted.replace(old, new);
    }
    assert_eq!(machine.unit.text()?, wanted);
    let kept = format!("{}.ferry-{}", machine.unit.name, tool.only_run()?);
    assert_eq!(
        machine.unit.units.names()?,
        [machine.unit.name.clone(), kept.clone()]
    );
    assert_eq!(machine.unit.units.text(&kept)?, before);
    assert!(done.shown().contains(&kept), "{}", done.shown());
    assert!(!done.shown().contains(SECRET), "{}", done.shown());
    assert!(machine.unit.is_active()?);
    assert_eq!(
        (
            machine.image()?.as_str(),
            witness::version(server)?.as_str()
        ),
        (TO, "3.8.1")
    );
    assert_eq!(seen.lost(&Seen::of(server)?), [""; 0]);
    // It is the unit's own, and so is the next one.
    machine
        .unit
        .units
        .systemctl(&["restart", &machine.unit.name])?;
    wait_up(server)?;
    assert_eq!(witness::version(server)?, "3.8.1");

    // Who takes back a server that is down finds no container of it.
    machine
        .unit
        .units
        .systemctl(&["stop", &machine.unit.name])?;
    assert!(docker(&["container", "inspect", &server.name]).is_err());
    let back = tool.run(&["rollback", &tool.only_run()?, "--yes"])?;
    assert_eq!(back.code, 0, "{}", back.shown());
    assert_eq!(machine.unit.text()?, before);
    assert_eq!(
        machine.unit.units.names()?,
        std::slice::from_ref(&machine.unit.name)
    );
    assert!(machine.unit.is_active()?);
    server.wait_ready()?;
    assert_eq!(witness::version(server)?, "2.44.1");
    assert_eq!(seen.lost(&Seen::of(server)?), [""; 0]);

    let again = machine.tool()?;
    let done = again.run(&edit)?;
    assert_eq!(done.code, 0, "{}", done.shown());
    let finished = again.run(&["finish", &again.only_run()?, "--yes"])?;
    assert_eq!(finished.code, 0, "{}", finished.shown());
    assert!(machine.unit.is_active()?);
    assert_eq!(witness::version(server)?, "3.8.1");
    Ok(())
}

/// PMM 3 ends as soon as it starts: the unit makes PMM 2 again, from the file as it was.
#[test]
fn a_new_server_that_does_not_stay_up_gives_the_unit_its_old_one_again() -> Result<()> {
    comes_back_by_itself(&Machine::of_used_server(&failing())?)
}

#[test]
#[ignore = "as with the double, which is in every run"]
fn a_new_server_that_does_not_stay_up_gives_a_real_systemds_unit_its_old_one_again() -> Result<()> {
    comes_back_by_itself(&Machine::with_systemd(&failing())?)
}

fn failing() -> String {
    format!("    -e STANDIN_FAULT={} \\\n", Fault::Exit.word())
}

fn comes_back_by_itself(machine: &Machine) -> Result<()> {
    let (server, tool) = (&machine.server, machine.tool()?);
    let (before, seen) = (machine.unit.text()?, Seen::of(server)?);
    let failed = tool.run(&[
        "migrate",
        &server.address(),
        "--to",
        TO,
        "--yes",
        "--unit",
        "edit",
        "--ready-timeout",
        "20",
    ])?;
    assert_eq!(failed.code, 1, "{}", failed.shown());
    machine.assert_as_before(&before)?;
    server.wait_ready()?;
    assert_eq!(witness::version(server)?, "2.44.1");
    assert_eq!(seen.lost(&Seen::of(server)?), [""; 0]);
    assert_eq!(server.unclean()?, [""; 0]);
    Ok(())
}

/// Killed in the downtime, with the old container gone: nobody starts the unit, and another call goes on, or back.
#[test]
fn while_a_run_has_the_unit_nobody_starts_it() -> Result<()> {
    is_started_by_nobody(&Machine::of_used_server("")?)
}

#[test]
#[ignore = "as with the double, which is in every run"]
fn while_a_run_has_the_unit_nobody_starts_it_by_a_real_systemd() -> Result<()> {
    is_started_by_nobody(&Machine::with_systemd("")?)
}

fn is_started_by_nobody(machine: &Machine) -> Result<()> {
    let (server, tool) = (&machine.server, machine.tool()?);
    let before = machine.unit.text()?;
    let address = server.address();
    for way in ["resume", "rollback"] {
        let words = [
            "migrate", &address, "--to", TO, "--yes", "--unit", "edit", "--output", "json",
        ];
        let call = tool.spawn(&words)?;
        // The edit is the last step before the data is handed over.
        let kept = || {
            machine
                .unit
                .units
                .names()
                .map(|it| it.iter().any(|it| it.contains(".service.ferry-")))
        };
        let began = std::time::Instant::now();
        while !kept()? {
            assert!(began.elapsed().as_secs() < 200, "it was never edited");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let killed = call.kill()?;
        let runs = tool.run(&["runs", "--output", "json"])?.json()?;
        let open = runs.iter().find(|it| it["state"] == "running").cloned();
        let open = open.unwrap_or_else(|| panic!("{}", killed.shown()));
        let run = open["run"].as_str().unwrap_or_default().to_owned();
        if !is_up(server) {
            let said = machine.unit.units.refused(&["start", &machine.unit.name])?;
            assert!(said.contains("Assertion failed"), "{said}");
        }
        let words = match way {
            "resume" => vec!["resume", &run],
            _ => vec!["rollback", &run, "--yes"],
        };
        let ended = tool.run(&words)?;
        assert_eq!(ended.code, 0, "{}", ended.shown());
        assert!(machine.unit.is_active()?);
        wait_up(server)?;
        if way == "resume" {
            assert_eq!(witness::version(server)?, "3.8.1");
            let back = tool.run(&["rollback", &run, "--yes"])?;
            assert_eq!(back.code, 0, "{}", back.shown());
            server.wait_ready()?;
        }
        assert_eq!(witness::version(server)?, "2.44.1");
        assert_eq!(machine.unit.text()?, before);
        assert_eq!(
            machine.unit.units.names()?,
            std::slice::from_ref(&machine.unit.name)
        );
    }
    Ok(())
}

/// A unit that starts a container which exists: it crosses by choice too, with no word of its file changed, and starts the new one.
#[test]
fn a_unit_that_starts_its_container_starts_the_next_one() -> Result<()> {
    starts_the_next_one(&Machine::that_starts(Options::default(), double)?)
}

#[test]
fn a_real_systemds_unit_that_starts_its_container_starts_the_next_one() -> Result<()> {
    starts_the_next_one(&Machine::that_starts(Options::default(), systemd)?)
}

fn starts_the_next_one(machine: &Machine) -> Result<()> {
    let (server, unit, tool) = (&machine.server, &machine.unit, machine.tool()?);
    let (before, seen) = (unit.text()?, Seen::of(server)?);
    let address = server.address();
    let words = ["migrate", &address, "--to", TO, "--yes"];
    let refused = tool.run(&words)?;
    assert_eq!(refused.code, 3, "{}", refused.shown());
    for word in ["container-managed", &unit.name, "--unit edit"] {
        assert!(refused.shown().contains(word), "{}", refused.shown());
    }
    // As `podman generate systemd` writes it: it names this container's own folder.
    let of_this_one = before.replace("Restart=", "PIDFile=/run/0123456789ab/pid\nRestart=");
    unit.units.write(&unit.name, &of_this_one)?;
    unit.units.systemctl(&["daemon-reload"])?;
    let edit = [&words[..], &["--unit", "edit"]].concat();
    let refused = tool.run(&edit)?;
    assert_eq!(refused.code, 3, "{}", refused.shown());
    for word in ["unit-file-refused", "PIDFile", "disable --now"] {
        assert!(refused.shown().contains(word), "{}", refused.shown());
    }
    unit.units.write(&unit.name, &before)?;
    unit.units.systemctl(&["daemon-reload"])?;

    let done = tool.run(&edit)?;
    assert_eq!(done.code, 0, "{}", done.shown());
    let run = tool.only_run()?;
    for (major, version) in [("3", "3.8.1"), ("2", "2.44.1")] {
        machine.assert_as_before(&before)?;
        assert_eq!(witness::version(server)?, version);
        assert_eq!(seen.lost(&Seen::of(server)?), [""; 0]);
        // What it starts at the next boot.
        unit.units.systemctl(&["restart", &unit.name])?;
        wait_up(server)?;
        assert_eq!(witness::version(server)?, version);
        if major == "3" {
            let back = tool.run(&["rollback", &run, "--yes"])?;
            assert_eq!(back.code, 0, "{}", back.shown());
            server.wait_ready()?;
        }
    }
    Ok(())
}

#[test]
fn a_unit_that_starts_its_container_gets_the_old_one_back() -> Result<()> {
    let fails = Options {
        fault: Some(Fault::Exit),
        ..Options::default()
    };
    let machine = Machine::that_starts(fails, double)?;
    comes_back_by_itself(&machine)
}

#[test]
fn while_a_run_has_a_unit_nobody_starts_either_container_by_it() -> Result<()> {
    starts_neither(&Machine::that_starts(Options::default(), double)?)
}

#[test]
#[ignore = "as with the double, which is in every run"]
fn while_a_run_has_a_unit_nobody_starts_either_container_by_a_real_systemd() -> Result<()> {
    starts_neither(&Machine::that_starts(Options::default(), systemd)?)
}

fn starts_neither(machine: &Machine) -> Result<()> {
    let (server, unit, tool) = (&machine.server, &machine.unit, machine.tool()?);
    let (before, address) = (unit.text()?, server.address());
    let words = [
        "migrate", &address, "--to", TO, "--yes", "--unit", "edit", "--output", "json",
    ];
    for way in ["rollback", "resume"] {
        let call = tool.spawn(&words)?;
        let began = std::time::Instant::now();
        while is_up(server) {
            assert!(began.elapsed().as_secs() < 200, "it was never stopped");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let killed = call.kill()?;
        let said = unit.units.refused(&["start", &unit.name])?;
        assert!(said.contains("Assertion failed"), "{said}");
        assert!(!is_up(server));
        let runs = tool.run(&["runs", "--output", "json"])?.json()?;
        let open = runs.iter().find(|it| it["state"] == "running").cloned();
        let open = open.unwrap_or_else(|| panic!("{}", killed.shown()));
        let run = open["run"].as_str().unwrap_or_default();
        let ended = match way {
            "resume" => tool.run(&["resume", run])?,
            _ => tool.run(&["rollback", run, "--yes"])?,
        };
        assert_eq!(ended.code, 0, "{}", ended.shown());
        machine.assert_as_before(&before)?;
        let version = if way == "resume" { "3.8.1" } else { "2.44.1" };
        server.wait_ready()?;
        assert_eq!(witness::version(server)?, version);
    }
    Ok(())
}

/// A unit that does not run keeps nothing up, and nothing is said of it.
#[test]
fn a_stopped_unit_is_nobodys() -> Result<()> {
    let machine = Machine::that_starts(Options::default(), double)?;
    machine
        .unit
        .units
        .systemctl(&["stop", &machine.unit.name])?;
    machine.server.restart_after_stop()?;
    machine.server.wait_ready()?;
    let address = machine.server.address();
    let check = machine.tool()?.run(&["check", &address, "--to", TO])?;
    assert_eq!(check.code, 0, "{}", check.shown());
    Ok(())
}
