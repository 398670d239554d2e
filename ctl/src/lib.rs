//! `ferryctl`: plans, sequences, journals and reports; it performs no step itself.

pub mod run;
