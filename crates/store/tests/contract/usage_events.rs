//! Events that became debits: found in their batch, after it and when they are asked for together, each recorded once for ever.

use crate::databases::Kind;
use crate::home::Home;
use crate::world::{Account, lot};
use purser_core::{Id, TenantNo, Timestamp};
use purser_store::{CommitError, KeyDigest, RefusalFilter, RefusalKey, StoreError, Wanted, Writer};

const TENANT: TenantNo = TenantNo(1);

fn event(id: &str) -> KeyDigest {
    KeyDigest::of_event(TENANT, "/crawler", id)
}

/// Whoever does not look meets the key, and is told that another was there before.
fn recorded_again(writer: &mut Writer, event: KeyDigest) -> StoreError {
    let mut batch = writer.begin().expect("begin");
    if let Err(error) = batch.record_event(TENANT, event, Id(9)) {
        return error;
    }
    match batch.commit() {
        Err(CommitError::Failed(error)) => error,
        other => panic!("the same event twice: {other:?}"),
    }
}

fn an_event_is_found_from_its_batch_on_and_never_recorded_twice(kind: Kind) {
    let home = Home::new(kind);
    let (_, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    let mut account = Account::open(&mut batch, TENANT.0, 1);
    let entries = [account.grant(1, 100), account.debit(7, lot(1), 5)];
    account.record_and_save(&mut batch, &entries);
    let (one, two) = (event("018f-1"), event("018f-2"));
    assert_eq!(batch.usage_event(TENANT, one).expect("read"), None);
    batch.record_event(TENANT, one, Id(7)).expect("recorded");
    assert_eq!(batch.usage_event(TENANT, one).expect("read"), Some(Id(7)));
    batch.commit().expect("commit");
    let wanted =
        Wanted { events: vec![(TENANT, one), (TENANT, two), (TenantNo(2), one)], ..Wanted::default() };
    for wanted in [&wanted, &Wanted::default()] {
        let batch = writer.begin_for(wanted).expect("begin");
        assert_eq!(batch.usage_event(TENANT, one).expect("read"), Some(Id(7)));
        assert_eq!(batch.usage_event(TENANT, two).expect("read"), None);
        assert_eq!(batch.usage_event(TenantNo(2), one).expect("read"), None);
    }
    // What is given up leaves nothing behind.
    let mut batch = writer.begin().expect("begin");
    batch.record_event(TENANT, two, Id(8)).expect("recorded");
    drop(batch);
    assert_eq!(writer.begin().expect("begin").usage_event(TENANT, two).expect("read"), None);
    let refused = recorded_again(&mut writer, one);
    if kind.is_server() {
        assert!(matches!(refused, StoreError::Conflict { .. }), "{refused}");
    }
    assert_eq!(writer.begin().expect("begin").usage_event(TENANT, one).expect("read"), Some(Id(7)));
}

/// What is old is forgotten a few rows at a time, oldest first.
fn counts_of_refusals_are_forgotten_after_their_time(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    let key = |quarter: i64, action: u64| RefusalKey {
        quarter: Timestamp(quarter),
        tenant: TENANT,
        action,
        code: "insufficient_credits",
    };
    let counts: Vec<_> = (0..5).flat_map(|quarter| [(key(quarter, 1), 2), (key(quarter, 2), 3)]).collect();
    let mut batch = writer.begin().expect("begin");
    batch.add_refusals(&counts).expect("added");
    batch.commit().expect("commit");
    let mut keeper = kind.is_server().then(|| home.node(1).2);
    let mut prune = |budget| match &mut keeper {
        Some(keeper) => keeper.prune_refusals(Timestamp(3), budget).expect("pruned"),
        None => {
            let mut batch = writer.begin().expect("begin");
            let more = batch.prune_refusals(Timestamp(3), budget).expect("pruned");
            batch.commit().expect("commit");
            more
        }
    };
    let left = || {
        let filter = RefusalFilter { from: Timestamp(0), to: Timestamp(9), tenant: None, action: None };
        let rows = store.read(|reader| reader.refusals(&filter, None, 100)).expect("read");
        rows.iter().map(|row| row.key.quarter.0).collect::<Vec<_>>()
    };
    assert!(prune(4));
    assert_eq!(left(), [2, 2, 3, 3, 4, 4]);
    assert!(!prune(4));
    assert!(!prune(4));
    assert_eq!(left(), [3, 3, 4, 4], "the quarter that began at the instant is kept");
}

on_every_database! {
    counts_of_refusals_are_forgotten_after_their_time,
    an_event_is_found_from_its_batch_on_and_never_recorded_twice,
}
