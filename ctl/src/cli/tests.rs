//! What is accepted, and what is an error of usage.

use clap::{CommandFactory as _, error::ErrorKind};

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_verb_of_the_manual_is_accepted() {
    for line in [
        "ferryctl check docker:pmm-server --to percona/pmm-server:3.8.1 --show env",
        "ferryctl clients docker:pmm-server",
        "ferryctl clients upgrade https://db7:7651 https://db8:7651 --server docker:pmm-server --to 3.8.1 --yes",
        "ferryctl plan docker:pmm-server --to percona/pmm-server:3.8.1 --out plan.json",
        "ferryctl apply plan.json --yes --on-failure hold",
        "ferryctl migrate docker:pmm-server --to percona/pmm-server:3.8.1 --yes",
        "ferryctl migrate docker:pmm-server --to percona/pmm-server:3.8.1 --rehearse --yes",
        "ferryctl rehearse docker:pmm-server --to percona/pmm-server:3.8.1 --keep",
        "ferryctl status",
        "ferryctl status 7f3a9c21 --output json",
        "ferryctl watch 7f3a9c21 --color never",
        "ferryctl resume",
        "ferryctl resume 7f3a9c21 --on-failure rollback",
        "ferryctl rollback 7f3a9c21 --yes",
        "ferryctl migrate docker:p --to i:3.8.1 --backup-to /mnt/b --io-limit 50M --yes",
        "ferryctl check docker:p --to i:3.8.1 --backup-to /mnt/b",
        "ferryctl plan docker:p --to i:3.8.1 --out p --io-limit 800K",
        "ferryctl migrate docker:p --to i:3.8.1 --api-key-file /run/key --yes",
        "ferryctl apply plan.json --api-key-file /run/key",
        "ferryctl check docker:p --to i:3.8.1 --data-to-volume",
        "ferryctl plan docker:p --to i:3.8.1 --data-to-volume pmm-data --out p",
        "ferryctl migrate docker:p --data-to-volume --to i:3.8.1 --yes",
        "ferryctl resume 7f3a9c21 --api-key-file /run/key",
        "ferryctl check https://old:7650 --onto docker:pmm-server --to i:3.8.1",
        "ferryctl migrate https://old:7650 --onto docker:p --to i:3.8.1 --from-image i:2.44.1 --publish 443:443 --publish 127.0.0.1:80:80 --map-user 1000:994 --yes",
        "ferryctl plan https://old:7650 --onto https://new:7650/p --to i:3.8.1 --data-to-volume pmm-data --out p",
        "ferryctl plan docker:p --to i:3.7.0 --allow-target target-3-7-0 --out p",
        "ferryctl rehearse docker:p --to i:3 --allow-floating-tag --allow-target target-postgres-upgrade",
        "ferryctl backup list --output json",
        "ferryctl backup verify 7f3a9c21",
        "ferryctl backup --engine kubernetes:monitoring list",
        "ferryctl backup prune --engine kubernetes --yes",
        "ferryctl backup restore 7f3a9c21 --into pmm-old",
        "ferryctl backup prune --older-than 30d --keep 2 --orphans --yes",
        "ferryctl finish 7f3a9c21 --remove-backup --yes",
        "ferryctl runs -q --state-dir /var/lib/ferry --agent-binary /usr/lib/ferry/ferryd",
    ] {
        parse(line).unwrap();
    }
}

#[test]
fn what_is_missing_or_contradicts_is_an_error_of_usage() {
    for (line, kind) in [
        (
            "ferryctl check docker:pmm-server",
            ErrorKind::MissingRequiredArgument,
        ),
        ("ferryctl rollback", ErrorKind::MissingRequiredArgument),
        (
            "ferryctl runs --quiet --verbose",
            ErrorKind::ArgumentConflict,
        ),
        ("ferryctl runs --output yaml", ErrorKind::InvalidValue),
        (
            "ferryctl plan docker:p --to i:3.8.1 --out p --jobs 0",
            ErrorKind::ValueValidation,
        ),
        (
            "ferryctl migrate docker:p --to i:3.8.1 --backup-to mnt/b",
            ErrorKind::ValueValidation,
        ),
        (
            "ferryctl migrate docker:p --to i:3.8.1 --io-limit fast",
            ErrorKind::ValueValidation,
        ),
        (
            "ferryctl migrate --data-to-volume docker:p --to i:3.8.1",
            ErrorKind::ValueValidation,
        ),
        (
            "ferryctl migrate https://old:7650 --to i:3.8.1 --publish 443:443",
            ErrorKind::MissingRequiredArgument,
        ),
        (
            "ferryctl migrate https://old:7650 --onto docker:p --to i:3.8.1 --publish 443",
            ErrorKind::ValueValidation,
        ),
        (
            "ferryctl rehearse docker:p --to i:3.8.1 --data-to-volume",
            ErrorKind::UnknownArgument,
        ),
        (
            "ferryctl migrate docker:p --to i:3.8.1 --recipe pmm-move-data",
            ErrorKind::InvalidValue,
        ),
        (
            "ferryctl check docker:p --to i:3.13.0 --allow-target target-too-new",
            ErrorKind::InvalidValue,
        ),
        (
            "ferryctl backup prune --older-than 30",
            ErrorKind::ValueValidation,
        ),
        (
            "ferryctl backup",
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
        ),
        ("ferryctl backup verify", ErrorKind::MissingRequiredArgument),
        ("ferryctl finish", ErrorKind::MissingRequiredArgument),
    ] {
        let error = parse(line).unwrap_err();
        assert_eq!(error.kind(), kind, "{line}");
        assert_eq!(
            error.exit_code(),
            i32::from(crate::exit::Exit::Usage.code())
        );
    }
}

#[test]
fn the_long_help_has_the_exit_codes() {
    let help = Cli::command().term_width(80).render_long_help().to_string();
    insta::assert_snapshot!(help);
}
