//! The rival on MariaDB: what `pgbench` does on PostgreSQL, by a loop of our own, as MariaDB's load program
//! knows neither prepared statements nor variables. The same SQL, one transaction for each debit, 64 connections.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, Params, Statement};

use super::Effort;
use crate::services::MariaDb;

const SCHEMA: &str = include_str!("mariadb_schema.sql");
const DATABASE: &str = "rival";
const CLIENTS: u64 = 64;
const THREADS: u64 = 2;

const LOCK: &str = "SELECT settled, held, seq FROM wallet WHERE id = ? FOR UPDATE";
const WALLET: &str =
    "UPDATE wallet SET settled = settled - 1000000, seq = seq + 1, updated_at = now(6) WHERE id = ?";
const LOT: &str = "UPDATE lot SET remaining = remaining - 1000000 WHERE id = ?";
const ENTRY: &str =
    "INSERT INTO entry (wallet_id, kind, amount, held_delta, action, actor, occurred_at, recorded_at)
    VALUES (?, 2, -1000000, 0, 'scan', 1, now(6), now(6))";
const ANSWER: &str = r#"INSERT INTO answer (answer_key, status, body)
    VALUES (?, 201, '{"action":"scan","amount":"1","unit":"credit","balance":{"settled":"999999"}}')"#;

/// What the clients share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    counting: AtomicBool,
    all: AtomicU64,
    measured: AtomicU64,
}

/// Debits a second over `wallets` wallets, against an empty ledger.
pub(super) fn run(mariadb: &MariaDb, wallets: u64, effort: Effort) -> Result<f64, String> {
    mariadb.query(&format!("DROP DATABASE IF EXISTS {DATABASE}"))?;
    mariadb.create_database(DATABASE)?;
    mariadb.query_as_client(DATABASE, SCHEMA)?;
    let fill = format!(
        "INSERT INTO wallet SELECT seq, 1000000000000, 0, 0, now(6) FROM seq_1_to_{wallets};
         INSERT INTO lot SELECT seq, seq, 1000000000000, 1000000000000, 0 FROM seq_1_to_{wallets};
         ANALYZE TABLE wallet, lot"
    );
    mariadb.query_as_client(DATABASE, &fill)?;
    let url = mariadb.url_of(DATABASE);
    let shared = Shared::default();
    let (seconds, failed) = std::thread::scope(|scope| {
        let (shared, url) = (&shared, &url);
        let threads: Vec<_> =
            (0..THREADS).map(|number| scope.spawn(move || clients(url, number, wallets, shared))).collect();
        std::thread::sleep(effort.warm_up);
        shared.counting.store(true, Ordering::Relaxed);
        let started = Instant::now();
        std::thread::sleep(effort.measured);
        shared.counting.store(false, Ordering::Relaxed);
        let seconds = started.elapsed().as_secs_f64();
        shared.stop.store(true, Ordering::Relaxed);
        let ended =
            threads.into_iter().map(|thread| thread.join().map_err(|_| "a client panicked".to_string())?);
        (seconds, ended.filter_map(Result::err).next())
    });
    if let Some(error) = failed {
        return Err(format!("debits by SQL on MariaDB: {error}"));
    }
    let (entries, answered) = (
        mariadb.query(&format!("SELECT count(*) FROM {DATABASE}.entry"))?,
        shared.all.load(Ordering::Relaxed),
    );
    if entries != answered.to_string() {
        return Err(format!("{answered} debits were committed and the table holds {entries} entries"));
    }
    Ok(shared.measured.load(Ordering::Relaxed) as f64 / seconds)
}

/// One thread's share of the clients.
fn clients(url: &str, thread: u64, wallets: u64, shared: &Shared) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("runtime: {error}"))?;
    let opts = Opts::from_url(url).map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let numbers = (thread..CLIENTS).step_by(THREADS as usize);
        let ended = join_all(numbers.map(|number| client(opts.clone(), number, wallets, shared))).await;
        ended.into_iter().collect::<Result<(), mysql_async::Error>>().map_err(|error| error.to_string())
    })
}

/// One client: debits until it is told to stop.
async fn client(opts: Opts, number: u64, wallets: u64, shared: &Shared) -> Result<(), mysql_async::Error> {
    let mut conn = Conn::new(opts).await?;
    let mut statements: Vec<Statement> = Vec::new();
    for sql in [LOCK, WALLET, LOT, ENTRY, ANSWER] {
        statements.push(conn.prep(sql).await?);
    }
    let mut chance = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    while !shared.stop.load(Ordering::Relaxed) {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        let wallet = 1 + chance % wallets;
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        // Ordered by time, as the keys of the others are.
        let key = ((now.as_millis() << 80) | (u128::from(number) << 64) | u128::from(chance)).to_be_bytes();
        conn.query_drop("BEGIN").await?;
        for statement in &statements[..4] {
            conn.exec_drop(statement, (wallet,)).await?;
        }
        conn.exec_drop(&statements[4], Params::Positional(vec![key.to_vec().into()])).await?;
        conn.query_drop("COMMIT").await?;
        shared.all.fetch_add(1, Ordering::Relaxed);
        if shared.counting.load(Ordering::Relaxed) {
            shared.measured.fetch_add(1, Ordering::Relaxed);
        }
    }
    conn.disconnect().await
}
