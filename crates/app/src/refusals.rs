//! How often the rule book refuses a strict debit or a hold: counted in memory, written each minute and when the node stops.
//!
//! A refusal leaves no trace in the ledger, so this is all that is known of it. It is a hint for people and decides nothing: what
//! a node counted within its last minute is lost when it dies, beyond [`COUNTED_MAX`] different ones nothing is counted, and what
//! may have been written (its commit was not answered) is not written again.

use crate::App;
use crate::error::AppError;
use metrics::counter;
use parking_lot::Mutex;
use purser_core::time::SECOND;
use purser_core::{Rejection, TenantNo, Timestamp};
use purser_store::RefusalKey;
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// What refusals are counted by, in microseconds.
const QUARTER: i64 = 900 * SECOND;
/// Different refusals that are counted until they are written.
const COUNTED_MAX: usize = 50_000;
/// Rows written in one transaction: few, as debits wait for the writer meanwhile.
const WRITTEN_MAX: usize = 50;
/// How long a node that stops writes them.
const AT_STOP: Duration = Duration::from_secs(2);
/// How often they are written.
const EVERY: Duration = Duration::from_secs(60);

/// Tenant, action, code and quarter of refusals.
type Counted = RefusalKey<&'static str>;

/// What was refused and is not written yet.
#[derive(Default)]
pub(crate) struct Refusals {
    counts: Mutex<FxHashMap<Counted, u64>>,
    /// Held from taking counts until they are written or back, so that whoever stops does not miss what is on its way.
    writing: tokio::sync::Mutex<()>,
}

/// What became of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Written {
    Yes,
    No,
    /// Perhaps: what is written twice would be a lie, what is lost is only less.
    Unknown,
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

    /// Writes what was counted, a few rows at a time, until that fails once; then the rest is kept for the next time.
    async fn write<W: Future<Output = Written>>(&self, mut write: impl FnMut(Vec<(Counted, u64)>) -> W) {
        let _alone = self.writing.lock().await;
        let counts = self.take();
        let mut parts = counts.chunks(WRITTEN_MAX);
        while let Some(part) = parts.next() {
            let written = write(part.to_vec()).await;
            if written == Written::Yes {
                continue;
            }
            let again = if written == Written::No { part } else { &[] };
            let kept: usize =
                again.iter().chain(parts.flatten()).map(|(key, refused)| self.add(*key, *refused)).count();
            tracing::warn!(kept, unknown = part.len() - again.len(), "counts of refusals were not written");
            return;
        }
    }
}

/// The start of the quarter of an hour that an instant lies in.
pub(crate) fn quarter_of(at: Timestamp) -> Timestamp {
    Timestamp(at.0 - at.0.rem_euclid(QUARTER))
}

impl App {
    /// Counts a strict debit or hold that was not made, if it was refused for what it would do: faults of the machine are not
    /// counted, nor requests that are malformed or misuse a key.
    pub(crate) fn note_refusal(&self, tenant: TenantNo, action: u64, error: &AppError) {
        let (AppError::Rejected(rejection) | AppError::OutOfCredit { rejection, .. }) = error else { return };
        if matches!(rejection, Rejection::IdempotencyConflict | Rejection::UsageInvalid { .. }) {
            return;
        }
        let key = RefusalKey { tenant, quarter: quarter_of(self.now()), action, code: rejection.code() };
        self.inner.refusals.add(key, 1);
    }

    /// Writes what was refused since it was last called. What cannot be written now is kept for the next time.
    pub async fn write_refusals(&self) {
        self.inner.refusals.write(|rows| self.write_some(rows)).await;
    }

    /// The same for a node that stops, which waits for it as long as it may.
    pub(crate) async fn write_last_refusals(&self) {
        if tokio::time::timeout(AT_STOP, self.write_refusals()).await.is_err() {
            tracing::warn!("counts of refusals were not written in time; they are lost");
        }
    }

    async fn write_some(&self, rows: Vec<(Counted, u64)>) -> Written {
        let said = Arc::new(AtomicBool::new(false));
        let to_commit = said.clone();
        let change = move |batch: &mut purser_store::Batch<'_>| {
            to_commit.store(false, Ordering::Release);
            batch.add_refusals(&rows)?;
            // From here on only the commit can fail, of which it may be unknown whether it was kept.
            to_commit.store(true, Ordering::Release);
            Ok(((), false))
        };
        match self.inner.engine.change(change).await {
            Ok(()) => Written::Yes,
            Err(_) if said.load(Ordering::Acquire) => Written::Unknown,
            Err(_) => Written::No,
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

    #[tokio::test]
    async fn what_is_not_written_is_kept_and_what_may_have_been_is_not_written_again() {
        let rows = WRITTEN_MAX as u64;
        for (second, kept) in [(Written::Yes, 0), (Written::No, 2 * rows + 1), (Written::Unknown, rows + 1)] {
            let refusals = Refusals::default();
            (0..3 * rows + 1).for_each(|action| refusals.add(key(action), 1));
            let mut asked = 0;
            let write = |part: Vec<(Counted, u64)>| {
                assert!(part.len() <= WRITTEN_MAX);
                asked += 1;
                std::future::ready(if asked == 2 { second } else { Written::Yes })
            };
            refusals.write(write).await;
            assert_eq!(asked, if second == Written::Yes { 4 } else { 2 }, "it ends at the first that fails");
            assert_eq!(refusals.take().len() as u64, kept, "{second:?}");
        }
    }

    #[tokio::test]
    async fn whoever_writes_at_the_end_waits_for_what_is_on_its_way() {
        let refusals = Arc::new(Refusals::default());
        refusals.add(key(1), 1);
        let (answer, answered) = tokio::sync::oneshot::channel();
        let (asked, first) = tokio::sync::oneshot::channel();
        let (mut asked, mut answered) = (Some(asked), Some(answered));
        let minute = refusals.clone();
        let minute = tokio::spawn(async move {
            let write = |_| {
                asked.take().expect("one part").send(()).expect("somebody waits");
                let answered = answered.take().expect("one part");
                async move { answered.await.expect("an answer") }
            };
            minute.write(write).await;
        });
        first.await.expect("the counts are taken");
        let mut seen = Vec::new();
        let last = refusals.write(|part| {
            seen.extend(part);
            std::future::ready(Written::Yes)
        });
        let answering = async { answer.send(Written::No).expect("it waits") };
        tokio::join!(last, answering);
        minute.await.expect("it ended");
        assert_eq!(seen, [(key(1), 1)], "what the first could not write, the last wrote");
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
