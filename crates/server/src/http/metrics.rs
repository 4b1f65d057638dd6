//! What is measured of requests, and the Prometheus text of everything that is measured.
//!
//! The recorder is one for the process, as the `metrics` crate has it; handles of a route are made once and kept. The
//! samples of histograms wait in memory until they are folded, which a task does every few seconds.

use std::sync::OnceLock;
use std::time::Duration;

use axum::http::StatusCode;
use metrics::{Counter, Histogram, counter, describe_counter, describe_histogram, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// The statuses that any route answers; others are counted as `other`.
const STATUSES: [u16; 19] =
    [200, 201, 204, 304, 308, 400, 401, 402, 403, 404, 405, 408, 409, 413, 415, 422, 429, 500, 503];

/// Upper bounds of the buckets of durations, in seconds.
const BUCKETS: [f64; 13] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0];

/// Upper bounds of the buckets of batches, in commands.
const SIZES: [f64; 11] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 10_000.0];

/// How often samples are folded into buckets.
const FOLD_EVERY: Duration = Duration::from_secs(5);

/// What is counted and timed of one route and method.
pub struct RouteMetrics {
    method: String,
    route: String,
    /// Made when a status is first answered, so that the text does not list what never happens.
    by_status: [OnceLock<Counter>; STATUSES.len() + 1],
    seconds: Histogram,
}

impl RouteMetrics {
    /// The handles of a route.
    pub fn new(method: &str, route: &str) -> RouteMetrics {
        let labels = [("method", method.to_string()), ("route", route.to_string())];
        RouteMetrics {
            method: method.to_string(),
            route: route.to_string(),
            by_status: Default::default(),
            seconds: histogram!("purser_http_request_seconds", &labels),
        }
    }

    /// Counts one answer.
    pub fn record(&self, status: StatusCode, took: Duration) {
        let index = STATUSES.iter().position(|known| *known == status.as_u16()).unwrap_or(STATUSES.len());
        self.by_status[index].get_or_init(|| self.counter_of(index)).increment(1);
        self.seconds.record(took);
    }

    fn counter_of(&self, index: usize) -> Counter {
        let status = STATUSES.get(index).map_or_else(|| "other".to_string(), u16::to_string);
        let labels = [("method", self.method.clone()), ("route", self.route.clone()), ("status", status)];
        counter!("purser_http_requests_total", &labels)
    }
}

/// Installs the recorder of this process, once, and answers its handle.
pub fn install() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(recorder).clone()
}

fn recorder() -> PrometheusHandle {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_string()), &BUCKETS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Full("purser_batch_size".to_string()), &SIZES)
        })
        .expect("the lists of buckets are not empty");
    let handle = builder.install_recorder().expect("nothing else installs a recorder in this process");
    describe_counter!("purser_http_requests_total", "Answered requests by method, route and status");
    describe_histogram!("purser_http_request_seconds", "Time from a request's head to its answer");
    describe_counter!("purser_commands_total", "Commands that the engine has dealt with, by outcome");
    describe_histogram!("purser_batch_size", "Commands that one transaction took");
    describe_histogram!("purser_batch_seconds", "Time of a transaction, its commit included");
    describe_histogram!("purser_queue_wait_seconds", "Time that the oldest command of a transaction waited");
    handle
}

/// Folds samples until it is dropped.
pub async fn fold(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(FOLD_EVERY);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}
