//! What a long catalogue costs: debits and preflights of one action, and of any of thousands, in turn in one run.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use super::debits::{Target, WALLETS, Wallets, entries_of};
use super::series::Series;
use super::{Effort, timed};
use crate::load::{Order, Pace};
use crate::server::Server;
use crate::test::build_server;
use crate::{repo, step};

/// Actions of the short and of the long catalogue.
const LENGTHS: [u64; 2] = [1, 5_000];

/// Turns that the two take in a round. Each is short, so that a machine that is slow for a while is slow for both.
const TURNS: usize = 8;

/// A service with one of the catalogues, and what it was measured at.
struct Side {
    length: u64,
    server: [Server; 1],
    target: Target,
    debits: Series,
    preflights: Series,
    answered: u64,
}

/// Measures and prints; writes nothing.
pub(crate) fn command(root: &Path, effort: Effort) -> Result<(), String> {
    let program = build_server(root, &repo::target_folder(root)?, "release")?;
    let turns = effort.rounds * TURNS;
    let effort = Effort { measured: effort.measured / 3, warm_up: effort.warm_up / 2, ..effort };
    let mut sides = [Side::start(&program, LENGTHS[0])?, Side::start(&program, LENGTHS[1])?];
    for turn in 1..=turns {
        step::announce(&format!("turn {turn} of {turns}"));
        // Whoever comes second finds the machine as the first one left it: they take turns at that as well.
        sides.rotate_left(1);
        sides.iter_mut().try_for_each(|side| side.measure(effort))?;
    }
    sides.sort_by_key(|side| side.length);
    let [short, long] = &sides;
    for (what, short, long) in
        [("debits", &short.debits, &long.debits), ("preflights", &short.preflights, &long.preflights)]
    {
        let ratio = long.against(short);
        println!(
            "{what}: {:.0} a second with {} action, {:.0} with {}: {:.2} ({:.2} .. {:.2})",
            short.median(),
            LENGTHS[0],
            long.median(),
            LENGTHS[1],
            ratio.median(),
            ratio.least(),
            ratio.most()
        );
    }
    sides.into_iter().try_for_each(Side::stop)
}

impl Side {
    fn start(program: &Path, length: u64) -> Result<Side, String> {
        let server = [Server::start(program)?];
        let target = Target::of(&server)?;
        let (seconds, applied) = timed(|| target.put("/v1/catalogue", &catalogue(length)).map(|()| length))?;
        eprintln!("{applied} actions applied in {:.0} ms", seconds * 1e3);
        target.grant(Wallets::Many(WALLETS))?;
        let (debits, preflights) = (Series::default(), Series::default());
        Ok(Side { length, server, target, debits, preflights, answered: 0 })
    }

    fn measure(&mut self, effort: Effort) -> Result<(), String> {
        let length = self.length;
        let body = |body: &mut Vec<u8>, chance: u64| {
            let (user, action) = (chance % WALLETS, (chance >> 32) % length);
            write!(body, r#"{{"user":"u{user}","action":"a{action:04}"}}"#).expect("writing to memory");
        };
        let ask = |to| self.target.ask(to, body, Pace::Closed, Order::Time, effort);
        let (debits, preflights) = (ask(("/v1/debits", 201))?, ask(("/v1/preflight", 200))?);
        let a_second = |measured: u64| measured as f64 / effort.measured.as_secs_f64();
        self.debits.push(&format!("debits, {length} actions"), a_second(debits.measured));
        self.preflights.push(&format!("preflights, {length} actions"), a_second(preflights.measured));
        self.answered += debits.answered();
        Ok(())
    }

    /// Ends it, and looks whether its ledger has what was answered.
    fn stop(self) -> Result<(), String> {
        let [server] = self.server;
        let entries = entries_of(&server.stop_and_run(&["--json", "verify"])?)?;
        if entries != self.answered + WALLETS {
            return Err(format!("{} debits were answered; the ledger has {entries} entries", self.answered));
        }
        Ok(())
    }
}

/// So many actions of one credit each.
fn catalogue(length: u64) -> String {
    let mut text = String::from(r#"{"actions":["#);
    for number in 0..length {
        let separator = if number == 0 { "" } else { "," };
        write!(
            text,
            r#"{separator}{{"key":"a{number:04}","name":"Action {number}","prices":[{{"model":"flat","unit":"credit","amount":"1"}}]}}"#
        )
        .expect("writing to memory");
    }
    text + "]}"
}
