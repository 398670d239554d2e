//! Names of volumes.

/// Whether an engine made this name up: 64 hexadecimal digits, which say nothing to anybody.
#[must_use]
pub fn is_made_up(volume: &str) -> bool {
    volume.len() == 64 && volume.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::is_made_up;

    #[test]
    fn a_name_that_a_person_gave_is_none() {
        assert!(is_made_up(&"0f".repeat(32)));
        assert!(!is_made_up("pmm-data"));
        assert!(!is_made_up(&"0f".repeat(31)));
        assert!(!is_made_up(&"0g".repeat(32)));
    }
}
