//! What a batch on a server will write with its commit: rows by table, as plain values.

use super::super::rows::encode_pins;
use super::super::{EntryText, KeyDigest, Recording, StoredAnswer, Touched};
use super::loaded::{Loaded, counter_order};
use crate::position::Position;
use purser_core::codec::{encode_allocations, encode_hold_terms, encode_terms};
use purser_core::wallet::{Debt, Freeze, Hold, Lot, Owner};
use purser_core::{CounterKey, Entry, Id, TenantNo, Timestamp, Wallet, WalletKey};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// An entry with what is stored beside it.
pub(super) struct EntryRow {
    pub(super) position: Position,
    pub(super) previous: Position,
    pub(super) entry: Entry,
    pub(super) allocations: Vec<u8>,
    pub(super) terms: Vec<u8>,
}

pub(super) struct TextRow {
    pub(super) position: Position,
    pub(super) tenant: TenantNo,
    pub(super) text: EntryText,
}

pub(super) struct OutboxRow {
    pub(super) position: Position,
    pub(super) wallet: WalletKey,
    pub(super) event: i64,
    pub(super) first_seq: u64,
    pub(super) entries: usize,
}

pub(super) struct AnswerRow {
    pub(super) position: Position,
    pub(super) tenant: TenantNo,
    pub(super) key: KeyDigest,
    pub(super) answer: StoredAnswer,
    pub(super) created_at: Timestamp,
}

/// A wallet's row. `before` is the seq that the row has now; none when there is no row yet.
pub(super) struct WalletRow {
    pub(super) wallet: Wallet,
    pub(super) head: Position,
    pub(super) before: Option<u64>,
    /// For a new one, when it was made.
    pub(super) created_at: Timestamp,
}

pub(super) struct LotRow {
    pub(super) wallet: WalletKey,
    pub(super) lot: Lot,
    /// Whether its row says that something remains of it.
    pub(super) was_open: bool,
}

impl LotRow {
    /// 1 while something remains of it.
    pub(super) fn is_open(&self) -> i64 {
        i64::from(self.lot.remaining.is_positive())
    }

    /// Whether its row says the same of it before and after.
    pub(super) fn stays_open(&self) -> bool {
        self.was_open && self.is_open() == 1
    }
}

pub(super) struct HoldRow {
    pub(super) wallet: WalletKey,
    pub(super) hold: Hold,
    pub(super) terms: Vec<u8>,
    pub(super) pins: Vec<u8>,
}

pub(super) struct QuoteRow {
    pub(super) tenant: TenantNo,
    pub(super) quote: Id,
    pub(super) expires_at: Timestamp,
}

/// Rows that a batch will write. Wallets, lots and holds are split by whether their rows exist.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) entries: Vec<EntryRow>,
    pub(super) texts: Vec<TextRow>,
    pub(super) outbox: Vec<OutboxRow>,
    pub(super) answers: Vec<AnswerRow>,
    pub(super) quotes: Vec<QuoteRow>,
    /// The debits that are made of events, in an order that is the same for every node.
    pub(super) events: BTreeMap<(TenantNo, KeyDigest), Id>,
    /// What is added to which counter.
    pub(super) counts: FxHashMap<CounterKey, i64>,
    /// Where in `answers` the answer to each key is.
    answered: FxHashMap<KeyDigest, usize>,
    pub(super) new_wallets: FxHashMap<WalletKey, Timestamp>,
    pub(super) wallets: Vec<WalletRow>,
    pub(super) lots_new: Vec<LotRow>,
    pub(super) lots_changed: Vec<LotRow>,
    pub(super) holds_new: Vec<HoldRow>,
    pub(super) holds_changed: Vec<HoldRow>,
    /// Wallets whose debts or freezes are written anew as a whole.
    pub(super) owing: Vec<WalletKey>,
    pub(super) debts: Vec<(WalletKey, Debt)>,
    pub(super) freezing: Vec<WalletKey>,
    pub(super) freezes: Vec<(WalletKey, usize, Freeze)>,
}

impl Pending {
    /// Appends a decision: see [`super::super::Batch::append`].
    pub(super) fn append(
        &mut self,
        recording: &Recording<'_>,
        heads: &mut [Position],
        mut next: impl FnMut() -> Position,
    ) -> Position {
        let digest = recording.text.map(EntryText::digest);
        let mut first = None;
        let mut wallets = heads.iter_mut();
        for entries in recording.entries.chunk_by(|entry, next| entry.wallet == next.wallet) {
            let head = wallets.next().expect("each wallet of a decision has a head");
            let mut previous = *head;
            for (index, entry) in entries.iter().enumerate() {
                let position = next();
                if index == 0 {
                    first.get_or_insert(position);
                    let (event, first_seq) = (recording.announced(entry.wallet), entry.seq);
                    let (wallet, entries) = (entry.wallet, entries.len());
                    self.outbox.push(OutboxRow { position, wallet, event, first_seq, entries });
                }
                if entry.text_digest.is_some() {
                    assert!(entry.text_digest == digest, "an entry carries the digest of the text beside it");
                    let text = recording.text.expect("its digest was compared").clone();
                    self.texts.push(TextRow { position, tenant: entry.wallet.tenant, text });
                }
                let (allocations, terms) =
                    (encode_allocations(&entry.allocations), encode_terms(&entry.terms));
                self.entries.push(EntryRow { position, previous, entry: entry.clone(), allocations, terms });
                previous = position;
            }
            *head = previous;
        }
        assert!(wallets.next().is_none(), "each head belongs to a wallet of the decision");
        let first = first.unwrap_or_else(&mut next);
        if let Some(answer) = &recording.answer {
            self.answered.insert(answer.key, self.answers.len());
            self.answers.push(AnswerRow {
                position: first,
                tenant: answer.tenant,
                key: answer.key,
                answer: StoredAnswer {
                    request_digest: *answer.request_digest,
                    receipt: answer.receipt.to_vec(),
                },
                created_at: answer.created_at,
            });
        }
        first
    }

    /// Takes a changed wallet, and of its parts those that changed since it was loaded.
    pub(super) fn save(&mut self, wallet: &Wallet, head: Position, touched: &Touched, loaded: &Loaded) {
        let (key, before) = (wallet.key, loaded.before(wallet.key));
        for id in &touched.lots {
            let lot = wallet.lot(*id).expect("a touched lot stays loaded until it is saved").clone();
            let known = loaded.lots.contains(&(key.tenant, *id));
            let rows = if known { &mut self.lots_changed } else { &mut self.lots_new };
            // What is loaded with a wallet is open; others were asked for by their ids.
            let was_open = before.is_some_and(|before| before.lot(*id).is_some());
            rows.push(LotRow { wallet: key, lot, was_open });
        }
        for id in &touched.holds {
            let hold = wallet.hold(*id).expect("a touched hold stays loaded until it is saved").clone();
            let (terms, pins) = (encode_hold_terms(&hold.terms), encode_pins(&hold.pins));
            let known = loaded.holds.contains(&(key.tenant, *id));
            let rows = if known { &mut self.holds_changed } else { &mut self.holds_new };
            rows.push(HoldRow { wallet: key, hold, terms, pins });
        }
        if before.map_or(&[][..], |before| &before.debts) != wallet.debts {
            self.owing.push(key);
            self.debts.extend(wallet.debts.iter().map(|debt| (key, *debt)));
        }
        if before.map_or(&[][..], |before| &before.freezes) != wallet.freezes {
            self.freezing.push(key);
            let freezes = wallet.freezes.iter().enumerate();
            self.freezes.extend(freezes.map(|(ordinal, freeze)| (key, ordinal, *freeze)));
        }
        let created_at = self.new_wallets.get(&key).copied().unwrap_or_default();
        self.wallets.push(WalletRow {
            wallet: wallet.clone(),
            head,
            before: before.map(|before| before.seq),
            created_at,
        });
    }

    /// What this batch answers to a key.
    pub(super) fn answer(&self, key: KeyDigest) -> Option<StoredAnswer> {
        self.answered.get(&key).map(|index| self.answers[*index].answer.clone())
    }

    /// What is added to which counter, in the order in which every node locks them.
    pub(super) fn counts_in_lock_order(&self) -> Vec<(CounterKey, i64)> {
        let mut counts: Vec<(CounterKey, i64)> = self
            .counts
            .iter()
            .map(|(key, change)| (*key, *change))
            .filter(|(_, change)| *change != 0)
            .collect();
        counts.sort_unstable_by_key(|(key, _)| counter_order(key));
        counts
    }

    /// Whether this batch makes something with the quote.
    pub(super) fn uses_quote(&self, tenant: TenantNo, quote: Id) -> bool {
        self.quotes.iter().any(|row| row.tenant == tenant && row.quote == quote)
    }

    /// Entries of a subject that this batch appended, in their order.
    pub(super) fn entries_of(&self, tenant: TenantNo, subject: Id) -> impl Iterator<Item = &Entry> {
        let of_subject = move |entry: &&Entry| entry.subject == subject && entry.wallet.tenant == tenant;
        self.entries.iter().map(|row| &row.entry).filter(of_subject)
    }
}

/// Kind and number of an owner, as stored.
pub(super) fn owner_columns(owner: Owner) -> (i64, i64) {
    match owner {
        Owner::User(user) => (1, user.0 as i64),
        Owner::Pool(pool) => (2, pool as i64),
    }
}
