//! The environment of a PMM 2 container, put into the words of PMM 3.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ferry_agent::fuzzing::environment(bytes));
