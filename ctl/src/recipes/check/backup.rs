//! Where the backup goes: whether there is room for all that a crossing needs, and whether a folder
//! that was asked for can hold a copy that is worth something.

use ferry_proto::v1::{DataFacts, Facts, FolderFacts};

use super::{Notebook, catalogue::backup};
use crate::{
    recipes::{Backup, Wishes, space::Space},
    units::{bytes, count},
};

pub(super) fn check(facts: &Facts, data: &DataFacts, wishes: &Wishes, notebook: &mut Notebook) {
    let at = match (&wishes.backup, &data.backup_folder) {
        (Backup::NewVolume, _) => "where the engine keeps volumes".to_owned(),
        (Backup::Folder(path), Some(folder)) if folder.path == *path => {
            if !check_folder(folder, notebook) {
                return;
            }
            format!("in `{path}`")
        }
        (Backup::Folder(path), _) => {
            notebook.blocker(
                backup::BACKUP_FOLDER_UNOBSERVED,
                format!("the folder `{path}` was not looked at"),
                "use agent and controller of one release, then check again",
            );
            return;
        }
    };
    // Of a server that does not run nothing was measured; that has a finding of its own.
    if data.bytes > 0 {
        let server = facts.server.clone().unwrap_or_default();
        check_space(data, Space::of(&server, data, wishes.recipe), &at, notebook);
    }
}

/// False: it cannot be used at all, and what is free in it means nothing.
fn check_folder(folder: &FolderFacts, notebook: &mut Notebook) -> bool {
    let path = &folder.path;
    if !folder.failure.is_empty() {
        notebook.blocker(
            backup::BACKUP_FOLDER_UNUSABLE,
            format!("the backup cannot be made in `{path}`: {}", folder.failure),
            "name a folder that is there on the engine's host and can be written to, with its disk mounted, then check again",
        );
        return false;
    }
    if folder.inside_data {
        notebook.blocker(
            backup::BACKUP_INSIDE_DATA,
            format!("`{path}` lies in the server's data: the copy would be a part of what it is a copy of"),
            "name a folder outside of it, best on another disk, then check again",
        );
    }
    if !folder.keeps_owners {
        notebook.blocker(
            backup::BACKUP_LOSES_OWNERS,
            format!("the file system of `{path}` does not keep owners and modes"),
            "name a folder on ext4, XFS or the like; a network mount must let root give files away",
        );
    }
    if folder.in_memory {
        notebook.blocker(
            backup::BACKUP_IN_MEMORY,
            format!("`{path}` is in memory: a backup there is gone when the host restarts"),
            "name a folder on a disk, then check again",
        );
    }
    if !folder.keeps_attributes {
        notebook.warning(
            backup::BACKUP_LOSES_ATTRIBUTES,
            format!("the file system of `{path}` takes no extended attributes"),
            "if a file of the data has some, the copy fails, before the server is stopped",
        );
    }
    if folder.same_disk {
        notebook.note(
            backup::BACKUP_SAME_DISK,
            format!(
                "`{path}` is on the file system of the server's data: a disk that fails takes both"
            ),
            "",
        );
    }
    true
}

fn check_space(data: &DataFacts, space: Space, at: &str, notebook: &mut Notebook) {
    let (needed, free) = (space.at_backup(), data.backup_free_bytes);
    let have = format!(
        "the backup needs {}, {} are free {at}",
        space.backup_words(),
        bytes(free)
    );
    // ClickHouse and PostgreSQL rewrite parts of theirs at the first start (facts/pmm.md 6, row 27).
    let margin = data.bytes / 10;
    let more = format!("free or add space {at}");
    let again = format!("{more}, then check again");
    let tight = |notebook: &mut Notebook, have: &str, hint: &str| {
        let why = "little is left for what PMM 3 rewrites at its first start";
        notebook.warning(backup::DISK_TIGHT, format!("{have}: {why}"), hint);
    };
    if free < needed {
        notebook.blocker(backup::DISK_TOO_SMALL, have, &again);
    } else if data.backup_same_disk && free - needed < margin {
        tight(notebook, &have, &more);
    } else {
        notebook.note(backup::DISK_ROOM, have, "");
    }
    if !data.backup_same_disk {
        let (needed, free) = (space.at_data(), data.free_bytes);
        let have = format!(
            "the proof of the dumps needs {} on the disk of the data, {} are free there",
            space.data_words(),
            bytes(free)
        );
        let more = "free or add space on the disk of the data";
        if free < needed {
            let again = format!("{more}, then check again");
            notebook.blocker(backup::DATA_DISK_TOO_SMALL, have, &again);
        } else if free - needed < margin {
            tight(notebook, &have, more);
        } else if needed > 0 {
            notebook.note(backup::DATA_DISK_ROOM, have, "");
        }
    }
    // File systems without an inode table, such as Btrfs, say 0.
    if data.backup_free_inodes > 0 && data.backup_free_inodes < data.entries {
        notebook.blocker(
            backup::INODES_TOO_FEW,
            format!(
                "the copy needs {} inodes, {} are free {at}",
                count(data.entries),
                count(data.backup_free_inodes)
            ),
            &again,
        );
    }
}

#[cfg(test)]
mod tests {
    use ferry_proto::v1::{Finding, Severity};

    use super::*;
    use crate::{
        recipes::{findings, has_blocker},
        samples,
    };

    /// What is found of a folder that is good but for `spoil`.
    fn found(spoil: impl FnOnce(&mut FolderFacts)) -> Vec<Finding> {
        let mut folder = FolderFacts {
            path: "/mnt/b".into(),
            keeps_owners: true,
            keeps_attributes: true,
            free_bytes: 128 << 30,
            ..FolderFacts::default()
        };
        spoil(&mut folder);
        let mut facts = samples::facts();
        let data = facts.data.as_mut().unwrap();
        data.backup_same_disk = folder.same_disk;
        data.backup_folder = Some(folder);
        let wishes = Wishes {
            backup: Backup::Folder("/mnt/b".into()),
            ..samples::wishes()
        };
        findings(&facts, &wishes)
    }

    fn severity(findings: &[Finding], code: &str) -> Option<Severity> {
        let found = findings.iter().find(|finding| finding.code == code);
        found.map(Finding::severity)
    }

    #[test]
    fn a_good_folder_is_no_reason_to_stop() {
        let found = found(|_| {});
        assert!(!has_blocker(&found), "{found:?}");
        let room = found.iter().find(|it| it.code == "disk-room").unwrap();
        assert!(room.text.ends_with("are free in `/mnt/b`"), "{}", room.text);
        assert!(severity(&found, "data-disk-room").is_some());
    }

    #[test]
    fn each_way_in_which_a_folder_is_unfit_is_said() {
        type Case = (&'static str, Severity, fn(&mut FolderFacts));
        let cases: [Case; 6] = [
            ("backup-folder-unusable", Severity::Blocker, |f| {
                f.failure = "it is read-only".into();
            }),
            ("backup-inside-data", Severity::Blocker, |f| {
                f.inside_data = true;
            }),
            ("backup-loses-owners", Severity::Blocker, |f| {
                f.keeps_owners = false;
            }),
            ("backup-in-memory", Severity::Blocker, |f| {
                f.in_memory = true
            }),
            ("backup-loses-attributes", Severity::Warning, |f| {
                f.keeps_attributes = false;
            }),
            ("backup-same-disk", Severity::Note, |f| f.same_disk = true),
        ];
        for (code, wanted, spoil) in cases {
            let found = found(spoil);
            assert_eq!(severity(&found, code), Some(wanted), "{code}: {found:?}");
            let it = found.iter().find(|it| it.code == code).unwrap();
            assert!(it.text.contains("`/mnt/b`"), "{}", it.text);
            assert_eq!(it.hint.is_empty(), wanted == Severity::Note, "{code}");
        }
    }

    #[test]
    fn a_folder_that_nobody_looked_at_is_not_relied_on() {
        let wishes = Wishes {
            backup: Backup::Folder("/mnt/b".into()),
            ..samples::wishes()
        };
        let found = findings(&samples::facts(), &wishes);
        let code = "backup-folder-unobserved";
        assert_eq!(severity(&found, code), Some(Severity::Blocker));
    }

    #[test]
    fn two_disks_are_two_accounts() {
        let facts = |same_disk, free_bytes, backup_free_bytes| {
            let mut facts = samples::facts();
            let data = facts.data.as_mut().unwrap();
            data.backup_same_disk = same_disk;
            data.free_bytes = free_bytes;
            data.backup_free_bytes = backup_free_bytes;
            findings(&facts, &samples::wishes())
        };
        let small = facts(false, 1 << 20, 128 << 30);
        assert_eq!(
            severity(&small, "data-disk-too-small"),
            Some(Severity::Blocker)
        );
        assert_eq!(severity(&small, "disk-too-small"), None);
        let tight = facts(false, 3 << 30, 128 << 30);
        assert_eq!(severity(&tight, "disk-tight"), Some(Severity::Warning));
        // What is written where the copy is made is no matter of the data's disk.
        let full_there = facts(false, 128 << 30, 42 << 30);
        assert_eq!(severity(&full_there, "disk-tight"), None);
    }
}
