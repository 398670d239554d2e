//! Gives the StatefulSet the target's template while it has no pod, with the variables and the ports that belong to it. What was there
//! before is kept in the cluster first; undo puts it back.
//!
//! Only what may be changed of a StatefulSet is changed, so that it need not be made anew (facts/pmm.md 6, row 9).

use std::sync::Arc;

use async_trait::async_trait;
use ferry_agent::{context::Context, error::StepError, state_dir::StateDir, steps::Work};
use ferry_proto::v1::{self, Outcome};
use serde_json::{Value, json};

use super::{done, done_with};
use crate::{
    Kubernetes,
    api::{Kind, text},
    look,
    record::Before,
    successor::{self, Carried, Target},
    values::Values,
    workload::{self, Name},
};

pub(crate) struct PatchStatefulSet(pub(crate) Arc<Kubernetes>, pub(crate) v1::PatchStatefulSet);

/// How often an object that somebody else changes too is read again: the cluster itself writes its status.
const ATTEMPTS: u32 = 10;
/// The values for Helm, in the run's folder.
const VALUES: &str = "values.yaml";

#[async_trait]
impl Work for PatchStatefulSet {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let (cluster, server) = (&self.0, Name::parse(&self.1.stateful_set)?);
        // A pod that somebody has made would become the target's, or the old version's, in the middle of what it does.
        cluster.check_down(&server, &cx.run).await?;
        cx.keep(&true)?;
        let mut record = cluster
            .record(&server, &cx.run)
            .await?
            .ok_or_else(|| gone(&server))?;
        let mut set = cluster.set(&server).await?;
        let before = match &record.before {
            Some(before) => before.clone(),
            None => {
                let now = workload::digest(&set);
                if now != self.1.settings_digest {
                    return Err(StepError::new(
                        "server-changed",
                        format!("somebody has changed {server} since the plan was made"),
                    )
                    .hint("it is as they left it; `ferryctl plan` again"));
                }
                let before = self.before(&server, &set).await?;
                record.before = Some(before.clone());
                cluster.keep(&server, &cx.run, &record).await?;
                before
            }
        };
        // From what was, whatever an attempt that was cut off has done by now.
        set["spec"]["template"] = before.template.clone();
        let mut carried = self.carried(&server, &set, &before).await?;
        carried.template["metadata"]["annotations"][workload::RUN_MARK] = json!(cx.run);
        for (name, data) in &carried.config_maps {
            self.set_data(&server, name, data).await?;
        }
        let services = carried
            .services
            .iter()
            .map(|it| (text(&it["metadata"]["name"]), &it["spec"]["ports"]));
        for (name, ports) in services {
            self.set_ports(&server, name, ports).await?;
        }
        self.set_template(&server, &carried.template).await?;
        self.tell_helm(cx, &server, &set, &carried)
    }

    async fn verify(&self, _cx: &Context) -> Result<(), StepError> {
        let server = Name::parse(&self.1.stateful_set)?;
        let set = self.0.set(&server).await?;
        let image = &crate::pod::server_container(&set["spec"]["template"]["spec"])["image"];
        if *image == *self.1.reference {
            return Ok(());
        }
        Err(StepError::new(
            "server-changed",
            format!(
                "{server} has image {image} and not `{}`: somebody has put it back",
                self.1.reference
            ),
        )
        .hint("find out who does: Argo CD, Flux, an operator, `helm upgrade`"))
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let (cluster, server) = (&self.0, Name::parse(&self.1.stateful_set)?);
        if cx.first_kept::<bool>()?.is_none() {
            return Ok(done("the StatefulSet was not changed"));
        }
        let record = cluster
            .record(&server, &cx.run)
            .await?
            .ok_or_else(|| gone(&server))?;
        let Some(before) = record.before else {
            return Ok(done("the StatefulSet was not changed"));
        };
        cluster.check_down(&server, &cx.run).await?;
        for (name, data) in &before.config_maps {
            self.set_data(&server, name, data).await?;
        }
        for (name, ports) in &before.services {
            self.set_ports(&server, name, ports).await?;
        }
        self.set_template(&server, &before.template).await?;
        Ok(done("the StatefulSet is as it was"))
    }
}

impl PatchStatefulSet {
    async fn before(&self, server: &Name, set: &Value) -> Result<Before, StepError> {
        let around = look::around(&self.0, server, set).await?;
        let ports = |service: &Value| {
            (
                text(&service["metadata"]["name"]).to_owned(),
                service["spec"]["ports"].clone(),
            )
        };
        Ok(Before {
            template: set["spec"]["template"].clone(),
            services: around.services.iter().map(ports).collect(),
            config_maps: around.config_maps,
        })
    }

    async fn carried(
        &self,
        server: &Name,
        set: &Value,
        before: &Before,
    ) -> Result<Carried, StepError> {
        let mut around = look::around(&self.0, server, set).await?;
        around.config_maps.clone_from(&before.config_maps);
        for service in &mut around.services {
            if let Some(ports) = before.services.get(text(&service["metadata"]["name"])) {
                service["spec"]["ports"] = ports.clone();
            }
        }
        let target = Target {
            reference: &self.1.reference,
            version: &self.1.target_version,
            uid: self.1.user.as_ref().map_or(0, |user| user.uid),
        };
        successor::carry(set, &around, &target).map_err(|why| {
            StepError::new(
                "carry-over-refused",
                format!("{server} does not carry over: {why}"),
            )
            .hint("make the StatefulSet without that setting, then `ferryctl migrate` again")
        })
    }

    async fn set_template(&self, server: &Name, template: &Value) -> Result<(), StepError> {
        self.change(
            Kind::StatefulSets,
            server,
            &server.name,
            "/spec/template",
            template,
        )
        .await
    }

    async fn set_data(&self, server: &Name, name: &str, data: &Value) -> Result<(), StepError> {
        self.change(Kind::ConfigMaps, server, name, "/data", data)
            .await
    }

    async fn set_ports(&self, server: &Name, name: &str, ports: &Value) -> Result<(), StepError> {
        self.change(Kind::Services, server, name, "/spec/ports", ports)
            .await
    }

    /// Replaces one part of an object, and nothing else of it.
    async fn change(
        &self,
        kind: Kind,
        server: &Name,
        name: &str,
        part: &str,
        value: &Value,
    ) -> Result<(), StepError> {
        for attempt in 1.. {
            let mut object = self.0.api.get(kind, &server.namespace, name).await?;
            let there = object.pointer_mut(part);
            match there {
                Some(there) if there == value => return Ok(()),
                Some(there) => *there = value.clone(),
                None if value.is_null() => return Ok(()),
                None => {
                    let (above, field) = part.rsplit_once('/').unwrap_or_default();
                    if let Some(above) = object.pointer_mut(above) {
                        above[field] = value.clone();
                    }
                }
            }
            match self.0.api.replace(kind, &server.namespace, &object).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_conflict() && attempt < ATTEMPTS => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Writes the values out where Helm has made the StatefulSet. They have values of variables in them: for this user alone, and in no
    /// outcome.
    fn tell_helm(
        &self,
        cx: &Context,
        server: &Name,
        set: &Value,
        carried: &Carried,
    ) -> Result<Outcome, StepError> {
        let changed = format!(
            "the template, {} and {} changed",
            count(carried.config_maps.len(), "ConfigMap"),
            count(carried.services.len(), "service")
        );
        let meta = &set["metadata"];
        if meta["labels"]["app.kubernetes.io/managed-by"] != "Helm" {
            return Ok(done(changed));
        }
        let release = match text(&meta["annotations"]["meta.helm.sh/release-name"]) {
            "" => text(&meta["labels"]["app.kubernetes.io/instance"]),
            release => release,
        };
        let values = Values {
            release,
            namespace: &server.namespace,
            reference: &self.1.reference,
            version: &self.1.target_version,
            uid: self.1.user.as_ref().map_or(0, |user| user.uid),
            variables: &carried.variables,
        };
        let folder: &StateDir = &cx.run_dir;
        let path = folder.path().join(VALUES).display().to_string();
        folder.replace(VALUES, values.yaml(&path).as_bytes())?;
        let command = values.command(&path);
        let mut outcome = done_with(
            changed,
            vec![format!(
                "Helm does not know of this, and its next upgrade would put PMM 2 back: `{command}` tells it"
            )],
        );
        outcome.values.insert("values".to_owned(), path);
        Ok(outcome)
    }
}

fn count(number: usize, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{s}")
}

fn gone(server: &Name) -> StepError {
    StepError::new(
        "way-back-gone",
        format!("the way back is gone: somebody removed what the run had kept of {server} in the cluster"),
    )
    .hint("`helm rollback` has the StatefulSet as Helm knew it; the claim with the copy is still there")
}
