//! Values that are more than a word: what is accepted, and what is said of what is not.

use std::time::Duration;

use ferry_proto::v1::{PublishedPort, Renumber};

use crate::connect::address::{AddressError, AgentAddress, EngineChoice};

/// Nothing is copied at less than this in a time that anybody would wait.
const LEAST_RATE: u64 = 1 << 10;
const SECONDS_A_DAY: u64 = 86_400;

/// Bytes a second: `50M`, `800K`, `1G`, also `50MiB`. Units are powers of 1024, as in all that is
/// printed.
pub(super) fn rate(text: &str) -> Result<u64, String> {
    let form = || {
        format!(
            "`{text}` is no rate: write bytes a second with K, M or G behind, for example `50M`"
        )
    };
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err(form()),
    };
    let number: u64 = digits.parse().map_err(|_| form())?;
    let rate = number.checked_mul(unit).ok_or_else(form)?;
    if rate < LEAST_RATE {
        return Err(format!(
            "{rate} bytes a second is less than 1K: did you mean `{number}M`?"
        ));
    }
    Ok(rate)
}

/// An engine where no server is named.
pub(super) fn engine(text: &str) -> Result<EngineChoice, String> {
    text.parse().map_err(|error| told(&error))
}

/// An agent on a client's host.
pub(super) fn agent(text: &str) -> Result<AgentAddress, String> {
    text.parse().map_err(|error| told(&error))
}

fn told(error: &AddressError) -> String {
    format!("{error}: {}", error.hint())
}

/// An absolute path of a folder, in its plainest form.
pub(super) fn folder(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!(
            "`{text}` is no absolute path: name the folder from the root of the engine's host, for example `/mnt/backup`"
        ));
    }
    if text.chars().any(char::is_control) || text.split('/').any(|part| part == "..") {
        return Err(format!(
            "`{}` has `..` or control characters in it: write the path plainly",
            text.escape_debug()
        ));
    }
    let parts = text.split('/').filter(|part| !matches!(*part, "" | "."));
    let plain: String = parts.map(|part| format!("/{part}")).collect();
    if plain.is_empty() {
        return Err("`/` is the whole host: name a folder for backups".to_owned());
    }
    Ok(plain)
}

/// A name for a volume as every engine takes it; empty: the one that is made from the server's.
pub(super) fn new_volume(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let begins = |text: &str| text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if text.is_empty() || (text.len() > 1 && begins(text) && text.chars().all(plain)) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{}` is no name for a volume: it has letters, digits and `_.-`; to leave the name out, write the option behind the address",
        text.escape_debug()
    ))
}

/// `[ADDRESS:]PORT:PORT`: on the engine's host, and of the container. An IPv6 address stands in brackets.
pub(super) fn port(text: &str) -> Result<PublishedPort, String> {
    let read = || {
        let (rest, container) = text.rsplit_once(':')?;
        let (address, host) = rest.rsplit_once(':').unwrap_or(("", rest));
        let address = match address.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']')?,
            None => address,
        };
        let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0);
        let sound = address.is_empty() || address.parse::<std::net::IpAddr>().is_ok();
        sound.then_some(PublishedPort {
            address: address.to_owned(),
            host: number(host)?.into(),
            container: number(container)?.into(),
        })
    };
    read().ok_or_else(|| {
        format!("`{}` is no port to publish: write `PORT:PORT` or `ADDRESS:PORT:PORT`, for example `443:443`", text.escape_debug())
    })
}

/// A number there and one here: `994:998`.
pub(super) fn renumber(text: &str) -> Result<Renumber, String> {
    // The greatest number stands for "as it is" and is nobody's.
    let number = |text: &str| text.parse().ok().filter(|&id| id != u32::MAX);
    let read = || {
        let (from, to) = text.split_once(':')?;
        Some(Renumber {
            from: number(from)?,
            to: number(to)?,
        })
    };
    read().ok_or_else(|| "two numbers are wanted, the old and the new one: 994:998".to_owned())
}

/// How old something is: `30d`, `12h`, `90m`, `2w`.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    let form = || {
        format!("`{text}` is no age: write a number with m, h, d or w behind, for example `30d`")
    };
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let seconds = match &text[digits.len()..] {
        "m" => 60,
        "h" => 3600,
        "d" => SECONDS_A_DAY,
        "w" => 7 * SECONDS_A_DAY,
        _ => return Err(form()),
    };
    let number: u64 = digits.parse().map_err(|_| form())?;
    // In milliseconds it must still be a number that a clock can show.
    let age = number.checked_mul(seconds).filter(|it| *it < 1 << 40);
    age.map(Duration::from_secs).ok_or_else(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_units() {
        assert_eq!(rate("50M"), Ok(50 << 20));
        assert_eq!(rate("800k"), Ok(800 << 10));
        assert_eq!(rate("1GiB"), Ok(1 << 30));
        assert_eq!(rate("1048576"), Ok(1 << 20));
        for bad in ["", "M", "50X", "-5M", "1.5M", "50 M", "99999999999G", "5M5"] {
            assert!(
                rate(bad).unwrap_err().contains("for example `50M`"),
                "{bad}"
            );
        }
        assert!(rate("50").unwrap_err().contains("did you mean `50M`?"));
        assert!(rate("0").is_err());
    }

    #[test]
    fn ports_have_two_sides_and_perhaps_an_address() {
        let read = |text: &str| {
            port(text)
                .map(|it| (it.address, it.host, it.container))
                .ok()
        };
        let of = |address: &str, host, container| Some((address.to_owned(), host, container));
        assert_eq!(read("443:443"), of("", 443, 443));
        assert_eq!(read("127.0.0.1:8443:443"), of("127.0.0.1", 8443, 443));
        assert_eq!(read("[::1]:443:443"), of("::1", 443, 443));
        for bad in [
            "",
            "443",
            "0:443",
            "443:0",
            "443:443/tcp",
            "host:443:443",
            "[::1:443:443",
            "70000:443",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn two_numbers_stand_for_one_user() {
        assert_eq!(renumber("994:998"), Ok(Renumber { from: 994, to: 998 }));
        for bad in ["", "994", "pmm:998", "994:", "4294967295:0", "1:2:3"] {
            assert!(renumber(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_folder_is_named_from_the_root() {
        assert_eq!(folder("/mnt/b").as_deref(), Ok("/mnt/b"));
        assert_eq!(folder("//mnt/./b/").as_deref(), Ok("/mnt/b"));
        for bad in ["", "b", "./b", "/", "/mnt/../etc", "/mnt/\u{1b}[2J", "~/b"] {
            assert!(folder(bad).is_err(), "{bad:?}");
        }
        assert_eq!(folder("/mnt/a..b").as_deref(), Ok("/mnt/a..b"));
    }

    #[test]
    fn ages_have_units() {
        assert_eq!(age("30d"), Ok(Duration::from_secs(30 * SECONDS_A_DAY)));
        assert_eq!(age("90m"), Ok(Duration::from_secs(5400)));
        assert_eq!(age("2w"), age("14d"));
        for bad in ["", "d", "30", "30 d", "-1d", "1y", "99999999999999999d"] {
            assert!(age(bad).unwrap_err().contains("for example `30d`"), "{bad}");
        }
    }
}
