//! Replaying a trace of AI requests against a Purser server: each row is held, then captured with its true tokens.
//!
//! Everything a request says follows from the plan and the row's number: user, action and idempotency keys. So a replay
//! that broke off and is started again with the same run charges nothing twice. It speaks HTTP like any client and
//! knows nothing of this process's own ledger. Read next: `row.rs` for what happens to one row.

mod figures;
mod latency;
mod row;
mod setup;

pub use figures::{Count, Report};
pub use latency::Latency;
pub use purser_remote::http::RemoteError;
pub use setup::{ModelPrice, TOKEN_DIMENSIONS};

use crate::clock::{Clock, SystemClock};
use figures::Figures;
use parking_lot::Mutex;
use purser_remote::http::Limits;
use purser_remote::purser::{Problem, PurserClient};
use std::sync::Arc;
use tokio::sync::mpsc::Receiver;

/// Tells each run of a plan apart from the others, in the keys.
const KEY_PREFIX: &str = "replay";

/// One request of the trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// Its line in the file, from 1.
    pub line: u64,
    /// Known before the work.
    pub input_tokens: u64,
    /// Known after it.
    pub output_tokens: u64,
}

/// What to replay, and as whom.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Names this run; the same name charges nothing twice.
    pub run: String,
    /// Digest of the file, so that another file under the same run has other keys.
    pub digest: [u8; 32],
    /// The users, over which the rows are spread.
    pub users: Vec<String>,
    /// The actions, over which the rows are spread.
    pub actions: Vec<String>,
    /// What is reserved for output before it is known.
    pub output_tokens_held: u64,
}

/// Why a replay stopped. What was charged stays charged; the same run goes on where it stopped.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The server cannot be used.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The server refuses what no credits would help with: key, action, measure.
    #[error("{what}: the server refuses with {} ({}): {}", .problem.status, .problem.code, .problem.detail)]
    Refused {
        /// What was asked.
        what: String,
        /// Its answer.
        problem: Problem,
    },
    /// An amount that cannot be read or added.
    #[error("the server answered the amount `{0}`, which cannot be counted")]
    Amount(String),
}

/// A server to replay against.
#[derive(Clone)]
pub struct Target {
    client: Arc<PurserClient>,
    clock: Arc<dyn Clock>,
    connections: usize,
}

impl Target {
    /// The server at `url`, with this API key, over so many connections.
    ///
    /// # Errors
    /// When URL or key cannot be used; nothing is connected yet.
    pub fn new(url: &str, key: &str, connections: usize) -> Result<Target, RemoteError> {
        let limits = Limits { connections, ..Limits::default() };
        let client = Arc::new(PurserClient::new(url, key, limits)?);
        Ok(Target { client, clock: Arc::new(SystemClock::default()), connections })
    }

    /// Replays the rows that arrive, as many at a time as there are connections; `heard` is told after each.
    ///
    /// # Errors
    /// The first thing that credits would not help with; rows under way are finished first.
    pub async fn replay(
        &self,
        plan: Plan,
        rows: Receiver<Row>,
        heard: impl Fn(&Count) + Send + Sync + 'static,
    ) -> Result<Report, ReplayError> {
        assert!(!plan.users.is_empty() && !plan.actions.is_empty(), "a plan has users and actions");
        let work = Arc::new(Work {
            client: self.client.clone(),
            clock: self.clock.clone(),
            plan,
            figures: Mutex::default(),
            heard: Box::new(heard),
        });
        let rows = Arc::new(tokio::sync::Mutex::new(rows));
        let started = self.clock.monotonic();
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..self.connections {
            let (work, rows) = (work.clone(), rows.clone());
            workers.spawn(async move { drain(&work, &rows).await });
        }
        let mut first_error = None;
        while let Some(ended) = workers.join_next().await {
            let ended = ended.expect("a worker answers what is wrong and does not panic");
            if let Err(error) = ended
                && first_error.is_none()
            {
                // Closing the queue ends the other workers after the row they are at.
                rows.lock().await.close();
                first_error = Some(error);
            }
        }
        let took = self.clock.monotonic() - started;
        match first_error {
            Some(error) => Err(error),
            None => Ok(work.figures.lock().report(took)),
        }
    }
}

/// What the workers of one replay share.
struct Work {
    client: Arc<PurserClient>,
    clock: Arc<dyn Clock>,
    plan: Plan,
    figures: Mutex<Figures>,
    heard: Box<dyn Fn(&Count) + Send + Sync>,
}

async fn drain(work: &Work, rows: &tokio::sync::Mutex<Receiver<Row>>) -> Result<(), ReplayError> {
    loop {
        // The lock is held while waiting: whoever comes next waits for it instead of for the row.
        let next = rows.lock().await.recv().await;
        let Some(row) = next else { return Ok(()) };
        row::replay(work, row).await?;
        (work.heard)(&work.figures.lock().count);
    }
}
