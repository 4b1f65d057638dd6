//! `cargo xtask`: everything about this repository that is more than one line of shell.
//!
//! Checks, tests, long runs, measurements and the private services that they need. It knows nothing of
//! credits and is no part of the product. Read next: `test` for what CI runs, `tidy` for the rules.

#![allow(clippy::disallowed_methods, reason = "xtask measures and waits in real time and owns no ledger")]
#![allow(clippy::float_arithmetic, reason = "medians and ratios of measurements, never amounts")]

mod api_check;
mod bench;
mod crash;
mod events_check;
mod fixtures;
mod guard;
mod http;
mod load;
mod matrix;
mod packages;
mod python;
mod repo;
mod server;
mod services;
mod soak;
mod step;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks of the Purser repository.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Formatting, lints, tidy and the tests: run it before a commit.
    Check,
    /// Everything that CI runs; installs what the machine lacks, ends with `N passed, M failed`.
    Test,
    /// The rules that the compiler cannot hold.
    Tidy {
        /// Add new migrations to the list of those that never change again.
        #[arg(long)]
        record_migrations: bool,
    },
    /// Private database servers on free ports, until Ctrl-C.
    Services {
        /// Start them, ask each what it promises, kill -9 and start those again that can be, stop them.
        #[arg(long)]
        check: bool,
        /// Also a Galera cluster of three nodes.
        #[arg(long)]
        galera: bool,
        /// Also a PostgreSQL with a synchronous standby.
        #[arg(long)]
        replica: bool,
    },
    /// Ledgers of this schema, with which upgrades from it will be tested; writes `crates/store/tests/fixtures`.
    Fixtures,
    /// The long counts, in the release profile; writes `docs/soak.md`.
    Soak {
        /// Seeds of the simulation.
        #[arg(long, default_value_t = 2_000)]
        seeds: u32,
        /// Rounds of killing the server under load.
        #[arg(long, default_value_t = 100)]
        rounds: u32,
        /// Rounds of killing a node and the database, on PostgreSQL and on MariaDB each.
        #[arg(long, default_value_t = 50)]
        server_rounds: u64,
        /// Only say whether the page is younger than the code it vouches for.
        #[arg(long)]
        check: bool,
    },
    /// The official CloudEvents SDK against `POST /v1/usage_events`, on every database.
    Events,
    /// Rounds of `kill -9` on server databases under load, in the debug profile.
    Crash {
        /// What is crashed; everything that `test` crashes unless named.
        #[arg(long)]
        on: Vec<crash::Stage>,
        /// Rounds of each.
        #[arg(long, default_value_t = 3)]
        rounds: u64,
        /// The moments of the kills.
        #[arg(long)]
        seed: Option<u64>,
        /// In the release profile.
        #[arg(long)]
        release: bool,
    },
    /// Purser beside a no-op handler and beside pgbench; writes `docs/benchmarks.md`.
    Bench {
        /// One short round that writes nothing.
        #[arg(long)]
        quick: bool,
        /// Also measure against a ledger of 20 million debits, which takes a while to make.
        #[arg(long)]
        large: bool,
        /// Only the latency at so many debits a second; writes nothing.
        #[arg(long, value_name = "RATE", conflicts_with_all = ["quick", "large"])]
        paced: Option<u64>,
        /// Only one part: PostgreSQL's, MariaDB's, the gate's or a long catalogue's, which write nothing, or a large ledger's, which writes its part of the page.
        #[arg(long, conflicts_with_all = ["large", "paced"])]
        only: Option<Part>,
    },
}

/// A part of the bench that can be run by itself.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Postgres,
    Mariadb,
    LargeSqlite,
    LargePostgres,
    Gate,
    Catalogue,
}

/// Debits of a large ledger.
const LARGE: u64 = 20_000_000;

fn main() -> ExitCode {
    let root = repo::root();
    let done = guard::clean_up_on_signals().and_then(|()| match Arguments::parse().task {
        Task::Check => test::check(&root),
        Task::Test => test::test(&root),
        Task::Tidy { record_migrations: true } => tidy::record_migrations(&root),
        Task::Tidy { record_migrations: false } => tidy::run(&root),
        Task::Services { check, galera, replica } => {
            services::command(services::Wanted { check, galera, replica })
        }
        Task::Fixtures => fixtures::command(&root),
        Task::Soak { check: true, .. } => soak::check(&root),
        Task::Soak { seeds, rounds, server_rounds, check: false } => {
            soak::command(&root, seeds, rounds, server_rounds)
        }
        Task::Events => test::events(&root),
        Task::Crash { on, rounds, seed, release } => {
            let profile = if release { "release" } else { "dev" };
            test::crash(&root, profile, &on, rounds, seed.unwrap_or_else(crash::seed))
        }
        Task::Bench { paced: Some(rate), .. } => bench::paced(&root, rate),
        Task::Bench { quick, large, paced: None, only } => {
            let effort = if quick { bench::Effort::QUICK } else { bench::Effort::FULL };
            match only {
                None => bench::command(&root, effort, quick, large.then_some(LARGE)),
                Some(Part::Postgres | Part::Mariadb) => {
                    bench::server(&root, only == Some(Part::Mariadb), effort)
                }
                Some(Part::Gate) => bench::gate::command(&root, effort),
                Some(Part::Catalogue) => bench::catalogue::command(&root, effort),
                Some(_) if quick => Err("a large ledger has no quick run".to_string()),
                Some(part) => bench::large(&root, part == Part::LargePostgres, LARGE),
            }
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is_empty() {
                eprintln!("xtask: {error}");
            }
            ExitCode::FAILURE
        }
    }
}
