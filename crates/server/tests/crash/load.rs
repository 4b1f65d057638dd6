//! Clients that move credits until the server dies under them, and remember every key they used.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;

use super::client::{Answer, Client};

/// What was sent under one key, and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) user: usize,
    pub(crate) kind: Kind,
    pub(crate) path: String,
    pub(crate) key: String,
    pub(crate) body: String,
    /// Id and amount, once acknowledged.
    pub(crate) acknowledged: Option<(String, String)>,
}

/// What kind of movement it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Debit,
    Hold,
    Capture,
    Release,
}

impl Sent {
    fn new(user: usize, kind: Kind, path: String, key: String, body: String) -> Sent {
        Sent { user, kind, path, key, body, acknowledged: None }
    }

    /// Sends it; an answer must be a success.
    pub(crate) fn send(&self, client: &mut Client) -> std::io::Result<Answer> {
        let answer = client.post(&self.path, &self.key, &self.body)?;
        let expected = if matches!(self.kind, Kind::Debit | Kind::Hold) { 201 } else { 200 };
        assert_eq!(answer.status, expected, "{self:?}: {answer:?}");
        Ok(answer)
    }

    /// Id and amount in an answer to it.
    pub(crate) fn told(&self, answer: &Answer) -> (String, String) {
        let amount = match self.kind {
            Kind::Debit => "/amount",
            Kind::Hold | Kind::Release => "/held",
            Kind::Capture => "/captured",
        };
        (answer.text("/id").to_string(), answer.text(amount).to_string())
    }
}

/// A sequence that looks like chance and repeats for its seed.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// What the clients of one round share.
pub(crate) struct Round<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) key: &'a str,
    pub(crate) number: u64,
    pub(crate) users: usize,
    /// The killer is told once this many movements were acknowledged.
    pub(crate) kill_after: usize,
    pub(crate) acknowledged: &'a AtomicUsize,
}

/// Moves credits until the connection breaks; everything that was sent, in order.
pub(crate) fn until_it_dies(round: &Round<'_>, client_number: u64, enough: &Sender<()>) -> Vec<Sent> {
    let mut chance = Chance::new(round.number * 1_000 + client_number);
    let mut sent = Vec::new();
    let Ok(mut client) = Client::connect(round.address, round.key) else { return sent };
    for step in 0.. {
        let user = usize::try_from(chance.below(round.users as u64)).expect("few");
        let key = |what: &str| format!("r{}-c{client_number}-{step}-{what}", round.number);
        let first = match chance.below(10) {
            0..=5 => {
                let body = format!(r#"{{"user":"u{user}","action":"scan"}}"#);
                Sent::new(user, Kind::Debit, "/v1/debits".into(), key("debit"), body)
            }
            _ => {
                let body =
                    format!(r#"{{"user":"u{user}","action":"tokens","quantity":5,"expires_in":86400}}"#);
                Sent::new(user, Kind::Hold, "/v1/holds".into(), key("hold"), body)
            }
        };
        let is_hold = first.kind == Kind::Hold;
        let Some((id, _)) = attempt(round, &mut client, first, &mut sent, enough) else { return sent };
        if !is_hold {
            continue;
        }
        let second = if chance.below(3) == 0 {
            Sent::new(user, Kind::Release, format!("/v1/holds/{id}/release"), key("release"), String::new())
        } else {
            let body = r#"{"quantity":3}"#.to_string();
            Sent::new(user, Kind::Capture, format!("/v1/holds/{id}/capture"), key("capture"), body)
        };
        if attempt(round, &mut client, second, &mut sent, enough).is_none() {
            return sent;
        }
    }
    unreachable!("the steps do not end")
}

/// Sends it and notes what came of it; nothing when the connection broke.
fn attempt(
    round: &Round<'_>,
    client: &mut Client,
    mut movement: Sent,
    sent: &mut Vec<Sent>,
    enough: &Sender<()>,
) -> Option<(String, String)> {
    let told = movement.send(client).ok().map(|answer| {
        assert!(!answer.replayed, "a fresh key was answered as a replay: {movement:?}");
        movement.told(&answer)
    });
    movement.acknowledged.clone_from(&told);
    sent.push(movement);
    if told.is_some() && round.acknowledged.fetch_add(1, Ordering::Relaxed) + 1 == round.kill_after {
        enough.send(()).expect("the killer waits");
    }
    told
}
