//! What somebody answers in the place of an engine or of an API server: errors, by rules.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What becomes of requests whose first line has all of these words in this order.
#[derive(Debug)]
pub struct Rule {
    words: Vec<String>,
    answer: Answer,
    /// How many of them are passed on before it holds.
    after: usize,
    /// How many it holds for.
    times: usize,
    seen: AtomicUsize,
}

/// What a request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 500 with a message.
    Error,
    /// The connection is closed without a word.
    Nothing,
}

impl Rule {
    /// For requests such as `["POST", "/containers/", "/stop"]`, each time.
    #[must_use]
    pub fn on(words: &[&str], answer: Answer) -> Self {
        Self {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            answer,
            after: 0,
            times: usize::MAX,
            seen: AtomicUsize::new(0),
        }
    }

    /// Only so many times.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Not before so many were passed on.
    #[must_use]
    pub fn after(mut self, after: usize) -> Self {
        self.after = after;
        self
    }

    fn holds(&self, line: &str) -> bool {
        let mut rest = line;
        for word in &self.words {
            let Some((_, behind)) = rest.split_once(word.as_str()) else {
                return false;
            };
            rest = behind;
        }
        let seen = self.seen.fetch_add(1, Ordering::Relaxed);
        (self.after..self.after.saturating_add(self.times)).contains(&seen)
    }
}

/// The rules of one who answers, and what came of them. All clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Answers(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    rules: Mutex<Vec<Rule>>,
    hits: AtomicUsize,
    /// The first line of the last request that a rule answered.
    last: Mutex<String>,
    /// When each request came.
    requests: Mutex<Vec<Instant>>,
    /// How many milliseconds each waits before a rule is looked for.
    wait: AtomicU64,
}

impl Answers {
    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.0.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn came_at(&self) -> MutexGuard<'_, Vec<Instant>> {
        let requests = self.0.requests.lock();
        requests.unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this rule holds too.
    pub fn add(&self, rule: Rule) {
        self.rules().push(rule);
    }

    /// Each request waits for so many milliseconds: who makes a rule for what a tool is about to ask is not too late.
    pub fn wait(&self, milliseconds: u64) {
        self.0.wait.store(milliseconds, Ordering::Relaxed);
    }

    /// From now on no rule holds.
    pub fn heal(&self) {
        self.wait(0);
        self.rules().clear();
    }

    /// How many requests were answered by a rule. A fault that was never met proves nothing.
    #[must_use]
    pub fn hits(&self) -> usize {
        self.0.hits.load(Ordering::Relaxed)
    }

    /// The first line of the last request that a rule answered; empty where none was.
    #[must_use]
    pub fn last(&self) -> String {
        let last = self.0.last.lock();
        last.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests there were until then.
    #[must_use]
    pub fn requests(&self, until: Instant) -> usize {
        self.came_at().iter().filter(|at| **at < until).count()
    }

    /// A request has come, and waits for so long.
    pub(crate) fn came(&self) -> Duration {
        self.came_at().push(Instant::now());
        Duration::from_millis(self.0.wait.load(Ordering::Relaxed))
    }

    /// The answer to a request with this first line, where a rule has one.
    pub(crate) fn to(&self, line: &str) -> Option<Answer> {
        let rules = self.rules();
        // Each counts what it sees, also when another one answers.
        let holding: Vec<_> = rules.iter().filter(|rule| rule.holds(line)).collect();
        let answer = holding.first()?.answer;
        self.0.hits.fetch_add(1, Ordering::Relaxed);
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        line.clone_into(&mut last);
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_about_its_requests_alone_and_so_many_of_them() {
        let rule = Rule::on(&["POST", "/stop"], Answer::Error)
            .after(1)
            .times(1);
        assert!(!rule.holds("GET /v1.41/containers/json HTTP/1.1"));
        let stop = "POST /v1.41/containers/a/stop?t=3 HTTP/1.1";
        assert_eq!([(); 3].map(|()| rule.holds(stop)), [false, true, false]);
    }

    #[test]
    fn who_heals_has_no_rule_and_remembers_what_came() {
        let answers = Answers::default();
        answers.wait(7);
        assert_eq!(answers.came(), Duration::from_millis(7));
        answers.add(Rule::on(&["GET"], Answer::Nothing));
        assert_eq!(answers.to("GET /info HTTP/1.1"), Some(Answer::Nothing));
        answers.heal();
        assert_eq!(answers.to("GET /info HTTP/1.1"), None);
        assert_eq!(answers.came(), Duration::ZERO);
        assert_eq!((answers.hits(), answers.requests(Instant::now())), (1, 2));
        assert_eq!(answers.last(), "GET /info HTTP/1.1");
    }
}
