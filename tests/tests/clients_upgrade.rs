//! A client of a server, on a host of its own with a real dpkg and apt or rpm and dnf, becomes PMM 3 and what it was again; what became of it the server
//! says. Of systemd there is a double, where no test says that it has a real one.

use ferry_tests::Result;
use ferry_tests::client_host::{
    CONFIG, ClientHost, Init, LIBRARY, Manager, NEW, NEWEST, OLD, OWN, Package, QUERIES, TARBALL,
};
use ferry_tests::kill::{Ended, Tool, agents_of, is};
use ferry_tests::server::{Image, Options, TestServer};
use serde_json::Value;

const BROKEN: Package = Package {
    broken: true,
    ..NEW
};
const NEEDY: Package = Package { needy: true, ..NEW };

fn server(image: Image) -> Result<TestServer> {
    let server = TestServer::start(&Options {
        image,
        ..Options::default()
    })?;
    server.wait_ready()?;
    Ok(server)
}

/// What a host has to start programs and to install them.
type Host = (Init, Manager);
const DEB: Host = (Init::Double, Manager::Deb);
const RPM: Host = (Init::Double, Manager::Rpm);
const SYSTEMD: Host = (Init::Systemd, Manager::Deb);

struct Scene<'s> {
    server: &'s TestServer,
    host: ClientHost,
    tool: Tool,
}

impl<'s> Scene<'s> {
    fn set(host: Host, server: &'s TestServer, packages: &[Package]) -> Result<Self> {
        let (init, manager) = host;
        let host = ClientHost::start_by(init, manager, server, packages)?;
        Self::of(server, host)
    }

    fn of(server: &'s TestServer, host: ClientHost) -> Result<Self> {
        let scene = Self {
            server,
            host,
            tool: Tool::new()?,
        };
        scene.server.wait_until("the client", 20, || {
            scene
                .told()
                .is_ok_and(|told| told == (true, "2.44.1".to_owned()))
        })?;
        Ok(scene)
    }

    /// What the server says of the client: whether it is connected, and its version.
    fn told(&self) -> Result<(bool, String)> {
        self.host.told_by(self.server)
    }

    /// The client as `ferryctl clients` has it.
    fn listed(&self) -> Result<Value> {
        let server = self.server.address();
        let listed = self.tool.run(&["clients", &server])?;
        let ours = |it: &&Value| it["agent_id"] == self.host.agent_id.as_str();
        Ok(listed.lines.iter().find(ours).cloned().unwrap_or_default())
    }

    fn upgrade(&self, words: &[&str]) -> Result<Ended> {
        let tls = self.host.tls();
        let (address, server, tls) = (
            self.host.address(),
            self.server.address(),
            tls.to_string_lossy(),
        );
        let all = [
            "clients", "upgrade", &address, "--server", &server, "--yes", "--tls", &tls,
        ];
        self.tool.run(&[&all[..], words].concat())
    }

    /// Is as it was before, for the package manager, for the server and byte by byte.
    fn assert_as_before(&self, config: &str) -> Result<()> {
        self.host.check_installed(OLD)?;
        assert_eq!(self.told()?, (true, "2.44.1".to_owned()));
        assert_eq!(self.host.file(OLD, CONFIG)?, config);
        self.host.check_enabled()?;
        for (path, text) in [(QUERIES, "of the operator: {}"), (OWN, "own_metric 1")] {
            assert!(self.host.file(OLD, path)?.ends_with(text), "{path}");
        }
        // Nothing of the new client is left, its configuration with the server's password least of all.
        assert_eq!(self.host.beside(OLD)?, "pmm2");
        assert_eq!(agents_of(&self.server.name)?, [""; 0]);
        Ok(())
    }
}

/// The codes of all findings.
fn codes(ended: &Ended) -> Vec<&str> {
    let findings = ended
        .lines
        .iter()
        .filter_map(|line| line["findings"].as_array());
    findings
        .flatten()
        .filter_map(|it| it["code"].as_str())
        .collect()
}

#[test]
fn a_client_becomes_pmm_3_and_what_it_was_again_and_its_server_says_so() -> Result<()> {
    becomes_and_goes_back(DEB)
}

#[test]
#[ignore = "makes an image with rpm and dnf; dpkg is in every run"]
fn a_client_becomes_pmm_3_and_what_it_was_again_and_its_server_says_so_with_rpm() -> Result<()> {
    becomes_and_goes_back(RPM)
}

#[test]
fn a_client_of_a_real_systemds_becomes_pmm_3_and_what_it_was_again() -> Result<()> {
    becomes_and_goes_back(SYSTEMD)
}

fn becomes_and_goes_back(host: Host) -> Result<()> {
    let server = server(Image::Pmm3)?;
    let scene = Scene::set(host, &server, &[NEW, NEWEST])?;
    let config = scene.host.file(OLD, CONFIG)?;
    // The list names the command for it.
    let command = format!(
        "ferryctl clients upgrade https://db7:7651 --server {}",
        server.address()
    );
    assert_eq!(scene.listed()?["command"], command.as_str());

    let done = scene.upgrade(&[])?;
    assert_eq!(done.code, 0, "{done:?}\n{}", scene.host.log()?);
    scene.host.check_installed(NEW)?;
    assert_eq!(scene.told()?, (true, "3.8.1".to_owned()));
    scene.host.check_enabled()?;
    // All of it but the paths, which are the old version's.
    let paths = "paths:\n    paths_base: /usr/local/percona/pmm2\n    tempdir: /tmp\n";
    assert!(config.contains(paths));
    assert_eq!(scene.host.file(NEW, CONFIG)?, config.replace(paths, ""));
    assert!(
        scene
            .host
            .file(NEW, QUERIES)?
            .ends_with("of the operator: {}")
    );
    assert!(
        scene
            .host
            .file(NEW, &format!("{QUERIES}.ferry-package"))?
            .ends_with("of pmm-client: {}")
    );
    assert!(scene.host.file(NEW, OWN)?.ends_with("own_metric 1"));
    assert_eq!(agents_of(&server.name)?, [""; 0]);
    // Neither plan nor journal nor what was said has the password of the configuration.
    assert!(!format!("{done:?}").contains("geheim"));

    let listed = scene.listed()?;
    assert_eq!(
        (&listed["severity"], &listed["command"]),
        (&"up-to-date".into(), &"".into()),
        "{listed}"
    );
    // A second time there is nothing to do, and no run.
    let again = scene.upgrade(&[])?;
    assert_eq!(
        (again.code, again.count("intended", "keep-client")),
        (0, 0),
        "{again:?}"
    );

    let tls = scene.host.tls();
    let tls = tls.to_string_lossy();
    let run = done.last("summary")["run"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let status = scene.tool.run(&["status", &run])?;
    assert_eq!(status.last("status")["server"], "db7", "{status:?}");
    let back = scene
        .tool
        .run(&["rollback", &run, "--yes", "--tls", &tls])?;
    assert_eq!(back.code, 0, "{back:?}\n{}", scene.host.log()?);
    scene.assert_as_before(&config)
}

#[test]
fn a_client_that_the_server_does_not_hear_goes_back_by_itself() -> Result<()> {
    goes_back_by_itself(DEB)
}

#[test]
#[ignore = "as with dpkg, which is in every run"]
fn a_client_that_the_server_does_not_hear_goes_back_by_itself_with_rpm() -> Result<()> {
    goes_back_by_itself(RPM)
}

#[test]
#[ignore = "as with a double of systemd, which is in every run"]
fn a_client_of_a_real_systemds_that_the_server_does_not_hear_goes_back_by_itself() -> Result<()> {
    goes_back_by_itself(SYSTEMD)
}

fn goes_back_by_itself(host: Host) -> Result<()> {
    let server = server(Image::Pmm3)?;
    let scene = Scene::set(host, &server, &[BROKEN])?;
    let config = scene.host.file(OLD, CONFIG)?;
    let failed = scene.upgrade(&["--timeout", "6"])?;
    assert_eq!(failed.code, 1, "{failed:?}\n{}", scene.host.log()?);
    assert_eq!(
        failed.last("summary")["failure"]["code"],
        "client-not-back",
        "{failed:?}"
    );
    assert_eq!(failed.count("finished", "upgrade-client"), 2, "{failed:?}");
    scene.assert_as_before(&config)
}

#[test]
fn an_agent_that_dies_in_the_middle_of_a_package_goes_on() -> Result<()> {
    goes_on_after_a_crash(DEB)
}

#[test]
#[ignore = "as with dpkg, which is in every run"]
fn an_agent_that_dies_in_the_middle_of_a_package_goes_on_with_rpm() -> Result<()> {
    goes_on_after_a_crash(RPM)
}

#[test]
#[ignore = "as with a double of systemd, which is in every run"]
fn an_agent_of_a_real_systemds_that_dies_in_the_middle_of_a_package_goes_on() -> Result<()> {
    goes_on_after_a_crash(SYSTEMD)
}

fn goes_on_after_a_crash(host: Host) -> Result<()> {
    let server = server(Image::Pmm3)?;
    let scene = Scene::set(host, &server, &[NEW])?;
    let config = scene.host.file(OLD, CONFIG)?;
    scene.host.slow_down()?;
    let tls = scene.host.tls();
    let (address, of, tls) = (
        scene.host.address(),
        server.address(),
        tls.to_string_lossy(),
    );
    let words = [
        "clients", "upgrade", &address, "--server", &of, "--yes", "--tls", &tls,
    ];
    let mut call = scene.tool.start(&words)?;
    call.wait_for("the upgrade", is("intended", "upgrade-client", false))?;
    // The new package's own script takes three seconds from about here on.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    scene.host.kill_agent()?;
    let done = call.end()?;
    assert_eq!(done.code, 0, "{done:?}\n{}", scene.host.log()?);
    scene.host.check_installed(NEW)?;
    assert_eq!(scene.told()?, (true, "3.8.1".to_owned()));

    // A controller that dies is gone on with.
    let run = done.last("summary")["run"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let mut back = scene
        .tool
        .start(&["rollback", &run, "--yes", "--tls", &tls])?;
    back.wait_for("the way back", is("intended", "upgrade-client", true))?;
    back.kill()?;
    let resumed = scene.tool.run(&["resume", &run, "--tls", &tls])?;
    assert_eq!(
        resumed.last("summary")["state"],
        "rolled-back",
        "{resumed:?}\n{}",
        scene.host.log()?
    );
    scene.assert_as_before(&config)
}

#[test]
fn what_stands_in_the_way_is_told_before_anything_changes() -> Result<()> {
    is_told_what_stands_in_the_way(DEB)
}

#[test]
#[ignore = "as with dpkg, which is in every run"]
fn what_stands_in_the_way_is_told_before_anything_changes_with_rpm() -> Result<()> {
    is_told_what_stands_in_the_way(RPM)
}

fn is_told_what_stands_in_the_way(host: Host) -> Result<()> {
    let server = server(Image::Pmm3)?;
    let scene = Scene::set(host, &server, &[NEW, NEWEST])?;
    let config = scene.host.file(OLD, CONFIG)?;
    // Newer than the server, whether the policy allows it or not.
    let newer = scene.upgrade(&["--to", "3.9.0"])?;
    assert_eq!(
        (newer.code, codes(&newer).contains(&"client-server-first")),
        (3, true),
        "{newer:?}"
    );
    // A certificate of the right authority, with a name that the policy there does not know.
    let foreign = scene.host.foreign_tls();
    let (address, of, foreign) = (
        scene.host.address(),
        server.address(),
        foreign.to_string_lossy(),
    );
    let words = [
        "clients", "upgrade", &address, "--server", &of, "--yes", "--tls", &foreign,
    ];
    let stranger = scene.tool.run(&words)?;
    assert_eq!(
        (stranger.code, &stranger.last("error")["code"]),
        (1, &"agent-unreachable".into()),
        "{stranger:?}"
    );
    // It needs what is not there: found before anything changes.
    scene.host.offer(&[OLD, NEEDY])?;
    let needy = scene.upgrade(&[])?;
    let failure = &needy.last("summary")["failure"];
    assert_eq!(
        (needy.code, &failure["code"]),
        (1, &"client-needs-others".into()),
        "{needy:?}\n{}",
        scene.host.log()?
    );
    assert!(failure.to_string().contains(LIBRARY), "{failure}");
    assert_eq!(needy.count("intended", "upgrade-client"), 0, "{needy:?}");
    assert!(!scene.host.has(LIBRARY)?);
    // The old package is neither in a repository nor in the package manager's cache.
    scene.host.offer(&[NEW])?;
    let no_way = scene.upgrade(&[])?;
    assert_eq!(
        (no_way.code, codes(&no_way).contains(&"client-no-way-back")),
        (3, true),
        "{no_way:?}"
    );
    // Nothing to become.
    scene.host.offer(&[OLD])?;
    let missing = scene.upgrade(&[])?;
    assert_eq!(
        (
            missing.code,
            codes(&missing).contains(&"client-package-missing")
        ),
        (3, true),
        "{missing:?}"
    );
    scene.host.offer(&[OLD, NEW])?;
    // The server goes first.
    let old = self::server(Image::Pmm2)?;
    let (of, tls) = (old.address(), scene.host.tls());
    let tls = tls.to_string_lossy();
    let words = [
        "clients", "upgrade", &address, "--server", &of, "--yes", "--tls", &tls,
    ];
    let first = scene.tool.run(&words)?;
    assert_eq!(
        (first.code, codes(&first).contains(&"client-server-first")),
        (3, true),
        "{first:?}"
    );
    // But for the one that found what was missing.
    let runs = scene.tool.run(&["runs"])?;
    assert_eq!(runs.lines.len(), 1, "{runs:?}");
    scene.assert_as_before(&config)
}

#[test]
fn a_client_from_a_tarball_becomes_the_one_of_another_and_what_it_was_again() -> Result<()> {
    let server = server(Image::Pmm3)?;
    for package in [NEW, BROKEN] {
        let scene = Scene::of(&server, ClientHost::start_unpacked(&server, package)?)?;
        let config = scene.host.file(OLD, CONFIG)?;
        let files = scene.host.files(OLD)?;
        let done = scene.upgrade(&["--package", TARBALL, "--timeout", "8"])?;
        if package.broken {
            assert_eq!(done.code, 1, "{done:?}");
        } else {
            assert_eq!(done.code, 0, "{done:?}\n{}", scene.host.log()?);
            assert_eq!(scene.told()?, (true, "3.8.1".to_owned()));
            assert_eq!(scene.host.file(OLD, CONFIG)?, config);
            assert!(
                scene
                    .host
                    .file(OLD, QUERIES)?
                    .ends_with("of the operator: {}")
            );
            assert!(scene.host.file(OLD, OWN)?.ends_with("own_metric 1"));
            let now = scene.host.files(OLD)?;
            for file in [
                "bin/pmm-agent",
                "exporters/node_exporter",
                "tools/pt-summary",
            ] {
                assert!(now.contains(file), "{file}: {now}");
            }
            let run = done.last("summary")["run"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let tls = scene.host.tls();
            let back =
                ["rollback", &run, "--yes", "--tls", &tls.to_string_lossy()].map(str::to_owned);
            let back = scene.tool.run(&back.each_ref().map(String::as_str))?;
            assert_eq!(back.code, 0, "{back:?}\n{}", scene.host.log()?);
        }
        assert_eq!(scene.told()?, (true, "2.44.1".to_owned()));
        assert_eq!(
            (scene.host.file(OLD, CONFIG)?, scene.host.files(OLD)?),
            (config, files)
        );
        scene.host.check_enabled()?;
        // Nothing that was laid out is left beside it.
        assert_eq!(scene.host.beside(OLD)?, "pmm2");
    }
    Ok(())
}
