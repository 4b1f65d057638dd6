//! The funnel: every movement of credits, in batches of one transaction each.
//!
//! A batch takes what waits, lets `work.rs` carry out each command, commits once, and only then answers anybody and
//! shows the new wallets to readers. A command that is refused fails alone; a commit that fails fails the batch and
//! leaves memory as it was. No network, no waiting, no clock but the one handed in, so that the simulator drives it.

use super::job::{ColdJob, Done, Job, Outcome};
use super::known::{known_answer, stored_unit};
use super::live::Live;
use super::trouble::Trouble;
use super::unsaved::{Behind, Unsaved};
use super::wanted::wanted;
use super::work::{Work, Working, fault, unavailable};
use crate::clock::SafeClock;
use crate::config::{Config, SharedConfig};
use crate::error::AppError;
use purser_core::{Timestamp, WalletKey};
use purser_store::hint::Hints;
use purser_store::{Batch, CommitError, Position, Store, StoreError, Wanted, Writer};
use rustc_hash::FxHashMap;
use std::sync::Arc;
use std::time::Duration;

/// Rows of a wallet are saved when about this many entries were appended since it changed.
const SAVE_WINDOW: u64 = 65_536;
/// Wallets kept in memory, as far as their rows are exact.
const LIVE_MAX: usize = 200_000;
/// How often a batch is carried out again when others were in its way.
const TRIES_MAX: usize = 8;
/// Entries after which what is behind the funnel is folded along with a batch.
const FOLD_EVERY: u64 = 64;
/// Wallets saved, rows folded or answers forgotten in one step between two batches: few enough that whoever arrives
/// meanwhile waits a millisecond or two, not ten.
const STEP_ROWS: usize = 256;

/// How long a used quote is remembered after its time, in microseconds: clocks differ, and a wallet's time may be ahead.
pub(super) const QUOTES_KEPT: i64 = 2 * purser_core::time::DAY;
/// How long counts of refusals are kept, in microseconds.
pub(super) const REFUSALS_KEPT: i64 = 90 * purser_core::time::DAY;

/// What a funnel works with.
pub struct FunnelParts {
    /// Reads.
    pub store: Store,
    /// The opened and recovered writer.
    pub writer: Writer,
    /// Wallets in memory, shared with readers.
    pub live: Live,
    /// The configuration, shared with handlers.
    pub config: SharedConfig,
    /// Time.
    pub clock: SafeClock,
    /// A command that waited longer is not carried out.
    pub deadline: Duration,
    /// How long answers are kept.
    pub keep_keys: Duration,
}

/// The synchronous heart of the engine. One per writer.
pub struct Funnel {
    parts: FunnelParts,
    batches: u64,
    unsaved: Unsaved,
    pace: Pace,
    trouble: Trouble,
    hints: Option<Hints>,
}

/// What batches owe to the work behind them. Done in proportion to what they append, it costs each batch a little;
/// left until it must be done, it would make a few batches in a row wait for all of it.
#[derive(Clone, Copy, Default)]
struct Pace {
    /// Entries since the last folding.
    fold: u64,
    /// Wallets to save, in parts of a [`SAVE_WINDOW`].
    save: u64,
}

impl Funnel {
    /// A funnel with nothing in memory.
    pub fn new(parts: FunnelParts) -> Funnel {
        Funnel {
            parts,
            batches: 0,
            unsaved: Unsaved::default(),
            pace: Pace::default(),
            hints: None,
            trouble: Trouble::default(),
        }
    }

    /// The same, announcing the wallets of each committed batch.
    pub fn announcing(self, hints: Hints) -> Funnel {
        Funnel { hints: Some(hints), ..self }
    }

    /// Reads, and copies of the log.
    pub(super) fn store(&self) -> Store {
        self.parts.store.clone()
    }

    /// Copies what is left of the log into the main file, so that the next batch writes it from its beginning.
    pub(super) fn end_log(&mut self) -> Result<(), StoreError> {
        self.parts.writer.end_log()
    }

    /// Whether rows of wallets are written behind the ledger: see [`Writer::saves_later`].
    pub(super) fn saves_later(&self) -> bool {
        self.parts.writer.saves_later()
    }

    /// The writer: for the simulator, which makes it fail.
    pub fn writer(&mut self) -> &mut Writer {
        &mut self.parts.writer
    }

    /// Carries out a batch: one outcome for each job, in their order. Where others were in the way (a deadlock, a key that was
    /// taken meanwhile), nothing was kept and the batch is carried out again; callers do not hear of it.
    pub fn process(&mut self, jobs: &[Job]) -> Vec<Outcome> {
        for _ in 0..TRIES_MAX {
            match self.attempt(jobs) {
                Attempt::Done(outcomes) => return outcomes,
                Attempt::Failed(error) => {
                    self.trouble.met(&error);
                    return all(jobs, || fault(&error));
                }
                Attempt::Again(error) => tracing::debug!(%error, "the batch is carried out again"),
                Attempt::Split => {
                    let (one, other) = jobs.split_at(jobs.len() / 2);
                    return self.process(one).into_iter().chain(self.process(other)).collect();
                }
            }
        }
        tracing::warn!(jobs = jobs.len(), "others were in the way of a batch {TRIES_MAX} times in a row");
        all(jobs, || unavailable("store_unavailable", 1))
    }

    fn attempt(&mut self, jobs: &[Job]) -> Attempt {
        let Ok(now) = self.parts.clock.now() else {
            return Attempt::Done(all(jobs, || unavailable("clock_unsafe", 5)));
        };
        let (monotonic, deadline) = (self.parts.clock.monotonic(), micros(self.parts.deadline));
        let mut config = self.parts.config.get();
        self.batches += 1;
        let alone = self.parts.writer.saves_later();
        // Nobody waits for the others any more, so no lock is waited for on their behalf either.
        let in_time: Vec<&Job> = jobs.iter().filter(|job| monotonic - job.queued_at <= deadline).collect();
        if in_time.is_empty() {
            return Attempt::Done(all(jobs, || unavailable("deadline_exceeded", 1)));
        }
        let wanted = if alone { Wanted::default() } else { wanted(&in_time, &config, now) };
        let batch = match self.parts.writer.begin_for(&wanted) {
            Ok(batch) => batch,
            Err(error) => return given_up(jobs, &error),
        };
        if batch.changed_outside() {
            // The lock keeps other servers away; if somebody wrote all the same, what is in memory is worth nothing.
            tracing::error!("the database was changed by another program; everything is loaded again");
            drop(batch);
            self.forget();
            return Attempt::Done(all(jobs, || unavailable("store_unavailable", 1)));
        }
        if !alone {
            match current(&batch, &config) {
                Ok(None) => {}
                Ok(Some(moved)) => config = self.parts.config.set(moved),
                Err(error) => return given_up(jobs, &error),
            }
        }
        let before = batch.begun_at();
        let mut work = Work::new(batch, &self.parts.live, &config, now, self.batches);
        let mut outcomes = Vec::with_capacity(jobs.len());
        for job in jobs {
            if monotonic - job.queued_at > deadline {
                outcomes.push(Err(unavailable("deadline_exceeded", 1)));
                continue;
            }
            match work.carry_out(job) {
                Ok(outcome) => outcomes.push(outcome),
                // Something may be half recorded: the transaction is given up, and everybody may try again.
                Err(error) => return given_up(jobs, &error),
            }
        }
        if !work.has_recorded() {
            // Refusals and replays leave nothing to commit.
            return Attempt::Done(outcomes);
        }
        let (batch, changed) = work.into_changed();
        let wallets: Vec<WalletKey> = changed.iter().map(Working::key).collect();
        let committed = if alone {
            commit(batch, changed, &self.parts.live, &mut self.unsaved, &mut self.pace)
        } else {
            commit_all(batch, changed)
        };
        match committed {
            Ok(kept) => {
                self.keep(kept);
                self.announce(&wallets);
            }
            Err(CommitError::Failed(error)) => return given_up(jobs, &error),
            Err(CommitError::Unknown(error)) => {
                return match self.look_up(jobs, outcomes, before, &error) {
                    Some(outcomes) => Attempt::Done(outcomes),
                    // A cluster says at COMMIT that another of its nodes was first; callers need not hear of that either.
                    None if matches!(error, StoreError::Conflict { .. }) => Attempt::Again(error),
                    None => Attempt::Done(all(jobs, || unavailable("store_unavailable", 1))),
                };
            }
        }
        Attempt::Done(outcomes)
    }

    /// Shows the wallets of a committed batch to readers and remembers whose rows are behind.
    fn keep(&mut self, kept: Kept) {
        self.trouble.over();
        self.unsaved.saved(kept.saved);
        self.unsaved.push(kept.fallen);
        if self.parts.writer.saves_later() {
            kept.wallets.into_iter().for_each(|working| self.parts.live.put(Arc::new(working.into_live())));
        }
        if self.batches.is_multiple_of(64) && self.parts.live.len() > LIVE_MAX {
            self.parts.live.evict(self.batches.saturating_sub(1_024));
        }
    }

    /// Tells who shows these wallets that they changed. Nothing waits for it, and it may be lost.
    fn announce(&self, wallets: &[WalletKey]) {
        if let Some(hints) = &self.hints {
            hints.wake(wallets);
        }
    }

    /// Nobody knows whether the batch was kept: the ledger is asked, by key. Commands are never decided again. If the writer's
    /// position is still what it was `before`, nothing was kept (the answer is none), and what was refused was refused on a
    /// state that never was.
    /// A writer that lost its slot cannot tell by the position: then only what is found under its key counts.
    fn look_up(
        &mut self,
        jobs: &[Job],
        outcomes: Vec<Outcome>,
        before: Position,
        error: &StoreError,
    ) -> Option<Vec<Outcome>> {
        tracing::error!(%error, "the outcome of a commit is unknown; its keys are looked up");
        self.forget();
        let batch = match self.parts.writer.begin() {
            Ok(batch) => batch,
            Err(error) => return Some(all(jobs, || fault(&error))),
        };
        if batch.begun_at() == before {
            return None;
        }
        let same_slot = batch.begun_at().slot() == before.slot();
        let ask = |(job, before): (&Job, Outcome)| {
            let before =
                before.map_err(|error| if same_slot { error } else { unavailable("store_unavailable", 1) });
            let known = known_answer(&batch, job, |key| stored_unit(&batch, key));
            before.and_then(|Done { replayed, .. }| match known {
                Ok(Some(known)) => known.map(|done| Done { replayed, ..done }).map_err(AppError::from),
                Ok(None) => Err(unavailable("store_unavailable", 1)),
                Err(error) => Err(fault(&error)),
            })
        };
        Some(jobs.iter().zip(outcomes).map(ask).collect())
    }

    /// Throws away what is in memory and brings the rows up to the ledger.
    pub(super) fn forget(&mut self) {
        self.parts.live.clear();
        self.unsaved.clear();
        if let Err(error) = self.parts.writer.recover() {
            // The next batch meets the same fault, if it lasts, before it decides anything.
            tracing::error!(%error, "the rows could not be brought up to the ledger");
        }
    }

    /// Makes the cold changes that wait in one transaction, which saves a commit for each; when that is not kept, each in its
    /// own, so that only the one that cannot be made fails. Configuration is replaced before anybody is answered.
    pub fn change(&mut self, mut changes: Vec<ColdJob>) -> Vec<Result<(), StoreError>> {
        match self.change_together(&mut changes) {
            Ok(()) => changes.iter().map(|_| Ok(())).collect(),
            Err(CommitError::Failed(error)) if changes.len() > 1 => {
                tracing::debug!(%error, "cold changes are made one by one");
                changes.iter_mut().map(|change| self.change_alone(change)).collect()
            }
            Err(CommitError::Failed(StoreError::Conflict { .. })) => {
                changes.iter_mut().map(|change| self.change_alone(change)).collect()
            }
            Err(error) => changes.iter().map(|_| Err(known_error(error.clone()))).collect(),
        }
    }

    /// Makes one change, again where others were in its way.
    fn change_alone(&mut self, change: &mut ColdJob) -> Result<(), StoreError> {
        let mut tries = 1;
        loop {
            match self.change_together(std::slice::from_mut(change)) {
                Err(CommitError::Failed(StoreError::Conflict { .. })) if tries < TRIES_MAX => tries += 1,
                made => return made.map_err(known_error),
            }
        }
    }

    fn change_together(&mut self, changes: &mut [ColdJob]) -> Result<(), CommitError> {
        let shared = !self.parts.writer.saves_later();
        let mut batch = self.parts.writer.begin().map_err(CommitError::Failed)?;
        let mut reload = false;
        for change in changes {
            reload |= change(&mut batch).map_err(CommitError::Failed)?;
        }
        // Where others write as well, what stood in the way of a change is theirs, and the caller is about to look at it.
        let epoch = match reload {
            true => batch.bump_config_epoch(),
            false if shared => batch.config_epoch(),
            false => Ok(self.parts.config.get().epoch),
        };
        let moved = epoch.map_err(CommitError::Failed)? != self.parts.config.get().epoch;
        let committed = batch.commit();
        if moved && !matches!(committed, Err(CommitError::Failed(_))) {
            // Also when nobody knows whether it was kept: what the database says is in force, whatever the caller hears.
            match self.parts.store.read(|reader| reader.config()) {
                Ok(rows) => drop(self.parts.config.set(Config::new(rows))),
                // The next batch finds the epoch moved.
                Err(error) => tracing::warn!(%error, "the configuration was not read again at once"),
            }
        }
        committed
    }

    /// What keeps the last batch from being committed, shared with whoever asks.
    pub(super) fn trouble(&self) -> Trouble {
        self.trouble.clone()
    }

    /// Looks whether the database takes writes again.
    pub(super) fn probe(&mut self) -> Result<(), StoreError> {
        let mut batch = self.parts.writer.begin()?;
        batch.touch()?;
        commit_cold(batch)?;
        self.trouble.over();
        Ok(())
    }

    /// Keeps the writer's place on a server while it has nothing to write.
    pub(super) fn keep_lease(&mut self) -> Result<(), StoreError> {
        self.parts.writer.keep_lease()
    }

    /// One step of folding; whether some is left.
    pub fn fold(&mut self) -> Result<bool, StoreError> {
        let mut batch = self.parts.writer.begin()?;
        let folded = batch.fold_step(STEP_ROWS)?;
        commit_cold(batch)?;
        Ok(folded.remaining > 0)
    }

    /// One step of work for quiet moments: saves rows, then folds; whether some is left.
    pub fn tidy(&mut self) -> Result<bool, StoreError> {
        if self.unsaved.is_empty() { self.fold() } else { self.save().map(|_| true) }
    }

    /// Forgets answers, quotes and counts whose time is over; whether some are left. Not while the clock is in doubt: one that jumped ahead
    /// would have keys forgotten that are still in use.
    pub fn prune(&mut self) -> Result<bool, StoreError> {
        let Ok(now) = self.parts.clock.now() else { return Ok(false) };
        let before = Timestamp(now.0.saturating_sub(micros(self.parts.keep_keys)));
        let mut batch = self.parts.writer.begin()?;
        let answers = batch.prune_answers(before, STEP_ROWS)?;
        let quotes = batch.prune_quotes(now.plus(-QUOTES_KEPT), STEP_ROWS)?;
        let refusals = batch.prune_refusals(now.plus(-REFUSALS_KEPT), STEP_ROWS)?;
        commit_cold(batch)?;
        Ok(answers || quotes || refusals)
    }

    /// Saves the rows of some wallets; whether some are left.
    fn save(&mut self) -> Result<bool, StoreError> {
        let position = self.parts.writer.position();
        let mut batch = self.parts.writer.begin()?;
        let next = self.unsaved.next(STEP_ROWS);
        let count = next.len();
        let mut wallets = Vec::with_capacity(count);
        for (since, key) in next {
            if let Some(mut working) = still_behind(&self.parts.live, *key, *since) {
                working.save(&mut batch)?;
                wallets.push(working);
            }
        }
        if let Some(exact) = self.unsaved.exact_after(count, None, position) {
            batch.set_flushed(exact)?;
        }
        commit_cold(batch)?;
        self.keep(Kept { wallets, saved: count, fallen: Vec::new() });
        Ok(!self.unsaved.is_empty())
    }

    /// Says that every row is exact. Wallets that are saved with their batch move no mark, as they were never behind: when the
    /// last ones were such, the next start would go through what they wrote once more.
    fn mark_exact(&mut self) -> Result<(), StoreError> {
        let position = self.parts.writer.position();
        if !self.parts.writer.saves_later() || position == Position::NONE {
            return Ok(());
        }
        let mut batch = self.parts.writer.begin()?;
        batch.set_flushed(position)?;
        commit_cold(batch)
    }

    /// Saves every row and closes the database.
    pub fn close(mut self) -> Result<(), StoreError> {
        while !self.unsaved.is_empty() {
            self.save()?;
        }
        self.mark_exact()?;
        self.parts.writer.close()
    }
}

/// How a batch went.
enum Attempt {
    Done(Vec<Outcome>),
    /// Nothing was kept: the database does not do its part.
    Failed(StoreError),
    /// Nothing was kept; others were in the way.
    Again(StoreError),
    /// Nothing was kept, as one of the commands met a damaged row or has a value that the database refuses: the others must not
    /// suffer from it.
    Split,
}

/// A batch of which nothing was kept.
fn given_up(jobs: &[Job], error: &StoreError) -> Attempt {
    match error {
        StoreError::Conflict { .. } => Attempt::Again(error.clone()),
        StoreError::Inconsistent { .. } | StoreError::Corrupt { .. } | StoreError::Refused { .. }
            if jobs.len() > 1 =>
        {
            Attempt::Split
        }
        error => Attempt::Failed(error.clone()),
    }
}

/// The configuration, if it moved since.
fn current(batch: &Batch<'_>, known: &Config) -> Result<Option<Config>, StoreError> {
    if batch.config_epoch()? == known.epoch { Ok(None) } else { Ok(Some(Config::new(batch.config()?))) }
}

/// What a committed batch leaves in memory.
struct Kept {
    wallets: Vec<Working>,
    /// How many of the next unsaved wallets were saved.
    saved: usize,
    /// The wallets whose rows fell behind.
    fallen: Vec<Behind>,
}

/// Saves rows and folds as much as the batch owes, and commits.
fn commit(
    mut batch: Batch<'_>,
    mut changed: Vec<Working>,
    live: &Live,
    unsaved: &mut Unsaved,
    pace: &mut Pace,
) -> Result<Kept, CommitError> {
    let newest = changed.iter().map(|working| working.head).max().unwrap_or_default();
    pace.save += batch.appended() * unsaved.len() as u64;
    let next = unsaved.next((pace.save / SAVE_WINDOW) as usize);
    let saved = next.len();
    pace.save %= SAVE_WINDOW;
    pace.fold += batch.appended();
    if pace.fold >= FOLD_EVERY {
        batch.fold_along(pace.fold as usize).map_err(CommitError::Failed)?;
        pace.fold = 0;
    }
    let places: FxHashMap<WalletKey, usize> =
        changed.iter().enumerate().map(|(index, w)| (w.key(), index)).collect();
    for (since, key) in next {
        match places.get(key) {
            Some(index) if changed[*index].is_dirty_since(*since) => {
                changed[*index].save(&mut batch).map_err(CommitError::Failed)?;
            }
            Some(_) => {}
            None => {
                if let Some(mut working) = still_behind(live, *key, *since) {
                    working.save(&mut batch).map_err(CommitError::Failed)?;
                    changed.push(working);
                }
            }
        }
    }
    for working in changed.iter_mut().filter(|working| working.is_heavy()) {
        working.save(&mut batch).map_err(CommitError::Failed)?;
    }
    let mut fallen: Vec<Behind> = changed.iter().filter_map(Working::newly_dirty).collect();
    fallen.sort_unstable();
    if let Some(exact) = unsaved.exact_after(saved, fallen.first().map(|(since, _)| *since), newest) {
        batch.set_flushed(exact).map_err(CommitError::Failed)?;
    }
    batch.commit()?;
    Ok(Kept { wallets: changed, saved, fallen })
}

/// Writes the rows of every wallet that changed with the batch, and commits.
fn commit_all(mut batch: Batch<'_>, mut changed: Vec<Working>) -> Result<Kept, CommitError> {
    for working in &mut changed {
        working.save(&mut batch).map_err(CommitError::Failed)?;
    }
    batch.commit()?;
    Ok(Kept { wallets: changed, saved: 0, fallen: Vec::new() })
}

/// The wallet, if its rows are still behind since then: it may have been saved early, and queued again since.
fn still_behind(live: &Live, key: WalletKey, since: Position) -> Option<Working> {
    let working = Working::from_live(&*live.get(key)?);
    working.is_dirty_since(since).then_some(working)
}

fn commit_cold(batch: Batch<'_>) -> Result<(), StoreError> {
    batch.commit().map_err(known_error)
}

fn known_error(error: CommitError) -> StoreError {
    match error {
        CommitError::Failed(error) | CommitError::Unknown(error) => error,
    }
}

fn all(jobs: &[Job], outcome: impl Fn() -> AppError) -> Vec<Outcome> {
    jobs.iter().map(|_| Err(outcome())).collect()
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
