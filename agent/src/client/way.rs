//! The three ways in which a client is exchanged, as the steps see them.

use super::{
    deb,
    folder::{Content, Folder},
    folder_of,
    kept::{Change, Kept, Places},
    package::Package,
    rpm,
    tarball::{self, Pair},
};
use crate::{context::Context, error::StepError, state_dir::StateDir};

/// What takes the place of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// A package of dpkg's in the place of another.
    Deb { old: Package, new: Package },
    /// A package of RPM's in the place of another.
    Rpm { old: Package, new: Package },
    /// A folder in the place of another.
    Tarball {
        folder: &'static str,
        version: String,
        file: String,
        sha256: String,
    },
}

impl Way {
    /// The client's folder, before.
    pub(crate) fn old_folder(&self) -> &'static str {
        match self {
            Self::Deb { old, .. } | Self::Rpm { old, .. } => folder_of(old.name),
            Self::Tarball { folder, .. } => folder,
        }
    }

    /// The client's folder, afterwards.
    pub(crate) fn new_folder(&self) -> &'static str {
        match self {
            Self::Deb { new, .. } | Self::Rpm { new, .. } => folder_of(new.name),
            Self::Tarball { folder, .. } => folder,
        }
    }

    /// Whether the configuration goes on naming files of this folder.
    pub(crate) fn keeps_paths(&self) -> bool {
        self.old_folder() == self.new_folder()
    }

    /// What it was, for an outcome.
    pub(crate) fn old_words(&self) -> String {
        match self {
            Self::Deb { old, .. } | Self::Rpm { old, .. } => old.to_string(),
            Self::Tarball { folder, .. } => format!("the old `{folder}`"),
        }
    }

    /// What it becomes, for an outcome.
    pub(crate) fn new_words(&self) -> String {
        match self {
            Self::Deb { new, .. } | Self::Rpm { new, .. } => new.to_string(),
            Self::Tarball { version, .. } => format!("PMM {version} from its tarball"),
        }
    }

    /// Refuses where the client is not the old one.
    ///
    /// # Errors
    /// `client-changed`, or the package manager's.
    pub(crate) async fn check_old(&self, run: &str) -> Result<(), StepError> {
        let is_old = match self {
            Self::Deb { old, .. } => deb::installed().await?.as_ref() == Some(old),
            Self::Rpm { old, .. } => rpm::is_installed(old).await?,
            Self::Tarball { folder, .. } => !Pair::of(folder, run)?.is_new()?,
        };
        if is_old {
            return Ok(());
        }
        Err(Change::changed("another client is installed on its host"))
    }

    /// Refuses where the client is not the new one.
    ///
    /// # Errors
    /// `client-package-other`, or the package manager's.
    pub(crate) async fn check_new(&self, run: &str) -> Result<(), StepError> {
        let is_new = match self {
            Self::Deb { new, .. } => deb::installed().await?.as_ref() == Some(new),
            Self::Rpm { new, .. } => rpm::is_installed(new).await?,
            Self::Tarball { folder, .. } => Pair::of(folder, run)?.is_new()?,
        };
        if is_new {
            return Ok(());
        }
        Err(StepError::new(
            "client-package-other",
            format!("the client on its host is not {}", self.new_words()),
        )
        .hint("the step's log in the run's folder there says what was done"))
    }

    /// Has at hand what both ways need. Nothing of the client changes. Gives the names of what was fetched, old and new.
    ///
    /// # Errors
    /// With what cannot be had.
    pub(crate) async fn fetch(
        &self,
        cx: &Context,
        places: &Places,
        log: (&StateDir, &str),
    ) -> Result<(String, String), StepError> {
        match self {
            Self::Deb { old, new } => {
                let old = deb::fetch(old, &places.old, log).await?;
                cx.check_cancelled()?;
                let new = deb::fetch(new, &places.new, log).await?;
                deb::try_install(&places.new.path().join(&new)).await?;
                Ok((old, new))
            }
            Self::Rpm { old, new } => {
                let old = rpm::fetch_old(old, &places.old, log).await?;
                cx.check_cancelled()?;
                let new = rpm::fetch_new(new, &places.new, log).await?;
                rpm::try_install(&places.new.path().join(&new)).await?;
                Ok((old, new))
            }
            Self::Tarball {
                folder,
                version,
                file,
                sha256,
            } => {
                tarball::take(file, sha256, &places.new)?;
                let pair = Pair::of(folder, &cx.run)?;
                pair.lay_out(version, &places.new, &cx.run_dir.sub("unpacked")?, log)
                    .await?;
                Ok((String::new(), tarball::COPY.to_owned()))
            }
        }
    }

    /// The collectors that are carried over, read: the operator's, or all where nobody says whose they are.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(crate) async fn collectors(
        &self,
        folder: &Folder,
    ) -> Result<Vec<(String, Content)>, StepError> {
        let paths = match self {
            Self::Deb { old, .. } => deb::own_collectors(old.name, folder).await?,
            Self::Rpm { old, .. } => rpm::own_collectors(old.name, folder).await?,
            Self::Tarball { .. } => folder.files(super::COLLECTORS)?,
        };
        let mut read = Vec::new();
        for path in paths {
            if let Some(content) = folder.read(&path)? {
                read.push((path, content));
            }
        }
        Ok(read)
    }

    /// Ends what was cut off.
    ///
    /// # Errors
    /// The package manager's.
    pub(crate) async fn settle(&self, log: (&StateDir, &str)) -> Result<(), StepError> {
        match self {
            Self::Deb { .. } => deb::settle(log).await,
            Self::Rpm { .. } => rpm::settle().await,
            Self::Tarball { .. } => Ok(()),
        }
    }

    /// Puts the new client in the place of the old one; done already is fine.
    ///
    /// # Errors
    /// The package manager's.
    pub(crate) async fn forward(
        &self,
        cx: &Context,
        kept: &Kept,
        log: (&StateDir, &str),
    ) -> Result<(), StepError> {
        match self {
            Self::Deb { new, .. } => {
                if deb::installed().await?.as_ref() == Some(new) {
                    return Ok(());
                }
                // The host may have changed since it was tried.
                deb::try_install(&kept.new).await?;
                deb::install(&kept.new, log).await
            }
            Self::Rpm { new, .. } => {
                if rpm::is_installed(new).await? {
                    return Ok(());
                }
                rpm::try_install(&kept.new).await?;
                rpm::install(&kept.new, log).await
            }
            Self::Tarball { folder, .. } => Pair::of(folder, &cx.run)?.forward(),
        }
    }

    /// Puts the old client in its place again; done already is fine.
    ///
    /// # Errors
    /// The package manager's.
    pub(crate) async fn back(
        &self,
        cx: &Context,
        kept: &Kept,
        log: (&StateDir, &str),
    ) -> Result<(), StepError> {
        match self {
            Self::Deb { old, new } => {
                if deb::installed().await?.as_ref() == Some(old) {
                    return Ok(());
                }
                if new.name != old.name
                    && let Err(error) = deb::remove(new.name, log).await
                {
                    cx.note(format!("the new package does not go by itself: {error}"));
                }
                deb::install(&kept.old, log).await
            }
            Self::Rpm { old, new } => {
                let installed = rpm::installed().await?;
                if rpm::is_installed(old).await? {
                    return Ok(());
                }
                if new.name != old.name && installed.iter().any(|it| it.package.name == new.name) {
                    rpm::remove(new.name, log).await?;
                }
                rpm::install(&kept.old, log).await
            }
            Self::Tarball { folder, .. } => Pair::of(folder, &cx.run)?.back(),
        }
    }

    /// Forgets what was laid out beside the client.
    ///
    /// # Errors
    /// When that is the client's old folder.
    pub(crate) fn forget(&self, run: &str) -> Result<(), StepError> {
        match self {
            Self::Deb { .. } | Self::Rpm { .. } => Ok(()),
            Self::Tarball { folder, .. } => Pair::of(folder, run)?.discard(),
        }
    }
}
