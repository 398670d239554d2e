use proptest::prelude::*;

use super::{table::RULES, *};

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
        let (env, change) = one(name, "1", TARGET);
        match rule {
            Rule::Rename(new) => {
                assert_eq!(env, pairs(&[(new, "1")]));
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

#[test]
fn exactly_the_booleans_of_go_are_inverted() {
    for yes in ["1", "t", "T", "TRUE", "true", "True"] {
        assert_eq!(
            one("DISABLE_UPDATES", yes, TARGET).0,
            pairs(&[("PMM_ENABLE_UPDATES", "false")]),
            "{yes}"
        );
    }
    for no in ["0", "f", "F", "FALSE", "false", "False"] {
        assert_eq!(
            one("DISABLE_TELEMETRY", no, TARGET).0,
            pairs(&[("PMM_ENABLE_TELEMETRY", "true")]),
            "{no}"
        );
    }
    for bad in [
        "", "yes", "no", "tRUE", " true", "2", "-1", "on", "01", "true\n",
    ] {
        let (env, change) = one("DISABLE_ALERTING", bad, TARGET);
        assert_eq!((env, change.kind), (vec![], ChangeKind::Invalid), "{bad:?}");
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

    #[test]
    fn translating_twice_changes_nothing(given in proptest::collection::vec((any_name(), any_value()), 0..12)) {
        let once = translate_env(&given, TARGET);
        let twice = translate_env(&once.env, TARGET);
        prop_assert_eq!(once.env, twice.env);
    }
}
