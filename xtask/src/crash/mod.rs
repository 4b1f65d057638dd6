//! Crash rounds on server databases: two nodes under load, one of which is killed; the database, which is
//! killed; Redis, which is killed and emptied. Afterwards every acknowledged movement is there exactly once.
//!
//! Nothing here looks inside: programs are started, killed and asked over HTTP, and `purser verify` has the last
//! word. The moments come from a seed that is printed. Read next: `load` for what clients bear, `check` for the laws.

mod check;
mod client;
mod database;
mod load;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::server::{self, Server, Settings};
use crate::services::{MariaDb, Postgres, Redis};
use crate::step::Tally;
use check::Book;
use client::Client;
use database::{Cluster, Database, Pair};
use load::{Chance, Done, Field, Sent};

const NODES: usize = 2;
const CLIENTS: u64 = 16;
const USERS: u64 = 20;

/// Something is killed after so many further acknowledged movements at the most.
const KILL_AFTER_MAX: u64 = 400;
/// Steps of doing nothing that a kill may come later, so that it is not tied to an answer.
const LATER_MAX: u64 = 2_000_000;
/// Movements that must be acknowledged after everything was killed: the service goes on by itself.
const AFTERWARDS: u64 = 200;
/// How long it may take until so many movements are acknowledged.
const GOES_ON_WITHIN: Duration = Duration::from_secs(90);

/// What is crashed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Stage {
    /// A node, and a PostgreSQL on its own.
    Postgres,
    /// A node, and a MariaDB on its own.
    Mariadb,
    /// Redis beside PostgreSQL: killed, restarted, flushed.
    Redis,
    /// A PostgreSQL whose synchronous standby takes over.
    Standby,
    /// A node of a Galera cluster.
    Galera,
}

impl Stage {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Stage::Postgres => "PostgreSQL",
            Stage::Mariadb => "MariaDB",
            Stage::Redis => "PostgreSQL with Redis",
            Stage::Standby => "PostgreSQL with a synchronous standby",
            Stage::Galera => "MariaDB Galera, three nodes",
        }
    }

    fn killed(self) -> &'static str {
        match self {
            Stage::Postgres | Stage::Mariadb => "a node and the database",
            Stage::Redis => "Redis, killed, restarted and flushed",
            Stage::Standby => "a node and the primary, whose standby is promoted",
            Stage::Galera => "a node and one of the databases",
        }
    }

    fn database(self) -> Result<Box<dyn Database>, String> {
        Ok(match self {
            Stage::Postgres | Stage::Redis => Box::new(Postgres::start()?),
            Stage::Mariadb => Box::new(MariaDb::start()?),
            Stage::Standby => Box::new(Pair::start()?),
            Stage::Galera => Box::new(Cluster::start()?),
        })
    }

    /// Rounds on one set of servers: a primary can be lost once.
    fn rounds_at_once(self) -> u64 {
        if self == Stage::Standby { 1 } else { u64::MAX }
    }
}

/// What rounds came to.
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    pub(crate) result: Result<(), String>,
    /// For the page of the soak.
    pub(crate) figures: Vec<String>,
}

/// Runs so many rounds of `stage`, each of which counts as a test, and prints its figures.
pub(crate) fn rounds(program: &Path, stage: Stage, rounds: u64, seed: u64) -> Outcome {
    eprintln!("{}: seed {seed}; `cargo xtask crash --seed {seed}` repeats the moments", stage.title());
    let mut sum = Sum::default();
    let mut result = Ok(());
    let mut done = 0;
    while done < rounds && result.is_ok() {
        let count = (rounds - done).min(stage.rounds_at_once());
        result = series(program, stage, done..done + count, seed, &mut sum);
        done += count;
    }
    let passed = sum.passed;
    let tally = Tally { passed, failed: u64::from(result.is_err()) };
    let result =
        result.map_err(|error: String| format!("{}, seed {seed}, round {passed}: {error}", stage.title()));
    let figures = sum.figures(stage, seed);
    figures.iter().for_each(|figure| println!("figure: {figure}"));
    Outcome { tally, result, figures }
}

/// What all rounds of a stage add up to.
#[derive(Default)]
struct Sum {
    passed: u64,
    movements: u64,
    broken: u64,
    put_off: u64,
    longest: Duration,
    entries: u64,
}

impl Sum {
    fn figures(&self, stage: Stage, seed: u64) -> Vec<String> {
        vec![
            format!(
                "{}: seed {seed}, {} rounds of `kill -9` under {CLIENTS} clients on {NODES} nodes: {}",
                stage.title(),
                self.passed,
                stage.killed()
            ),
            format!(
                "{}: {} movements acknowledged, each booked once; on the way {} lost connections and {} answers of 503, \
                 no other failure; the longest wait for a definite answer {:.1} s; {} entries verified",
                stage.title(),
                self.movements,
                self.broken,
                self.put_off,
                self.longest.as_secs_f64(),
                self.entries
            ),
        ]
    }
}

/// Rounds on one set of servers.
fn series(
    program: &Path,
    stage: Stage,
    numbers: std::ops::Range<u64>,
    seed: u64,
    sum: &mut Sum,
) -> Result<(), String> {
    let mut set = Set::start(program, stage)?;
    let before = sum.entries;
    for number in numbers {
        let started = Instant::now();
        let round = seed.wrapping_mul(1_000).wrapping_add(number) % 1_000_000_007;
        let sent = set.round(stage, round, sum).map_err(|error| set.with_logs(&error))?;
        set.check(program, &sent).map_err(|error| set.with_logs(&error))?;
        sum.passed += 1;
        sum.movements += sent.len() as u64;
        sum.entries = before + set.book.entries();
        let seconds = started.elapsed().as_secs_f64();
        eprintln!("round {number} holds: {} movements in {seconds:.1} s", sent.len());
    }
    let mut client = set.client(0)?;
    set.book.entries_hold(&mut client).map_err(|error| set.with_logs(&error))?;
    set.stop()
}

/// What runs during the rounds.
struct Set {
    // Nodes are stopped before what they stand on: fields drop in this order.
    nodes: Vec<Server>,
    redis: Option<Redis>,
    database: Box<dyn Database>,
    settings: Settings,
    addresses: Vec<SocketAddr>,
    key: String,
    book: Book,
}

impl Set {
    fn start(program: &Path, stage: Stage) -> Result<Self, String> {
        let database = stage.database()?;
        let mut settings = Settings::on(&database.url()).with("PURSER_LOG", "info");
        let redis = if stage == Stage::Redis { Some(Redis::start()?) } else { None };
        if let Some(redis) = &redis {
            settings = settings.with("PURSER_REDIS_URL", redis.url());
        }
        let nodes = (0..NODES).map(|_| Server::start_with(&settings, program));
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        let addresses: Vec<SocketAddr> = nodes.iter().map(|node| node.address).collect();
        let key = nodes[0].key("crash")?;
        nodes.iter().try_for_each(|node| node.sees("/v1/actions", &key))?;
        let mut client = connect(addresses[0], &key)?;
        let book = Book::open(&mut client, USERS)?;
        nodes.iter().try_for_each(|node| node.sees("/v1/actions/tokens", &key))?;
        Ok(Set { nodes, redis, database, settings, addresses, key, book })
    }

    fn client(&self, node: usize) -> Result<Client, String> {
        connect(self.addresses[node], &self.key)
    }

    /// Loads the nodes and kills what the stage says; everything that was acknowledged.
    fn round(&mut self, stage: Stage, round: u64, sum: &mut Sum) -> Result<Vec<Sent>, String> {
        let (addresses, key) = (self.addresses.clone(), self.key.clone());
        let field = Field {
            addresses: &addresses,
            key: &key,
            round,
            users: self.book.users(),
            stop: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            broken: AtomicU64::new(0),
            put_off: AtomicU64::new(0),
        };
        let (killed, done) = std::thread::scope(|scope| {
            let field = &field;
            let clients: Vec<_> =
                (0..CLIENTS).map(|number| scope.spawn(move || load::run(field, number))).collect();
            let failed = || clients.iter().any(std::thread::ScopedJoinHandle::is_finished);
            let killed = self.kill_all(stage, field, &failed);
            field.stop.store(true, Ordering::Relaxed);
            let done: Result<Vec<Done>, String> = clients
                .into_iter()
                .map(|client| client.join().unwrap_or_else(|_| Err("a client panicked".to_string())))
                .collect();
            (killed, done)
        });
        // What a client met says more than that the killer waited in vain.
        let done = done?;
        killed?;
        let (broken, put_off) = (field.broken.load(Ordering::Relaxed), field.put_off.load(Ordering::Relaxed));
        if stage == Stage::Redis && broken + put_off > 0 {
            return Err(format!(
                "{broken} connections broke and {put_off} answers were 503, for Redis alone"
            ));
        }
        sum.broken += broken;
        sum.put_off += put_off;
        sum.longest = done.iter().map(|done| done.longest).fold(sum.longest, Duration::max);
        Ok(done.into_iter().flat_map(|done| done.sent).collect())
    }

    /// Kills at moments of chance while clients are at it, then sees that everything goes on by itself.
    fn kill_all(&mut self, stage: Stage, field: &Field<'_>, failed: &dyn Fn() -> bool) -> Result<(), String> {
        let mut chance = Chance::new(field.round);
        let database_first = chance.below(2) == 0;
        for step in [database_first, !database_first] {
            more(field, 1 + chance.below(KILL_AFTER_MAX), failed)?;
            for step in 0..chance.below(LATER_MAX) {
                std::hint::black_box(step);
            }
            match (&mut self.redis, step) {
                (Some(redis), true) => {
                    redis.kill()?;
                    more(field, 1 + chance.below(AFTERWARDS), failed)?;
                    redis.restart()?;
                }
                (Some(redis), false) => redis.flush()?,
                (None, true) => self.database.crash(chance.below(1 << 20))?,
                (None, false) => {
                    let node = usize::try_from(chance.below(NODES as u64)).expect("few nodes");
                    self.nodes[node].kill()?;
                    self.nodes[node].start_again()?;
                    self.nodes[node].wait()?;
                }
            }
        }
        more(field, AFTERWARDS, failed)?;
        if stage != Stage::Redis {
            self.database.mend()?;
        }
        self.nodes.iter_mut().try_for_each(Server::wait)
    }

    /// Every acknowledged movement of the round is known to both nodes, balances and ledger hold.
    fn check(&mut self, program: &Path, sent: &[Sent]) -> Result<(), String> {
        check::all_known(&self.addresses, &self.key, sent, CLIENTS)?;
        self.book.take(sent);
        for node in 0..NODES {
            self.book.balances_hold(&mut self.client(node)?)?;
        }
        let printed = server::run_alone(program, &self.settings, &["verify", "--json"])?;
        let entries = crate::bench::entries_of(&printed)?;
        let expected = self.book.entries();
        if entries == expected {
            return Ok(());
        }
        Err(format!("the ledger holds {entries} entries and should hold {expected}"))
    }

    fn with_logs(&self, error: &str) -> String {
        let logs: Vec<String> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(number, node)| format!("node {number}:\n{}", node.log_tail()))
            .collect();
        format!("{error}\n{}", logs.join("\n"))
    }

    fn stop(self) -> Result<(), String> {
        self.nodes.into_iter().try_for_each(Server::stop)?;
        self.redis.map_or(Ok(()), Redis::stop)?;
        self.database.stop()
    }
}

fn connect(address: SocketAddr, key: &str) -> Result<Client, String> {
    Client::connect(address, key).map_err(|error| format!("{address}: {error}"))
}

/// Waits until so many further movements are acknowledged.
fn more(field: &Field<'_>, count: u64, failed: &dyn Fn() -> bool) -> Result<(), String> {
    let (give_up, before) = (Instant::now() + GOES_ON_WITHIN, field.acknowledged.load(Ordering::Relaxed));
    while field.acknowledged.load(Ordering::Relaxed) < before + count {
        if failed() {
            return Err("a client ended before its time".to_string());
        }
        if Instant::now() > give_up {
            let seconds = GOES_ON_WITHIN.as_secs();
            return Err(format!("{count} movements were not acknowledged within {seconds} s"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// A seed for whoever named none.
pub(crate) fn seed() -> u64 {
    u64::from(std::process::id())
}
