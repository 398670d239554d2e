//! What the policy puts between what the server is and what it shall become.

use super::{Notebook, Subject, catalogue::image};
use crate::recipes::{Wishes, policy};

/// What lies between the two: told, so that nobody is surprised by a second stop, and there before the first.
pub(super) fn check(wishes: &Wishes, subject: &Subject, notebook: &mut Notebook) {
    let (Some(from), Some(to)) = (subject.from, subject.to) else {
        return;
    };
    if wishes.hops.is_empty() {
        return;
    }
    let way: Vec<String> = wishes.hops.all().map(|it| it.version.to_string()).collect();
    let reason = match &wishes.hops.entry {
        Some(_) => format!("PMM {to} {}", policy::target(to).reason),
        None => format!("PMM {from} {}", policy::source(from).reason),
    };
    let text = format!(
        "{} goes from PMM {from} to {}, then {to}, each a run of its own with a stop, a backup and a proof: {reason}",
        subject.name,
        way.join(", then ")
    );
    let images: Vec<String> = wishes
        .hops
        .all()
        .map(|it| format!("`{}`", it.image))
        .collect();
    let hint = format!(
        "`--via` names other images than {}; `--direct` leaves them out",
        images.join(" and ")
    );
    notebook.note(image::HOPS, text, &hint);
    for hop in wishes.hops.all().filter(|it| !it.unavailable.is_empty()) {
        let text = format!(
            "the image `{}`, which comes first, cannot be had: {}",
            hop.image, hop.unavailable
        );
        let hint = format!(
            "`docker pull {0}` or `docker load` it; or name it as you have it, by `--via`",
            hop.image
        );
        notebook.blocker(image::HOP_UNAVAILABLE, text, &hint);
    }
}

#[cfg(test)]
mod tests {
    use ferry_proto::v1::{Facts, Finding, ImageFacts, Severity};

    use crate::{
        recipes::{Wishes, findings, hops},
        samples,
    };

    /// A server of this version, an image of that one, and how they are said to go together.
    fn seen(from: &str, to: &str) -> (Facts, Wishes) {
        let mut facts = samples::facts();
        facts.server.as_mut().unwrap().version = from.to_owned();
        facts.image.as_mut().unwrap().version = from.to_owned();
        let image = format!("percona/pmm-server:{to}");
        let target = facts.target.as_mut().unwrap();
        (target.version, target.reference) = (to.to_owned(), image.clone());
        let mut wishes = Wishes {
            target_image: image,
            ..samples::wishes()
        };
        wishes.hops = hops(&facts, &wishes);
        (facts, wishes)
    }

    fn about<'a>(found: &'a [Finding], code: &str) -> Option<&'a Finding> {
        found.iter().find(|it| it.code == code)
    }

    #[test]
    fn a_way_over_others_is_told_and_not_refused() {
        let (facts, wishes) = seen("2.41.2", "3.9.1");
        let found = findings(&facts, &wishes);
        let told = about(&found, "hops").unwrap();
        assert_eq!(told.severity(), Severity::Note);
        insta::assert_snapshot!(format!("{}\n{}", told.text, told.hint));
        for code in ["version-too-old", "target-beyond-tested"] {
            assert!(about(&found, code).is_none(), "{code}");
        }
    }

    #[test]
    fn an_image_on_the_way_that_cannot_be_had_stands_in_it() {
        let there = |version: &str| ImageFacts {
            present: true,
            version: version.to_owned(),
            ..ImageFacts::default()
        };
        let refused = |image: &ImageFacts| {
            let (facts, mut wishes) = seen("2.41.2", "3.8.1");
            wishes.hops.all_mut().for_each(|hop| hop.look(image));
            let found = findings(&facts, &wishes);
            about(&found, "hop-unavailable").map(|it| (it.severity(), it.text.clone()))
        };
        assert_eq!(refused(&there("2.44.1")), None);
        let other = refused(&there("2.44.0")).unwrap();
        assert_eq!(other.0, Severity::Blocker);
        assert!(other.1.ends_with("it is PMM 2.44.0"), "{}", other.1);
        for image in [there(""), ImageFacts::default()] {
            assert_eq!(refused(&image).unwrap().0, Severity::Blocker);
        }
        let failed = ImageFacts {
            failure: "denied".into(),
            ..there("2.44.1")
        };
        assert!(refused(&failed).unwrap().1.ends_with("denied"));
    }
}
