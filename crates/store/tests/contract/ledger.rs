//! Wallets and entries come back as they were written; what must not change cannot be changed.

use crate::databases::Kind;
use crate::home::Home;
use crate::world::{Account, Request, lot, text};
use purser_core::{Id, TenantNo, Timestamp, Wallet, chain};
use purser_store::{Position, Reader, StoreError, WalletFilter, Writer};

/// An account with everything a wallet can have: open and spent lots, active and closed holds, a freeze.
fn rich(batch: &mut purser_store::Batch<'_>) -> Account {
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
    account.record_and_save(batch, &entries);
    account
}

fn wallet(writer: &mut Writer, account: &Account) -> Wallet {
    let batch = writer.begin().expect("begin");
    batch.wallet(account.wallet.key).expect("read").expect("the wallet is there").wallet
}

fn a_wallet_comes_back_with_its_lots_holds_and_freezes(kind: Kind) {
    let home = Home::new(kind);
    let (_, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    let account = rich(&mut batch);
    batch.commit().expect("commit");

    let batch = writer.begin().expect("begin");
    let loaded = batch.wallet(account.wallet.key).expect("read").expect("the wallet is there");
    assert_eq!(loaded.wallet, account.pruned());
    assert_eq!(loaded.head, account.head);
    // What is spent or closed is left out of the wallet, and found by its id.
    let tenant = account.tenant();
    let spent = batch.lots(tenant, &[lot(1), lot(9)]).expect("read");
    assert_eq!(spent, vec![(account.wallet.key.id, account.wallet.lot(lot(1)).expect("known").clone())]);
    let (wallet, closed) = batch.hold(tenant, Id::new(5, 3)).expect("read").expect("the hold is there");
    assert_eq!(
        (wallet, &closed),
        (account.wallet.key.id, account.wallet.hold(Id::new(5, 3)).expect("known"))
    );
    assert_eq!(batch.wallets_of_origin(tenant, Id::new(2, 99)).expect("read"), vec![account.wallet.key.id]);
    assert_eq!(batch.lots_of_origin(tenant, Id::new(1, 99)).expect("read"), spent);
    assert_eq!(batch.wallet_of(tenant, Id::new(6, 4)).expect("read"), Some(account.wallet.key.id));
}

fn a_wallet_in_debt_comes_back_with_what_it_owes(kind: Kind) {
    let home = Home::new(kind);
    let (_, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    let mut account = Account::open(&mut batch, 1, 2);
    let entries = [account.grant(1, 10), account.debit_into_debt(2, lot(1), 10, 15)];
    account.clone().record_and_save(&mut batch, &entries);
    drop(batch);
    let mut batch = writer.begin().expect("begin");
    assert_eq!(batch.wallet(account.wallet.key).expect("read"), None, "nothing was committed");
    batch.insert_wallet(&Account::new(1, 2).wallet, Timestamp(1)).expect("the wallet is new");
    account.record_and_save(&mut batch, &entries);
    batch.commit().expect("commit");
    let loaded = wallet(&mut writer, &account);
    assert_eq!(loaded, account.pruned());
    assert_eq!(loaded.debts.len(), 1);
    // It is paid back in part, and then in full.
    for (id, amount) in [(3, 5), (4, 10)] {
        let mut batch = writer.begin().expect("begin");
        let entries = [account.grant(id, amount), account.repay(id, amount)];
        account.record_and_save(&mut batch, &entries);
        batch.commit().expect("commit");
        assert_eq!(wallet(&mut writer, &account), account.pruned());
    }
    assert_eq!(wallet(&mut writer, &account).debts, vec![]);
}

fn a_lot_that_was_spent_and_refilled_is_open_again(kind: Kind) {
    let home = Home::new(kind);
    let (_, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    let mut account = Account::open(&mut batch, 1, 2);
    let entries = [account.grant(1, 10), account.debit(2, lot(1), 10)];
    account.record_and_save(&mut batch, &entries);
    batch.commit().expect("commit");
    assert_eq!(wallet(&mut writer, &account).lots, vec![]);
    let open = "SELECT COUNT(*) FROM lot WHERE is_open = 1";
    assert_eq!(home.hand().number(open), 0, "what is spent is not loaded with every batch");
    let mut batch = writer.begin().expect("begin");
    let back = purser_core::Allocation {
        amount: purser_core::Amount(4),
        money: 8,
        ..purser_core::Allocation::lot(lot(1))
    };
    let terms = purser_core::Terms::Refund { returned: vec![], lots: vec![] };
    let refund = account.entry(purser_core::EntryKind::Refund, Id::new(2, 2), vec![back], terms);
    account.record_and_save(&mut batch, &[refund]);
    batch.commit().expect("commit");
    let loaded = wallet(&mut writer, &account);
    assert_eq!(loaded, account.pruned());
    assert_eq!(loaded.lots.len(), 1);
}

fn entries_come_back_equal_and_their_chain_holds(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    let genesis = Account::new(u64::MAX - 8, 5).wallet.head;
    let account = rich(&mut batch);
    batch.commit().expect("commit");
    let read = store.read(|reader| reader.entries_in_order(Position::NONE, 100)).expect("read");
    assert_eq!(read.len() as u64, account.wallet.seq);
    let (mut hash, mut position) = (genesis, Position::NONE);
    for row in &read {
        assert_eq!(chain::hash(&hash, &row.entry), row.entry.hash);
        assert_eq!(row.previous, position);
        (hash, position) = (row.entry.hash, row.position);
    }
    assert_eq!((hash, position), (account.wallet.head, account.head));
    let rest = store.read(|reader| reader.entries_in_order(read[2].position, 2)).expect("read");
    assert_eq!(rest, read[3..5]);
}

fn a_decision_over_two_wallets_moves_both_heads_and_announces_each_once(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    let (mut left, mut right) = (Account::open(&mut batch, 1, 1), Account::open(&mut batch, 1, 2));
    let entries = [left.grant(1, 5), left.debit(2, lot(1), 1), right.grant(3, 5)];
    let event = purser_core::EntryKind::TransferOut;
    let recording =
        purser_store::Recording { entries: &entries, event, falls: &[], text: None, answer: None };
    let mut heads = [Position::NONE, Position::NONE];
    let first = batch.append(&recording, &mut heads).expect("append");
    for (account, head) in [&mut left, &mut right].into_iter().zip(heads) {
        account.head = head;
        account.save(&mut batch);
    }
    batch.commit().expect("commit");
    assert_eq!((heads[0].seq(), heads[1].seq()), (first.seq() + 1, first.seq() + 2));
    let counts = store.read(|reader| reader.counts()).expect("read");
    assert_eq!((counts.entries, counts.outbox, counts.wallets), (3, 2, 2));
    assert_eq!(writer.position(), heads[1]);
}

fn history_finds_all_entries_of_a_subject_of_this_tenant_only(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    let (mut mine, mut theirs) = (Account::open(&mut batch, 1, 1), Account::open(&mut batch, 2, 1));
    let own = [mine.grant(1, 50), mine.hold(2, lot(1), 5), mine.release(2, lot(1), 5)];
    mine.record_and_save(&mut batch, &own);
    let other = [theirs.grant(1, 50), theirs.hold(2, lot(1), 5)];
    theirs.record_and_save(&mut batch, &other);
    let found = batch.history(TenantNo(1), Id::new(2, 3)).expect("read");
    assert_eq!(found, own[1..]);
    batch.commit().expect("commit");
    let stored = store.read(|reader| reader.history(TenantNo(2), Id::new(2, 3))).expect("read");
    assert_eq!(stored.iter().map(|stored| &stored.entry).collect::<Vec<_>>(), vec![&other[1]]);
    assert_eq!(store.read(|reader| reader.wallet_of(TenantNo(3), Id::new(2, 3))).expect("read"), None);
}

fn the_text_of_an_entry_is_kept_beside_it_and_may_be_erased_but_not_changed(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    let mut account = Account::open(&mut batch, 1, 1);
    let grant = [account.grant(1, 50)];
    account.record(&mut batch, &grant);
    let text = text("order-7");
    let debit = [account.debit_with_text(2, lot(1), 5, Some(&text))];
    let position = account.record_request(&mut batch, &debit, Some(&text), None);
    account.save(&mut batch);
    batch.commit().expect("commit");
    assert_eq!(store.read(|reader| reader.entry_text(position)).expect("read"), Some(text));
    writer.close().expect("close");
    let mut hand = home.hand();
    assert!(hand.run("UPDATE entry_text SET reference = 'x'").is_err());
    hand.must("DELETE FROM entry_text");
    assert_eq!(store.read(|reader| reader.entry_text(position)).expect("read"), None);
}

fn entries_and_the_audit_trail_cannot_be_updated_or_deleted_by_hand(kind: Kind) {
    let home = Home::new(kind);
    let (_, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    rich(&mut batch);
    batch.insert_audit(&crate::tables::audit_line("unit.create")).expect("audit");
    batch.commit().expect("commit");
    writer.close().expect("close");
    let mut hand = home.hand();
    for table in ["entry", "audit"] {
        let mut changes = vec![format!("DELETE FROM {table}"), format!("UPDATE {table} SET actor_no = 0")];
        if kind == Kind::Postgres {
            // On MySQL it passes triggers, and the rights of the role alone keep it away.
            changes.push(format!("TRUNCATE {table}"));
        }
        for change in changes {
            let refused = hand.run(&change).expect_err(&change);
            assert!(refused.contains("append-only"), "{change}: {refused}");
        }
    }
    assert_eq!(hand.number("SELECT COUNT(*) FROM entry"), 7);
    assert_eq!(hand.number("SELECT COUNT(*) FROM audit"), 1);
}

fn a_wallet_whose_rows_do_not_add_up_is_refused_by_name(kind: Kind) {
    let home = Home::new(kind);
    let (_, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    let account = rich(&mut batch);
    batch.commit().expect("commit");
    home.hand().must("UPDATE lot SET remaining = remaining + 1 WHERE is_open = 1");
    let batch = writer.begin().expect("begin");
    assert_eq!(batch.changed_outside(), !kind.is_server(), "another connection wrote to the file");
    let refused = batch.wallet(account.wallet.key).expect_err("the equation is broken");
    assert!(matches!(refused, StoreError::Inconsistent { table: "wallet", .. }), "{refused}");
}

fn wallets_are_listed_by_key_tenant_user_and_unit_page_by_page(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    let mut keys: Vec<_> = [(1, 1), (1, 2), (1, 3), (u64::MAX, 1), (7, 1)]
        .map(|(tenant, user)| {
            let mut account = Account::open(&mut batch, tenant, user);
            account.save(&mut batch);
            account.wallet.key
        })
        .into();
    batch.commit().expect("commit");
    // Stored numbers are signed: the order of pages is theirs.
    keys.sort_by_key(|key| (key.tenant.0 as i64, key.id));
    let all = |reader: &Reader<'_>, filter: &WalletFilter| -> Result<Vec<_>, StoreError> {
        let mut found: Vec<purser_core::WalletKey> = Vec::new();
        loop {
            let page = reader.wallets(filter, found.last().copied(), 2)?;
            if page.is_empty() {
                return Ok(found);
            }
            found.extend(page.iter().map(|stored| stored.loaded.wallet.key));
        }
    };
    let of_one: Vec<_> = keys.iter().filter(|key| key.tenant == TenantNo(1)).copied().collect();
    store
        .read(|reader| {
            assert_eq!(all(reader, &WalletFilter::default())?, keys);
            let tenant = WalletFilter { tenant: Some(TenantNo(1)), ..WalletFilter::default() };
            assert_eq!(all(reader, &tenant)?, of_one);
            let credit = purser_core::Key::parse("credit");
            assert_eq!(all(reader, &WalletFilter { unit: credit.clone(), ..tenant.clone() })?, of_one);
            assert_eq!(all(reader, &WalletFilter { unit: credit, ..WalletFilter::default() })?, keys);
            let sms = purser_core::Key::parse("sms");
            assert_eq!(all(reader, &WalletFilter { unit: sms, ..WalletFilter::default() })?, vec![]);
            let user = WalletFilter { user: Some(purser_core::UserNo(2)), ..tenant };
            assert_eq!(all(reader, &user)?, vec![Account::new(1, 2).wallet.key]);
            Ok(())
        })
        .expect("read");
}

fn lots_and_holds_of_a_wallet_are_listed_newest_first_whether_open_or_not(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    let account = rich(&mut batch);
    batch.commit().expect("commit");
    let key = account.wallet.key;
    store
        .read(|reader| {
            let lots = reader.lots(key, None, 10)?;
            assert_eq!(lots.iter().map(|lot| lot.terms.id).collect::<Vec<_>>(), vec![lot(2), lot(1)]);
            assert_eq!(reader.lots(key, None, 1)?, lots[..1]);
            assert_eq!(reader.lots(key, Some(lot(2)), 10)?, lots[1..]);
            let holds = reader.holds(key, None, 10)?;
            assert_eq!(
                holds.iter().map(|hold| hold.id).collect::<Vec<_>>(),
                vec![Id::new(5, 3), Id::new(4, 3)]
            );
            assert_eq!(reader.holds(key, Some(Id::new(5, 3)), 10)?, holds[1..]);
            assert_eq!(reader.hold(key.tenant, Id::new(4, 3))?, Some((key.id, holds[1].clone())));
            assert_eq!(reader.lot(key.tenant, lot(1))?, Some((key.id, lots[1].clone())));
            Ok(())
        })
        .expect("read");
}

fn the_last_recorded_instant_is_that_of_the_newest_entry(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    assert_eq!(store.read(|reader| reader.last_recorded_at()).expect("read"), None);
    let mut batch = writer.begin().expect("begin");
    let account = rich(&mut batch);
    batch.commit().expect("commit");
    assert_eq!(
        store.read(|reader| reader.last_recorded_at()).expect("read"),
        Some(account.wallet.recorded_at)
    );
}

fn an_answer_is_recorded_with_its_entries_or_not_at_all(kind: Kind) {
    let home = Home::new(kind);
    let (_, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    let mut account = Account::open(&mut batch, 1, 1);
    let grant = [account.grant(1, 50)];
    account.record_request(&mut batch, &grant, None, Some(Request { key: "k", receipt: b"one" }));
    let key = purser_store::KeyDigest::of(TenantNo(1), "k");
    assert_eq!(batch.answer(key).expect("read").expect("of this very batch").receipt, b"one");
    drop(batch);
    let batch = writer.begin().expect("begin");
    assert_eq!(batch.answer(key).expect("read"), None);
    assert_eq!(batch.closed_until(), Timestamp::ZERO);
}

on_every_database! {
    a_wallet_comes_back_with_its_lots_holds_and_freezes,
    a_wallet_in_debt_comes_back_with_what_it_owes,
    a_lot_that_was_spent_and_refilled_is_open_again,
    entries_come_back_equal_and_their_chain_holds,
    a_decision_over_two_wallets_moves_both_heads_and_announces_each_once,
    history_finds_all_entries_of_a_subject_of_this_tenant_only,
    the_text_of_an_entry_is_kept_beside_it_and_may_be_erased_but_not_changed,
    entries_and_the_audit_trail_cannot_be_updated_or_deleted_by_hand,
    a_wallet_whose_rows_do_not_add_up_is_refused_by_name,
    wallets_are_listed_by_key_tenant_user_and_unit_page_by_page,
    lots_and_holds_of_a_wallet_are_listed_newest_first_whether_open_or_not,
    the_last_recorded_instant_is_that_of_the_newest_entry,
    an_answer_is_recorded_with_its_entries_or_not_at_all,
}
