//! The Debian packages that tests and images need, and nothing of them started: no cluster, no web server.

use std::path::Path;

use crate::error::{Error, Result};
use crate::sh::{Tool, which};
use crate::{place, say};

/// Keeps package scripts from starting services while packages are installed.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// How we know the policy file as ours, should an earlier run have been cut off.
const MARK: &str = "# written by `cargo xtask setup` of ferry, and removed at its end\n";
/// PostgreSQL's own switch against a cluster at installation.
const CLUSTERS: &str = "/etc/postgresql-common/createcluster.conf";

/// What shows that a package is there.
enum Sign {
    /// A program, wherever it was installed from.
    Program(&'static str),
    /// A file.
    File(&'static str),
    /// PostgreSQL's server, of whichever major the release ships.
    PostgresServer,
}

const NEEDS: [(Sign, &str); 13] = [
    (Sign::Program("dockerd"), "docker.io"),
    // Split off from docker.io after Debian 12, and only recommended by it.
    (Sign::Program("docker"), "docker-cli"),
    (Sign::Program("docker-compose"), "docker-compose"),
    (Sign::Program("iptables"), "iptables"),
    (Sign::Program("debootstrap"), "debootstrap"),
    (Sign::Program("supervisord"), "supervisor"),
    (Sign::Program("nginx"), "nginx-light"),
    (Sign::Program("ps"), "procps"),
    // A disk whose files share blocks.
    (Sign::Program("mkfs.xfs"), "xfsprogs"),
    // Not run: a test puts a double in the place of its program, which must be there for that.
    (Sign::Program("systemctl"), "systemd"),
    (
        Sign::File("/etc/ssl/certs/ca-certificates.crt"),
        "ca-certificates",
    ),
    // The fuzz targets link libFuzzer, which is C++.
    (Sign::Program("c++"), "g++"),
    (Sign::PostgresServer, "postgresql"),
];

impl Sign {
    fn seen(&self) -> bool {
        match self {
            Self::Program(name) => which(name).is_some(),
            Self::File(path) => Path::new(path).exists(),
            Self::PostgresServer => fs_err::read_dir("/usr/lib/postgresql").is_ok_and(|majors| {
                majors
                    .flatten()
                    .any(|major| major.path().join("bin/postgres").exists())
            }),
        }
    }
}

/// Installs what is not there, and returns its names.
pub(crate) fn install_missing() -> Result<Vec<&'static str>> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(missing);
    }
    if which("apt-get").is_none() {
        return Err(Error::with_hint(
            format!(
                "missing: {}; only Debian's packages can be installed here",
                missing.join(", ")
            ),
            "install them by hand, then run the command again",
        ));
    }
    say::line(format!("packages: installing {}", missing.join(" ")));
    no_cluster()?;
    let _policy = Policy::set()?;
    if !known(&missing) {
        apt().args(["update", "--quiet=2"]).with_root()?.read()?;
    }
    let packages = available(&missing)?;
    apt()
        .args(["install", "--yes", "--no-install-recommends"])
        .args(&packages)
        .with_root()?
        .read()?;
    match self::missing().as_slice() {
        [] => Ok(missing),
        still => Err(Error::new(format!(
            "installed {}, but what {} should bring is still not there",
            packages.join(" "),
            still.join(", ")
        ))),
    }
}

fn missing() -> Vec<&'static str> {
    NEEDS
        .iter()
        .filter(|(sign, _)| !sign.seen())
        .map(|(_, package)| *package)
        .collect()
}

fn apt() -> Tool {
    Tool::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8")
}

/// Whether the package lists on this machine know every package that has a fixed home.
fn known(packages: &[&str]) -> bool {
    packages
        .iter()
        .filter(|package| **package != "docker-cli")
        .all(|package| is_known(package))
}

fn is_known(package: &str) -> bool {
    Tool::new("apt-cache")
        .args(["show", "--no-all-versions", package])
        .works()
}

/// `docker-cli` is a package of its own or a part of `docker.io`, by release.
fn available(missing: &[&'static str]) -> Result<Vec<&'static str>> {
    let mut packages: Vec<&'static str> = missing
        .iter()
        .copied()
        .filter(|package| *package != "docker-cli")
        .collect();
    if packages.len() < missing.len() {
        if is_known("docker-cli") {
            packages.push("docker-cli");
        } else if !packages.contains(&"docker.io") {
            packages.push("docker.io");
        }
    }
    match packages.iter().find(|package| !is_known(package)) {
        None => Ok(packages),
        Some(package) => Err(Error::with_hint(
            format!("Debian's package `{package}` is not in the package lists"),
            "check /etc/apt/sources.list, and that the mirror can be reached",
        )),
    }
}

/// The tests make their own clusters; one of the machine's would only take memory and the port.
fn no_cluster() -> Result<()> {
    if Path::new(CLUSTERS).exists() {
        return Ok(());
    }
    write_as_root(CLUSTERS, "create_main_cluster = false\n", "0644")
}

fn write_as_root(path: &str, text: &str, mode: &str) -> Result<()> {
    let draft = place::ours("setup")?.join("draft");
    fs_err::write(&draft, text)?;
    let install = Tool::new("install")
        .args(["-D", "-m", mode])
        .arg(&draft)
        .arg(path);
    install.with_root()?.read()?;
    Ok(())
}

/// The policy that no service starts; taken back when dropped.
struct Policy {
    ours: bool,
}

impl Policy {
    fn set() -> Result<Self> {
        match fs_err::read_to_string(POLICY) {
            // Somebody's own policy stays, whatever it says.
            Ok(text) if !text.ends_with(MARK) => return Ok(Self { ours: false }),
            _ => {}
        }
        write_as_root(POLICY, &format!("#!/bin/sh\nexit 101\n{MARK}"), "0755")?;
        Ok(Self { ours: true })
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if self.ours {
            let removed = Tool::new("rm")
                .args(["-f", POLICY])
                .with_root()
                .and_then(|rm| rm.read());
            if let Err(error) = removed {
                say::line(format!(
                    "warning: `{POLICY}` keeps services from starting: {error}"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{NEEDS, Sign};

    #[test]
    fn a_sign_is_seen_only_where_it_is() {
        assert!(Sign::Program("sh").seen());
        assert!(Sign::File("/etc/passwd").seen());
        assert!(!Sign::Program("no-program-of-this-name").seen());
        assert!(!Sign::File("/nonexistent").seen());
    }

    #[test]
    fn every_package_is_needed_once() {
        let mut names: Vec<_> = NEEDS.iter().map(|(_, package)| package).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), NEEDS.len());
    }
}
