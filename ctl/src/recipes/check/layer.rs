//! Data that lies in the container itself: refused, unless it is to be copied to a new volume first, and whether that can be.

use ferry_proto::v1::{DataFacts, Facts, NewVolumeFacts};

use super::{Notebook, Subject, catalogue::data};
use crate::{
    recipes::{Wishes, policy, space::new_volume_bytes},
    units::{bytes, count},
};

/// The data is on no mount.
pub(super) fn check(data: &DataFacts, wishes: &Wishes, subject: &Subject, notebook: &mut Notebook) {
    let name = &subject.name;
    let text = format!(
        "`{}` is on no volume: it lies in {name} itself and would be lost with it",
        data.destination
    );
    // An image of PMM 3 declares the volume, so that every container of it has one; whatever this is, it is none that is known.
    if subject.from.is_some_and(|from| from.major != 2) {
        let hint = format!(
            "`--data-to-volume` is for PMM 2: make the container again by hand, with a volume that `docker cp {name}:{}` has filled, \
             then check again",
            data.destination
        );
        return notebook.blocker(data::DATA_WITHOUT_VOLUME, text, &hint);
    }
    let Some(asked) = &wishes.data_volume else {
        return notebook.blocker(
            data::DATA_WITHOUT_VOLUME,
            text,
            "say `--data-to-volume` to have it copied to a new volume first, by a run of its own (docs/no-volume.md); \
             a rehearsal needs that volume too",
        );
    };
    let Some(volume) = data.new_volume.as_ref().filter(|it| it.name == *asked) else {
        return notebook.blocker(
            data::DATA_UNOBSERVED,
            format!("the engine was not asked for a volume `{asked}`"),
            "use agent and controller of one release, then check again",
        );
    };
    if volume.taken {
        notebook.blocker(
            data::DATA_VOLUME_TAKEN,
            format!("there is a volume `{asked}` already, and data is never copied over one"),
            &format!(
                "name another by `--data-to-volume NAME`; or look what it holds, and `docker volume rm {asked}` when nobody needs it"
            ),
        );
    }
    notebook.note(
        data::DATA_TO_VOLUME,
        format!(
            "`{}` lies in {name} itself, and is copied to the new volume `{asked}` first; {name} is made again with it and stays PMM 2, \
             and the old container keeps the data that it has",
            data.destination
        ),
        "",
    );
    check_room(data, notebook);
}

fn check_room(data: &DataFacts, notebook: &mut Notebook) {
    let Some(volume) = &data.new_volume else {
        return;
    };
    // Of a server that does not run nothing was measured; that has a finding of its own.
    if data.bytes == 0 {
        return;
    }
    new_volume_room(data, volume, notebook);
}

/// Whether the data fits on a new volume where the engine keeps volumes.
pub(super) fn new_volume_room(data: &DataFacts, volume: &NewVolumeFacts, notebook: &mut Notebook) {
    let (free_bytes, free_inodes) = (volume.free_bytes, volume.free_inodes);
    let needed = new_volume_bytes(data).saturating_add(volume.reserve_bytes);
    let left = match volume.reserve_bytes {
        0 => String::new(),
        some => format!(" ({} of that left to others)", bytes(some)),
    };
    let have = format!(
        "the new volume needs {}{left}, {} are free where the engine keeps volumes",
        bytes(needed),
        bytes(free_bytes)
    );
    let hint = "free or add space where the engine keeps volumes, then check again";
    if free_bytes < needed {
        notebook.blocker(data::DATA_VOLUME_ROOM, have, hint);
    } else if free_inodes > 0 && free_inodes < data.entries {
        // File systems without an inode table say 0.
        let text = format!(
            "the new volume needs {} inodes, {} are free where the engine keeps volumes",
            count(data.entries),
            count(free_inodes)
        );
        notebook.blocker(data::DATA_VOLUME_ROOM, text, hint);
    } else {
        notebook.note(data::DATA_VOLUME_ROOM, have, "");
    }
}

/// The data is on a mount, and a volume was asked for all the same: as by the same command after the move was done.
pub(super) fn check_needless(data: &DataFacts, wishes: &Wishes, notebook: &mut Notebook) {
    let text = format!(
        "`{}` is on a mount already: nothing is copied to a volume first",
        data.destination
    );
    if wishes.is_move() {
        notebook.blocker(
            data::DATA_VOLUME_NEEDLESS,
            text,
            "go on with the crossing: `ferryctl migrate` with the image of PMM 3",
        );
    } else if wishes.data_volume.is_some() {
        notebook.note(data::DATA_VOLUME_NEEDLESS, text, "");
    }
}

/// The data as the crossing will find it: what the volume takes is free no more.
pub(super) fn after_the_move(data: &DataFacts, wishes: &Wishes) -> DataFacts {
    let mut after = data.clone();
    if wishes.data_volume.is_none() || data.new_volume.is_none() {
        return after;
    }
    let taken = new_volume_bytes(data);
    after.free_bytes = after.free_bytes.saturating_sub(taken);
    // A folder for the backup is on a disk of its own, or its look has said otherwise.
    let beside = after.backup_folder.as_ref().is_none_or(|it| it.same_disk);
    if beside {
        after.backup_free_bytes = after.backup_free_bytes.saturating_sub(taken);
    }
    after
}

/// The container is made again from its own image, so that has to be what the server is.
pub(super) fn check_version(facts: &Facts, subject: &Subject, notebook: &mut Notebook) {
    let is_pmm_2 = facts.target.as_ref().is_some_and(|it| it.pmm_major == 2);
    let Some(from) = subject.from else { return };
    if is_pmm_2 && subject.to == Some(from) {
        return;
    }
    let name = &subject.name;
    let is = match subject.to {
        Some(to) if is_pmm_2 => format!("is {to}"),
        Some(_) => "is no PMM 2".to_owned(),
        None => "does not say which version it is".to_owned(),
    };
    notebook.blocker(
        data::DATA_VOLUME_OTHER_VERSION,
        format!("{name} is PMM {from}, and its image {is}: made again from that it would not be what it is now"),
        &format!(
            "make the container again by hand from `{}`, with a volume that `docker cp {name}:/srv` has filled, then check again",
            policy::image_of("", from)
        ),
    );
}

#[cfg(test)]
mod tests {
    use ferry_proto::v1::{Facts, Finding, Severity};

    use crate::{
        recipes::{Wishes, findings, has_blocker, plan},
        samples,
    };

    fn found(spoil: impl FnOnce(&mut Facts, &mut Wishes)) -> Vec<Finding> {
        let (mut facts, mut wishes) = samples::in_the_layer();
        spoil(&mut facts, &mut wishes);
        findings(&facts, &wishes)
    }

    /// The crossing of the same server, as `check` looks at it with the flag.
    fn crossing(facts: &mut Facts, wishes: &mut Wishes) {
        facts.target = samples::facts().target;
        *wishes = Wishes {
            data_volume: wishes.data_volume.clone(),
            ..samples::wishes()
        };
    }

    fn severity(findings: &[Finding], code: &str) -> Option<Severity> {
        let found = findings.iter().find(|finding| finding.code == code);
        found.map(Finding::severity)
    }

    #[test]
    fn a_server_that_can_be_moved_has_no_blocker_before_it_and_after_it() {
        let found_now = found(|_, _| {});
        let codes: Vec<&str> = found_now.iter().map(|it| it.code.as_str()).collect();
        assert_eq!(codes, ["data-to-volume", "data-volume-room"]);
        let ahead = found(crossing);
        assert!(!has_blocker(&ahead), "{ahead:?}");
        for code in ["data-to-volume", "data-volume-room", "disk-room"] {
            assert_eq!(severity(&ahead, code), Some(Severity::Note), "{code}");
        }
    }

    #[test]
    fn whoever_does_not_choose_is_told_that_there_is_a_choice() {
        let refused = found(|facts, wishes| {
            crossing(facts, wishes);
            wishes.data_volume = None;
        });
        let finding = refused.iter().find(|it| it.code == "data-without-volume");
        let finding = finding.unwrap();
        assert_eq!(finding.severity(), Severity::Blocker);
        assert!(finding.hint.contains("--data-to-volume"), "{finding:?}");
    }

    #[test]
    fn each_way_in_which_a_volume_is_unfit_is_said() {
        let volume = |change: fn(&mut ferry_proto::v1::NewVolumeFacts)| {
            found(|facts, _| {
                let data = facts.data.as_mut().unwrap();
                change(data.new_volume.as_mut().unwrap());
            })
        };
        for (code, found) in [
            ("data-volume-taken", volume(|it| it.taken = true)),
            ("data-volume-room", volume(|it| it.free_bytes = 40 << 30)),
            ("data-volume-room", volume(|it| it.free_inodes = 1)),
            (
                "data-volume-room",
                volume(|it| it.reserve_bytes = 120 << 30),
            ),
            ("data-unobserved", volume(|it| it.name = "other".into())),
        ] {
            assert_eq!(severity(&found, code), Some(Severity::Blocker), "{code}");
        }
    }

    /// The volume and the backup of the crossing both have to fit.
    #[test]
    fn the_room_that_the_volume_takes_is_not_there_for_the_backup() {
        let with_free = |free: u64, spoil: fn(&mut Facts, &mut Wishes)| {
            found(|facts, wishes| {
                let data = facts.data.as_mut().unwrap();
                (data.free_bytes, data.backup_free_bytes) = (free, free);
                data.new_volume.as_mut().unwrap().free_bytes = free;
                spoil(facts, wishes);
            })
        };
        let one = 60 << 30;
        assert!(!has_blocker(&with_free(one, |_, _| {})));
        let both = with_free(one, crossing);
        assert_eq!(severity(&both, "disk-too-small"), Some(Severity::Blocker));
        assert_eq!(severity(&both, "data-volume-room"), Some(Severity::Note));
    }

    #[test]
    fn a_server_that_was_updated_inside_would_become_an_older_one() {
        let found = found(|facts, _| {
            facts.server.as_mut().unwrap().version = "2.44.2".into();
        });
        let code = "data-volume-other-version";
        assert_eq!(severity(&found, code), Some(Severity::Blocker));
    }

    #[test]
    fn a_pmm_3_is_not_moved() {
        let found = found(|facts, wishes| {
            crossing(facts, wishes);
            facts.server.as_mut().unwrap().version = "3.4.0".into();
        });
        let code = "data-without-volume";
        assert_eq!(severity(&found, code), Some(Severity::Blocker));
    }

    #[test]
    fn what_is_on_a_volume_is_not_moved_again() {
        let (facts, wishes) = samples::in_the_layer();
        let crossing = Wishes {
            data_volume: wishes.data_volume,
            ..samples::wishes()
        };
        let found = findings(&samples::facts(), &crossing);
        assert_eq!(
            severity(&found, "data-volume-needless"),
            Some(Severity::Note)
        );
        assert!(!has_blocker(&found));
        // And a plan that moves is not made of it.
        let mut on_volume = facts;
        on_volume.container = samples::facts().container;
        let again = Wishes {
            recipe: crate::recipes::Recipe::PmmMoveData,
            ..crossing
        };
        let found = findings(&on_volume, &again);
        assert_eq!(
            severity(&found, "data-volume-needless"),
            Some(Severity::Blocker)
        );
        let made = plan("docker:p", on_volume, &again, Default::default());
        assert!(made.is_err(), "{made:?}");
    }
}
