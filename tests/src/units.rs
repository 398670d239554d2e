//! A machine with systemd, for a test: folders of units of its own and a double of `systemctl` in a mount namespace, so that nothing of the
//! real machine is touched and nothing else sees it.
//!
//! What is doubled is the service manager alone ([`systemctl-double`](../src/bin/systemctl-double.rs)): the units, what they run, the
//! engine and the containers are real.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{of_engine, output, run};
use crate::{Error, Result};

/// Puts the folders and the double in their places, and goes on as the rest of its words.
const ENTER: &str = "mount --bind \"$1\" /etc/systemd/system && mount --bind \"$2\" /usr/bin/systemctl && shift 2 && exec \"$@\"";

/// The folders, and the double.
#[derive(Debug)]
pub struct Units {
    folder: tempfile::TempDir,
    double: PathBuf,
}

impl Units {
    /// A machine without units. `double` is the program that stands for `systemctl`.
    ///
    /// # Errors
    /// When the folders cannot be made.
    pub fn of(double: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ferry-units-").tempdir()?;
        Ok(Self {
            folder,
            double: double.to_owned(),
        })
    }

    /// The words that a program of this machine is started by.
    #[must_use]
    pub fn within(&self) -> Vec<String> {
        let words = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            ENTER,
            "sh",
        ];
        let mut words: Vec<String> = words.map(str::to_owned).into();
        words.push(self.folder.path().display().to_string());
        words.push(self.double.display().to_string());
        words
    }

    /// `systemctl` with these words.
    ///
    /// # Errors
    /// With what it said.
    pub fn systemctl(&self, words: &[&str]) -> Result<String> {
        run(&mut self.command(words))
    }

    /// Whether `systemctl` refuses these words, and how.
    ///
    /// # Errors
    /// When it does what it was told.
    pub fn refused(&self, words: &[&str]) -> Result<String> {
        let said = output(&mut self.command(words))?;
        if said.status.success() {
            return Err(Error::of(format!(
                "`systemctl {}` was done",
                words.join(" ")
            )));
        }
        Ok(String::from_utf8_lossy(&said.stderr).into_owned())
    }

    fn command(&self, words: &[&str]) -> Command {
        let within = self.within();
        let mut command = of_engine(&within[0]);
        command
            .args(&within[1..])
            .arg("/usr/bin/systemctl")
            .args(words);
        command
    }

    /// Writes a file of the folder of units.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(fs_err::write(self.path(name), text)?)
    }

    /// What a file of that folder holds.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn text(&self, name: &str) -> Result<String> {
        Ok(fs_err::read_to_string(self.path(name))?)
    }

    /// The names in that folder, but for what the double keeps there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs_err::read_dir(self.folder.path())? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.retain(|it| it != ".double");
        names.sort();
        Ok(names)
    }

    /// Where a file of that folder is, outside of the namespace.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
