//! An image of PMM 3 in which something is wrong from the start. A fault that is told to the server would be told to each PMM 3 on its way.

use crate::Result;
use crate::command::docker;

/// Its PMM 3.
const FROM: &str = "ferry-test/pmm-server:3.8.1";

/// The image, which goes with it.
#[derive(Debug)]
pub struct FailingImage {
    /// What it is called.
    pub name: String,
}

impl FailingImage {
    /// Makes one whose name begins with a server's.
    ///
    /// # Errors
    /// When the engine does not make it.
    pub fn of(server: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let lines = format!("FROM {FROM}\nENV STANDIN_FAULT=exit\n");
        fs_err::write(folder.path().join("Dockerfile"), lines)?;
        let name = format!("{server}:3.8.1");
        let folder = folder.path().to_string_lossy();
        docker(&["build", "--quiet", "--tag", &name, &folder])?;
        Ok(Self { name })
    }
}

impl Drop for FailingImage {
    fn drop(&mut self) {
        // What is left is seen by `docker images`.
        let _ = docker(&["rmi", "--force", &self.name]);
    }
}
