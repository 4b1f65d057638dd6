//! What must hold after a round: every acknowledged movement is there exactly once, and nothing else is.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::client::Client;
use super::load::{Kind, Sent};

/// Credits of each wallet before anything is spent, in tenths.
const GRANTED_TENTHS: u64 = 10_000_000;

/// Sum and number of what was acknowledged of each user, over all rounds.
pub(super) struct Book {
    wallets: Vec<String>,
    spent_tenths: Vec<u64>,
    counts: Vec<HashMap<&'static str, u64>>,
    movements: u64,
}

impl Book {
    /// Two actions, and credits for everybody.
    pub(super) fn open(client: &mut Client, users: u64) -> Result<Self, String> {
        let actions = [
            r#"{"key":"scan","name":"Scan","price":{"model":"flat","unit":"credit","amount":"1"}}"#,
            r#"{"key":"tokens","name":"Tokens","price":{"model":"per_quantity","unit":"credit","rate":"0.7"}}"#,
        ];
        let told = |error: std::io::Error| format!("setting up: {error}");
        for (number, action) in actions.iter().enumerate() {
            client.post("/v1/actions", &format!("action-{number}"), action).map_err(told)?.expect(201)?;
        }
        let mut wallets = Vec::new();
        for user in 0..users {
            let whole = GRANTED_TENTHS / 10;
            let body = format!(r#"{{"user":"u{user}","amount":"{whole}","kind":"paid","reason":"test"}}"#);
            let given = client.post("/v1/grants", &format!("grant-{user}"), &body).map_err(told)?;
            wallets.push(given.expect(201)?.text("/wallet_id")?.to_string());
        }
        let counts = wallets.iter().map(|_| HashMap::from([("grant", 1)])).collect();
        Ok(Book { spent_tenths: vec![0; wallets.len()], wallets, counts, movements: 0 })
    }

    pub(super) fn users(&self) -> u64 {
        self.wallets.len() as u64
    }

    /// Entries that the ledger must hold: the grants, and one for each movement.
    pub(super) fn entries(&self) -> u64 {
        self.users() + self.movements
    }

    pub(super) fn take(&mut self, sent: &[Sent]) {
        for movement in sent {
            let (kind, tenths) = match movement.kind {
                Kind::Debit => ("debit", 10),
                Kind::Hold => ("hold", 0),
                Kind::Capture => ("capture", 21),
                Kind::Release => ("release", 0),
            };
            let user = usize::try_from(movement.user).expect("few users");
            *self.counts[user].entry(kind).or_default() += 1;
            self.spent_tenths[user] += tenths;
            self.movements += 1;
        }
    }

    /// Each wallet's balance is what its movements leave.
    pub(super) fn balances_hold(&self, client: &mut Client) -> Result<(), String> {
        for (wallet, spent) in self.wallets.iter().zip(&self.spent_tenths) {
            let left = GRANTED_TENTHS - spent;
            let expected = match left % 10 {
                0 => (left / 10).to_string(),
                tenths => format!("{}.{tenths}", left / 10),
            };
            let answer = client.get(&format!("/v1/wallets/{wallet}"))?.expect(200)?;
            let found = answer.text("/balance/settled")?;
            if found != expected {
                return Err(format!("wallet {wallet} has {found} credits and should have {expected}"));
            }
        }
        Ok(())
    }

    /// Each wallet's entries are its grant and one for each movement, by kind.
    pub(super) fn entries_hold(&self, client: &mut Client) -> Result<(), String> {
        for (wallet, expected) in self.wallets.iter().zip(&self.counts) {
            let found = entries(client, wallet)?;
            let found: HashMap<&str, u64> =
                found.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
            if found != *expected {
                return Err(format!(
                    "wallet {wallet} has the entries {found:?} and should have {expected:?}"
                ));
            }
        }
        Ok(())
    }
}

/// How many entries of each kind a wallet has, read page by page.
fn entries(client: &mut Client, wallet: &str) -> Result<HashMap<String, u64>, String> {
    let first = format!("/v1/wallets/{wallet}/entries?limit=500");
    let (mut found, mut path) = (HashMap::new(), first.clone());
    // A wallet of these rounds has fewer entries than so many pages hold.
    for _ in 0..10_000 {
        let page = client.get(&path)?.expect(200)?;
        for entry in page.body["data"].as_array().into_iter().flatten() {
            *found.entry(entry["kind"].as_str().unwrap_or("?").to_string()).or_default() += 1;
        }
        match page.body["next_cursor"].as_str() {
            None => return Ok(found),
            Some(cursor) => path = format!("{first}&cursor={cursor}"),
        }
    }
    Err(format!("the pages of {wallet} do not end"))
}

/// Everything that was acknowledged is answered as before; asked of the nodes in turn, by many clients.
pub(super) fn all_known(
    addresses: &[SocketAddr],
    key: &str,
    sent: &[Sent],
    clients: u64,
) -> Result<(), String> {
    let share = sent.len().div_ceil(usize::try_from(clients).expect("few")).max(1);
    let ask = |number: usize, part: &[Sent]| -> Result<(), String> {
        let address = addresses[number % addresses.len()];
        let mut client = Client::connect(address, key).map_err(|error| format!("{address}: {error}"))?;
        part.iter().try_for_each(|sent| sent.is_known(&mut client))
    };
    std::thread::scope(|scope| {
        let asking: Vec<_> = sent
            .chunks(share)
            .enumerate()
            .map(|(number, part)| {
                let ask = &ask;
                scope.spawn(move || ask(number, part))
            })
            .collect();
        asking
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a client panicked".to_string())?)
    })
}
