//! Words for people go to stderr, data to stdout: one place for both, so that a pipe gets the data alone.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the printer"
)]

use std::time::Duration;

use crate::error::Error;

/// One line of talk.
pub(crate) fn line(text: impl AsRef<str>) {
    eprintln!("{}", text.as_ref());
}

/// One line that another program may read.
pub(crate) fn data(text: impl AsRef<str>) {
    println!("{}", text.as_ref());
}

/// The last words of a command that failed.
pub(crate) fn error(error: &Error) {
    eprintln!("error: {error}");
    if let Some(hint) = error.hint() {
        eprintln!("\nhint: {hint}");
    }
}

/// `0.8 s`, `34 s`, `3 min 05 s`.
pub(crate) fn took(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::took;

    #[test]
    fn times_are_as_exact_as_they_matter() {
        assert_eq!(took(Duration::from_millis(840)), "0.8 s");
        assert_eq!(took(Duration::from_secs(34)), "34 s");
        assert_eq!(took(Duration::from_secs(185)), "3 min 05 s");
    }
}
