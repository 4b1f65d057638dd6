//! Hands outcomes to those who wait for them, beside the writer.
//!
//! Waking a few dozen tasks takes about as long as a server needs to begin the next batch, and the writer of a server waits
//! for it: so it does not do both, one after the other.

use super::job::Outcome;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// The outcomes of a batch and who waits for each, in the same order.
type Answers = (Vec<oneshot::Sender<Outcome>>, Vec<Outcome>);

/// The thread that answers, or nobody: then the writer does.
pub(super) struct Answering {
    thread: Option<(Sender<Answers>, JoinHandle<()>)>,
}

impl Answering {
    /// Beside a writer that waits for another program; one that does its work itself has no time to win.
    pub(super) fn start(beside: bool) -> Answering {
        let start = || {
            let (sender, waiting) = channel::<Answers>();
            let thread = std::thread::Builder::new()
                .name("purser-answers".into())
                .spawn(move || waiting.iter().for_each(|(answers, outcomes)| tell(answers, outcomes)))
                .expect("a thread can be started when the service starts");
            (sender, thread)
        };
        Answering { thread: beside.then(start) }
    }

    /// Answers everybody.
    pub(super) fn give(&self, answers: Vec<oneshot::Sender<Outcome>>, outcomes: Vec<Outcome>) {
        match &self.thread {
            Some((thread, _)) => {
                if let Err(refused) = thread.send((answers, outcomes)) {
                    tell(refused.0.0, refused.0.1);
                }
            }
            None => tell(answers, outcomes),
        }
    }

    /// Waits until everybody has been answered.
    pub(super) fn end(self) {
        if let Some((sender, thread)) = self.thread {
            drop(sender);
            if thread.join().is_err() {
                tracing::error!("the thread that answers panicked");
            }
        }
    }
}

fn tell(answers: Vec<oneshot::Sender<Outcome>>, outcomes: Vec<Outcome>) {
    for (answer, outcome) in answers.into_iter().zip(outcomes) {
        // The caller may have gone away; what was done is done, and its key answers it again.
        let _ = answer.send(outcome);
    }
}
