//! Purser on server databases: one node and two, many wallets and one hot wallet, the engine alone, each beside
//! one transaction per debit on the same server in the same round. Read next: `pgbench` and `mariadb` for the rivals.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use super::debits::{self, Measured, Run, Wallets};
use super::series::Series;
use super::{Effort, Paced, fill, mariadb, pgbench};
use crate::load::{Histogram, Order, Pace};
use crate::server::{Server, Settings};
use crate::services::{MariaDb, Postgres};

/// Debits of one engine run on a server database.
const ENGINE_DEBITS: u64 = 150_000;

/// A database system with its rival.
pub(super) enum System {
    Postgres(Postgres),
    MariaDb(MariaDb),
}

/// Throughputs on one system, one of each a round.
#[derive(Default)]
pub(super) struct OnServer {
    pub(super) many: Series,
    pub(super) hot: Series,
    pub(super) many_two_nodes: Series,
    pub(super) hot_two_nodes: Series,
    pub(super) engine: Series,
    pub(super) rival: Series,
    pub(super) rival_hot: Series,
    pub(super) latency_at_most: Histogram,
}

impl System {
    pub(super) fn name(&self) -> &'static str {
        match self {
            System::Postgres(_) => "PostgreSQL",
            System::MariaDb(_) => "MariaDB",
        }
    }

    /// An empty database of its own, which is gone when `work` is done with it.
    pub(super) fn on_empty<T>(
        &self,
        work: impl FnOnce(&str, &Settings) -> Result<T, String>,
    ) -> Result<T, String> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("bench_{}", MADE.fetch_add(1, Ordering::Relaxed));
        match self {
            System::Postgres(postgres) => {
                postgres.create_database(&name)?;
                let done =
                    work(&name, &Settings::on(&postgres.socket_url_of(&name)).with("PURSER_LOG", "warn"))?;
                postgres.query(&format!("DROP DATABASE {name} WITH (FORCE)"))?;
                Ok(done)
            }
            System::MariaDb(mariadb) => {
                mariadb.create_database(&name)?;
                let done = work(&name, &Settings::on(&mariadb.url_of(&name)).with("PURSER_LOG", "warn"))?;
                mariadb.query(&format!("DROP DATABASE {name}"))?;
                Ok(done)
            }
        }
    }

    /// What the rival is given before it is measured: pages on the disk, and statistics.
    pub(super) fn settle(&self, database: &str) -> Result<(), String> {
        match self {
            System::Postgres(postgres) => {
                postgres.query_in(database, &["VACUUM (ANALYZE)", "CHECKPOINT"]).map(drop)
            }
            System::MariaDb(_) => Ok(()),
        }
    }

    /// Debits over HTTP against an empty ledger, by so many nodes.
    pub(super) fn debits(
        &self,
        program: &Path,
        nodes: usize,
        wallets: Wallets,
        pace: Pace,
        effort: Effort,
    ) -> Result<Measured, String> {
        self.on_empty(|database, settings| {
            let servers = (0..nodes).map(|_| Server::start_with(settings, program));
            let servers = servers.collect::<Result<Vec<_>, _>>()?;
            let run = Run { wallets, pace, order: Order::Time };
            debits::measure(servers, run, effort, || self.settle(database))
        })
    }

    fn rival(&self, wallets: u64, effort: Effort) -> Result<f64, String> {
        match self {
            System::Postgres(postgres) => pgbench::run(postgres, wallets, effort),
            System::MariaDb(server) => mariadb::run(server, wallets, effort),
        }
    }

    /// One round of everything.
    pub(super) fn round(&self, program: &Path, effort: Effort, all: &mut OnServer) -> Result<(), String> {
        let name = self.name();
        let many = Wallets::Many(debits::WALLETS);
        let label = |what: &str| format!("{name}, {what}");
        all.rival.push(
            &label("one transaction per debit by SQL, 10,000 wallets"),
            self.rival(debits::WALLETS, effort)?,
        );
        let measured = self.debits(program, 1, many, Pace::Closed, effort)?;
        all.latency_at_most.add(&measured.latency);
        all.many.push(&label("10,000 wallets"), measured.per_second);
        let measured = self.debits(program, 2, many, Pace::Closed, effort)?;
        all.many_two_nodes.push(&label("10,000 wallets, two nodes"), measured.per_second);
        all.rival_hot.push(&label("one transaction per debit by SQL, one wallet"), self.rival(1, effort)?);
        let measured = self.debits(program, 1, Wallets::One, Pace::Closed, effort)?;
        all.hot.push(&label("one hot wallet"), measured.per_second);
        let measured = self.debits(program, 2, Wallets::One, Pace::Closed, effort)?;
        all.hot_two_nodes.push(&label("one hot wallet, two nodes"), measured.per_second);
        let engine = self.on_empty(|_, settings| fill(program, settings, ENGINE_DEBITS))?;
        all.engine.push(&label("engine without HTTP"), engine);
        Ok(())
    }

    /// The latency at half of the highest load.
    pub(super) fn paced(&self, program: &Path, highest: f64, effort: Effort) -> Result<Paced, String> {
        let rate = (highest / 2.0) as u64;
        let longer = Effort { measured: effort.measured * 3, ..effort };
        let many = Wallets::Many(debits::WALLETS);
        let measured = self.debits(program, 1, many, Pace::PerSecond(rate), longer)?;
        Ok(Paced { rate, answered: measured.answered, latency: measured.latency })
    }

    pub(super) fn stop(self) -> Result<(), String> {
        match self {
            System::Postgres(postgres) => postgres.stop(),
            System::MariaDb(mariadb) => mariadb.stop(),
        }
    }
}
