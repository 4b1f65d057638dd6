//! Verification: rebuilds every wallet, and every counter, from entries alone and compares them with what is stored.
//!
//! Works on one snapshot, beside a running server or without one, and writes nothing. The ledger is read on one thread and
//! replayed on another.

mod counters;

use counters::Counters;
use purser_core::audit;
use purser_core::id::{Prefix, render};
use purser_core::{Entry, Timestamp, Wallet, WalletKey};
use purser_store::{DatabaseUrl, Heads, LedgerEntry, Position, Reader, Store, StoreError, StoredWallet};
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Entries read at a time.
const STEP: usize = 4_096;
/// Entries of one wallet that may come before their turn, as clocks of nodes differ a little; beyond that the one they wait for
/// is missing.
const EARLY_MAX: usize = 200_000;
/// Steps read ahead.
const AHEAD: usize = 4;
/// Holds of one wallet beyond which those that are final are forgotten.
const HOLDS_MAX: usize = 1_024;

/// What was verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Verified {
    /// Entries whose chain and sums are right.
    pub entries: u64,
    /// Wallets whose stored state is what their entries make it.
    pub wallets: u64,
}

/// Why verification did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The first entry, or the wallet, that is wrong.
    #[error("wallet {wallet}, entry {seq}: {what}")]
    Broken {
        /// The wallet's public id.
        wallet: String,
        /// The first entry that is wrong, by its number within the wallet; the last one when the stored state is wrong.
        seq: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A row that no program of ours writes: it contradicts the laws, or its own encoding.
    #[error("table {table}, {key}: {what}")]
    Row {
        /// The table.
        table: &'static str,
        /// The row.
        key: String,
        /// What is wrong with it.
        what: String,
    },
    /// The database could not be read.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for VerifyError {
    fn from(error: StoreError) -> VerifyError {
        match error {
            StoreError::Inconsistent { table, key, what } => VerifyError::Row { table, key, what },
            error => VerifyError::Store(error),
        }
    }
}

/// Verifies the ledger of the database at this URL. `progress` hears how many of how many entries are done.
///
/// # Errors
/// [`VerifyError::Broken`] names the first entry that is wrong.
pub fn verify(
    database_url: &str,
    mut progress: impl FnMut(u64, u64) + Send,
) -> Result<Verified, VerifyError> {
    let database = DatabaseUrl::parse(database_url).map_err(StoreError::Other)?;
    let store = Store::open_reader(&database)?;
    let mut outcome = Ok(Verified::default());
    store.read(|reader| {
        let heads = reader.heads()?;
        let total = heads.total();
        let mut rebuild = Rebuild::of(reader)?;
        let (sender, chunks) = sync_channel(AHEAD);
        let (read, replayed) = std::thread::scope(|scope| {
            let replay = scope.spawn(move || {
                let replayed = rebuild.replay_all(&chunks, |done| progress(done, total));
                (replayed, rebuild)
            });
            let read = read_all(reader, &heads, &sender);
            drop(sender);
            (read, replay.join().expect("replaying reports what is wrong and does not panic"))
        });
        read?;
        let (replayed, rebuild) = replayed;
        outcome = replayed.and_then(|entries| rebuild.finish(entries));
        Ok(())
    })?;
    outcome
}

/// What one writer wrote, read a step at a time.
struct Stream {
    after: Position,
    read: VecDeque<LedgerEntry>,
    ended: bool,
}

impl Stream {
    /// When its next entry was recorded; none at its end.
    fn next_at(&mut self, reader: &Reader<'_>) -> Result<Option<Timestamp>, StoreError> {
        if self.read.is_empty() && !self.ended {
            self.read = reader.entries_of_slot(self.after, STEP)?.into();
            self.after = self.read.back().map_or(self.after, |last| last.position);
            self.ended = self.read.is_empty();
        }
        Ok(self.read.front().map(|next| next.entry.recorded_at))
    }
}

/// Reads what every writer wrote, in the order in which it was recorded. A wallet's entries may come from several of them; those
/// of one instant may change places, which the other side puts right.
fn read_all(
    reader: &Reader<'_>,
    heads: &Heads,
    sender: &SyncSender<Vec<LedgerEntry>>,
) -> Result<(), StoreError> {
    let stream =
        |head: Position| Stream { after: Position::new(head.slot(), 0), read: VecDeque::new(), ended: false };
    let mut streams: Vec<Stream> = heads.written().map(stream).collect();
    loop {
        let mut nexts = Vec::with_capacity(streams.len());
        for (index, stream) in streams.iter_mut().enumerate() {
            nexts.extend(stream.next_at(reader)?.map(|at| (at, index)));
        }
        nexts.sort_unstable();
        let Some((_, first)) = nexts.first().copied() else { return Ok(()) };
        // Everything of the earliest stream up to the next one's next entry goes in one piece.
        let until = nexts.get(1).map_or(Timestamp::NEVER, |(at, _)| *at);
        let read = &mut streams[first].read;
        let count = read.iter().take_while(|next| next.entry.recorded_at <= until).count().max(1);
        if sender.send(read.drain(..count).collect()).is_err() {
            // The other side found something wrong: there is nothing more to read.
            return Ok(());
        }
    }
}

/// Wallets as far as their entries have been replayed, beside their stored state.
struct Rebuild {
    wallets: FxHashMap<WalletKey, Rebuilt>,
    counters: Counters,
}

struct Rebuilt {
    wallet: Wallet,
    stored: Wallet,
    compared: bool,
    /// Entries that came before their turn.
    early: BTreeMap<u64, Entry>,
}

impl Rebuild {
    /// All wallets before their first entry. Their identity is the one thing that is taken from rows; it is part of the
    /// first hash of their chain.
    fn of(reader: &Reader<'_>) -> Result<Rebuild, StoreError> {
        let mut wallets = FxHashMap::default();
        let counters = Counters::of(reader)?;
        let mut after = None;
        loop {
            let rows = reader.every_wallet(after, STEP)?;
            let Some(last) = rows.last() else { return Ok(Rebuild { wallets, counters }) };
            after = Some(last.loaded.wallet.key);
            for StoredWallet { loaded, .. } in rows {
                let stored = loaded.wallet;
                let wallet = Wallet::new(stored.key.tenant, stored.owner, stored.unit.clone());
                let rebuilt = Rebuilt { wallet, stored, compared: false, early: BTreeMap::new() };
                wallets.insert(rebuilt.stored.key, rebuilt);
            }
        }
    }

    fn replay_all(
        &mut self,
        chunks: &Receiver<Vec<LedgerEntry>>,
        mut progress: impl FnMut(u64),
    ) -> Result<u64, VerifyError> {
        let mut done = 0;
        for chunk in chunks {
            done += chunk.len() as u64;
            for LedgerEntry { entry, .. } in chunk {
                let counters = &mut self.counters;
                let known = self.wallets.get_mut(&entry.wallet);
                let rebuilt = known
                    .ok_or_else(|| broken(entry.wallet, entry.seq, "the entry's wallet does not exist"))?;
                if entry.seq > rebuilt.wallet.seq + 1 {
                    rebuilt.early.insert(entry.seq, entry);
                    if rebuilt.early.len() > EARLY_MAX {
                        rebuilt.give_up_waiting(counters)?;
                    }
                    continue;
                }
                rebuilt.replay(&entry, counters)?;
                while let Some(next) = rebuilt.next_early() {
                    rebuilt.replay(&next, counters)?;
                }
            }
            progress(done);
        }
        Ok(done)
    }

    fn finish(mut self, entries: u64) -> Result<Verified, VerifyError> {
        for rebuilt in self.wallets.values_mut() {
            rebuilt.give_up_waiting(&mut self.counters)?;
            rebuilt.compare_when_reached()?;
            let (reached, stored) = (rebuilt.wallet.seq, rebuilt.stored.seq);
            if !rebuilt.compared {
                let what = format!("the stored wallet has {stored} entries, the ledger has {reached}");
                return Err(broken(rebuilt.stored.key, reached, what));
            }
        }
        self.counters.finish()?;
        Ok(Verified { entries, wallets: self.wallets.len() as u64 })
    }
}

impl Rebuilt {
    fn replay(&mut self, entry: &Entry, counters: &mut Counters) -> Result<(), VerifyError> {
        self.compare_when_reached()?;
        counters.replay(&self.wallet, entry);
        audit::replay(&mut self.wallet, entry).map_err(|what| broken(entry.wallet, entry.seq, what))?;
        if self.wallet.holds.len() > HOLDS_MAX {
            self.wallet.forget_final_holds();
        }
        Ok(())
    }

    /// The entry before those that came early is missing, which the first of them shows.
    fn give_up_waiting(&mut self, counters: &mut Counters) -> Result<(), VerifyError> {
        let first = self.early.pop_first();
        first.map_or(Ok(()), |(_, entry)| self.replay(&entry, counters))
    }

    /// The entry whose turn it is now, if it came before.
    fn next_early(&mut self) -> Option<Entry> {
        self.early.remove(&(self.wallet.seq + 1))
    }

    /// Rows may be behind the ledger: they are compared at the entry they reflect.
    fn compare_when_reached(&mut self) -> Result<(), VerifyError> {
        if self.compared || self.wallet.seq != self.stored.seq {
            return Ok(());
        }
        self.compared = true;
        let fail = |what: &str| Err(broken(self.stored.key, self.stored.seq, what));
        if let Err(equation) = audit::equations(&self.wallet) {
            return fail(equation);
        }
        let mut rebuilt = self.wallet.clone();
        rebuilt.prune();
        let mut stored = self.stored.clone();
        stored.prune();
        if rebuilt != stored {
            return fail(&format!(
                "the stored state is not what the entries make it: {}",
                difference(&rebuilt, &stored)
            ));
        }
        Ok(())
    }
}

/// Names the part in which a stored wallet differs from the rebuilt one.
fn difference(rebuilt: &Wallet, stored: &Wallet) -> &'static str {
    let parts = [
        (rebuilt.head != stored.head, "chain head"),
        (rebuilt.settled != stored.settled, "settled balance"),
        (rebuilt.held != stored.held, "held balance"),
        (rebuilt.frozen != stored.frozen, "frozen balance"),
        (rebuilt.debt != stored.debt || rebuilt.debts != stored.debts, "debt"),
        (rebuilt.lots != stored.lots, "lots"),
        (rebuilt.holds != stored.holds, "holds"),
        (rebuilt.freezes != stored.freezes, "freezes"),
    ];
    parts.into_iter().find(|(differs, _)| *differs).map_or("identity", |(_, part)| part)
}

fn broken(wallet: WalletKey, seq: u64, what: impl Into<String>) -> VerifyError {
    VerifyError::Broken { wallet: render(Prefix::Wallet, wallet.tenant, wallet.id.0), seq, what: what.into() }
}
