//! Measures the backup's passes and the restore against `cp -a`, in the same run on the same tree.
//!
//! `backup DIR [--files N] [--mib N] [--rounds N] [--warm] [--part backup|growth|files|restore]`: makes a
//! tree below DIR, a folder that is missing or empty, and removes it again. Both sides start with
//! dropped caches where that is allowed (root) and `--warm` was not given, and both end with a sync
//! of the file system. Ratios are what counts; the machine may be busy.

use std::{
    error::Error,
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Instant,
};

use ferry_agent::tree::{
    CompareOptions, CopyOptions, CopyReport, ManifestFolder, Owner, Pass, ProveOptions,
    RecordWriter, RestoreOptions, Root, TransferOptions, Trust, Watch, compare, copy, prove,
    restore, transfer,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What is measured.
#[derive(Debug, Clone)]
struct Options {
    dir: PathBuf,
    files: u64,
    mib: u64,
    rounds: u32,
    warm: bool,
    part: String,
}

const PER_FOLDER: u64 = 30;

/// The end of a line whose goal was not reached.
const MISSED: &str = ": missed";

#[expect(clippy::print_stdout, reason = "a measurement's output is its table")]
fn main() -> Result<()> {
    let options = parse()?;
    let missed = std::cell::Cell::new(false);
    let tell = |line: String| {
        missed.set(missed.get() || line.ends_with(MISSED));
        println!("{line}");
    };
    fs::create_dir_all(&options.dir)?;
    if fs::read_dir(&options.dir)?.next().is_some() {
        return Err(format!("`{}` is not empty", options.dir.display()).into());
    }
    let result = match &*options.part {
        "backup" => backup(&options, tell),
        "growth" => growth(&options, tell),
        "files" => more_files(&options, tell),
        "restore" => back(&options, tell),
        other => Err(format!("there is no part `{other}`").into()),
    };
    fs::remove_dir_all(&options.dir)?;
    result?;
    if missed.get() {
        return Err("a goal was missed".into());
    }
    Ok(())
}

fn parse() -> Result<Options> {
    let usage = "usage: backup DIR [--files N] [--mib N] [--rounds N] [--warm] [--part NAME]";
    let mut args = std::env::args().skip(1);
    let mut o = Options {
        dir: args.next().ok_or(usage)?.into(),
        files: 300_000,
        mib: 3072,
        rounds: 3,
        warm: false,
        part: "backup".into(),
    };
    while let Some(flag) = args.next() {
        if flag == "--warm" {
            o.warm = true;
            continue;
        }
        let value = args.next().ok_or("a value is missing")?;
        match &*flag {
            "--files" => o.files = value.parse()?,
            "--mib" => o.mib = value.parse()?,
            "--rounds" => o.rounds = value.parse()?,
            "--part" => o.part = value,
            _ => return Err(usage.into()),
        }
    }
    Ok(o)
}

/// Seconds of each round; the middle one counts, of an even number the upper of the two in the middle.
#[derive(Default)]
struct Rounds(Vec<f64>);

impl Rounds {
    fn take(&mut self, seconds: f64) {
        self.0.push(seconds);
    }

    fn median(mut self) -> f64 {
        self.0.sort_unstable_by(f64::total_cmp);
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// The live pass with its manifest, the proof, and the final pass after 1 % has changed.
fn backup(options: &Options, mut tell: impl FnMut(String)) -> Result<()> {
    let srv = options.dir.join("srv");
    make(&srv, options.files, options.mib)?;
    let mut rounds: [Rounds; 5] = Default::default();
    for round in 0..options.rounds {
        let [theirs, ours] = places(options, round);
        // In turns, and neither always first.
        for turn in 0..2_usize {
            let which = (turn + usize::try_from(round)?) % 2;
            let seconds = match which {
                0 => cold(options, || peer(&srv, &theirs))?,
                _ => cold(options, || pass(&srv, &ours, Pass::Live))?,
            };
            tell(format!(
                "round {round}: {} {seconds:.2} s",
                ["cp -a", "live pass"][which]
            ));
            rounds[which].take(seconds);
        }
        rounds[2].take(cold(options, || proven(&ours, Pass::Live))?);
        change(&srv, options.files, round)?;
        rounds[3].take(timed(|| pass(&srv, &ours, Pass::Final))?);
        change(&srv, options.files, round + 1000)?;
        rounds[4].take(cold(options, || pass(&srv, &ours, Pass::Final))?);
        proven(&ours, Pass::Final)?;
    }
    let [gnu, live, proof, last, last_cold] = rounds.map(Rounds::median);
    tell(row("cp -a, sync", gnu, gnu, None));
    tell(row(
        "live pass with its manifest, sync",
        live,
        gnu,
        Some(1.0),
    ));
    tell(row("proof of the copy", proof, gnu, None));
    tell(row("final pass, 1 % changed", last, gnu, Some(0.1)));
    tell(row(
        "final pass, 1 % changed, cold",
        last_cold,
        gnu,
        Some(0.1),
    ));
    Ok(())
}

/// The final pass over a tree, and over one with ten times the bytes and the same changes.
fn growth(options: &Options, mut tell: impl FnMut(String)) -> Result<()> {
    let srv = options.dir.join("srv");
    let [_, ours] = places(options, 0);
    make(&srv, options.files, options.mib / 10)?;
    let mut seconds: [Rounds; 2] = Default::default();
    for (size, rounds) in seconds.iter_mut().enumerate() {
        if size == 1 {
            large_files(&srv, options.mib - options.mib / 10)?;
        }
        pass(&srv, &ours, Pass::Live)?;
        for round in 0..options.rounds {
            change(&srv, options.files, round)?;
            rounds.take(timed(|| pass(&srv, &ours, Pass::Final))?);
        }
    }
    let [small, large] = seconds.map(Rounds::median);
    let what = |mib: u64| format!("final pass, {mib} MiB, same changes");
    tell(row(&what(options.mib / 10), small, small, None));
    tell(row(&what(options.mib), large, small, Some(2.0)));
    Ok(())
}

/// The final pass over a tree, and over one with ten times the files and bytes and the same changes. It has no goal: nothing tells what has
/// changed but a look at each file, and both sides of it are looked at.
fn more_files(options: &Options, mut tell: impl FnMut(String)) -> Result<()> {
    let mut seconds = Vec::new();
    let few = options.files / 10;
    for part in [10, 1] {
        let (files, mib) = (options.files / part, options.mib / part);
        let srv = options.dir.join(format!("srv-{part}"));
        let ours = options.dir.join(format!("ours-{part}"));
        make(&srv, files, mib)?;
        pass(&srv, &ours, Pass::Live)?;
        let mut rounds = Rounds::default();
        for round in 0..options.rounds {
            change(&srv, few, round)?;
            rounds.take(timed(|| pass(&srv, &ours, Pass::Final))?);
        }
        seconds.push(rounds.median());
    }
    let what = |files: u64| format!("final pass, {files} files, same changes");
    tell(row(&what(few), seconds[0], seconds[0], None));
    tell(row(&what(options.files), seconds[1], seconds[0], None));
    Ok(())
}

/// The restore after a new version had the data, against a copy of the backup to a new place.
fn back(options: &Options, mut tell: impl FnMut(String)) -> Result<()> {
    let srv = options.dir.join("srv");
    let [_, ours] = places(options, 0);
    make(&srv, options.files, options.mib)?;
    pass(&srv, &ours, Pass::Final)?;
    let mut rounds: [Rounds; 5] = Default::default();
    for round in 0..options.rounds {
        let [theirs, _] = places(options, round);
        rounds[3].take(cold(options, || proven(&ours, Pass::Final))?);
        rounds[0].take(cold(options, || peer(&ours.join("data"), &theirs))?);
        for (index, trust) in [(1, Trust::Times), (2, Trust::Bytes)] {
            migrate(&srv, options.files, round * 2 + index)?;
            rounds[usize::try_from(index)?].take(cold(options, || put_back(&srv, &ours, trust))?);
            rounds[4].take(cold(options, || same(&srv, &ours))?);
            fs::rename(
                srv.join(".ferry"),
                options.dir.join(format!("aside-{round}-{index}")),
            )?;
        }
    }
    let [gnu, times, bytes, proof, looks] = rounds.map(Rounds::median);
    tell(row("cp -a back, sync", gnu, gnu, None));
    tell(row("restore, times trusted", times, gnu, Some(0.9)));
    tell(row("restore, every byte compared", bytes, gnu, Some(0.9)));
    // A rollback does it first, while the target still serves.
    tell(row("proof of the copy", proof, gnu, None));
    // A rollback that restores nothing does it in the downtime.
    tell(row("comparison with the copy", looks, gnu, None));
    Ok(())
}

/// A line of the table: the seconds, what they are of the other's, and whether that is at most the goal.
fn row(what: &str, seconds: f64, others: f64, goal: Option<f64>) -> String {
    let ratio = seconds / others;
    let told = match goal {
        Some(most) if ratio <= most => format!("   at most {most}: reached"),
        Some(most) => format!("   at most {most}{MISSED}"),
        None => String::new(),
    };
    format!("{what:<38} {seconds:8.2} s = {ratio:.3}{told}")
}

/// The peer's copy and ours. None is removed before the end: who makes files after many were removed is slowed down by that.
fn places(options: &Options, round: u32) -> [PathBuf; 2] {
    ["theirs", "ours"].map(|name| options.dir.join(format!("{name}-{round}")))
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    rustix::fs::sync();
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

fn cold(options: &Options, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    rustix::fs::sync();
    if !options.warm && rustix::process::geteuid().is_root() {
        fs::write("/proc/sys/vm/drop_caches", "3")?;
    }
    timed(work)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the program that is measured against"
)]
fn peer(from: &Path, to: &Path) -> Result<()> {
    let status = std::process::Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status()?;
    if !status.success() {
        return Err("cp failed".into());
    }
    rustix::fs::syncfs(fs::File::open(to)?)?;
    Ok(())
}

fn pass(srv: &Path, ours: &Path, pass: Pass) -> Result<()> {
    fs::create_dir_all(ours.join("data"))?;
    let (src, dst) = (
        Root::open(srv, None)?,
        Root::open(&ours.join("data"), None)?,
    );
    let folder = ManifestFolder::open(ours)?;
    let options = CopyOptions {
        manifest: Some(&folder),
        ..CopyOptions::new(pass)
    };
    let _: CopyReport = copy(&src, &dst, &options, &Watch::default())?;
    Ok(())
}

fn proven(ours: &Path, pass: Pass) -> Result<()> {
    let manifest = ManifestFolder::open(ours)?.read(pass)?;
    let copy = Root::open(&ours.join("data"), None)?;
    let report = prove(
        &copy,
        &manifest,
        &ProveOptions::default(),
        &Watch::default(),
    )?;
    if report.is_proven() {
        Ok(())
    } else {
        Err(format!("not proven: {}", report.differences).into())
    }
}

fn same(srv: &Path, ours: &Path) -> Result<()> {
    let (data, copy) = (
        Root::open(srv, None)?,
        Root::open(&ours.join("data"), None)?,
    );
    let options = CompareOptions::default();
    let report = compare(&data, &copy, &options, &Watch::default())?;
    if report.is_same() {
        Ok(())
    } else {
        Err(format!("not the same: {}", report.differences).into())
    }
}

fn put_back(srv: &Path, ours: &Path, trust: Trust) -> Result<()> {
    let aside = srv.join(".ferry/aside");
    fs::create_dir_all(&aside)?;
    let aside = Root::open(&aside, None)?;
    let (copy, dst) = (
        Root::open(&ours.join("data"), None)?,
        Root::open(srv, None)?,
    );
    let manifest = ManifestFolder::open(ours)?.recall();
    let options = RestoreOptions {
        trust,
        manifest: manifest.as_ref(),
        ..RestoreOptions::new(&aside)
    };
    restore(&copy, &dst, &options, &Watch::default())?;
    Ok(())
}

fn path_of(srv: &Path, number: u64) -> PathBuf {
    let folder = number / PER_FOLDER;
    let name = format!(
        "table_{:02}/all_{folder}_{folder}_0/column_{number}.bin",
        folder % 40
    );
    srv.join(name)
}

/// Sizes from a quarter to seven quarters of the mean; bytes that do not compress.
fn make(srv: &Path, files: u64, mib: u64) -> Result<()> {
    let mean = (mib << 20) / files;
    let mut random = Random(1);
    let noise: Vec<u8> = (0..1 << 20)
        .map(|_| random.next().to_le_bytes()[0])
        .collect();
    for number in 0..files {
        let path = path_of(srv, number);
        if number % PER_FOLDER == 0 {
            fs::create_dir_all(path.parent().ok_or("no folder")?)?;
        }
        let mut left = usize::try_from(mean / 4 + random.next() % (mean * 3 / 2).max(1))?;
        let file = fs::File::create(path)?;
        let mut at = 0;
        while left > 0 {
            let start = usize::try_from(random.next())? % (noise.len() / 2);
            let n = left.min(noise.len() / 2);
            file.write_all_at(&noise[start..start + n], at)?;
            at += u64::try_from(n)?;
            left -= n;
        }
    }
    Ok(())
}

/// Some files that hold most of the bytes, as the parts of large tables do.
fn large_files(srv: &Path, mib: u64) -> Result<()> {
    let (mut random, mut block) = (Random(9), vec![0; 1 << 20]);
    for number in 0..mib.div_ceil(100) {
        let file = fs::File::create(srv.join(format!("large_{number}.bin")))?;
        for at in 0..(mib - number * 100).min(100) {
            for chunk in block.chunks_mut(8) {
                chunk.copy_from_slice(&random.next().to_le_bytes());
            }
            file.write_all_at(&block, at << 20)?;
        }
    }
    Ok(())
}

/// One file in a hundred gets other bytes, spread over all folders.
fn change(srv: &Path, files: u64, round: u32) -> Result<()> {
    let mut random = Random(u64::from(round) + 100);
    for _ in 0..files / 100 {
        let path = path_of(srv, random.next() % files);
        let file = fs::File::options().write(true).open(path)?;
        file.write_all_at(&random.next().to_le_bytes(), 0)?;
    }
    Ok(())
}

/// What a new version does to the data: all owners, 1 % of the files changed, some new, some gone.
fn migrate(srv: &Path, files: u64, round: u32) -> Result<()> {
    let record = srv.with_extension(format!("record.{round}"));
    let file = fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(record)?;
    let owner = Owner {
        uid: 10_000 + round,
        gid: 0,
    };
    let root = Root::open(srv, None)?;
    let options = TransferOptions::default();
    transfer(
        &root,
        owner,
        RecordWriter::open(file)?,
        &options,
        &Watch::default(),
    )?;
    change(srv, files, round)?;
    let mut random = Random(u64::from(round) + 500);
    for _ in 0..files / 500 {
        fs::write(
            path_of(srv, random.next() % files).with_extension("new"),
            "new",
        )?;
        match fs::remove_file(path_of(srv, random.next() % files)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Numbers that are the same each time (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 8
    }
}
