//! The counters, as the entries make them, beside those that are stored.

use super::VerifyError;
use purser_core::counter;
use purser_core::entry::{Charge, EntryKind, Terms};
use purser_core::{Amount, CounterKey, Entry, Id, Timestamp, Wallet, WalletKey};
use purser_store::{Reader, StoreError};
use rustc_hash::FxHashMap;

/// Rows read at a time.
const STEP: usize = 4_096;
/// Debits remembered before those are forgotten whose periods are over.
const DEBITS_MAX: usize = 65_536;

/// What is counted, entry by entry.
#[derive(Default)]
pub(super) struct Counters {
    stored: FxHashMap<CounterKey, i64>,
    counted: FxHashMap<CounterKey, i64>,
    /// Debits that count and whose refunds may, with what was given back of them.
    debits: FxHashMap<(WalletKey, Id), (Charge, Amount)>,
    forgets_at: usize,
}

impl Counters {
    /// The stored ones, of the snapshot that is verified.
    pub(super) fn of(reader: &Reader<'_>) -> Result<Counters, StoreError> {
        let mut counters = Counters { forgets_at: DEBITS_MAX, ..Counters::default() };
        let mut after = None;
        loop {
            let rows = reader.every_counter(after, STEP)?;
            let Some((last, _)) = rows.last() else { return Ok(counters) };
            after = Some(*last);
            counters.stored.extend(rows);
        }
    }

    /// Counts what an entry says, given its wallet before it.
    pub(super) fn replay(&mut self, before: &Wallet, entry: &Entry) {
        let counted = &mut self.counted;
        let mut tell = |key, change| *counted.entry(key).or_default() += change;
        counter::changes(before, entry, &mut tell);
        let debit = (entry.wallet, entry.subject);
        match (entry.kind, &entry.terms) {
            (EntryKind::Debit | EntryKind::Capture, Terms::Charge(charge)) if !charge.counted.is_empty() => {
                self.debits.insert(debit, (charge.clone(), Amount::ZERO));
                if self.debits.len() > self.forgets_at {
                    self.forget(entry.recorded_at);
                }
            }
            (EntryKind::Refund, _) => {
                let Some((charge, refunded)) = self.debits.get_mut(&debit) else { return };
                *refunded += entry.amount;
                let is_all = *refunded == charge.cost;
                let tenant = entry.wallet.tenant;
                counter::given_back(tenant, charge, entry.amount, is_all, entry.recorded_at, &mut tell);
            }
            _ => {}
        }
    }

    /// Refunds of debits whose periods are over are not counted. Entries of other wallets may be a little older than this one.
    fn forget(&mut self, now: Timestamp) {
        let since = now.plus(-purser_core::time::DAY);
        self.debits.retain(|_, (charge, _)| charge.counted.iter().any(|counted| counted.span.until > since));
        self.forgets_at = DEBITS_MAX.max(self.debits.len() * 2);
    }

    /// Compares the two.
    pub(super) fn finish(self) -> Result<(), VerifyError> {
        let of = |all: &FxHashMap<CounterKey, i64>, key: &CounterKey| all.get(key).copied().unwrap_or(0);
        let differs = |key: &&CounterKey| of(&self.stored, key) != of(&self.counted, key);
        let Some(key) = self.stored.keys().chain(self.counted.keys()).filter(differs).min() else {
            return Ok(());
        };
        let (stored, counted) = (of(&self.stored, key), of(&self.counted, key));
        let CounterKey { tenant, subject, rule, period_start } = key;
        Err(VerifyError::Row {
            table: "counter",
            key: format!("{tenant:?} {subject:?} {rule:?} {period_start:?}"),
            what: format!("it says {stored}, the entries of its period come to {counted}"),
        })
    }
}
