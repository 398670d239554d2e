//! Downtime of a whole migration: Ferry, the documented commands with a copy of the volume, and without one.
//!
//! The three are run in turns on servers of the same size, so that a machine that is busy for a while does them all the same
//! wrong. Ferry makes a backup, so the commands with a copy are its like; those without one show what the backup costs them.

use std::time::{Duration, Instant};

use crate::bench::manual::{self, Copy};
use crate::bench::prober::Prober;
use crate::build::{self, Binaries, Profile};
use crate::demo::load::Load;
use crate::demo::server::Server;
use crate::docker::Named;
use crate::doubles::{Choice, Images};
use crate::error::Result;
use crate::sh::Tool;
use crate::{place, say, setup};

/// What everything that the measurement makes is called, or begins with.
const NAME: &str = "ferry-bench";

/// `cargo xtask bench crossing`
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    images: Choice,
    /// Files under /srv, in thousands
    #[arg(long, default_value_t = 50)]
    kilofiles: u32,
    /// Bytes in these files, in MiB
    #[arg(long, default_value_t = 1024)]
    mebibytes: u32,
    /// Services in the inventory
    #[arg(long, default_value_t = 400)]
    services: u32,
    /// How often each way is taken
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Ferry,
    Manual(Copy),
}

const WAYS: [(Way, &str); 3] = [
    (Way::Ferry, "ferryctl migrate"),
    (Way::Manual(Copy::Yes), "by hand, with cp -a"),
    (Way::Manual(Copy::No), "by hand, no backup"),
];

/// What one passage took.
#[derive(Clone, Copy)]
struct Passage {
    downtime: Duration,
    whole: Duration,
}

/// Measures, and prints the table.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::run()?;
    let binaries = build::ensure(Profile::Release)?;
    let images = args.images.images()?;
    let load = Load {
        files: args.kilofiles * 1000,
        mebibytes: args.mebibytes,
        services: args.services,
    };
    say::line(format!("{load}, {} rounds", args.rounds));
    let mut passages = WAYS.map(|_| Vec::new());
    for round in 1..=args.rounds {
        for ((way, name), passages) in WAYS.iter().zip(&mut passages) {
            let passage = pass(*way, load, &binaries, &images)?;
            say::line(format!(
                "round {round}  {name:<20} down {}",
                say::took(passage.downtime)
            ));
            passages.push(passage);
        }
    }
    say::data(table(&passages));
    Ok(())
}

/// Fills a new server and carries it over one way.
fn pass(way: Way, load: Load, binaries: &Binaries, images: &Images) -> Result<Passage> {
    let named = Named::claim(NAME)?;
    let server = Server::start(NAME, &images.pmm2)?;
    load.put(&server)?;
    let prober = Prober::start(server.port());
    let start = Instant::now();
    match way {
        Way::Ferry => {
            let state = place::ours("bench")?;
            Tool::new(&binaries.ferryctl)
                .args([
                    "migrate",
                    &format!("docker:{NAME}"),
                    "--to",
                    &images.pmm3,
                    "--yes",
                ])
                .env("FERRY_STATE_DIR", &state)
                .read()?;
            fs_err::remove_dir_all(&state)?;
        }
        Way::Manual(copy) => manual::cross(&server, &images.pmm2, &images.pmm3, copy)?,
    }
    server.wait_ready(3)?;
    let whole = start.elapsed();
    // The prober's own first answer may come one round after ours.
    std::thread::sleep(Duration::from_secs(1));
    let downtime = prober.downtime()?;
    named.remove()?;
    Ok(Passage { downtime, whole })
}

/// Medians, and each way's downtime as a multiple of Ferry's.
fn table(passages: &[Vec<Passage>; 3]) -> String {
    let ferry = median(passages[0].iter().map(|passage| passage.downtime));
    let mut text = String::from("way                    downtime      whole   against ferryctl\n");
    for ((_, name), passages) in WAYS.iter().zip(passages) {
        let downtime = median(passages.iter().map(|passage| passage.downtime));
        let whole = median(passages.iter().map(|passage| passage.whole));
        text.push_str(&format!(
            "{name:<20} {:>8.2} s {:>8.2} s   {:>8.2}\n",
            downtime.as_secs_f64(),
            whole.as_secs_f64(),
            downtime.as_secs_f64() / ferry.as_secs_f64()
        ));
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
    fn ratios_are_against_ferry() {
        let of = |s| {
            vec![Passage {
                downtime: Duration::from_secs(s),
                whole: Duration::from_secs(s * 2),
            }]
        };
        let text = table(&[of(4), of(10), of(6)]);
        assert!(text.lines().nth(1).unwrap().ends_with(" 1.00"), "{text}");
        assert!(text.lines().nth(2).unwrap().ends_with(" 2.50"), "{text}");
    }
}
