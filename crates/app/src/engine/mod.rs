//! The engine: a bounded queue in front of each writer thread, which takes all that waits and commits it together.
//!
//! Batching needs no timer: while one batch commits, the next one gathers. With light load a batch is one command. When the
//! queue is full, callers hear it at once. What a writer does with a batch is in `funnel.rs` and `work.rs`. An embedded database
//! has one writer; on a server there may be several, each for its share of the tenants, and `behind.rs` does what is to be
//! done beside them.

mod behind;
mod checkpoint;
mod funnel;
mod job;
mod known;
mod live;
mod trouble;
mod unsaved;
mod wanted;
mod work;

pub use behind::{Behind, BehindParts};
pub use funnel::{Funnel, FunnelParts};
pub use job::{ColdJob, Done, Job, Outcome, Route};
pub use live::{Live, LiveWallet};
pub(crate) use work::unavailable;

use crate::clock::SafeClock;
use crate::error::AppError;
use crate::metrics::BatchMetrics;
use checkpoint::{Checkpointer, LogState};
use job::Work;
use parking_lot::Mutex;
use purser_core::TenantNo;
use purser_store::StoreError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;
use trouble::Trouble;

/// How long the writer waits for work before it tidies up.
const QUIET: Duration = Duration::from_millis(200);
/// How often answers whose time is over are looked for, in microseconds.
const PRUNE_EVERY: i64 = 60 * 1_000_000;
/// How often an idle writer in trouble looks whether it is over, in microseconds.
const PROBE_EVERY: i64 = 1_000_000;
/// How often an idle writer says that it is still there, in microseconds.
const LEASE_EVERY: i64 = 15 * 1_000_000;

/// The queues' ends that everybody holds. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    /// One for each writer.
    queues: Arc<[SyncSender<Work>]>,
    clock: SafeClock,
    threads: Arc<Mutex<Threads>>,
    troubles: Arc<[Trouble]>,
}

/// What runs, until it is stopped.
struct Threads {
    writers: Vec<JoinHandle<()>>,
    behind: Option<Behind>,
}

impl Engine {
    /// Starts a writer thread for each funnel, each with a queue of its own, and what works behind them on a server.
    pub fn start(
        funnels: Vec<Funnel>,
        behind: Option<Behind>,
        clock: SafeClock,
        queue_max: usize,
        batch_max: usize,
    ) -> Engine {
        let troubles = funnels.iter().map(Funnel::trouble).collect();
        let start = |funnel: Funnel| {
            let (queue, waiting) = sync_channel(queue_max);
            let log = Arc::new(LogState::default());
            let checkpointer = Checkpointer::start(funnel.store(), log.clone());
            let tidied_at = clock.monotonic();
            let (trouble, clock) = (funnel.trouble(), clock.clone());
            let runner = Runner {
                funnel,
                clock,
                batch_max,
                tidied_at,
                probed_at: tidied_at,
                trouble,
                log,
                checkpointer,
            };
            let writer = std::thread::Builder::new()
                .name("purser-writer".into())
                .spawn(move || runner.run(&waiting))
                .expect("a thread can be started when the service starts");
            (queue, writer)
        };
        let (queues, writers): (Vec<_>, Vec<_>) = funnels.into_iter().map(start).unzip();
        assert!(!queues.is_empty(), "an engine has a writer");
        let threads = Arc::new(Mutex::new(Threads { writers, behind }));
        Engine { queues: queues.into(), clock, threads, troubles }
    }

    /// The queue of the writer that a tenant's commands go to: always the same one, so that they are carried out in the order
    /// in which they came.
    fn queue(&self, tenant: TenantNo) -> &SyncSender<Work> {
        // Numbers of tenants are random.
        &self.queues[(tenant.0 % self.queues.len() as u64) as usize]
    }

    /// Queues a command; the outcome arrives on the receiver once it is durable or refused.
    ///
    /// # Errors
    /// `overloaded` when the queue is full, `shutting_down` when the writer has ended. Nothing was done then.
    pub fn submit(&self, job: Job) -> Result<oneshot::Receiver<Outcome>, AppError> {
        let (answer, outcome) = oneshot::channel();
        let queue = self.queue(job.command.tenant);
        queue.try_send(Work::Command(Box::new(job), answer)).map_err(refusal)?;
        Ok(outcome)
    }

    /// Queues a command and waits for its outcome.
    pub async fn carry_out(&self, job: Job) -> Outcome {
        self.submit(job)?.await.unwrap_or_else(|_| Err(work::unavailable("shutting_down", 1)))
    }

    /// Makes a cold change; it answers whether configuration changed. It may be made again when it was not kept: see
    /// [`ColdJob`].
    pub async fn change<T: Send + 'static>(
        &self,
        mut change: impl FnMut(&mut purser_store::Batch<'_>) -> Result<(T, bool), StoreError> + Send + 'static,
    ) -> Result<T, AppError> {
        let (made, result) = std::sync::mpsc::channel();
        let job: ColdJob = Box::new(move |batch| {
            let (value, reload) = change(batch)?;
            // Nobody waits any more when the caller went away; the change stands all the same.
            let _ = made.send(value);
            Ok(reload)
        });
        let (answer, done) = oneshot::channel();
        self.queues[0].try_send(Work::Cold(job, answer)).map_err(refusal)?;
        match done.await {
            Ok(Ok(())) => {
                Ok(result.try_iter().last().expect("the change sends its value before it is committed"))
            }
            Ok(Err(error)) => Err(work::fault(&error)),
            Err(_) => Err(work::unavailable("shutting_down", 1)),
        }
    }

    /// Whether every writer still takes work.
    pub fn is_running(&self) -> bool {
        let threads = self.threads.lock();
        !threads.writers.is_empty() && threads.writers.iter().all(|writer| !writer.is_finished())
    }

    /// What keeps a writer from committing, if anything does.
    pub fn trouble(&self) -> Option<String> {
        self.troubles.iter().find_map(Trouble::now)
    }

    /// The time on the monotonic clock, for [`Job::queued_at`].
    pub fn monotonic(&self) -> i64 {
        self.clock.monotonic()
    }

    /// Carries out what is queued, saves what is in memory only, closes the database and ends the writers.
    pub fn stop(&self) {
        let Threads { writers, behind } =
            std::mem::replace(&mut *self.threads.lock(), Threads { writers: Vec::new(), behind: None });
        drop(behind);
        for (queue, writer) in self.queues.iter().zip(writers) {
            // The queue may be full: this waits for its place behind what was accepted.
            if queue.send(Work::Stop).is_ok() && writer.join().is_err() {
                tracing::error!(
                    "a writer thread panicked; rows are brought up to the ledger at the next start"
                );
            }
        }
    }
}

fn refusal(error: TrySendError<Work>) -> AppError {
    match error {
        TrySendError::Full(_) => work::unavailable("overloaded", 1),
        TrySendError::Disconnected(_) => work::unavailable("shutting_down", 1),
    }
}

/// The writer thread.
struct Runner {
    funnel: Funnel,
    clock: SafeClock,
    batch_max: usize,
    /// When answers were last pruned, or the lease of a server's slot renewed.
    tidied_at: i64,
    probed_at: i64,
    trouble: Trouble,
    log: Arc<LogState>,
    checkpointer: Checkpointer,
}

impl Runner {
    fn run(mut self, waiting: &Receiver<Work>) {
        let measure = BatchMetrics::default();
        // While there is tidying left, the writer only looks whether somebody waits.
        let mut busy = false;
        loop {
            let first = if busy { look(waiting) } else { waiting.recv_timeout(QUIET) };
            let first = match first {
                Ok(work) => work,
                Err(RecvTimeoutError::Timeout) => {
                    busy = self.tidy();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let Gathered { jobs, answers, cold, stop } = gather(first, waiting, self.batch_max);
            if !cold.is_empty() {
                self.change(cold);
            }
            if !jobs.is_empty() {
                let started = self.clock.monotonic();
                let waited = started - jobs[0].queued_at;
                let outcomes = self.process(&jobs);
                self.log.committed();
                measure.record(&outcomes, waited, self.clock.monotonic() - started);
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    // The caller may have gone away; what was done is done, and its key answers it again.
                    let _ = answer.send(outcome);
                }
            }
            if stop {
                break;
            }
            if self.log.take_nearly_copied() {
                self.end_log();
            }
        }
        drop(self.checkpointer);
        if let Err(error) = self.funnel.close() {
            tracing::error!(%error, "the database did not close cleanly; rows are brought up to the ledger at the next start");
        }
    }

    /// Carries out a batch. A bug met on the way is contained: the transaction is rolled back, memory is thrown away, and
    /// the commands are carried out one by one, so that only the one which meets it fails.
    fn process(&mut self, jobs: &[Job]) -> Vec<Outcome> {
        let funnel = &mut self.funnel;
        if let Ok(outcomes) = catch_unwind(AssertUnwindSafe(|| funnel.process(jobs))) {
            return outcomes;
        }
        self.funnel.forget();
        if jobs.len() > 1 {
            return jobs.chunks(1).flat_map(|job| self.process(job)).collect();
        }
        vec![Err(AppError::Fault("the command met a bug; see the log".into()))]
    }

    fn change(&mut self, cold: Vec<(ColdJob, oneshot::Sender<Result<(), StoreError>>)>) {
        let (changes, answers): (Vec<_>, Vec<_>) = cold.into_iter().unzip();
        for (outcome, answer) in self.funnel.change(changes).into_iter().zip(answers) {
            if let Err(error) = &outcome {
                tracing::error!(%error, "a change of configuration or identity failed");
            }
            // Nobody waits any more when the caller went away.
            let _ = answer.send(outcome);
        }
    }

    /// Copies the rest of the log, so that the next batch begins it again.
    fn end_log(&mut self) {
        if let Err(error) = self.funnel.end_log() {
            tracing::warn!(%error, "the log was not begun again; it grows meanwhile");
        }
    }

    /// One step of tidying; whether more is left.
    fn tidy(&mut self) -> bool {
        if self.trouble.now().is_some() {
            self.probe();
            return false;
        }
        let since = self.clock.monotonic() - self.tidied_at;
        if !self.funnel.saves_later() {
            if since > LEASE_EVERY {
                self.tidied_at += since;
                if let Err(error) = self.funnel.keep_lease() {
                    tracing::warn!(%error, "the lease of this writer was not renewed; it is tried again");
                }
            }
            return false;
        }
        let due = since > PRUNE_EVERY;
        let step = if due { self.funnel.prune() } else { self.funnel.tidy() };
        match step {
            Ok(more) => {
                if due && !more {
                    self.tidied_at += since;
                }
                more || due
            }
            Err(error) => {
                tracing::error!(%error, "tidying up failed; it is tried again");
                false
            }
        }
    }
}

impl Runner {
    /// Looks whether the database takes writes again: whoever asked whether to send work may have been told not to.
    fn probe(&mut self) {
        let now = self.clock.monotonic();
        if now - self.probed_at > PROBE_EVERY {
            self.probed_at = now;
            match self.funnel.probe() {
                Ok(()) => tracing::info!("the database takes writes again"),
                Err(error) => tracing::debug!(%error, "the database does not take writes yet"),
            }
        }
    }
}

struct Gathered {
    jobs: Vec<Job>,
    answers: Vec<oneshot::Sender<Outcome>>,
    cold: Vec<(ColdJob, oneshot::Sender<Result<(), StoreError>>)>,
    stop: bool,
}

/// Takes all that waits, up to `batch_max` commands.
fn gather(first: Work, waiting: &Receiver<Work>, batch_max: usize) -> Gathered {
    let mut gathered = Gathered { jobs: Vec::new(), answers: Vec::new(), cold: Vec::new(), stop: false };
    let mut next = Some(first);
    while let Some(work) = next {
        match work {
            Work::Command(job, answer) => {
                gathered.jobs.push(*job);
                gathered.answers.push(answer);
            }
            Work::Cold(change, answer) => gathered.cold.push((change, answer)),
            Work::Stop => gathered.stop = true,
        }
        let full = gathered.jobs.len() >= batch_max || gathered.cold.len() >= batch_max || gathered.stop;
        next = if full { None } else { waiting.try_recv().ok() };
    }
    gathered
}

fn look(waiting: &Receiver<Work>) -> Result<Work, RecvTimeoutError> {
    waiting.try_recv().map_err(|error| match error {
        TryRecvError::Empty => RecvTimeoutError::Timeout,
        TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
    })
}
