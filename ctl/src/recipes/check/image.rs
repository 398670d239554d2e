//! What the server is and what it shall become: which hop is known to work (facts/pmm.md 0.1).

use ferry_proto::v1::{Facts, ImageFacts};

use super::{Notebook, Subject, catalogue::image};
use crate::recipes::{Version, Wishes};

/// The first version that upstream tested as a start.
const OLDEST_START: Version = Version::new(2, 44, 0);
const LAST_PMM_2: Version = Version::new(2, 44, 1);
/// The last version that upstream's own tool migrates PMM 2 to.
const LAST_PINNED: Version = Version::new(3, 8, 1);
/// PostgreSQL 14 → 18 happens at its first start.
const POSTGRES_UPGRADE: Version = Version::new(3, 10, 0);
/// From here upstream has no way from PMM 2, not even in two hops.
const PATH_ENDS: Version = Version::new(3, 13, 0);
/// Its first start fails on a `pmm-managed` role without a SCRAM password.
const BROKEN_ROLES: Version = Version::new(3, 7, 0);

pub(super) fn check(facts: &Facts, wishes: &Wishes, subject: &Subject, notebook: &mut Notebook) {
    check_start(facts, subject, notebook);
    check_target(facts, wishes, subject, notebook);
}

fn check_start(facts: &Facts, subject: &Subject, notebook: &mut Notebook) {
    let name = &subject.name;
    let major_of_image = facts.image.as_ref().map_or(0, |image| image.pmm_major);
    let version_said = facts
        .server
        .as_ref()
        .is_some_and(|server| !server.version.is_empty());
    let Some(from) = subject.from else {
        match major_of_image {
            0 if !version_said => notebook.blocker(
                image::NOT_PMM,
                format!(
                    "{name} is no PMM server: its image says nothing, and no PMM answers in it"
                ),
                "give the name of the PMM server's container; see `docker ps`",
            ),
            3.. => already(notebook, name, "PMM 3"),
            _ => notebook.blocker(
                image::VERSION_UNKNOWN,
                format!("{name} is a PMM server, but its version could not be read"),
                "wait until PMM answers, then check again",
            ),
        }
        return;
    };
    if from.major >= 3 {
        already(notebook, name, &format!("PMM {from}"));
    } else if from < OLDEST_START {
        notebook.blocker(
            image::VERSION_TOO_OLD,
            format!("{name} is PMM {from}; the way to PMM 3 starts at 2.44"),
            &format!("update {name} to `percona/pmm-server:{LAST_PMM_2}` on the same volume first, then check again"),
        );
    } else if from < LAST_PMM_2 {
        notebook.warning(
            image::VERSION_NOT_LAST,
            format!("{name} is PMM {from}; upstream tests the migration from {LAST_PMM_2}"),
            &format!("update {name} to `percona/pmm-server:{LAST_PMM_2}` first, if you can"),
        );
    }
    let baked = facts
        .image
        .as_ref()
        .and_then(|image| Version::parse(&image.version));
    if version_said && baked.is_some_and(|baked| baked != from) {
        notebook.note(
            image::UPDATED_INSIDE,
            format!("{name} was updated inside its container, so its image's version says less than the server's own"),
            "",
        );
    }
}

fn already(notebook: &mut Notebook, name: &str, what: &str) {
    notebook.blocker(
        image::ALREADY_PMM_3,
        format!("{name} is {what} already"),
        "update PMM 3 to a later PMM 3 by upstream's ordinary steps",
    );
}

fn check_target(facts: &Facts, wishes: &Wishes, subject: &Subject, notebook: &mut Notebook) {
    let asked = &wishes.target_image;
    let Some(target) = &facts.target else {
        notebook.blocker(
            image::TARGET_UNOBSERVED,
            format!("the target image `{asked}` was not looked at"),
            "name the target with `--to`, then check again",
        );
        return;
    };
    if target.reference != *asked {
        notebook.blocker(
            image::TARGET_UNOBSERVED,
            format!(
                "the facts are of the image `{}`, not of `{asked}`",
                target.reference
            ),
            "check again with the image that you want",
        );
    }
    if !target.failure.is_empty() {
        notebook.blocker(
            image::TARGET_UNAVAILABLE,
            format!(
                "the target image `{asked}` cannot be had: {}",
                target.failure
            ),
            "correct the name, log in to the registry, or load the image with `docker load`",
        );
        return;
    }
    if !target.present {
        notebook.blocker(
            image::TARGET_MISSING,
            format!("the engine does not have the target image `{asked}`, so its version and owner are not known"),
            &format!("`docker pull {asked}`, then check again"),
        );
        return;
    }
    if target.pmm_major != 3 {
        notebook.blocker(
            image::TARGET_NOT_PMM_3,
            format!("the target image `{asked}` is no PMM 3 server"),
            &format!("name a PMM 3 image, such as `percona/pmm-server:{LAST_PINNED}`"),
        );
        return;
    }
    check_owner(target, asked, notebook);
    check_version(subject.to, asked, notebook);
    if floating(asked) && subject.to.is_some() {
        notebook.note(
            image::TARGET_FLOATING_TAG,
            format!("`{asked}` may name another image tomorrow; the plan uses the one of today, by its id"),
            "",
        );
    }
}

fn check_owner(target: &ImageFacts, asked: &str, notebook: &mut Notebook) {
    if target.id.is_empty() {
        notebook.blocker(
            image::TARGET_UNIDENTIFIED,
            format!("the engine gives no id for the target image `{asked}`"),
            &format!("`docker pull {asked}`, then check again"),
        );
    }
    // PostgreSQL does not run as root, and no PMM 3 image of upstream's is built so.
    if target.uid == 0 {
        notebook.blocker(
            image::TARGET_OWNER_ROOT,
            format!("the target image `{asked}` runs as root, which PMM 3's PostgreSQL refuses"),
            "use an image of upstream's, or one with `USER 1000`",
        );
    }
}

fn check_version(to: Option<Version>, asked: &str, notebook: &mut Notebook) {
    let Some(to) = to else {
        notebook.blocker(
            image::TARGET_VERSION_UNKNOWN,
            format!("the target image `{asked}` does not say which PMM 3 it is"),
            &format!(
                "name an image with a full version, such as `percona/pmm-server:{LAST_PINNED}`"
            ),
        );
        return;
    };
    let pinned =
        format!("migrate to `percona/pmm-server:{LAST_PINNED}` first, then update to {to}");
    if to >= PATH_ENDS {
        notebook.blocker(
            image::TARGET_TOO_NEW,
            format!("upstream has no way from PMM 2 to {to}"),
            &pinned,
        );
    } else if to >= POSTGRES_UPGRADE {
        notebook.warning(
            image::TARGET_POSTGRES_UPGRADE,
            format!("PMM {to} also upgrades PostgreSQL 14 to 18 at its first start, which upstream does not test from PMM 2"),
            &pinned,
        );
    } else if to > LAST_PINNED {
        notebook.warning(
            image::TARGET_BEYOND_TESTED,
            format!("PMM {to} is later than {LAST_PINNED}, the last that upstream's tool migrates PMM 2 to"),
            &pinned,
        );
    } else if to == BROKEN_ROLES {
        notebook.warning(
            image::TARGET_3_7_0,
            "PMM 3.7.0 does not start when the role `pmm-managed` has no SCRAM password; the plan heals roles first",
            &format!("choose `percona/pmm-server:{LAST_PINNED}`, where that is repaired"),
        );
    }
}

/// The reference has no digest and no full version, so the registry may move it.
fn floating(reference: &str) -> bool {
    if reference.contains("@sha256:") || reference.starts_with("sha256:") {
        return false;
    }
    let last = reference.rsplit('/').next().unwrap_or(reference);
    let Some((_, tag)) = last.split_once(':') else {
        return true;
    };
    // Two dots: `3.8.1`. `3`, `3.8` and `latest` move.
    Version::parse(tag).is_none() || tag.split('.').count() < 3
}

#[cfg(test)]
mod tests {
    use super::floating;

    #[test]
    fn only_a_full_version_or_a_digest_stands_still() {
        for reference in [
            "percona/pmm-server",
            "percona/pmm-server:3",
            "r:5000/pmm:3.8",
            "a/b:latest",
        ] {
            assert!(floating(reference), "{reference}");
        }
        for reference in [
            "percona/pmm-server:3.8.1",
            "r:5000/pmm:3.8.1",
            "pmm@sha256:9b1e",
        ] {
            assert!(!floating(reference), "{reference}");
        }
    }
}
