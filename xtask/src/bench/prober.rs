//! Downtime as a user of the server has it: from the last answer of the old version to the first of the new one, and whatever time the
//! old one did not answer before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::demo::server::ready_page;
use crate::error::{Error, Result};
use crate::http;

/// How often is asked.
const EVERY: Duration = Duration::from_millis(20);
/// How long an answer may take to count as one.
const LIMIT: Duration = Duration::from_millis(500);

/// Two answers of the old version that lie farther apart have an outage between them.
const OUTAGE: Duration = Duration::from_secs(1);

/// A thread that asks a port's two ready pages over and over.
pub(crate) struct Prober {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Watch>,
}

impl Prober {
    /// Starts to ask.
    pub(crate) fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let ready = move |major| {
            http::get(port, ready_page(major), LIMIT).is_some_and(|answer| answer.status == 200)
        };
        let thread = thread::spawn(move || {
            let mut watch = Watch::default();
            while !told.load(Ordering::Relaxed) {
                let asked = Instant::now();
                // PMM 3 answers the old page too: whoever answers the new one is new.
                let new = ready(3);
                watch.note(asked, Instant::now(), new, !new && ready(2));
                thread::sleep(EVERY.saturating_sub(asked.elapsed()));
            }
            watch
        });
        Self { stop, thread }
    }

    /// Ends, and says how long neither version answered.
    pub(crate) fn downtime(self) -> Result<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        let watch = self
            .thread
            .join()
            .map_err(|_| Error::new("the prober panicked"))?;
        watch.downtime()
    }
}

/// What was seen so far.
#[derive(Default)]
struct Watch {
    /// When the old version was last asked successfully, before the new one answered.
    last_old: Option<Instant>,
    /// Outages before that.
    lost: Duration,
    /// When the new version's first answer was there.
    first_new: Option<Instant>,
}

impl Watch {
    fn note(&mut self, asked: Instant, answered: Instant, new: bool, old: bool) {
        if self.first_new.is_some() {
            return;
        }
        if new {
            self.first_new = Some(answered);
        } else if old {
            let since = self.last_old.map(|last| asked.duration_since(last));
            self.lost += since.filter(|gap| *gap > OUTAGE).unwrap_or_default();
            self.last_old = Some(asked);
        }
    }

    fn downtime(&self) -> Result<Duration> {
        match (self.last_old, self.first_new) {
            (Some(old), Some(new)) => Ok(self.lost + new.duration_since(old)),
            (None, _) => Err(Error::new("the old version was never seen")),
            (_, None) => Err(Error::new("the new version was never seen")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Watch;

    #[test]
    fn downtime_runs_from_the_last_old_answer_to_the_first_new_one() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut watch = Watch::default();
        watch.note(at(0), at(1), false, true);
        watch.note(at(20), at(22), false, true);
        watch.note(at(40), at(540), false, false);
        // An answer in between is no end of the downtime: only the new version is.
        watch.note(at(560), at(561), false, true);
        watch.note(at(580), at(1080), false, false);
        watch.note(at(1100), at(1105), true, false);
        watch.note(at(1120), at(1121), true, false);
        assert_eq!(watch.downtime().unwrap(), Duration::from_millis(545));
    }

    #[test]
    fn an_old_version_that_comes_up_once_more_was_down_before() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut watch = Watch::default();
        for (second, new, old) in [(0, false, true), (10, false, false), (30, false, true)] {
            watch.note(at(second), at(second), new, old);
        }
        watch.note(at(31), at(31), false, true);
        watch.note(at(40), at(40), true, false);
        assert_eq!(watch.downtime().unwrap().as_secs(), 30 + 9);
    }

    #[test]
    fn a_version_that_was_never_seen_has_no_downtime() {
        assert!(Watch::default().downtime().is_err());
        let mut watch = Watch::default();
        watch.note(Instant::now(), Instant::now(), false, true);
        assert!(watch.downtime().is_err());
    }
}
