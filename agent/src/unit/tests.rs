use super::*;
use described::describe;

const TO: &str = "percona/pmm-server:3.8.1";

fn changes(variables: &[(&str, Fate)]) -> Changes {
    let variable = |(name, fate): &(&str, Fate)| Variable {
        name: (*name).to_owned(),
        fate: fate.clone(),
    };
    Changes {
        image: TO.to_owned(),
        variables: variables.iter().map(variable).collect(),
        ports: true,
    }
}

fn all() -> Changes {
    changes(&[
        ("DATA_RETENTION", Fate::Renamed("PMM_DATA_RETENTION".into())),
        (
            "DISABLE_UPDATES",
            Fate::Inverted("PMM_ENABLE_UPDATES".into()),
        ),
        ("LESS_LOG_NOISE", Fate::Dropped),
    ])
}

fn texts(form: Form, main: &str, others: &[&str]) -> Texts {
    let others = others.iter().enumerate();
    Texts {
        form,
        main: main.to_owned(),
        others: others
            .map(|(at, text)| (format!("/{at}.env").into(), (*text).to_owned()))
            .collect(),
    }
}

/// What becomes of a unit's own text.
fn edited(form: Form, main: &str, changes: &Changes) -> Result<String, Refusal> {
    let edited = edit(&texts(form, main, &[]), changes)?;
    Ok(edited[0].text.clone())
}

/// As `podman generate systemd --new` writes it.
const GENERATED: &str = "\
# container-pmm.service
[Unit]
Description=Podman container-pmm.service
RequiresMountsFor=%t/containers

[Service]
Environment=PODMAN_SYSTEMD_UNIT=%n
Restart=on-failure
TimeoutStopSec=70
ExecStartPre=/bin/rm \\
	-f %t/%n.ctr-id
ExecStart=/usr/bin/podman run \\
	--cidfile=%t/%n.ctr-id \\
	--cgroups=no-conmon \\
	--rm \\
	--sdnotify=conmon \\
	--replace \\
	-d \\
	--name pmm \\
	-p 443:443 -p 127.0.0.1:80:80/tcp -p 9000:9000 \\
	-e DATA_RETENTION=720h \\
	-e LESS_LOG_NOISE=1 \\
	--env=DISABLE_UPDATES=1 \\
	-e \"GF_SMTP_PASSWORD=correct horse\" \\
	-v pmm-data:/srv percona/pmm-server:2
ExecStop=/usr/bin/podman stop \\
	--ignore -t 10 \\
	--cidfile=%t/%n.ctr-id
ExecStopPost=/usr/bin/podman rm \\
	-f --ignore -t 10 \\
	--cidfile=%t/%n.ctr-id
Type=notify
NotifyAccess=all

[Install]
WantedBy=default.target
";

#[test]
fn a_generated_unit_gets_new_words_and_keeps_every_other_byte() {
    let mut wanted = GENERATED.to_owned();
    for (old, new) in [
        ("443:443", "443:8443"),
        ("80:80/tcp", "80:8080/tcp"),
        ("-e DATA_RETENTION=", "-e PMM_DATA_RETENTION="),
        (" \\\n\t-e LESS_LOG_NOISE=1", ""),
        ("DISABLE_UPDATES=1", "PMM_ENABLE_UPDATES=false"),
        ("percona/pmm-server:2", TO),
    ] {
        assert!(wanted.contains(old), "{old}");
        wanted = wanted.replace(old, new);
    }
    assert_eq!(edited(Form::Service, GENERATED, &all()).unwrap(), wanted);
    // Again it is what it is, but for the variables, which are not there any more.
    assert_eq!(
        edited(Form::Service, &wanted, &changes(&[])).unwrap(),
        wanted
    );
}

#[test]
fn what_is_shown_has_no_value() {
    let made = edit(&texts(Form::Service, GENERATED, &[]), &all()).unwrap();
    let shown = made[0].diff.join("\n");
    assert!(
        !shown.contains("720h") && !shown.contains("horse"),
        "{shown}"
    );
    assert_eq!(
        made[0].diff[..6],
        [
            "-   20  443:443",
            "+   20  443:8443",
            "-   20  127.0.0.1:80:80/tcp",
            "+   20  127.0.0.1:80:8080/tcp",
            "-   21  DATA_RETENTION=…",
            "+   21  PMM_DATA_RETENTION=…",
        ]
    );
}

/// The unit of PMM's own documentation (facts/pmm.md 7.2).
const VENDOR: &str = "\
[Service]
Type=simple
Environment=PMM_PUBLIC_PORT=8443
Environment=PMM_VOLUME_NAME=%N
Environment=PMM_TAG=2.44.1
Environment=PMM_IMAGE=docker.io/percona/pmm-server
Environment=PMM_ENV_FILE=%h/.config/pmm-server/pmm-server.env
ExecStart=/usr/bin/podman run --rm --replace=true --name=%N -p ${PMM_PUBLIC_PORT}:443/tcp --ulimit=host --volume=${PMM_VOLUME_NAME}:/srv --env-file=${PMM_ENV_FILE} --health-cmd=none --health-interval=disable ${PMM_IMAGE}:${PMM_TAG}
ExecStop=/usr/bin/podman stop -t 10 %N
Restart=on-failure
";

#[test]
fn the_vendors_unit_is_edited_with_its_file_of_variables() {
    let file =
        "# ours\nDISABLE_UPDATES=1\n  DATA_RETENTION=30d # kept\nLESS_LOG_NOISE=true\nOTHER=x\n";
    let made = edit(&texts(Form::Service, VENDOR, &[file]), &all()).unwrap();
    let wanted = VENDOR
        .replace("}:443/tcp", "}:8443/tcp")
        .replace("${PMM_IMAGE}:${PMM_TAG}", TO);
    assert_eq!(made[0].text, wanted);
    assert_eq!(
        made[1].text,
        "# ours\nPMM_ENABLE_UPDATES=false\n  PMM_DATA_RETENTION=30d # kept\nOTHER=x\n"
    );
    let described = describe(VENDOR, Form::Service).unwrap();
    assert!(described.makes_anew);
    assert_eq!(described.env_files, ["${PMM_ENV_FILE}"]);
}

#[test]
fn a_quadlet_is_edited_key_by_key() {
    let quadlet = "[Container]\nImage=docker.io/percona/pmm-server:2\nContainerName=pmm\nPublishPort=443:443\n\
                   Environment=DATA_RETENTION=720h \"GF_X=a b\" LESS_LOG_NOISE=1\nEnvironment=DISABLE_UPDATES=true\nVolume=pmm-data:/srv\n\n\
                   [Service]\nRestart=always\n";
    let wanted = "[Container]\nImage=percona/pmm-server:3.8.1\nContainerName=pmm\nPublishPort=443:8443\n\
                  Environment=PMM_DATA_RETENTION=720h \"GF_X=a b\"\nEnvironment=PMM_ENABLE_UPDATES=false\nVolume=pmm-data:/srv\n\n\
                  [Service]\nRestart=always\n";
    assert_eq!(edited(Form::Quadlet, quadlet, &all()).unwrap(), wanted);
    let alone = "[Container]\nImage=a:2\n# why\nEnvironment=LESS_LOG_NOISE=1\nVolume=d:/srv\n";
    let dropped = changes(&[("LESS_LOG_NOISE", Fate::Dropped)]);
    assert_eq!(
        edited(Form::Quadlet, alone, &dropped).unwrap(),
        format!("[Container]\nImage={TO}\n# why\nVolume=d:/srv\n")
    );
    let described = describe(alone, Form::Quadlet).unwrap();
    assert_eq!(described.name.as_deref(), Some("systemd-%N"));
}

#[test]
fn a_comment_above_an_option_that_goes_stays() {
    let unit = "[Service]\nExecStart=/usr/bin/docker run --rm --name pmm \\\n  # quiet\n  -e LESS_LOG_NOISE=1 \\\n  -v d:/srv a:2\n";
    let dropped = changes(&[("LESS_LOG_NOISE", Fate::Dropped)]);
    assert_eq!(
        edited(Form::Service, unit, &dropped).unwrap(),
        format!(
            "[Service]\nExecStart=/usr/bin/docker run --rm --name pmm \\\n  # quiet\n  -v d:/srv {TO}\n"
        )
    );
}

#[test]
fn what_cannot_be_edited_so_that_it_is_surely_right_is_refused() {
    let refused = |words: &str| {
        let unit = format!("[Service]\nExecStart={words}\n");
        edited(Form::Service, &unit, &all())
            .unwrap_err()
            .to_string()
    };
    let with = |options: &str| {
        refused(&format!(
            "/usr/bin/docker run --rm --name pmm {options} -e DATA_RETENTION=1h -e DISABLE_UPDATES=1 -e LESS_LOG_NOISE=1 -v d:/srv a:2"
        ))
    };
    for (options, told) in [
        (
            "-e DATA_RETENTION=2h",
            "`DATA_RETENTION` is there twice (line 2)",
        ),
        (
            "-e PMM_DATA_RETENTION=2h",
            "`DATA_RETENTION` and `PMM_DATA_RETENTION` are both there",
        ),
        (
            "-p 443:${PORT}",
            "a published port in line 2 comes from a variable",
        ),
        ("-p 80-443:80-443", "a range of published ports"),
        (
            "--of-a-later-release",
            "the option `--of-a-later-release` in line 2",
        ),
        ("--entrypoint sh", "the option `--entrypoint`"),
        ("-Zx", "the option `-Zx`"),
        ("-u 1000", "the option `-u`"),
        ("\"open", "no unit that can be read, from line 2 on"),
    ] {
        let why = with(options);
        assert!(why.contains(told), "{options}: {why}");
    }
    for (words, told) in [
        ("/bin/sh -c 'docker run a:2'", "no `ExecStart` that makes"),
        ("/usr/bin/docker run --rm", "names no image"),
        (
            "/usr/bin/docker run --rm a:2 sleep 1",
            "a command of its own",
        ),
        (
            "/usr/bin/docker run --rm a:2",
            "`DATA_RETENTION` must change",
        ),
        (
            "/usr/bin/docker run --rm -e DATA_RETENTION a:2",
            "has its value from elsewhere",
        ),
        (
            "/usr/bin/docker run --rm -eDATA\\x52 -e DATA_RETENTION=1 a:2",
            "must change",
        ),
    ] {
        let why = refused(words);
        assert!(why.contains(told), "{words}: {why}");
    }
    let boolean = changes(&[(
        "DISABLE_UPDATES",
        Fate::Inverted("PMM_ENABLE_UPDATES".into()),
    )]);
    let unit = "[Service]\nExecStart=/usr/bin/docker run --rm -e DISABLE_UPDATES=perhaps a:2\n";
    let why = edited(Form::Service, unit, &boolean).unwrap_err();
    assert!(matches!(why, Refusal::NoBoolean { .. }), "{why}");
    for (quadlet, told) in [
        (
            "[Container]\nExec=sleep\nImage=a:2\n",
            "a command of its own",
        ),
        (
            "[Container]\nImage=a:2\nPodmanArgs=--env A=1\n",
            "`PodmanArgs` in line 3",
        ),
        (
            "[Container]\nImage=a:2\nImage=b:2\n",
            "`Image` is there twice",
        ),
        ("[Container]\nContainerName=pmm\n", "names no image"),
        ("[Container]\nImage=a:2\nUser=1000\n", "the option `User`"),
    ] {
        let why = edited(Form::Quadlet, quadlet, &changes(&[]))
            .unwrap_err()
            .to_string();
        assert!(why.contains(told), "{quadlet}: {why}");
    }
}

#[test]
fn the_data_must_outlive_the_container() {
    let scope = Scope::of("pmm.service", false);
    for mount in [
        "pmm-data:/srv",
        "%N:/srv:Z",
        "/data/pmm:/srv/",
        "type=volume,source=pmm-data,target=/srv",
        "type=bind,src=/data,dst=/srv,relabel=private",
    ] {
        assert!(keeps_data(mount, &scope), "{mount}");
    }
    for mount in [
        "/srv",
        ":/srv",
        "pmm-data:/data",
        "${V}:/srv",
        "type=volume,target=/srv",
        "type=tmpfs,dst=/srv",
    ] {
        assert!(!keeps_data(mount, &scope), "{mount}");
    }
}

#[test]
fn a_unit_that_could_start_but_once_is_told() {
    let anew = |unit: &str| describe(unit, Form::Service).unwrap().makes_anew;
    let run = |options: &str, more: &str| {
        format!("[Service]\n{more}ExecStart=/usr/bin/docker run {options} --name pmm a:2\n")
    };
    assert!(anew(&run("--rm", "")));
    assert!(anew(&run("--replace=true", "")));
    assert!(anew(&run("", "ExecStartPre=-/usr/bin/docker rm -f pmm\n")));
    assert!(anew(&run(
        "",
        "ExecStopPost=-/usr/bin/podman container rm pmm\n"
    )));
    assert!(!anew(&run("", "ExecStop=/usr/bin/docker stop pmm\n")));
    assert!(!anew(&run("", "ExecStartPre=/usr/bin/rm -f pmm\n")));
}
