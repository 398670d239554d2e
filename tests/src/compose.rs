//! A server that Compose made, as a person has it: a folder with a file, and `docker-compose`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::command::{docker, of_engine};
use crate::server::TestServer;
use crate::{Error, Result};

/// A project of one service, called after the server.
#[derive(Debug)]
pub struct Project {
    folder: tempfile::TempDir,
    name: String,
}

impl Project {
    /// The container of a server with data is made anew by Compose, on the same volume. `service` is what else its file
    /// says of it.
    ///
    /// # Errors
    /// When Compose refuses, or the server is not ready in time.
    pub fn of(server: &TestServer, service: &str) -> Result<Self> {
        let volume = server.data_mount()?["Name"].clone();
        let image = server.inspect()?["Config"]["Image"].clone();
        server.stop(60)?;
        docker(&["rm", &server.name])?;
        let project = Self {
            folder: tempfile::tempdir()?,
            name: server.name.clone(),
        };
        let file = format!(
            "version: '3'\nservices:\n  pmm:\n    image: {image}\n    container_name: {name}\n    \
             network_mode: bridge\n{service}    volumes:\n      - data:/srv\n\
             volumes:\n  data:\n    external: true\n    name: {volume}\n",
            name = server.name,
        );
        fs_err::write(project.path(), file)?;
        project.up()?;
        server.wait_ready()?;
        Ok(project)
    }

    /// What Compose says to `up`.
    ///
    /// # Errors
    /// When it refuses.
    pub fn up(&self) -> Result<String> {
        Ok(self.compose(&["up", "--detach"])?.1)
    }

    /// What Compose answers, and what it says.
    ///
    /// # Errors
    /// When it refuses.
    pub fn compose(&self, words: &[&str]) -> Result<(String, String)> {
        let done = of_engine("docker-compose")
            .args(["--project-name", &self.name])
            .args(words)
            .current_dir(self.folder.path())
            .output()?;
        let [answer, said] =
            [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        if done.status.success() {
            return Ok((answer, said));
        }
        Err(Error::of(said))
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("docker-compose.yml")
    }

    /// What its file says.
    ///
    /// # Errors
    /// When it is gone.
    pub fn text(&self) -> Result<String> {
        Ok(fs_err::read_to_string(self.path())?)
    }

    /// Its file and those beside it, with what they say.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn files(&self) -> Result<BTreeMap<String, String>> {
        let mut files = BTreeMap::new();
        for entry in fs_err::read_dir(self.folder.path())? {
            let entry = entry?;
            let text = fs_err::read_to_string(entry.path())?;
            files.insert(entry.file_name().to_string_lossy().into_owned(), text);
        }
        Ok(files)
    }
}
