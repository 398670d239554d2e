//! What the server's data is as a tree: how many entries, whose, and what stands in the way.

use std::path::{Path, PathBuf};

use ferry_proto::v1::{DataFacts, LedgerEntry, MountFact, NameFact, OwnerCount, StepStatus};

use crate::{
    error::StepError,
    ledger::Ledger,
    server::{ServerRoot, users::Users},
    state_dir::STATE_DIR_NAME,
    tree::{Root, TreeError, Watch, count, fs_space},
};

/// Where the data is.
pub(super) struct Tree {
    /// Its path, for the server and for this agent.
    pub(super) data: PathBuf,
    /// The server's tree, where the data lies in the server's own layer and this agent has it only by way of that.
    pub(super) layer_of: Option<ServerRoot>,
}

impl Tree {
    /// On a mount that this agent has too.
    pub(super) fn at(data: PathBuf) -> Self {
        Self {
            data,
            layer_of: None,
        }
    }

    fn open(&self) -> Result<Root, TreeError> {
        match &self.layer_of {
            Some(root) => root.tree(&self.data),
            None => Root::open(&self.data, None),
        }
    }
}

/// A mount below the data, by the path that the server and its engine know it by.
fn mount_below(data: &Path, path: &Path, read_only: bool) -> MountFact {
    MountFact {
        destination: data.join(path).display().to_string(),
        read_only,
        ..MountFact::default()
    }
}

pub(super) async fn observe(
    tree: Tree,
    engine_disk: Option<PathBuf>,
) -> Result<DataFacts, StepError> {
    let data = tree.data.clone();
    let runs = Runs::of(&Ledger::at(&data, STATE_DIR_NAME).entries("")?);
    let work = move || -> Result<DataFacts, TreeError> {
        let root = tree.open()?;
        let stats = count(&root, &Watch::default())?;
        let mut space = fs_space(&root)?;
        // The copy becomes a volume on the engine's own disk, which need not be the data's.
        let (backup, same_disk) = match &engine_disk {
            Some(folder) => {
                let folder = Root::open(folder, None)?;
                (fs_space(&folder)?, folder.dev() == root.dev())
            }
            None => (space, true),
        };
        // A layer shows a device of its own, and what counts is the disk that its data will be on.
        let same_disk = same_disk || tree.layer_of.is_some();
        if tree.layer_of.is_some() {
            space = backup;
        }
        let owners = stats.by_owner.iter().map(|(owner, entries)| OwnerCount {
            uid: owner.uid,
            gid: owner.gid,
            entries: *entries,
        });
        let below = stats
            .mounts_below
            .iter()
            .map(|(path, read_only)| mount_below(&data, path, *read_only));
        Ok(DataFacts {
            destination: data.display().to_string(),
            entries: stats.entries,
            bytes: stats.bytes_allocated,
            free_bytes: space.free_bytes,
            free_inodes: space.free_inodes,
            backup_free_bytes: backup.free_bytes,
            backup_free_inodes: backup.free_inodes,
            reserve_bytes: space.reserve_bytes(),
            backup_reserve_bytes: backup.reserve_bytes(),
            backup_same_disk: same_disk,
            open_run: runs.open,
            crossed_by: runs.crossed,
            owners: owners.collect(),
            hard_links_outside: stats.hard_links_outside.first.clone(),
            hard_links_outside_count: stats.hard_links_outside.count,
            mounts_below: below.collect(),
            immutable: stats.immutable.first.clone(),
            immutable_count: stats.immutable.count,
            ..DataFacts::default()
        })
    };
    Ok(crate::blocking::run(work).await?)
}

/// Users by name and number.
pub(super) fn users(names: &Users) -> Vec<NameFact> {
    let all = names.users().map(|user| NameFact {
        name: user.name.clone(),
        number: user.uid,
    });
    all.collect()
}

/// Groups by name and number.
pub(super) fn groups(names: &Users) -> Vec<NameFact> {
    let all = names.groups().map(|group| NameFact {
        name: group.name.clone(),
        number: group.gid,
    });
    all.collect()
}

/// The steps that change the data for the target.
const CHANGING: [&str; 3] = ["set-aside-files", "transfer-ownership", "hand-over-volume"];
/// The one of them that only a crossing to the next major version has.
const CROSSING: &str = "transfer-ownership";
/// The step that proves the target.
const PROVING: &str = "compare-baseline";

/// The runs that have changed the data for a target and were not taken back.
#[derive(Debug, Default, PartialEq, Eq)]
struct Runs {
    /// Did not come to its proof: the data may be half changed.
    open: String,
    /// Has carried the data to the next major version, and proven that. Seen on a PMM 2 it means that somebody started the old
    /// server on the new one's data.
    crossed: String,
}

impl Runs {
    fn of(entries: &[LedgerEntry]) -> Self {
        let stands = |entry: &&LedgerEntry| entry.status().needs_undo();
        let proven = |run: &str| {
            let good = |it: &LedgerEntry| {
                matches!(it.status(), StepStatus::Succeeded | StepStatus::Warned)
            };
            let of_run = entries.iter().filter(|it| it.run == run);
            of_run.into_iter().any(|it| it.step == PROVING && good(it))
        };
        let changing = entries
            .iter()
            .filter(|it| CHANGING.contains(&it.step.as_str()));
        let (proven, open): (Vec<_>, Vec<_>) =
            changing.filter(stands).partition(|it| proven(&it.run));
        let crossed = proven.into_iter().find(|it| it.step == CROSSING);
        let name = |entry: Option<&LedgerEntry>| entry.map(|it| it.run.clone()).unwrap_or_default();
        Self {
            open: name(open.first().copied()),
            crossed: name(crossed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check compares it with `/srv/nginx`.
    #[test]
    fn a_mount_below_is_named_from_the_root() {
        let mount = mount_below(Path::new("/srv"), Path::new("nginx"), true);
        assert_eq!((&*mount.destination, mount.read_only), ("/srv/nginx", true));
    }

    fn entry(run: &str, step: &str, status: StepStatus) -> LedgerEntry {
        LedgerEntry {
            run: run.into(),
            step: step.into(),
            status: status.into(),
            ..LedgerEntry::default()
        }
    }

    fn runs(entries: &[(&str, &str, StepStatus)]) -> (String, String) {
        let entries = entries
            .iter()
            .map(|(run, step, status)| entry(run, step, *status));
        let Runs { open, crossed } = Runs::of(&Vec::from_iter(entries));
        (open, crossed)
    }

    #[test]
    fn a_run_is_open_until_its_target_was_proven() {
        use StepStatus::{Failed, Running, Succeeded, Undone, Warned};
        let of = |open: &str, crossed: &str| (open.to_owned(), crossed.to_owned());
        let transferred = ("a", "transfer-ownership", Succeeded);
        let handed_over = ("a", "hand-over-volume", Succeeded);
        assert_eq!(runs(&[("a", "copy-volume", Succeeded)]), of("", ""));
        assert_eq!(runs(&[("a", "transfer-ownership", Running)]), of("a", ""));
        assert_eq!(runs(&[transferred, handed_over]), of("a", ""));
        for (proof, expected) in [
            (Running, of("a", "")),
            (Failed, of("a", "")),
            (Warned, of("", "a")),
            (Succeeded, of("", "a")),
        ] {
            let proof = ("a", "compare-baseline", proof);
            assert_eq!(runs(&[transferred, handed_over, proof]), expected);
        }
        let back = [
            ("a", "transfer-ownership", Undone),
            ("a", "hand-over-volume", Undone),
            ("a", "compare-baseline", Undone),
        ];
        assert_eq!(runs(&back), of("", ""));
    }

    /// An update within PMM 2, proven, and another run on its data that was cut off.
    #[test]
    fn a_proven_update_is_over_and_speaks_for_no_other_run() {
        use StepStatus::{Running, Succeeded};
        let update = [
            ("a", "hand-over-volume", Succeeded),
            ("a", "compare-baseline", Succeeded),
        ];
        assert_eq!(runs(&update), (String::new(), String::new()));
        let mut both = update.to_vec();
        both.push(("b", "hand-over-volume", Running));
        assert_eq!(runs(&both), ("b".to_owned(), String::new()));
    }
}
