//! Placeholder root until the modules land.
