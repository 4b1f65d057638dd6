//! `cargo xtask bench`: Purser beside a handler that does nothing and beside PostgreSQL and MariaDB doing the
//! same debits one transaction each, on this machine, in this run.
//!
//! Machines change speed while they are measured, so everything is measured once in every round, ratios
//! are taken within a round, and the median of the rounds is what counts. A figure counts only when
//! the ledger holds exactly one entry for every answer. Read next: `debits`, `servers`, `pgbench`, `report`.

pub(crate) mod catalogue;
mod debits;
pub(crate) mod gate;
mod large;
mod machine;
mod mariadb;
mod pgbench;
mod report;
mod series;
mod servers;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::guard::TempFolder;
use crate::load::{Histogram, Pace};
use crate::repo;
use crate::server::{self, Server, Settings};
use crate::services::{MariaDb, Postgres};
use crate::step;
use crate::test::build_server;
pub(crate) use debits::entries_of;
use debits::{Target, Wallets};
use report::Report;
use series::Series;
use servers::{OnServer, System};

/// How long and how often.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    rounds: usize,
    warm_up: Duration,
    measured: Duration,
}

impl Effort {
    /// What is committed.
    pub(crate) const FULL: Effort =
        Effort { rounds: 3, warm_up: Duration::from_secs(1), measured: Duration::from_secs(6) };
    /// Long enough for a tail, for one run.
    pub(crate) const PACED: Effort =
        Effort { rounds: 1, warm_up: Duration::from_secs(1), measured: Duration::from_secs(12) };
    /// Enough to see whether everything still runs; its figures are not written down.
    pub(crate) const QUICK: Effort =
        Effort { rounds: 1, warm_up: Duration::from_millis(500), measured: Duration::from_secs(1) };

    /// There is more to measure on server databases, and the whole of it should not take longer than a walk.
    fn on_servers(self) -> Effort {
        Effort { measured: self.measured.min(Duration::from_secs(4)), ..self }
    }
}

/// Debits of one engine run: a few seconds of it.
const ENGINE_DEBITS: u64 = 500_000;

/// Throughputs, one of each a round.
#[derive(Default)]
struct Rounds {
    noop: Series,
    sqlite: Series,
    sqlite_hot: Series,
    engine: Series,
    postgres: OnServer,
    mariadb: OnServer,
}

/// Latencies of answers at a fixed rate.
struct Paced {
    rate: u64,
    answered: u64,
    latency: Histogram,
}

/// What is measured once, after the rounds.
struct Once {
    paced: Paced,
    paced_postgres: Paced,
    idle_kilobytes: u64,
    binary_bytes: u64,
    verified_per_second: f64,
    verified_entries: u64,
    latency_at_most: Histogram,
}

/// Measures, prints the table, and writes `docs/benchmarks.md` unless the run is a quick one. With
/// `large`, also measures against ledgers of so many debits.
pub(crate) fn command(root: &Path, effort: Effort, quick: bool, large: Option<u64>) -> Result<(), String> {
    let target = repo::target_folder(root)?;
    step::announce("release build");
    let program = build_server(root, &target, "release")?;
    step::announce("private PostgreSQL and MariaDB");
    let systems = [System::Postgres(Postgres::start()?), System::MariaDb(MariaDb::start()?)];
    let mut rounds = Rounds::default();
    let mut latency_at_most = Histogram::default();
    for round in 1..=effort.rounds {
        step::announce(&format!("round {round} of {}", effort.rounds));
        rounds.measure(&program, &systems, effort, &mut latency_at_most)?;
    }
    step::announce("at half of the highest load, idle memory, verify");
    let paced_postgres = systems[0].paced(&program, rounds.postgres.many.median(), effort)?;
    let once = measure_once(&program, effort, rounds.sqlite.median(), latency_at_most, paced_postgres)?;
    let large = match large {
        None => Vec::new(),
        Some(debits) => vec![
            large::embedded(&program, debits, effort)?,
            large::on_server(&program, debits, &systems[0], effort)?,
        ],
    };
    systems.into_iter().try_for_each(System::stop)?;
    let machine = machine::describe(root)?;
    let report = Report { rounds: &rounds, once: &once, large: &large, machine: &machine, effort };
    println!("{}", report.table());
    if !quick {
        report.write(&root.join("docs/benchmarks.md"))?;
    }
    Ok(())
}

/// Measures and prints one system's part alone, for work on it; writes nothing.
pub(crate) fn server(root: &Path, mariadb: bool, effort: Effort) -> Result<(), String> {
    let program = build_server(root, &repo::target_folder(root)?, "release")?;
    let system =
        if mariadb { System::MariaDb(MariaDb::start()?) } else { System::Postgres(Postgres::start()?) };
    let mut rounds = OnServer::default();
    for round in 1..=effort.rounds {
        step::announce(&format!("round {round} of {}", effort.rounds));
        system.round(&program, effort.on_servers(), &mut rounds)?;
    }
    let paced = system.paced(&program, rounds.many.median(), effort)?;
    println!("{}", report::servers::figures(&[(system.name(), &rounds)]));
    println!("{}", report::servers::latency(system.name(), &paced, &rounds.latency_at_most));
    system.stop()
}

/// Measures against a large ledger alone, and writes that part of `docs/benchmarks.md`.
pub(crate) fn large(root: &Path, postgres: bool, debits: u64) -> Result<(), String> {
    let program = build_server(root, &repo::target_folder(root)?, "release")?;
    let measured = if postgres {
        let system = System::Postgres(Postgres::start()?);
        let measured = large::on_server(&program, debits, &system, Effort::FULL)?;
        system.stop()?;
        measured
    } else {
        large::embedded(&program, debits, Effort::FULL)?
    };
    let machine = machine::describe(root)?;
    let path = root.join("docs/benchmarks.md");
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let page = fs::read_to_string(&path).map_err(failed)?;
    fs::write(&path, report::large::replaced(&page, &[measured], &machine)?).map_err(failed)
}

/// Measures and prints the latency at `rate` debits a second alone, for work on the tail.
pub(crate) fn paced(root: &Path, rate: u64) -> Result<(), String> {
    let target = repo::target_folder(root)?;
    let program = build_server(root, &target, "release")?;
    let pace = Pace::PerSecond(rate);
    let measured = debits::ledger(&program, Wallets::Many(debits::WALLETS), pace, Effort::PACED)?;
    let [p50, p99, p999] = [500, 990, 999].map(|part| measured.latency.percentile(part).as_secs_f64() * 1e3);
    println!("{} answers: p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms", measured.answered);
    Ok(())
}

impl Rounds {
    fn measure(
        &mut self,
        program: &Path,
        systems: &[System; 2],
        effort: Effort,
        latency: &mut Histogram,
    ) -> Result<(), String> {
        let many = Wallets::Many(debits::WALLETS);
        self.noop.push("no-op handler", debits::noop(program, effort)?);
        let measured = debits::ledger(program, many, Pace::Closed, effort)?;
        latency.add(&measured.latency);
        self.sqlite.push("SQLite, 10,000 wallets", measured.per_second);
        let measured = debits::ledger(program, Wallets::One, Pace::Closed, effort)?;
        self.sqlite_hot.push("SQLite, one hot wallet", measured.per_second);
        self.engine.push("engine without HTTP", engine(program)?);
        let [postgres, mariadb] = systems;
        postgres.round(program, effort.on_servers(), &mut self.postgres)?;
        mariadb.round(program, effort.on_servers(), &mut self.mariadb)
    }
}

/// Debits a second that the engine makes by itself, by its own account.
fn engine(program: &Path) -> Result<f64, String> {
    let folder = TempFolder::new("engine")?;
    fill(program, &Settings::file(folder.path()), ENGINE_DEBITS)
}

/// Makes so many debits in a ledger, without HTTP; how many a second.
fn fill(program: &Path, settings: &Settings, debits: u64) -> Result<f64, String> {
    let debits = debits.to_string();
    let printed = server::run_alone(program, settings, &["bench", "engine", "--json", "--debits", &debits])?;
    let figures: serde_json::Value = serde_json::from_str(printed.trim())
        .map_err(|error| format!("purser bench engine: {error}: {printed}"))?;
    let per_second = figures["debits_per_second"].as_f64();
    per_second.ok_or_else(|| format!("purser bench engine names no debits_per_second: {printed}"))
}

fn measure_once(
    program: &Path,
    effort: Effort,
    highest: f64,
    latency_at_most: Histogram,
    paced_postgres: Paced,
) -> Result<Once, String> {
    let rate = (highest / 2.0) as u64;
    let longer = Effort { measured: effort.measured * 3, ..effort };
    let measured = debits::ledger(program, Wallets::Many(debits::WALLETS), Pace::PerSecond(rate), longer)?;
    let paced = Paced { rate, answered: measured.answered, latency: measured.latency };
    let binary_bytes =
        fs::metadata(program).map_err(|error| format!("{}: {error}", program.display()))?.len();
    // Larger than the ledger of any run over HTTP, so that the start of the program counts for less.
    let folder = TempFolder::new("verify")?;
    let settings = Settings::file(folder.path());
    fill(program, &settings, ENGINE_DEBITS)?;
    let (verify_seconds, verified_entries) =
        debits::verify(|arguments| server::run_alone(program, &settings, arguments))?;
    let idle = Server::start(program)?;
    let target = Target::of(std::slice::from_ref(&idle))?;
    target.is_there()?;
    let idle_kilobytes = machine::resident_kilobytes(idle.id().ok_or("it was just started")?)?;
    idle.stop()?;
    Ok(Once {
        paced,
        paced_postgres,
        idle_kilobytes,
        binary_bytes,
        verified_per_second: verified_entries as f64 / verify_seconds,
        verified_entries,
        latency_at_most,
    })
}

/// Seconds that `work` takes, and what it answers.
fn timed<T>(work: impl FnOnce() -> Result<T, String>) -> Result<(f64, T), String> {
    let started = Instant::now();
    let done = work()?;
    Ok((started.elapsed().as_secs_f64(), done))
}
