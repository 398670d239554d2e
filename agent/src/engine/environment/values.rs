//! Values that PMM 3 looks at before it starts, and exits when it cannot read them (facts/pmm.md 1.4, item 8).

use super::table::{Shape, shape};

/// What is said of a boolean that is none.
pub(super) const NO_BOOLEAN: &str =
    "its value is neither true nor false (1 t T TRUE true True, 0 f F FALSE false False)";
const NO_DURATION: &str = "its value is no duration such as 720h, 90m or 1h30m";

/// Why PMM 3 would not start with this value of its variable `name`; `None` where it would.
pub(super) fn complaint(name: &str, value: &str) -> Option<&'static str> {
    match shape(name)? {
        Shape::Boolean => parse_bool(value).is_none().then_some(NO_BOOLEAN),
        Shape::Duration => (!is_duration(value)).then_some(NO_DURATION),
    }
}

/// Go's `strconv.ParseBool`: exactly these texts, because anything else made PMM 2 itself fail.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Whether Go's `time.ParseDuration` takes it, in any case of letters: PMM reads values in lower case.
pub(super) fn is_duration(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(&text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    let digits = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_digit());
        end.unwrap_or(text.len())
    };
    while !rest.is_empty() {
        let mut number = digits(rest);
        if rest[number..].starts_with('.') {
            number += 1 + digits(&rest[number + 1..]);
        }
        // A point alone is no number.
        if !rest[..number].contains(|c: char| c.is_ascii_digit()) {
            return false;
        }
        rest = &rest[number..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, behind) = rest.split_at(end.unwrap_or(rest.len()));
        // The two are the micro sign and the Greek letter.
        if !matches!(
            unit,
            "ns" | "us" | "\u{b5}s" | "\u{3bc}s" | "ms" | "s" | "m" | "h"
        ) {
            return false;
        }
        rest = behind;
    }
    true
}
