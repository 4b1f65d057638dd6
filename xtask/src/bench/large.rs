//! Whether size matters: the same debits against an empty ledger and against one with millions of entries.
//!
//! The large ledger is made once, by the engine itself, and grows a little with each round.

use std::path::Path;
use std::rc::Rc;

use super::debits::{self, Run, Wallets};
use super::series::Series;
use super::servers::System;
use super::{Effort, fill};
use crate::guard::TempFolder;
use crate::load::{Order, Pace};
use crate::server::{self, Server, Settings};
use crate::step;

/// What size costs, one figure of each a round.
pub(super) struct Large {
    pub(super) system: &'static str,
    /// Entries that were there before the first round.
    pub(super) entries: u64,
    pub(super) empty: Series,
    pub(super) full: Series,
    /// The large ledger again, with keys in no order.
    pub(super) full_random: Series,
    pub(super) verified_per_second: f64,
}

const MANY: Wallets = Wallets::Many(debits::WALLETS);

/// On the embedded database.
pub(super) fn embedded(program: &Path, debits: u64, effort: Effort) -> Result<Large, String> {
    step::announce(&format!("a ledger of {debits} debits, SQLite"));
    let folder = Rc::new(TempFolder::new("large")?);
    let settings = Settings::file(folder.path());
    let empty = || Ok(debits::ledger(program, MANY, Pace::Closed, effort)?.per_second);
    let start = || Server::start_in(folder.clone(), program);
    let settle = || at_rest(folder.path());
    let made = Made { system: "SQLite", program, settings: &settings, debits };
    measure(&made, effort, settle, empty, start)
}

/// On a server.
pub(super) fn on_server(
    program: &Path,
    debits: u64,
    server: &System,
    effort: Effort,
) -> Result<Large, String> {
    step::announce(&format!("a ledger of {debits} debits, {}", server.name()));
    server.on_empty(|database, settings| {
        let settle = || server.settle(database);
        let empty = || Ok(server.debits(program, 1, MANY, Pace::Closed, effort)?.per_second);
        let start = || Server::start_with(settings, program);
        let made = Made { system: server.name(), program, settings, debits };
        measure(&made, effort, settle, empty, start)
    })
}

/// A ledger that grew over months is on the disk; one that was made in minutes is still on its way there.
fn at_rest(folder: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    for item in std::fs::read_dir(folder).map_err(failed)? {
        std::fs::File::open(item.map_err(failed)?.path()).and_then(|file| file.sync_all()).map_err(failed)?;
    }
    Ok(())
}

/// Which ledger is made large, and how large.
struct Made<'a> {
    system: &'static str,
    program: &'a Path,
    settings: &'a Settings,
    debits: u64,
}

fn measure(
    made: &Made<'_>,
    effort: Effort,
    settle: impl Fn() -> Result<(), String>,
    empty: impl Fn() -> Result<f64, String>,
    start: impl Fn() -> Result<Server, String>,
) -> Result<Large, String> {
    let Made { system, program, settings, debits } = *made;
    fill(program, settings, debits)?;
    let (seconds, entries) = debits::verify(|arguments| server::run_alone(program, settings, arguments))?;
    if entries < debits {
        return Err(format!("the large ledger should hold {debits} debits and has {entries} entries"));
    }
    let mut large = Large {
        system,
        entries,
        empty: Series::default(),
        full: Series::default(),
        full_random: Series::default(),
        verified_per_second: entries as f64 / seconds,
    };
    let mut held = entries;
    settle()?;
    for _ in 0..effort.rounds {
        large.empty.push("an empty ledger", empty()?);
        for order in [Order::Time, Order::Chance] {
            let run = Run { wallets: MANY, pace: Pace::Closed, order, before: held };
            let measured = debits::measure(vec![start()?], run, effort, || Ok(()))?;
            held = measured.entries;
            match order {
                Order::Time => large.full.push("the large ledger", measured.per_second),
                Order::Chance => large.full_random.push("the large ledger, random keys", measured.per_second),
            }
        }
    }
    Ok(large)
}
