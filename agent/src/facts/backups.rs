//! The backups that are there, and what a folder is like that one shall be made in.

mod kept;

use std::collections::BTreeMap;

use ferry_proto::v1::{BackupFacts, FolderFacts};
use pbjson_types::Timestamp;

use crate::{
    engine::{
        ContainerInspect,
        labels::{ROLE_LABEL, RUN_LABEL, SERVER_LABEL},
    },
    error::StepError,
    ledger::timestamp,
    places::{BackupPlace, backup},
    surroundings::Host,
};

/// Volumes by their labels, and of `folders` those that are there.
pub(super) async fn observe(
    host: &Host,
    folders: &[String],
) -> Result<Vec<BackupFacts>, StepError> {
    let role = (ROLE_LABEL.to_owned(), backup::ROLE.to_owned());
    let mut found = Vec::new();
    for volume in host.engine.list_volumes(&BTreeMap::from([role])).await? {
        let label = |name: &str| volume.labels.get(name).cloned().unwrap_or_default();
        let place = BackupPlace::Volume(volume.name.clone());
        found.push(BackupFacts {
            run: label(RUN_LABEL),
            server: label(SERVER_LABEL),
            created: moment(&volume.created),
            used_by: backup::users(host, &place).await?,
            volume: volume.name,
            ..BackupFacts::default()
        });
    }
    for folder in folders {
        let (run, server) = named_after(folder);
        let place = ferry_proto::v1::BackupPlace {
            run: run.clone(),
            folder: folder.clone(),
            ..Default::default()
        };
        let (place, _) = BackupPlace::of(Some(&place))?;
        // A disk that is not mounted now, or a folder of somebody else's, is no backup that is there.
        if backup::is_there(host, &place, &run).await.unwrap_or(false) {
            found.push(BackupFacts {
                run,
                server,
                folder: folder.clone(),
                used_by: backup::users(host, &place).await?,
                ..BackupFacts::default()
            });
        }
    }
    look_at_crossings(host, &mut found).await?;
    found.sort_by(|a, b| (&a.server, &a.run).cmp(&(&b.server, &b.run)));
    Ok(found)
}

/// Says of each what its crossing keeps for the way back.
async fn look_at_crossings(host: &Host, backups: &mut [BackupFacts]) -> Result<(), StepError> {
    if backups.is_empty() {
        return Ok(());
    }
    let all = host.engine.list_containers(&[]).await?;
    let mut servers = BTreeMap::new();
    for backup in backups {
        if !servers.contains_key(&backup.server) {
            let present = kept::present(host, &all, &backup.server).await?;
            servers.insert(backup.server.clone(), present);
        }
        let present = servers.get(&backup.server).and_then(Option::as_ref);
        // Only of a volume it is known by its name where the data was.
        let data = data_volume(backup);
        let gone = match data {
            Some(volume) => host.engine.find_volume(volume).await?.is_none(),
            None => false,
        };
        let crossing = kept::Crossing {
            run: &backup.run,
            server: &backup.server,
            created: backup.created.as_ref().map(|it| it.seconds),
        };
        let seen = kept::judge(&all, crossing, present, gone);
        (backup.kept, backup.crossing_over) = (seen.kept, seen.over);
    }
    Ok(())
}

/// The volume that a backup is a copy of, where its name tells. One that is called after the server is a copy of what has no name of its own.
fn data_volume(backup: &BackupFacts) -> Option<&str> {
    let suffix = format!("-ferry-{}", backup.run);
    let volume = backup.volume.strip_suffix(&suffix)?;
    Some(volume).filter(|it| !it.is_empty() && *it != backup.server)
}

/// `<server>-ferry-<run>` says whose it is.
fn named_after(folder: &str) -> (String, String) {
    let name = folder.rsplit('/').next().unwrap_or_default();
    let (server, run) = name.rsplit_once("-ferry-").unwrap_or_default();
    (run.to_owned(), server.to_owned())
}

fn moment(text: &str) -> Option<Timestamp> {
    let moment: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(moment.as_millisecond()).ok().map(timestamp)
}

/// What the folder is like. That it cannot be used is a fact like any other; only an engine that
/// does not answer is an error.
pub(super) async fn folder(
    host: &Host,
    server: &ContainerInspect,
    data: &str,
    path: &str,
) -> Result<FolderFacts, StepError> {
    let facts = FolderFacts {
        path: path.to_owned(),
        ..FolderFacts::default()
    };
    let mount = server.mount_at(data);
    let source = mount.map(|mount| {
        if mount.name.is_empty() {
            mount.source
        } else {
            mount.name
        }
    });
    match backup::look(host, path, source.as_deref()).await {
        Ok(looked) => Ok(FolderFacts {
            keeps_owners: looked.keeps_owners,
            keeps_attributes: looked.keeps_attributes,
            in_memory: looked.in_memory,
            inside_data: looked.inside_data,
            same_disk: looked.same_disk,
            free_bytes: looked.free_bytes,
            free_inodes: looked.free_inodes,
            reserve_bytes: looked.reserve_bytes,
            ..facts
        }),
        Err(error) if backup::is_about_folder(&error) => Ok(FolderFacts {
            failure: error.to_string(),
            ..facts
        }),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_says_by_its_name_whose_it_is() {
        let of = |path| named_after(path);
        let pair = |run: &str, server: &str| (run.to_owned(), server.to_owned());
        assert_eq!(of("/mnt/b/pmm-ferry-7f3a9c21"), pair("7f3a9c21", "pmm"));
        assert_eq!(of("/mnt/b/a-ferry-b-ferry-r1-2"), pair("r1-2", "a-ferry-b"));
        assert_eq!(of("/mnt/b/other"), pair("", ""));
    }

    #[test]
    fn a_volume_says_by_its_name_what_it_is_a_copy_of() {
        let of = |volume: &str| {
            let backup = BackupFacts {
                run: "r1".into(),
                server: "pmm".into(),
                volume: volume.into(),
                ..BackupFacts::default()
            };
            data_volume(&backup).map(str::to_owned)
        };
        assert_eq!(of("pmm-data-ferry-r1").as_deref(), Some("pmm-data"));
        // A folder of the host, or a volume that nobody has named.
        assert_eq!(of("pmm-ferry-r1"), None);
        assert_eq!(of("other"), None);
        assert_eq!(of(""), None);
    }

    #[test]
    fn moments_of_engines_are_read_in_either_form() {
        assert!(moment("2026-11-20T19:02:11Z").is_some());
        assert!(moment("2026-11-20T19:02:11+01:00").is_some());
        assert_eq!(moment(""), None);
    }
}
