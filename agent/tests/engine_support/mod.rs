//! A program, images made of it, and names that are cleaned up.

#![allow(
    clippy::disallowed_methods,
    reason = "tests build and clean up with the programs of the host"
)]

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{LazyLock, Mutex},
};

use ferry_agent::engine::{EndpointConfig, Engine};

/// The engine of this machine, or nothing, with the reason.
pub(crate) async fn engine(test: &str) -> Option<Engine> {
    match Engine::connect(&EndpointConfig::from_env(|name| std::env::var(name).ok())).await {
        Ok(engine) => Some(engine),
        Err(error) => {
            println!("skipped {test}: {error}");
            None
        }
    }
}

/// The compiled program; made once for all tests of this process.
pub(crate) fn program() -> PathBuf {
    static BUILT: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("program");
        let source = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/engine_support/program.rs"
        );
        let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
        let status = Command::new(rustc)
            .args([
                "--edition",
                "2024",
                "-C",
                "target-feature=+crt-static",
                "-C",
                "strip=symbols",
                "-o",
            ])
            .arg(&out)
            .arg(source)
            .status()
            .unwrap();
        assert!(status.success());
        (folder, out)
    });
    BUILT.1.clone()
}

/// Names that begin alike and are removed at the end, whatever happens.
pub(crate) struct Names {
    prefix: String,
    made: Mutex<Vec<[String; 2]>>,
}

impl Names {
    pub(crate) fn new(test: &str) -> Self {
        Self {
            prefix: format!("ferry-test-{}-{test}", std::process::id()),
            made: Mutex::default(),
        }
    }

    fn made(&self, kind: &str, name: String) -> String {
        self.made
            .lock()
            .unwrap()
            .push([kind.to_owned(), name.clone()]);
        name
    }

    pub(crate) fn container(&self, name: &str) -> String {
        self.made("container", format!("{}-{name}", self.prefix))
    }

    pub(crate) fn volume(&self, name: &str) -> String {
        self.made("volume", format!("{}-{name}", self.prefix))
    }

    pub(crate) fn network(&self, name: &str) -> String {
        self.made("network", format!("{}-{name}", self.prefix))
    }

    /// Something whose name was made by the code under test.
    pub(crate) fn also(&self, kind: &str, name: &str) {
        self.made(kind, name.to_owned());
    }

    /// The program with other bytes than anybody else's, so that the image that is loaded from it is this test's alone: an engine
    /// has one image for the same bytes, and who is ready first removes it.
    pub(crate) fn program(&self) -> PathBuf {
        let path = program().with_file_name(&self.prefix);
        let mut bytes = std::fs::read(program()).unwrap();
        bytes.extend_from_slice(self.prefix.as_bytes());
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// An image of the program with more files and settings (`--change`).
    pub(crate) fn image(&self, name: &str, files: &[(&str, &str)], changes: &[&str]) -> String {
        let tag = self.made("image", format!("{}-{name}:1", self.prefix));
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |path: &str, mode: u32, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(mode);
            tar.append_data(&mut header, path, content).unwrap();
        };
        add("ferryd", 0o755, &std::fs::read(program()).unwrap());
        for (path, content) in files {
            add(path, 0o644, content.as_bytes());
        }
        let tar = tar.into_inner().unwrap();
        let mut command = Command::new("docker");
        command.arg("import");
        for change in changes {
            command.args(["--change", change]);
        }
        let mut child = command
            .args(["-", &tag])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&tar).unwrap();
        assert!(child.wait().unwrap().success());
        tag
    }
}

/// Runs `docker` and returns what it prints.
pub(crate) fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().unwrap();
    assert!(
        output.status.success(),
        "docker {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Drop for Names {
    fn drop(&mut self) {
        for kind in ["container", "volume", "network", "image"] {
            for [_, name] in self
                .made
                .lock()
                .unwrap()
                .iter()
                .filter(|[made, _]| made == kind)
            {
                let force: &[&str] = if matches!(kind, "container" | "image") {
                    &["-f"]
                } else {
                    &[]
                };
                let _ = Command::new("docker")
                    .args([kind, "rm"])
                    .args(force)
                    .arg(name)
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status();
            }
        }
    }
}
