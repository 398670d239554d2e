//! A client that was installed from a tarball: a new folder takes the place of the old one, which is kept and is the way back.
//!
//! What PMM's `install_tarball -u` does is done here as a table, file by file: it puts the programs and the default collectors of an unpacked
//! tarball into the client's folder, and leaves the configuration. Why not by running it: it is a script from the tarball, and it writes into the
//! folder of the client that runs, with no way back.
//!
//! The folder keeps its name, whichever major it stands for, because the operator's own unit names it. So the configuration is the same to the last
//! byte: its `paths:` go on naming this folder.

use std::{io, path::Path};

use super::{
    folder::{Content, Folder},
    is_version,
};
use crate::{
    error::StepError,
    server::programs::client::{Tool, ask, perform},
    state_dir::StateDir,
    tree::{self, CancelFlag},
};

/// The tarball in a folder of ours.
pub(crate) const COPY: &str = "client.tar.gz";
/// In a folder that a run has made: which run.
const MARK: &str = ".ferry-run";
/// Behind the name of a tarball: the file with its sum.
const SUM: &str = ".sha256sum";
const AGENT: &str = "bin/pmm-agent";

/// The default collectors: a file of the tarball, and the folders that it goes to.
const COLLECTORS: [(&str, &[&str]); 8] = [
    (
        "queries-postgres-uptime.yml",
        &["custom-queries/postgresql/high-resolution"],
    ),
    (
        "queries-hr.yml",
        &["custom-queries/postgresql/high-resolution"],
    ),
    (
        "queries-mr.yaml",
        &["custom-queries/postgresql/medium-resolution"],
    ),
    (
        "queries-lr.yaml",
        &["custom-queries/postgresql/low-resolution"],
    ),
    (
        "queries-mysqld-group-replication.yml",
        &["custom-queries/mysql/high-resolution"],
    ),
    (
        "queries-mysqld.yml",
        &[
            "custom-queries/mysql/low-resolution",
            "custom-queries/mysql/medium-resolution",
            "custom-queries/mysql/high-resolution",
        ],
    ),
    (
        "example-queries-postgres.yml",
        &[
            "custom-queries/postgresql/low-resolution",
            "custom-queries/postgresql/medium-resolution",
            "custom-queries/postgresql/high-resolution",
        ],
    ),
    (
        "example.prom",
        &[
            "textfile-collector/low-resolution",
            "textfile-collector/medium-resolution",
            "textfile-collector/high-resolution",
        ],
    ),
];

/// A tarball that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) sha256: String,
    pub(crate) version: String,
    /// The sum in the file beside it is the same.
    pub(crate) confirmed: bool,
}

/// Looks at a tarball.
///
/// # Errors
/// With why it cannot be used.
pub(crate) async fn look(path: &str) -> Result<Seen, StepError> {
    let (folder, name) = parts(path)?;
    let sha256 = tokio::task::block_in_place(|| folder.copy(name, &mut io::sink()))?;
    let sha256 = sha256.ok_or_else(|| missing(path))?;
    let sum = folder.read(&format!("{name}{SUM}"))?;
    let confirmed = sum.is_some();
    if let Some(sum) = sum {
        let text = String::from_utf8_lossy(&sum.bytes).to_lowercase();
        if text.split_whitespace().next() != Some(&*sha256) {
            let what = format!("its SHA-256 is {sha256}, and `{path}{SUM}` says another");
            return Err(StepError::new("client-file", what));
        }
    }
    let (_, version) = top_of(path).await?;
    Ok(Seen {
        sha256,
        version,
        confirmed,
    })
}

/// Takes a copy of a tarball that has to be the one of the plan.
///
/// # Errors
/// When it is another one by now.
pub(crate) fn take(path: &str, sha256: &str, into: &StateDir) -> Result<(), StepError> {
    let (folder, name) = parts(path)?;
    let mut file = into.open_file(COPY)?;
    file.set_len(0)?;
    let copied = tokio::task::block_in_place(|| folder.copy(name, &mut file))?;
    let found = copied.ok_or_else(|| missing(path))?;
    file.sync_all()?;
    if found == sha256 {
        return Ok(());
    }
    Err(StepError::new(
        "client-package-other",
        format!("`{path}` is another file than when the plan was made"),
    )
    .hint("`ferryctl clients upgrade` again makes a plan with this one"))
}

fn missing(path: &str) -> StepError {
    StepError::new("client-file", format!("`{path}` is not there"))
}

fn parts(path: &str) -> Result<(Folder, &str), StepError> {
    let whole = Path::new(path);
    let name = path.rsplit('/').next().unwrap_or_default();
    let above = whole
        .parent()
        .filter(|_| path.starts_with('/') && !name.is_empty());
    let above = above.ok_or_else(|| {
        StepError::new(
            "bad-parameter",
            format!("`{path}` is no whole path of a file"),
        )
    })?;
    let folder = Folder::open(above)?.ok_or_else(|| missing(path))?;
    Ok((folder, name))
}

/// The one folder in a tarball, and the version in its name.
async fn top_of(path: &str) -> Result<(String, String), StepError> {
    let answer = ask(Tool::Tar, &["--list", "--gzip", "--file", path]).await?;
    let top = answer.success.then(|| top_in(&answer.text)).flatten();
    top.ok_or_else(|| StepError::new("client-file", "it is no tarball of a PMM client".to_owned()))
}

fn top_in(listing: &str) -> Option<(String, String)> {
    let top = listing.lines().next()?.split('/').next()?;
    let version = top
        .strip_prefix("pmm-client-")
        .or_else(|| top.strip_prefix("pmm2-client-"))?;
    let inside = |line: &str| {
        line.split('/').next() == Some(top) && !line.split('/').any(|part| part == "..")
    };
    let agent = format!("{top}/{AGENT}");
    let sound = is_version(version)
        && listing.lines().all(inside)
        && listing.lines().any(|line| line == agent);
    sound.then(|| (top.to_owned(), version.to_owned()))
}

/// A client's folder, and the one beside it that is to take its place, or has.
#[derive(Debug)]
pub(crate) struct Pair {
    above: Folder,
    name: String,
    beside: String,
    run: String,
}

impl Pair {
    /// # Errors
    /// When the folder above is not there.
    pub(crate) fn of(folder: &str, run: &str) -> Result<Self, StepError> {
        let (above, name) = folder.rsplit_once('/').unwrap_or(("", folder));
        let above = Folder::open(Path::new(above))?;
        let above =
            above.ok_or_else(|| StepError::new("client-folder", format!("`{folder}` is gone")))?;
        Ok(Self {
            above,
            name: name.to_owned(),
            beside: format!("{name}.ferry-{run}"),
            run: run.to_owned(),
        })
    }

    /// Whether the new folder has the client's name.
    ///
    /// # Errors
    /// When the client has no folder, or it cannot be read.
    pub(crate) fn is_new(&self) -> Result<bool, StepError> {
        let folder = self.above.sub(&self.name)?;
        let folder = folder
            .ok_or_else(|| StepError::new("client-folder", format!("`{}` is gone", self.name)))?;
        self.is_marked(&folder)
    }

    /// Whether the new folder is the one beside the client's; `None` where there is none.
    fn is_new_beside(&self) -> Result<Option<bool>, StepError> {
        let beside = self.above.sub(&self.beside)?;
        beside.map(|it| self.is_marked(&it)).transpose()
    }

    fn is_marked(&self, folder: &Folder) -> Result<bool, StepError> {
        Ok(folder
            .read(MARK)?
            .is_some_and(|mark| mark.bytes == self.run.as_bytes()))
    }

    /// Lays out the new folder beside the old one, from a tarball of ours. What an attempt left that was cut off goes before.
    ///
    /// # Errors
    /// When it has another version, or cannot be unpacked or written.
    pub(crate) async fn lay_out(
        &self,
        version: &str,
        tarball: &StateDir,
        unpacked: &StateDir,
        log: (&StateDir, &str),
    ) -> Result<(), StepError> {
        self.discard()?;
        clear(unpacked)?;
        let file = tarball.path().join(COPY);
        let (file, into) = (file.to_string_lossy(), unpacked.path().to_string_lossy());
        // Before anything is unpacked, and by the file itself: the version in the plan is what the policy was asked about.
        let (top, inside) = top_of(&file).await?;
        if inside != version {
            let what = format!("PMM {inside} is in the tarball, and not {version}");
            return Err(StepError::new("client-package-other", what)
                .hint("`ferryctl clients upgrade` again makes a plan with what is in it"));
        }
        let words = [
            "--extract",
            "--gzip",
            "--no-same-owner",
            "--no-same-permissions",
            "--file",
            &*file,
            "--directory",
            &*into,
        ];
        perform(Tool::Tar, &words, Path::new("/"), log).await?;
        let from = Folder::open(unpacked.path())?
            .and_then(|it| it.sub(&top).transpose())
            .transpose()?;
        let from = from.ok_or_else(|| StepError::new("client-file", "nothing was unpacked"))?;
        let old = self
            .above
            .sub(&self.name)?
            .ok_or_else(|| missing(&self.name))?;
        let owner = old.owner_of(AGENT)?;
        let new = self.above.make_sub(&self.beside)?;
        // First, so that what is cut off here is known to be no old folder.
        let mark = Content {
            bytes: self.run.clone().into_bytes(),
            mode: 0o644,
            uid: owner.0,
            gid: owner.1,
        };
        new.write(MARK, &mark)?;
        // Some hundred megabytes.
        tokio::task::block_in_place(|| put(&from, &new, owner))?;
        clear(unpacked)
    }

    /// Puts the new folder in the place of the old one; done already is fine.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn forward(&self) -> Result<(), StepError> {
        if self.is_new()? {
            return Ok(());
        }
        if self.is_new_beside()? != Some(true) {
            return Err(self.strange());
        }
        Ok(self.above.exchange(&self.name, &self.beside)?)
    }

    /// Puts the old folder in its place again; done already is fine.
    ///
    /// # Errors
    /// When it is not known which is which any more.
    pub(crate) fn back(&self) -> Result<(), StepError> {
        match (self.is_new()?, self.is_new_beside()?) {
            (false, Some(true)) => Ok(()),
            (true, Some(false)) => Ok(self.above.exchange(&self.name, &self.beside)?),
            _ => Err(self.strange()),
        }
    }

    /// Removes the folder beside the client's, where that is the new one.
    ///
    /// # Errors
    /// When it is the old one, or cannot be removed.
    pub(crate) fn discard(&self) -> Result<(), StepError> {
        let Some(beside) = self.above.sub(&self.beside)? else {
            return Ok(());
        };
        // Without a mark it is one that was cut off before anything was put into it, or it is the old client.
        if !self.is_marked(&beside)? && beside.owner_of(AGENT).is_ok() {
            return Err(self.strange());
        }
        tree::remove(self.above.fd(), &self.beside, &CancelFlag::default())?;
        Ok(())
    }

    fn strange(&self) -> StepError {
        let (name, beside) = (&self.name, &self.beside);
        StepError::new(
            "client-kept",
            format!("`{name}` and `{beside}` are not the folders that the run has left: nothing was moved or removed"),
        )
        .hint("see on the client's host which of the two is the old client, and give it its name")
    }
}

/// As `install_tarball` does it.
fn put(from: &Folder, into: &Folder, (uid, gid): (u32, u32)) -> Result<(), StepError> {
    let content = |bytes| Content {
        bytes,
        mode: 0o755,
        uid,
        gid,
    };
    for path in from.files("bin")? {
        let name = path.rsplit('/').next().unwrap_or_default();
        if let Some(bytes) = from.read_large(&path)? {
            into.write(&format!("{}/{name}", folder_for(name)), &content(bytes))?;
        }
    }
    for (name, folders) in COLLECTORS {
        // Not every release has all of them.
        if let Some(bytes) = from.read_large(name)? {
            for folder in folders {
                into.write(
                    &format!("collectors/{folder}/{name}"),
                    &content(bytes.clone()),
                )?;
            }
        }
    }
    Ok(())
}

/// Where a program of the tarball goes.
fn folder_for(program: &str) -> &'static str {
    match program {
        "pmm-admin" | "pmm-agent" | "pmm-agent-entrypoint" => "bin",
        "pt-summary" | "pt-mysql-summary" | "pt-pg-summary" | "pt-mongodb-summary" | "nomad"
        | "otelcol-contrib" => "tools",
        _ => "exporters",
    }
}

fn clear(folder: &StateDir) -> Result<(), StepError> {
    for name in folder.names()? {
        tree::remove(folder.fd(), &name, &CancelFlag::default())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tarball_has_one_folder_with_a_client_in_it() {
        let sound = "pmm-client-3.8.1/\npmm-client-3.8.1/bin/\npmm-client-3.8.1/bin/pmm-agent\npmm-client-3.8.1/example.prom\n";
        let top = ("pmm-client-3.8.1".to_owned(), "3.8.1".to_owned());
        assert_eq!(top_in(sound), Some(top));
        for odd in [
            "",
            "pmm-client-3.8.1/\n",
            &sound.replace("3.8.1", "-x"),
            &format!("{sound}etc/passwd\n"),
            &format!("{sound}pmm-client-3.8.1/../etc/passwd\n"),
            &sound.replace("pmm-client", "other"),
        ] {
            assert_eq!(top_in(odd), None, "{odd}");
        }
    }

    #[test]
    fn folders_change_names_and_come_back_and_the_old_one_is_never_removed() {
        let above = tempfile::tempdir().unwrap();
        let at = |path: &str| above.path().join(path);
        fs_err::create_dir_all(at("pmm2/bin")).unwrap();
        fs_err::write(at("pmm2/bin/pmm-agent"), "old").unwrap();
        fs_err::create_dir_all(at("pmm2.ferry-r1/bin")).unwrap();
        fs_err::write(at("pmm2.ferry-r1/bin/pmm-agent"), "new").unwrap();
        fs_err::write(at("pmm2.ferry-r1/.ferry-run"), "r1").unwrap();
        let pair = Pair::of(&at("pmm2").display().to_string(), "r1").unwrap();
        let agent = || fs_err::read_to_string(at("pmm2/bin/pmm-agent")).unwrap();
        for _ in 0..2 {
            pair.forward().unwrap();
            assert_eq!((pair.is_new().unwrap(), agent()), (true, "new".to_owned()));
            assert_eq!(pair.discard().unwrap_err().code(), "client-kept");
        }
        for _ in 0..2 {
            pair.back().unwrap();
            assert_eq!((pair.is_new().unwrap(), agent()), (false, "old".to_owned()));
        }
        pair.discard().unwrap();
        pair.discard().unwrap();
        assert_eq!(fs_err::read_dir(above.path()).unwrap().count(), 1);
        fs_err::create_dir(at("pmm2.ferry-r1")).unwrap();
        pair.discard().unwrap();
        // Nothing is guessed.
        assert_eq!(pair.forward().unwrap_err().code(), "client-kept");
        assert_eq!(pair.back().unwrap_err().code(), "client-kept");
    }

    /// A client's folder, and the tarball of another with this version in it, whose programs have the set-id bits.
    struct Laid {
        folder: tempfile::TempDir,
        tarball: StateDir,
    }

    impl Laid {
        async fn out(version: &str) -> Self {
            use std::os::unix::fs::PermissionsExt as _;
            let folder = tempfile::tempdir().unwrap();
            let at = |path: &str| folder.path().join(path);
            fs_err::create_dir_all(at("pmm2/bin")).unwrap();
            fs_err::write(at("pmm2/bin/pmm-agent"), "old").unwrap();
            let top = format!("pmm-client-{version}");
            fs_err::create_dir_all(at(&top).join("bin")).unwrap();
            for program in ["pmm-agent", "node_exporter"] {
                let path = at(&top).join("bin").join(program);
                fs_err::write(&path, "new").unwrap();
                let mode = std::fs::Permissions::from_mode(0o6775);
                fs_err::set_permissions(&path, mode).unwrap();
            }
            let tarball = StateDir::open(folder.path(), "new").unwrap();
            let log = StateDir::open(folder.path(), "log").unwrap();
            let file = tarball.path().join(COPY);
            let (file, from) = (file.to_string_lossy(), folder.path().to_string_lossy());
            let words = [
                "--create",
                "--gzip",
                "--file",
                &*file,
                "--directory",
                &*from,
                &*top,
            ];
            perform(Tool::Tar, &words, Path::new("/"), (&log, "log"))
                .await
                .unwrap();
            Self { folder, tarball }
        }

        async fn lay_out(&self, version: &str) -> Result<(), StepError> {
            let folder = self.folder.path();
            let unpacked = StateDir::open(folder, "unpacked").unwrap();
            let log = StateDir::open(folder, "log").unwrap();
            let old = folder.join("pmm2").display().to_string();
            Pair::of(&old, "r1")?
                .lay_out(version, &self.tarball, &unpacked, (&log, "log"))
                .await
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_tarball_of_another_version_than_the_plans_is_not_unpacked() {
        let laid = Laid::out("3.9.0").await;
        let error = laid.lay_out("3.8.1").await.unwrap_err();
        assert_eq!(error.code(), "client-package-other");
        let failure = ferry_proto::v1::Failure::from(error);
        assert!(failure.message.contains("3.9.0"), "{failure:?}");
        let root = laid.folder.path();
        assert!(!root.join("pmm2.ferry-r1").exists());
        assert_eq!(fs_err::read_dir(root.join("unpacked")).unwrap().count(), 0);
        laid.lay_out("3.9.0").await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_set_id_bit_comes_out_of_a_tarball() {
        use std::os::unix::fs::PermissionsExt as _;
        let laid = Laid::out("3.8.1").await;
        laid.lay_out("3.8.1").await.unwrap();
        let new = laid.folder.path().join("pmm2.ferry-r1");
        for program in ["bin/pmm-agent", "exporters/node_exporter"] {
            let mode = fs_err::metadata(new.join(program))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o7777, 0o755, "{program}");
        }
    }

    #[test]
    fn programs_go_where_the_installer_puts_them() {
        for (program, folder) in [
            ("pmm-agent", "bin"),
            ("pt-summary", "tools"),
            ("nomad", "tools"),
            ("node_exporter", "exporters"),
            ("vmagent", "exporters"),
        ] {
            assert_eq!(folder_for(program), folder);
        }
    }
}
