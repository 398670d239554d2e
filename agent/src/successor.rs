//! The settings of the container that takes the old one's place. Read from the engine when they are
//! needed: they hold secrets, so no plan and no event ever carries them.

use serde_json::{Value, json};

use crate::{
    engine::{
        ContainerInspect, Engine, EngineKind, ImageInspect,
        carry_over::{CarryOver, CarryOverOptions, carry_over},
        environment::{EnvTranslation, TargetVersion, translate_env, user_env},
    },
    error::StepError,
};

/// What the new container is created from.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The engine's create request and what goes with it.
    pub(crate) over: CarryOver,
    /// How many variables the user's environment has.
    pub(crate) variables: usize,
}

/// What the image is that the new container is created from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Successor<'a> {
    /// The image, by id.
    pub(crate) image_id: &'a str,
    /// Its version of PMM.
    pub(crate) version: &'a str,
    /// It is of the old image's major version, so that nothing has to be translated.
    pub(crate) same_major: bool,
    /// The volume that has the data, where the old container has it in its own layer.
    pub(crate) data_volume: Option<&'a str>,
}

/// Translates the settings of `old` for `new`.
///
/// # Errors
/// When an image is gone, or a setting cannot be carried over.
pub(crate) async fn settings(
    engine: &Engine,
    old: &ContainerInspect,
    new: Successor<'_>,
) -> Result<Settings, StepError> {
    let old_image = engine.inspect_image(old.image_id()).await?;
    let new_image = engine.inspect_image(new.image_id).await?;
    let translation = translate(old, &old_image, new.version, new.same_major);
    let options = CarryOverOptions {
        mac_from_networks: engine.hides_configured_mac(),
        no_ulimits: engine.kind() == EngineKind::Podman && engine.info().await?.rootless,
        same_major: new.same_major,
        data_volume: new.data_volume.map(str::to_owned),
        ..CarryOverOptions::default()
    };
    let over = carry_over(
        old.raw(),
        old_image.raw(),
        new_image.raw(),
        &translation.env,
        &options,
    )?;
    Ok(Settings {
        over,
        variables: translation.env.len(),
    })
}

/// The user's environment in the words of the target version.
pub(crate) fn translate(
    old: &ContainerInspect,
    old_image: &ImageInspect,
    version: &str,
    same_major: bool,
) -> EnvTranslation {
    let own = user_env(&old.env(), &old_image.env());
    if same_major {
        return EnvTranslation::unchanged(own);
    }
    translate_env(&own, TargetVersion::of(version))
}

/// BLAKE3 over what a person sets of a container; what the engine counts and measures is left out.
#[must_use]
pub(crate) fn settings_digest(container: &ContainerInspect) -> String {
    let raw = container.raw();
    let mut config = raw["Config"].clone();
    if let Some(fields) = config.as_object_mut() {
        fields.remove("Image");
    }
    let mounts: Vec<Value> = container
        .mounts()
        .iter()
        .map(|mount| {
            json!([
                mount.kind,
                mount.name,
                mount.source,
                mount.destination,
                mount.writable
            ])
        })
        .collect();
    let mut host = raw["HostConfig"].clone();
    // Three ways of saying "none"; after a fence was taken away an engine may use another one.
    host["PidsLimit"] = json!(container.pids_limit());
    let settings = json!({
        "config": config,
        "host": host,
        "mounts": mounts,
        "networks": container.networks(),
    });
    blake3::hash(settings.to_string().as_bytes())
        .to_hex()
        .to_string()
}
