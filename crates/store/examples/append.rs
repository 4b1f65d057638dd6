//! Measures the funnel's own share: batches of 1,000 debits of one entry each, over 10,000 wallets, with outbox rows and
//! answers under random keys, committed and fsynced; then what stands behind the funnel (saving rows, folding, reads).
//!
//! `cargo run --release -p purser-store --example append -- [BATCHES] [BATCH_SIZE]`

#![allow(clippy::disallowed_methods, reason = "a measurement needs the real clock")]
#![allow(clippy::unwrap_used, reason = "a measurement that fails has nothing to report")]

use purser_core::amount::Quantity;
use purser_core::catalogue::Unit;
use purser_core::entry::{Actor, ActorKind, Charge, GrantKind, LotTerms, Usage};
use purser_core::wallet::Owner;
use purser_core::{
    Allocation, Amount, Entry, EntryKind, Id, LotId, TenantNo, Terms, Timestamp, UserNo, Wallet, chain,
};
use purser_store::{KeyDigest, NewAnswer, OpenOptions, Position, Recording, Store, Touched, Writer};
use std::time::{Duration, Instant};

const WALLETS: usize = 10_000;

struct Account {
    wallet: Wallet,
    head: Position,
    unsaved: Touched,
    lot: LotId,
}

impl Account {
    fn entry(
        &mut self,
        kind: EntryKind,
        subject: Id,
        allocation: Allocation,
        terms: Terms,
        now: i64,
    ) -> Entry {
        let mut entry = Entry {
            wallet: self.wallet.key,
            seq: self.wallet.seq + 1,
            kind,
            subject,
            amount: allocation.amount,
            held_delta: Amount::ZERO,
            settled_after: self.wallet.settled + allocation.amount,
            allocations: vec![allocation],
            terms,
            user: None,
            actor: Actor { kind: ActorKind::ApiKey, no: 7 },
            occurred_at: Timestamp(now),
            recorded_at: Timestamp(now),
            text_digest: None,
            hash: [0; 32],
        };
        entry.hash = chain::hash(&self.wallet.head, &entry);
        self.wallet.apply(&entry).unwrap();
        self.unsaved.add(&entry);
        entry
    }

    fn debit(&mut self, subject: Id, now: i64) -> Entry {
        let price = Some(Id::new(1, 1));
        let charge = Charge::plain(3, price, Usage::Quantity(Quantity::ONE), Amount(5));
        let allocation = Allocation { amount: Amount(-5), ..Allocation::lot(self.lot) };
        self.entry(EntryKind::Debit, subject, allocation, Terms::Charge(charge), now)
    }
}

/// Time this thread was on a processor: tells the work apart from waiting on a machine that is shared.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

/// Splitmix64: chance that repeats.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

fn accounts(writer: &mut Writer, seed: &mut u64) -> Vec<Account> {
    let mut batch = writer.begin().unwrap();
    let made = (0..WALLETS).map(|_| {
        let wallet = Wallet::new(TenantNo(random(seed)), Owner::User(UserNo(random(seed))), Unit::credit());
        batch.insert_wallet(&wallet, Timestamp(1)).unwrap();
        let lot = Id::new(1, random(seed));
        let mut account = Account { wallet, head: Position::NONE, unsaved: Touched::default(), lot };
        let terms = LotTerms {
            id: lot,
            kind: GrantKind::Promotional,
            priority: 0,
            effective_at: Timestamp(0),
            expires_at: None,
            granted: Amount(1_000_000_000),
            paid: None,
            origin: None,
            parent: None,
        };
        let fill = Allocation { amount: terms.granted, ..Allocation::lot(lot) };
        let entry = account.entry(EntryKind::Grant, lot, fill, Terms::Grant(terms), 1_000_000);
        let recording =
            Recording { entries: &[entry], event: EntryKind::Grant, falls: &[], text: None, answer: None };
        let mut heads = [account.head];
        batch.append(&recording, &mut heads).unwrap();
        account.head = heads[0];
        account
    });
    let made = made.collect();
    batch.commit().unwrap();
    made
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>().unwrap());
    let (batches, size) = (arguments.next().unwrap_or(300), arguments.next().unwrap_or(1_000));
    let folder = tempfile::tempdir().unwrap();
    let (store, mut writer) = Store::open(&folder.path().join("purser.db"), &OpenOptions::default()).unwrap();
    // As the service does it: checkpoints beside the writer, so that no batch has to wait for a whole one.
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let beside = store.log_copier().unwrap().unwrap();
    let checkpoints = std::thread::spawn(move || {
        while stopped.recv_timeout(Duration::from_millis(200))
            == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
        {
            beside.copy().unwrap();
            beside.flush().unwrap();
        }
    });
    let mut seed = 42;
    let mut accounts = accounts(&mut writer, &mut seed);
    let (mut now, mut taken, mut recording_only) = (2_000_000, Vec::with_capacity(batches), Duration::ZERO);
    let mut cpu = Duration::ZERO;
    for _ in 0..batches {
        let debits: Vec<(usize, Entry)> = (0..size)
            .map(|_| {
                now += 13;
                let index = random(&mut seed) as usize % WALLETS;
                let subject = Id::new(now as u64 / 1_000, random(&mut seed));
                (index, accounts[index].debit(subject, now))
            })
            .collect();
        let keys: Vec<KeyDigest> = debits
            .iter()
            .map(|(_, entry)| KeyDigest::of(entry.wallet.tenant, &random(&mut seed).to_string()))
            .collect();
        let (started, cpu_before) = (Instant::now(), on_cpu());
        let mut batch = writer.begin().unwrap();
        for ((index, entry), key) in debits.iter().zip(&keys) {
            assert!(batch.answer(*key).unwrap().is_none());
            let answer = NewAnswer {
                tenant: entry.wallet.tenant,
                key: *key,
                request_digest: &[9; 32],
                receipt: &[1; 220],
                created_at: entry.recorded_at,
            };
            let recording = Recording {
                entries: std::slice::from_ref(entry),
                event: entry.kind,
                falls: &[],
                text: None,
                answer: Some(answer),
            };
            let mut heads = [accounts[*index].head];
            batch.append(&recording, &mut heads).unwrap();
            accounts[*index].head = heads[0];
        }
        recording_only += on_cpu() - cpu_before;
        batch.commit().unwrap();
        taken.push(started.elapsed());
        cpu += on_cpu() - cpu_before;
    }
    taken.sort_unstable();
    let total: Duration = taken.iter().sum();
    let entries = (batches * size) as u128;
    println!(
        "{batches} batches of {size}: median {:?}, p99 {:?}, worst {:?}; {} debits/s; of the processor {} ns each, {} ns before \
         the commit",
        taken[batches / 2],
        taken[batches * 99 / 100],
        taken[batches - 1],
        entries * 1_000_000 / total.as_micros(),
        cpu.as_nanos() / entries,
        recording_only.as_nanos() / entries
    );
    drop(stop);
    checkpoints.join().unwrap();
    behind_the_funnel(&mut writer, &mut accounts);
    audit(&store);
    drop(writer);
    let started = Instant::now();
    let (_, mut writer) = Store::open(&folder.path().join("purser.db"), &OpenOptions::default()).unwrap();
    let opened = started.elapsed();
    println!("open after an unclean end {opened:?}, recover {:?}", writer.recover().unwrap());
}

fn behind_the_funnel(writer: &mut Writer, accounts: &mut [Account]) {
    let started = Instant::now();
    let position = writer.position();
    let mut batch = writer.begin().unwrap();
    for account in accounts.iter_mut() {
        batch.save_wallet(&account.wallet, account.head, &account.unsaved).unwrap();
        account.unsaved = Touched::default();
    }
    batch.set_flushed(position).unwrap();
    batch.commit().unwrap();
    println!("saving {WALLETS} wallets {:?}", started.elapsed());
    let (started, tail) = (Instant::now(), writer.tail_len());
    let (mut steps, mut worst) = (0, Duration::ZERO);
    loop {
        let began = Instant::now();
        let mut batch = writer.begin().unwrap();
        let left = batch.fold_step(4_096).unwrap().remaining;
        batch.commit().unwrap();
        (steps, worst) = (steps + 1, worst.max(began.elapsed()));
        if left == 0 {
            break;
        }
    }
    println!(
        "folding {tail} entries and their answers {:?} in {steps} steps, worst {worst:?}",
        started.elapsed()
    );
}

fn audit(store: &Store) {
    let (started, mut after, mut read) = (Instant::now(), Position::NONE, 0_u128);
    loop {
        let page = store.read(|reader| reader.entries_in_order(after, 10_000)).unwrap();
        let Some(last) = page.last() else { break };
        after = last.position;
        read += page.len() as u128;
    }
    println!(
        "reading {read} entries in order: {} entries/s",
        read * 1_000_000 / started.elapsed().as_micros()
    );
}
