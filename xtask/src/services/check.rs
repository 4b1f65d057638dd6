//! What must hold of the private servers before a test may rely on them: versions, settings of
//! durability, what is still there after `kill -9`, and that what stands together does.
//!
//! Each check answers one line that says what was found.

use std::time::Instant;

use super::{Galera, MariaDb, PgBouncer, Postgres, Redis};

/// A database that only these checks use.
const DATABASE: &str = "purser_check";

/// Commits on the disk, and a commit that survives `kill -9`.
pub(super) fn postgres(postgres: &mut Postgres) -> Result<String, String> {
    let version = postgres.query("SHOW server_version")?;
    let settings = "SELECT current_setting('fsync') || ' ' || current_setting('synchronous_commit')
                    || ' ' || current_setting('full_page_writes')";
    expect("fsync, synchronous_commit, full_page_writes", &postgres.query(settings)?, "on on on")?;
    postgres.query("CREATE TABLE kept AS SELECT 42 AS answer")?;
    let url = postgres.url();
    let recovered = kill_and_restart(postgres, Postgres::kill, Postgres::restart)?;
    expect("its URL after a restart", &postgres.url(), &url)?;
    expect("what it kept", &postgres.query("SELECT answer FROM kept")?, "42")?;
    postgres.query("DROP TABLE kept")?;
    Ok(format!("PostgreSQL {version} syncs its commits and recovers from kill -9 in {recovered}"))
}

/// The same, and that clients have the rights to make what they need.
pub(super) fn mariadb(mariadb: &mut MariaDb) -> Result<String, String> {
    let version = mariadb.query("SELECT @@version")?;
    let settings =
        "SELECT @@innodb_flush_log_at_trx_commit, @@innodb_doublewrite, @@sync_binlog, @@skip_name_resolve";
    let found = mariadb.query(settings)?;
    expect("flush log, doublewrite, sync binlog, skip name resolve", &found, "1\t1\t1\t1")?;
    mariadb.create_database(DATABASE)?;
    let url = mariadb.url();
    mariadb.query_as_client(DATABASE, "CREATE TABLE kept (answer INT) AS SELECT 42 AS answer")?;
    let trigger = "CREATE TRIGGER stays BEFORE DELETE ON kept FOR EACH ROW SIGNAL SQLSTATE '45000'";
    mariadb.query_as_client(DATABASE, trigger)?;
    let recovered = kill_and_restart(mariadb, MariaDb::kill, MariaDb::restart)?;
    expect("its URL after a restart", &mariadb.url(), &url)?;
    expect("what it kept", &mariadb.query_as_client(DATABASE, "SELECT answer FROM kept")?, "42")?;
    if mariadb.query_as_client(DATABASE, "DELETE FROM kept").is_ok() {
        return Err("a trigger that forbids to delete did not".to_string());
    }
    mariadb.query(&format!("DROP DATABASE {DATABASE}"))?;
    Ok(format!("MariaDB {version} syncs its commits and recovers from kill -9 in {recovered}"))
}

/// It forgets, when told to and when killed.
pub(super) fn redis(redis: &mut Redis) -> Result<String, String> {
    let info = redis.query(&["INFO", "server"])?;
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("?").trim();
    let set = |redis: &Redis| redis.query(&["SET", "key", "value"]).and(redis.query(&["DBSIZE"]));
    expect("its keys", &set(redis)?, "1")?;
    redis.flush()?;
    expect("its keys after FLUSHALL", &redis.query(&["DBSIZE"])?, "0")?;
    expect("its keys", &set(redis)?, "1")?;
    let url = redis.url();
    let restarted = kill_and_restart(redis, Redis::kill, Redis::restart)?;
    expect("its URL after a restart", &redis.url(), &url)?;
    expect("its keys after kill -9", &redis.query(&["DBSIZE"])?, "0")?;
    Ok(format!("Redis {version} answers, and is back and empty {restarted} after kill -9"))
}

/// It leads to the same server, pools transactions, and gives each another connection.
pub(super) fn pgbouncer(pgbouncer: &PgBouncer, postgres: &Postgres) -> Result<String, String> {
    let version = pgbouncer.console("SHOW VERSION")?;
    let settings = pgbouncer.console("SHOW CONFIG")?;
    let mode = settings.lines().find_map(|line| line.strip_prefix("pool_mode|")?.split('|').next());
    expect("its pool mode", mode.unwrap_or("?"), "transaction")?;
    postgres.create_database(DATABASE)?;
    let asked = pgbouncer.query(DATABASE, "SELECT current_database() || ' ' || current_setting('port')");
    let port = postgres.query("SHOW port")?;
    expect("where it leads to", &asked?, &format!("{DATABASE} {port}"))?;
    let connections = pgbouncer.session(DATABASE, &["SELECT pg_backend_pid()"; 2])?;
    if connections.split_once('\n').is_none_or(|(first, second)| first == second) {
        return Err(format!("two transactions of one client met the same connection: {connections}"));
    }
    postgres.query(&format!("DROP DATABASE {DATABASE} WITH (FORCE)"))?;
    Ok(format!("{version} pools transactions in front of port {port}"))
}

/// What one node commits, another reads; with a node killed the others go on, and it comes back.
pub(super) fn galera(mut cluster: Galera) -> Result<String, String> {
    const READ: &str =
        "SET SESSION wsrep_sync_wait = 1; SELECT GROUP_CONCAT(answer ORDER BY answer) FROM kept";
    let database = "purser";
    let version = cluster.node(0).query("SHOW STATUS LIKE 'wsrep_provider_version'")?;
    let version = version.split('\t').nth(1).unwrap_or("?").to_string();
    cluster.node(0).query_as_client(database, "CREATE TABLE kept (answer INT PRIMARY KEY)")?;
    cluster.node(0).query_as_client(database, "INSERT INTO kept VALUES (42)")?;
    expect("what node 1 reads", &cluster.node(1).query_as_client(database, READ)?, "42")?;
    let killed = Instant::now();
    cluster.kill(2)?;
    cluster.node(1).query_as_client(database, "INSERT INTO kept VALUES (43)")?;
    let paused = killed.elapsed().as_secs_f64();
    cluster.wait_until_synced()?;
    let started = Instant::now();
    cluster.rejoin(2)?;
    let rejoined = started.elapsed().as_secs_f64();
    expect(
        "what the node reads that was killed",
        &cluster.node(2).query_as_client(database, READ)?,
        "42,43",
    )?;
    cluster.stop()?;
    Ok(format!(
        "Galera {version}: after kill -9 of one of three nodes the next commit took {paused:.1} s, \
         and it was back in step after {rejoined:.1} s"
    ))
}

/// A commit that was answered is on the standby, which takes over with it.
pub(super) fn replica(mut primary: Postgres, standby: Postgres) -> Result<String, String> {
    primary.query("CREATE TABLE kept AS SELECT 42 AS answer")?;
    if standby.query("CREATE TABLE refused (answer int)").is_ok() {
        return Err("the standby takes writes before it is promoted".to_string());
    }
    primary.kill()?;
    let started = Instant::now();
    standby.promote()?;
    standby.query("INSERT INTO kept SELECT answer + 1 FROM kept")?;
    let seconds = started.elapsed().as_secs_f64();
    let kept = standby.query("SELECT string_agg(answer::text, ',' ORDER BY answer) FROM kept")?;
    expect("what the promoted standby holds", &kept, "42,43")?;
    standby.stop()?;
    primary.stop()?;
    Ok(format!(
        "the synchronous standby held the last commit of a killed primary and took writes after {seconds:.2} s"
    ))
}

fn kill_and_restart<T>(
    server: &mut T,
    kill: impl FnOnce(&mut T) -> Result<(), String>,
    restart: impl FnOnce(&mut T) -> Result<(), String>,
) -> Result<String, String> {
    let started = Instant::now();
    kill(server)?;
    restart(server)?;
    Ok(format!("{:.2} s", started.elapsed().as_secs_f64()))
}

fn expect(what: &str, found: &str, expected: &str) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?} instead of {expected:?}")) }
}
