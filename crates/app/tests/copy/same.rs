//! Whether two databases hold the same, looked at through what the service reads, not through what the copy compares.

use purser_core::{Entry, EntryKind, WalletKey};
use purser_store::{DatabaseUrl, EntryText, LedgerEntry, Position, Reader, Store, StoredWallet};
use std::collections::{BTreeSet, HashMap};

/// Entries of one wallet that are looked at from its newest on, with their texts, by the index of its history.
const ENTRIES_SEEN: usize = 300;
/// Wallets read at a time.
const STEP: usize = 500;

/// An entry with its text.
type Line = (Entry, Option<EntryText>);

/// Everything of a database that is compared.
#[derive(PartialEq, Debug)]
struct Seen {
    config: String,
    api_keys: String,
    audit: String,
    wallets: Vec<(StoredWallet, Vec<Line>)>,
    by_reference: Vec<(WalletKey, Vec<Entry>)>,
}

/// Compares them.
pub(crate) fn same(one: &str, other: &str) {
    links(one);
    links(other);
    let (one_seen, other_seen) = (see(one), see(other));
    assert_eq!(one_seen.config, other_seen.config);
    assert_eq!(one_seen.api_keys, other_seen.api_keys);
    assert_eq!(one_seen.audit, other_seen.audit);
    assert_eq!(one_seen.wallets.len(), other_seen.wallets.len());
    for (ours, theirs) in one_seen.wallets.iter().zip(&other_seen.wallets) {
        assert_eq!(ours.0.loaded.wallet, theirs.0.loaded.wallet, "{one} {other}");
        assert_eq!(ours.0.created_at, theirs.0.created_at);
        assert_eq!(ours.1, theirs.1, "{one} {other}");
    }
    assert_eq!(one_seen.by_reference, other_seen.by_reference);
}

/// Every entry names the position of the one before it in its wallet, which stands before it in its slot.
fn links(url: &str) {
    let ledger = read(url, |reader| {
        let (mut after, mut ledger) = (Position::NONE, Vec::new());
        loop {
            let entries = reader.entries_in_order(after, 5_000).expect("entries");
            let Some(last) = entries.last() else { return ledger };
            after = last.position;
            let line =
                |entry: LedgerEntry| (entry.entry.wallet, entry.entry.seq, entry.position, entry.previous);
            ledger.extend(entries.into_iter().map(line));
        }
    });
    let places: HashMap<(WalletKey, u64), Position> =
        ledger.iter().map(|(wallet, seq, position, _)| ((*wallet, *seq), *position)).collect();
    for (wallet, seq, position, previous) in ledger {
        let expected = if seq == 1 { Position::NONE } else { places[&(wallet, seq - 1)] };
        assert_eq!(previous, expected, "{url}: {position:?}");
        assert!(previous < position || previous.slot() != position.slot(), "{url}: {position:?}");
    }
}

/// The kinds of entries that there are, and how many entries.
pub(crate) fn kinds(url: &str) -> (BTreeSet<u8>, u64) {
    read(url, |reader| {
        let mut kinds = BTreeSet::new();
        let (mut after, mut count) = (Position::NONE, 0);
        loop {
            let entries = reader.entries_in_order(after, 5_000).expect("entries");
            let Some(last) = entries.last() else { return (kinds, count) };
            after = last.position;
            count += entries.len() as u64;
            kinds.extend(entries.iter().map(|entry| entry.entry.kind as u8));
        }
    })
}

/// Every kind that a ledger without conversions has.
pub(crate) fn all_kinds() -> BTreeSet<u8> {
    let conversions = [EntryKind::ConvertOut as u8, EntryKind::ConvertIn as u8];
    EntryKind::ALL.iter().map(|kind| *kind as u8).filter(|kind| !conversions.contains(kind)).collect()
}

/// In how many slots something was written.
pub(crate) fn slots(url: &str) -> usize {
    read(url, |reader| reader.heads().expect("heads").written().count())
}

fn read<T>(url: &str, ask: impl FnOnce(&Reader<'_>) -> T) -> T {
    let store = Store::open_reader(&DatabaseUrl::parse(url).expect("a URL")).expect("it is read");
    store.read(|reader| Ok(ask(reader))).expect("a snapshot")
}

fn see(url: &str) -> Seen {
    read(url, |reader| {
        let config = reader.config().expect("the configuration");
        let mut wallets = Vec::new();
        let mut after = None;
        loop {
            let step = reader.every_wallet(after, STEP).expect("wallets");
            let Some(last) = step.last() else { break };
            after = Some(last.loaded.wallet.key);
            for stored in step {
                let entries = entries(reader, &stored);
                wallets.push((stored, entries));
            }
        }
        let by_reference = |(stored, _): &(StoredWallet, Vec<_>)| {
            let key = stored.loaded.wallet.key;
            let found = reader.entries_by_reference(key, "order-7", None, 50).expect("entries");
            (key, found.into_iter().map(|stored| stored.entry).collect())
        };
        Seen {
            config: format!("{config:?}"),
            api_keys: format!("{:?}", reader.api_keys().expect("keys")),
            audit: format!("{:?}", reader.audit(None, 1_000).expect("the audit trail")),
            by_reference: wallets.iter().map(by_reference).collect(),
            wallets,
        }
    })
}

fn entries(reader: &Reader<'_>, stored: &StoredWallet) -> Vec<Line> {
    let (key, head) = (stored.loaded.wallet.key, stored.loaded.head);
    let newest = reader.entries(key, head, None, ENTRIES_SEEN).expect("entries");
    assert_eq!(newest.first().map(|entry| entry.position), Some(head), "the row names the last entry");
    newest.into_iter().map(|stored| (stored.entry, stored.text)).collect()
}
