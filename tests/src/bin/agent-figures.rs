//! Prints what an idle agent costs: `ready_us`, `resident_kib` and `resident_after_call_kib`, each the median over as many starts as the
//! first argument says. `cargo xtask bench agent` calls it with the release binary in `FERRYD`.

#![allow(
    clippy::print_stdout,
    reason = "the figures on standard output are what this program is for"
)]

use std::time::Duration;

use ferry_tests::Result;
use ferry_tests::daemon::Daemon;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    let rounds = std::env::args().nth(1).and_then(|word| word.parse().ok());
    match measure(rounds.unwrap_or(20)).await {
        Ok(figures) => {
            for (name, values) in figures {
                println!("{name}={}", median(values));
            }
            std::process::ExitCode::SUCCESS
        }
        Err(error) => {
            tell(&error.to_string());
            std::process::ExitCode::FAILURE
        }
    }
}

async fn measure(rounds: usize) -> Result<[(&'static str, Vec<u128>); 3]> {
    let (mut ready, mut idle, mut called) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds.max(1) {
        // Nobody has called this one yet.
        let daemon = Daemon::start("inside", &[])?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        idle.push(u128::from(daemon.resident_kib()?));
        drop(daemon);
        // And this one is called as soon as that is possible.
        let daemon = Daemon::start("inside", &[])?;
        let (_agent, took) = daemon.answered().await?;
        ready.push(took.as_micros());
        called.push(u128::from(daemon.resident_kib()?));
    }
    Ok([
        ("ready_us", ready),
        ("resident_kib", idle),
        ("resident_after_call_kib", called),
    ])
}

fn median(mut values: Vec<u128>) -> u128 {
    values.sort_unstable();
    values[values.len() / 2]
}

#[allow(
    clippy::print_stderr,
    reason = "the one place where this program says what went wrong"
)]
fn tell(why: &str) {
    eprintln!("the agent cannot be measured: {why}");
}
