//! How often the rule book refuses a strict debit or a hold: counted in memory, written each minute and when the node stops.
//!
//! A refusal leaves no trace in the ledger, so this is all that is known of it. It is a hint for people and decides nothing: what
//! a node counted within its last minute is lost when it dies, and beyond [`COUNTED_MAX`] different ones nothing is counted.

use crate::App;
use crate::error::AppError;
use metrics::counter;
use parking_lot::Mutex;
use purser_core::time::SECOND;
use purser_core::{TenantNo, Timestamp};
use purser_store::RefusalKey;
use rustc_hash::FxHashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// What refusals are counted by, in microseconds.
const QUARTER: i64 = 900 * SECOND;
/// Different refusals that are counted until they are written.
const COUNTED_MAX: usize = 50_000;
/// Rows written in one transaction.
const WRITTEN_MAX: usize = 500;
/// How often they are written.
const EVERY: Duration = Duration::from_secs(60);

/// Tenant, action, code and quarter of refusals.
type Counted = RefusalKey<&'static str>;

/// What was refused and is not written yet.
#[derive(Default)]
pub(crate) struct Refusals {
    counts: Mutex<FxHashMap<Counted, u64>>,
}

impl Refusals {
    fn add(&self, key: Counted, refused: u64) {
        let mut counts = self.counts.lock();
        let room = counts.len() < COUNTED_MAX;
        match counts.get_mut(&key) {
            Some(count) => *count += refused,
            None if room => drop(counts.insert(key, refused)),
            None => counter!("purser_refusals_uncounted_total").increment(refused),
        }
    }

    /// Everything that was counted, in the order in which every node writes it.
    fn take(&self) -> Vec<(Counted, u64)> {
        let mut counts: Vec<_> = std::mem::take(&mut *self.counts.lock()).into_iter().collect();
        counts.sort_unstable();
        counts
    }
}

/// The start of the quarter of an hour that an instant lies in.
pub(crate) fn quarter_of(at: Timestamp) -> Timestamp {
    Timestamp(at.0 - at.0.rem_euclid(QUARTER))
}

impl App {
    /// Counts a strict debit or hold that was not made, if it was refused: faults of the machine and malformed requests are not.
    pub(crate) fn note_refusal(&self, tenant: TenantNo, action: u64, error: &AppError) {
        let (AppError::Rejected(rejection) | AppError::OutOfCredit { rejection, .. }) = error else { return };
        let key = RefusalKey { tenant, quarter: quarter_of(self.now()), action, code: rejection.code() };
        self.inner.refusals.add(key, 1);
    }

    /// Writes what was refused since it was last called. What cannot be written now is kept for the next time.
    pub async fn write_refusals(&self) {
        let counts = self.inner.refusals.take();
        for part in counts.chunks(WRITTEN_MAX) {
            let rows = part.to_vec();
            let change = move |batch: &mut purser_store::Batch<'_>| Ok((batch.add_refusals(&rows)?, false));
            if let Err(error) = self.inner.engine.change(change).await {
                tracing::warn!(
                    ?error,
                    rows = part.len(),
                    "counts of refusals were not written; they are kept"
                );
                part.iter().for_each(|(key, refused)| self.inner.refusals.add(*key, *refused));
            }
        }
    }

    /// Writes them each minute, for as long as the node is there.
    pub(crate) fn keep_writing_refusals(&self) {
        let inner = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            let mut minutes = tokio::time::interval(EVERY);
            loop {
                minutes.tick().await;
                let Some(inner) = Weak::upgrade(&inner) else { return };
                let app = App { inner };
                if !app.inner.engine.is_running() {
                    return;
                }
                app.write_refusals().await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(action: u64) -> Counted {
        RefusalKey { quarter: Timestamp(0), tenant: TenantNo(1), action, code: "insufficient_credits" }
    }

    #[test]
    fn a_quarter_begins_on_the_hour_and_every_fifteen_minutes_after() {
        let at = |minute: i64| quarter_of(Timestamp(minute * 60 * SECOND + 7)).0 / (60 * SECOND);
        assert_eq!([0, 14, 15, 59, 60, -1].map(at), [0, 0, 15, 45, 60, -15]);
    }

    #[test]
    fn refusals_are_added_up_and_different_ones_are_bounded() {
        let refusals = Refusals::default();
        refusals.add(key(1), 2);
        refusals.add(key(1), 3);
        assert_eq!(refusals.take(), [(key(1), 5)]);
        assert!(refusals.take().is_empty());
        for action in 0..COUNTED_MAX as u64 + 10 {
            refusals.add(key(action), 1);
        }
        refusals.add(key(0), 1);
        let counts = refusals.take();
        assert_eq!((counts.len(), counts[0]), (COUNTED_MAX, (key(0), 2)));
    }
}
