//! `ferryctl`: plans, sequences, journals and reports; it performs no step itself.

pub mod backups;
pub mod cli;
pub mod clients;
pub mod commands;
pub mod connect;
#[cfg(test)]
mod double;
pub mod exit;
pub mod facts;
pub mod recipes;
pub mod report;
pub mod run;
#[cfg(test)]
mod samples;
pub mod units;
