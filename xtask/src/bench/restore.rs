//! The way back after the target had the data, against copying the backup back with `cp -a`.

use crate::bench::backup::{self, Args};
use crate::error::Result;

/// Measures.
pub(crate) fn run(args: &Args) -> Result<()> {
    backup::part(args, "restore")
}
