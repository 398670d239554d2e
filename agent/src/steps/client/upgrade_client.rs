//! Puts the new package in the place of the old one, carries over what the packages do not, and starts the client anew.
//!
//! What the package's own scripts do with the configuration is looked at and not relied upon: it has to be what it was, byte by byte, but
//! for the block `paths:` (`facts/pmm.md` 5.1). Whether the client reaches its server is not this step's to say: the server says so.

use std::{ffi::OsStr, path::Path};

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};
use serde::{Deserialize, Serialize};

use super::log_of;
use crate::{
    client::{
        CONFIG, config,
        folder::{Content, Folder},
        kept::{Change, Kept, Places, open},
        unit,
        way::Way,
    },
    context::Context,
    error::StepError,
    steps::{Work, count, done, done_with},
};

/// Behind the name of a collector of the new package's, where the operator's takes its place.
const ASIDE: &str = ".ferry-package";
/// Behind the configuration's name, as the packages' own scripts call the old one and their default (`facts/pmm.md` 5.1).
const COPY: &str = ".bak";
const DEFAULT: &str = ".new";

pub(in crate::steps) struct UpgradeClient(pub(in crate::steps) v1::UpgradeClient);

/// Written before the first change.
#[derive(Serialize, Deserialize)]
struct Begun {}

#[async_trait]
impl Work for UpgradeClient {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        cx.surroundings.client()?;
        let way = Change::of(self.0.change.as_ref())?.way;
        let kept = Places::of(cx)?.read()?;
        let log = log_of(cx);
        let log = (&cx.run_dir, log.as_str());
        if cx.first_kept::<Begun>()?.is_some() {
            way.settle(log).await?;
        } else {
            way.check_old(&cx.run).await?;
            cx.keep(&Begun {})?;
        }
        way.forward(cx, &kept, log).await?;
        let warnings = carry(&way, &kept)?;
        unit::restart(log).await?;
        if kept.enabled {
            unit::enable(log).await?;
        }
        let carried = count(kept.collectors.len() as u64, "collector");
        Ok(done_with(
            format!("{}, {carried} carried over", way.new_words()),
            warnings,
        ))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let way = Change::of(self.0.change.as_ref())?.way;
        way.check_new(&cx.run).await?;
        let kept = Places::of(cx)?.read()?;
        let now = open(way.new_folder())?.read(CONFIG)?;
        if now.map(|it| rest(&way, &it.bytes)) != Some(rest(&way, &kept.config.bytes)) {
            return Err(StepError::new(
                "client-config",
                "the client's configuration is another one than before",
            ));
        }
        unit::check_running().await
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        cx.surroundings.client()?;
        if cx.first_kept::<Begun>()?.is_none() {
            return Ok(done("the client was not touched"));
        }
        let way = Change::of(self.0.change.as_ref())?.way;
        let kept = Places::of(cx)?.read()?;
        let log = log_of(cx);
        let log = (&cx.run_dir, log.as_str());
        // What a package's script has failed at fails here again: the old package takes its place all the same.
        if let Err(error) = way.settle(log).await {
            cx.note(format!(
                "a package is left half configured, and is replaced: {error}"
            ));
        }
        way.back(cx, &kept, log).await?;
        if let Some(path) = take_away(&way, &kept)? {
            cx.note(format!(
                "`{path}` is another one than Ferry put there, and is left: it may have the server's password"
            ));
        }
        let folder = open(way.old_folder())?;
        take_copy(&folder, &kept)?;
        let all = [(CONFIG.to_owned(), kept.config)]
            .into_iter()
            .chain(kept.collectors);
        for (path, content) in all {
            if folder.read(&path)?.as_ref() != Some(&content) {
                folder.write(&path, &content)?;
            }
        }
        unit::restart(log).await?;
        if kept.enabled {
            unit::enable(log).await?;
        }
        way.check_old(&cx.run).await?;
        unit::check_running().await?;
        Ok(done(format!(
            "{} again, its configuration byte for byte",
            way.old_words()
        )))
    }
}

/// The configuration without what belongs to a version's own folder.
fn rest(way: &Way, bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if way.keeps_paths() {
        text.into_owned()
    } else {
        config::without_paths(&text)
    }
}

/// Brings configuration and collectors to the new folder, where the package has not.
fn carry(way: &Way, kept: &Kept) -> Result<Vec<String>, StepError> {
    let folder = open(way.new_folder())?;
    let (now, wanted) = (folder.read(CONFIG)?, rest(way, &kept.config.bytes));
    let as_wanted = now
        .as_ref()
        .is_some_and(|it| rest(way, &it.bytes) == wanted);
    if !as_wanted {
        folder.write(
            CONFIG,
            &Content {
                bytes: wanted.into_bytes(),
                ..kept.config.clone()
            },
        )?;
    }
    let mut warnings = Vec::new();
    for (path, content) in &kept.collectors {
        match folder.read(path)? {
            Some(now) if now.bytes == content.bytes => continue,
            Some(now) => {
                let aside = format!("{path}{ASIDE}");
                // A later attempt finds the operator's own file there.
                if folder.read(&aside)?.is_none() {
                    folder.write(&aside, &now)?;
                }
                warnings.push(format!(
                    "`{}/{path}` is the operator's, and the package's own lies beside it as `{aside}`",
                    way.new_folder()
                ));
            }
            None => {}
        }
        folder.write(path, content)?;
    }
    Ok(warnings)
}

/// Removes the packages' copy of the configuration where it is just that.
fn take_copy(folder: &Folder, kept: &Kept) -> Result<(), StepError> {
    let copy = format!("{CONFIG}{COPY}");
    if folder
        .read(&copy)?
        .is_some_and(|it| it.bytes == kept.config.bytes)
    {
        folder.remove(&copy)?;
    }
    Ok(())
}

/// Removes from the new folder what [`carry`] and the package's scripts have put there, and the folder with it where nothing else is in it: no
/// package knows these files. Gives the configuration's path where it was changed since and stays.
fn take_away(way: &Way, kept: &Kept) -> Result<Option<String>, StepError> {
    let path = Path::new(way.new_folder());
    if path == Path::new(way.old_folder()) {
        return Ok(None);
    }
    let Some(folder) = Folder::open(path)? else {
        return Ok(None);
    };
    for (path, content) in &kept.collectors {
        if folder
            .read(path)?
            .is_some_and(|it| it.bytes == content.bytes)
        {
            folder.remove(path)?;
        }
        folder.remove(&format!("{path}{ASIDE}"))?;
    }
    take_copy(&folder, kept)?;
    folder.remove(&format!("{CONFIG}{DEFAULT}"))?;
    let is_left = match folder.read(CONFIG)? {
        Some(now) if rest(way, &now.bytes) == rest(way, &kept.config.bytes) => {
            folder.remove(CONFIG)?;
            false
        }
        now => now.is_some(),
    };
    // By its name in the folder above, which is root's alone.
    if let (Some(above), Some(name)) = (path.parent(), path.file_name().and_then(OsStr::to_str))
        && let Some(above) = Folder::open(above)?
    {
        above.remove_empty(name)?;
    }
    Ok(is_left.then(|| path.join(CONFIG).display().to_string()))
}
