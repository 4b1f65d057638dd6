//! The funnel on a server database: any number of writers, each with a leased slot, on any number of nodes.
//!
//! A batch locks its slot row, then the wallets it was told of in the order of their keys, and loads them with their parts and
//! the answers to its keys in a few set-based statements. What it decides is gathered (`pending.rs`) and written with the
//! commit, in one go where the database allows that. `postgres.rs` and `mysql.rs` load, `postgres_write.rs` and `mysql_write.rs` write. The database
//! is the truth: between batches a writer keeps its lease, and wallets as it left them (`remembered.rs`), which count only where the
//! locked row still has the hash of their last entry.

mod keeper;
mod lease;
mod loaded;
mod mysql;
#[cfg(test)]
mod mysql_tests;
mod mysql_text;
mod mysql_write;
mod pending;
mod postgres;
mod postgres_call;
mod postgres_counters;
mod postgres_write;
mod remembered;

pub(crate) use keeper::begin_writing;
pub use keeper::{Keeper, Observed};
pub(crate) use lease::now as database_now;
pub use loaded::Wanted;

#[cfg(test)]
pub(crate) use {keeper::STATEMENTS as KEEPER, lease::STATEMENTS as LEASE};

use super::{CommitFault, KeyDigest, LoadedWallet, Recording, StoredAnswer, Touched, load, simulated};
use crate::driver::{Link, Session, Target, postgres as postgres_driver};
use crate::error::{CommitError, StoreError};
use crate::inspect;
use crate::position::Position;
use lease::Lease;
use loaded::{Loaded, Opened, SlotRow};
use pending::{Pending, QuoteRow};
use purser_core::{CounterKey, Entry, Id, LotId, TenantNo, Timestamp, Wallet, WalletId, WalletKey};
use remembered::Remembered;
use rustc_hash::FxHashSet;
use std::cell::RefCell;

/// One of the writers of a server database.
pub(crate) struct ServerWriter {
    target: Target,
    /// Absent until it is needed, and after it broke.
    link: Option<Link>,
    lease: Option<Lease>,
    /// The last position that was committed under any lease of this writer.
    position: Position,
    remembered: Remembered,
    fault: Option<CommitFault>,
}

/// One transaction on a server database.
pub(crate) struct ServerBatch<'w> {
    link: &'w Link,
    lease: &'w mut Lease,
    position: &'w mut Position,
    remembered: &'w mut Remembered,
    fault: &'w mut Option<CommitFault>,
    closed_until: Timestamp,
    config_epoch: u64,
    /// The database's own time when the transaction began.
    now: i64,
    /// The last sequence taken.
    seq: u64,
    loaded: RefCell<Loaded>,
    pending: Pending,
    ended: bool,
}

impl ServerWriter {
    /// A writer that connects when it first has something to do.
    pub(crate) fn new(target: Target) -> ServerWriter {
        let remembered = Remembered::default();
        ServerWriter { target, link: None, lease: None, position: Position::NONE, remembered, fault: None }
    }

    pub(crate) fn position(&self) -> Position {
        self.position
    }

    pub(crate) fn fail_next_commit(&mut self, fault: CommitFault) {
        self.fault = Some(fault);
    }

    /// Begins a transaction, connecting and leasing a slot where needed. A connection that turns out to be broken, or a slot
    /// that somebody took over meanwhile, is replaced once.
    pub(crate) fn begin(&mut self, wanted: &Wanted) -> Result<ServerBatch<'_>, StoreError> {
        let mut tried = 0;
        let (slot, loaded) = loop {
            match self.open(wanted) {
                Ok(opened) => break opened,
                Err(error @ (StoreError::Unavailable { .. } | StoreError::Locked { .. })) if tried == 0 => {
                    tracing::warn!(%error, "the writer of this node starts anew");
                    tried += 1;
                }
                Err(error) => return Err(error),
            }
        };
        let link = self.link.as_ref().expect("it was just used");
        let lease = self.lease.as_mut().expect("it was just checked");
        Ok(ServerBatch {
            link,
            seq: lease.seq,
            lease,
            position: &mut self.position,
            remembered: &mut self.remembered,
            fault: &mut self.fault,
            closed_until: slot.closed_until,
            config_epoch: slot.config_epoch,
            now: slot.now,
            loaded: RefCell::new(loaded),
            pending: Pending::default(),
            ended: false,
        })
    }

    /// Takes the locks and loads what is wanted. After an error nothing of the transaction is left, and what cannot be used
    /// again is given up.
    fn open(&mut self, wanted: &Wanted) -> Result<(SlotRow, Loaded), StoreError> {
        self.ready()?;
        let (Some(link), Some(lease)) = (&self.link, &mut self.lease) else {
            unreachable!("made ready above")
        };
        let doubled = lease.without_lead.then(|| wanted.with_keys_without_lead());
        let wanting = doubled.as_ref().unwrap_or(wanted);
        let opened = open(link, lease.slot, wanting, &mut self.remembered).and_then(|opened| {
            if opened.slot.epoch != lease.epoch {
                return Err(lease::taken_over());
            }
            Loaded::new(wanted, opened)
        });
        match opened {
            Ok((slot, loaded)) => {
                lease.seq = slot.seq;
                Ok((slot, loaded))
            }
            Err(error) => {
                if matches!(error, StoreError::Locked { .. }) {
                    self.lease = None;
                }
                self.give_up();
                Err(error)
            }
        }
    }

    /// Connects and leases a slot, where that is not so already.
    fn ready(&mut self) -> Result<(), StoreError> {
        if self.link.as_ref().is_some_and(|link| !link.is_sound()) {
            self.link = None;
        }
        let link = match &mut self.link {
            Some(link) => link,
            None => {
                let link = Link::connect(&self.target)?;
                // After a fail-over it may be another server than at the start.
                inspect::refuse_unfit(link.session())?;
                self.link.insert(link)
            }
        };
        if self.lease.is_none() {
            match Lease::take(link.session()) {
                Ok(lease) => self.lease = Some(lease),
                Err(error) => {
                    self.give_up();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Ends what is under way on the connection; one that does not follow is closed.
    fn give_up(&mut self) {
        if self
            .link
            .as_ref()
            .is_some_and(|link| !link.is_sound() || link.session().script("ROLLBACK").is_err())
        {
            self.link = None;
        }
    }

    /// Renews the lease of a writer that has nothing to write.
    pub(crate) fn keep_lease(&mut self) -> Result<(), StoreError> {
        // A batch that writes nothing still says that this writer is there.
        match self.begin(&Wanted::default())?.commit() {
            Ok(()) => Ok(()),
            Err(CommitError::Failed(error) | CommitError::Unknown(error)) => Err(error),
        }
    }

    /// Gives its slot back, over another connection if its own broke while it had nothing to write.
    pub(crate) fn close(self) -> Result<(), StoreError> {
        let Some(lease) = &self.lease else { return Ok(()) };
        match self.link.as_ref().map(|link| lease.give_back(link.session())) {
            Some(Err(StoreError::Unavailable { .. })) | None => {
                lease.give_back(Link::connect(&self.target)?.session())
            }
            Some(given) => given,
        }
    }
}

/// Begins a transaction and takes and loads what a batch was told of, in the order in which every node does.
fn open(link: &Link, slot: u8, wanted: &Wanted, remembered: &mut Remembered) -> Result<Opened, StoreError> {
    let mut opened = match link {
        Link::Postgres(link) => postgres::open(link, slot, wanted, remembered)?,
        Link::Mysql(link) => mysql::open(link, slot, wanted, remembered)?,
    };
    let whole: FxHashSet<WalletKey> = opened.whole.iter().copied().collect();
    let left = opened.rows.wallets.iter().filter(|(row, ..)| !whole.contains(&row.key));
    let known = left.filter_map(|(row, ..)| remembered.matching(row));
    opened.known = known.collect();
    let known: FxHashSet<WalletKey> = opened.known.iter().map(|known| known.wallet.key).collect();
    let others = opened.asked.iter().filter(|key| !whole.contains(key) && !known.contains(key));
    let others: Vec<WalletKey> = others.copied().collect();
    if !others.is_empty() {
        match link {
            Link::Postgres(link) => postgres::parts(link, &others, &mut opened.rows)?,
            Link::Mysql(link) => mysql::parts(link, &others, &mut opened.rows)?,
        }
        opened.whole.extend(others);
    }
    Ok(opened)
}

impl ServerBatch<'_> {
    pub(crate) fn session(&self) -> Session<'_> {
        self.link.session()
    }

    pub(crate) fn closed_until(&self) -> Timestamp {
        self.closed_until
    }

    pub(crate) fn config_epoch(&self) -> u64 {
        self.config_epoch
    }

    pub(crate) fn begun_at(&self) -> Position {
        Position::new(self.lease.slot, self.lease.seq)
    }

    pub(crate) fn appended(&self) -> u64 {
        self.seq - self.lease.seq
    }

    /// What was answered to this key: in this batch, as loaded with it, or as it is now.
    pub(crate) fn answer(&self, key: KeyDigest) -> Result<Option<StoredAnswer>, StoreError> {
        if let Some(answer) = self.pending.answer(key) {
            return Ok(Some(answer));
        }
        if let Some(known) = self.loaded.borrow().answers.get(&key) {
            return Ok(known.clone());
        }
        let known_as = [key, key.without_lead()];
        let known_as = if self.lease.without_lead { &known_as[..] } else { &known_as[..1] };
        let found = match self.link {
            Link::Postgres(link) => postgres::answers(link, known_as)?,
            Link::Mysql(link) => mysql::answers(link, known_as)?,
        };
        let answer = found.into_iter().next().map(|(_, answer)| answer);
        self.loaded.borrow_mut().answers.insert(key, answer.clone());
        Ok(answer)
    }

    /// A wallet, locked until this batch ends.
    pub(crate) fn wallet(&self, key: WalletKey) -> Result<Option<LoadedWallet>, StoreError> {
        if let Some(known) = self.loaded.borrow().wallets.get(&key) {
            return Ok(known.clone());
        }
        let rows = match self.link {
            Link::Postgres(link) => postgres::wallets(link, &[key])?,
            Link::Mysql(link) => mysql::wallets(link, &[key])?,
        };
        let mut loaded = self.loaded.borrow_mut();
        loaded.add_wallets(&[key], rows)?;
        Ok(loaded.wallets[&key].clone())
    }

    pub(crate) fn wallet_of(&self, tenant: TenantNo, subject: Id) -> Result<Option<WalletId>, StoreError> {
        if let Some(known) = self.loaded.borrow().owners.get(&(tenant, subject)) {
            return Ok(Some(*known));
        }
        if let Some(entry) = self.appended_of(tenant, subject).next() {
            return Ok(Some(entry.wallet.id));
        }
        load::wallet_of(self.session(), tenant, subject)
    }

    /// Whether this quote was used: in this batch, as loaded with it, or as it is now.
    pub(crate) fn quote_used(&self, tenant: TenantNo, quote: Id) -> Result<bool, StoreError> {
        if self.pending.uses_quote(tenant, quote) {
            return Ok(true);
        }
        if let Some(used) = self.loaded.borrow().quotes.get(&(tenant, quote)) {
            return Ok(*used);
        }
        load::quote_used(self.session(), tenant, quote)
    }

    pub(crate) fn use_quote(&mut self, tenant: TenantNo, quote: Id, expires_at: Timestamp) {
        self.pending.quotes.push(QuoteRow { tenant, quote, expires_at });
    }

    /// The debit that was made of this event: in this batch, as loaded with it, or as it is now.
    pub(crate) fn usage_event(&self, tenant: TenantNo, event: KeyDigest) -> Result<Option<Id>, StoreError> {
        if let Some(debit) = self.pending.events.get(&(tenant, event)) {
            return Ok(Some(*debit));
        }
        if let Some(known) = self.loaded.borrow().events.get(&(tenant, event)) {
            return Ok(*known);
        }
        load::usage_event(self.session(), tenant, event)
    }

    pub(crate) fn record_event(&mut self, tenant: TenantNo, event: KeyDigest, debit: Id) {
        self.pending.events.insert((tenant, event), debit);
    }

    /// What these counters say, with what this batch counts. Those that were not announced are locked now.
    pub(crate) fn counters(&self, wanted: &[CounterKey]) -> Result<Vec<(CounterKey, i64)>, StoreError> {
        let known = |key: &&CounterKey| self.loaded.borrow().counters.contains_key(key);
        let mut missing: Vec<CounterKey> = wanted.iter().filter(|key| !known(key)).copied().collect();
        if !missing.is_empty() {
            missing.sort_unstable_by_key(loaded::counter_order);
            missing.dedup();
            let found = match self.link {
                Link::Postgres(link) => postgres_counters::counters(link, &missing)?,
                Link::Mysql(link) => mysql::counters(link, &missing)?,
            };
            self.loaded.borrow_mut().counters.extend(found);
        }
        let loaded = self.loaded.borrow();
        let value = |key: &CounterKey| {
            let counted = self.pending.counts.get(key).copied().unwrap_or_default();
            (*key, loaded.counters.get(key).copied().unwrap_or_default() + counted)
        };
        Ok(wanted.iter().map(value).collect())
    }

    pub(crate) fn count(&mut self, counts: &[(CounterKey, i64)]) {
        for (key, change) in counts {
            *self.pending.counts.entry(*key).or_default() += change;
        }
    }

    /// Entries of this subject that this batch appended.
    pub(crate) fn appended_of(&self, tenant: TenantNo, subject: Id) -> impl Iterator<Item = &Entry> {
        self.pending.entries_of(tenant, subject)
    }

    /// Remembers lots that have rows, so that they are updated when they change.
    pub(crate) fn note_lots(&self, tenant: TenantNo, lots: impl Iterator<Item = LotId>) {
        self.loaded.borrow_mut().lots.extend(lots.map(|lot| (tenant, lot)));
    }

    /// Remembers a hold that has a row.
    pub(crate) fn note_hold(&self, tenant: TenantNo, hold: Id) {
        self.loaded.borrow_mut().holds.insert((tenant, hold));
    }

    pub(crate) fn insert_wallet(&mut self, wallet: &Wallet, now: Timestamp) {
        self.pending.new_wallets.insert(wallet.key, now);
    }

    pub(crate) fn append(&mut self, recording: &Recording<'_>, heads: &mut [Position]) -> Position {
        let (slot, seq) = (self.lease.slot, &mut self.seq);
        self.pending.append(recording, heads, || {
            *seq += 1;
            Position::new(slot, *seq)
        })
    }

    pub(crate) fn save_wallet(&mut self, wallet: &Wallet, head: Position, touched: &Touched) {
        self.pending.save(wallet, head, touched, &self.loaded.borrow());
    }

    /// Writes everything that is pending and commits.
    pub(crate) fn commit(mut self) -> Result<(), CommitError> {
        let fault = self.fault.take();
        let seal = self.lease.seal(self.seq, self.now);
        let send = || match self.link {
            Link::Postgres(link) => postgres_write::record(link, &self.pending, &seal),
            Link::Mysql(link) => mysql_write::record(link, &self.pending, &seal),
        };
        let outcome = match fault {
            Some(fault) => simulated(fault, send),
            None => send(),
        };
        // Not before: after a panic on the way, what was sent is rolled back as well.
        self.ended = true;
        match outcome {
            Ok(()) => {
                self.lease.seq = self.seq;
                *self.position = Position::new(self.lease.slot, self.seq);
                self.remembered.keep(std::mem::take(&mut self.pending.wallets));
                Ok(())
            }
            Err(error) => {
                self.roll_back();
                Err(error)
            }
        }
    }

    fn roll_back(&self) {
        if self.link.is_sound()
            && let Err(error) = self.session().script("ROLLBACK")
        {
            // The transaction ends with its connection, which the next batch finds broken and replaces.
            tracing::debug!(%error, "a transaction was not rolled back by hand");
        }
    }
}

impl Drop for ServerBatch<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.roll_back();
        }
    }
}

/// The words that begin a transaction that reads one snapshot.
pub(crate) fn begin_reading(link: &Link) -> Result<(), StoreError> {
    match link {
        Link::Postgres(_) => link.session().script(&postgres_driver::begin_reading()),
        Link::Mysql(_) => link.session().script(crate::driver::mysql_session::BEGIN_READING),
    }
}
