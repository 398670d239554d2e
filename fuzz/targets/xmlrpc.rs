//! The supervisor's answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ferry_agent::fuzzing::answer(bytes));
