//! The record of former owners.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ferry_agent::fuzzing::record(bytes));
