//! Images of versions that there is no double of, in a repository of a test's own: a server that looks for another version of its image
//! finds there what the test put there, and nothing else.

use crate::Result;
use crate::command::docker;

/// Images of one repository, which go with it.
#[derive(Debug)]
pub struct OwnImages {
    repository: String,
    made: Vec<String>,
}

impl OwnImages {
    /// None yet.
    #[must_use]
    pub fn new(purpose: &str) -> Self {
        Self {
            repository: format!("ferry-test-{purpose}-{}", std::process::id()),
            made: Vec::new(),
        }
    }

    /// What one is called.
    #[must_use]
    pub fn name(&self, version: &str) -> String {
        format!("{}:{version}", self.repository)
    }

    /// The double of this version.
    ///
    /// # Errors
    /// When there is none.
    pub fn add(&mut self, version: &str) -> Result<()> {
        let name = self.name(version);
        docker(&["tag", &format!("ferry-test/pmm-server:{version}"), &name])?;
        self.made.push(name);
        Ok(())
    }

    /// The double of version `of`, which says that it is another one.
    ///
    /// # Errors
    /// When the engine does not make it.
    pub fn add_as(&mut self, version: &str, of: &str) -> Result<()> {
        let from = format!("ferry-test/pmm-server:{of}");
        let user = docker(&["image", "inspect", "--format", "{{.Config.User}}", &from])?;
        let user = if user.is_empty() { "0" } else { &user };
        let folder = tempfile::tempdir()?;
        let lines = format!(
            "FROM {from}\nUSER 0\nRUN echo {version} >/usr/share/percona-dashboards/VERSION\nUSER {user}\n\
             LABEL org.opencontainers.image.version={version}\n"
        );
        fs_err::write(folder.path().join("Dockerfile"), lines)?;
        let name = self.name(version);
        let folder = folder.path().to_string_lossy();
        docker(&["build", "--quiet", "--tag", &name, &folder])?;
        self.made.push(name);
        Ok(())
    }
}

impl Drop for OwnImages {
    fn drop(&mut self) {
        for name in &self.made {
            // What is left is seen by `docker images`.
            let _ = docker(&["rmi", "--force", name]);
        }
    }
}
