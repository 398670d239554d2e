//! `ferryd`: performs the privileged steps, where the data is.

pub mod tree;
