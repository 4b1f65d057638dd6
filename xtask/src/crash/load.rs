//! Clients that move credits while things are killed under them. Each sends a movement under its key, to one
//! node or the other, until it has a definite answer, and remembers what it was.
//!
//! A lost connection and a 503 that says when to come back are what a client must bear. Any other answer ends
//! the round as a failure.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::client::{Answer, Client};

/// A movement without a definite answer for so long has failed.
const ANSWER_WITHIN: Duration = Duration::from_secs(90);

/// Between two attempts of one movement: shorter than what the service asks for, so that more of them meet the moment
/// in which a node comes back.
const AGAIN_AFTER: Duration = Duration::from_millis(60);

/// What was sent under one key, and what came of it.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) user: u64,
    pub(super) kind: Kind,
    path: String,
    pub(super) key: String,
    body: String,
    /// Id and amount, as acknowledged.
    pub(super) told: (String, String),
}

/// What kind of movement it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Debit,
    Hold,
    Capture,
    Release,
}

impl Sent {
    fn new(user: u64, kind: Kind, path: String, key: String, body: String) -> Sent {
        Sent { user, kind, path, key, body, told: (String::new(), String::new()) }
    }

    fn debit(user: u64, key: String) -> Sent {
        let body = format!(r#"{{"user":"u{user}","action":"scan"}}"#);
        Sent::new(user, Kind::Debit, "/v1/debits".into(), key, body)
    }

    fn hold(user: u64, key: String) -> Sent {
        let body = format!(r#"{{"user":"u{user}","action":"tokens","quantity":5,"expires_in":86400}}"#);
        Sent::new(user, Kind::Hold, "/v1/holds".into(), key, body)
    }

    fn capture(user: u64, hold: &str, key: String) -> Sent {
        Sent::new(
            user,
            Kind::Capture,
            format!("/v1/holds/{hold}/capture"),
            key,
            r#"{"quantity":3}"#.to_string(),
        )
    }

    fn release(user: u64, hold: &str, key: String) -> Sent {
        Sent::new(user, Kind::Release, format!("/v1/holds/{hold}/release"), key, String::new())
    }

    fn send(&self, client: &mut Client) -> std::io::Result<Answer> {
        client.post(&self.path, &self.key, &self.body)
    }

    /// Id and amount in an answer that acknowledges it.
    fn told_by(&self, answer: &Answer) -> Result<(String, String), String> {
        let (status, amount) = match self.kind {
            Kind::Debit => (201, "/amount"),
            Kind::Hold => (201, "/held"),
            Kind::Release => (200, "/held"),
            Kind::Capture => (200, "/captured"),
        };
        if answer.status != status {
            return Err(format!("{self:?} got {answer:?}"));
        }
        Ok((answer.text("/id")?.to_string(), answer.text(amount)?.to_string()))
    }

    /// The same request again, much later: it must be answered as before.
    pub(super) fn is_known(&self, client: &mut Client) -> Result<(), String> {
        let answer = self.send(client).map_err(|error| format!("{self:?}: {error}"))?;
        let told = self.told_by(&answer)?;
        match answer.replayed && told == self.told {
            true => Ok(()),
            false => Err(format!("{self:?} was acknowledged; asked again, the answer is {answer:?}")),
        }
    }
}

/// A sequence that looks like chance and repeats for its seed.
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) % limit
    }
}

/// What the clients of one round share.
pub(super) struct Field<'a> {
    pub(super) addresses: &'a [SocketAddr],
    pub(super) key: &'a str,
    /// Part of every key, so that no two rounds use the same.
    pub(super) round: u64,
    pub(super) users: u64,
    pub(super) stop: AtomicBool,
    pub(super) acknowledged: AtomicU64,
    /// Connections that broke while an answer was owed, or could not be made.
    pub(super) broken: AtomicU64,
    /// Answers of 503.
    pub(super) put_off: AtomicU64,
}

/// What one client did.
#[derive(Default)]
pub(super) struct Done {
    pub(super) sent: Vec<Sent>,
    /// The longest that a movement waited for its definite answer.
    pub(super) longest: Duration,
}

/// Moves credits until it is told to stop; an error where a law of the wire was broken.
pub(super) fn run(field: &Field<'_>, number: u64) -> Result<Done, String> {
    let mut chance = Chance::new(field.round * 1_000 + number);
    let mut hands = Hands { field, clients: field.addresses.iter().map(|_| None).collect() };
    let mut done = Done::default();
    let mut step = 0_u64;
    while !field.stop.load(Ordering::Relaxed) {
        step += 1;
        // Half of everything meets in one wallet.
        let user = if chance.below(2) == 0 { 0 } else { chance.below(field.users) };
        let key = |what: &str| format!("r{}-c{number}-{step}-{what}", field.round);
        if chance.below(10) < 7 {
            hands.move_credits(Sent::debit(user, key("debit")), &mut chance, &mut done)?;
            continue;
        }
        let hold = hands.move_credits(Sent::hold(user, key("hold")), &mut chance, &mut done)?;
        let end = match chance.below(3) {
            0 => Sent::release(user, &hold, key("release")),
            _ => Sent::capture(user, &hold, key("capture")),
        };
        hands.move_credits(end, &mut chance, &mut done)?;
    }
    Ok(done)
}

/// One client's connections, one to each node where it is there.
struct Hands<'a> {
    field: &'a Field<'a>,
    clients: Vec<Option<Client>>,
}

impl Hands<'_> {
    /// Sends it until it is acknowledged; the id that it was given.
    fn move_credits(
        &mut self,
        mut sent: Sent,
        chance: &mut Chance,
        done: &mut Done,
    ) -> Result<String, String> {
        let started = Instant::now();
        let nodes = self.clients.len();
        let mut node = usize::try_from(chance.below(nodes as u64)).expect("few nodes");
        let mut lost = false;
        let mut last = String::new();
        while started.elapsed() < ANSWER_WITHIN {
            match self.attempt(node, &sent) {
                Ok(answer) if answer.status == 503 && answer.retry_after => {
                    self.field.put_off.fetch_add(1, Ordering::Relaxed);
                    // What a node cannot tell now may have been carried out: an error at COMMIT is one of those.
                    lost = true;
                    last = format!("{answer:?}");
                }
                Ok(answer) => {
                    sent.told = sent.told_by(&answer)?;
                    if answer.replayed && !lost {
                        return Err(format!("a fresh key was answered as a replay: {sent:?}"));
                    }
                    self.field.acknowledged.fetch_add(1, Ordering::Relaxed);
                    done.longest = done.longest.max(started.elapsed());
                    let id = sent.told.0.clone();
                    done.sent.push(sent);
                    return Ok(id);
                }
                Err(error) => {
                    self.field.broken.fetch_add(1, Ordering::Relaxed);
                    lost = true;
                    last = error.to_string();
                }
            }
            node = (node + 1) % nodes;
            std::thread::sleep(AGAIN_AFTER);
        }
        let seconds = ANSWER_WITHIN.as_secs();
        Err(format!("{sent:?} got no definite answer within {seconds} s; the last was {last}"))
    }

    fn attempt(&mut self, node: usize, sent: &Sent) -> std::io::Result<Answer> {
        let mut client = match self.clients[node].take() {
            Some(client) => client,
            None => Client::connect(self.field.addresses[node], self.field.key)?,
        };
        let answer = sent.send(&mut client)?;
        // After an error nobody knows where in the stream the next answer begins: such a one is dropped.
        self.clients[node] = Some(client);
        Ok(answer)
    }
}
