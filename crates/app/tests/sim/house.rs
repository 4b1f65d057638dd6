//! A house: an engine with its threads on a database of its own, and what tests ask of it.
//!
//! A cold change that waits for a gate holds the writer, so that each test decides what waits behind it. The clock of
//! these tests never says the same twice, so commands with one `recorded_at` were carried out in one batch.

use super::catalogue;
use crate::databases::Kind;
use purser_app::clock::{Clock, SafeClock};
use purser_app::config::{Config, SharedConfig};
use purser_app::engine::{Engine, Funnel, FunnelParts, Job, Live, Outcome, Route};
use purser_app::error::AppError;
use purser_app::usecase::verify::verify;
use purser_core::catalogue::{Action, Overage, Unit};
use purser_core::command::{Command, Debit, Grant, Movement};
use purser_core::confirm::Thresholds;
use purser_core::entry::{Actor, GrantKind, Usage};
use purser_core::wallet::Owner;
use purser_core::{Amount, Id, Key, Quantity, Rejection, TenantNo, Timestamp, UserNo, WalletKey};
use purser_store::{ActionRow, DatabaseUrl, KeyDigest, OpenOptions, ScratchDatabase, Store, Writer};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::oneshot;

pub const TENANT: TenantNo = TenantNo(5);
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

/// Where a house keeps its ledger.
#[derive(Clone)]
pub enum Place {
    Folder(Arc<TempDir>),
    Server(Arc<ScratchDatabase>),
}

impl Place {
    pub fn of(kind: Kind) -> Place {
        match kind {
            Kind::Sqlite => Place::Folder(Arc::new(tempfile::tempdir().expect("a temporary folder"))),
            Kind::Postgres | Kind::Mysql => {
                let made = ScratchDatabase::migrated(&kind.server_url());
                Place::Server(Arc::new(made.unwrap_or_else(|error| panic!("{kind:?}: {error}"))))
            }
        }
    }

    pub fn url(&self) -> String {
        match self {
            Place::Folder(folder) => format!("sqlite:{}", folder.path().join("purser.db").display()),
            Place::Server(database) => database.url().to_owned(),
        }
    }

    pub fn open(&self) -> (Store, Writer) {
        match DatabaseUrl::parse(&self.url()).expect("a URL") {
            DatabaseUrl::Sqlite(path) => Store::open(&path, &OpenOptions::default()).expect("it opens"),
            DatabaseUrl::Server(target) => {
                let (store, mut writers, _) =
                    Store::connect(&target, &OpenOptions::default(), 1).expect("it answers");
                (store, writers.remove(0))
            }
        }
    }
}

pub struct House {
    pub place: Place,
    pub engine: Engine,
    live: Live,
    store: Store,
}

impl House {
    pub fn new(kind: Kind, queue_max: usize, batch_max: usize) -> House {
        let house = House::on(Place::of(kind), queue_max, batch_max);
        let change =
            house.engine.change(|batch| batch.insert_action(&scan(), Timestamp(1)).map(|_| ((), true)));
        wait_for(change).expect("an action");
        house
    }

    /// Another node on the same database.
    pub fn beside(&self) -> House {
        House::on(self.place.clone(), 1_000, 1_000)
    }

    fn on(place: Place, queue_max: usize, batch_max: usize) -> House {
        let (store, writer) = place.open();
        let clock = SafeClock::new(Arc::new(Ticking(AtomicI64::new(1_700_000_000_000_000))));
        let (config, live) = (SharedConfig::default(), Live::default());
        config.set(Config::new(store.read(|reader| reader.config()).expect("the configuration is read")));
        let funnel = Funnel::new(FunnelParts {
            store: store.clone(),
            writer,
            live: live.clone(),
            config,
            clock: clock.clone(),
            deadline: Duration::from_secs(3_600),
            keep_keys: Duration::from_secs(86_400),
        });
        let engine = Engine::start(vec![funnel], None, clock, queue_max, batch_max);
        House { place, engine, live, store }
    }

    /// Holds the writer until the gate is opened.
    pub fn hold(&self) -> Sender<()> {
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

    pub fn ask(&self, no: u64, movement: Movement) -> Result<oneshot::Receiver<Outcome>, AppError> {
        self.engine.submit(job(no, movement))
    }

    pub fn available(&self) -> i64 {
        let key = WalletKey::derive(TENANT, OWNER, &Unit::credit());
        let wallet = match self.live.get(key) {
            Some(live) => live.wallet.clone(),
            None => {
                let stored = self.store.read(|reader| reader.wallet(key)).expect("read");
                stored.expect("the wallet is there").loaded.wallet
            }
        };
        wallet.available(wallet.recorded_at).0
    }

    /// Sends what must be accepted, and waits for what comes of it.
    pub fn outcome(&self, no: u64, movement: Movement) -> Outcome {
        let waiting = self.ask(no, movement).expect("the queue has room");
        waiting.blocking_recv().expect("an answer")
    }
}

pub fn wait_for<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

pub fn scan() -> ActionRow {
    let price = catalogue::price(1, &Unit::credit(), 0, catalogue::flat(1));
    let action = Action {
        no: 1,
        key: Key::parse("scan").expect("a key"),
        active: true,
        confirm_above: Thresholds::default(),
        overage: Overage::Refuse,
        units: vec![Unit::credit().code],
        prices: vec![price],
    };
    ActionRow { action, name: "Scan".into(), unit_label: None, description: None, category: None }
}

pub fn job(no: u64, movement: Movement) -> Job {
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
    Job { command, route, key, event: None, text: None, queued_at: 1_700_000_000_000_000 }
}

pub fn grant(amount: i64) -> Movement {
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

pub fn debit() -> Movement {
    let usage = Usage::Quantity(Quantity::ONE);
    Movement::Debit(Debit { action: 1, usage, unit: None, wallet: None, settle: false, quote: None })
}

pub fn reason<T>(answer: &Result<T, AppError>) -> &'static str {
    match answer {
        Err(AppError::Unavailable { reason, .. }) => reason,
        Err(_) => "another error",
        Ok(_) => "accepted",
    }
}

/// Of 2,000 debits by 64 threads on all nodes, 1,000 find a credit.
pub fn spend_a_thousand_twice(houses: &[&House]) {
    houses[0].outcome(0, grant(1_000)).expect("granted");
    let (next, done, refused) = (AtomicUsize::new(1), AtomicUsize::new(0), AtomicUsize::new(0));
    let spend = |house: &House| {
        loop {
            let no = next.fetch_add(1, Ordering::SeqCst);
            if no > 2_000 {
                return;
            }
            match house.outcome(no as u64, debit()) {
                Ok(_) => done.fetch_add(1, Ordering::SeqCst),
                Err(AppError::Rejected(Rejection::InsufficientCredits { .. })) => {
                    refused.fetch_add(1, Ordering::SeqCst)
                }
                Err(other) => panic!("{other:?}"),
            };
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..64 {
            let house = houses[thread % houses.len()];
            scope.spawn(|| spend(house));
        }
    });
    assert_eq!((done.load(Ordering::SeqCst), refused.load(Ordering::SeqCst)), (1_000, 1_000));
    for house in houses {
        assert_eq!(house.available(), 0);
        house.engine.stop();
    }
    assert_eq!(verify(&houses[0].place.url(), |_, _| {}).expect("it verifies").entries, 1_001);
}
