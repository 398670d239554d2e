//! Copies the data of a server that has no volume out of the container's own layer, to a volume that the run has made: once while the
//! server runs, and once more, what changed, when its programs have stopped. Owners, modes, times, attributes, hard links and holes
//! are as in the source; nothing of the source is changed, because it stays the way back.
//!
//! The layer can be read only while the container runs, through the root of its first process. So the last pass is made between the
//! stop of the programs and that of the container, and looks before and after that none of them runs.
//!
//! Rejected: the engine's own archive of a container (whole seconds, no holes, everything within the downtime); the engine's storage
//! folder on the host (another one for each storage driver, and the engine may be on another machine); a look at the layer after the
//! stop by a container of the same layer (engines have none).

use std::path::Path;

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};

use crate::{
    context::Context,
    error::StepError,
    server::ServerRoot,
    steps::{Work, count, done, volume::on_tree},
    surroundings::Container,
    tree::{
        self, CompareOptions, CopyOptions, CopyReport, ManifestFolder, Pass, ProveOptions, Root,
        TreeError, Watch,
    },
};

pub(in crate::steps) struct CopyDataOut(pub(in crate::steps) v1::CopyDataOut);

impl CopyDataOut {
    fn pass(&self) -> Pass {
        if self.0.final_pass {
            Pass::Final
        } else {
            Pass::Live
        }
    }

    /// The final pass never waits: the server is down.
    fn limit(&self) -> Option<u64> {
        let limit = self.0.bytes_per_second;
        (!self.0.final_pass && limit > 0).then_some(limit)
    }

    fn trees(&self, container: &Container) -> Result<Trees, StepError> {
        let copy = container.state_apart.clone().ok_or_else(|| {
            StepError::new(
                "no-data-volume",
                "this agent has no volume beside the server's tree to copy the data to",
            )
            .hint("the plan and the agent do not fit; make the plan again with this release")
        })?;
        Ok(Trees {
            root: container.root.clone(),
            data: self.0.data_destination.clone().into(),
            copy,
        })
    }
}

/// The data in the server's layer, and the volume.
#[derive(Clone)]
struct Trees {
    root: ServerRoot,
    data: std::path::PathBuf,
    copy: std::path::PathBuf,
}

impl Trees {
    fn open(&self) -> Result<(Root, Root), TreeError> {
        let (data, copy) = (self.root.tree(&self.data)?, Root::open(&self.copy, None)?);
        Ok((data, copy))
    }
}

#[async_trait]
impl Work for CopyDataOut {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let container = cx.surroundings.container()?;
        if self.0.final_pass {
            super::check_at_rest(container).await?;
        }
        let (trees, pass, limit) = (self.trees(container)?, self.pass(), self.limit());
        let manifests = cx.run_dir.path().to_owned();
        let report = {
            let (trees, manifests) = (trees.clone(), manifests.clone());
            on_tree(cx, 0, move |watch| {
                copy(&trees, &manifests, pass, limit, watch)
            })
            .await?
        };
        let mut summary = format!(
            "{}, {} MiB{}",
            count(report.files_copied, "file"),
            report.bytes_copied.div_ceil(1 << 20),
            match report.vanished + report.changed_meanwhile {
                0 => String::new(),
                moving => format!(", {moving} in motion"),
            }
        );
        if !self.0.final_pass {
            // What the final pass finds unchanged it does not read again: a disk that does not give back what was written ends the
            // run here, with the server running.
            let proven = on_tree(cx, report.entries, move |watch| {
                let copy = Root::open(&trees.copy, None)?;
                let manifest = ManifestFolder::open(&manifests)?.read(Pass::Live)?;
                let options = ProveOptions {
                    bytes_per_second: limit,
                    ..ProveOptions::default()
                };
                tree::prove(&copy, &manifest, &options, watch)
            })
            .await?;
            if !proven.is_proven() {
                return Err(differs(proven.differences, "what was written to it"));
            }
            summary.push_str(&format!(
                ", {} read back and compared",
                count(proven.entries, "entry")
            ));
        }
        let mut outcome = done(summary);
        for (name, value) in [
            ("entries", report.entries),
            ("files_copied", report.files_copied),
            ("bytes_copied", report.bytes_copied),
        ] {
            outcome.values.insert(name.to_owned(), value.to_string());
        }
        if let Some(digest) = report.manifest {
            outcome.values.insert("manifest".to_owned(), digest);
        }
        Ok(outcome)
    }

    /// After the last pass both trees are held side by side, and still nothing runs that could have written meanwhile.
    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        if !self.0.final_pass {
            return Ok(());
        }
        let container = cx.surroundings.container()?;
        let trees = self.trees(container)?;
        let compared = on_tree(cx, 0, move |watch| {
            let (data, copy) = trees.open()?;
            tree::compare(&data, &copy, &CompareOptions::default(), watch)
        })
        .await?;
        if !compared.is_same() {
            return Err(differs(compared.differences, "the server's own data"));
        }
        super::check_at_rest(container).await
    }

    /// Nothing of the server was changed, and the volume is its maker's to remove.
    async fn undo(&self, _cx: &Context) -> Result<Outcome, StepError> {
        Ok(done("the copy goes with its volume"))
    }
}

fn copy(
    trees: &Trees,
    manifests: &Path,
    pass: Pass,
    limit: Option<u64>,
    watch: &Watch<'_>,
) -> Result<CopyReport, TreeError> {
    let (data, copy) = trees.open()?;
    // In the state folder, which is no part of either tree.
    let folder = ManifestFolder::open(manifests)?;
    let options = CopyOptions {
        manifest: Some(&folder),
        bytes_per_second: limit,
        ..CopyOptions::new(pass)
    };
    tree::copy(&data, &copy, &options, watch)
}

fn differs(differences: tree::Problems, from: &str) -> StepError {
    StepError::new(
        "data-copy-differs",
        format!(
            "the data on the new volume differs from {from} in {}",
            count(differences.count, "entry")
        ),
    )
    .details(differences.first)
    .hint("nothing of the server's data has changed; look at the disk of the volume (`dmesg`), then try again")
}
