//! An agent's ledger of one step.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ferry_agent::fuzzing::ledger(bytes));
