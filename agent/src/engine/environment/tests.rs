use proptest::prelude::*;

use super::{
    table::{RULES, Shape, shape},
    values::is_duration,
    *,
};

const TARGET: TargetVersion = TargetVersion { major: 3, minor: 8 };

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn one(name: &str, value: &str, target: TargetVersion) -> (Vec<(String, String)>, EnvChange) {
    let mut done = translate_env(&pairs(&[(name, value)]), target);
    assert_eq!(done.changes.len(), 1);
    (done.env, done.changes.remove(0))
}

#[test]
fn what_the_image_set_is_not_the_users() {
    let image = pairs(&[("PATH", "/bin"), ("LANG", "en")]);
    let container = pairs(&[("PATH", "/bin"), ("LANG", "de"), ("X", "1")]);
    assert_eq!(
        user_env(&container, &image),
        pairs(&[("LANG", "de"), ("X", "1")])
    );
}

#[test]
fn every_row_does_what_it_says() {
    for (name, rule) in RULES {
        let value = match rule {
            Rule::Rename(new) if shape(new) == Some(Shape::Duration) => "72h",
            _ => "1",
        };
        let (env, change) = one(name, value, TARGET);
        match rule {
            Rule::Rename(new) => {
                assert_eq!(env, pairs(&[(new, value)]));
                assert_eq!(
                    (change.kind, change.new_name.as_deref()),
                    (ChangeKind::Renamed, Some(*new))
                );
            }
            Rule::Invert(new) => {
                assert_eq!(env, pairs(&[(new, "false")]));
                assert_eq!(
                    (change.kind, change.new_name.as_deref()),
                    (ChangeKind::Inverted, Some(*new))
                );
            }
            Rule::Drop(_) => {
                assert_eq!(env, []);
                assert_eq!((change.kind, change.new_name), (ChangeKind::Dropped, None));
                assert!(!change.note.is_empty());
            }
        }
    }
}

#[test]
fn no_old_name_has_two_rows_and_no_new_name_is_old() {
    for (index, (name, _)) in RULES.iter().enumerate() {
        assert!(
            RULES[index + 1..].iter().all(|(other, _)| other != name),
            "{name}"
        );
        assert!(
            !RULES.iter().any(
                |(_, rule)| matches!(rule, Rule::Rename(new) | Rule::Invert(new) if new == name)
            )
        );
    }
}

/// Go's `strconv.ParseBool`, value by value, and what is near to it.
const TRUE: [&str; 6] = ["1", "t", "T", "TRUE", "true", "True"];
const FALSE: [&str; 6] = ["0", "f", "F", "FALSE", "false", "False"];
const NEITHER: [&str; 24] = [
    "", " ", "yes", "no", "y", "n", "on", "off", "tRUE", "fALSE", "TrUe", "tr", "2", "-1", "+1",
    "01", "1.0", " true", "true ", "true\n", "\"true\"", "'false'", "`true`", "$TRUE",
];

/// The variables that are booleans, by old and new names; each with the new name, and whether it is turned round.
fn booleans() -> Vec<(&'static str, &'static str, bool)> {
    let old = RULES.iter().filter_map(|(name, rule)| match rule {
        Rule::Invert(new) => Some((*name, *new, true)),
        Rule::Rename(new) if shape(new) == Some(Shape::Boolean) => Some((*name, *new, false)),
        _ => None,
    });
    let old: Vec<_> = old.collect();
    let new: Vec<_> = old.iter().map(|(_, new, _)| (*new, *new, false)).collect();
    [old, new].concat()
}

#[test]
fn a_boolean_is_one_of_gos_or_it_is_refused() {
    let all = booleans();
    assert_eq!(all.len(), 14);
    for (name, new, inverted) in all {
        for (values, means) in [(TRUE, true), (FALSE, false)] {
            for value in values {
                let (env, change) = one(name, value, TARGET);
                let wanted = match (inverted, means) {
                    (false, _) => value,
                    (true, true) => "false",
                    (true, false) => "true",
                };
                assert_eq!(env, pairs(&[(new, wanted)]), "{name}={value}");
                assert_eq!(change.kind == ChangeKind::Inverted, inverted);
            }
        }
        for value in NEITHER {
            let (env, change) = one(name, value, TARGET);
            assert_eq!(
                (env, change.kind),
                (vec![], ChangeKind::Invalid),
                "{name}={value:?}"
            );
            assert!(change.note.contains("neither true nor false"));
        }
    }
}

#[test]
fn a_duration_is_one_of_gos_or_it_is_refused() {
    for name in [
        "DATA_RETENTION",
        "METRICS_RESOLUTION",
        "METRICS_RESOLUTION_HR",
        "METRICS_RESOLUTION_MR",
        "METRICS_RESOLUTION_LR",
        "PMM_DATA_RETENTION",
    ] {
        for value in [
            "720h", "90m", "1h30m", "5s", "1.5h", ".5h", "1.h", "100ms", "1us", "1\u{b5}s", "0",
            "+1h", "72H",
        ] {
            assert_ne!(
                one(name, value, TARGET).1.kind,
                ChangeKind::Invalid,
                "{name}={value}"
            );
        }
        for value in [
            "", "30", "30d", "1w", "h", ".h", ".", "1 h", " 1h", "1h ", "1h\n", "--1h", "\"1h\"",
            "`1h`", "$X", "1h30",
        ] {
            let (env, change) = one(name, value, TARGET);
            assert_eq!(
                (env, change.kind),
                (vec![], ChangeKind::Invalid),
                "{name}={value:?}"
            );
        }
    }
    // Nobody judges a value that PMM does not look at.
    let (_, change) = one("PERCONA_PLATFORM_API_TIMEOUT", "soon", TARGET);
    assert_eq!(change.kind, ChangeKind::Renamed);
}

#[test]
fn every_byte_of_a_value_stays() {
    let values = [
        "\"quoted\"",
        "'single' and \"double\"",
        "first\nsecond\r\n\tthird\n",
        "$HOME ${PATH} $(id) $$ $",
        "`touch /tmp/x`",
        "back\\slash \\n \\\" \\",
        "a=b=c",
        " leading and trailing ",
        "",
        "%s %d * ? [a-z] {b,c} ~ ! # & | ; < >",
        "\u{e4}\u{1f40b}\u{1b}[31m",
        "\"`$(touch x)`\n'$1' \\",
    ];
    let names = RULES.iter().filter_map(|(name, rule)| match rule {
        Rule::Rename(new) if shape(new).is_none() => Some((*name, *new)),
        _ => None,
    });
    let kept = [
        "GF_SECURITY_ADMIN_PASSWORD",
        "VM_x",
        "VMAGENT_y",
        "NO_PROXY",
        "MY_OWN",
        "PMM_PUBLIC_ADDRESS",
    ];
    let all: Vec<(&str, &str)> = names.chain(kept.map(|name| (name, name))).collect();
    assert!(all.len() > 30, "{}", all.len());
    for (name, new) in all {
        for value in values {
            assert_eq!(
                one(name, value, TARGET).0,
                pairs(&[(new, value)]),
                "{name}={value:?}"
            );
        }
    }
}

#[test]
fn the_new_name_wins_wherever_it_stands() {
    for given in [
        [("DATA_RETENTION", "72h"), ("PMM_DATA_RETENTION", "24h")],
        [("PMM_DATA_RETENTION", "24h"), ("DATA_RETENTION", "72h")],
    ] {
        let done = translate_env(&pairs(&given), TARGET);
        assert_eq!(done.env, pairs(&[("PMM_DATA_RETENTION", "24h")]));
        let dropped = done
            .changes
            .iter()
            .find(|change| change.name == "DATA_RETENTION")
            .unwrap();
        assert_eq!(dropped.kind, ChangeKind::Dropped);
        assert!(dropped.note.contains("PMM_DATA_RETENTION"));
    }
    // Even a value that could not be understood does not matter then.
    let done = translate_env(
        &pairs(&[("DISABLE_UPDATES", "x"), ("PMM_ENABLE_UPDATES", "true")]),
        TARGET,
    );
    assert_eq!(done.invalid().count(), 0);
}

#[test]
fn of_several_platform_addresses_one_wins() {
    let done = translate_env(
        &pairs(&[
            ("PERCONA_TEST_SAAS_HOST", "b"),
            ("PERCONA_TEST_PLATFORM_ADDRESS", "https://a"),
        ]),
        TARGET,
    );
    assert_eq!(
        done.env,
        pairs(&[("PMM_PERCONA_PLATFORM_ADDRESS", "https://a")])
    );
    assert_eq!(done.changes[0].kind, ChangeKind::Dropped);
    let (_, change) = one("PERCONA_TEST_AUTH_HOST", "a", TARGET);
    assert!(change.note.contains("https://"));
}

#[test]
fn names_that_pmm_2_read_in_any_case_are_found_in_any_case() {
    assert_eq!(
        one("disable_updates", "1", TARGET).0,
        pairs(&[("PMM_ENABLE_UPDATES", "false")])
    );
    assert_eq!(
        one("percona_test_postgres_addr", "x", TARGET).1.kind,
        ChangeKind::Unknown
    );
}

#[test]
fn minors_matter() {
    let minor = |minor| TargetVersion { major: 3, minor };
    assert_eq!(
        one("PMM_WATCHTOWER_HOST", "x", minor(8)).1.kind,
        ChangeKind::Kept
    );
    assert_eq!(
        one("PMM_WATCHTOWER_TOKEN", "x", minor(9)).1.kind,
        ChangeKind::Dropped
    );
    assert!(one("GF_DATABASE_URL", "x", minor(1)).1.note.is_empty());
    assert!(
        one("GF_DATABASE_URL", "x", minor(2))
            .1
            .note
            .contains("GF_DATABASE_HOST")
    );
    assert!(
        one("PMM_CLICKHOUSE_USER", "x", minor(1))
            .1
            .note
            .contains("3.2")
    );
    assert!(one("PMM_CLICKHOUSE_USER", "x", minor(2)).1.note.is_empty());
}

#[test]
fn names_of_others_pass_through() {
    for name in [
        "GF_SECURITY_ADMIN_USER",
        "VM_x",
        "VMAGENT_y",
        "https_proxy",
        "NO_PROXY",
        "PMM_DEBUG",
        "PMM_VM_URL",
    ] {
        assert_eq!(one(name, "v", TARGET).1.kind, ChangeKind::Kept, "{name}");
    }
    assert_eq!(one("MY_OWN", "v", TARGET).1.kind, ChangeKind::Unknown);
    assert!(
        one("PERCONA_TEST_NEW_THING", "v", TARGET)
            .1
            .note
            .contains("PERCONA_")
    );
}

#[test]
fn nothing_that_is_shown_holds_a_value() {
    let given = pairs(&[
        ("GF_SECURITY_ADMIN_PASSWORD", "hunter2"),
        ("DISABLE_UPDATES", "hunter2"),
        ("X", "hunter2"),
    ]);
    let done = translate_env(&given, TARGET);
    assert!(!format!("{done:?}").contains("hunter2"));
}

fn any_name() -> impl Strategy<Value = String> {
    let listed = proptest::sample::select(
        RULES
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect::<Vec<_>>(),
    );
    prop_oneof![listed, "[A-Za-z_][A-Za-z0-9_]{0,12}", "PMM_[A-Z]{1,8}"]
}

fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[\"'`$=\\\\\n\t ]{0,8}",
        Just("`touch /tmp/x` $(id) \"q\" 'q' a=b\n$HOME".to_owned()),
        Just("true".to_owned()),
    ]
}

proptest! {
    #[test]
    fn values_are_never_altered_but_by_inversion(given in proptest::collection::vec((any_name(), any_value()), 0..12)) {
        let done = translate_env(&given, TARGET);
        prop_assert_eq!(done.changes.len(), given.len());
        let mut out = done.env.iter();
        for ((name, value), change) in given.iter().zip(&done.changes) {
            prop_assert_eq!(name, &change.name);
            match change.kind {
                ChangeKind::Dropped | ChangeKind::Invalid => {}
                ChangeKind::Inverted => {
                    let (new, inverted) = out.next().unwrap();
                    prop_assert_eq!(Some(new), change.new_name.as_ref());
                    prop_assert_eq!(parse_bool(inverted), parse_bool(value).map(|b| !b));
                }
                ChangeKind::Renamed | ChangeKind::Kept | ChangeKind::Unknown => {
                    let (new, same) = out.next().unwrap();
                    prop_assert_eq!(new, change.new_name.as_ref().unwrap_or(name));
                    prop_assert_eq!(same, value);
                }
            }
        }
        prop_assert!(out.next().is_none());
    }

    /// Numbers with units, joined, are durations; without its unit the last one makes it none.
    #[test]
    fn durations_are_read_as_go_reads_them(parts in proptest::collection::vec((0u32..100_000, 0usize..7), 1..5)) {
        let units = ["ns", "us", "ms", "s", "m", "h", "\u{3bc}s"];
        let text: String = parts.iter().map(|(number, unit)| format!("{number}{}", units[*unit])).collect();
        prop_assert!(is_duration(&text), "{}", text);
        let bare = format!("{text}{}", parts[0].0);
        prop_assert!(!is_duration(&bare), "{}", bare);
    }

    #[test]
    fn translating_twice_changes_nothing(given in proptest::collection::vec((any_name(), any_value()), 0..12)) {
        let once = translate_env(&given, TARGET);
        let twice = translate_env(&once.env, TARGET);
        prop_assert_eq!(once.env, twice.env);
    }
}
