//! Whether size matters: the same debits against an empty ledger and against one with millions of entries.
//!
//! The large ledger is made once, by the engine itself, and grows a little with each round.

use std::path::Path;
use std::rc::Rc;

use super::debits::{self, Service, Wallets};
use super::series::Series;
use super::servers::System;
use super::{Effort, fill};
use crate::guard::TempFolder;
use crate::load::Order;
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

/// Turns that the two ledgers take in a round: so short that a machine that is slow for a while is slow for both, so long that what
/// is merged and folded behind the load falls into them.
const TURNS: usize = 2;

/// On the embedded database.
pub(super) fn embedded(program: &Path, debits: u64, effort: Effort) -> Result<Large, String> {
    step::announce(&format!("a ledger of {debits} debits, SQLite"));
    let folder = Rc::new(TempFolder::new("large")?);
    let settings = Settings::file(folder.path());
    let made = Made { system: "SQLite", program, settings: &settings, debits };
    let (entries, verified_per_second) = made.fill()?;
    at_rest(folder.path())?;
    let empty = service(Server::start(program)?, 0)?;
    let full = service(Server::start_in(folder.clone(), program)?, entries)?;
    made.compare(empty, full, (entries, verified_per_second), effort)
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
        let made = Made { system: server.name(), program, settings, debits };
        let (entries, verified_per_second) = made.fill()?;
        server.on_empty(|small, beside| {
            let empty = service(Server::start_with(beside, program)?, 0)?;
            let full = service(Server::start_with(settings, program)?, entries)?;
            server.settle(small)?;
            server.settle(database)?;
            made.compare(empty, full, (entries, verified_per_second), effort)
        })
    })
}

fn service(server: Server, before: u64) -> Result<Service, String> {
    Service::new(server, before, |target| target.prepare())
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

impl Made<'_> {
    /// Makes it; how many entries it has, and how many of them are verified in a second.
    fn fill(&self) -> Result<(u64, f64), String> {
        fill(self.program, self.settings, self.debits)?;
        let (seconds, entries) =
            debits::verify(|arguments| server::run_alone(self.program, self.settings, arguments))?;
        match entries >= self.debits {
            true => Ok((entries, entries as f64 / seconds)),
            false => Err(format!("it should hold {} debits and has {entries} entries", self.debits)),
        }
    }

    fn compare(
        &self,
        mut empty: Service,
        mut full: Service,
        (entries, verified_per_second): (u64, f64),
        effort: Effort,
    ) -> Result<Large, String> {
        let mut large = Large {
            system: self.system,
            entries,
            empty: Series::default(),
            full: Series::default(),
            full_random: Series::default(),
            verified_per_second,
        };
        let turns = effort.rounds * TURNS;
        let body = debits::scan_by(MANY);
        for turn in 1..=turns {
            step::announce(&format!("turn {turn} of {turns}"));
            large.empty.push("an empty ledger", empty.debit(body, Order::Time, effort)?);
            large.full.push("the large ledger", full.debit(body, Order::Time, effort)?);
            large.full_random.push("the large ledger, random keys", full.debit(body, Order::Chance, effort)?);
        }
        empty.stop()?;
        full.stop()?;
        Ok(large)
    }
}
