//! Measures the change of ownership against `chown -R`, in the same run on the same tree.
//!
//! `ownership DIR [--folders N] [--files N] [--flat N] [--rounds N] [--cold] [--keep]`: makes the trees below
//! DIR (a missing folder, or one left by `--keep`), needs root. Prints seconds and the ratio of
//! each way to `chown -R`; ratios are what counts, the machine may be busy. `--cold` drops the
//! machine's page cache before each measurement. `--first ID`, `--along ID` and `--known ID` instead give the
//! tree DIR to ID once: for a profiler, or to count processor time on a busy machine.
//!
//! "as the step" is what a crossing does: the final pass of the backup, which comes right before and is not measured
//! here, has left a manifest of the tree. The other two ways have none, as after a kill.

use std::{
    error::Error,
    fmt, fs,
    path::{Path, PathBuf},
    time::Instant,
};

use ferry_agent::tree::{
    CopyOptions, LinkCheck, ManifestFolder, Owner, Pass, RecordWriter, Root, TransferOptions,
    Watch, copy, count, transfer,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What is measured.
#[derive(Debug, Clone)]
struct Options {
    dir: PathBuf,
    folders: u32,
    files: u32,
    flat: u32,
    rounds: u32,
    cold: bool,
    keep: bool,
    once: Option<(u32, Way)>,
}

/// How the tree is given.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// The whole tree is looked at before the first change.
    First,
    /// Looked at and changed side by side.
    Along,
    /// As [`Way::Along`], by the manifest of a final pass.
    Known,
}

/// Best times of one situation, in seconds.
struct Row {
    what: &'static str,
    gnu: f64,
    first: f64,
    along: f64,
    known: f64,
}

impl Row {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            gnu: f64::MAX,
            first: f64::MAX,
            along: f64::MAX,
            known: f64::MAX,
        }
    }

    /// One round: `chown -R` gives to `theirs`, each of our ways to an id of its own.
    fn round(
        &mut self,
        (tree, cold): (&Path, bool),
        theirs: u32,
        our_id: impl Fn(Way) -> u32,
    ) -> Result<()> {
        self.gnu = self.gnu.min(timed(cold, tree, || gnu(tree, theirs))?);
        for way in [Way::First, Way::Along, Way::Known] {
            if matches!(way, Way::Known) {
                final_pass(tree)?;
            }
            let took = timed(cold, tree, || ours(tree, our_id(way), way))?;
            let best = match way {
                Way::First => &mut self.first,
                Way::Along => &mut self.along,
                Way::Known => &mut self.known,
            };
            *best = best.min(took);
        }
        Ok(())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            gnu,
            first,
            along,
            known,
        } = self;
        write!(
            f,
            "{what:<26} chown -R {gnu:6.3} s | as the step {known:6.3} s = {:.2} | without a manifest: \
             along {along:6.3} s = {:.2}, whole tree first {first:6.3} s = {:.2}",
            known / gnu,
            along / gnu,
            first / gnu
        )
    }
}

#[expect(clippy::print_stdout, reason = "a measurement's output is its table")]
fn main() -> Result<()> {
    let options = parse()?;
    if let Some((id, way)) = options.once {
        if matches!(way, Way::Known) {
            final_pass(&options.dir)?;
            println!("the final pass is done");
        }
        let took = timed(options.cold, &options.dir, || ours(&options.dir, id, way))?;
        println!("given in {took:.3} s");
        return Ok(());
    }
    fs::create_dir_all(&options.dir)?;
    run(&options, |row| println!("{row}"))?;
    Ok(())
}

fn parse() -> Result<Options> {
    let mut args = std::env::args().skip(1);
    let dir = args
        .next()
        .ok_or("usage: ownership DIR [--folders N] [--files N] ...")?
        .into();
    let mut o = Options {
        dir,
        folders: 40_000,
        files: 25,
        flat: 100_000,
        rounds: 3,
        cold: false,
        keep: false,
        once: None,
    };
    while let Some(flag) = args.next() {
        match &*flag {
            "--cold" => o.cold = true,
            "--keep" => o.keep = true,
            _ => {
                let number = args.next().ok_or("a number is missing")?.parse()?;
                match &*flag {
                    "--folders" => o.folders = number,
                    "--files" => o.files = number,
                    "--flat" => o.flat = number,
                    "--rounds" => o.rounds = number,
                    "--first" => o.once = Some((number, Way::First)),
                    "--along" => o.once = Some((number, Way::Along)),
                    "--known" => o.once = Some((number, Way::Known)),
                    other => return Err(format!("unknown flag {other}").into()),
                }
            }
        }
    }
    Ok(o)
}

/// Measures all situations, and tells each as soon as it is known.
fn run(options: &Options, mut tell: impl FnMut(Row)) -> Result<()> {
    let tree = options.dir.join("tree");
    let flat = options.dir.join("flat");
    let single = options.dir.join("single");
    if !single.exists() {
        make_nested(&tree, options.folders, options.files)?;
        make_flat(&flat, 4, options.flat)?;
        make_flat(&single, 1, options.flat)?;
    }
    tell(all_change("all change, warm", options, &tree, false)?);
    tell(nothing_to_change(
        "nothing to change, warm",
        options,
        &tree,
        false,
    )?);
    tell(all_change("4 flat folders, warm", options, &flat, false)?);
    tell(all_change("1 flat folder, warm", options, &single, false)?);
    if options.cold {
        tell(all_change("all change, cold", options, &tree, true)?);
        tell(nothing_to_change(
            "nothing to change, cold",
            options,
            &tree,
            true,
        )?);
    }
    if !options.keep {
        for path in [tree, flat, single] {
            fs::remove_dir_all(backup(&path))?;
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

/// Each way changes every entry; the best of the rounds counts.
fn all_change(what: &'static str, options: &Options, tree: &Path, cold: bool) -> Result<Row> {
    let mut row = Row::new(what);
    for round in 0..options.rounds {
        let id = 10_000 + round * 10;
        row.round((tree, cold), id, |way| match way {
            Way::First => id + 1,
            Way::Along => id + 2,
            Way::Known => id + 3,
        })?;
    }
    Ok(row)
}

/// Everything is right before.
fn nothing_to_change(
    what: &'static str,
    options: &Options,
    tree: &Path,
    cold: bool,
) -> Result<Row> {
    let mut row = Row::new(what);
    gnu(tree, 20_000)?;
    for _ in 0..options.rounds {
        row.round((tree, cold), 20_000, |_| 20_000)?;
    }
    Ok(row)
}

fn timed(cold: bool, tree: &Path, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    rustix::fs::sync();
    if cold {
        fs::write("/proc/sys/vm/drop_caches", "3")?;
    } else {
        // Whatever ran before, all inodes are in memory now.
        count(&Root::open(tree, None)?, &Watch::default())?;
    }
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the program that is measured against"
)]
fn gnu(tree: &Path, id: u32) -> Result<()> {
    let owner = format!("{id}:{id}");
    let status = std::process::Command::new("chown")
        .arg("-R")
        .arg(owner)
        .arg(tree)
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err("chown failed".into())
    }
}

/// Where the final pass of the tree's backup writes its copy and its manifest.
fn backup(tree: &Path) -> PathBuf {
    tree.with_extension("backup")
}

fn final_pass(tree: &Path) -> Result<()> {
    let backup = backup(tree);
    fs::create_dir_all(backup.join("data"))?;
    let folder = ManifestFolder::open(&backup)?;
    let options = CopyOptions {
        manifest: Some(&folder),
        ..CopyOptions::new(Pass::Final)
    };
    let (from, to) = (
        Root::open(tree, None)?,
        Root::open(&backup.join("data"), None)?,
    );
    copy(&from, &to, &options, &Watch::default())?;
    Ok(())
}

fn ours(tree: &Path, id: u32, way: Way) -> Result<()> {
    let path = tree.with_extension("record");
    let file = fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    let known = match way {
        Way::Known => ManifestFolder::open(&backup(tree))?.recall(),
        Way::First | Way::Along => None,
    };
    let options = TransferOptions {
        links: match way {
            Way::First => LinkCheck::First,
            Way::Along | Way::Known => LinkCheck::Along,
        },
        known: known.as_ref(),
        ..TransferOptions::default()
    };
    let root = Root::open(tree, None)?;
    let owner = Owner { uid: id, gid: id };
    transfer(
        &root,
        owner,
        RecordWriter::open(file)?,
        &options,
        &Watch::default(),
    )?;
    Ok(())
}

fn make_nested(root: &Path, folders: u32, files: u32) -> Result<()> {
    for folder in 0..folders {
        let dir = root.join(format!("table_{:02}/all_{folder}_{folder}_0", folder % 40));
        fs::create_dir_all(&dir)?;
        for file in 0..files {
            fs::write(dir.join(format!("column_name_{file}.bin")), b"")?;
        }
    }
    let stats = count(&Root::open(root, None)?, &Watch::default())?;
    assert!(
        stats.files == u64::from(folders) * u64::from(files),
        "the tree was not empty before"
    );
    Ok(())
}

fn make_flat(root: &Path, folders: u32, files: u32) -> Result<()> {
    for folder in 0..folders {
        let dir = root.join(folder.to_string());
        fs::create_dir_all(&dir)?;
        for file in 0..files {
            fs::write(dir.join(format!("segment_{file}.idx")), b"")?;
        }
    }
    Ok(())
}
