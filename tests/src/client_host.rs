//! The host of a PMM client, as a container with a real dpkg and apt, or rpm and dnf: packages of both majors in a repository of the test's
//! own, a double of pmm-agent that speaks to the server, and `ferryd client`, which is started again when it dies, as systemd would.
//!
//! systemd is a double too ([`systemctl`](../images/client/systemctl)), which starts and stops the one unit, unless a host is asked for that has a
//! real one ([`Init::Systemd`]): then the agent is the unit of `deploy/`, too. Real are the package manager, the packages' scripts, TLS, the
//! policy, and what the server is told.

mod deb;
mod rpm;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::command::{docker, run};
use crate::host_agent::{certificates, fenced};
use crate::kill::path_in;
use crate::server::{Container, TestServer};
use crate::systemd::Systemd;
use crate::{Error, Result, images, kill};

/// The page with the policy.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/clients.md");
/// Where the files of the doubles are.
const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/images/client");
/// The unit of the agent, as it is shipped.
const UNIT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../deploy/ferryd-client.service"
);
/// Where `ferryd client` listens in the container.
const PORT: &str = "7651";
/// The configuration, from the client's folder on.
pub const CONFIG: &str = "config/pmm-agent.yaml";
/// The file with the operator's own queries, from the client's folder on.
pub const QUERIES: &str = "collectors/custom-queries/mysql/high-resolution/queries-mysqld.yml";
/// A file of the operator's that no package has.
pub const OWN: &str = "collectors/textfile-collector/high-resolution/own.prom";
/// The tarball of a newer client, on the host.
pub const TARBALL: &str = "/opt/pmm/pmm-client-3.8.1-x86_64.tar.gz";
/// Started again whenever it ends; its process id is known, so that a test can end it.
const FIRST: &str = "while :; do /usr/local/bin/ferryd client --tls /etc/ferry --listen 0.0.0.0:7651 2>> /var/log/ferryd.log & \
                     echo $! > /run/ferryd.pid; wait; sleep 0.2; done";

static NEXT: AtomicU32 = AtomicU32::new(1);

/// Whose packages a host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// dpkg and apt.
    Deb,
    /// rpm and dnf.
    Rpm,
}

/// What starts a host's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// A shell, and a double of `systemctl`.
    Double,
    /// systemd.
    Systemd,
}

/// Which package.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// `pmm2-client` or `pmm-client`.
    pub name: &'static str,
    /// PMM's version, and the package's behind it.
    pub version: &'static str,
    /// The client in it says nothing to its server.
    pub broken: bool,
    /// It needs [`LIBRARY`].
    pub needy: bool,
}

/// A package that is in the repository and that a needy one needs.
pub const LIBRARY: &str = "libclient";

/// The package that the client has first.
pub const OLD: Package = Package {
    name: "pmm2-client",
    version: "2.44.1-6",
    broken: false,
    needy: false,
};
/// The one that fits the server.
pub const NEW: Package = Package {
    name: "pmm-client",
    version: "3.8.1-7",
    broken: false,
    needy: false,
};
/// One that is newer than the server.
pub const NEWEST: Package = Package {
    version: "3.9.0-7",
    ..NEW
};

impl Package {
    fn folder(&self) -> &'static str {
        if self.name == "pmm-client" {
            "/usr/local/percona/pmm"
        } else {
            "/usr/local/percona/pmm2"
        }
    }
}

/// The host of a client. All of it goes when it is dropped.
#[derive(Debug)]
pub struct ClientHost {
    folder: tempfile::TempDir,
    container: Container,
    manager: Manager,
    init: Init,
    /// The agent's id as the server has it.
    pub agent_id: String,
    port: u16,
}

impl ClientHost {
    /// A host with PMM 2's client, connected to this server, and these packages in its repository.
    ///
    /// # Errors
    /// When the container cannot be made, or a package not be installed.
    pub fn start(manager: Manager, server: &TestServer, packages: &[Package]) -> Result<Self> {
        Self::start_by(Init::Double, manager, server, packages)
    }

    /// As that, with programs that this starts. Packages of RPM's are only there with the double.
    ///
    /// # Errors
    /// As [`ClientHost::start`].
    pub fn start_by(
        init: Init,
        manager: Manager,
        server: &TestServer,
        packages: &[Package],
    ) -> Result<Self> {
        let host = Self::begin(init, manager, server)?;
        host.sh(match manager {
            Manager::Deb => deb::PREPARE,
            Manager::Rpm => rpm::PREPARE,
        })?;
        host.offer(&[&[OLD], packages].concat())?;
        host.sh(match manager {
            Manager::Deb => {
                "DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet pmm2-client"
            }
            // By its version, because PMM 3's would be taken in its place.
            Manager::Rpm => "dnf install --assumeyes --quiet pmm2-client-2.44.1",
        })?;
        host.configure(server)?;
        Ok(host)
    }

    /// As that, with a client that was unpacked from a tarball, and the tarball of another at [`TARBALL`].
    ///
    /// # Errors
    /// When the container cannot be made.
    pub fn start_unpacked(server: &TestServer, package: Package) -> Result<Self> {
        let host = Self::begin(Init::Double, Manager::Deb, server)?;
        host.write(OLD.folder(), "bin/pmm-agent", &double("pmm-agent", &OLD)?)?;
        host.write(OLD.folder(), QUERIES, "of pmm2-client: {}\n")?;
        host.sh(&format!("chmod 755 {}/bin/pmm-agent", OLD.folder()))?;
        host.write(
            "/usr/lib/systemd/system",
            "pmm-agent.service",
            &double("unit", &OLD)?,
        )?;
        let tree = host.folder.path().join("tree");
        let top = tree.join("pmm-client-3.8.1");
        fs_err::create_dir_all(top.join("bin"))?;
        for (path, text) in [
            ("bin/pmm-agent", double("pmm-agent", &package)?),
            ("bin/node_exporter", "#!/bin/sh\n".to_owned()),
            ("bin/pt-summary", "#!/bin/sh\n".to_owned()),
            ("queries-mysqld.yml", "of pmm-client: {}\n".to_owned()),
            ("example.prom", "example 1\n".to_owned()),
        ] {
            fs_err::write(top.join(path), text)?;
        }
        let file = host.folder.path().join("client.tar.gz");
        run(Command::new("tar")
            .args(["--create", "--gzip", "--file"])
            .arg(&file)
            .arg("--directory")
            .arg(&tree)
            .arg("pmm-client-3.8.1"))?;
        let sum = run(Command::new("sha256sum").arg(&file))?;
        let sum = sum.split_whitespace().next().unwrap_or_default();
        let name = &host.container.name;
        host.sh("mkdir -p /opt/pmm")?;
        docker(&["cp", &file.to_string_lossy(), &format!("{name}:{TARBALL}")])?;
        host.sh(&format!(
            "echo '{sum}  pmm-client-3.8.1-x86_64.tar.gz' > {TARBALL}.sha256sum"
        ))?;
        host.configure(server)?;
        Ok(host)
    }

    fn begin(init: Init, manager: Manager, server: &TestServer) -> Result<Self> {
        let _made = images::ensure()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = tempfile::Builder::new().prefix("ferry-client-").tempdir()?;
        certificates(folder.path())?;
        let page = fs_err::read_to_string(PAGE)?;
        let policy =
            fenced(&page, "json").ok_or_else(|| Error::of("the page has no policy".into()))?;
        fs_err::write(folder.path().join("localhost/policy.json"), policy)?;
        for name in ["repo", "tls", "bin"] {
            fs_err::create_dir(folder.path().join(name))?;
        }
        fs_err::rename(
            folder.path().join("localhost"),
            folder.path().join("tls/host"),
        )?;
        fs_err::copy(kill::programs()?.ferryd, folder.path().join("bin/ferryd"))?;
        let name = format!("{}-client-{number}", server.name);
        let mount =
            |inside: &str, at: &str| format!("{}:{at}", folder.path().join(inside).display());
        let port = format!("127.0.0.1::{PORT}");
        let (repo, program) = (
            mount("repo", "/repo"),
            mount("bin/ferryd", "/usr/local/bin/ferryd:ro"),
        );
        let shared = [
            "--hostname",
            "db7",
            "--publish",
            &port,
            "--volume",
            &repo,
            "--volume",
            &program,
        ];
        match init {
            Init::Double => {
                let image = match manager {
                    Manager::Deb => "ferry-test/base:latest".to_owned(),
                    Manager::Rpm => images::rpm_host()?,
                };
                let tls = mount("tls/host", "/etc/ferry:ro");
                let own = ["run", "--detach", "--name", &name, "--volume", &tls];
                let first = [&image, "sh", "-c", FIRST];
                docker(&[&own[..], &shared, &first].concat())?;
                let double = format!("{FILES}/systemctl");
                docker(&["cp", &double, &format!("{name}:/usr/bin/systemctl")])?;
            }
            Init::Systemd => {
                let tls = mount("tls/host", "/etc/ferry/tls:ro");
                let policy = mount("tls/host/policy.json", "/etc/ferry/policy.json:ro");
                let own = ["--volume", &tls, "--volume", &policy];
                let machine = Systemd::start(&name, &[&own[..], &shared].concat())?;
                docker(&["cp", UNIT, &format!("{name}:/etc/systemd/system/")])?;
                machine.sh("systemctl enable --now ferryd-client.service")?;
                // Its container is this host's from here on.
                machine.let_go();
            }
        }
        let mut host = Self {
            folder,
            container: server.named(&name),
            manager,
            init,
            agent_id: format!("8c2a-{number}"),
            port: 0,
        };
        let port = docker(&["port", &name, &format!("{PORT}/tcp")])?;
        let port = port
            .lines()
            .next()
            .and_then(|line| line.rsplit_once(':')?.1.parse().ok());
        host.port = port.ok_or_else(|| Error::of("no port is published".into()))?;
        Ok(host)
    }

    /// As `pmm-agent setup` leaves it, with collectors of the operator's.
    fn configure(&self, server: &TestServer) -> Result<()> {
        let address = server.inspect()?["NetworkSettings"]["IPAddress"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let port = if server.is_v3()? { 8080 } else { 80 };
        let config = format!(
            "# Updated by `pmm-agent setup`.\n---\nid: /agent_id/{}\nlisten-address: 127.0.0.1\nlisten-port: 7777\nserver:\n    \
             address: {address}:{port}\n    username: admin\n    password: geheim\n    insecure-tls: true\npaths:\n    \
             paths_base: /usr/local/percona/pmm2\n    tempdir: /tmp\nports:\n    min: 42000\n    max: 51999\ndebug: false\n",
            self.agent_id
        );
        self.write(OLD.folder(), "config/pmm-agent.yaml", &config)?;
        self.sh(&format!("chmod 660 {}/config/pmm-agent.yaml", OLD.folder()))?;
        self.write(OLD.folder(), QUERIES, "of the operator: {}\n")?;
        self.write(OLD.folder(), OWN, "own_metric 1\n")?;
        self.sh("systemctl enable pmm-agent.service; systemctl restart pmm-agent.service")?;
        Ok(())
    }

    /// Puts these packages into the repository, and nothing else.
    ///
    /// # Errors
    /// When one cannot be built.
    pub fn offer(&self, packages: &[Package]) -> Result<()> {
        match self.manager {
            Manager::Deb => deb::offer(self, packages),
            Manager::Rpm => rpm::offer(self, packages),
        }
    }

    /// From now on the new package's script takes some seconds.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn slow_down(&self) -> Result<()> {
        Ok(fs_err::write(self.folder.path().join("repo/slow"), "")?)
    }

    /// Kills `ferryd`; another is started in its place.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_agent(&self) -> Result<()> {
        self.sh(match self.init {
            Init::Double => "kill -9 $(cat /run/ferryd.pid)",
            Init::Systemd => "systemctl kill --kill-whom=main --signal=KILL ferryd-client.service",
        })
        .map(drop)
    }

    /// Where the agent on it has the ledgers of its runs.
    pub(crate) fn ledgers(&self) -> Result<PathBuf> {
        path_in(&self.container.name, "/var/lib/ferry/client/runs")
    }

    /// The address of the agent on it.
    #[must_use]
    pub fn address(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// The controller's certificates.
    #[must_use]
    pub fn tls(&self) -> PathBuf {
        self.folder.path().join("night.example.com")
    }

    /// Certificates of the right authority with a name that the policy does not know.
    #[must_use]
    pub fn foreign_tls(&self) -> PathBuf {
        self.folder.path().join("tls/host")
    }

    /// PMM's packages that are installed, whole.
    ///
    /// # Errors
    /// When the package manager fails.
    pub fn installed(&self) -> Result<String> {
        self.sh(match self.manager {
            Manager::Deb => deb::INSTALLED,
            Manager::Rpm => rpm::INSTALLED,
        })
    }

    /// Checks that this package is installed, whole, and no other one of PMM's.
    ///
    /// # Errors
    /// With what is installed.
    pub fn check_installed(&self, package: Package) -> Result<()> {
        let version = match self.manager {
            Manager::Deb => deb::version(&package),
            Manager::Rpm => rpm::version(&package),
        };
        let expected = format!("{} {version}", package.name);
        let found = self.installed()?;
        if found == expected {
            return Ok(());
        }
        Err(Error::of(format!(
            "`{found}` is installed, and not {expected}"
        )))
    }

    /// Whether a package that is none of PMM's is installed.
    ///
    /// # Errors
    /// When the package manager fails.
    pub fn has(&self, name: &str) -> Result<bool> {
        let line = match self.manager {
            Manager::Deb => format!("dpkg-query --show {name} > /dev/null 2>&1"),
            Manager::Rpm => format!("rpm --query --quiet {name}"),
        };
        Ok(self.sh(&format!("{line} && echo yes || echo no"))? == "yes")
    }

    /// A file in the folder of a package's client, with its mode in front.
    ///
    /// # Errors
    /// When it is not there.
    pub fn file(&self, package: Package, path: &str) -> Result<String> {
        let path = format!("{}/{path}", package.folder());
        self.sh(&format!("stat --format=%a {path}; cat {path}"))
    }

    /// All files in the folder of a package's client, with their sums.
    ///
    /// # Errors
    /// When it is not there.
    pub fn files(&self, package: Package) -> Result<String> {
        self.sh(&format!(
            "cd {}; find . -type f | sort | xargs sha256sum",
            package.folder()
        ))
    }

    /// What lies beside that folder, and itself.
    ///
    /// # Errors
    /// When it is not there.
    pub fn beside(&self, package: Package) -> Result<String> {
        self.sh(&format!("ls {}/..", package.folder()))
    }

    /// All names of PMM's, whichever package's.
    ///
    /// # Errors
    /// When none is there.
    pub fn names(&self) -> Result<String> {
        self.sh("find /usr/local/percona | sort")
    }

    /// Whether the client starts with the host, in the words of `systemctl`.
    ///
    /// # Errors
    /// When the container does not run.
    pub fn enabled(&self) -> Result<String> {
        self.sh("systemctl show pmm-agent.service | grep UnitFileState=")
    }

    /// Checks that the client starts with the host.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_enabled(&self) -> Result<()> {
        match self.enabled()?.as_str() {
            "UnitFileState=enabled" => Ok(()),
            other => Err(Error::of(format!(
                "it does not start with its host: {other}"
            ))),
        }
    }

    /// What a server says of the client: whether it is connected, and its version.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn told_by(&self, server: &Container) -> Result<(bool, String)> {
        let agents = server.inventory("agents")?;
        let ours = |list: &serde_json::Value| -> serde_json::Value {
            let mut all = list.as_array().into_iter().flatten();
            all.find(|it| it["agent_id"] == self.agent_id.as_str())
                .cloned()
                .unwrap_or_default()
        };
        let connected = ours(&agents["pmm_agent"])["connected"] == true;
        let versions = server.curl(&["http://127.0.0.1:7772/v1/management/agents/versions"])?;
        let version = ours(&versions["agent_versions"])["version"].clone();
        Ok((connected, version.as_str().unwrap_or_default().to_owned()))
    }

    /// What its agent has logged.
    ///
    /// # Errors
    /// When the container does not run.
    pub fn log(&self) -> Result<String> {
        self.sh(match self.init {
            Init::Double => "cat /var/log/ferryd.log",
            Init::Systemd => "journalctl --no-pager --output cat --unit ferryd-client.service",
        })
    }

    fn write(&self, folder: &str, path: &str, text: &str) -> Result<()> {
        let from = self.folder.path().join("file");
        fs_err::write(&from, text)?;
        let to = format!("{folder}/{path}");
        self.sh(&format!("mkdir -p $(dirname {to})"))?;
        docker(&[
            "cp",
            &from.to_string_lossy(),
            &format!("{}:{to}", self.container.name),
        ])
        .map(drop)
    }

    fn sh(&self, line: &str) -> Result<String> {
        self.container.exec(&["sh", "-e", "-c", line])
    }
}

impl Drop for ClientHost {
    fn drop(&mut self) {
        let _told = docker(&["rm", "--force", "--volumes", &self.container.name]);
    }
}

/// A file of the doubles, as it is in a package.
fn double(name: &str, package: &Package) -> Result<String> {
    let text = fs_err::read_to_string(Path::new(FILES).join(name))?;
    let version = package.version.split('-').next().unwrap_or_default();
    let broken = if package.broken { "yes" } else { "no" };
    Ok(text
        .replace("@VERSION@", version)
        .replace("@NAME@", package.name)
        .replace("@FOLDER@", package.folder())
        .replace("@BROKEN@", broken))
}

/// Lays out the files of a package.
fn lay_out(package: &Package, tree: &Path) -> Result<()> {
    if tree.exists() {
        fs_err::remove_dir_all(tree)?;
    }
    let inside = package.folder().trim_start_matches('/');
    put(
        tree,
        &format!("{inside}/bin/pmm-agent"),
        &double("pmm-agent", package)?,
        0o755,
    )?;
    put(
        tree,
        &format!("{inside}/{QUERIES}"),
        &format!("of {}: {{}}\n", package.name),
        0o644,
    )?;
    put(
        tree,
        "usr/lib/systemd/system/pmm-agent.service",
        &double("unit", package)?,
        0o644,
    )
}

fn put(tree: &Path, path: &str, text: &str, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = tree.join(path);
    fs_err::create_dir_all(path.parent().unwrap_or(tree))?;
    fs_err::write(&path, text)?;
    Ok(fs_err::set_permissions(
        &path,
        std::fs::Permissions::from_mode(mode),
    )?)
}
