//! Dumps of a real PostgreSQL that goes on being written to, and their proof.

use ferry_agent::server::postgres::{DumpRequest, Postgres};
use tokio_util::sync::CancellationToken;

use super::cluster::Cluster;
use super::postgres::proof;

/// Waits until a table has more rows than these, or for so long that they are not coming.
async fn grown(postgres: &Postgres, rows: u64) {
    for _ in 0..300 {
        let now = postgres.table_rows("grafana").await.unwrap_or_default();
        if now.get("t").is_some_and(|now| *now > rows) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// The server goes on writing, and has roles, owners, members, settings: what was dumped is what is found.
#[tokio::test(flavor = "multi_thread")]
async fn a_dump_of_a_busy_database_is_proven_to_the_row() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let postgres = cluster.find();
    for sql in [
        "CREATE ROLE grafana LOGIN PASSWORD 'secret'",
        "CREATE ROLE \"odd ' role\" CREATEDB NOLOGIN",
        "GRANT \"odd ' role\" TO grafana",
        "GRANT pg_read_all_data TO grafana",
        "CREATE DATABASE grafana OWNER grafana ENCODING 'SQL_ASCII' TEMPLATE template0",
    ] {
        cluster.sql("postgres", sql);
    }
    cluster.sql(
        "grafana",
        "CREATE EXTENSION pg_stat_statements; CREATE TABLE t (n int, x text); ALTER TABLE t OWNER TO grafana; \
         CREATE TABLE o AS SELECT n FROM generate_series(1, 50000) n; GRANT SELECT ON o TO \"odd ' role\"; \
         CREATE TABLE bytes AS SELECT E'\\377' AS x",
    );
    let busy = std::sync::atomic::AtomicBool::new(true);
    let dir = cluster.dir.path().join("dump");
    let request = DumpRequest {
        database: "grafana".into(),
        dir: dir.clone(),
        jobs: 2.try_into().unwrap(),
    };
    let cancel = CancellationToken::new();
    let dump = std::thread::scope(|scope| {
        scope.spawn(|| {
            while busy.load(std::sync::atomic::Ordering::Relaxed) {
                cluster.sql("grafana", "INSERT INTO t SELECT generate_series(1, 100)");
            }
        });
        let dump = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                grown(&postgres, 0).await;
                postgres.dump(&request, &mut |_| {}, &cancel).await
            })
        });
        if let Ok(dump) = &dump {
            let runtime = tokio::runtime::Handle::current();
            tokio::task::block_in_place(|| runtime.block_on(grown(&postgres, dump.rows["t"])));
        }
        busy.store(false, std::sync::atomic::Ordering::Relaxed);
        dump.unwrap()
    });
    let now = postgres.table_rows("grafana").await.unwrap();
    assert!(
        dump.rows["t"] > 0 && dump.rows["t"] < now["t"],
        "nobody wrote meanwhile"
    );
    assert_eq!(dump.rows["o"], 50000);
    let scratch = cluster.dir.path().join("scratch");
    let made = postgres.cluster_sql(&["grafana".to_owned()], true).await;
    let proof = proof("grafana", &dir, &scratch, &made.unwrap());
    let mut parts = Vec::new();
    let mut report = |what: &str| parts.push(what.to_owned());
    let found = postgres
        .prove_dumps(&proof, &mut report, &cancel)
        .await
        .unwrap();
    assert_eq!(found["grafana"], dump.rows);
    assert_eq!(parts, ["a new cluster", "grafana", "the cluster ends"]);
    assert!(!postgres.end_scratch(&scratch).await.unwrap());

    // What is left is a whole cluster: it starts by itself, and a leftover one is ended by its pid file.
    let data = scratch.join("data").display().to_string();
    let socket = format!(
        "-c unix_socket_directories={} -c port=5498 -c listen_addresses=",
        scratch.display()
    );
    let log = scratch.join("log").display().to_string();
    cluster.tool(
        "pg_ctl",
        &["-D", &data, "-w", "-l", &log, "-o", &socket, "start"],
    );
    let kept = Postgres {
        socket_dir: scratch.clone(),
        port: 5498,
        data_dir: data.clone().into(),
        ..postgres.clone()
    };
    let one =
        async |database: &str, sql: &str| kept.query_one(database, sql).await.unwrap().unwrap();
    let owner = "SELECT tableowner FROM pg_tables WHERE tablename = 't'";
    assert_eq!(one("grafana", owner).await, "grafana");
    let member = "SELECT pg_has_role('grafana', 'odd '' role', 'member') AND pg_has_role('grafana', 'pg_read_all_data', 'member')";
    assert_eq!(one("postgres", member).await, "t");
    let password = "SELECT md5(rolpassword) FROM pg_authid WHERE rolname = 'grafana'";
    assert_eq!(
        one("postgres", password).await,
        postgres
            .query_one("postgres", password)
            .await
            .unwrap()
            .unwrap()
    );
    assert!(postgres.end_scratch(&scratch).await.unwrap());
    assert!(!scratch.join("data/postmaster.pid").exists());
    // Its own cluster is never taken for it: the pid file names a server on another folder.
    let theirs = std::fs::read(cluster.dir.path().join("data/postmaster.pid")).unwrap();
    std::fs::write(scratch.join("data/postmaster.pid"), theirs).unwrap();
    assert!(!postgres.end_scratch(&scratch).await.unwrap());
    assert_eq!(postgres.databases().await.unwrap(), ["grafana", "postgres"]);
}
