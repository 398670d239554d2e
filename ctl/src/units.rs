//! Sizes, counts and durations as people read them: one place, so that a plan, a progress line and
//! a report never round the same figure differently.

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// A count with thousands commas: `612,408`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 file`, `1,204 files`. Only for nouns that take an `s`.
#[must_use]
pub fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// A number of bytes in binary units: `41.2 GiB`, `128 GiB`, `38.4 MiB`, `512 B`.
#[must_use]
pub fn bytes(number: u64) -> String {
    // The next larger unit from where rounding would print `1024` of the smaller one.
    let (unit, name) = match number {
        n if n >= TIB - GIB / 2 => (TIB, "TiB"),
        n if n >= GIB - MIB / 2 => (GIB, "GiB"),
        n if n >= MIB - KIB / 2 => (MIB, "MiB"),
        n if n >= KIB => (KIB, "KiB"),
        _ => return format!("{number} B"),
    };
    let tenths = u128::from(number) * 10 / u128::from(unit);
    if tenths >= 1000 {
        let rounded = (u128::from(number) + u128::from(unit) / 2) / u128::from(unit);
        return format!("{rounded} {name}");
    }
    let rounded = (u128::from(number) * 10 + u128::from(unit) / 2) / u128::from(unit);
    format!("{}.{} {name}", rounded / 10, rounded % 10)
}

/// An expected duration, coarse: `8 s`, `6 min`, `2 h 10 min`; `below 1 s` under a second.
#[must_use]
pub fn estimate(millis: u64) -> String {
    if millis < 1000 {
        return "below 1 s".to_owned();
    }
    let seconds = millis.saturating_add(500) / 1000;
    match seconds {
        0..=90 => format!("{seconds} s"),
        91..=5400 => format!("{} min", (seconds + 30) / 60),
        _ => {
            let minutes = seconds.saturating_add(30) / 60;
            format!("{} h {} min", minutes / 60, minutes % 60)
        }
    }
}

/// A measured duration: `0.3 s`, `23.4 s`, `6 min 12 s`, `2 h 10 min`.
#[must_use]
pub fn elapsed(millis: u64) -> String {
    if millis < 60_000 {
        let tenths = millis.saturating_add(50) / 100;
        return format!("{}.{} s", tenths / 10, tenths % 10);
    }
    let seconds = millis / 1000;
    if seconds < 3600 {
        return format!("{} min {} s", seconds / 60, seconds % 60);
    }
    format!("{} h {} min", seconds / 3600, seconds / 60 % 60)
}

/// How long something has been so, in its largest fitting unit: `63 days`, `5 h`, `12 s`.
#[must_use]
pub fn age(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => counted(seconds / 86_400, "day"),
    }
}

/// An amount in the unit that the agent reports: bytes are scaled, anything else is counted.
#[must_use]
pub fn amount(number: u64, unit: &str) -> String {
    if unit == "bytes" {
        bytes(number)
    } else {
        count(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_commas_where_people_put_them() {
        let texts = [0, 999, 1000, 612_408, u64::MAX].map(count);
        assert_eq!(
            texts,
            ["0", "999", "1,000", "612,408", "18,446,744,073,709,551,615"]
        );
        assert_eq!(counted(1, "file"), "1 file");
        assert_eq!(counted(1204, "file"), "1,204 files");
    }

    #[test]
    fn bytes_never_print_1024_of_a_unit() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (MIB - 1, "1.0 MiB"),
            (40_265_318, "38.4 MiB"),
            (GIB - 1, "1.0 GiB"),
            (44_238_163_149, "41.2 GiB"),
            (128 * GIB, "128 GiB"),
            (TIB - 1, "1.0 TiB"),
            (u64::MAX, "16777216 TiB"),
        ];
        for (number, text) in cases {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn durations_are_as_exact_as_they_are_known() {
        assert_eq!(
            [0, 1000, 90_000, 372_000].map(estimate),
            ["below 1 s", "1 s", "90 s", "6 min"]
        );
        assert_eq!(estimate(7_800_000), "2 h 10 min");
        assert_eq!(
            [340, 23_400, 372_000].map(elapsed),
            ["0.3 s", "23.4 s", "6 min 12 s"]
        );
        assert_eq!(
            [12, 300, 18_000, 5_443_200].map(age),
            ["12 s", "5 min", "5 h", "63 days"]
        );
        // The largest values must not overflow.
        for text in [estimate(u64::MAX), elapsed(u64::MAX), age(u64::MAX)] {
            assert!(!text.is_empty());
        }
    }
}
