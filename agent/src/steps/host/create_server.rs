//! Makes the container of a server whose data has come from another machine. There is none to carry settings over from: what it is made
//! of stands in the plan, and all of it was asked for.
//!
//! It gets its restart policy when it is proven, by the step that retires the agents, like every container that a run makes.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};
use serde_json::{Map, Value, json};

use crate::{
    arrival,
    context::Context,
    engine::labels::RUN_LABEL,
    error::StepError,
    fence, places,
    steps::{Work, count, done_with, host::new_container},
};

pub(in crate::steps) struct CreateServer(pub(in crate::steps) v1::CreateServer);

impl CreateServer {
    /// The engine's create request.
    fn body(&self, run: &str, policy: &str, pids_limit: Option<i64>) -> Value {
        let (mut exposed, mut bindings) = (Map::new(), Map::new());
        for port in &self.0.ports {
            let port = arrival::published(port);
            let binding = json!({ "HostIp": port.host_ip, "HostPort": port.host_port });
            exposed.insert(port.container.clone(), json!({}));
            let all = bindings.entry(port.container).or_insert_with(|| json!([]));
            if let Some(all) = all.as_array_mut() {
                all.push(binding);
            }
        }
        json!({
            "Image": self.0.image_id,
            "Labels": { RUN_LABEL: run },
            "ExposedPorts": exposed,
            "HostConfig": {
                "Binds": [format!("{}:{}", self.0.volume, self.0.data_destination)],
                "PortBindings": bindings,
                "RestartPolicy": { "Name": policy },
                "PidsLimit": pids_limit,
            },
        })
    }
}

#[async_trait]
impl Work for CreateServer {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        let engine = &host.engine;
        // To mount a volume that is gone would make an empty one.
        arrival::folder_of(host, &self.0.volume, &cx.run).await?;
        let mut early = None;
        if let Some(there) = engine.find_container(&self.0.name).await? {
            places::check_ours(&there, &cx.run)?;
            // Half made by an attempt that was cut off: it is made again.
            early = new_container::remove(cx, &there).await?.warning;
        }
        // An engine that cannot give it one later gives it one now. Either way nobody must start it before it is its turn.
        new_container::note_limit(cx, 0)?;
        let limit = fence::from_birth(engine).await?;
        let policy = if limit.is_some() { "no" } else { "always" };
        cx.keep(&true)?;
        let created = engine
            .create(&self.0.name, &self.body(&cx.run, policy, limit))
            .await?;
        let mut warnings = created.warnings;
        warnings.extend(fence::close(engine, &created.id).await?);
        warnings.extend(early);
        Ok(done_with(
            count(self.0.ports.len() as u64, "port"),
            warnings,
        ))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let engine = &cx.surroundings.host()?.engine;
        let made = engine.inspect_container(&self.0.name).await?;
        let mount = made.mount_at(&self.0.data_destination);
        if !mount.is_some_and(|it| it.kind == "volume" && it.name == self.0.volume) {
            return Err(StepError::new(
                "wrong-volume",
                format!(
                    "the new container does not mount volume `{}` at `{}`",
                    self.0.volume, self.0.data_destination
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
        places::check_ours(&there, &cx.run)?;
        Ok(new_container::remove(cx, &there).await?.outcome())
    }
}

#[cfg(test)]
mod tests {
    use ferry_proto::v1::PublishedPort;

    use super::*;

    #[test]
    fn it_has_what_was_asked_for_and_no_restart_policy_yet() {
        let port = |address: &str, host, container| PublishedPort {
            address: address.into(),
            host,
            container,
        };
        let step = CreateServer(v1::CreateServer {
            name: "pmm-server".into(),
            image_id: "sha256:old".into(),
            volume: "pmm-data".into(),
            data_destination: "/srv".into(),
            ports: vec![
                port("", 443, 443),
                port("127.0.0.1", 8443, 443),
                port("", 80, 80),
            ],
            ..v1::CreateServer::default()
        });
        let body = step.body("7f3a9c21", "no", Some(1));
        assert_eq!(body["Image"], "sha256:old");
        assert_eq!(body["Labels"][RUN_LABEL], "7f3a9c21");
        let host = &body["HostConfig"];
        assert_eq!(host["Binds"], json!(["pmm-data:/srv"]));
        assert_eq!(host["RestartPolicy"]["Name"], "no");
        assert_eq!(host["PidsLimit"], 1);
        assert_eq!(
            host["PortBindings"]["443/tcp"],
            json!([{ "HostIp": "", "HostPort": "443" }, { "HostIp": "127.0.0.1", "HostPort": "8443" }])
        );
        assert_eq!(body["ExposedPorts"], json!({ "443/tcp": {}, "80/tcp": {} }));
    }
}
