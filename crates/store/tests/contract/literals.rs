//! Numbers at their ends, and texts that would be statements, come back as they were.

use crate::databases::Kind;
use crate::home::Home;
use crate::world::{Account, lot};
use purser_core::entry::{Actor, ActorKind};
use purser_core::{
    Amount, Entry, EntryKind, Id, TenantNo, Terms, Timestamp, UserNo, WalletId, WalletKey, chain,
};
use purser_store::{EntryText, Position, Recording, Wanted};

/// An entry with nothing in it but numbers.
fn extreme(tenant: u64, amount: i64, user: Option<u64>) -> Entry {
    let mut entry = Entry {
        wallet: WalletKey { tenant: TenantNo(tenant), id: WalletId(Id::from_bytes([0xff; 16])) },
        seq: 1,
        kind: EntryKind::Release,
        subject: Id::from_bytes([0; 16]),
        amount: Amount(amount),
        held_delta: Amount(-amount),
        settled_after: Amount(amount),
        allocations: Vec::new(),
        terms: Terms::None,
        user: user.map(UserNo),
        actor: Actor { kind: ActorKind::ApiKey, no: u64::MAX },
        occurred_at: Timestamp(-1),
        recorded_at: Timestamp(i64::MAX),
        text_digest: None,
        hash: [0; 32],
    };
    entry.hash = chain::hash(&[0x27; 32], &entry);
    entry
}

fn entries_with_numbers_at_their_ends_come_back(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    let entries = [
        extreme(u64::MAX, i64::MAX, None),
        extreme(1 << 63, -i64::MAX, Some(u64::MAX)),
        extreme((1 << 63) - 1, 0, Some(0)),
        extreme(0, -1, Some(1 << 63)),
    ];
    let mut batch = writer.begin().expect("begin");
    for entry in &entries {
        let entries = std::slice::from_ref(entry);
        let recording = Recording { entries, event: entry.kind, falls: &[], text: None, answer: None };
        batch.append(&recording, &mut [Position::NONE]).expect("append");
    }
    batch.commit().expect("commit");
    let read = store.read(|reader| reader.entries_in_order(Position::NONE, 10)).expect("read");
    assert_eq!(read.into_iter().map(|row| row.entry).collect::<Vec<_>>(), entries);
}

fn wallets_of_tenants_with_numbers_at_their_ends_come_back(kind: Kind) {
    let home = Home::new(kind);
    let (_, mut writer) = home.open();
    // The largest and the smallest number as it is stored, which is the one without a positive counterpart.
    let tenants = [u64::MAX, 1 << 63, (1 << 63) - 1, 0];
    let mut batch = writer.begin().expect("begin");
    let accounts = tenants.map(|tenant| {
        let mut account = Account::open(&mut batch, tenant, u64::MAX);
        let grant = [account.grant(u64::MAX, i64::MAX / 4)];
        account.record_and_save(&mut batch, &grant);
        account
    });
    batch.commit().expect("commit");
    let wallets = accounts.each_ref().map(|account| account.wallet.key).to_vec();
    let batch = writer.begin_for(&Wanted { wallets, ..Wanted::default() }).expect("begin");
    for account in &accounts {
        let loaded = batch.wallet(account.wallet.key).expect("read").expect("there");
        assert_eq!((loaded.wallet, loaded.head), (account.wallet.clone(), account.head));
    }
}

fn texts_come_back_letter_by_letter(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    let odd = EntryText {
        salt: [0x27; 16],
        reference: Some("o'rder\\\"; DROP TABLE entry; -- \u{1F600} ä".into()),
        metadata: Some("{\"a\":\"\\u0000'\\\\ \u{10FFFF}\"}".into()),
        reason: Some(String::new()),
    };
    let mut batch = writer.begin().expect("begin");
    let mut account = Account::open(&mut batch, 1, 1);
    let entries = [account.grant(1, 50), account.debit_with_text(2, lot(1), 5, Some(&odd))];
    account.record(&mut batch, &entries[..1]);
    let position = account.record_request(&mut batch, &entries[1..], Some(&odd), None);
    account.save(&mut batch);
    batch.commit().expect("commit");
    assert_eq!(store.read(|reader| reader.entry_text(position)).expect("read").as_ref(), Some(&odd));
    let reference = odd.reference.as_deref().expect("given");
    let found = store
        .read(|reader| reader.entries_by_reference(account.wallet.key, reference, None, 9))
        .expect("read");
    assert_eq!(found.into_iter().map(|stored| stored.entry).collect::<Vec<_>>(), entries[1..]);
}

on_every_database! {
    entries_with_numbers_at_their_ends_come_back,
    wallets_of_tenants_with_numbers_at_their_ends_come_back,
    texts_come_back_letter_by_letter,
}
