//! What a decision leaves in the ledger, as the engine hands it over.

use super::KeyDigest;
use purser_core::entry::{Digest, EntryKind};
use purser_core::wallet::Fall;
use purser_core::{Entry, TenantNo, Timestamp, WalletKey};

/// What one decision leaves in the ledger.
#[derive(Clone, Copy)]
pub struct Recording<'a> {
    /// The entries, by wallet, by seq within a wallet.
    pub entries: &'a [Entry],
    /// What the command was: the kind of event its outbox rows announce.
    pub event: EntryKind,
    /// The wallets of which somebody is told that less can be spent.
    pub falls: &'a [(WalletKey, Fall)],
    /// The text behind the entries that have a text digest.
    pub text: Option<&'a EntryText>,
    /// What is answered to the command's key.
    pub answer: Option<NewAnswer<'a>>,
}

impl Recording<'_> {
    /// What the outbox row of a wallet says: the kind of event, and above it the marks of a fall and of alerts, which the entries
    /// have in them. Versions before the marks wrote none, and a kind has no more than its eight bits.
    pub(crate) fn announced(&self, wallet: WalletKey) -> i64 {
        let fall =
            self.falls.iter().find(|(key, _)| *key == wallet).map(|(_, fall)| *fall).unwrap_or_default();
        let mark = |told: bool, mark: i64| if told { mark } else { 0 };
        let mut of_wallet = self.entries.iter().filter(|entry| entry.wallet == wallet);
        let alerts =
            of_wallet.any(|entry| entry.terms.charge().is_some_and(|charge| !charge.alerts.is_empty()));
        i64::from(self.event as u8)
            | mark(fall.low, LOW)
            | mark(fall.depleted, DEPLETED)
            | mark(alerts, ALERTS)
    }
}

/// Marks an outbox row of a wallet that became low.
const LOW: i64 = 1 << 8;
/// Marks an outbox row of a wallet that was depleted.
const DEPLETED: i64 = 1 << 9;

/// Marks an outbox row whose entries have alerts.
const ALERTS: i64 = 1 << 10;

/// What an outbox row says.
pub(crate) struct Told {
    /// The kind of event; none where a later version wrote one that this one does not know.
    pub(crate) kind: Option<EntryKind>,
    /// The thresholds that the wallet fell below.
    pub(crate) fall: Fall,
    /// Whether its entries have alerts.
    pub(crate) alerts: bool,
}

/// Reads it.
pub(crate) fn told(announced: i64) -> Told {
    let kind = EntryKind::from_number((announced & 0xff) as u8);
    let fall = Fall { low: announced & LOW != 0, depleted: announced & DEPLETED != 0 };
    Told { kind, fall, alerts: announced & ALERTS != 0 }
}

/// Personal text beside entries, under the salt of their text digest. Erasable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntryText {
    /// Makes the digest of a guessable text unguessable.
    pub salt: [u8; 16],
    /// The product's own reference.
    pub reference: Option<String>,
    /// JSON object as compact text.
    pub metadata: Option<String>,
    /// Why a person did it.
    pub reason: Option<String>,
}

impl EntryText {
    /// The salted digest that the entries carry.
    pub fn digest(&self) -> Digest {
        let mut text = Vec::new();
        for part in [&self.reference, &self.metadata, &self.reason] {
            // Presence and length before each part, so that no two texts have the same bytes.
            let length = part.as_ref().map_or(u64::MAX, |part| part.len() as u64);
            text.extend_from_slice(&length.to_le_bytes());
            text.extend_from_slice(part.as_deref().unwrap_or("").as_bytes());
        }
        purser_core::chain::text_digest(&self.salt, &text)
    }
}

/// An answer to be stored under a key.
#[derive(Clone, Copy)]
pub struct NewAnswer<'a> {
    /// The tenant.
    pub tenant: TenantNo,
    /// The key.
    pub key: KeyDigest,
    /// Digest of the request.
    pub request_digest: &'a [u8; 32],
    /// The receipt, encoded.
    pub receipt: &'a [u8],
    /// When it was given.
    pub created_at: Timestamp,
}
