//! Private database servers for tests and measurements: on free ports of the loopback interface, in
//! temporary folders, gone with their guards.
//!
//! Never touches a server that it did not start. Read next: `daemon` for what they have in common, and
//! one file for each kind of server.

mod certificate;
mod check;
mod daemon;
mod galera;
mod mariadb;
mod pgbouncer;
mod ports;
mod postgres;
mod proxies;
mod redis;

pub(crate) use galera::Galera;
pub(crate) use mariadb::MariaDb;
pub(crate) use pgbouncer::PgBouncer;
pub(crate) use ports::free_port;
pub(crate) use postgres::Postgres;
pub(crate) use redis::Redis;

use std::process::Command;
use std::time::Instant;

/// One server of each kind that the tests use. Dropped, all are stopped.
pub(crate) struct Servers {
    // The pooler is gone before what it stands in front of: fields drop in this order.
    pgbouncer: PgBouncer,
    postgres: Postgres,
    mariadb: MariaDb,
    redis: Redis,
}

impl Servers {
    /// Starts all of them, beside each other, as each spends most of its time waiting for the disk.
    pub(crate) fn start() -> Result<Self, String> {
        // Not servers of ours, but whoever runs the tests with ours needs them.
        proxies::install()?;
        let (pooled, mariadb, redis) = std::thread::scope(|scope| {
            let mariadb = scope.spawn(|| timed("MariaDB", MariaDb::start));
            let redis = scope.spawn(|| timed("Redis", Redis::start));
            let pooled = timed("PostgreSQL", Postgres::start).and_then(|postgres| {
                let pgbouncer = timed("PgBouncer", || PgBouncer::start(&postgres))?;
                Ok((pgbouncer, postgres))
            });
            (pooled, joined(mariadb), joined(redis))
        });
        match (pooled, mariadb, redis) {
            (Ok((pgbouncer, postgres)), Ok(mariadb), Ok(redis)) => {
                Ok(Servers { pgbouncer, postgres, mariadb, redis })
            }
            (pooled, mariadb, redis) => {
                let errors = [pooled.err(), mariadb.err(), redis.err()];
                Err(errors.into_iter().flatten().collect::<Vec<_>>().join("\n"))
            }
        }
    }

    /// Name, environment variable and URL of each.
    pub(crate) fn urls(&self) -> [(&'static str, &'static str, String); 6] {
        [
            ("postgres", "PURSER_TEST_POSTGRES_URL", self.postgres.url()),
            ("mariadb", "PURSER_TEST_MYSQL_URL", self.mariadb.url()),
            ("redis", "PURSER_TEST_REDIS_URL", self.redis.url()),
            ("pgbouncer", "PURSER_TEST_PGBOUNCER_URL", self.pgbouncer.url()),
            ("postgres authority", "PURSER_TEST_POSTGRES_CA", self.postgres.authority()),
            ("mariadb authority", "PURSER_TEST_MYSQL_CA", self.mariadb.authority()),
        ]
    }

    /// Tells a program that runs tests where the servers are.
    pub(crate) fn hand_to(&self, command: &mut Command) {
        command.envs(self.urls().map(|(_, variable, url)| (variable, url)));
    }

    /// Asks each what it promises, kills those that hold data and looks at what they still know; what
    /// came of it, by name.
    pub(crate) fn check(&mut self) -> [(&'static str, Result<String, String>); 4] {
        [
            ("postgres", check::postgres(&mut self.postgres)),
            ("mariadb", check::mariadb(&mut self.mariadb)),
            ("redis", check::redis(&mut self.redis)),
            ("pgbouncer", check::pgbouncer(&self.pgbouncer, &self.postgres)),
        ]
    }

    /// Stops all of them and says whether that went well.
    pub(crate) fn stop(self) -> Result<(), String> {
        let stopped = [self.pgbouncer.stop(), self.postgres.stop(), self.mariadb.stop(), self.redis.stop()];
        let errors: Vec<String> = stopped.into_iter().filter_map(Result::err).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors.join("\n")) }
    }
}

/// What `cargo xtask services` is asked for beside one server of each kind.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    /// Ask, kill and stop them instead of keeping them.
    pub(crate) check: bool,
    pub(crate) galera: bool,
    pub(crate) replica: bool,
}

/// `cargo xtask services`: starts them and keeps them until Ctrl-C, or checks and stops them.
pub(crate) fn command(wanted: Wanted) -> Result<(), String> {
    let mut servers = Servers::start()?;
    for (name, _, url) in servers.urls() {
        println!("{name} {url}");
    }
    let cluster = wanted.galera.then(|| timed("Galera", Galera::start)).transpose()?;
    for (number, url) in cluster.iter().flat_map(Galera::urls).enumerate() {
        println!("galera_{number} {url}");
    }
    let pair = wanted.replica.then(|| timed("PostgreSQL with a standby", pair)).transpose()?;
    for (name, one) in pair.iter().flat_map(|(primary, standby)| [("primary", primary), ("standby", standby)])
    {
        println!("{name} {}", one.url());
    }
    if wanted.check {
        let mut checked = servers.check().to_vec();
        checked.extend(cluster.map(|cluster| ("galera", check::galera(cluster))));
        checked.extend(pair.map(|(primary, standby)| ("replica", check::replica(primary, standby))));
        return told(&checked).and(servers.stop());
    }
    println!();
    for (_, variable, url) in servers.urls() {
        println!("export {variable}={url}");
    }
    println!("\nCtrl-C stops them.");
    loop {
        // The thread that listens for signals ends the process.
        std::thread::park();
    }
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T, String>>) -> Result<T, String> {
    thread.join().unwrap_or_else(|_| Err("the thread for a server panicked".to_string()))
}

/// A primary and its synchronous standby.
fn pair() -> Result<(Postgres, Postgres), String> {
    let primary = Postgres::start()?;
    let standby = primary.standby()?;
    Ok((primary, standby))
}

/// Prints what holds and answers what does not.
fn told(checked: &[(&'static str, Result<String, String>)]) -> Result<(), String> {
    let mut errors = Vec::new();
    for (name, result) in checked {
        match result {
            Ok(holds) => println!("{name}: {holds}"),
            Err(error) => errors.push(format!("{name}: {error}")),
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors.join("\n")) }
}

/// Does it and says how long that took.
fn timed<T>(what: &str, start: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let started = Instant::now();
    let result = start()?;
    eprintln!("xtask: {what} started in {:.2} s", started.elapsed().as_secs_f64());
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_hold_is_an_error_that_names_the_server() {
        assert_eq!(told(&[("redis", Ok("holds".to_string()))]), Ok(()));
        let broken = [
            ("redis", Err("is gone".to_string())),
            ("mariadb", Ok("holds".to_string())),
            ("postgres", Err("is slow".to_string())),
        ];
        assert_eq!(told(&broken), Err("redis: is gone\npostgres: is slow".to_string()));
    }
}
