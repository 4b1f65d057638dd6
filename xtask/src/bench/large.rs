//! Whether size matters: the same debits against an empty ledger and against one with millions of entries.
//!
//! The large ledger is made once, by the engine itself, and grows a little with each round.

use std::path::Path;
use std::rc::Rc;

use super::debits::{self, Wallets};
use super::series::Series;
use super::{Effort, fill};
use crate::guard::TempFolder;
use crate::load::{Order, Pace};
use crate::server::{self, Server, Settings};

/// What size costs, one figure of each a round.
pub(super) struct Large {
    /// Entries that were there before the first round.
    pub(super) entries: u64,
    pub(super) empty: Series,
    pub(super) full: Series,
    /// The large ledger again, with keys in no order.
    pub(super) full_random: Series,
    pub(super) verified_per_second: f64,
}

pub(super) fn measure(program: &Path, debits: u64, effort: Effort) -> Result<Large, String> {
    let folder = Rc::new(TempFolder::new("large")?);
    let settings = Settings::file(folder.path());
    fill(program, &settings, debits)?;
    let (seconds, entries) = debits::verify(|arguments| server::run_alone(program, &settings, arguments))?;
    if entries < debits {
        return Err(format!("the large ledger should hold {debits} debits and has {entries} entries"));
    }
    let mut large = Large {
        entries,
        empty: Series::default(),
        full: Series::default(),
        full_random: Series::default(),
        verified_per_second: entries as f64 / seconds,
    };
    let many = Wallets::Many(debits::WALLETS);
    let mut held = entries;
    for _ in 0..effort.rounds {
        large.empty.push("an empty ledger", debits::ledger(program, many, Pace::Closed, effort)?.per_second);
        for order in [Order::Time, Order::Chance] {
            let server = Server::start_in(folder.clone(), program)?;
            let measured = debits::measure(server, many, Pace::Closed, order, effort, held)?;
            held = measured.entries;
            match order {
                Order::Time => large.full.push("the large ledger", measured.per_second),
                Order::Chance => large.full_random.push("the large ledger, random keys", measured.per_second),
            }
        }
    }
    Ok(large)
}
