//! Creates the new container from the old one's settings. The settings are read from the engine at
//! that moment, not from the plan: they hold secrets, which a plan never does.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};
use serde_json::{Map, Value, json};

use crate::{
    compose,
    context::Context,
    engine::{ContainerInspect, EngineKind, labels::RUN_LABEL},
    error::StepError,
    fence, places,
    steps::{Work, count, done_with, host::new_container},
    successor::{self, Successor},
};

pub(in crate::steps) struct ReplaceContainer(pub(in crate::steps) v1::ReplaceContainer);

impl ReplaceContainer {
    /// The volume that takes the place of the old container's own layer.
    fn data_volume(&self) -> Option<&str> {
        Some(self.0.data_volume.as_str()).filter(|name| !name.is_empty())
    }

    /// Compose's file describes the new container: without this, Compose would make it again for the old one's labels.
    fn make_known_to_compose(&self, labels: &mut Map<String, Value>) {
        let hash = &self.0.compose_config_hash;
        if hash.is_empty() {
            return;
        }
        labels.insert(compose::CONFIG_HASH.to_owned(), json!(hash));
        if let Some(image) = labels.get_mut(compose::IMAGE) {
            *image = json!(self.0.image_id);
        }
    }
}

#[async_trait]
impl Work for ReplaceContainer {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let engine = &cx.surroundings.host()?.engine;
        let mut early = None;
        if let Some(there) = engine.find_container(&self.0.name).await? {
            places::check_ours(&there, &cx.run)?;
            // Half made by an attempt that was cut off: it is made again.
            early = new_container::remove(cx, &there).await?.warning;
        }
        let old = engine.inspect_container(&self.0.old_container_id).await?;
        let new = Successor {
            image_id: &self.0.image_id,
            version: &self.0.target_version,
            same_major: self.0.same_major,
            data_volume: self.data_volume(),
        };
        let mut carried = successor::settings(engine, &old, new).await?;
        // By now the old one has the fence's limit. The new one has it too, until it is its turn to run.
        let mut limit = Some(self.0.pids_limit).filter(|&limit| limit > 0);
        if engine.kind() == EngineKind::Podman {
            // Not told, it would be Podman's own default of 2048 and not "as many as it likes".
            limit = limit.or(Some(0));
        }
        new_container::note_limit(cx, self.0.pids_limit)?;
        let limit = fence::from_birth(engine).await?.or(limit);
        carried.over.body["HostConfig"]["PidsLimit"] = json!(limit);
        if let Some(labels) = carried.over.body["Labels"].as_object_mut() {
            labels.insert(RUN_LABEL.to_owned(), json!(cx.run));
            self.make_known_to_compose(labels);
        } else {
            carried.over.body["Labels"] = json!({ RUN_LABEL: cx.run });
        }
        cx.keep(&true)?;
        let created = engine.create(&self.0.name, &carried.over.body).await?;
        for (network, settings) in &carried.over.extra_networks {
            engine
                .connect_network(network, &created.id, settings)
                .await?;
        }
        let inspect = engine.inspect_container(&created.id).await?;
        // Nobody must start it before it is its turn; and no reboot, where the old one's policy could not be taken off and the new one
        // has it from the start, because it cannot be given one later.
        let unfenced = fence::close(engine, &created.id).await?;
        let summary = format!(
            "{}, {}, {}",
            count(inspect.ports().len() as u64, "port"),
            count(inspect.networks().len() as u64, "network"),
            count(carried.variables as u64, "variable"),
        );
        // Ports are translated for everybody (facts/pmm.md 7.4): nothing to look at.
        let (usual, unusual): (Vec<_>, Vec<_>) = carried
            .over
            .notes
            .into_iter()
            .partition(|note| note.code == "port-translated");
        for note in usual {
            cx.note(note.text);
        }
        let unusual = unusual.into_iter().map(|note| note.text);
        let warnings = unusual.chain(created.warnings).chain(unfenced);
        let warnings = warnings.chain(early).collect();
        Ok(done_with(summary, warnings))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let engine = &cx.surroundings.host()?.engine;
        let made = engine.inspect_container(&self.0.name).await?;
        let old = engine.inspect_container(&self.0.old_container_id).await?;
        let data = |container: &ContainerInspect| {
            container
                .mount_at(&self.0.data_destination)
                .map(|mount| (mount.kind.clone(), mount.name.clone(), mount.source.clone()))
        };
        if let Some(volume) = self.data_volume() {
            let is_it =
                |(kind, name, _): &(String, String, String)| kind == "volume" && name == volume;
            if !data(&made).as_ref().is_some_and(is_it) || data(&old).is_some() {
                return Err(StepError::new(
                    "wrong-volume",
                    format!(
                        "the new container does not mount volume `{volume}` at `{}`",
                        self.0.data_destination
                    ),
                ));
            }
        } else if data(&made).is_none() || data(&made) != data(&old) {
            return Err(StepError::new(
                "wrong-volume",
                format!(
                    "the new container does not mount the old one's data at `{}`",
                    self.0.data_destination
                ),
            ));
        }
        super::check_image(&made, &self.0.image_id)
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let engine = &cx.surroundings.host()?.engine;
        let Some(there) = engine.find_container(&self.0.name).await? else {
            return new_container::absent(cx);
        };
        if there.id() == self.0.old_container_id {
            return new_container::absent(cx);
        }
        places::check_ours(&there, &cx.run)?;
        Ok(new_container::remove(cx, &there).await?.outcome())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(hash: &str) -> Value {
        let step = ReplaceContainer(v1::ReplaceContainer {
            image_id: "sha256:new".into(),
            compose_config_hash: hash.into(),
            ..v1::ReplaceContainer::default()
        });
        let old = json!({
            compose::CONFIG_HASH: "old", compose::IMAGE: "sha256:old", "com.docker.compose.service": "pmm",
        });
        let mut labels = old.as_object().unwrap().clone();
        step.make_known_to_compose(&mut labels);
        Value::Object(labels)
    }

    #[test]
    fn compose_knows_the_new_container_by_the_edited_file_alone() {
        let edited = labels("new");
        assert_eq!(edited[compose::CONFIG_HASH], "new");
        assert_eq!(edited[compose::IMAGE], "sha256:new");
        assert_eq!(edited["com.docker.compose.service"], "pmm");
        let untouched = labels("");
        assert_eq!(untouched[compose::CONFIG_HASH], "old");
        assert_eq!(untouched[compose::IMAGE], "sha256:old");
    }
}
