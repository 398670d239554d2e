//! The doubles are dangerous in the ways that the real servers are. If one of these tests fails, whatever was proven on the doubles
//! was proven on something too easy.

use std::ffi::OsStr;

use ferry_tests::Result;
use ferry_tests::server::{Container, Fault, Image, Options, Seed, TestServer, seeded_key};
use ferry_tests::snapshot::{Entry, differences};

/// A small one starts sooner.
const SMALL: Seed = Seed {
    nodes: 5,
    services: 12,
    files: 60,
    mib: 1,
    odd: false,
};

fn used_pmm2(options: Options) -> Result<TestServer> {
    let server = TestServer::start(&Options {
        seed: Seed {
            odd: options.seed.odd,
            ..SMALL
        },
        ..options
    })?;
    server.wait_ready()?;
    Ok(server)
}

fn keys_of(server: &Container) -> Result<String> {
    server.psql(
        "grafana",
        "SELECT count(*) FROM api_key WHERE service_account_id IS NULL",
    )
}

fn version_by_key(server: &Container, port: u16, path: &str, name: &str) -> Result<String> {
    let header = format!("Authorization: Bearer {}", seeded_key(1, name));
    let url = format!("http://127.0.0.1:{port}{path}");
    server.exec(&[
        "curl",
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-H",
        &header,
        &url,
    ])
}

#[test]
fn a_used_pmm2_answers_from_its_volume_and_comes_back_as_it_was() -> Result<()> {
    let server = used_pmm2(Options {
        seed: Seed { odd: true, ..SMALL },
        publish: true,
        ..Options::default()
    })?;
    assert_eq!(server.count("nodes")?, 5);
    assert_eq!(server.count("services")?, 12);
    assert_eq!(
        server.psql("pmm-managed", "SELECT max(id) FROM schema_migrations")?,
        "88"
    );
    let ids = server.psql(
        "pmm-managed",
        "SELECT count(*) FROM services WHERE service_id LIKE '/service_id/%'",
    )?;
    assert_eq!(ids, "12");
    server.wait_until("up", 30, || {
        server
            .metric("count(up == 1)")
            .is_ok_and(|n| n > Some(10.0))
    })?;
    let history = server.metric("count(up offset 1d)")?;
    assert!(history > Some(1.0), "{history:?}");
    let rows: u64 = server
        .clickhouse("SELECT count() FROM pmm.metrics WHERE period_start < now() - 500")?
        .parse()
        .unwrap();
    assert!(rows > 100, "{rows}");
    assert_eq!(
        server.clickhouse(
            "SELECT version,dirty FROM pmm.schema_migrations ORDER BY sequence DESC LIMIT 1"
        )?,
        "17\t0"
    );
    assert_eq!(
        version_by_key(&server, 80, "/v1/version", "dashboards")?,
        "200"
    );
    assert_eq!(
        version_by_key(&server, 80, "/v1/version", "expired")?,
        "401"
    );
    assert_eq!(server.program("pmm-update-perform-init")?, "EXITED");

    server.stop(60)?;
    let before = server.tree_snapshot()?;
    let again = server.tree_snapshot()?;
    assert_eq!(differences(&before, &again), [""; 0]);
    let odd = before
        .iter()
        .filter(|e| e.path.starts_with("dump/odd"))
        .count();
    assert!(odd > 60, "{odd}");
    assert!(before.iter().any(|e| e.links == 2) && before.iter().any(|e| e.mode & 0o4000 != 0));
    for attribute in [
        "user.note",
        "system.posix_acl_access",
        "system.posix_acl_default",
        "security.capability",
    ] {
        let has = |e: &Entry| e.xattrs.contains_key(OsStr::new(attribute));
        assert!(before.iter().any(has), "nothing has {attribute}");
    }
    server.restart_after_stop()?;
    server.wait_ready()?;
    assert_eq!(server.unclean()?, [""; 0]);
    assert_eq!(server.metric("count(up offset 1d)")?, history);
    Ok(())
}

#[test]
fn a_killed_server_tells_at_its_next_start() -> Result<()> {
    let server = used_pmm2(Options {
        restart: "no".to_owned(),
        ..Options::default()
    })?;
    server.kill()?;
    server.restart_after_stop()?;
    server.wait_ready()?;
    let mut told = server.unclean()?;
    told.sort();
    assert_eq!(
        told,
        ["clickhouse", "grafana", "pmm-managed", "victoriametrics"]
    );
    let log = server.exec(&["cat", "/srv/logs/victoriametrics.log"])?;
    assert!(log.contains("unclean shutdown"), "{log}");
    Ok(())
}

#[test]
fn a_pmm3_on_an_empty_volume_looks_healthy() -> Result<()> {
    let server = TestServer::start(&Options {
        image: Image::Pmm3,
        ..Options::default()
    })?;
    server.wait_ready()?;
    let version = server.curl(&[
        "-u",
        "admin:admin",
        "http://127.0.0.1:8080/v1/server/version",
    ])?;
    assert_eq!(version["version"], "3.8.1");
    assert_eq!(server.count("nodes")?, 1);
    assert_eq!(server.count("services")?, 0);
    assert_eq!(server.metric("count(up offset 1d)")?, None);
    Ok(())
}

#[test]
fn a_pmm3_refuses_a_volume_that_was_not_handed_over() -> Result<()> {
    let server = used_pmm2(Options::default())?;
    server.stop(60)?;
    let refused = server.beside("v3", Image::Pmm3, &server.volume, &[])?;
    assert_eq!(refused.wait_exit()?, 1);
    assert!(
        refused
            .logs()?
            .contains("FATAL: /srv is not writable for pmm user."),
        "{}",
        refused.logs()?
    );
    Ok(())
}

#[test]
fn a_migration_goes_one_way() -> Result<()> {
    let server = used_pmm2(Options {
        env: vec![("DATA_RETENTION".to_owned(), "480h".to_owned())],
        ..Options::default()
    })?;
    let services = server.psql("pmm-managed", "SELECT string_agg(regexp_replace(service_id, '^/service_id/', ''), ',' ORDER BY 1) FROM services")?;
    let history = server.metric("count(up offset 1d)")?;
    let rows = "SELECT count() FROM pmm.metrics WHERE period_start < '2026-01-01 00:00:00' OR 1";
    assert!(
        server.clickhouse(rows).is_err(),
        "an unknown question must not be answered"
    );
    assert_eq!(keys_of(&server)?, "5");
    server.hand_over("1000:0")?;

    let v3 = server.beside(
        "v3",
        Image::Pmm3,
        &server.volume,
        &["--env", "DATA_RETENTION=480h"],
    )?;
    v3.wait_ready()?;
    assert_eq!(
        v3.psql("pmm-managed", "SELECT max(id) FROM schema_migrations")?,
        "118"
    );
    assert_eq!(
        v3.psql(
            "pmm-managed",
            "SELECT string_agg(service_id, ',' ORDER BY 1) FROM services"
        )?,
        services
    );
    assert_eq!(v3.count("nodes")?, 5);
    assert_eq!(v3.metric("count(up offset 1d)")?, history);
    // The keys were turned, and are still good in their owners' hands.
    assert_eq!(keys_of(&v3)?, "0");
    assert_eq!(
        version_by_key(&v3, 8080, "/v1/server/version", "pmm-client")?,
        "200"
    );
    let gone = v3.exec(&[
        "curl",
        "-s",
        "-u",
        "admin:admin",
        "http://127.0.0.1:3000/api/auth/keys",
    ])?;
    assert!(gone.contains("Not found"), "{gone}");
    // Setting names that were not translated are lost with a line in the log.
    assert!(
        v3.logs()?
            .contains("unknown environment variable \\\"DATA_RETENTION")
            || v3
                .logs()?
                .contains("unknown environment variable \"DATA_RETENTION")
    );
    let settings = v3.curl(&["http://127.0.0.1:7772/v1/server/settings"])?;
    assert_eq!(
        settings["settings"]["data_retention"], "1728000s",
        "what PMM 2 had stored stays"
    );
    // Passwords in the database lie under a key beside it now.
    let plain = v3.psql(
        "pmm-managed",
        "SELECT count(*) FROM agents WHERE password LIKE 'secret-%'",
    )?;
    assert_eq!(plain, "0");
    v3.stop(60)?;

    // The old server on the new data, owners as they are: two programs refuse.
    server.restart_after_stop()?;
    let log_has = |file: &str, words: &str| {
        server
            .exec(&["cat", file])
            .is_ok_and(|log| log.contains(words))
    };
    server.wait_until("ClickHouse's refusal", 30, || {
        log_has("/srv/logs/clickhouse-server.log", "Code: 430")
    })?;
    // With mode 0750 and group 0 it does not even come as far as "wrong ownership".
    server.wait_until("PostgreSQL's refusal", 30, || {
        log_has(
            "/srv/logs/postgresql14.log",
            "postgresql.conf\": Permission denied",
        )
    })?;
    // And with owners put back, the database has moved on.
    server.exec(&["sh", "-c", "chown -R postgres:postgres /srv/postgres14; chmod 700 /srv/postgres14; \
        chown -R root:pmm /srv/clickhouse; chown -R grafana:grafana /srv/grafana; supervisorctl start postgresql || true"])?;
    server.wait_until("pmm-managed's refusal", 60, || {
        log_has(
            "/srv/logs/pmm-managed.log",
            "database schema version 118 is newer than 88",
        )
    })?;
    assert!(
        server
            .exec(&["curl", "-sf", "http://127.0.0.1/v1/readyz"])
            .is_err()
    );
    Ok(())
}

#[test]
fn old_passwords_of_roles_lock_pmm3_out() -> Result<()> {
    let server = used_pmm2(Options {
        md5_roles: true,
        ..Options::default()
    })?;
    let hashes = "SELECT string_agg(left(rolpassword, 3), ',') FROM pg_authid WHERE rolname IN ('pmm-managed', 'grafana')";
    assert_eq!(server.psql("postgres", hashes)?, "md5,md5");
    server.hand_over("1000:0")?;

    // 3.7.0 is locked out of both databases, 3.8.1 only of Grafana's.
    let early = server.beside("v370", Image::Pmm3Scram, &server.volume, &[])?;
    let log_has = |of: &Container, file: &str, words: &str| {
        of.exec(&["cat", file]).is_ok_and(|log| log.contains(words))
    };
    early.wait_until("the refusal", 60, || {
        log_has(
            &early,
            "/srv/logs/pmm-managed.log",
            "FATAL: pmm-managed: password authentication failed",
        )
    })?;
    early.stop(60)?;
    let later = server.beside("v381", Image::Pmm3, &server.volume, &[])?;
    later.wait_until("the healed role", 60, || {
        later
            .psql("pmm-managed", "SELECT max(id) FROM schema_migrations")
            .is_ok_and(|id| id == "118")
    })?;
    later.wait_until("Grafana's refusal", 60, || {
        log_has(
            &later,
            "/srv/logs/grafana.log",
            "password authentication failed for user \"grafana\"",
        )
    })?;
    assert!(
        later
            .exec(&["curl", "-sf", "http://127.0.0.1:7772/v1/server/readyz"])
            .is_err()
    );
    // What heals it.
    later.psql("postgres", "ALTER USER grafana WITH PASSWORD 'grafana'")?;
    later.wait_until("the ready page", 60, || {
        later
            .exec(&["curl", "-sf", "http://127.0.0.1:7772/v1/server/readyz"])
            .is_ok()
    })
}

#[test]
fn a_pmm3_fails_in_every_way_it_is_told_to() -> Result<()> {
    let server = used_pmm2(Options {
        fault: Some(Fault::Half),
        ..Options::default()
    })?;
    assert_eq!(
        server.count("services")?,
        12,
        "PMM 2 looks at no fault of PMM 3"
    );
    server.hand_over("1000:0")?;
    let with = |fault: Fault| {
        let env = format!("STANDIN_FAULT={}", fault.word());
        server.beside(fault.word(), Image::Pmm3, &server.volume, &["--env", &env])
    };
    let exit = with(Fault::Exit)?;
    assert_eq!(exit.wait_exit()?, 1);
    assert!(exit.logs()?.contains("FATAL"));
    for (fault, services) in [(Fault::Empty, 0..1), (Fault::Half, 1..12)] {
        let broken = with(fault)?;
        broken.wait_ready()?;
        assert!(
            services.contains(&broken.count("services")?),
            "{fault:?}: {}",
            broken.count("services")?
        );
        broken.stop(60)?;
    }
    let silent = with(Fault::NoUp)?;
    silent.wait_ready()?;
    // Old samples are still seen, which proves nothing: their age does.
    std::thread::sleep(std::time::Duration::from_secs(5));
    let age = silent.metric("min(time() - timestamp(up))")?;
    assert!(age > Some(4.0), "{age:?}");
    silent.stop(60)?;
    let stuck = with(Fault::Maintenance)?;
    stuck.wait_until("the maintenance page", 60, || {
        let words = [
            "curl",
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "http://127.0.0.1:8080/v1/server/readyz",
        ];
        stuck.exec(&words).is_ok_and(|code| code == "503")
    })?;
    stuck.stop(60)?;
    // Alerting rules that PMM 2 took stop vmalert, and with it the ready page.
    let rules = server.mountpoint()?.join("prometheus/rules/pmm.rules.yml");
    fs_err::write(
        &rules,
        "groups:\n- name: own\n  rules:\n  - alert: Down\n    expr: up == 0\n",
    )
    .unwrap();
    let rules = server.beside("rules", Image::Pmm3, &server.volume, &[])?;
    rules.wait_until("vmalert's end", 60, || {
        rules.program("vmalert").is_ok_and(|s| s == "FATAL")
    })?;
    assert!(
        rules
            .exec(&["curl", "-sf", "http://127.0.0.1:7772/v1/server/readyz"])
            .is_err()
    );
    Ok(())
}

#[test]
fn a_dirty_schema_in_clickhouse_stops_query_analytics() -> Result<()> {
    let server = used_pmm2_dirty()?;
    server.hand_over("1000:0")?;
    let v3 = server.beside("v3", Image::Pmm3, &server.volume, &[])?;
    v3.wait_until("the refusal", 60, || {
        v3.exec(&["cat", "/srv/logs/qan-api2.log"])
            .is_ok_and(|log| log.contains("Dirty database version 17"))
    })?;
    assert!(
        v3.exec(&["curl", "-sf", "http://127.0.0.1:7772/v1/server/readyz"])
            .is_err()
    );
    Ok(())
}

/// Its own ready page does not look at query analytics, so it is ready all the same.
fn used_pmm2_dirty() -> Result<TestServer> {
    let server = used_pmm2(Options {
        fault: Some(Fault::ClickhouseDirty),
        ..Options::default()
    })?;
    assert_eq!(
        server.clickhouse("SELECT dirty FROM pmm.schema_migrations")?,
        "1"
    );
    Ok(server)
}

#[test]
fn the_first_pmm3_turns_keys_only_when_asked() -> Result<()> {
    let server = used_pmm2(Options::default())?;
    server.hand_over("1000:1000")?;
    let v3 = server.beside("v3", Image::Pmm3First, &server.volume, &[])?;
    v3.wait_ready()?;
    assert_eq!(keys_of(&v3)?, "5");
    assert_eq!(
        version_by_key(&v3, 8080, "/v1/server/version", "ci")?,
        "200"
    );
    let outcome = v3.curl(&[
        "-u",
        "admin:admin",
        "-XPOST",
        "http://127.0.0.1:8080/graph/api/serviceaccounts/migrate",
    ])?;
    assert_eq!(
        (&outcome["total"], &outcome["failed"]),
        (&4.into(), &0.into()),
        "{outcome}"
    );
    // The other organisation is another call.
    assert_eq!(keys_of(&v3)?, "1");
    let found = v3.curl(&[
        "-u",
        "admin:admin",
        "http://127.0.0.1:3000/api/serviceaccounts/search?query=sa-autogen",
    ])?;
    assert_eq!(found["totalCount"], 4);
    assert_eq!(
        version_by_key(&v3, 8080, "/v1/server/version", "ci")?,
        "200"
    );
    assert_eq!(
        version_by_key(&v3, 8080, "/v1/inventory/nodes", "ci")?,
        "403"
    );
    Ok(())
}
