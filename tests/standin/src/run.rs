//! How a program that holds data lives: it leaves a mark while it runs, takes its time to stop, and tells on whoever killed it.
//!
//! A data directory that was copied, moved or handed over while its program still ran, or after it was killed, looks fine until
//! much later. Here it shows at the next start: a line in the program's log, and a file that a test can look for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::Result;
use crate::product::{Fault, Product};

/// The mark of a program that is running; gone after a clean stop.
pub(crate) struct Mark {
    path: PathBuf,
    delay: Duration,
}

impl Mark {
    /// Marks `folder` as in use by `program`. A mark that is already there is a program that was killed.
    pub(crate) fn set(program: &str, folder: &Path, product: &Product) -> Result<Self> {
        let path = folder.join(format!(".running-{program}"));
        if path.exists() {
            eprintln!(
                "unclean shutdown: {program} was killed while it used {}",
                folder.display()
            );
            // Grafana of PMM 2 may not write among the logs: it leaves the file beside its data.
            let name = format!("unclean-{program}");
            if fs_err::write(Path::new("/srv/logs").join(&name), "unclean shutdown\n").is_err() {
                fs_err::write(folder.join(&name), "unclean shutdown\n")?;
            }
        }
        fs_err::write(&path, std::process::id().to_string())?;
        let delay = match Fault::of_environment(product) {
            Some(Fault::SlowStop) => 3000,
            _ => std::env::var("STANDIN_STOP_MS")
                .ok()
                .and_then(|v| v.parse().ok())
                .unwrap_or(300),
        };
        Ok(Self {
            path,
            delay: Duration::from_millis(delay),
        })
    }

    /// What the stop takes, and then the mark goes.
    pub(crate) async fn clear(self) -> Result<()> {
        println!("shutting down");
        tokio::time::sleep(self.delay).await;
        fs_err::remove_file(&self.path)?;
        println!("bye");
        Ok(())
    }
}

/// Hears that the program is to stop. One for all of its life, and made first: a signal that falls between two of them is heard by
/// neither, and kills nobody any more either, so that the program lives on until its grace of minutes is over.
pub(crate) struct Stop([Signal; 3]);

impl Stop {
    pub(crate) fn listen() -> Result<Self> {
        Ok(Self([
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::quit())?,
        ]))
    }

    /// Until somebody asks for it.
    pub(crate) async fn asked(&mut self) {
        let [term, int, quit] = &mut self.0;
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            _ = quit.recv() => {}
        }
    }
}

/// Opens everything below `folder` as a program does that owns it, so that a tree handed over in part is noticed.
pub(crate) fn open_all(folder: &Path) -> Result<()> {
    use rustix::fs::{Access, access};
    access(folder, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|e| format!("cannot use directory {}: {e}", folder.display()))?;
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            open_all(&entry.path())?;
        } else if kind.is_file() {
            fs_err::File::open(entry.path())?;
        }
    }
    Ok(())
}
