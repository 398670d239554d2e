//! Stages: one after the other, each with its time, its words in a file, and an end to its patience.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::sh::{Tool, tail};
use crate::{place, say};

/// How much of a failed stage's output is shown; all of it is in the file.
const SHOWN: usize = 300;

/// The stages of one call, and how each went.
#[derive(Default)]
pub(crate) struct Stages {
    done: Vec<(&'static str, Duration, &'static str)>,
}

impl Stages {
    /// Runs a program as a stage. Its words are shown when it fails.
    pub(crate) fn run(&mut self, name: &'static str, limit: Duration, tool: &Tool) -> Result<()> {
        let log = log_file(name)?;
        fs_err::write(&log, format!("$ {}\n", tool.shown()))?;
        self.timed(name, || {
            let start = Instant::now();
            let mut running = tool.start(&log)?;
            let mut told = Duration::ZERO;
            let status = loop {
                if let Some(status) = running.ended()? {
                    break status;
                }
                let elapsed = start.elapsed();
                if elapsed > limit {
                    running.stop();
                    say::line(format!(
                        "   {name}: stopped, it took more than {}",
                        say::took(limit)
                    ));
                    return Err(failed(name, elapsed, log));
                }
                if elapsed - told >= Duration::from_secs(60) {
                    told = elapsed;
                    say::line(format!("   {name}: {} so far", say::took(elapsed)));
                }
                thread::sleep(Duration::from_millis(50));
            };
            if status.success() {
                Ok(())
            } else {
                Err(failed(name, start.elapsed(), log))
            }
        })
    }

    /// Runs a piece of this program as a stage.
    pub(crate) fn timed<T>(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        say::line(format!("── {name}"));
        let start = Instant::now();
        let result = work();
        let elapsed = start.elapsed();
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        self.done.push((name, elapsed, word));
        if let Err(Error::Stage { log, .. }) = &result {
            say::line(tail(&fs_err::read_to_string(log)?, SHOWN));
        }
        say::line(format!("   {word} in {}", say::took(elapsed)));
        result
    }

    /// All stages that ran, and the whole time.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from("\n");
        for (name, time, word) in &self.done {
            text.push_str(&format!("{word:<7} {name:<24} {:>12}\n", say::took(*time)));
        }
        let all = self.done.iter().map(|(_, time, _)| *time).sum();
        text.push_str(&format!("        {:<24} {:>12}", "in all", say::took(all)));
        text
    }
}

fn failed(stage: &'static str, elapsed: Duration, log: PathBuf) -> Error {
    Error::Stage {
        stage,
        elapsed: say::took(elapsed),
        log,
    }
}

fn log_file(name: &str) -> Result<PathBuf> {
    Ok(place::ours("logs")?.join(format!("{}.log", name.replace([' ', ','], "-"))))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Stages;
    use crate::error::Error;
    use crate::sh::Tool;

    #[test]
    fn a_stage_that_fails_and_one_that_hangs_both_end_it() {
        let mut stages = Stages::default();
        let long = Duration::from_secs(60);
        stages.run("unit true", long, &Tool::new("true")).unwrap();
        let error = stages
            .run("unit false", long, &Tool::new("false"))
            .unwrap_err();
        assert!(matches!(
            error,
            Error::Stage {
                stage: "unit false",
                ..
            }
        ));
        let error = stages
            .run("unit sleep", Duration::ZERO, &Tool::new("sleep").arg("60"))
            .unwrap_err();
        assert!(matches!(
            error,
            Error::Stage {
                stage: "unit sleep",
                ..
            }
        ));
        let table = stages.table();
        assert!(table.contains("ok      unit true"), "{table}");
        assert!(table.contains("FAILED  unit false"), "{table}");
    }
}
