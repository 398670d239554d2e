//! dpkg and apt: what is installed, what could be, and how one package takes the place of another.
//!
//! Why apt for both ways: the packages conflict with each other, and apt alone removes the one when it installs the other. Both are
//! installed from files that lie beside the agent by then, so that neither way depends on a mirror.

use std::path::Path;

use tokio::time::Instant;

use super::{
    COLLECTORS, PACKAGES,
    folder::Folder,
    folder_of, is_architecture, is_version, known_package, lock,
    package::{Package, Source, not_the_packages},
};
use crate::{
    error::StepError,
    server::programs::client::{Answer, Tool, ask, perform},
    state_dir::StateDir,
};

/// Where apt keeps what it has downloaded.
const CACHE: &str = "/var/cache/apt/archives";
/// What dpkg says where another one works.
const LOCKED: &str = "locked by another process";
/// apt has the first of them as long as it works, and dpkg the second.
const LOCKS: [&str; 2] = ["/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock"];
/// Waits for another package manager, keeps changed configuration files, and writes as root in a folder that only root may enter.
const OPTIONS: [&str; 8] = [
    "-o",
    "DPkg::Lock::Timeout=300",
    "-o",
    "Dpkg::Options::=--force-confdef",
    "-o",
    "Dpkg::Options::=--force-confold",
    "-o",
    "APT::Sandbox::User=root",
];

/// How a package is installed from its file.
const INSTALL: [&str; 4] = [
    "install",
    "--quiet",
    "--no-install-recommends",
    "--allow-downgrades",
];

/// Whether this host has dpkg and apt.
pub(crate) fn is_here() -> bool {
    Tool::DpkgQuery.is_here() && Tool::AptGet.is_here()
}

/// The client's package that is installed, whole; `None` where none is. The newer one counts where both are.
///
/// # Errors
/// When dpkg cannot be asked.
pub(crate) async fn installed() -> Result<Option<Package>, StepError> {
    for name in PACKAGES.into_iter().rev() {
        let format = "--showformat=${db:Status-Status} ${Version} ${Architecture}\\n";
        let answer = ask(Tool::DpkgQuery, &["--show", format, name]).await?;
        if let Some(package) = read_installed(&answer, name) {
            return Ok(Some(package));
        }
    }
    Ok(None)
}

fn read_installed(answer: &Answer, name: &'static str) -> Option<Package> {
    let mut words = answer.text.lines().next()?.split(' ');
    let (status, version, architecture) = (words.next()?, words.next()?, words.next()?);
    let sound = answer.success
        && status == "installed"
        && is_version(version)
        && is_architecture(architecture);
    sound.then(|| Package {
        name,
        version: version.to_owned(),
        architecture: architecture.to_owned(),
    })
}

/// The versions of a package in the enabled repositories, the newest first.
///
/// # Errors
/// When apt cannot be asked.
pub(crate) async fn available(name: &'static str) -> Result<Vec<String>, StepError> {
    let answer = ask(Tool::AptCache, &["madison", name]).await?;
    Ok(versions_in(&answer.text, name))
}

/// Lines of `NAME | VERSION | SOURCE Packages`.
fn versions_in(text: &str, name: &str) -> Vec<String> {
    let mut versions: Vec<String> = Vec::new();
    for line in text.lines() {
        let mut columns = line.split('|').map(str::trim);
        if let (Some(package), Some(version), Some(source)) =
            (columns.next(), columns.next(), columns.next())
            && package == name
            && source.ends_with("Packages")
            && is_version(version)
            && !versions.iter().any(|it| it == version)
        {
            versions.push(version.to_owned());
        }
    }
    versions
}

/// Where an installed package could be had again.
///
/// # Errors
/// When apt cannot be asked.
pub(crate) async fn source_of(package: &Package) -> Result<Option<Source>, StepError> {
    if Path::new(CACHE).join(file_name(package)).is_file() {
        return Ok(Some(Source::Cache));
    }
    let versions = available(package.name).await?;
    Ok(versions
        .contains(&package.version)
        .then_some(Source::Repository))
}

/// As apt calls it in its cache.
fn file_name(package: &Package) -> String {
    let version = package.version.replace(':', "%3a");
    format!("{}_{version}_{}.deb", package.name, package.architecture)
}

/// Has the package's file in a folder of ours: from apt's cache, else from a repository. Gives its name there.
///
/// # Errors
/// When it is nowhere, or what came is another package.
pub(crate) async fn fetch(
    package: &Package,
    into: &StateDir,
    log: (&StateDir, &str),
) -> Result<String, StepError> {
    if let Some(name) = found(package, into).await? {
        return Ok(name);
    }
    let cached = Folder::open(Path::new(CACHE))?;
    let cached = match &cached {
        Some(cache) => cache.read_large(&file_name(package))?,
        None => None,
    };
    if let Some(bytes) = cached {
        into.replace(&file_name(package), &bytes)?;
    } else {
        let wanted = format!("{}={}", package.name, package.version);
        let arguments = [&["download", "--quiet"], &OPTIONS[..], &[&*wanted]].concat();
        perform(Tool::AptGet, &arguments, into.path(), log)
            .await
            .map_err(|error| {
                error.during(format!("{package} cannot be fetched")).hint(
                    "`apt-get update` on the client's host, and see that its repository is enabled",
                )
            })?;
    }
    found(package, into).await?.ok_or_else(|| {
        StepError::new(
            "client-package-other",
            format!("what was fetched for {package} is another package"),
        )
    })
}

/// The file of this very package in a folder; others there are removed.
async fn found(package: &Package, folder: &StateDir) -> Result<Option<String>, StepError> {
    for name in folder.names()? {
        let path = folder.path().join(&name);
        let path = path.to_string_lossy();
        let fields = ["--field", &*path, "Package", "Version", "Architecture"];
        let answer = ask(Tool::DpkgDeb, &fields).await?;
        let is = |field: &str, value: &str| {
            let line = answer
                .text
                .lines()
                .find_map(|line| line.strip_prefix(field)?.strip_prefix(": "));
            line == Some(value)
        };
        let right = answer.success
            && is("Package", package.name)
            && is("Version", &package.version)
            && (is("Architecture", &package.architecture) || is("Architecture", "all"));
        if right {
            return Ok(Some(name));
        }
        folder.remove(&name)?;
    }
    Ok(None)
}

/// Refuses where installing the file would take more from the host than the client's own package, or cannot be done.
///
/// # Errors
/// With what stands in the way; nothing was changed.
pub(crate) async fn try_install(file: &Path) -> Result<(), StepError> {
    let path = file.to_string_lossy();
    let arguments = [&["--simulate"], &INSTALL[..], &OPTIONS[..], &[&*path]].concat();
    let answer = ask(Tool::AptGet, &arguments).await?;
    if !answer.success {
        return Err(StepError::new(
            "client-package-refused",
            format!("apt would not install `{path}`"),
        )
        .details(answer.complaint.lines().take(10).map(str::to_owned))
        .hint("`apt-get install --simulate pmm-client` on the client's host says what it lacks"));
    }
    let removed = others(&answer.text, "Remv ");
    if !removed.is_empty() {
        let what = format!(
            "apt would remove {} with the client's old package",
            removed.join(", ")
        );
        return Err(StepError::new("client-removes-others", what)
            .hint("see on the client's host what depends on it"));
    }
    let needed = others(&answer.text, "Inst ");
    if needed.is_empty() {
        return Ok(());
    }
    // They would come from a mirror in the middle of the change, and stay behind on the way back.
    let needed = needed.join(" ");
    Err(StepError::new(
        "client-needs-others",
        format!(
            "the client's new package needs {needed}, which would be installed or changed with it"
        ),
    )
    .hint(format!(
        "`apt-get install {needed}` on the client's host first"
    )))
}

/// The packages that are none of ours in apt's lines `Remv NAME [VERSION]` or `Inst NAME (VERSION)`.
fn others(text: &str, begin: &str) -> Vec<String> {
    let named = text
        .lines()
        .filter_map(|line| line.strip_prefix(begin)?.split(' ').next());
    let others = named.filter(|name| known_package(name).is_none());
    others.map(str::to_owned).collect()
}

/// Puts a package from its file in the place of the other one.
///
/// # Errors
/// When apt fails, with the end of what it said.
pub(crate) async fn install(file: &Path, log: (&StateDir, &str)) -> Result<(), StepError> {
    let path = file.to_string_lossy();
    let arguments = [&INSTALL[..], &["--yes"], &OPTIONS[..], &[&*path]].concat();
    perform(Tool::AptGet, &arguments, Path::new("/"), log).await
}

/// Takes a package of PMM's away: the older one has a way of its own to say that it does not go with the newer, which would leave the order of
/// things, and files that both have, to apt.
///
/// # Errors
/// When dpkg fails, with the end of what it said.
pub(crate) async fn remove(name: &'static str, log: (&StateDir, &str)) -> Result<(), StepError> {
    let words = ["--remove", "--force-remove-reinstreq", name];
    perform(Tool::Dpkg, &words, Path::new("/"), log).await
}

/// Waits for a package manager that outlived whoever had started it, and ends what one that was cut off has left half done of PMM's packages.
/// Where there is nothing it does nothing.
///
/// Rejected: `--configure --pending`. It would run the scripts of other packages that the operator has left half configured.
///
/// # Errors
/// When dpkg fails.
pub(crate) async fn settle(log: (&StateDir, &str)) -> Result<(), StepError> {
    let began = Instant::now();
    loop {
        for path in LOCKS {
            lock::wait_for(Path::new(path)).await?;
        }
        let begun = half_configured().await?;
        if begun.is_empty() {
            return Ok(());
        }
        let options = ["--configure", "--force-confdef", "--force-confold"];
        let words = [&options[..], &begun[..]].concat();
        // dpkg does not wait for its lock by itself.
        match perform(Tool::Dpkg, &words, Path::new("/"), log).await {
            Err(error) if error.tells(LOCKED) && began.elapsed() < lock::PATIENCE => {
                tokio::time::sleep(lock::PAUSE).await;
            }
            other => return other,
        }
    }
}

/// The packages of PMM's whose files are there and whose scripts have not ended.
async fn half_configured() -> Result<Vec<&'static str>, StepError> {
    let mut begun = Vec::new();
    for name in PACKAGES {
        let format = "--showformat=${db:Status-Status}";
        let answer = ask(Tool::DpkgQuery, &["--show", format, name]).await?;
        if answer.success && is_half_configured(&answer.text) {
            begun.push(name);
        }
    }
    Ok(begun)
}

fn is_half_configured(status: &str) -> bool {
    matches!(status.trim(), "unpacked" | "half-configured")
}

/// The files among a package's collectors that are not its own: added, or changed in place. From the client's folder on.
///
/// # Errors
/// When dpkg cannot be asked, or the folder not be read.
pub(crate) async fn own_collectors(
    package: &str,
    folder: &Folder,
) -> Result<Vec<String>, StepError> {
    let all = folder.files(COLLECTORS)?;
    if all.is_empty() {
        return Ok(all);
    }
    let listed = ask(Tool::DpkgQuery, &["--listfiles", package]).await?;
    let verified = ask(Tool::Dpkg, &["--verify", package]).await?;
    Ok(not_the_packages(
        all,
        folder_of(package),
        &listed.text,
        &verified.text,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package() -> Package {
        Package {
            name: "pmm2-client",
            version: "1:2.44.1-6.bookworm".into(),
            architecture: "amd64".into(),
        }
    }

    #[test]
    fn only_a_package_that_is_whole_is_installed() {
        let read = |text: &str| {
            let answer = Answer {
                success: true,
                text: text.to_owned(),
                complaint: String::new(),
            };
            read_installed(&answer, "pmm2-client")
        };
        assert_eq!(
            read("installed 1:2.44.1-6.bookworm amd64\n"),
            Some(package())
        );
        for text in [
            "config-files 2.44.1 amd64",
            "half-installed 2.44.1 amd64",
            "unpacked 2.44.1 amd64",
            "",
            "installed",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn versions_are_those_of_binary_packages() {
        let text = "pmm-client | 3.9.0-7.bookworm | http://repo.example/pmm3-client/apt bookworm/main amd64 Packages\n\
                    pmm-client | 3.8.1-7.bookworm | http://repo.example/pmm3-client/apt bookworm/main amd64 Packages\n\
                    pmm-client | 3.8.1-7.bookworm | file:/repo ./ Packages\n\
                    pmm-client | 3.8.0 | http://repo.example/pmm3-client/apt bookworm/main Sources\n\
                    pmm-client | -o | x Packages\nother | 1.0 | x Packages\n";
        assert_eq!(
            versions_in(text, "pmm-client"),
            ["3.9.0-7.bookworm", "3.8.1-7.bookworm"]
        );
    }

    #[test]
    fn a_file_in_the_cache_has_no_colon() {
        assert_eq!(
            file_name(&package()),
            "pmm2-client_1%3a2.44.1-6.bookworm_amd64.deb"
        );
    }

    #[test]
    fn only_the_clients_own_packages_come_and_go() {
        let text = "Remv pmm2-client [2.44.1]\nRemv monitoring [1.0]\nInst libx [1] (2 repo)\nInst pmm-client (3.8.1)\nConf libx (2)\n";
        assert_eq!(others(text, "Remv "), ["monitoring"]);
        assert_eq!(others(text, "Inst "), ["libx"]);
        assert_eq!(others("Remv pmm2-client [2.44.1]\n", "Remv "), [""; 0]);
    }

    #[test]
    fn a_package_is_only_configured_when_it_can_be() {
        for status in ["unpacked", "half-configured\n"] {
            assert!(is_half_configured(status), "{status}");
        }
        for status in [
            "installed",
            "not-installed",
            "half-installed",
            "config-files",
            "",
        ] {
            assert!(!is_half_configured(status), "{status}");
        }
    }
}
