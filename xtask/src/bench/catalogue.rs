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

/// The figures with one catalogue.
#[derive(Default)]
struct Figures {
    debits: Series,
    preflights: Series,
}

/// Measures and prints; writes nothing.
pub(crate) fn command(root: &Path, effort: Effort) -> Result<(), String> {
    let program = build_server(root, &repo::target_folder(root)?, "release")?;
    let mut all = [Figures::default(), Figures::default()];
    for round in 1..=effort.rounds {
        step::announce(&format!("round {round} of {}", effort.rounds));
        for (length, figures) in LENGTHS.into_iter().zip(&mut all) {
            measure(&program, length, effort, figures)?;
        }
    }
    let [short, long] = &all;
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
    Ok(())
}

fn measure(program: &Path, length: u64, effort: Effort, figures: &mut Figures) -> Result<(), String> {
    let servers = [Server::start(program)?];
    let target = Target::of(&servers)?;
    let (seconds, applied) = timed(|| target.put("/v1/catalogue", &catalogue(length)).map(|()| length))?;
    eprintln!("{applied} actions applied in {:.0} ms", seconds * 1e3);
    target.grant(Wallets::Many(WALLETS))?;
    let body = |body: &mut Vec<u8>, chance: u64| {
        let (user, action) = (chance % WALLETS, (chance >> 32) % length);
        write!(body, r#"{{"user":"u{user}","action":"a{action:04}"}}"#).expect("writing to memory");
    };
    let ask = |to| target.ask(to, body, Pace::Closed, Order::Time, effort);
    let debits = ask(("/v1/debits", 201))?;
    let preflights = ask(("/v1/preflight", 200))?;
    let a_second = |measured: u64| measured as f64 / effort.measured.as_secs_f64();
    figures.debits.push(&format!("debits, {length} actions"), a_second(debits.measured));
    figures.preflights.push(&format!("preflights, {length} actions"), a_second(preflights.measured));
    let [server] = servers;
    let entries = entries_of(&server.stop_and_run(&["--json", "verify"])?)?;
    if entries != debits.answered() + WALLETS {
        return Err(format!("{} debits were answered; the ledger has {entries} entries", debits.answered()));
    }
    Ok(())
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
