//! Moments and choices that nobody thought of, and that can be repeated: the seed is told wherever a test may fail.

use std::time::Duration;

/// The variable that repeats a test's choices.
const SEED: &str = "FERRY_TEST_SEED";

/// A small generator of its own (SplitMix64): what matters is that its seed is told.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// With the seed of the environment, else of the clock; tells it.
    #[must_use]
    pub fn new() -> Self {
        let told = std::env::var(SEED).ok();
        let now = || std::time::UNIX_EPOCH.elapsed().map_or(1, |d| d.as_secs());
        let random = Self(told.and_then(|s| s.parse().ok()).unwrap_or_else(now));
        random.tell(&format!("{SEED}={}", random.0));
        random
    }

    /// With a given seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Says something that is shown with a failed test.
    #[allow(clippy::print_stderr, reason = "shown with a failed test")]
    pub fn tell(&self, what: &str) {
        eprintln!("{what}");
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A time below `most`, in whole milliseconds.
    pub fn up_to(&mut self, most: Duration) -> Duration {
        let millis = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.draw() % millis.max(1))
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_choices() {
        let mut one = Random::seeded(7);
        let mut other = Random::seeded(7);
        let most = Duration::from_secs(9);
        for _ in 0..100 {
            let drawn = one.up_to(most);
            assert!(drawn < most);
            assert_eq!(drawn, other.up_to(most));
        }
        assert_ne!(one.draw(), Random::seeded(8).draw());
    }
}
