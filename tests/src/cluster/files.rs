//! What a pod's volumes are on this machine, and what the kubelet does to their owners.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::store::Store;
use crate::command::docker;
use crate::{Error, Result};

/// What `docker run --volume` takes for each volume of a pod, by name. `None`: a claim is not there yet.
pub(super) fn sources(
    store: &Store,
    id: &str,
    folder: &Path,
    pod: &Value,
) -> Result<Option<Vec<(String, String)>>> {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    let own = folder.join(pod["metadata"]["uid"].as_str().unwrap_or_default());
    let mut sources = Vec::new();
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        let name = volume["name"].as_str().unwrap_or_default();
        let claim = volume["persistentVolumeClaim"]["claimName"].as_str();
        let source = if let Some(claim) = claim {
            if store
                .get("persistentvolumeclaims", namespace, claim)
                .is_err()
            {
                return Ok(None);
            }
            let volume = format!("{id}-{claim}");
            docker(&["volume", "create", &volume])?;
            volume
        } else {
            let path = own.join(name);
            fs_err::create_dir_all(&path)?;
            fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o777))?;
            for (file, content) in contents(store, namespace, volume)? {
                fs_err::write(path.join(file), content)?;
            }
            path.display().to_string()
        };
        sources.push((name.to_owned(), source));
    }
    Ok(Some(sources))
}

/// The files of a volume that is made of a secret or a ConfigMap.
fn contents(store: &Store, namespace: &str, volume: &Value) -> Result<Vec<(String, Vec<u8>)>> {
    let secret = volume["secret"]["secretName"].as_str();
    let map = volume["configMap"]["name"].as_str();
    let found = match (secret, map) {
        (Some(name), _) => store.get("secrets", namespace, name),
        (_, Some(name)) => store.get("configmaps", namespace, name),
        _ => return Ok(Vec::new()),
    };
    let found = found.map_err(|status| Error::of(status.to_string()))?;
    let data = found["data"].as_object().into_iter().flatten();
    let files = data.map(|(name, value)| {
        let text = value.as_str().unwrap_or_default();
        let bytes = if secret.is_some() {
            STANDARD.decode(text).unwrap_or_default()
        } else {
            text.as_bytes().to_vec()
        };
        (name.clone(), bytes)
    });
    Ok(files.collect())
}

/// The variables of a container, as the kubelet puts them together.
pub(super) fn variables(
    store: &Store,
    namespace: &str,
    container: &Value,
) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: String| {
        all.retain(|(known, _)| known != name);
        all.push((name.to_owned(), value));
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let decoded = |value: &Value| {
        let bytes = STANDARD.decode(text(value)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    for source in container["envFrom"].as_array().into_iter().flatten() {
        let map = source["configMapRef"]["name"]
            .as_str()
            .and_then(|it| store.get("configmaps", namespace, it).ok());
        let secret = source["secretRef"]["name"]
            .as_str()
            .and_then(|it| store.get("secrets", namespace, it).ok());
        for (name, value) in map
            .iter()
            .flat_map(|it| it["data"].as_object().into_iter().flatten())
        {
            set(name, text(value));
        }
        for (name, value) in secret
            .iter()
            .flat_map(|it| it["data"].as_object().into_iter().flatten())
        {
            set(name, decoded(value));
        }
    }
    for entry in container["env"].as_array().into_iter().flatten() {
        let from = &entry["valueFrom"]["configMapKeyRef"];
        let value = match from["name"].as_str() {
            Some(map) => {
                let map = store
                    .get("configmaps", namespace, map)
                    .unwrap_or_else(|_| json!({}));
                text(&map["data"][from["key"].as_str().unwrap_or_default()])
            }
            None => text(&entry["value"]),
        };
        set(entry["name"].as_str().unwrap_or_default(), value);
    }
    all
}

/// What the kubelet does before a pod with an `fsGroup` starts: the group, and what lets it write, on all of a claim's files.
pub(super) fn give_to_group(claim_volume: &str, context: &Value) -> Result<()> {
    let Some(group) = context["fsGroup"]
        .as_u64()
        .and_then(|it| u32::try_from(it).ok())
    else {
        return Ok(());
    };
    let root = PathBuf::from(docker(&[
        "volume",
        "inspect",
        "--format",
        "{{.Mountpoint}}",
        claim_volume,
    ])?);
    let meta = fs_err::metadata(&root)?;
    let fits = meta.gid() == group && meta.mode() & 0o2070 == 0o2070;
    if context["fsGroupChangePolicy"] == "OnRootMismatch" && fits {
        return Ok(());
    }
    walk(&root, group)
}

fn walk(path: &Path, group: u32) -> Result<()> {
    let meta = fs_err::symlink_metadata(path)?;
    if meta.is_symlink() {
        return Ok(lchown(path, None, Some(group))?);
    }
    if meta.is_dir() {
        for entry in fs_err::read_dir(path)? {
            walk(&entry?.path(), group)?;
        }
    }
    chown(path, None, Some(group))?;
    let more = if meta.is_dir() { 0o2770 } else { 0o660 };
    Ok(fs_err::set_permissions(
        path,
        std::fs::Permissions::from_mode(meta.mode() & 0o7777 | more),
    )?)
}
