//! A load generator: many keep-alive HTTP/1.1 connections over few threads, each answer counted by
//! status and timed.
//!
//! It shares the machine with the server it measures, so it does as little as it can per request: one
//! write, one read, a look at the status line and the content length. It never follows, retries or
//! repeats a request; a connection that breaks fails the run. Read next: `connection`, `histogram`, `keys`.

mod connection;
mod histogram;
mod keys;
#[cfg(test)]
mod tests;

pub(crate) use histogram::Histogram;
pub(crate) use keys::{Keys, Order};

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use connection::Connection;

/// A run whose connections all stay silent this long has lost its server.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How the requests are spaced.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// Every connection asks again as soon as it has its answer: what the server can take at most.
    Closed,
    /// So many a second in all, on a fixed timetable. A late request is timed from when it was due, so
    /// that a stall of the server shows in the percentiles of everything it held up.
    PerSecond(u64),
}

/// One run.
#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    /// Connections are spread evenly over these.
    pub(crate) addresses: &'a [SocketAddr],
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
    /// Answers that arrive before this are counted but neither timed nor part of the rate.
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// What came back.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Every answer of the run by status, warm-up and the last ones in flight included.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Answers within the measured time.
    pub(crate) measured: u64,
    pub(crate) latency: Histogram,
}

impl Outcome {
    pub(crate) fn answered(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// An error unless every single answer had `status`.
    pub(crate) fn all(&self, status: u16) -> Result<(), String> {
        match self.answered() {
            0 => Err("no request was answered".to_string()),
            answered if self.statuses.get(&status) == Some(&answered) => Ok(()),
            _ => Err(format!("expected only {status}, the answers were {:?}", self.statuses)),
        }
    }

    fn add(&mut self, other: &Outcome) {
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.measured += other.measured;
        self.latency.add(&other.latency);
    }
}

/// Runs `load` with one thread for each of `sources`. A source appends one whole request and says
/// whether there was one; a run ends when the time is up or every source has dried up, and always waits
/// for the answers still in flight, so that what was asked and what was answered are the same number.
pub(crate) fn run<S>(load: &Load<'_>, sources: Vec<S>) -> Result<Outcome, String>
where
    S: FnMut(&mut Vec<u8>) -> bool + Send,
{
    let threads = sources.len();
    let start = Instant::now();
    let results: Vec<Result<Outcome, String>> = std::thread::scope(|scope| {
        let workers: Vec<_> = sources
            .into_iter()
            .enumerate()
            .map(|(number, source)| {
                scope.spawn(move || Worker::new(load, number, threads, start, source)?.run())
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a load thread does not panic")).collect()
    });
    let mut total = Outcome::default();
    for result in results {
        total.add(&result?);
    }
    Ok(total)
}

/// When the next request of a paced run is due.
struct Timetable {
    next: Instant,
    gap: Duration,
    /// Requests that were due while every connection was busy.
    overdue: VecDeque<Instant>,
}

struct Worker<S> {
    poll: mio::Poll,
    connections: Vec<Connection>,
    idle: Vec<usize>,
    source: S,
    dry: bool,
    timetable: Option<Timetable>,
    measure_from: Instant,
    end: Instant,
    outcome: Outcome,
}

impl<S: FnMut(&mut Vec<u8>) -> bool> Worker<S> {
    fn new(
        load: &Load<'_>,
        number: usize,
        threads: usize,
        start: Instant,
        source: S,
    ) -> Result<Self, String> {
        let poll = mio::Poll::new().map_err(|error| format!("poll: {error}"))?;
        let mut connections = Vec::new();
        for at in (number..load.connections).step_by(threads) {
            let token = mio::Token(connections.len());
            let address = load.addresses[connections.len() % load.addresses.len()];
            let connection = Connection::open(address, poll.registry(), token);
            connections.push(connection.map_err(|error| format!("connection {at} to {address}: {error}"))?);
        }
        let timetable = match load.pace {
            Pace::Closed => None,
            Pace::PerSecond(rate) => {
                let gap = Duration::from_secs(1) * u32::try_from(threads).expect("few threads")
                    / u32::try_from(rate.max(1)).map_err(|_| "the rate is too high".to_string())?;
                // The threads take turns instead of asking at the same instants.
                let next = start + gap * u32::try_from(number).expect("few threads") / threads as u32;
                Some(Timetable { next, gap, overdue: VecDeque::new() })
            }
        };
        let measure_from = start + load.warm_up;
        Ok(Worker {
            poll,
            idle: (0..connections.len()).rev().collect(),
            connections,
            source,
            dry: false,
            timetable,
            measure_from,
            end: measure_from + load.measured,
            outcome: Outcome::default(),
        })
    }

    fn run(mut self) -> Result<Outcome, String> {
        let mut events = mio::Events::with_capacity(self.connections.len().max(1));
        let mut last_answer = Instant::now();
        loop {
            self.ask(Instant::now())?;
            let waiting = self.connections.len() - self.idle.len();
            let now = Instant::now();
            let over =
                now >= self.end && self.timetable.as_ref().is_none_or(|table| table.overdue.is_empty());
            if waiting == 0 && (self.dry || over) {
                return Ok(self.outcome);
            }
            if waiting > 0 && now.duration_since(last_answer) > SILENCE_MAX {
                return Err(format!("{waiting} requests got no answer for {} s", SILENCE_MAX.as_secs()));
            }
            self.wait(&mut events, now)?;
            for event in &events {
                if self.serve(event.token().0)? {
                    last_answer = Instant::now();
                }
            }
            if waiting == 0 {
                last_answer = Instant::now();
            }
        }
    }

    /// Sends every request whose time has come and for which a connection is free.
    fn ask(&mut self, now: Instant) -> Result<(), String> {
        if let Some(table) = &mut self.timetable {
            while table.next <= now && table.next < self.end {
                table.overdue.push_back(table.next);
                table.next += table.gap;
            }
        }
        while !self.dry && !self.idle.is_empty() {
            let due = match &mut self.timetable {
                None if now >= self.end => break,
                None => now,
                Some(table) => match table.overdue.pop_front() {
                    Some(due) => due,
                    None => break,
                },
            };
            let at = *self.idle.last().expect("checked above");
            if !(self.source)(self.connections[at].request()) {
                self.dry = true;
                break;
            }
            self.idle.pop();
            self.connections[at].send(due).map_err(|error| format!("sending: {error}"))?;
        }
        Ok(())
    }

    /// Waits for answers, but not past the next request of the timetable. The poll counts in whole milliseconds, so what
    /// is due within one is asked at its end, and timed from when it was due: to wake for each request alone would take
    /// from the server what it is measured on.
    fn wait(&mut self, events: &mut mio::Events, now: Instant) -> Result<(), String> {
        let mut timeout = Duration::from_millis(100);
        if let Some(table) = &self.timetable
            && !self.idle.is_empty()
            && table.next < self.end
        {
            timeout = table.next.saturating_duration_since(now).max(Duration::from_millis(1));
        }
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => Err(format!("poll: {error}")),
            _ => Ok(()),
        }
    }

    /// Moves one connection on; true when it got its answer.
    fn serve(&mut self, at: usize) -> Result<bool, String> {
        let connection = &mut self.connections[at];
        let Some(answer) =
            connection.progress().map_err(|error| format!("waiting for an answer: {error}"))?
        else {
            return Ok(false);
        };
        let now = Instant::now();
        *self.outcome.statuses.entry(answer.status).or_default() += 1;
        if now >= self.measure_from && now < self.end {
            self.outcome.measured += 1;
            self.outcome.latency.record(now.duration_since(answer.due));
        }
        self.idle.push(at);
        Ok(true)
    }
}
