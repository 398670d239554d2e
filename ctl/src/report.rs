//! What a person or a program reads. Renderers return text and print nothing, so that a whole
//! screen is tested as data; one [`Printer`] decides what goes where.
//!
//! No meaning is in colour alone, and no text from a server reaches the terminal with its control
//! characters.

mod backups;
mod check;
mod clients;
pub mod json;
pub mod live;
mod plan;
mod printer;
mod problem;
mod rehearsal;
mod runs;
mod settings;
mod summary;
#[cfg(test)]
mod tests;
mod text;
mod upkeep;

pub use backups::{Judged, backups, judged, when};
pub use check::{CheckOptions, check};
pub use clients::clients;
pub use plan::plan;
pub use printer::Printer;
pub use problem::{Problem, error, failure};
pub use rehearsal::{RehearsalReport, rehearsal};
pub use runs::{RunRow, RunStatus, StepRow, runs, status};
pub use settings::{Settings, Surroundings};
pub use summary::{RunSummary, summary};
pub use text::Look;
pub use upkeep::{Upkeep, upkeep};
