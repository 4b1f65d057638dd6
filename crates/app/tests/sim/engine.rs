//! The threads around the funnel: the bounded queue, the batches, the orderly end.
//!
//! A cold change that waits for a gate holds the writer, so that each test decides what waits behind it. The clock of
//! these tests never says the same twice, so commands with one `recorded_at` were carried out in one batch.

use super::catalogue;
use purser_app::clock::{Clock, SafeClock};
use purser_app::config::{Config, SharedConfig};
use purser_app::engine::{Engine, Funnel, FunnelParts, Job, Live, Outcome, Route};
use purser_app::error::AppError;
use purser_app::usecase::verify::verify;
use purser_core::catalogue::{Action, Overage, Unit};
use purser_core::command::{Command, Debit, Grant, Movement};
use purser_core::entry::{Actor, GrantKind, Usage};
use purser_core::wallet::Owner;
use purser_core::{Amount, Id, Key, Quantity, Rejection, TenantNo, Timestamp, UserNo, WalletKey};
use purser_store::{ActionRow, KeyDigest, OpenOptions, Store};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::oneshot;

const TENANT: TenantNo = TenantNo(5);
const OWNER: Owner = Owner::User(UserNo(6));

/// A clock on which time passes with every look.
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn wall(&self) -> Timestamp {
        Timestamp(self.0.fetch_add(1, Ordering::SeqCst))
    }

    fn monotonic(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

struct House {
    folder: TempDir,
    engine: Engine,
    live: Live,
}

impl House {
    fn new(queue_max: usize, batch_max: usize) -> House {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (store, writer) =
            Store::open(&folder.path().join("purser.db"), &OpenOptions::default()).expect("it opens");
        let clock = SafeClock::new(Arc::new(Ticking(AtomicI64::new(1_700_000_000_000_000))));
        let (config, live) = (SharedConfig::default(), Live::default());
        config.set(Config::new(store.read(|reader| reader.config()).expect("the configuration is read")));
        let deadline = Duration::from_secs(3_600);
        let parts = FunnelParts {
            store,
            writer,
            live: live.clone(),
            config,
            clock: clock.clone(),
            deadline,
            keep_keys: Duration::from_secs(86_400),
        };
        let mut funnel = Funnel::new(parts);
        funnel
            .change(vec![Box::new(|batch| batch.insert_action(&scan(), Timestamp(1)))])
            .remove(0)
            .expect("an action");
        House { folder, engine: Engine::start(vec![funnel], None, clock, queue_max, batch_max), live }
    }

    /// Holds the writer until the gate is opened.
    fn hold(&self) -> Sender<()> {
        let (started, waiting): (Sender<()>, Receiver<()>) = channel();
        let (gate, opened) = channel();
        let engine = self.engine.clone();
        std::thread::spawn(move || {
            let change = engine.change(move |_| {
                started.send(()).expect("the test waits for it");
                opened.recv().expect("the test opens the gate");
                Ok(((), false))
            });
            wait_for(change).expect("the change is made");
        });
        waiting.recv().expect("the writer starts the change");
        gate
    }

    fn ask(&self, no: u64, movement: Movement) -> Result<oneshot::Receiver<Outcome>, AppError> {
        self.engine.submit(job(no, movement))
    }

    fn available(&self) -> i64 {
        let wallet = WalletKey::derive(TENANT, OWNER, &Unit::credit());
        let live = self.live.get(wallet).expect("the wallet is in memory");
        live.wallet.available(live.wallet.recorded_at).0
    }
}

fn wait_for<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

fn url(path: &std::path::Path) -> String {
    format!("sqlite:{}", path.display())
}

fn scan() -> ActionRow {
    let price = catalogue::price(1, &Unit::credit(), 0, catalogue::flat(1));
    let action = Action {
        no: 1,
        key: Key::parse("scan").expect("a key"),
        active: true,
        overage: Overage::Refuse,
        units: vec![Unit::credit().code],
        prices: vec![price],
    };
    ActionRow { action, name: "Scan".into(), unit_label: None, description: None, category: None }
}

fn job(no: u64, movement: Movement) -> Job {
    let route = match movement {
        Movement::Grant(_) => Route::Owned(OWNER, Unit::credit().code),
        _ => Route::Action(OWNER),
    };
    let command = Command {
        id: Id::new(1_700_000_000_000, no),
        tenant: TENANT,
        user: None,
        actor: Actor::WORKER,
        occurred_at: Timestamp(1_700_000_000_000_000),
        text_digest: None,
        movement,
    };
    let key = Some((KeyDigest::of(TENANT, &no.to_string()), [1; 32]));
    Job { command, route, key, text: None, queued_at: 1_700_000_000_000_000 }
}

fn grant(amount: i64) -> Movement {
    Movement::Grant(Grant {
        amount: Amount(amount),
        kind: GrantKind::Promotional,
        priority: 0,
        effective_at: None,
        expires_at: None,
        paid: None,
        origin: None,
    })
}

fn debit() -> Movement {
    let usage = Usage::Quantity(Quantity::ONE);
    Movement::Debit(Debit { action: 1, usage, unit: None, wallet: None, settle: false })
}

fn reason<T>(answer: &Result<T, AppError>) -> &'static str {
    match answer {
        Err(AppError::Unavailable { reason, .. }) => reason,
        Err(_) => "another error",
        Ok(_) => "accepted",
    }
}

#[test]
fn a_full_queue_says_so_at_once_and_keeps_what_it_accepted() {
    let house = House::new(8, 1_000);
    let gate = house.hold();
    let accepted: Vec<_> = (0..8).map(|no| house.ask(no, grant(1)).expect("there is room")).collect();
    assert_eq!(reason(&house.ask(8, grant(1))), "overloaded");
    gate.send(()).expect("the writer waits");
    for waiting in accepted {
        waiting.blocking_recv().expect("an answer").expect("granted");
    }
    assert_eq!(house.available(), 8);
    let after = house.ask(9, grant(1)).expect("there is room again");
    after.blocking_recv().expect("an answer").expect("granted");
    house.engine.stop();
}

#[test]
fn what_waits_is_carried_out_in_as_few_batches_as_the_bound_allows() {
    for (batch_max, batches) in [(1_000, 1), (50, 4)] {
        let house = House::new(1_000, batch_max);
        let gate = house.hold();
        let waiting: Vec<_> = (0..200).map(|no| house.ask(no, grant(1)).expect("there is room")).collect();
        gate.send(()).expect("the writer waits");
        let receipts = waiting
            .into_iter()
            .map(|waiting| waiting.blocking_recv().expect("an answer").expect("granted").receipt);
        let times: BTreeSet<i64> = receipts.map(|receipt| receipt.recorded_at.0).collect();
        assert_eq!(times.len(), batches, "200 commands in batches of {batch_max}");
        house.engine.stop();
    }
}

#[test]
fn stopping_carries_out_what_was_accepted_and_refuses_what_comes_after() {
    let house = House::new(1_000, 16);
    let gate = house.hold();
    let accepted: Vec<_> = (0..100).map(|no| house.ask(no, grant(1)).expect("there is room")).collect();
    let engine = house.engine.clone();
    let stopping = std::thread::spawn(move || engine.stop());
    gate.send(()).expect("the writer waits");
    stopping.join().expect("it stops");
    for waiting in accepted {
        waiting.blocking_recv().expect("an answer").expect("granted");
    }
    assert!(!house.engine.is_running());
    assert_eq!(reason(&house.ask(100, grant(1))), "shutting_down");
    assert_eq!(reason(&wait_for(house.engine.carry_out(job(101, grant(1))))), "shutting_down");
    assert_eq!(reason(&wait_for(house.engine.change(|_| Ok(((), false))))), "shutting_down");
    house.engine.stop();
    let path = house.folder.path().join("purser.db");
    assert_eq!(verify(&url(&path), |_, _| {}).expect("it verifies").entries, 100);
    let (_, mut writer) = Store::open(&path, &OpenOptions::default()).expect("the lock was given back");
    assert_eq!(writer.recover().expect("the rows are read").entries, 0, "everything was saved");
}

#[test]
fn sixty_four_threads_cannot_spend_more_than_there_is_nor_less() {
    let house = House::new(1_000, 1_000);
    let granted = house.ask(0, grant(1_000)).expect("there is room");
    granted.blocking_recv().expect("an answer").expect("granted");
    let (next, done, refused) = (AtomicUsize::new(1), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                loop {
                    let no = next.fetch_add(1, Ordering::SeqCst);
                    if no > 2_000 {
                        return;
                    }
                    let waiting = house.ask(no as u64, debit()).expect("64 threads do not fill the queue");
                    match waiting.blocking_recv().expect("an answer") {
                        Ok(_) => done.fetch_add(1, Ordering::SeqCst),
                        Err(AppError::Rejected(Rejection::InsufficientCredits { .. })) => {
                            refused.fetch_add(1, Ordering::SeqCst)
                        }
                        Err(other) => panic!("{other:?}"),
                    };
                }
            });
        }
    });
    assert_eq!((done.into_inner(), refused.into_inner()), (1_000, 1_000));
    assert_eq!(house.available(), 0);
    house.engine.stop();
    assert_eq!(
        verify(&url(&house.folder.path().join("purser.db")), |_, _| {}).expect("it verifies").entries,
        1_001
    );
}
