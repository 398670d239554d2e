//! Servers that a unit or a quadlet makes, root's or an ordinary user's: their files are edited, and put back.
//!
//! The service manager is a double; Podman, its containers and what it makes of a unit are real.

use std::path::Path;
use std::time::{Duration, Instant};

use ferry_tests::Result;
use ferry_tests::ferryctl::Ferryctl;
use ferry_tests::podman::{self, PrivatePodman};
use ferry_tests::server::TestServer;
use ferry_tests::units::{Unit, Units, wait_up};
use ferry_tests::witness::{self, Seen};

use super::{FROM, TO, from, migrate, of_user, tool};

const DOUBLE: &str = env!("CARGO_BIN_EXE_systemctl-double");
/// What the container has beside the least.
const QUADLET: &str =
    "Environment=DATA_RETENTION=720h\nEnvironment=DISABLE_UPDATES=1\nPublishPort=127.0.0.1::443\n";

/// What is edited in it.
const EDITED: [(&str, &str); 4] = [
    ("=DATA_RETENTION=", "=PMM_DATA_RETENTION="),
    ("DISABLE_UPDATES=1", "PMM_ENABLE_UPDATES=false"),
    ("::443\n", "::8443\n"),
    (FROM, TO),
];

/// A server of a unit's, and how it was.
struct Scene<'a> {
    podman: &'a PrivatePodman,
    server: &'a TestServer,
    unit: &'a Unit,
    tool: Ferryctl,
    files: Vec<(String, String)>,
    seen: Seen,
}

impl<'a> Scene<'a> {
    fn of(podman: &'a PrivatePodman, server: &'a TestServer, unit: &'a Unit) -> Result<Self> {
        let tool = match podman.user() {
            Some(_) => tool(podman)?,
            None => tool(podman)?.within(unit.units.within()),
        };
        Ok(Self {
            podman,
            server,
            unit,
            tool,
            files: unit.files()?,
            seen: Seen::of(server)?,
        })
    }

    /// Without the choice it is refused, and says which.
    fn is_refused(&self) -> Result<()> {
        let refused = migrate(&self.tool, self.server, &[])?;
        assert_eq!(refused.code, 3, "{}", refused.shown());
        for word in ["container-managed", &self.unit.name, "--unit edit"] {
            assert!(refused.shown().contains(word), "{}", refused.shown());
        }
        Ok(())
    }

    /// Over, with these words of its own file and the others' exchanged.
    fn crosses(&self, edited: &[(&str, &str)]) -> Result<String> {
        let done = migrate(&self.tool, self.server, &["--unit", "edit"])?;
        assert_eq!(done.code, 0, "{}\n{}", done.shown(), self.unit.log());
        let run = self.tool.only_run()?;
        self.is_over(edited, &run)?;
        Ok(run)
    }

    fn is_over(&self, edited: &[(&str, &str)], run: &str) -> Result<()> {
        let mut wanted = Vec::new();
        let mut exchanged = 0;
        for (name, text) in &self.files {
            let mut new = text.clone();
            for (old, becomes) in edited.iter().filter(|it| text.contains(it.0)) {
                new = new.replace(old, becomes);
                exchanged += 1;
            }
            if new != *text {
                wanted.push((format!("{name}.ferry-{run}"), text.clone()));
            }
            wanted.push((name.clone(), new));
        }
        assert_eq!(exchanged, edited.len());
        wanted.sort();
        assert_eq!(self.unit.files()?, wanted);
        assert!(self.unit.is_active()?);
        assert_eq!(witness::version(self.server)?, "3.8.1");
        assert_eq!(self.seen.lost(&Seen::of(self.server)?), [""; 0]);
        Ok(())
    }

    fn goes_back(&self, run: &str) -> Result<()> {
        let back = self.tool.run(&["rollback", run, "--yes"])?;
        assert_eq!(back.code, 0, "{}\n{}", back.shown(), self.unit.log());
        self.is_as_before()
    }

    fn is_as_before(&self) -> Result<()> {
        assert_eq!(self.unit.files()?, self.files);
        assert!(self.unit.is_active()?);
        self.server.wait_ready()?;
        assert_eq!(witness::version(self.server)?, "2.44.1");
        assert_eq!(self.seen.lost(&Seen::of(self.server)?), [""; 0]);
        Ok(())
    }

    fn goes_back_by_itself(&self) -> Result<()> {
        let failing = self.podman.failing_image()?;
        let address = format!("podman:{}", self.server.name);
        let words = [
            "migrate", &address, "--to", &failing, "--yes", "--unit", "edit",
        ];
        let failed = self
            .tool
            .run(&[&words[..], &["--ready-timeout", "30"]].concat())?;
        assert_eq!(failed.code, 1, "{}", failed.shown());
        self.is_as_before()
    }
}

/// A unit that Podman makes of a quadlet: the quadlet is what is edited, and Podman makes the container of it.
#[test]
#[ignore = "needs the packages podman, runc and containernetworking-plugins, and a kernel that lets them work; a unit of Docker's is in every run"]
fn a_quadlets_server_there_and_back_and_back_by_itself() -> Result<()> {
    let podman = PrivatePodman::start()?;
    let _there = podman.enter();
    let server = TestServer::used(from())?;
    let unit = Unit::of_quadlet(&server, Units::of(Path::new(DOUBLE))?, QUADLET)?;
    let scene = Scene::of(&podman, &server, &unit)?;
    scene.is_refused()?;
    scene.goes_back(&scene.crosses(&EDITED)?)?;
    scene.goes_back_by_itself()
}

/// The same of an ordinary user's, whose service manager has it and whose file it is.
#[test]
#[ignore = "needs the packages podman, runc, uidmap and slirp4netns, and a kernel that lets them work; a unit of Docker's is in every run"]
fn a_users_quadlet_there_and_back_and_back_by_itself() -> Result<()> {
    let podman = PrivatePodman::start_rootless()?;
    let _there = podman.enter();
    let server = TestServer::used(of_user(&[]))?;
    let units = Units::of_user(Path::new(DOUBLE), &podman)?;
    let unit = Unit::of_quadlet(&server, units, QUADLET)?;
    let scene = Scene::of(&podman, &server, &unit)?;
    scene.is_refused()?;
    let run = scene.crosses(&EDITED)?;
    for (name, _) in unit.files()? {
        let of = std::os::unix::fs::MetadataExt::uid(&fs_err::metadata(unit.units.path(&name))?);
        assert_eq!(of, podman::UID, "{name}");
    }
    scene.goes_back(&run)?;
    scene.goes_back_by_itself()
}

/// The unit that PMM 2's documentation has for Podman, which leaves no label on its container. Killed in the downtime, gone on with, taken
/// back; and whoever is another user does nothing to it.
#[test]
#[ignore = "needs the packages podman, runc, uidmap and slirp4netns, and a kernel that lets them work; a unit of Docker's is in every run"]
fn a_users_unit_of_the_documentation_crosses_whoever_is_killed() -> Result<()> {
    let podman = PrivatePodman::start_rootless()?;
    let _there = podman.enter();
    let server = TestServer::used(of_user(&[]))?;
    let units = Units::of_user(Path::new(DOUBLE), &podman)?;
    let unit = Unit::of_documentation(&server, units, "DATA_RETENTION=720h\nDISABLE_UPDATES=1\n")?;
    let scene = Scene::of(&podman, &server, &unit)?;
    scene.is_refused()?;
    let address = format!("podman:{}", server.name);
    let root = Ferryctl::new()?
        .within(podman.of_root())
        .env("CONTAINER_HOST", podman.address());
    let refused = root.run(&["check", &address, "--to", TO, "--unit", "edit"])?;
    assert_eq!(refused.code, 3, "{}", refused.shown());
    for word in ["unit-of-another", "sudo --user"] {
        assert!(refused.shown().contains(word), "{}", refused.shown());
    }
    assert_eq!(unit.files()?, scene.files);

    let edited = [
        ("DATA_RETENTION=720h", "PMM_DATA_RETENTION=720h"),
        ("DISABLE_UPDATES=1", "PMM_ENABLE_UPDATES=false"),
        (":443/tcp", ":8443/tcp"),
        ("${PMM_IMAGE}:${PMM_TAG}\n", &format!("{TO}\n")),
    ];
    for way in ["resume", "rollback"] {
        let words = [
            "migrate", &address, "--to", TO, "--yes", "--unit", "edit", "--output", "json",
        ];
        let call = scene.tool.spawn(&words)?;
        // The edit is the last step before the data is handed over.
        let kept = || -> Result<bool> {
            let names = unit.units.names()?;
            Ok(names.iter().any(|it| it.contains(".service.ferry-")))
        };
        let began = Instant::now();
        while !kept()? {
            assert!(began.elapsed().as_secs() < 200, "it was never edited");
            std::thread::sleep(Duration::from_millis(5));
        }
        let killed = call.kill()?;
        let runs = scene.tool.run(&["runs", "--output", "json"])?.json()?;
        let open = runs.iter().find(|it| it["state"] == "running").cloned();
        let open = open.unwrap_or_else(|| panic!("{}", killed.shown()));
        let run = open["run"].as_str().unwrap_or_default().to_owned();
        if way == "resume" {
            let ended = scene.tool.run(&["resume", &run])?;
            assert_eq!(ended.code, 0, "{}\n{}", ended.shown(), unit.log());
            scene.is_over(&edited, &run)?;
            // It is the unit's own, and so is the next one.
            unit.units.systemctl(&["restart", &unit.name])?;
            wait_up(&server)?;
            assert_eq!(witness::version(&server)?, "3.8.1");
        }
        scene.goes_back(&run)?;
    }
    Ok(())
}

/// A unit that `podman generate systemd --new` has written.
#[test]
#[ignore = "needs the packages podman, runc, uidmap and slirp4netns, and a kernel that lets them work; a unit of Docker's is in every run"]
fn a_users_generated_unit_there_and_back() -> Result<()> {
    let podman = PrivatePodman::start_rootless()?;
    let _there = podman.enter();
    let server = TestServer::used(of_user(&[]))?;
    let units = Units::of_user(Path::new(DOUBLE), &podman)?;
    let words = [
        "--env",
        "DATA_RETENTION=720h",
        "--publish",
        "127.0.0.1::443",
        FROM,
    ];
    let unit = Unit::of_generated(&server, units, &podman, &words)?;
    let scene = Scene::of(&podman, &server, &unit)?;
    scene.is_refused()?;
    let edited = [
        ("DATA_RETENTION", "PMM_DATA_RETENTION"),
        ("::443", "::8443"),
        (FROM, TO),
    ];
    scene.goes_back(&scene.crosses(&edited)?)
}
