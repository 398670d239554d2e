//! What is to be seen of a client on its own host. Nothing is changed, and what could not be seen is told.

use std::path::Path;

use ferry_proto::v1::{ClientFileFacts, ClientHostFacts, Unobserved};

use super::{
    CONFIG, NEW_PACKAGE, PACKAGES, config, deb, folder::Folder, folder_of, pmm_version, tarball,
    unit,
};
use crate::{
    error::StepError,
    server::programs::client::{Tool, ask},
};

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
    let package = if deb::is_here() {
        deb::installed().await?
    } else {
        None
    };
    let folder = match &package {
        Some(package) => {
            "deb".clone_into(&mut facts.installation);
            package.name.clone_into(&mut facts.package);
            facts.package_version.clone_from(&package.version);
            facts.architecture.clone_from(&package.architecture);
            pmm_version(&package.version).clone_into(&mut facts.version);
            Some(folder_of(package.name))
        }
        None => other_installation(&mut facts).await?,
    };
    if let Some(folder) = folder {
        folder.clone_into(&mut facts.folder);
        configuration(folder, &mut facts);
    }
    if let Some(package) = &package {
        if let Some(source) = deb::source_of(package).await? {
            source.word().clone_into(&mut facts.way_back);
        }
        facts.available = deb::available(NEW_PACKAGE).await?;
        collectors(package, &mut facts).await;
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

/// An installation that no package of dpkg's has; gives the client's folder where there is one.
async fn other_installation(
    facts: &mut ClientHostFacts,
) -> Result<Option<&'static str>, StepError> {
    for name in PACKAGES.into_iter().rev() {
        if Tool::Rpm.is_here() && ask(Tool::Rpm, &["--query", name]).await?.success {
            "rpm".clone_into(&mut facts.installation);
            name.clone_into(&mut facts.package);
            return Ok(Some(folder_of(name)));
        }
    }
    for folder in PACKAGES.into_iter().rev().map(folder_of) {
        if Path::new(folder).join(CONFIG).is_file() {
            "tarball".clone_into(&mut facts.installation);
            return Ok(Some(folder));
        }
    }
    Ok(None)
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

async fn collectors(package: &deb::Package, facts: &mut ClientHostFacts) {
    let listed = match Folder::open(folder_of(package.name).as_ref()) {
        Ok(Some(folder)) => deb::own_collectors(package.name, &folder).await,
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
