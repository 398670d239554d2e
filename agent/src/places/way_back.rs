//! Whether a run that is over can be taken back: what that needs is looked at before anything is touched.

use super::{Wanted, backup};
use crate::{engine::ContainerInspect, error::StepError, surroundings::Host};

/// Proves that the way back is there: the old container, its image, and the copy of the data.
/// `name` is the server's own, which the old container no longer has.
///
/// # Errors
/// With what is missing; nothing was touched then.
pub async fn check_way_back(
    host: &Host,
    old_container: &str,
    wanted: &Wanted<'_>,
) -> Result<ContainerInspect, StepError> {
    let old = check_old_container(host, old_container).await?;
    check_copy(host, &old, old.image_id(), wanted).await?;
    Ok(old)
}

/// Proves that the copy of the data is there, and the old image. `server` is a container that has the data.
///
/// # Errors
/// As [`check_way_back`].
pub async fn check_copy(
    host: &Host,
    server: &ContainerInspect,
    old_image: &str,
    wanted: &Wanted<'_>,
) -> Result<(), StepError> {
    if !host.engine.has_image(old_image).await? {
        return Err(gone(format!("somebody removed its image {old_image}")));
    }
    let backup = wanted.place(server)?;
    if !backup::is_there(host, &backup, wanted.run).await? {
        return Err(gone(format!("somebody removed the copy, {backup}")));
    }
    Ok(())
}

/// Proves that the old container is there, and its image.
///
/// # Errors
/// As [`check_way_back`].
pub async fn check_old_container(
    host: &Host,
    old_container: &str,
) -> Result<ContainerInspect, StepError> {
    let old = host.engine.find_container(old_container).await?;
    let old = old.ok_or_else(|| gone("somebody removed the old container".to_owned()))?;
    if !host.engine.has_image(old.image_id()).await? {
        return Err(gone(format!(
            "somebody removed its image {}",
            old.image_id()
        )));
    }
    Ok(old)
}

/// What the old container of a run is called, while it is kept.
#[must_use]
pub fn aside_name(server: &str, version: &str, run: &str) -> String {
    format!("{server}-{version}-{run}")
}

/// Whether a container is called as the old one of a run, whatever version it had. A run has one server: it is not asked what stands between.
#[must_use]
pub fn aside_belongs_to(name: &str, server: &str, run: &str) -> bool {
    let rest = name
        .strip_prefix(server)
        .and_then(|rest| rest.strip_prefix('-'));
    let version = rest
        .and_then(|rest| rest.strip_suffix(run))
        .and_then(|rest| rest.strip_suffix('-'));
    !run.is_empty() && version.is_some()
}

fn gone(what: String) -> StepError {
    StepError::new("way-back-gone", format!("the way back is gone: {what}"))
        .hint("the server is as it was before this command; restore it from a backup of your own")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_container_says_by_its_name_which_run_has_set_it_aside() {
        let aside = aside_name("pmm", "2.44.1", "7f3a9c21");
        assert!(aside_belongs_to(&aside, "pmm", "7f3a9c21"));
        for (server, run) in [
            ("pm", "7f3a9c21"),
            ("pmm", "9c21"),
            ("pmm", ""),
            ("", "7f3a9c21"),
        ] {
            assert!(!aside_belongs_to(&aside, server, run), "{server} {run}");
        }
        // Of an image that names no version.
        let unnamed = aside_name("pmm", "", "7f3a9c21");
        assert!(aside_belongs_to(&unnamed, "pmm", "7f3a9c21"));
        assert!(!aside_belongs_to("pmm-7f3a9c21", "pmm", "7f3a9c21"));
    }
}
