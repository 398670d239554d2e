//! Downtime of a whole migration: Ferry, the official script and the documentation's shorter commands, both with a copy of the volume and
//! without one, and what nobody can go below: the server's own stop and its own first start.
//!
//! All are run in turns on servers of the same size, so that a machine that is busy for a while does them all the same
//! wrong. Each begins with a cold cache, as a server has it that was in use for weeks. Ferry makes a backup, so what has a copy is its
//! like; what has none shows what the backup costs the others.

use std::time::{Duration, Instant};

use crate::bench::manual::{self, Copy};
use crate::bench::prober::Prober;
use crate::build::{self, Binaries, Profile};
use crate::demo::load::Load;
use crate::demo::server::Server;
use crate::docker::{self, Named};
use crate::doubles::{Choice, Images};
use crate::error::{Error, Result};
use crate::sh::Tool;
use crate::{place, say, settle, setup};

/// What everything that the measurement makes is called, or begins with.
const NAME: &str = "ferry-bench";

/// `cargo xtask bench crossing`
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    images: Choice,
    /// Files under /srv, in thousands
    #[arg(long, default_value_t = 300)]
    kilofiles: u32,
    /// Bytes in these files, in MiB; 3072, with `--growth` 10240
    #[arg(long)]
    mebibytes: Option<u32>,
    /// Services in the inventory
    #[arg(long, default_value_t = 400)]
    services: u32,
    /// How often each way is taken
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// Ferry alone, in turns with so many bytes and with a tenth of them in as many files: what grows with the bytes
    #[arg(long)]
    growth: bool,
    /// Ferry and the server's own stop and start alone: what is shown in minutes of how much is Ferry's own
    #[arg(long, conflicts_with = "growth")]
    own: bool,
    /// Measure what is built quickly instead of what is shipped
    #[arg(long)]
    fast: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Ferry,
    Script(Copy),
    Manual(Copy),
    Bare,
}

/// What Ferry's downtime may be, in those of another way.
#[derive(Clone, Copy)]
enum Goal {
    None,
    AtMost(f64),
    Below(f64),
}

impl Goal {
    /// The goal, and whether it was reached.
    fn told(self, ratio: f64) -> String {
        let (goal, met) = match self {
            Self::None => return String::new(),
            Self::AtMost(most) => (format!("at most {most:.2}"), ratio <= most),
            Self::Below(bound) => (format!("below {bound:.2}"), ratio < bound),
        };
        let end = if met { ": reached" } else { MISSED };
        format!("{goal}{end}")
    }
}

/// Each way, and what Ferry's downtime may be of its own.
const WAYS: [(Way, &str, Goal); 6] = [
    (Way::Ferry, "ferryctl migrate", Goal::None),
    (
        Way::Script(Copy::Yes),
        "script, with backup",
        Goal::AtMost(0.2),
    ),
    (Way::Script(Copy::No), "script, no backup", Goal::Below(1.0)),
    (Way::Manual(Copy::Yes), "by hand, with cp -a", Goal::None),
    (Way::Manual(Copy::No), "by hand, no backup", Goal::None),
    (Way::Bare, "own stop, own start", Goal::AtMost(1.25)),
];

/// The end of a line whose goal was not reached.
const MISSED: &str = ": missed";

/// From a tenth of the bytes to all of them.
const GROWTH: Goal = Goal::Below(1.1);

impl Args {
    fn mebibytes(&self) -> u32 {
        let usual = if self.growth { 10_240 } else { 3072 };
        self.mebibytes.unwrap_or(usual)
    }

    fn has(&self, way: Way) -> bool {
        match way {
            Way::Ferry => true,
            Way::Bare => true,
            Way::Script(_) | Way::Manual(_) => !self.own,
        }
    }
}

/// What one passage took.
#[derive(Clone, Copy)]
struct Passage {
    downtime: Duration,
    whole: Duration,
}

/// Measures, and prints the table.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::run()?;
    let binaries = build::ensure(Profile::of(!args.fast))?;
    let images = args.images.images()?;
    let load = Load {
        files: args.kilofiles * 1000,
        mebibytes: args.mebibytes(),
        services: args.services,
    };
    say::line(format!("{load}, {} rounds", args.rounds));
    if args.growth {
        return growth(args.rounds, load, &binaries, &images);
    }
    let mut passages = vec![Vec::new(); WAYS.len()];
    for round in 1..=args.rounds {
        let _made = begin_round()?;
        for ((way, name, _), passages) in WAYS.iter().zip(&mut passages) {
            if !args.has(*way) {
                continue;
            }
            let passage = pass(*way, load, &binaries, &images)?;
            say::line(format!(
                "round {round}  {name:<20} down {}",
                say::took(passage.downtime)
            ));
            passages.push(passage);
        }
    }
    let table = table(&passages);
    let missed = table.contains(MISSED);
    say::data(table);
    reached(!missed)
}

/// An error where a goal was missed: whoever measures in a script has to notice.
fn reached(all: bool) -> Result<()> {
    match all {
        true => Ok(()),
        false => Err(Error::with_hint(
            "a goal was missed",
            "measure again on a machine that nobody else uses, with the shipped build and several rounds",
        )),
    }
}

/// Measures what grows with the bytes.
fn growth(rounds: u32, load: Load, binaries: &Binaries, images: &Images) -> Result<()> {
    let tenth = Load {
        mebibytes: load.mebibytes / 10,
        ..load
    };
    let mut down = [Vec::new(), Vec::new()];
    for round in 1..=rounds {
        let _made = begin_round()?;
        for (load, down) in [tenth, load].into_iter().zip(&mut down) {
            let took = pass(Way::Ferry, load, binaries, images)?.downtime;
            let mebibytes = load.mebibytes;
            say::line(format!(
                "round {round}  {mebibytes:>6} MiB  down {}",
                say::took(took)
            ));
            down.push(took);
        }
    }
    let [few, all] = down.map(|times| median(times.into_iter()).as_secs_f64());
    let told = GROWTH.told(all / few);
    say::data(format!(
        "{} MiB {few:.2} s, {} MiB {all:.2} s: {:.2}   {told}",
        tenth.mebibytes,
        load.mebibytes,
        all / few,
    ));
    reached(!told.ends_with(MISSED))
}

/// What a round makes is removed at its end, and not before: see [`settle`].
fn begin_round() -> Result<Named> {
    let made = Named::claim(NAME)?;
    settle::wait()?;
    Ok(made)
}

/// Fills a new server and carries it over one way. Its volumes stay.
fn pass(way: Way, load: Load, binaries: &Binaries, images: &Images) -> Result<Passage> {
    let name = format!("{NAME}-{}", docker::free_port()?);
    let mut named = Named::claim(&name)?;
    let server = Server::start(&name, &images.pmm2)?;
    load.put(&server)?;
    drop_caches();
    let prober = Prober::start(server.port());
    let start = Instant::now();
    let mut told = None;
    match way {
        Way::Ferry => {
            let state = place::ours("bench")?;
            let journal = Tool::new(&binaries.ferryctl)
                .args([
                    "migrate",
                    &format!("docker:{name}"),
                    "--to",
                    &images.pmm3,
                    "--yes",
                    "--output",
                    "json",
                ])
                .env("FERRY_STATE_DIR", &state)
                .read()?;
            // Which step took how long, for whom a figure surprises.
            fs_err::write(place::ours("logs")?.join("bench-crossing.jsonl"), journal)?;
            fs_err::remove_dir_all(&state)?;
        }
        Way::Script(copy) => manual::script(&server, &images.pmm2, &images.pmm3, copy)?,
        Way::Manual(copy) => manual::cross(&server, &images.pmm2, &images.pmm3, copy)?,
        Way::Bare => told = Some(manual::bare(&server, &images.pmm2, &images.pmm3)?),
    }
    server.wait_ready(3)?;
    let whole = start.elapsed();
    // The prober's own first answer may come one round after ours.
    std::thread::sleep(Duration::from_secs(1));
    let seen = prober.downtime()?;
    named.remove_containers()?;
    named.keep();
    Ok(Passage {
        downtime: told.unwrap_or(seen),
        whole,
    })
}

/// As after weeks, when the files of the server are not in memory. Only root may; a warm cache favours those who read least.
fn drop_caches() {
    if let Err(error) = Tool::new("sync").read() {
        say::line(format!("what was written stays in memory: {error}"));
    }
    if let Err(error) = fs_err::write("/proc/sys/vm/drop_caches", "3") {
        say::line(format!("the cache stays warm: {error}"));
    }
}

/// Medians, and Ferry's downtime as a multiple of each way's.
fn table(passages: &[Vec<Passage>]) -> String {
    let down = |passages: &[Passage]| median(passages.iter().map(|passage| passage.downtime));
    let ferry = passages.first().map_or(Duration::ZERO, |of| down(of));
    let mut text = String::from("way                    downtime      whole   ferryctl's   goal\n");
    for ((_, name, goal), passages) in WAYS.iter().zip(passages) {
        if passages.is_empty() {
            continue;
        }
        let downtime = down(passages);
        let whole = median(passages.iter().map(|passage| passage.whole));
        let ratio = ferry.as_secs_f64() / downtime.as_secs_f64();
        let line = format!(
            "{name:<20} {:>8.2} s {:>8.2} s   {ratio:>10.2}   {}",
            downtime.as_secs_f64(),
            whole.as_secs_f64(),
            goal.told(ratio)
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.trim_end().to_owned()
}

/// The middle one; of an even number, the upper of the two in the middle.
fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Passage, median, table};

    #[test]
    fn the_median_is_not_moved_by_one_bad_round() {
        let times = [3, 90, 2].map(Duration::from_secs);
        assert_eq!(median(times.into_iter()), Duration::from_secs(3));
    }

    #[test]
    fn ratios_are_ferrys_downtime_in_the_others() {
        let of = |s| {
            vec![Passage {
                downtime: Duration::from_secs(s),
                whole: Duration::from_secs(s * 2),
            }]
        };
        let text = table(&[of(4), of(10), of(5), of(4), of(4), of(4)]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].ends_with(" 1.00"), "{text}");
        assert!(lines[2].ends_with(" 0.40   at most 0.20: missed"), "{text}");
        assert!(lines[3].ends_with(" 0.80   below 1.00: reached"), "{text}");
        assert!(
            lines[6].ends_with(" 1.00   at most 1.25: reached"),
            "{text}"
        );
        // Ways that were not taken have no line.
        let own = table(&[of(4), vec![], vec![], vec![], vec![], of(2)]);
        assert_eq!(own.lines().count(), 3, "{own}");
        assert!(own.ends_with(" 2.00   at most 1.25: missed"), "{own}");
    }
}
