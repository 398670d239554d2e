//! An entry as another machine tells of it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ferry_agent::fuzzing::told(bytes));
