//! The seeded simulator: clients, crashes, faults and clocks over the real funnel and the real store, against a model.
//!
//! `PURSER_SIM_DATABASE` says on which database (`sqlite`, `postgres` or `mysql`); on a server every other seed has two nodes.
//! `PURSER_SIM_SEEDS` says how many seeds are played (50; 10 on a server), `PURSER_SIM_SEED` plays one alone. A seed decides
//! everything, so that a failure is repeated by the command it prints. Read `sim/run.rs` for what happens in a seed,
//! `sim/oracle.rs` for what is expected of it. `sim/engine.rs` and `sim/nodes.rs` test the threads around the funnel.

#![allow(unreachable_pub, reason = "the modules of a test are read nowhere else")]

#[macro_use]
#[path = "../../store/tests/shared/databases.rs"]
mod databases;
#[path = "../../core/tests/model/mod.rs"]
#[allow(dead_code, reason = "the model is shared; not every test needs all of it")]
mod model;
#[path = "../../store/tests/shared/relay.rs"]
mod relay;
mod sim;

use databases::Kind;
use sim::met::Met;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many seeds are played unless the environment says otherwise.
const SEEDS: u64 = 50;
/// On a server, which is slower.
const SEEDS_ON_SERVERS: u64 = 10;
/// With fewer seeds than this, chance may miss an event.
const SEEDS_FOR_ALL_EVENTS: u64 = 50;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}")))
}

#[test]
fn no_crash_fault_repetition_or_clock_makes_the_ledger_differ_from_the_model() {
    let kind = Kind::from_environment("PURSER_SIM_DATABASE");
    if let Some(seed) = number("PURSER_SIM_SEED") {
        let mut met = Met::default();
        sim::run::play(kind, seed, &mut met);
        println!("{}", met.figure(1));
        return;
    }
    let seeds = number("PURSER_SIM_SEEDS").unwrap_or(if kind.is_server() { SEEDS_ON_SERVERS } else { SEEDS });
    let (next, met) = (AtomicU64::new(1), Mutex::new(Met::default()));
    let failed: Mutex<Vec<u64>> = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while failed.lock().expect("no panic while it is locked").is_empty() {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed > seeds {
                        break;
                    }
                    let mut mine = Met::default();
                    if catch_unwind(AssertUnwindSafe(|| sim::run::play(kind, seed, &mut mine))).is_err() {
                        eprintln!("seed {seed} failed on {kind:?}");
                        failed.lock().expect("no panic while it is locked").push(seed);
                    }
                    met.lock().expect("no panic while it is locked").add(&mine);
                }
            });
        }
    });
    let (met, failed) = (met.into_inner().expect("unlocked"), failed.into_inner().expect("unlocked"));
    assert!(failed.is_empty(), "seeds {failed:?} failed; the first messages are above");
    println!("{}", met.figure(seeds));
    if seeds >= SEEDS_FOR_ALL_EVENTS {
        let missing: Vec<&str> = sim::met::required(kind).filter(|event| met.count(event) == 0).collect();
        assert!(missing.is_empty(), "never met: {missing:?} in {met:#?}");
    }
}
