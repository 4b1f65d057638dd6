//! What a long catalogue costs: debits and preflights of one action, and of any of thousands, in turn in one run.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use super::debits::{Service, WALLETS};
use super::series::Series;
use super::{Effort, timed};
use crate::load::Order;
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
    service: Service,
    debits: Series,
    preflights: Series,
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
    sides.into_iter().try_for_each(|side| side.service.stop())
}

impl Side {
    fn start(program: &Path, length: u64) -> Result<Side, String> {
        let service = Service::new(Server::start(program)?, 0, |target| {
            let (seconds, ()) = timed(|| target.put("/v1/catalogue", &catalogue(length)))?;
            eprintln!("{length} actions applied in {:.0} ms", seconds * 1e3);
            Ok(())
        })?;
        Ok(Side { length, service, debits: Series::default(), preflights: Series::default() })
    }

    fn measure(&mut self, effort: Effort) -> Result<(), String> {
        let length = self.length;
        let body = |body: &mut Vec<u8>, chance: u64| {
            let (user, action) = (chance % WALLETS, (chance >> 32) % length);
            write!(body, r#"{{"user":"u{user}","action":"a{action:04}"}}"#).expect("writing to memory");
        };
        let (debits, preflights) =
            (self.service.debit(body, Order::Time, effort)?, self.service.preflight(body, effort)?);
        self.debits.push(&format!("debits, {length} actions"), debits);
        self.preflights.push(&format!("preflights, {length} actions"), preflights);
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
