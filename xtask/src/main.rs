//! `cargo xtask`: everything about this repository that is more than one line of shell.
//!
//! Checks, tests, long runs, measurements and the private services that they need. It knows nothing of
//! credits and is no part of the product. Read next: `test` for what CI runs, `tidy` for the rules.

#![allow(clippy::disallowed_methods, reason = "xtask measures and waits in real time and owns no ledger")]
#![allow(clippy::float_arithmetic, reason = "medians and ratios of measurements, never amounts")]

mod api_check;
mod guard;
mod http;
mod load;
mod packages;
mod repo;
mod server;
mod services;
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
        /// Start them, ask each one question, stop them.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let root = repo::root();
    let done = guard::clean_up_on_signals().and_then(|()| match Arguments::parse().task {
        Task::Check => test::check(&root),
        Task::Test => test::test(&root),
        Task::Tidy { record_migrations: true } => tidy::record_migrations(&root),
        Task::Tidy { record_migrations: false } => tidy::run(&root),
        Task::Services { check } => services::command(check),
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
