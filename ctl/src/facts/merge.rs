//! Two views of one server made one: each agent is believed in what it alone can see.

use ferry_proto::{
    reserve_bytes,
    v1::{ClusterFacts, DataFacts, Facts, NewVolumeFacts},
};

/// The host agent's view (engine, container, images, who else mounts the data) together with the
/// view from beside the server (its programs and databases, the tree of its data).
#[must_use]
pub fn merge(outside: Facts, inside: Facts) -> Facts {
    let cluster = outside.cluster;
    Facts {
        server: inside.server.or(outside.server),
        data: match (outside.data, inside.data) {
            (Some(outside), Some(inside)) => {
                Some(on_claim(merge_data(outside, inside), cluster.as_ref()))
            }
            (outside, inside) => inside.or(outside),
        },
        observed: inside.observed.or(outside.observed),
        engine: outside.engine,
        container: outside.container,
        image: outside.image,
        target: outside.target,
        backups: outside.backups,
        clients: inside.clients,
        client_host: inside.client_host,
        cluster,
        arrival: outside.arrival,
    }
}

/// In a cluster the copy gets a claim of its own, as large as the data's: what is free on the node says nothing.
fn on_claim(data: DataFacts, cluster: Option<&ClusterFacts>) -> DataFacts {
    let Some(cluster) = cluster else { return data };
    DataFacts {
        backup_free_bytes: cluster.claim_bytes,
        backup_free_inodes: 0,
        backup_reserve_bytes: reserve_bytes(cluster.claim_bytes),
        backup_same_disk: false,
        ..data
    }
}

fn merge_data(outside: DataFacts, inside: DataFacts) -> DataFacts {
    let mut mounts_below = outside.mounts_below;
    for mount in inside.mounts_below {
        // The engine knows the names of those it made; only from inside are the others seen.
        if !mounts_below
            .iter()
            .any(|known| known.destination == mount.destination)
        {
            mounts_below.push(mount);
        }
    }
    // The copy goes where it was asked for, which the engine's host alone can see.
    let outside_folder = outside.backup_folder.clone();
    let folder = outside.backup_folder.filter(|it| it.failure.is_empty());
    let (free_bytes, free_inodes, reserve, same_disk) = folder.as_ref().map_or(
        (
            inside.backup_free_bytes,
            inside.backup_free_inodes,
            inside.backup_reserve_bytes,
            inside.backup_same_disk,
        ),
        |it| {
            (
                it.free_bytes,
                it.free_inodes,
                it.reserve_bytes,
                it.same_disk,
            )
        },
    );
    // It would be made where the engine keeps volumes, which is seen from inside.
    let new_volume = outside.new_volume.map(|volume| NewVolumeFacts {
        free_bytes: inside.backup_free_bytes,
        free_inodes: inside.backup_free_inodes,
        reserve_bytes: inside.backup_reserve_bytes,
        ..volume
    });
    let either = |first: String, second: String| if first.is_empty() { second } else { first };
    DataFacts {
        destination: either(outside.destination, inside.destination),
        mounts_below,
        read_only: outside.read_only || inside.read_only,
        other_containers: outside.other_containers,
        backup_folder: folder.or(outside_folder),
        backup_free_bytes: free_bytes,
        backup_free_inodes: free_inodes,
        backup_reserve_bytes: reserve,
        backup_same_disk: same_disk,
        new_volume,
        open_run: either(inside.open_run, outside.open_run),
        crossed_by: inside.crossed_by,
        ..inside
    }
}

#[cfg(test)]
mod tests {
    use ferry_proto::v1::{ContainerFacts, MountFact, ServerFacts};

    use super::*;

    fn mount(name: &str, destination: &str) -> MountFact {
        MountFact {
            name: name.into(),
            destination: destination.into(),
            ..MountFact::default()
        }
    }

    #[test]
    fn each_agent_is_believed_in_what_it_alone_can_see() {
        let outside = Facts {
            container: Some(ContainerFacts {
                name: "pmm".into(),
                ..ContainerFacts::default()
            }),
            data: Some(DataFacts {
                destination: "/srv".into(),
                mounts_below: vec![mount("backups", "/srv/backup")],
                other_containers: vec!["pmm-old".into()],
                ..DataFacts::default()
            }),
            ..Facts::default()
        };
        let inside = Facts {
            container: Some(ContainerFacts {
                name: "sidecar".into(),
                ..ContainerFacts::default()
            }),
            server: Some(ServerFacts {
                version: "2.44.1".into(),
                ..ServerFacts::default()
            }),
            data: Some(DataFacts {
                entries: 612_408,
                mounts_below: vec![mount("", "/srv/backup"), mount("", "/srv/logs")],
                other_containers: vec!["guessed".into()],
                open_run: "7f3a9c21".into(),
                ..DataFacts::default()
            }),
            ..Facts::default()
        };
        let merged = merge(outside, inside);
        assert_eq!(merged.container.unwrap().name, "pmm");
        assert_eq!(merged.server.unwrap().version, "2.44.1");
        let data = merged.data.unwrap();
        assert_eq!(data.destination, "/srv");
        assert_eq!(data.entries, 612_408);
        assert_eq!(data.other_containers, ["pmm-old"]);
        assert_eq!(data.open_run, "7f3a9c21");
        assert_eq!(
            data.mounts_below,
            [mount("backups", "/srv/backup"), mount("", "/srv/logs")]
        );
    }
}
