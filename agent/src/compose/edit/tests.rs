use super::{Refusal, edit};
use crate::text_edit::{Changes, Fate, Variable};

fn variable(name: &str, fate: Fate) -> Variable {
    Variable {
        name: name.into(),
        fate,
    }
}

/// Of a server with the variables that most have.
fn changes() -> Changes {
    Changes {
        image: "percona/pmm-server:3.8.1".into(),
        variables: vec![
            variable("DATA_RETENTION", Fate::Renamed("PMM_DATA_RETENTION".into())),
            variable(
                "DISABLE_UPDATES",
                Fate::Inverted("PMM_ENABLE_UPDATES".into()),
            ),
            variable("LESS_LOG_NOISE", Fate::Dropped),
        ],
        ports: true,
    }
}

fn image_alone() -> Changes {
    Changes {
        variables: Vec::new(),
        ports: false,
        ..changes()
    }
}

/// Each pair is a part of a file and what becomes of it.
fn edited(parts: &[(&str, &str)]) {
    let before: String = parts.iter().map(|(before, _)| *before).collect();
    let after: String = parts.iter().map(|(_, after)| *after).collect();
    let made = edit(&before, "pmm", &changes()).unwrap();
    assert_eq!(made.text, after);
    assert_eq!(
        edit(&after, "pmm", &changes()).unwrap().text,
        after,
        "twice"
    );
}

fn same(text: &str) -> (&str, &str) {
    (text, text)
}

#[test]
fn comments_order_and_quotes_stay() {
    edited(&[
        same(
            "# ours, do not touch\nversion: '3'   # old\n\nservices:\n  db:\n    image: percona/pmm-server:2\n",
        ),
        same(
            "    ports: [\"443:443\"]\n    environment: {DATA_RETENTION: 1h}\n  pmm:\n    container_name: pmm\n",
        ),
        (
            "    image:   \"percona/pmm-server:2.44.1\"  # see #12\n",
            "    image:   \"percona/pmm-server:3.8.1\"  # see #12\n",
        ),
        same("    environment:\n      # kept for a quarter\n"),
        (
            "      DATA_RETENTION:   '2160h'   # hours\n",
            "      PMM_DATA_RETENTION:   '2160h'   # hours\n",
        ),
        same("      GF_SMTP_PASSWORD: \"a: 'b' # ${x}\"\n\n"),
        (
            "      \"DISABLE_UPDATES\": 1\n",
            "      \"PMM_ENABLE_UPDATES\": \"false\"\n",
        ),
        ("      LESS_LOG_NOISE: '1' # what was it for?\n", ""),
        same("    ports:\n"),
        (
            "    - \"443:443\" # https\n",
            "    - \"443:8443\" # https\n",
        ),
        (
            "    - 127.0.0.1:80:80/tcp\n",
            "    - 127.0.0.1:80:8080/tcp\n",
        ),
        same("    - 9000-9010:9000-9010\n    - \"443:443/udp\"\n    - ${OTHER}:9093\n"),
        ("    - 443\n", "    - 8443\n"),
        ("    - '[::1]:8443:443'\n", "    - '[::1]:8443:8443'\n"),
        ("    - target: 80\n", "    - target: 8080\n"),
        same("      published: 80\n    - {published: 443, protocol: udp, target: 443}\n"),
        (
            "    - {published: 443, target: \"443\", mode: host}\n",
            "    - {published: 443, target: \"8443\", mode: host}\n",
        ),
        same(
            "    volumes: [pmm-data:/srv]\nvolumes:\n  pmm-data: &d\n  other: *d # und Umlaute: äöü\n...",
        ),
    ]);
}

#[test]
fn variables_may_be_a_list_or_in_brackets() {
    edited(&[
        same("services:\n  pmm:\n    environment:\n"),
        (
            "    - DATA_RETENTION=${KEEP:-720h}\n",
            "    - PMM_DATA_RETENTION=${KEEP:-720h}\n",
        ),
        (
            "    - \"DISABLE_UPDATES=true\" # ä\n",
            "    - \"PMM_ENABLE_UPDATES=false\" # ä\n",
        ),
        same("    - FROM_OUTSIDE\n"),
        ("    - LESS_LOG_NOISE=1\n", ""),
        ("    image: p:2\n", "    image: percona/pmm-server:3.8.1\n"),
    ]);
    edited(&[
        same("services: {pmm: {"),
        ("image: p:2", "image: percona/pmm-server:3.8.1"),
        same(", environment: ["),
        (
            "DATA_RETENTION=1h, 'DISABLE_UPDATES=f'",
            "PMM_DATA_RETENTION=1h, 'PMM_ENABLE_UPDATES=true'",
        ),
        same("], ports: ["),
        ("'80:80'", "'80:8080'"),
        same("]}}\n"),
    ]);
}

#[test]
fn line_ends_of_other_systems_stay() {
    edited(&[
        same("services:\r\n  pmm:\r\n"),
        (
            "    image: p:2\r\n",
            "    image: percona/pmm-server:3.8.1\r\n",
        ),
        same("    environment:\r\n"),
        (
            "      DATA_RETENTION: 1h\r\n",
            "      PMM_DATA_RETENTION: 1h\r\n",
        ),
        ("      LESS_LOG_NOISE:\r\n", ""),
        (
            "      DISABLE_UPDATES: 'T'",
            "      PMM_ENABLE_UPDATES: 'false'",
        ),
    ]);
}

#[test]
fn what_is_shown_has_no_value_of_a_variable() {
    let text = "services:\n  pmm:\n    image: p:2\n    environment:\n      DATA_RETENTION: geheim1\n      \
                DISABLE_UPDATES: true\n      LESS_LOG_NOISE: geheim2 # geheim3\n    ports: ['443:443']\n";
    let made = edit(text, "pmm", &changes()).unwrap();
    assert_eq!(
        made.diff,
        [
            "-    3  image: p:2",
            "+    3  image: percona/pmm-server:3.8.1",
            "-    5  DATA_RETENTION: …",
            "+    5  PMM_DATA_RETENTION: …",
            "-    6  DISABLE_UPDATES: …",
            "+    6  PMM_ENABLE_UPDATES: …  (the opposite value)",
            "-    7  LESS_LOG_NOISE: …",
            "-    8  - 443:443",
            "+    8  - 443:8443",
        ]
    );
    assert!(!format!("{made:?}").contains("geheim"));
}

/// The one service, with these lines more.
fn refused(lines: &str) -> Refusal {
    let text = format!("services:\n  pmm:\n    image: p:2\n{lines}");
    let refusal = edit(&text, "pmm", &changes()).unwrap_err();
    assert!(!refusal.to_string().contains("geheim"), "{refusal}");
    refusal
}

const ALL: &str = "    environment:\n      DISABLE_UPDATES: 1\n      DATA_RETENTION: geheim\n";

#[test]
fn what_is_not_there_or_comes_from_elsewhere_is_refused() {
    let shown = |text: &str| edit(text, "pmm", &image_alone()).unwrap_err().to_string();
    for (text, said) in [
        (
            "services:\n  pmm:\n    container_name: x\n",
            "the service has no `image`",
        ),
        (
            "services:\n  pmm:\n    image:\n",
            "the service has no `image`",
        ),
        (
            "services:\n  db:\n    image: x\n",
            "it has no service `pmm`",
        ),
        ("services:\n  pmm:\n", "it has no service `pmm`"),
        ("pmm:\n  image: x\n", "it is no file of services"),
        ("", "it is no file of services"),
        (
            "services:\n  pmm: {image: x}\n---\na: b\n",
            "it is no file of services with one document",
        ),
        (
            "services:\n  pmm: {image: x\n",
            "it is no YAML that can be read",
        ),
        (
            "include: [a.yml]\nservices:\n  pmm: {image: x}\n",
            "`include` in line 1 takes",
        ),
        (
            "services:\n  pmm:\n    image: x\n    extends: {service: a}\n",
            "`extends` in line 4 takes",
        ),
        (
            "services:\n  pmm:\n    <<: {image: y}\n    image: x\n",
            "`<<` in line 3 takes",
        ),
        (
            "x: &b {image: x}\nservices:\n  pmm: *b\n",
            "`pmm` in line 3 has an anchor, an alias",
        ),
        (
            "services:\n  pmm: &p\n    image: x\n",
            "`pmm` in line 2 has an anchor",
        ),
        (
            "services:\n  pmm:\n    image: &i x\n",
            "`image` in line 3 has an anchor",
        ),
        (
            "services:\n  pmm:\n    image: !!str x\n",
            "`image` in line 3 has an anchor",
        ),
        (
            "services: &s\n  pmm:\n    image: x\n",
            "`services` in line 1 has an anchor",
        ),
        (
            "services:\n  pmm:\n    image: x\n    build: .\n",
            "the service is built (`build` in line 4)",
        ),
        (
            "services:\n  pmm:\n    image: x:${TAG}\n",
            "`image` in line 3 takes a part of its value from a variable",
        ),
        (
            "services:\n  pmm:\n    image: \"x\\x3a2\"\n",
            "`image` in line 3 is written in a way",
        ),
        (
            "services:\n  pmm:\n    image: >-\n      x\n",
            "`image` in line 4 is written in a way",
        ),
        (
            "services:\n  pmm:\n    image: x\n    image: y\n",
            "`image` is there twice (line 4)",
        ),
        (
            "services:\n  pmm: {image: x}\n  pmm: {image: x}\n",
            "`pmm` is there twice (line 3)",
        ),
        (
            "\u{feff}services:\n  pmm: {image: x}\n",
            "it is no YAML that can be read, from line 1 on",
        ),
    ] {
        let refusal = shown(text);
        assert!(refusal.starts_with(said), "{text}: {refusal}");
    }
}

#[test]
fn variables_that_cannot_be_changed_safely_are_refused() {
    for (lines, said) in [
        (
            "",
            "variable `DATA_RETENTION` must change and is not in the service's `environment`",
        ),
        (
            "    env_file: geheim.env\n",
            "variable `DATA_RETENTION` must change and is not in the service's `environment`: it comes from `env_file`",
        ),
        (
            "    environment:\n      DATA_RETENTION:\n",
            "variable `DATA_RETENTION` in line 5 has its value from whoever",
        ),
        (
            "    environment:\n    - DATA_RETENTION\n",
            "variable `DATA_RETENTION` in line 5 has its value from whoever",
        ),
        ("    environment: *e\n", "it is no YAML that can be read"),
        (
            "    environment: &e\n      DATA_RETENTION: geheim\n",
            "`environment` in line 4 has an anchor",
        ),
        (
            "    environment:\n      <<: {DISABLE_UPDATES: geheim}\n      DATA_RETENTION: 1h\n",
            "`<<` in line 5 takes",
        ),
        (
            "    environment:\n      DATA_RETENTION: &g geheim\n",
            "`DATA_RETENTION` in line 5 has an anchor",
        ),
        (
            "    environment:\n      DATA_RETENTION: 1\n      DATA_RETENTION: 2\n",
            "`DATA_RETENTION` is there twice (line 6)",
        ),
        (
            "    environment:\n      DATA_RETENTION: 1h\n      PMM_DATA_RETENTION: 1h\n",
            "variables `DATA_RETENTION` and `PMM_DATA_RETENTION` are both there",
        ),
        (
            "    environment:\n      DATA_RETENTION: 1h\n      DISABLE_UPDATES: $geheim\n",
            "`DISABLE_UPDATES` in line 6 takes a part",
        ),
        (
            "    environment:\n      DATA_RETENTION: 1h\n      DISABLE_UPDATES: geheim\n",
            "variable `DISABLE_UPDATES` in line 6 is neither true nor false",
        ),
        (
            "    environment:\n      DATA_RETENTION: 1h\n      DISABLE_UPDATES: >-\n        1\n",
            "`DISABLE_UPDATES` in line 7 is written in a way",
        ),
        (
            "    environment:\n      \"DATA\\x5fRETENTION\": geheim\n",
            "`DATA_RETENTION` in line 5 is written in a way",
        ),
        (
            "    environment: {DATA_RETENTION: 1h, DISABLE_UPDATES: 1, LESS_LOG_NOISE: geheim}\n",
            "`LESS_LOG_NOISE` in line 4 is written in a way",
        ),
        (
            "    environment:\n      DATA_RETENTION: 1h\n      DISABLE_UPDATES: 1\n      LESS_LOG_NOISE: 'a\n        geheim'\n",
            "`LESS_LOG_NOISE` in line 7 is written in a way",
        ),
    ] {
        let refusal = refused(lines).to_string();
        assert!(refusal.starts_with(said), "{lines}: {refusal}");
    }
}

#[test]
fn ports_that_cannot_be_changed_safely_are_refused() {
    for (lines, said) in [
        (
            "    ports: ['400-500:400-500']\n",
            "a range in `ports`, line 7, has a port",
        ),
        (
            "    ports: ['443-443:443-443/tcp']\n",
            "a range in `ports`, line 7",
        ),
        (
            "    ports: ['${PORT}:443']\n",
            "`ports` in line 7 takes a part of its value",
        ),
        (
            "    ports: ['${PORTS:-443:443}']\n",
            "`ports` in line 7 takes a part of its value",
        ),
        ("    ports: *p\n", "it is no YAML that can be read"),
        (
            "    ports: &p ['443:443']\n",
            "`ports` in line 7 has an anchor",
        ),
        (
            "    ports: [&p '443:443']\n",
            "`ports` in line 7 has an anchor",
        ),
        (
            "    ports: ['443:0443']\n",
            "`ports` in line 7 is written in a way",
        ),
        (
            "    ports: ['443:https']\n",
            "`ports` in line 7 is written in a way",
        ),
        (
            "    ports:\n    - target: $P\n",
            "`target` in line 8 takes a part of its value",
        ),
        (
            "    ports:\n    - <<: {target: 443}\n      published: 443\n",
            "`<<` in line 8 takes",
        ),
        (
            "    ports:\n    - published: 443\n",
            "`ports` in line 8 is written in a way",
        ),
        (
            "    ports:\n    - target: &t 443\n",
            "`target` in line 8 has an anchor",
        ),
    ] {
        let refusal = refused(&format!("{ALL}{lines}")).to_string();
        assert!(refusal.starts_with(said), "{lines}: {refusal}");
    }
    let text =
        format!("x: &p ['443:443']\nservices:\n  pmm:\n    image: p:2\n    ports: *p\n{ALL}");
    let refusal = edit(&text, "pmm", &changes()).unwrap_err();
    assert!(matches!(refusal, Refusal::Form { .. }), "{refusal}");
}

/// A variable that only goes may be nowhere in the file, and what is not to change is not looked at.
#[test]
fn what_need_not_change_may_be_as_it_likes() {
    let text = "x: &e {A: b}\nservices:\n  pmm:\n    image: p:2\n    environment: *e\n    ports: ['${A}:${B}']\n    env_file: a\n";
    let made = edit(text, "pmm", &image_alone()).unwrap();
    assert_eq!(made.text, text.replace("p:2", "percona/pmm-server:3.8.1"));
    let gone = Changes {
        variables: vec![variable("LESS_LOG_NOISE", Fate::Dropped)],
        ..image_alone()
    };
    let text = "services:\n  pmm:\n    image: p:2\n";
    assert!(edit(text, "pmm", &gone).is_ok());
    let elsewhere = format!("{text}    env_file: a\n");
    assert!(edit(&elsewhere, "pmm", &gone).is_err());
    let alone = format!("{text}    environment:\n      LESS_LOG_NOISE: 1\n");
    assert!(edit(&alone, "pmm", &gone).is_err(), "nothing would be left");
}
