//! What the engine measures. The only floats of this crate: they leave as metrics and decide nothing.

use crate::engine::Outcome;
use crate::error::AppError;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// Handles looked up once, recorded once a batch.
pub(crate) struct BatchMetrics {
    size: Histogram,
    waited: Histogram,
    took: Histogram,
    done: Counter,
    replayed: Counter,
    refused: Counter,
    failed: Counter,
}

impl Default for BatchMetrics {
    fn default() -> BatchMetrics {
        let commands = |outcome: &'static str| counter!("purser_commands_total", "outcome" => outcome);
        BatchMetrics {
            size: histogram!("purser_batch_size"),
            waited: histogram!("purser_queue_wait_seconds"),
            took: histogram!("purser_batch_seconds"),
            done: commands("done"),
            replayed: commands("replayed"),
            refused: commands("refused"),
            failed: commands("failed"),
        }
    }
}

impl BatchMetrics {
    /// Records a batch: its outcomes, how long its oldest command waited and how long it took, in microseconds.
    pub(crate) fn record(&self, outcomes: &[Outcome], waited: i64, took: i64) {
        self.size.record(outcomes.len() as f64);
        self.waited.record(seconds(waited));
        self.took.record(seconds(took));
        let mut counts = [0_u64; 4];
        for outcome in outcomes {
            let index = match outcome {
                Ok(done) => usize::from(done.replayed),
                Err(AppError::Unavailable { .. } | AppError::Fault(_)) => 3,
                Err(_) => 2,
            };
            counts[index] += 1;
        }
        for (counter, count) in
            [&self.done, &self.replayed, &self.refused, &self.failed].into_iter().zip(counts)
        {
            counter.increment(count);
        }
    }
}

/// Counts an open stream for as long as it lives.
pub(crate) struct OpenStream {
    open: Gauge,
}

impl OpenStream {
    /// One more.
    pub(crate) fn new() -> OpenStream {
        let open = gauge!("purser_streams_open");
        open.increment(1);
        OpenStream { open }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.open.decrement(1);
    }
}

#[expect(clippy::float_arithmetic, reason = "metrics are in seconds by convention")]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1_000_000.0
}
