//! For programs: every event, one JSON object a line, nothing else.

use std::io::Write;

use ferry_proto::v1::Plan;

use super::Reporter;
use crate::{report::json, run::events::RunEvent};

/// Writes events as JSON.
#[derive(Debug)]
pub struct Json<W> {
    out: W,
}

impl<W: Write> Json<W> {
    /// Writes to `out`, which nobody else may write to meanwhile.
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write> Reporter for Json<W> {
    fn event(&mut self, plan: &Plan, event: &RunEvent) {
        // A reader who went away must not stop the run.
        let _ = self
            .out
            .write_all(json::event(plan, event).as_bytes())
            .and_then(|()| self.out.flush());
    }
}
