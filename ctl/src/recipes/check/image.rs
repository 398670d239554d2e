//! What the server is and what it shall become: which hop is known to work (facts/pmm.md 0.1).

use ferry_proto::v1::{Facts, ImageFacts};

use super::{Notebook, Subject, catalogue::image, hops, layer};
use crate::recipes::{
    Version, Wishes,
    policy::{self, Allowed, Rule, Verdict},
};

pub(super) fn check(facts: &Facts, wishes: &Wishes, subject: &Subject, notebook: &mut Notebook) {
    check_start(facts, wishes, subject, notebook);
    check_target(facts, wishes, subject, notebook);
}

fn check_start(facts: &Facts, wishes: &Wishes, subject: &Subject, notebook: &mut Notebook) {
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
    if wishes.is_move() {
        return layer::check_version(facts, subject, notebook);
    }
    hops::check(wishes, subject, notebook);
    if subject.is_update() {
        check_update(subject, notebook);
    } else if wishes.hops.start.is_none() {
        check_source(from, wishes, name, notebook);
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

fn check_source(from: Version, wishes: &Wishes, name: &str, notebook: &mut Notebook) {
    if from.major >= 3 {
        return already(notebook, name, &format!("PMM {from}"));
    }
    let rule = policy::source(from);
    let hop = policy::image_of(&wishes.target_image, policy::start());
    let text = format!("{name} is PMM {from}, which {}", rule.reason);
    let Some(code) = rule.code else { return };
    match rule.verdict {
        Verdict::Meant | Verdict::Allowed => {}
        Verdict::Doubted => {
            let hint = format!("go there first, if you can: `--via {hop}` beside your `--to`");
            notebook.warning(code, text, &hint);
        }
        // Nothing allows a start that is too old, so that a flag is none of the ways.
        Verdict::Refused | Verdict::Closed => {
            let hint = format!(
                "update to {} first: `ferryctl migrate docker:{name} --to {hop}`; without `--direct`, `migrate` goes there by itself",
                policy::start()
            );
            notebook.blocker(code, text, &hint);
        }
    }
}

/// Within a major version: what the rule on it says.
fn check_update(subject: &Subject, notebook: &mut Notebook) {
    let (Some(from), Some(to)) = (subject.from, subject.to) else {
        return;
    };
    let rule = policy::update(from, to);
    let text = format!("PMM {to} {}", rule.reason);
    match (rule.code, rule.verdict) {
        (Some(code), Verdict::Closed | Verdict::Refused) => {
            let hint = format!("name an image that is newer than {from}");
            return notebook.blocker(code, text, &hint);
        }
        (Some(code), _) => notebook.warning(code, text, ""),
        (None, _) => {}
    }
    let text = format!(
        "{} is updated from {from} to {to}: ports, paths and variables stay what they are",
        subject.name
    );
    notebook.note(image::UPDATE, text, "");
}

fn already(notebook: &mut Notebook, name: &str, what: &str) {
    notebook.blocker(
        image::ALREADY_PMM_3,
        format!("{name} is {what} already"),
        "name a later PMM 3 by `--to` to update it",
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
    let name_rule = policy::reference(asked, target);
    // Before it is pulled, and before anybody is sent to pull it.
    if !target.present && stands(name_rule, &wishes.allowed) {
        return floating(asked, target, wishes, notebook);
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
    let update = subject.is_update() || wishes.is_move();
    if target.pmm_major != 3 && !update {
        notebook.blocker(
            image::TARGET_NOT_PMM_3,
            format!("the target image `{asked}` is no PMM 3 server"),
            &format!(
                "name a PMM 3 image, such as `percona/pmm-server:{}`",
                policy::hop()
            ),
        );
        return;
    }
    check_owner(target, asked, notebook);
    if !update && wishes.hops.entry.is_none() {
        check_version(subject.to, wishes, notebook);
    }
    if name_rule.verdict == Verdict::Refused {
        floating(asked, target, wishes, notebook);
    }
}

fn stands(rule: &Rule, allowed: &Allowed) -> bool {
    rule.verdict == Verdict::Refused && !allowed.overrules(rule)
}

fn floating(asked: &str, target: &ImageFacts, wishes: &Wishes, notebook: &mut Notebook) {
    let rule = &policy::FLOATING;
    let text = format!("`{asked}` {}", rule.reason);
    if stands(rule, &wishes.allowed) {
        let today = match Version::parse(&target.version) {
            Some(version) => format!("PMM {version} of today"),
            None => "the image of today".to_owned(),
        };
        let hint = format!(
            "type `--to {}`; or say `--allow-floating-tag`, and the plan takes {today} by its id, whatever the tag names later",
            policy::hop_image(asked)
        );
        notebook.blocker(image::TARGET_FLOATING_TAG, text, &hint);
    } else {
        let text = format!("{text}; the plan uses the one of today, by its id");
        notebook.note(image::TARGET_FLOATING_TAG, text, "");
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
    if target.uid == 0 && target.pmm_major != 2 {
        notebook.blocker(
            image::TARGET_OWNER_ROOT,
            format!("the target image `{asked}` runs as root, which PMM 3's PostgreSQL refuses"),
            "use an image of upstream's, or one with `USER 1000`",
        );
    }
}

fn check_version(to: Option<Version>, wishes: &Wishes, notebook: &mut Notebook) {
    let asked = &wishes.target_image;
    let hop = policy::hop_image(asked);
    let Some(to) = to else {
        notebook.blocker(
            image::TARGET_VERSION_UNKNOWN,
            format!("the target image `{asked}` does not say which PMM 3 it is"),
            &format!("name an image with a full version, such as `{hop}`"),
        );
        return;
    };
    let rule = policy::target(to);
    let text = format!("PMM {to} {}", rule.reason);
    let pinned = if to > policy::hop() {
        format!("migrate with `--to {hop}` first, then update to {to}")
    } else {
        format!("type `--to {hop}`")
    };
    let Some(code) = rule.code else { return };
    match rule.verdict {
        Verdict::Meant | Verdict::Allowed => {}
        Verdict::Doubted => notebook.warning(code, text, &pinned),
        Verdict::Refused if wishes.allowed.overrules(rule) => notebook.warning(
            code,
            text,
            &format!("it is allowed by `--allow-target {}`", rule.name),
        ),
        Verdict::Refused => {
            let hint = format!(
                "{pinned}; or say `--allow-target {}`, and rehearse it",
                rule.name
            );
            notebook.blocker(code, text, &hint);
        }
        Verdict::Closed => notebook.blocker(code, text, &pinned),
    }
}
