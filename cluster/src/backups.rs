//! The backups of a namespace: claims by their labels, whichever journal knows of them.

use ferry_agent::{
    engine::labels::{RUN_LABEL, SERVER_LABEL, role_filter},
    error::StepError,
    places::backup::ROLE,
};
use ferry_proto::v1::{BackupFacts, Facts, GetFactsRequest, KeptFacts};
use serde_json::Value;

use crate::{
    Kubernetes,
    api::{Kind, text},
    claims, look,
    record::record_name,
    volume::data_claim,
    workload::{Name, RUN_MARK},
};

pub(crate) async fn observe(
    cluster: &Kubernetes,
    request: &GetFactsRequest,
) -> Result<Facts, StepError> {
    let namespace = match request.namespace.as_str() {
        "" => &cluster.api.namespace,
        named => named,
    };
    let found = cluster
        .api
        .list(Kind::Claims, namespace, &role_filter(ROLE))
        .await?;
    let pods = cluster.api.list(Kind::Pods, namespace, "").await?;
    let mut backups = backups(namespace, &found, &pods);
    for backup in &mut backups {
        look_at_crossing(cluster, backup).await?;
    }
    Ok(Facts {
        engine: Some(look::engine(cluster, namespace).await?),
        backups,
        ..Facts::default()
    })
}

/// Says what the crossing keeps for the way back: a ConfigMap, which both `finish` and a rollback take away, and nobody else. Which of the two
/// has taken it the StatefulSet tells: what a rollback leaves a backup for is that the data could not be compared with it.
async fn look_at_crossing(cluster: &Kubernetes, backup: &mut BackupFacts) -> Result<(), StepError> {
    let server = Name::parse(&backup.server)?;
    let name = record_name(&server, &backup.run);
    let maps = Kind::ConfigMaps;
    match cluster.api.find(maps, &server.namespace, &name).await {
        Ok(None) => backup.crossing_over = is_over(cluster, &server, backup).await?,
        Ok(Some(_)) => {
            backup.kept = Some(KeptFacts {
                run: backup.run.clone(),
                what: format!("ConfigMap `{name}`"),
            });
        }
        // Who may not look does not know: that is what the facts say then.
        Err(error) if error.is_forbidden() => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Whether the server is what the crossing has made of it, or it and its data are gone.
async fn is_over(
    cluster: &Kubernetes,
    server: &Name,
    backup: &BackupFacts,
) -> Result<bool, StepError> {
    let find = async |kind, name: &str| match cluster.api.find(kind, &server.namespace, name).await
    {
        // Who may not look does not know.
        Err(error) if error.is_forbidden() => Ok(Some(Value::Null)),
        found => found,
    };
    if let Some(set) = find(Kind::StatefulSets, &server.name).await? {
        return Ok(was_made_by(&set, &backup.run));
    }
    let copy = backup.claim.rsplit('/').next().unwrap_or_default();
    match data_claim(copy, &backup.run) {
        Some(data) => Ok(find(Kind::Claims, data).await?.is_none()),
        None => Ok(false),
    }
}

fn was_made_by(set: &Value, run: &str) -> bool {
    set["spec"]["template"]["metadata"]["annotations"][RUN_MARK] == run
}

fn backups(namespace: &str, found: &[Value], pods: &[Value]) -> Vec<BackupFacts> {
    let backup = |claim: &Value| {
        let meta = &claim["metadata"];
        let (run, server) = (
            text(&meta["labels"][RUN_LABEL]),
            text(&meta["labels"][SERVER_LABEL]),
        );
        // Whose it is is known by both. One that was removed stays for a while, and is none any more.
        if run.is_empty() || server.is_empty() || claims::is_leaving(claim) {
            return None;
        }
        let name = text(&meta["name"]);
        Some(BackupFacts {
            run: run.to_owned(),
            server: format!("{namespace}/{server}"),
            claim: format!("{namespace}/{name}"),
            created: look::moment(&meta["creationTimestamp"]),
            used_by: claims::users(pods, name),
            ..BackupFacts::default()
        })
    };
    let mut backups: Vec<BackupFacts> = found.iter().filter_map(backup).collect();
    backups.sort_by(|a, b| (&a.server, &a.run).cmp(&(&b.server, &b.run)));
    backups
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_says_by_its_labels_whose_it_is() {
        let claim = |name: &str, labels: Value| json!({ "metadata": { "name": name, "labels": labels, "creationTimestamp": "2026-11-20T19:02:11Z" } });
        let found = [
            claim(
                "data-ferry-r1",
                json!({ "ferry.run": "r1", "ferry.server": "pmm", "ferry.role": "backup" }),
            ),
            claim("somebodys", json!({ "ferry.role": "backup" })),
            json!({ "metadata": {
                "name": "data-ferry-r2", "deletionTimestamp": "2026-11-21T00:00:00Z",
                "labels": { "ferry.run": "r2", "ferry.server": "pmm", "ferry.role": "backup" },
            }}),
        ];
        let pods = [json!({
            "metadata": { "name": "look" },
            "spec": { "volumes": [{ "name": "d", "persistentVolumeClaim": { "claimName": "data-ferry-r1" } }] },
        })];
        let seen = backups("monitoring", &found, &pods);
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].run, "r1");
        assert_eq!(seen[0].server, "monitoring/pmm");
        assert_eq!(seen[0].claim, "monitoring/data-ferry-r1");
        assert_eq!(seen[0].used_by, ["look"]);
        assert!(seen[0].created.is_some());
    }
}
