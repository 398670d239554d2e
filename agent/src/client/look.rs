//! What is to be seen of a client on its own host. Nothing is changed, and what could not be seen is told.

use std::path::Path;

use ferry_proto::v1::{ClientFileFacts, ClientHostFacts, Unobserved};

use super::{
    CONFIG, NEW_PACKAGE, PACKAGES, config, deb, folder::Folder, folder_of, package::Package,
    pmm_version, rpm, tarball, unit,
};
use crate::error::StepError;

/// How many names of collectors are told.
const NAMED: usize = 5;

/// Looks.
///
/// # Errors
/// When the package manager or the service manager cannot be asked.
pub(crate) async fn look(file: &str) -> Result<ClientHostFacts, StepError> {
    let mut facts = ClientHostFacts {
        host: host_name(),
        ..ClientHostFacts::default()
    };
    let unit = unit::look().await?;
    (facts.unit, facts.running) = (unit.known, unit.running);
    let package = installed().await?;
    let folder = match &package {
        Some((kind, package)) => {
            kind.word().clone_into(&mut facts.installation);
            package.name.clone_into(&mut facts.package);
            facts.package_version.clone_from(&package.version);
            facts.architecture.clone_from(&package.architecture);
            pmm_version(&package.version).clone_into(&mut facts.version);
            Some(folder_of(package.name))
        }
        None => unpacked(&mut facts),
    };
    if let Some(folder) = folder {
        folder.clone_into(&mut facts.folder);
        configuration(folder, &mut facts);
    }
    if let Some((kind, package)) = &package {
        repositories(*kind, package, &mut facts).await?;
        collectors(*kind, package, &mut facts).await;
    }
    if facts.installation == "tarball" {
        "folder".clone_into(&mut facts.way_back);
    }
    if !file.is_empty() {
        facts.file = Some(look_at(file).await);
    }
    Ok(facts)
}

fn host_name() -> String {
    let name = fs_err::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

async fn look_at(path: &str) -> ClientFileFacts {
    let mut facts = ClientFileFacts {
        path: path.to_owned(),
        ..ClientFileFacts::default()
    };
    match tarball::look(path).await {
        Ok(seen) => {
            facts.sha256 = seen.sha256;
            facts.version = seen.version;
            facts.confirmed = seen.confirmed;
        }
        Err(error) => facts.failure = error.to_string(),
    }
    facts
}

/// The package managers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Deb,
    Rpm,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Rpm => "rpm",
        }
    }
}

/// The client's package, and whose it is. A host may have the programs of both.
async fn installed() -> Result<Option<(Kind, Package)>, StepError> {
    if deb::is_here()
        && let Some(package) = deb::installed().await?
    {
        return Ok(Some((Kind::Deb, package)));
    }
    if rpm::is_here()
        && let Some(known) = rpm::installed().await?.pop()
    {
        return Ok(Some((Kind::Rpm, known.package)));
    }
    Ok(None)
}

/// Looks for a client that no package has; gives its folder.
fn unpacked(facts: &mut ClientHostFacts) -> Option<&'static str> {
    let mut folders = PACKAGES.into_iter().rev().map(folder_of);
    let folder = folders.find(|folder| Path::new(folder).join(CONFIG).is_file())?;
    "tarball".clone_into(&mut facts.installation);
    Some(folder)
}

/// What the repositories have.
async fn repositories(
    kind: Kind,
    package: &Package,
    facts: &mut ClientHostFacts,
) -> Result<(), StepError> {
    if kind == Kind::Rpm && !rpm::has_repositories() {
        unobserved(facts, "the repositories", "there is no dnf".to_owned());
        return Ok(());
    }
    let (source, available) = match kind {
        Kind::Deb => (
            deb::source_of(package).await?,
            deb::available(NEW_PACKAGE).await?,
        ),
        Kind::Rpm => (
            rpm::source_of(package).await?,
            rpm::available(NEW_PACKAGE, &package.architecture).await?,
        ),
    };
    if let Some(source) = source {
        source.word().clone_into(&mut facts.way_back);
    }
    facts.available = available;
    Ok(())
}

fn configuration(folder: &str, facts: &mut ClientHostFacts) {
    let read = Folder::open(folder.as_ref()).and_then(|open| match open {
        Some(open) => open.read(CONFIG),
        None => Ok(None),
    });
    let why = match read {
        Ok(Some(content)) => {
            facts.config_digest = blake3::hash(&content.bytes).to_hex().to_string();
            facts.agent_id =
                config::agent_id(&String::from_utf8_lossy(&content.bytes)).unwrap_or_default();
            return;
        }
        Ok(None) => format!("`{folder}/{CONFIG}` is not there"),
        Err(error) => error.to_string(),
    };
    unobserved(facts, "the configuration", why);
}

async fn collectors(kind: Kind, package: &Package, facts: &mut ClientHostFacts) {
    let listed = match Folder::open(folder_of(package.name).as_ref()) {
        Ok(Some(folder)) => match kind {
            Kind::Deb => deb::own_collectors(package.name, &folder).await,
            Kind::Rpm => rpm::own_collectors(package.name, &folder).await,
        },
        Ok(None) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    };
    match listed {
        Ok(all) => {
            facts.collectors_count = u32::try_from(all.len()).unwrap_or(u32::MAX);
            facts.collectors = all.into_iter().take(NAMED).collect();
        }
        Err(error) => unobserved(facts, "the collectors", error.to_string()),
    }
}

fn unobserved(facts: &mut ClientHostFacts, what: &str, why: String) {
    facts.unobserved.push(Unobserved {
        what: what.to_owned(),
        why,
    });
}
