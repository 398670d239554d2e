//! The agent's image, made from the one static binary and loaded without a registry.
//!
//! Why loaded and not imported: the image id is then the same on every engine (facts/building-blocks.md 0.3). Why the same bytes
//! every time: an image that is there already is recognised and not loaded again.

use std::path::Path;

use bollard::query_parameters::ImportImageOptions;
use bytes::Bytes;
use futures_util::StreamExt as _;
use hyper::Method;
use serde_json::{Value, json};

use super::{
    ask::Ask, client::Engine, endpoint::sha256_hex, error::EngineError, labels::BINARY_LABEL,
};

/// How long an engine may take over its slowest line to load some megabytes.
const LOAD_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(600);

/// An image file in memory.
struct Archive {
    bytes: Vec<u8>,
    hash: String,
}

impl Engine {
    /// Makes sure that an image of this binary is in the engine and returns its id.
    ///
    /// # Errors
    /// The file cannot be read or is no Linux program, or the engine refuses the image.
    pub async fn load_agent_image(&self, binary: &Path) -> Result<String, EngineError> {
        let program = tokio::fs::read(binary)
            .await
            .map_err(|source| EngineError::File {
                path: binary.to_owned(),
                source,
            })?;
        let archive = archive(&program).map_err(|reason| EngineError::Config {
            what: "the agent's program",
            path: binary.to_owned(),
            reason,
        })?;
        if let Some(id) = self.image_of_binary(&archive.hash).await? {
            return Ok(id);
        }
        let action = "load the agent's image";
        let docker = self.docker().clone().with_timeout(LOAD_TIMEOUT);
        let body = bollard::body_full(Bytes::from(archive.bytes));
        let mut stream = std::pin::pin!(docker.import_image(
            ImportImageOptions {
                quiet: true,
                platform: None
            },
            body,
            None
        ));
        while let Some(item) = stream.next().await {
            item.map_err(|error| self.explain(action, error))?;
        }
        self.image_of_binary(&archive.hash)
            .await?
            .ok_or_else(|| EngineError::Answer {
                action: action.to_owned(),
                reason: "it was taken, and is not there".to_owned(),
            })
    }

    /// By label and not by id: an engine may name images by another digest than the one computed here.
    async fn image_of_binary(&self, hash: &str) -> Result<Option<String>, EngineError> {
        let filters = json!({ "label": [format!("{BINARY_LABEL}={hash}")] }).to_string();
        let query = [("filters", filters.as_str())];
        let ask = Ask::new(Method::GET, "/images/json".into(), "list images".into()).query(&query);
        let list = self.ask_json(ask).await?;
        Ok(list
            .as_array()
            .and_then(|images| images.first())
            .and_then(|image| image["Id"].as_str())
            .map(str::to_owned))
    }
}

/// The architecture's name in images, by the program's own header.
fn architecture(program: &[u8]) -> Result<&'static str, String> {
    let machine = match program {
        [0x7f, b'E', b'L', b'F', ..] => program.get(18..20),
        _ => None,
    };
    match machine {
        Some([62, 0]) => Ok("amd64"),
        Some([183, 0]) => Ok("arm64"),
        Some(_) => {
            Err("it is made for a processor that is not supported (amd64, arm64)".to_owned())
        }
        None => Err("it is no Linux program".to_owned()),
    }
}

/// A `docker save` file with one layer that holds `/ferryd` and nothing else.
fn archive(program: &[u8]) -> Result<Archive, String> {
    let architecture = architecture(program)?;
    let hash = blake3::hash(program).to_hex().to_string();
    let layer = tar_of(&[("ferryd", 0o755, program)])?;
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": { "Entrypoint": ["/ferryd"], "Labels": { BINARY_LABEL: &hash } },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", sha256_hex(&layer))] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "ferry" }],
    });
    let config = config.to_string();
    let config_name = format!("{}.json", sha256_hex(config.as_bytes()));
    let tag = format!("ferry-agent:{}", &hash[..12]);
    let manifest: Value =
        json!([{ "Config": config_name, "RepoTags": [tag], "Layers": ["layer.tar"] }]);
    let bytes = tar_of(&[
        (&config_name, 0o644, config.as_bytes()),
        ("layer.tar", 0o644, &layer),
        ("manifest.json", 0o644, manifest.to_string().as_bytes()),
    ])?;
    Ok(Archive { bytes, hash })
}

/// The agent's program as a tar, to be put into a container of another image under this name.
///
/// # Errors
/// The file cannot be read or is no Linux program.
pub(super) async fn program_tar(binary: &Path, name: &str) -> Result<Bytes, EngineError> {
    let program = tokio::fs::read(binary)
        .await
        .map_err(|source| EngineError::File {
            path: binary.to_owned(),
            source,
        })?;
    let config = |reason| EngineError::Config {
        what: "the agent's program",
        path: binary.to_owned(),
        reason,
    };
    architecture(&program).map_err(config)?;
    tar_of(&[(name, 0o755, &program)])
        .map(Bytes::from)
        .map_err(config)
}

/// A tar of regular files by root, dated 1970.
fn tar_of(files: &[(&str, u32, &[u8])]) -> Result<Vec<u8>, String> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, mode, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(*mode);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, name, *content)
            .map_err(|error| error.to_string())?;
    }
    tar.into_inner().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(machine: u8) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..4].copy_from_slice(b"\x7fELF");
        bytes[18] = machine;
        bytes
    }

    #[test]
    fn the_same_program_makes_the_same_bytes() {
        let (one, two) = (
            archive(&program(62)).unwrap(),
            archive(&program(62)).unwrap(),
        );
        assert_eq!(one.bytes, two.bytes);
        let mut other = program(62);
        other[63] = 1;
        assert_ne!(archive(&other).unwrap().hash, one.hash);
    }

    #[test]
    fn the_layer_holds_the_program_alone() {
        let archive = archive(&program(183)).unwrap();
        let mut outer = tar::Archive::new(archive.bytes.as_slice());
        let mut names = Vec::new();
        for entry in outer.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_string_lossy().into_owned();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            if name == "layer.tar" {
                let mut layer = tar::Archive::new(content.as_slice());
                let inside: Vec<_> = layer
                    .entries()
                    .unwrap()
                    .map(|e| e.unwrap().header().clone())
                    .collect();
                assert_eq!(inside.len(), 1);
                assert_eq!(inside[0].path().unwrap().to_str(), Some("ferryd"));
                assert_eq!(
                    (inside[0].mode().unwrap(), inside[0].mtime().unwrap()),
                    (0o755, 0)
                );
            } else if name != "manifest.json" {
                let config: Value = serde_json::from_slice(&content).unwrap();
                assert_eq!(config["architecture"], "arm64");
                assert_eq!(config["config"]["Labels"][BINARY_LABEL], archive.hash);
                assert_eq!(name, format!("{}.json", sha256_hex(&content)));
            }
            names.push(name);
        }
        assert_eq!(names.len(), 3);
    }

    #[test]
    fn what_is_no_program_is_refused() {
        assert!(archive(b"#!/bin/sh\n").is_err());
        assert!(archive(b"\x7fELF").is_err());
        assert!(archive(&program(8)).is_err());
    }
}
