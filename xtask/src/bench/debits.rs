//! Debits over HTTP: sets a server up through its own API, loads it, and proves afterwards that the
//! ledger holds one entry for every answer that was counted.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::{Effort, machine, timed};
use crate::http;
use crate::load::{self, Histogram, Keys, Load, Order, Outcome, Pace};
use crate::server::Server;

/// As many as DESIGN's bars name.
pub(super) const WALLETS: u64 = 10_000;

const CONNECTIONS: usize = 64;
const THREADS: u64 = 2;

/// Who is debited.
#[derive(Clone, Copy)]
pub(super) enum Wallets {
    /// Each request picks one by chance.
    Many(u64),
    /// All requests spend from the same one.
    One,
}

impl Wallets {
    fn count(self) -> u64 {
        match self {
            Wallets::Many(count) => count,
            Wallets::One => 1,
        }
    }
}

/// What one run over HTTP came to.
pub(super) struct Measured {
    pub(super) per_second: f64,
    pub(super) answered: u64,
    pub(super) latency: Histogram,
}

/// Running servers on one database, and a key to them.
pub(super) struct Target {
    addresses: Vec<SocketAddr>,
    key: String,
}

impl Target {
    pub(super) fn of(servers: &[Server]) -> Result<Self, String> {
        let key = servers[0].key("bench")?;
        servers.iter().try_for_each(|server| server.sees("/v1/actions", &key))?;
        Ok(Target { addresses: servers.iter().map(|server| server.address).collect(), key })
    }

    /// Sends one request that changes the catalogue.
    pub(super) fn put(&self, path: &str, body: &str) -> Result<(), String> {
        let authorization = format!("Bearer {}", self.key);
        let headers = [("Authorization", authorization.as_str())];
        match http::ask(self.addresses[0], "PUT", path, &headers, body)? {
            answer if answer.status == 200 => Ok(()),
            answer => Err(format!("PUT {path} answers {}: {}", answer.status, answer.body)),
        }
    }

    /// Asks for something that needs the key and the database.
    pub(super) fn is_there(&self) -> Result<(), String> {
        let authorization = format!("Bearer {}", self.key);
        let headers = [("Authorization", authorization.as_str())];
        match http::ask(self.addresses[0], "GET", "/v1/actions", &headers, "")? {
            answer if answer.status == 200 => Ok(()),
            answer => Err(format!("GET /v1/actions answers {}: {}", answer.status, answer.body)),
        }
    }

    /// An action of one credit. A ledger that is visited again has it already, which changes nothing; under another price it
    /// would be refused, as the figures would mean something else.
    pub(super) fn prepare(&self) -> Result<(), String> {
        let authorization = format!("Bearer {}", self.key);
        let headers = [("Authorization", authorization.as_str()), ("Idempotency-Key", "bench-action-scan")];
        let action = r#"{"key":"scan","name":"Scan","price":{"model":"flat","unit":"credit","amount":"1"}}"#;
        let answer = http::ask(self.addresses[0], "POST", "/v1/actions", &headers, action)?;
        if answer.status != 201 {
            return Err(format!("POST /v1/actions answers {}: {}", answer.status, answer.body));
        }
        Ok(())
    }

    /// Credits for everybody.
    pub(super) fn grant(&self, wallets: Wallets) -> Result<(), String> {
        let share = |thread: u64| {
            let mut users =
                (0..wallets.count()).skip(usize::try_from(thread).expect("few")).step_by(THREADS as usize);
            let mut requests = Requests::new(self, "/v1/grants", Order::Time);
            move |out: &mut Vec<u8>| match users.next() {
                None => false,
                Some(user) => {
                    let body = format!(
                        r#"{{"user":"u{user}","amount":"1000000","kind":"promotional","reason":"bench"}}"#
                    );
                    requests.append(out, body.as_bytes());
                    true
                }
            }
        };
        // Long enough for any machine: the run ends when the sources dry up.
        let load = self.load(Pace::Closed, Duration::ZERO, Duration::from_secs(600));
        let granted = load::run(&load, (0..THREADS).map(share).collect())?;
        granted.all(201)?;
        if granted.answered() != wallets.count() {
            return Err(format!("{} grants for {} wallets", granted.answered(), wallets.count()));
        }
        Ok(())
    }

    fn debit(&self, wallets: Wallets, pace: Pace, order: Order, effort: Effort) -> Result<Outcome, String> {
        self.ask(("/v1/debits", 201), scan_by(wallets), pace, order, effort)
    }

    /// Sends what `body` makes of a number that chance picks, as fast or as often as it is asked to.
    pub(super) fn ask(
        &self,
        (path, status): (&str, u16),
        body: impl Fn(&mut Vec<u8>, u64) + Copy + Send,
        pace: Pace,
        order: Order,
        effort: Effort,
    ) -> Result<Outcome, String> {
        let share = |thread: u64| {
            let mut requests = Requests::new(self, path, order);
            let mut chance = thread.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            let mut written = Vec::new();
            move |out: &mut Vec<u8>| {
                // Xorshift: any spread over the wallets will do, as long as it is quick.
                chance ^= chance << 13;
                chance ^= chance >> 7;
                chance ^= chance << 17;
                written.clear();
                body(&mut written, chance);
                requests.append(out, &written);
                true
            }
        };
        let load = self.load(pace, effort.warm_up, effort.measured);
        let outcome = load::run(&load, (0..THREADS).map(share).collect())?;
        outcome.all(status)?;
        Ok(outcome)
    }

    fn load(&self, pace: Pace, warm_up: Duration, measured: Duration) -> Load<'_> {
        Load { addresses: &self.addresses, connections: CONNECTIONS, pace, warm_up, measured }
    }
}

/// A scan by any of the wallets.
pub(super) fn scan_by(wallets: Wallets) -> impl Fn(&mut Vec<u8>, u64) + Copy + Send {
    move |body: &mut Vec<u8>, chance: u64| {
        write!(body, r#"{{"user":"u{}","action":"scan"}}"#, chance % wallets.count())
            .expect("writing to memory");
    }
}

/// A service that is measured again and again, beside another one.
pub(super) struct Service {
    server: [Server; 1],
    target: Target,
    /// Entries that its ledger held before.
    before: u64,
    /// Entries that were answered since.
    answered: u64,
}

impl Service {
    /// A running service whose ledger holds so many entries. `prepare` makes what is charged for, then everybody has credits.
    pub(super) fn new(
        server: Server,
        before: u64,
        prepare: impl FnOnce(&Target) -> Result<(), String>,
    ) -> Result<Service, String> {
        let server = [server];
        let target = Target::of(&server)?;
        prepare(&target)?;
        let everybody = Wallets::Many(WALLETS);
        target.grant(everybody)?;
        Ok(Service { server, target, before, answered: everybody.count() })
    }

    /// Debits a second.
    pub(super) fn debit(
        &mut self,
        body: impl Fn(&mut Vec<u8>, u64) + Copy + Send,
        order: Order,
        effort: Effort,
    ) -> Result<f64, String> {
        machine::come_to_rest()?;
        let outcome = self.target.ask(("/v1/debits", 201), body, Pace::Closed, order, effort)?;
        self.answered += outcome.answered();
        Ok(outcome.measured as f64 / effort.measured.as_secs_f64())
    }

    /// Preflights a second.
    pub(super) fn preflight(
        &self,
        body: impl Fn(&mut Vec<u8>, u64) + Copy + Send,
        effort: Effort,
    ) -> Result<f64, String> {
        machine::come_to_rest()?;
        let outcome = self.target.ask(("/v1/preflight", 200), body, Pace::Closed, Order::Time, effort)?;
        Ok(outcome.measured as f64 / effort.measured.as_secs_f64())
    }

    /// Ends it, and looks whether its ledger has what was answered.
    pub(super) fn stop(self) -> Result<(), String> {
        let [server] = self.server;
        let (_, entries) = verify(|arguments| server.stop_and_run(arguments))?;
        match entries == self.before + self.answered {
            true => Ok(()),
            false => Err(format!(
                "the ledger holds {entries} entries; it held {} before {} were answered",
                self.before, self.answered
            )),
        }
    }
}

/// Writes whole POST requests, each under a key of its own.
struct Requests {
    head: Vec<u8>,
    keys: Keys,
}

impl Requests {
    fn new(target: &Target, path: &str, order: Order) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nIdempotency-Key: ",
            target.addresses[0], target.key
        );
        Requests { head: head.into_bytes(), keys: Keys::new(order) }
    }

    fn append(&mut self, out: &mut Vec<u8>, body: &[u8]) {
        out.extend_from_slice(&self.head);
        self.keys.append_next(out);
        write!(out, "\r\nContent-Length: {}\r\n\r\n", body.len()).expect("writing to memory");
        out.extend_from_slice(body);
    }
}

/// Answers a second of the handler that parses and answers a debit and does nothing between.
pub(super) fn noop(program: &Path, effort: Effort) -> Result<f64, String> {
    let server = Server::start_as(program, &["bench", "noop"], "/healthz")?;
    let target = Target { addresses: vec![server.address], key: "psk_noop".to_string() };
    let outcome = target.debit(Wallets::Many(WALLETS), Pace::Closed, Order::Time, effort)?;
    server.stop()?;
    Ok(outcome.measured as f64 / effort.measured.as_secs_f64())
}

/// Debits against an empty ledger of its own, verified afterwards.
pub(super) fn ledger(
    program: &Path,
    wallets: Wallets,
    pace: Pace,
    effort: Effort,
) -> Result<Measured, String> {
    measure(vec![Server::start(program)?], Run { wallets, pace, order: Order::Time }, effort, || Ok(()))
}

/// One measurement over HTTP.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub(super) wallets: Wallets,
    pub(super) pace: Pace,
    pub(super) order: Order,
}

/// Debits against the ledger of running servers; verified afterwards. `settle` is called between the set-up and
/// the load.
pub(super) fn measure(
    mut servers: Vec<Server>,
    run: Run,
    effort: Effort,
    settle: impl FnOnce() -> Result<(), String>,
) -> Result<Measured, String> {
    let target = Target::of(&servers)?;
    target.prepare()?;
    target.grant(run.wallets)?;
    servers.iter().try_for_each(|server| server.sees("/v1/actions/scan", &target.key))?;
    settle()?;
    let outcome = target.debit(run.wallets, run.pace, run.order, effort)?;
    let last = servers.pop().ok_or("no server was started")?;
    servers.into_iter().try_for_each(Server::stop)?;
    let (_, entries) = verify(|arguments| last.stop_and_run(arguments))?;
    if entries != outcome.answered() + run.wallets.count() {
        return Err(format!(
            "the ledger holds {entries} entries; {} debits and {} grants were answered",
            outcome.answered(),
            run.wallets.count()
        ));
    }
    Ok(Measured {
        per_second: outcome.measured as f64 / effort.measured.as_secs_f64(),
        answered: outcome.answered(),
        latency: outcome.latency,
    })
}

/// Has a ledger verified by `run`; the seconds that it took and the entries that it went through.
pub(super) fn verify(run: impl FnOnce(&[&str]) -> Result<String, String>) -> Result<(f64, u64), String> {
    let (seconds, printed) = timed(|| run(&["verify", "--json"]))?;
    Ok((seconds, entries_of(&printed)?))
}

/// The number of entries in what `purser verify --json` prints.
pub(crate) fn entries_of(printed: &str) -> Result<u64, String> {
    // Progress may come first; the result is the last line.
    let last = printed.trim().lines().last().unwrap_or_default();
    let parsed: Result<serde_json::Value, _> =
        serde_json::from_str(last).or_else(|_| serde_json::from_str(printed));
    let entries = parsed.ok().and_then(|result| result["entries"].as_u64());
    entries.ok_or_else(|| format!("purser verify --json names no number of entries: {printed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_announces_its_length_and_carries_its_own_key() {
        let target =
            Target { addresses: vec![SocketAddr::from(([127, 0, 0, 1], 1))], key: "psk_x".to_string() };
        let mut requests = Requests::new(&target, "/v1/debits", Order::Time);
        let (mut one, mut two) = (Vec::new(), Vec::new());
        requests.append(&mut one, b"{\"a\":1}");
        requests.append(&mut two, b"{\"a\":1}");
        assert_ne!(one, two);
        let text = String::from_utf8(one).expect("ASCII");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("POST /v1/debits HTTP/1.1\r\nHost: 127.0.0.1:1\r\n"), "{head}");
        assert!(head.contains("\r\nAuthorization: Bearer psk_x\r\n"), "{head}");
        assert!(head.ends_with(&format!("\r\nContent-Length: {}", body.len())), "{head}");
    }

    #[test]
    fn the_number_of_entries_is_read_or_its_absence_told() {
        assert_eq!(entries_of("{\"ok\":true,\"entries\":12}\n"), Ok(12));
        assert_eq!(entries_of("{\n  \"entries\": 7\n}\n"), Ok(7));
        assert!(entries_of("all is well\n").is_err());
    }
}
