//! Crashes and failed commits: rows that were saved late come out equal to rows that were saved at once.

use crate::databases::Kind;
use crate::home::Home;
use crate::world::{Account, Request, lot};
use proptest::prelude::*;
use purser_core::{Id, TenantNo};
use purser_store::{CommitError, CommitFault, KeyDigest, Position, Recovered, StoreError, Writer};

/// What one account does in a batch.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Grant,
    Debit,
    SpendAll,
    Hold,
    Release,
}

fn any_deed() -> impl Strategy<Value = (usize, Deed, bool)> {
    let deed =
        prop::sample::select(vec![Deed::Grant, Deed::Debit, Deed::SpendAll, Deed::Hold, Deed::Release]);
    (0_usize..3, deed, prop::bool::weighted(0.2))
}

fn perform(account: &mut Account, deed: Deed, number: u64) -> Option<purser_core::Entry> {
    let open = account.wallet.lots.iter().find(|lot| lot.spendable().is_positive());
    let open = open.map(|lot| (lot.terms.id, lot.spendable().0));
    match (deed, open) {
        (Deed::Grant, _) => Some(account.grant(number, 9)),
        (Deed::Debit, Some((lot, _))) => Some(account.debit(number, lot, 1)),
        (Deed::SpendAll, Some((lot, rest))) => Some(account.debit(number, lot, rest)),
        (Deed::Hold, Some((lot, _))) => Some(account.hold(number, lot, 1)),
        (Deed::Release, _) => {
            let active = account.pruned().holds.first().cloned()?;
            let pin = active.pins[0];
            let unpin =
                purser_core::Allocation { held: -pin.amount, ..purser_core::Allocation::lot(pin.lot) };
            Some(account.entry(
                purser_core::EntryKind::Release,
                active.id,
                vec![unpin],
                purser_core::Terms::None,
            ))
        }
        (Deed::Debit | Deed::SpendAll | Deed::Hold, None) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn rows_saved_late_or_never_are_recovered_from_the_ledger(deeds in prop::collection::vec(any_deed(), 1..60)) {
        let home = Home::new(Kind::Sqlite);
        let (_, mut writer) = home.open();
        let mut batch = writer.begin().expect("begin");
        let mut accounts = [1, 2, 3].map(|user| Account::open(&mut batch, 1, user));
        batch.commit().expect("commit");
        for (number, (index, deed, save)) in deeds.into_iter().enumerate() {
            let mut batch = writer.begin().expect("begin");
            if let Some(entry) = perform(&mut accounts[index], deed, number as u64 + 1) {
                accounts[index].record(&mut batch, &[entry]);
            }
            // Only some wallets are saved, and the flush position stays behind them: replay skips what a row has seen.
            if save {
                accounts[index].save(&mut batch);
            }
            batch.commit().expect("commit");
        }
        drop(writer);
        let (store, mut writer) = home.open();
        let recovered = writer.recover().expect("recover");
        let total: u64 = accounts.iter().map(|account| account.wallet.seq).sum();
        prop_assert_eq!(recovered.entries, total);
        for account in &accounts {
            let stored = store.read(|reader| reader.wallet(account.wallet.key)).expect("read").expect("there");
            prop_assert_eq!(&stored.loaded.wallet, &account.pruned());
            prop_assert_eq!(stored.loaded.head, account.head);
            let (mut lots, mut holds) = (account.wallet.lots.clone(), account.wallet.holds.clone());
            lots.sort_by_key(|lot| std::cmp::Reverse(lot.terms.id));
            holds.reverse();
            prop_assert_eq!(store.read(|reader| reader.lots(account.wallet.key, None, 1_000)).expect("read"), lots);
            prop_assert_eq!(store.read(|reader| reader.holds(account.wallet.key, None, 1_000)).expect("read"), holds);
        }
        prop_assert_eq!(writer.recover().expect("again"), Recovered::default());
        if total > 0 {
            prop_assert_eq!(store.read(|reader| reader.flushed()).expect("read"), writer.position());
        }
    }
}

#[test]
fn recovery_stops_at_an_entry_that_does_not_follow_from_the_one_before() {
    let home = Home::new(Kind::Sqlite);
    let (_, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    let mut account = Account::open(&mut batch, 1, 1);
    let mut entries = [account.grant(1, 10), account.debit(2, lot(1), 3)];
    entries[1].hash[0] ^= 1;
    account.record(&mut batch, &entries);
    batch.commit().expect("commit");
    let refused = writer.recover().expect_err("the chain is broken");
    assert!(matches!(&refused, StoreError::Inconsistent { table: "entry", .. }), "{refused}");
    assert_eq!(writer.flushed(), Position::NONE);
}

fn account_and_debit(
    writer: &mut Writer,
    key: &str,
    fault: Option<CommitFault>,
) -> (Account, Result<(), CommitError>) {
    let mut batch = writer.begin().expect("begin");
    let mut account = Account::open(&mut batch, 1, 1);
    let grant = [account.grant(1, 10)];
    account.record_request(&mut batch, &grant, None, Some(Request { key, receipt: b"r" }));
    account.save(&mut batch);
    batch.commit().expect("commit");
    if let Some(fault) = fault {
        writer.fail_next_commit(fault);
    }
    let mut batch = writer.begin().expect("begin");
    let mut attempt = account.clone();
    let debit = [attempt.debit(2, lot(1), 3)];
    attempt.record_request(&mut batch, &debit, None, Some(Request { key: "second", receipt: b"r" }));
    attempt.save(&mut batch);
    let outcome = batch.commit();
    (account, outcome)
}

fn is_answered(writer: &mut Writer, key: &str) -> bool {
    writer.begin().expect("begin").answer(KeyDigest::of(TenantNo(1), key)).expect("read").is_some()
}

fn a_commit_that_fails_keeps_nothing_and_the_next_batch_begins_from_the_database(kind: Kind) {
    for fault in [CommitFault::Before, CommitFault::Full] {
        let home = Home::new(kind);
        let (store, mut writer) = home.open();
        let (mut account, outcome) = account_and_debit(&mut writer, "first", Some(fault));
        let failed = outcome.expect_err("the commit was made to fail");
        assert!(matches!(&failed, CommitError::Failed(_)), "{failed}");
        assert_eq!(matches!(&failed, CommitError::Failed(StoreError::Full)), fault == CommitFault::Full);
        assert!(is_answered(&mut writer, "first"));
        assert!(!is_answered(&mut writer, "second"));
        assert_eq!(store.read(|reader| reader.counts()).expect("read").entries, 1);
        if !kind.is_server() {
            assert_eq!(writer.tail_len(), 1);
        }
        // The position of the batch that failed is taken again.
        let mut batch = writer.begin().expect("begin");
        let debit = [account.debit(3, lot(1), 4)];
        let position = account.record_and_save(&mut batch, &debit);
        batch.commit().expect("commit");
        assert_eq!(position.seq(), 2);
    }
}

fn a_commit_of_unknown_outcome_is_found_by_its_key(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    let (account, outcome) = account_and_debit(&mut writer, "first", Some(CommitFault::After));
    assert!(matches!(outcome, Err(CommitError::Unknown(_))));
    assert!(is_answered(&mut writer, "second"));
    assert_eq!(store.read(|reader| reader.counts()).expect("read").entries, 2);
    let history = writer.begin().expect("begin").history(TenantNo(1), Id::new(2, 2)).expect("read");
    assert_eq!(history.len(), 1);
    assert_eq!(writer.begin().expect("begin").begun_at().seq(), 2);
    writer.recover().expect("recover");
    let loaded = writer.begin().expect("begin").wallet(account.wallet.key).expect("read").expect("there");
    assert_eq!(loaded.wallet.settled.0, 7);
}

fn a_fault_is_for_one_commit_only(kind: Kind) {
    let home = Home::new(kind);
    let (_, mut writer) = home.open();
    let (_, outcome) = account_and_debit(&mut writer, "first", Some(CommitFault::Before));
    assert!(outcome.is_err());
    writer.begin().expect("begin").commit().expect("commit");
}

on_every_database! {
    a_commit_that_fails_keeps_nothing_and_the_next_batch_begins_from_the_database,
    a_commit_of_unknown_outcome_is_found_by_its_key,
    a_fault_is_for_one_commit_only,
}
