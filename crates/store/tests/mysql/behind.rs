//! What is done behind the funnel, and what readers see meanwhile.

use crate::world::{Account, Request, lot, text};
use crate::{begin, connect, funded, migrated, stored};
use purser_core::{TenantNo, Timestamp, WalletKey};
use purser_store::{KeyDigest, WalletFilter};
use std::thread;

/// Debits with a reference and a key each, one batch for each.
fn debit(node: &mut crate::Node, account: &mut Account, ids: std::ops::Range<u64>) {
    for id in ids {
        let mut batch = begin(&mut node.writer, &[account.wallet.key]);
        let (text, key) = (text("ref"), id.to_string());
        let of = account.wallet.lots[0].terms.id;
        let debit = [account.debit_with_text(id, of, 1, Some(&text))];
        let request = Request { key: &key, receipt: key.as_bytes() };
        account.record_request(&mut batch, &debit, Some(&text), Some(request));
        account.save(&mut batch);
        batch.commit().expect("commit");
    }
}

#[test]
fn two_keepers_fold_each_entry_once_whoever_wrote_it() {
    let mut database = migrated();
    let (mut one, mut other) = (connect(&database), connect(&database));
    let mut mine = funded(&mut one.writer, 1, 1, 1_000);
    let mut theirs = funded(&mut other.writer, 1, 2, 1_000);
    let mut folded = 0;
    for round in 0..6 {
        let ids = round * 5 + 2..round * 5 + 7;
        debit(&mut one, &mut mine, ids.clone());
        debit(&mut other, &mut theirs, ids.start + 100..ids.end + 100);
        thread::scope(|scope| {
            let second = scope.spawn(|| other.keeper.fold().expect("folded"));
            folded += one.keeper.fold().expect("folded");
            folded += second.join().expect("no panic");
        });
    }
    folded += one.keeper.fold().expect("folded");
    assert_eq!(folded, 62);
    assert_eq!(other.keeper.fold().expect("folded"), 0);
    assert_eq!(database.value("SELECT COUNT(*) FROM wallet_history"), "62");
    assert_eq!(database.value("SELECT COUNT(*) FROM entry_reference"), "60");
    let counts = one.store.read(|reader| reader.counts()).expect("read");
    assert_eq!((counts.entries, counts.tail), (62, 0));
    for account in [&mine, &theirs] {
        let key = account.wallet.key;
        let entries = one.store.read(|reader| reader.entries_from(key, account.head, 0, 100)).expect("read");
        assert_eq!(entries.len() as u64, account.wallet.seq);
    }
}

#[test]
fn a_folder_that_another_node_has_is_left_to_it() {
    let mut database = migrated();
    let mut node = connect(&database);
    funded(&mut node.writer, 1, 1, 1_000);
    database.run("START TRANSACTION");
    database.run("SELECT position FROM fold WHERE name = 'folder' AND slot = 0 FOR UPDATE");
    assert_eq!(node.keeper.fold().expect("left alone"), 0);
    database.run("ROLLBACK");
    assert_eq!(node.keeper.fold().expect("folded"), 1);
}

#[test]
fn answers_older_than_they_are_kept_are_forgotten_in_steps_and_newer_ones_stay() {
    let database = migrated();
    let (mut one, mut other) = (connect(&database), connect(&database));
    let mut mine = funded(&mut one.writer, 1, 1, 1_000);
    let mut theirs = funded(&mut other.writer, 1, 2, 1_000);
    debit(&mut one, &mut mine, 2..12);
    debit(&mut other, &mut theirs, 12..22);
    let cut = mine.wallet.recorded_at.plus(1);
    debit(&mut one, &mut mine, 22..24);
    let mut steps = 1;
    while one.keeper.prune_answers(cut, 4).expect("pruned") {
        steps += 1;
    }
    assert_eq!(steps, 3, "ten answers of each writer, four at a time");
    let known = |writer: &mut purser_store::Writer, id: u64| {
        let batch = writer.begin().expect("begin");
        batch.answer(KeyDigest::of(TenantNo(1), &id.to_string())).expect("read").is_some()
    };
    assert!((2..22).all(|id| !known(&mut one.writer, id)));
    assert!((22..24).all(|id| known(&mut one.writer, id)));
    // A forgotten key can be answered anew.
    let mut batch = begin(&mut one.writer, &[mine.wallet.key]);
    let entry = [mine.debit(30, lot(1), 1)];
    mine.record_request(&mut batch, &entry, None, Some(Request { key: "3", receipt: b"anew" }));
    mine.save(&mut batch);
    batch.commit().expect("commit");
    assert!(known(&mut other.writer, 3));
}

#[test]
fn the_database_s_clock_is_in_microseconds_of_universal_time() {
    let mut database = migrated();
    let mut node = connect(&database);
    let asked = "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)";
    let before: i64 = database.value(asked).parse().expect("a number");
    let observed = node.keeper.observe().expect("observed");
    let after: i64 = database.value(asked).parse().expect("a number");
    assert!((before..=after).contains(&observed.now.0), "{before} {observed:?} {after}");
    assert!(observed.now > Timestamp(1_700_000_000_000_000));
}

#[test]
fn a_read_is_one_snapshot_whatever_is_committed_meanwhile() {
    let database = migrated();
    let mut node = connect(&database);
    let mut account = funded(&mut node.writer, 1, 1, 50);
    let (key, store) = (account.wallet.key, node.store.clone());
    store
        .read(|reader| {
            let before = reader.wallet(key)?.expect("there");
            debit(&mut node, &mut account, 2..5);
            assert_eq!(reader.wallet(key)?.expect("there"), before);
            assert_eq!(reader.counts()?.entries, 1);
            Ok(())
        })
        .expect("read");
    assert_eq!(stored(&store, key).expect("there").wallet, account.wallet);
}

#[test]
fn wallets_are_listed_by_key_tenant_and_unit_page_by_page() {
    let database = migrated();
    let mut node = connect(&database);
    let mut keys: Vec<WalletKey> = [(1, 1), (1, 2), (1, 3), (u64::MAX, 1), (7, 1)]
        .map(|(tenant, user)| funded(&mut node.writer, tenant, user, 9).wallet.key)
        .into();
    // Stored numbers are signed: the order of pages is theirs.
    keys.sort_by_key(|key| (key.tenant.0 as i64, key.id));
    let of_one: Vec<_> = keys.iter().filter(|key| key.tenant == TenantNo(1)).copied().collect();
    let credit = purser_core::Key::parse("credit");
    let filters = [
        (WalletFilter::default(), &keys),
        (WalletFilter { unit: credit.clone(), ..WalletFilter::default() }, &keys),
        (WalletFilter { tenant: Some(TenantNo(1)), ..WalletFilter::default() }, &of_one),
        (WalletFilter { tenant: Some(TenantNo(1)), unit: credit, ..WalletFilter::default() }, &of_one),
    ];
    for (filter, expected) in &filters {
        let mut found: Vec<WalletKey> = Vec::new();
        loop {
            let page = node.store.read(|reader| reader.wallets(filter, found.last().copied(), 2));
            let page = page.expect("read");
            if page.is_empty() {
                break;
            }
            found.extend(page.iter().map(|stored| stored.loaded.wallet.key));
        }
        assert_eq!(&found, *expected, "{filter:?}");
    }
    let all = |after| node.store.read(|reader| reader.every_wallet(after, 3)).expect("read");
    let pages = [all(None), all(Some(keys[2]))];
    let found: Vec<WalletKey> = pages.iter().flatten().map(|stored| stored.loaded.wallet.key).collect();
    assert_eq!(found, keys);
    assert!(pages.iter().flatten().all(|stored| stored.loaded.wallet.lots.len() == 1));
}
