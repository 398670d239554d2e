//! dnf and rpm: what is installed, what could be, and how one package takes the place of another.
//!
//! Why two programs: dnf knows the host's repositories and whose signatures they have, and fetches with both; rpm installs the one file that
//! was fetched, and by it nothing else can come or go. Neither way needs a mirror then, as with [`super::deb`].
//!
//! Rejected: `dnf install FILE`. It would ask the repositories in the middle of the change, and choose what comes with it anew.

mod answers;

use std::path::{Path, PathBuf};

use super::{
    COLLECTORS, PACKAGES,
    folder::Folder,
    folder_of, lock,
    package::{Package, Source, not_the_packages},
};
use crate::{
    error::StepError,
    server::programs::client::{Tool, ask, perform},
    state_dir::StateDir,
};

/// Where dnf keeps what it has downloaded: in a folder `packages` of each repository's.
const CACHE: &str = "/var/cache/dnf";
/// Where rpm has its lock, where its macros do not say.
const LOCK: &str = "/var/lib/rpm/.rpm.lock";
/// A package, and the digest of its header: two files with one digest are one build.
const FORMAT: &str = "package %{NAME} %{EVR} %{ARCH} %{SHA1HEADER}\\n";
/// Replaces what is there, older or newer, or the same when it was cut off.
const INSTALL: [&str; 3] = ["--upgrade", "--oldpackage", "--replacepkgs"];

/// A package of PMM's as rpm knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) package: Package,
    /// Of its header.
    digest: String,
}

/// Whether packages of this kind can be installed on this host.
pub(crate) fn is_here() -> bool {
    Tool::Rpm.is_here()
}

/// Whether they can be fetched, too.
pub(crate) fn has_repositories() -> bool {
    Tool::Dnf.is_here()
}

/// The client's packages that are installed, the newer name last: more than one where rpm was cut off between them.
///
/// # Errors
/// When rpm cannot be asked.
pub(crate) async fn installed() -> Result<Vec<Known>, StepError> {
    let words = [&["--query", "--queryformat", FORMAT], &PACKAGES[..]].concat();
    // It fails where one of them is not installed, and says the other one all the same.
    Ok(answers::packages(&ask(Tool::Rpm, &words).await?.text))
}

/// Whether this package is installed, and no other of PMM's.
///
/// # Errors
/// When rpm cannot be asked.
pub(crate) async fn is_installed(package: &Package) -> Result<bool, StepError> {
    let all = installed().await?;
    Ok(matches!(&all[..], [one] if one.package == *package))
}

/// The versions of a package in the enabled repositories, by the lists that dnf has, the newest first.
///
/// # Errors
/// When dnf cannot be asked.
pub(crate) async fn available(
    name: &'static str,
    architecture: &str,
) -> Result<Vec<String>, StepError> {
    let words = [
        "repoquery",
        "--quiet",
        "--cacheonly",
        "--available",
        "--showduplicates",
        "--queryformat",
        "available %{name} %{evr} %{arch}\\n",
        name,
    ];
    let answer = ask(Tool::Dnf, &words).await?;
    Ok(answers::versions(&answer.text, name, architecture))
}

/// Where an installed package could be had again.
///
/// # Errors
/// When dnf cannot be asked.
pub(crate) async fn source_of(package: &Package) -> Result<Option<Source>, StepError> {
    if cached(package)?.is_some() {
        return Ok(Some(Source::Cache));
    }
    let versions = available(package.name, &package.architecture).await?;
    Ok(versions
        .contains(&package.version)
        .then_some(Source::Repository))
}

/// A package's file in dnf's cache.
fn cached(package: &Package) -> Result<Option<PathBuf>, StepError> {
    if !Path::new(CACHE).is_dir() {
        return Ok(None);
    }
    let name = file_name(package);
    for repository in fs_err::read_dir(CACHE)? {
        let file = repository?.path().join("packages").join(&name);
        if file.is_file() {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// As dnf calls it.
fn file_name(package: &Package) -> String {
    let version = super::without_epoch(&package.version);
    format!("{}-{version}.{}.rpm", package.name, package.architecture)
}

/// Has the installed package's file in a folder of ours: from dnf's cache, else from a repository. Gives its name there.
///
/// # Errors
/// When it is nowhere, or what came is not the very build that is installed.
pub(crate) async fn fetch_old(
    package: &Package,
    into: &StateDir,
    log: (&StateDir, &str),
) -> Result<String, StepError> {
    let all = installed().await?;
    let now = all.iter().find(|it| it.package == *package);
    let digest = now.map(|it| it.digest.as_str());
    if let Some(name) = found(package, digest, into).await?.0 {
        return Ok(name);
    }
    if let Some(bytes) = read_cached(package)? {
        into.replace(&file_name(package), &bytes)?;
        if let Some(name) = found(package, digest, into).await?.0 {
            return Ok(name);
        }
    }
    download("reinstall", package, into, log).await?;
    let (name, _) = found(package, digest, into).await?;
    name.ok_or_else(|| other_package(package))
}

/// Has the new package's file in a folder of ours, from a repository. Gives its name there.
///
/// # Errors
/// When it cannot be fetched, or needs another package that would have to be installed with it.
pub(crate) async fn fetch_new(
    package: &Package,
    into: &StateDir,
    log: (&StateDir, &str),
) -> Result<String, StepError> {
    // What an attempt left that was cut off has had nobody look at its signature.
    for name in into.names()? {
        into.remove(&name)?;
    }
    download("install", package, into, log).await?;
    // dnf fetches all that it would install.
    let (name, others) = found(package, None, into).await?;
    if !others.is_empty() {
        if let Some(name) = name {
            into.remove(&name)?;
        }
        return Err(needs_others(&others));
    }
    name.ok_or_else(|| other_package(package))
}

fn read_cached(package: &Package) -> Result<Option<Vec<u8>>, StepError> {
    let Some(file) = cached(package)? else {
        return Ok(None);
    };
    let folder = file.parent().map(Folder::open).transpose()?.flatten();
    match folder {
        Some(folder) => Ok(folder.read_large(&file_name(package))?),
        None => Ok(None),
    }
}

/// Has dnf fetch, and see whether the signature is one that the host asks for; nothing is installed.
async fn download(
    verb: &'static str,
    package: &Package,
    into: &StateDir,
    log: (&StateDir, &str),
) -> Result<(), StepError> {
    let wanted = format!(
        "{}-{}.{}",
        package.name, package.version, package.architecture
    );
    let folder = into.path().to_string_lossy();
    let words = [
        verb,
        "--assumeyes",
        "--downloadonly",
        "--downloaddir",
        &*folder,
        "--setopt=install_weak_deps=False",
        &*wanted,
    ];
    perform(Tool::Dnf, &words, Path::new("/"), log)
        .await
        .map_err(|error| {
            error.during(format!("{package} cannot be fetched")).hint(
                "`dnf makecache` on the client's host, and see that its repository is enabled",
            )
        })
}

fn other_package(package: &Package) -> StepError {
    StepError::new(
        "client-package-other",
        format!("what was fetched for {package} is another package"),
    )
}

fn needs_others(others: &[String]) -> StepError {
    // They would come with the change, and stay behind on the way back.
    let needed = others.join(" ");
    StepError::new(
        "client-needs-others",
        format!(
            "the client's new package needs {needed}, which would be installed or changed with it"
        ),
    )
    .hint(format!("`dnf install {needed}` on the client's host first"))
}

/// The file of this very package in a folder, and the names of other packages that were there and are removed. With a digest it has to
/// have that one.
async fn found(
    package: &Package,
    digest: Option<&str>,
    folder: &StateDir,
) -> Result<(Option<String>, Vec<String>), StepError> {
    let (mut ours, mut others) = (None, Vec::new());
    for name in folder.names()? {
        let path = folder.path().join(&name);
        let path = path.to_string_lossy();
        let words = ["--query", "--queryformat", FORMAT, "--package", &*path];
        let answer = ask(Tool::Rpm, &words).await?;
        let right =
            |it: &Known| it.package == *package && digest.is_none_or(|digest| digest == it.digest);
        if answer.success && answers::packages(&answer.text).iter().any(right) {
            ours = Some(name);
            continue;
        }
        others.extend(answers::stranger(&answer.text));
        folder.remove(&name)?;
    }
    Ok((ours, others))
}

/// Refuses where the file cannot be installed by itself, or would take more from the host than the client's own package.
///
/// # Errors
/// With what stands in the way; nothing was changed.
pub(crate) async fn try_install(file: &Path) -> Result<(), StepError> {
    let path = file.to_string_lossy();
    let obsoleted = ask(Tool::Rpm, &["--query", "--obsoletes", "--package", &*path]).await?;
    let mut going = Vec::new();
    for name in answers::obsoleted(&obsoleted.text) {
        if ask(Tool::Rpm, &["--query", name]).await?.success {
            going.push(name.to_owned());
        }
    }
    let words = [&INSTALL[..], &["--test", &*path]].concat();
    let answer = ask(Tool::Rpm, &words).await?;
    going.extend(answers::needing_the_old(&answer.complaint));
    if !going.is_empty() {
        let what = format!(
            "{} would have to go with the client's old package",
            going.join(", ")
        );
        return Err(StepError::new("client-removes-others", what)
            .hint("see on the client's host what depends on it"));
    }
    let needed = answers::needed(&answer.complaint);
    if !needed.is_empty() {
        return Err(needs_others(&needed));
    }
    if answer.success {
        return Ok(());
    }
    Err(StepError::new(
        "client-package-refused",
        format!("rpm would not install `{path}`"),
    )
    .details(answer.complaint.lines().take(10).map(str::to_owned))
    .hint("`dnf install --assumeno pmm-client` on the client's host says what it lacks"))
}

/// Puts a package from its file in the place of the other one.
///
/// # Errors
/// When rpm fails, with the end of what it said.
pub(crate) async fn install(file: &Path, log: (&StateDir, &str)) -> Result<(), StepError> {
    let path = file.to_string_lossy();
    let words = [&INSTALL[..], &[&*path]].concat();
    perform(Tool::Rpm, &words, Path::new("/"), log).await
}

/// Takes a package of PMM's away: the older one does not go beside the newer, and does not replace it.
///
/// # Errors
/// When rpm fails even without the package's scripts, with the end of what it said.
pub(crate) async fn remove(name: &'static str, log: (&StateDir, &str)) -> Result<(), StepError> {
    let words = ["--erase", "--allmatches", name];
    if perform(Tool::Rpm, &words, Path::new("/"), log)
        .await
        .is_ok()
    {
        return Ok(());
    }
    // A script of its own that fails would keep it here for ever.
    let words = ["--erase", "--allmatches", "--noscripts", name];
    perform(Tool::Rpm, &words, Path::new("/"), log).await
}

/// Waits for an rpm that outlived whoever had started it. What one that was cut off has left half done the next one does anew.
///
/// # Errors
/// When that takes too long.
pub(crate) async fn settle() -> Result<(), StepError> {
    let answer = ask(Tool::Rpm, &["--eval", "%{?_rpmlock_path}"]).await?;
    let path = match answer.text.trim() {
        path if path.starts_with('/') => path,
        _ => LOCK,
    };
    lock::wait_for(Path::new(path)).await
}

/// The files among a package's collectors that are not its own: added, or changed in place. From the client's folder on.
///
/// # Errors
/// When rpm cannot be asked, or the folder not be read.
pub(crate) async fn own_collectors(
    package: &str,
    folder: &Folder,
) -> Result<Vec<String>, StepError> {
    let all = folder.files(COLLECTORS)?;
    if all.is_empty() {
        return Ok(all);
    }
    let listed = ask(Tool::Rpm, &["--query", "--list", package]).await?;
    let words = ["--verify", "--nodeps", "--noscripts", package];
    let verified = ask(Tool::Rpm, &words).await?;
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

    #[test]
    fn a_file_has_no_epoch_in_its_name() {
        let package = Package {
            name: "pmm2-client",
            version: "1:2.44.1-6.el9".into(),
            architecture: "x86_64".into(),
        };
        assert_eq!(file_name(&package), "pmm2-client-2.44.1-6.el9.x86_64.rpm");
    }
}
