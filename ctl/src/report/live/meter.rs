//! How fast a step is, over the last seconds: an average from its begin would not notice that a
//! disk became slow.

use std::{collections::VecDeque, time::Duration};

use ferry_proto::v1::Progress;

/// Long enough to be calm, short enough to be true.
const WINDOW: Duration = Duration::from_secs(10);
/// A shorter span gives a figure that jumps.
const LEAST: Duration = Duration::from_millis(300);

/// The recent progress of one step.
#[derive(Debug, Default)]
pub(super) struct Meter {
    samples: VecDeque<(Duration, u64)>,
    last: Option<Progress>,
}

impl Meter {
    /// Takes what the agent reports at this time.
    pub(super) fn push(&mut self, now: Duration, progress: &Progress) {
        let restarted = self.last.as_ref().is_some_and(|last| {
            last.unit != progress.unit || last.done > progress.done || last.total != progress.total
        });
        if restarted {
            self.samples.clear();
        }
        self.samples.push_back((now, progress.done));
        // The oldest sample outside the window is the base of the average.
        while self
            .samples
            .get(1)
            .is_some_and(|(time, _)| now.saturating_sub(*time) >= WINDOW)
        {
            self.samples.pop_front();
        }
        self.last = Some(progress.clone());
    }

    /// The newest progress.
    pub(super) fn progress(&self) -> Option<&Progress> {
        self.last.as_ref()
    }

    /// Units a second; absent when not enough is known.
    pub(super) fn rate(&self) -> Option<u64> {
        let ((from, before), (to, after)) = (self.samples.front()?, self.samples.back()?);
        let span = to.saturating_sub(*from);
        if span < LEAST || after <= before {
            return None;
        }
        let rate = u128::from(after - before) * 1000 / span.as_millis().max(1);
        u64::try_from(rate).ok().filter(|rate| *rate > 0)
    }

    /// Milliseconds until it is done; absent when not enough is known.
    pub(super) fn left(&self) -> Option<u64> {
        let progress = self.progress()?;
        let missing = progress.total.checked_sub(progress.done)?;
        if progress.total == 0 {
            return None;
        }
        u64::try_from(u128::from(missing) * 1000 / u128::from(self.rate()?)).ok()
    }

    /// Whole percents; absent when the total is not known.
    pub(super) fn percent(&self) -> Option<u64> {
        let progress = self.progress()?;
        if progress.total == 0 {
            return None;
        }
        let percent = u128::from(progress.done) * 100 / u128::from(progress.total);
        u64::try_from(percent.min(100)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(done: u64, total: u64) -> Progress {
        Progress {
            done,
            total,
            unit: "entries".into(),
            current: String::new(),
        }
    }

    #[test]
    fn the_rate_is_of_the_last_seconds() {
        let mut meter = Meter::default();
        for second in 0..30_u64 {
            let rate = if second < 15 { 1000 } else { 10 };
            let done = if second < 15 {
                second * rate
            } else {
                15_000 + (second - 15) * rate
            };
            meter.push(Duration::from_secs(second), &progress(done, 20_000));
        }
        assert_eq!(meter.rate(), Some(10));
        assert_eq!(meter.left(), Some((20_000 - 15_140) * 100));
        assert_eq!(meter.percent(), Some(75));
    }

    #[test]
    fn nothing_is_claimed_that_is_not_known() {
        let mut meter = Meter::default();
        assert_eq!(
            (meter.rate(), meter.left(), meter.percent()),
            (None, None, None)
        );
        meter.push(Duration::ZERO, &progress(5, 0));
        meter.push(Duration::from_secs(1), &progress(9, 0));
        assert_eq!(
            (meter.rate(), meter.left(), meter.percent()),
            (Some(4), None, None)
        );
        // A step that begins anew does not go backwards.
        meter.push(Duration::from_secs(2), &progress(1, 0));
        assert_eq!(meter.rate(), None);
        meter.push(Duration::from_secs(3), &progress(u64::MAX, 1));
        assert_eq!((meter.left(), meter.percent()), (None, Some(100)));
    }
}
