//! A plan's file: read or refused, never something else than what was sealed.
#![no_main]

use ferry_proto::{read_plan, seal, v1::Plan};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(plan) = read_plan(text) {
        let written = serde_json::to_string_pretty(&plan).expect("a plan that was read is JSON");
        assert_eq!(read_plan(&written).ok(), Some(plan));
    }
    // No guess finds a digest: whatever can be read as a plan at all, sealed.
    if let Ok(plan) = serde_json::from_str::<Plan>(text)
        && let Ok(sealed) = seal(plan)
    {
        let written = serde_json::to_string(&sealed).expect("it was just sealed as JSON");
        assert_eq!(read_plan(&written).ok(), Some(sealed));
    }
});
