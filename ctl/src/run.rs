//! A run: one execution of a plan, with a journal.
//!
//! A controller may die at any moment and another one must know what to do next, so everything a
//! run is stands in its journal: [`journal`] keeps the [`events`], [`record`] says what they mean,
//! [`driver`] is the only one that adds to them, and [`lock`] sees to it that there is one driver.

pub mod driver;
pub mod events;
pub mod interrupt;
pub mod journal;
pub mod lock;
pub mod record;
