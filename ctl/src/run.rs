//! A run: one execution of a plan, with a journal.

pub mod events;
