//! Wallets, entries, texts and answers come back as they were written.

use crate::world::{Account, Request, lot, text};
use crate::{begin, connect, funded, migrated, stored};
use purser_core::entry::{Actor, ActorKind};
use purser_core::{
    Allocation, Amount, Entry, EntryKind, Id, TenantNo, Terms, Timestamp, UserNo, WalletId, WalletKey, chain,
};
use purser_store::{Batch, EntryText, KeyDigest, Position, Recording, Wanted};

/// An account with everything a wallet can have: open and spent lots, active and closed holds, a freeze.
fn rich(batch: &mut Batch<'_>) -> Account {
    let mut account = Account::open(batch, u64::MAX - 8, 5);
    let entries = vec![
        account.grant(1, 100),
        account.grant(2, 70),
        account.debit(3, lot(1), 100),
        account.hold(4, lot(2), 20),
        account.hold(5, lot(2), 10),
        account.release(5, lot(2), 10),
        account.freeze(6, lot(2), 60, 50),
    ];
    account.record(batch, &entries);
    account.save(batch);
    account
}

#[test]
fn a_wallet_comes_back_with_its_lots_holds_and_freezes() {
    let database = migrated();
    let mut node = connect(&database);
    let mut batch = node.writer.begin().expect("begin");
    let account = rich(&mut batch);
    batch.commit().expect("commit");

    let key = account.wallet.key;
    let batch = begin(&mut node.writer, &[key]);
    let loaded = batch.wallet(key).expect("read").expect("the wallet is there");
    assert_eq!(loaded.wallet, account.pruned());
    assert_eq!(loaded.head, account.head);
    // What is spent or closed is left out of the wallet, and found by its id.
    let tenant = account.tenant();
    let spent = batch.lots(tenant, &[lot(1), lot(9)]).expect("read");
    assert_eq!(spent, vec![(key.id, account.wallet.lot(lot(1)).expect("known").clone())]);
    let (wallet, closed) = batch.hold(tenant, Id::new(5, 3)).expect("read").expect("the hold is there");
    assert_eq!((wallet, &closed), (key.id, account.wallet.hold(Id::new(5, 3)).expect("known")));
    assert_eq!(batch.wallets_of_origin(tenant, Id::new(2, 99)).expect("read"), vec![key.id]);
    assert_eq!(batch.lots_of_origin(tenant, Id::new(1, 99)).expect("read"), spent);
    assert_eq!(batch.wallet_of(tenant, Id::new(6, 4)).expect("read"), Some(key.id));
    drop(batch);
    assert_eq!(stored(&node.store, key), Some(loaded));
}

#[test]
fn a_wallet_that_was_not_announced_is_loaded_when_it_is_asked_for() {
    let database = migrated();
    let mut node = connect(&database);
    let account = funded(&mut node.writer, 1, 1, 50);
    let absent = Account::new(1, 3).wallet.key;
    let batch = node.writer.begin().expect("begin");
    assert_eq!(batch.wallet(account.wallet.key).expect("read").expect("there").wallet, account.wallet);
    assert_eq!(batch.wallet(absent).expect("read"), None);
    drop(batch);
    let batch = begin(&mut node.writer, &[absent]);
    assert_eq!(batch.wallet(absent).expect("read"), None);
}

#[test]
fn a_wallet_is_found_by_what_happened_in_it() {
    let database = migrated();
    let mut node = connect(&database);
    let account = funded(&mut node.writer, 1, 1, 50);
    let key = account.wallet.key;
    let subjects =
        vec![(key.tenant, Id::new(1, 1)), (TenantNo(2), Id::new(1, 1)), (key.tenant, Id::new(7, 7))];
    let batch = node.writer.begin_for(&Wanted { subjects, ..Wanted::default() }).expect("begin");
    assert_eq!(batch.wallet_of(key.tenant, Id::new(1, 1)).expect("read"), Some(key.id));
    assert_eq!(batch.wallet_of(TenantNo(2), Id::new(1, 1)).expect("read"), None, "another tenant's");
    assert_eq!(batch.wallet_of(key.tenant, Id::new(7, 7)).expect("read"), None);
    assert_eq!(batch.wallet(key).expect("read").expect("there").wallet, account.wallet);
}

#[test]
fn a_debt_comes_back_and_is_repaid_without_a_trace() {
    let database = migrated();
    let mut node = connect(&database);
    let mut account = funded(&mut node.writer, 1, 1, 10);
    let key = account.wallet.key;
    let mut batch = begin(&mut node.writer, &[key]);
    let debit = [account.debit_into_debt(2, lot(1), 10, 15)];
    account.record(&mut batch, &debit);
    account.save(&mut batch);
    batch.commit().expect("commit");
    let loaded = stored(&node.store, key).expect("there").wallet;
    assert_eq!(loaded, account.pruned());
    assert_eq!(loaded.debts.len(), 1);

    let mut batch = begin(&mut node.writer, &[key]);
    let repay = |account: &mut Account| {
        let take = Allocation { amount: Amount(-15), money: -30, ..Allocation::lot(lot(3)) };
        let owe = Allocation { money: 30, ..Allocation::debt(2, Amount(-15)) };
        account.entry(EntryKind::Repay, Id::new(9, 9), vec![take, owe], Terms::None)
    };
    let entries = [account.grant(3, 40), repay(&mut account)];
    account.record(&mut batch, &entries);
    account.save(&mut batch);
    batch.commit().expect("commit");
    let loaded = stored(&node.store, key).expect("there").wallet;
    assert_eq!((loaded.debts.len(), loaded.debt), (0, Amount(0)));
    assert_eq!(loaded, account.pruned());
}

#[test]
fn a_refund_opens_a_spent_lot_again() {
    let database = migrated();
    let mut node = connect(&database);
    let mut account = funded(&mut node.writer, 1, 1, 10);
    let key = account.wallet.key;
    let mut batch = begin(&mut node.writer, &[key]);
    let debit = [account.debit(2, lot(1), 10)];
    account.record(&mut batch, &debit);
    account.save(&mut batch);
    batch.commit().expect("commit");
    assert_eq!(stored(&node.store, key).expect("there").wallet.lots, vec![]);

    let mut batch = begin(&mut node.writer, &[key]);
    let spent = batch.lots(key.tenant, &[lot(1)]).expect("read");
    assert_eq!(spent.len(), 1);
    account.wallet.load_lot(spent[0].1.clone());
    let back = Allocation { amount: Amount(4), money: 8, ..Allocation::lot(lot(1)) };
    let terms = Terms::Refund { returned: vec![], lots: vec![] };
    let refund = [account.entry(EntryKind::Refund, Id::new(2, 2), vec![back], terms)];
    account.record(&mut batch, &refund);
    account.save(&mut batch);
    batch.commit().expect("commit");
    let loaded = stored(&node.store, key).expect("there").wallet;
    assert_eq!(loaded, account.pruned());
    assert_eq!(loaded.lots.len(), 1);
}

#[test]
fn entries_come_back_equal_and_their_chain_holds() {
    let database = migrated();
    let mut node = connect(&database);
    let mut batch = node.writer.begin().expect("begin");
    let genesis = Account::new(u64::MAX - 8, 5).wallet.head;
    let account = rich(&mut batch);
    batch.commit().expect("commit");
    let read = node.store.read(|reader| reader.entries_in_order(Position::NONE, 100)).expect("read");
    assert_eq!(read.len() as u64, account.wallet.seq);
    let (mut hash, mut position) = (genesis, Position::NONE);
    for row in &read {
        assert_eq!(chain::hash(&hash, &row.entry), row.entry.hash);
        assert_eq!(row.previous, position);
        (hash, position) = (row.entry.hash, row.position);
    }
    assert_eq!((hash, position), (account.wallet.head, account.head));
    let last = node.store.read(|reader| reader.last_recorded_at()).expect("read");
    assert_eq!(last, Some(account.wallet.recorded_at));
}

/// An entry with nothing in it but numbers at their ends.
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

#[test]
fn numbers_at_their_ends_come_back_as_they_were() {
    let database = migrated();
    let mut node = connect(&database);
    let entries = [
        extreme(u64::MAX, i64::MAX, None),
        extreme(1 << 63, -i64::MAX, Some(u64::MAX)),
        extreme((1 << 63) - 1, 0, Some(0)),
        extreme(0, -1, Some(1 << 63)),
    ];
    let mut batch = node.writer.begin().expect("begin");
    for entry in &entries {
        let entries = std::slice::from_ref(entry);
        let recording = Recording { entries, event: entry.kind, text: None, answer: None };
        batch.append(&recording, &mut [Position::NONE]).expect("append");
    }
    batch.commit().expect("commit");
    let read = node.store.read(|reader| reader.entries_in_order(Position::NONE, 10)).expect("read");
    assert_eq!(read.into_iter().map(|row| row.entry).collect::<Vec<_>>(), entries);

    // The largest and the smallest number of a tenant, which is the one without a positive counterpart.
    let accounts = [u64::MAX, 1 << 63, (1 << 63) - 1, 0]
        .map(|tenant| funded(&mut node.writer, tenant, u64::MAX, i64::MAX / 4));
    let keys = accounts.each_ref().map(|account| account.wallet.key);
    let batch = begin(&mut node.writer, &keys);
    for account in &accounts {
        assert_eq!(batch.wallet(account.wallet.key).expect("read").expect("there").wallet, account.wallet);
    }
}

#[test]
fn a_decision_over_two_wallets_moves_both_heads_and_announces_each_once() {
    let database = migrated();
    let mut node = connect(&database);
    let mut batch = node.writer.begin().expect("begin");
    let (mut left, mut right) = (Account::open(&mut batch, 1, 1), Account::open(&mut batch, 1, 2));
    let entries = [left.grant(1, 5), left.debit(2, lot(1), 1), right.grant(3, 5)];
    let recording = Recording { entries: &entries, event: EntryKind::TransferOut, text: None, answer: None };
    let mut heads = [Position::NONE, Position::NONE];
    let first = batch.append(&recording, &mut heads).expect("append");
    [left.head, right.head] = heads;
    left.save(&mut batch);
    right.save(&mut batch);
    batch.commit().expect("commit");
    assert_eq!((heads[0].seq(), heads[1].seq()), (first.seq() + 1, first.seq() + 2));
    let counts = node.store.read(|reader| reader.counts()).expect("read");
    assert_eq!((counts.entries, counts.outbox, counts.wallets), (3, 2, 2));
    assert_eq!(node.writer.position(), heads[1]);
    for account in [&left, &right] {
        assert_eq!(stored(&node.store, account.wallet.key).expect("there").head, account.head);
    }
}

#[test]
fn history_finds_all_entries_of_a_subject_of_this_tenant_only() {
    let database = migrated();
    let mut node = connect(&database);
    let (mut mine, mut theirs) = (funded(&mut node.writer, 1, 1, 50), funded(&mut node.writer, 2, 1, 50));
    let mut batch = begin(&mut node.writer, &[mine.wallet.key, theirs.wallet.key]);
    let own = [mine.hold(2, lot(1), 5), mine.release(2, lot(1), 5)];
    let other = [theirs.hold(2, lot(1), 5)];
    mine.record(&mut batch, &own);
    theirs.record(&mut batch, &other);
    assert_eq!(batch.history(TenantNo(1), Id::new(2, 3)).expect("read"), own, "of this very batch");
    mine.save(&mut batch);
    theirs.save(&mut batch);
    batch.commit().expect("commit");
    let read = |tenant| node.store.read(|reader| reader.history(tenant, Id::new(2, 3))).expect("read");
    assert_eq!(read(TenantNo(1)).into_iter().map(|stored| stored.entry).collect::<Vec<_>>(), own);
    assert_eq!(read(TenantNo(2)).into_iter().map(|stored| stored.entry).collect::<Vec<_>>(), other);
}

#[test]
fn texts_come_back_letter_by_letter_and_may_be_erased_but_not_changed() {
    let mut database = migrated();
    let mut node = connect(&database);
    let mut account = funded(&mut node.writer, 1, 1, 50);
    let odd = EntryText {
        salt: [0x27; 16],
        reference: Some("o'rder\\\"; DROP TABLE entry; -- \u{1F600} ä".into()),
        metadata: Some("{\"a\":\"\\u0000'\\\\ \u{10FFFF}\"}".into()),
        reason: Some(String::new()),
    };
    let mut batch = begin(&mut node.writer, &[account.wallet.key]);
    let debit = [account.debit_with_text(2, lot(1), 5, Some(&odd))];
    let position = account.record_request(&mut batch, &debit, Some(&odd), None);
    account.save(&mut batch);
    batch.commit().expect("commit");
    let read = |node: &crate::Node| node.store.read(|reader| reader.entry_text(position)).expect("read");
    assert_eq!(read(&node), Some(odd));
    let refused = database.try_run("UPDATE entry_text SET reason = 'x'").expect_err("refused").to_string();
    assert!(refused.contains("erased, never changed"), "{refused}");
    database.run("DELETE FROM entry_text");
    assert_eq!(read(&node), None);
}

#[test]
fn entries_and_the_audit_trail_cannot_be_updated_or_deleted_by_hand() {
    let mut database = migrated();
    let mut node = connect(&database);
    funded(&mut node.writer, 1, 1, 50);
    let mut batch = node.writer.begin().expect("begin");
    batch.insert_audit(&crate::schema::audit_line()).expect("audit");
    batch.commit().expect("commit");
    for table in ["entry", "audit"] {
        for change in [format!("DELETE FROM {table}"), format!("UPDATE {table} SET actor_no = 0")] {
            let refused = database.try_run(&change).expect_err("refused").to_string();
            assert!(refused.contains("append-only"), "{change}: {refused}");
        }
    }
}

#[test]
fn entries_are_listed_by_wallet_and_reference_whether_folded_or_not() {
    let database = migrated();
    let mut node = connect(&database);
    let mut account = funded(&mut node.writer, 1, 1, 50);
    let key = account.wallet.key;
    let mut seqs: Vec<u64> = vec![1];
    for round in 0..4 {
        let mut batch = begin(&mut node.writer, &[key]);
        for id in 0..3 {
            let text = text(["Red", "red", "blue"][id]);
            let debit = [account.debit_with_text(round * 10 + id as u64 + 2, lot(1), 1, Some(&text))];
            account.record_request(&mut batch, &debit, Some(&text), None);
            seqs.insert(0, debit[0].seq);
        }
        account.save(&mut batch);
        batch.commit().expect("commit");
        let list = |reference: Option<&str>| -> Vec<u64> {
            let entries = node.store.read(|reader| match reference {
                Some(reference) => reader.entries_by_reference(key, reference, None, 100),
                None => reader.entries(key, account.head, None, 100),
            });
            entries.expect("read").iter().map(|stored| stored.entry.seq).collect()
        };
        assert_eq!(list(None), seqs);
        // No collation makes two references one.
        let red: Vec<u64> = (0..=round).rev().map(|round| round * 3 + 3).collect();
        assert_eq!(list(Some("red")), red);
        assert_eq!(list(Some("RED")), Vec::<u64>::new());
        if round % 2 == 0 {
            node.keeper.fold().expect("folded");
            assert_eq!((list(None), list(Some("red"))), (seqs.clone(), red));
        }
    }
    let page = node.store.read(|reader| reader.entries_from(key, account.head, 4, 5)).expect("read");
    assert_eq!(page.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [5, 6, 7, 8, 9]);
}

#[test]
fn an_answer_is_recorded_with_its_entries_or_not_at_all() {
    let database = migrated();
    let mut node = connect(&database);
    let mut account = funded(&mut node.writer, 1, 1, 50);
    let (key, wallet) = (KeyDigest::of(TenantNo(1), "k"), account.wallet.key);
    let mut lost = account.clone();
    let mut batch = begin(&mut node.writer, &[wallet]);
    let debit = [lost.debit(2, lot(1), 5)];
    lost.record_request(&mut batch, &debit, None, Some(Request { key: "k", receipt: b"one" }));
    assert_eq!(batch.answer(key).expect("read").expect("of this very batch").receipt, b"one");
    drop(batch);
    let batch = node.writer.begin().expect("begin");
    assert_eq!(batch.answer(key).expect("read"), None);
    assert_eq!(batch.closed_until(), Timestamp::ZERO);
    drop(batch);

    let mut batch = begin(&mut node.writer, &[wallet]);
    let debit = [account.debit(2, lot(1), 5)];
    account.record_request(&mut batch, &debit, None, Some(Request { key: "k", receipt: b"" }));
    account.save(&mut batch);
    batch.commit().expect("commit");
    for wanted in [Wanted::default(), Wanted { keys: vec![key], ..Wanted::default() }] {
        let batch = node.writer.begin_for(&wanted).expect("begin");
        let answer = batch.answer(key).expect("read").expect("known");
        assert_eq!((answer.request_digest, answer.receipt), ([7; 32], vec![]));
        assert_eq!(batch.answer(KeyDigest::of(TenantNo(2), "k")).expect("read"), None);
    }
}

#[test]
fn a_batch_too_long_for_one_text_is_kept_whole_or_not_at_all() {
    const ENTRIES: u64 = 2_500;
    let mut database = migrated();
    let mut node = connect(&database);
    let account = funded(&mut node.writer, 1, 1, 1_000_000);
    let long = EntryText { metadata: Some("m".repeat(4_000)), ..text("long") };
    // Together 20 MB in hexadecimal: three texts, of which the last one commits.
    for (key, round) in [("k", 0), ("other", 1), ("k", 2)] {
        let mut account = account.clone();
        let mut batch = begin(&mut node.writer, &[account.wallet.key]);
        if round > 0 {
            let known = stored_account(&batch, &account);
            account = known;
        }
        for id in 0..ENTRIES {
            let debit = [account.debit_with_text(round * ENTRIES + id + 2, lot(1), 1, Some(&long))];
            let last = id + 1 == ENTRIES;
            let request = last.then_some(Request { key, receipt: b"r" });
            account.record_request(&mut batch, &debit, Some(&long), request);
        }
        account.save(&mut batch);
        let committed = batch.commit();
        // The third batch meets its key, which is in the last of its texts.
        assert_eq!(committed.is_ok(), round < 2, "{committed:?}");
    }
    assert_eq!(database.value("SELECT COUNT(*) FROM entry"), (2 * ENTRIES + 1).to_string());
    assert_eq!(database.value("SELECT COUNT(*) FROM entry_text"), (2 * ENTRIES).to_string());
    let batch = begin(&mut node.writer, &[account.wallet.key]);
    let loaded = batch.wallet(account.wallet.key).expect("read").expect("there").wallet;
    assert_eq!(loaded.settled, Amount(1_000_000 - 2 * ENTRIES as i64));
}

/// The account as the database has it.
fn stored_account(batch: &Batch<'_>, account: &Account) -> Account {
    let loaded = batch.wallet(account.wallet.key).expect("read").expect("there");
    Account { wallet: loaded.wallet, head: loaded.head, ..account.clone() }
}
