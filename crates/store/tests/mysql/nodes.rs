//! Several writers on one database: who waits for whom, and who is told to begin again.

use crate::world::{Account, Request, lot};
use crate::{begin, connect, funded, migrated, stored};
use purser_core::TenantNo;
use purser_store::{CommitError, KeyDigest, StoreError, Wanted};
use std::sync::Barrier;
use std::thread;

fn is_conflict(error: &CommitError) -> bool {
    matches!(error, CommitError::Failed(StoreError::Conflict { .. }))
}

#[test]
fn of_two_writers_with_the_same_key_one_is_told_to_begin_again() {
    let database = migrated();
    let (mut one, mut other) = (connect(&database), connect(&database));
    let mut mine = funded(&mut one.writer, 1, 1, 50);
    let mut theirs = funded(&mut other.writer, 1, 2, 50);
    let key = KeyDigest::of(TenantNo(1), "k");
    let asking = |account: &Account| Wanted {
        wallets: vec![account.wallet.key],
        keys: vec![key],
        ..Wanted::default()
    };
    let mut first = one.writer.begin_for(&asking(&mine)).expect("begin");
    let mut second = other.writer.begin_for(&asking(&theirs)).expect("begin");
    for (batch, account, of, receipt) in
        [(&mut first, &mut mine, lot(1), b"1"), (&mut second, &mut theirs, lot(2), b"2")]
    {
        assert_eq!(batch.answer(key).expect("read"), None);
        let debit = [account.debit(u64::from(receipt[0]), of, 1)];
        account.record_request(batch, &debit, None, Some(Request { key: "k", receipt }));
        account.save(batch);
    }
    first.commit().expect("commit");
    let refused = second.commit().expect_err("the key is taken");
    assert!(is_conflict(&refused), "{refused}");
    // From the start again, the answer of the other one is found.
    let again = other.writer.begin_for(&asking(&theirs)).expect("begin");
    assert_eq!(again.answer(key).expect("read").expect("known").receipt, b"1");
    assert_eq!(again.wallet(theirs.wallet.key).expect("read").expect("there").wallet.seq, 1);
}

#[test]
fn a_key_that_is_being_answered_is_waited_for() {
    let database = migrated();
    let (mut one, mut other) = (connect(&database), connect(&database));
    let mut mine = funded(&mut one.writer, 1, 1, 50);
    let key = KeyDigest::of(TenantNo(1), "k");
    let wanted = Wanted { wallets: vec![mine.wallet.key], keys: vec![key], ..Wanted::default() };
    let mut first = one.writer.begin_for(&wanted).expect("begin");
    let debit = [mine.debit(2, lot(1), 1)];
    mine.record_request(&mut first, &debit, None, Some(Request { key: "k", receipt: b"1" }));
    mine.save(&mut first);
    thread::scope(|scope| {
        let second = scope.spawn(|| {
            let batch = other.writer.begin_for(&wanted).expect("begin");
            // The answers are read after the wallet came free.
            batch.answer(key).expect("read").map(|answer| answer.receipt)
        });
        first.commit().expect("commit");
        assert_eq!(second.join().expect("no panic"), Some(b"1".to_vec()));
    });
}

#[test]
fn writers_of_one_wallet_take_turns_and_no_debit_is_lost() {
    const WRITERS: usize = 4;
    const BATCHES: u64 = 25;
    let database = migrated();
    let mut node = connect(&database);
    let account = funded(&mut node.writer, 1, 1, 1_000);
    let key = account.wallet.key;
    let together = Barrier::new(WRITERS);
    thread::scope(|scope| {
        for number in 0..WRITERS as u64 {
            let (database, account, together) = (&database, &account, &together);
            let mut node = connect(database);
            scope.spawn(move || {
                together.wait();
                for round in 0..BATCHES {
                    let mut batch = begin(&mut node.writer, &[key]);
                    let loaded = batch.wallet(key).expect("read").expect("there");
                    let mut account = Account { wallet: loaded.wallet, head: loaded.head, ..account.clone() };
                    let debit = [account.debit(number * 1_000 + round + 2, lot(1), 1)];
                    account.record(&mut batch, &debit);
                    account.save(&mut batch);
                    batch.commit().expect("the lock keeps others away");
                }
            });
        }
    });
    let loaded = stored(&node.store, key).expect("there");
    let debits = WRITERS as u64 * BATCHES;
    assert_eq!((loaded.wallet.seq, loaded.wallet.settled.0), (debits + 1, 1_000 - debits as i64));
    node.keeper.fold().expect("folded");
    let entries = node.store.read(|reader| reader.entries_from(key, loaded.head, 0, 1_000)).expect("read");
    let seqs: Vec<u64> = entries.iter().map(|entry| entry.seq).collect();
    assert_eq!(seqs, (1..=debits + 1).collect::<Vec<_>>());
}

#[test]
fn wallets_are_locked_in_one_order_so_nobody_deadlocks() {
    const WRITERS: u64 = 3;
    let database = migrated();
    let mut node = connect(&database);
    // Tenants whose numbers are negative where they are stored, too.
    let tenants = [5, u64::MAX, 1 << 63, 9, u64::MAX - 7];
    let accounts = tenants.map(|tenant| funded(&mut node.writer, tenant, 1, 1_000));
    let keys = accounts.each_ref().map(|account| account.wallet.key);
    thread::scope(|scope| {
        for number in 0..WRITERS {
            let mut keys = keys.to_vec();
            keys.rotate_left(number as usize);
            let (database, accounts) = (&database, &accounts);
            let mut node = connect(database);
            scope.spawn(move || {
                for round in 0..20 {
                    keys.reverse();
                    let mut batch = begin(&mut node.writer, &keys);
                    for account in accounts {
                        let loaded = batch.wallet(account.wallet.key).expect("read").expect("there");
                        let mut account =
                            Account { wallet: loaded.wallet, head: loaded.head, ..account.clone() };
                        let debit = [account.debit(number * 1_000 + round + 2, lot(1), 1)];
                        account.record(&mut batch, &debit);
                        account.save(&mut batch);
                    }
                    batch.commit().expect("nobody is in the way");
                }
            });
        }
    });
    for key in keys {
        assert_eq!(stored(&node.store, key).expect("there").wallet.settled.0, 1_000 - 20 * WRITERS as i64);
    }
}

#[test]
fn after_a_deadlock_nothing_of_the_batch_can_be_committed_and_the_next_one_goes_well() {
    let database = migrated();
    let (mut one, mut other) = (connect(&database), connect(&database));
    let mut left = funded(&mut one.writer, 1, 1, 50);
    let right = funded(&mut one.writer, 1, 2, 50);
    let (left_key, right_key) = (left.wallet.key, right.wallet.key);
    let locked = Barrier::new(2);
    let mut recorded = begin(&mut one.writer, &[left_key]);
    let debit = [left.debit(2, lot(1), 1)];
    left.record(&mut recorded, &debit);
    left.save(&mut recorded);
    let lost = thread::scope(|scope| {
        let second = scope.spawn(|| {
            let batch = begin(&mut other.writer, &[right_key]);
            locked.wait();
            let met = batch.wallet(left_key).map(|_| ());
            (met.is_err(), batch.commit())
        });
        locked.wait();
        let met = recorded.wallet(right_key);
        let committed = recorded.commit();
        let (second_met, second_committed) = second.join().expect("no panic");
        assert!(met.is_err() != second_met, "one of the two is the victim");
        let (victim, winner) =
            if met.is_err() { (committed, second_committed) } else { (second_committed, committed) };
        winner.expect("committed");
        let refused = victim.expect_err("its transaction was undone");
        assert!(matches!(refused, CommitError::Failed(_)), "{refused}");
        met.is_err()
    });
    let seq = stored(&one.store, left_key).expect("there").wallet.seq;
    assert_eq!(seq, if lost { 1 } else { 2 });
    for node in [&mut one, &mut other] {
        let batch = begin(&mut node.writer, &[left_key, right_key]);
        assert_eq!(batch.wallet(left_key).expect("read").expect("there").wallet.seq, seq);
        batch.commit().expect("commit");
    }
}

#[test]
fn a_slot_whose_lease_ended_is_taken_over_and_its_old_writer_takes_another() {
    let mut database = migrated();
    let (mut one, mut other) = (connect(&database), connect(&database));
    let mut account = funded(&mut one.writer, 1, 1, 50);
    let slot = account.head.slot();
    let seq = account.head.seq();
    database.run(&format!("UPDATE slot SET leased_until = 1 WHERE slot = {slot}"));
    let theirs = funded(&mut other.writer, 2, 1, 50);
    assert_eq!(
        (theirs.head.slot(), theirs.head.seq()),
        (slot, seq + 1),
        "it goes on where the slot was left"
    );
    // The old writer finds another epoch on its row, and goes on elsewhere.
    let mut batch = begin(&mut one.writer, &[account.wallet.key]);
    let debit = [account.debit(2, lot(1), 1)];
    account.record(&mut batch, &debit);
    account.save(&mut batch);
    batch.commit().expect("commit");
    assert_ne!(account.head.slot(), slot);
    assert_eq!(database.value(&format!("SELECT epoch FROM slot WHERE slot = {slot}")), "2");
}

#[test]
fn a_slot_in_use_is_passed_over_and_one_that_was_given_back_is_free() {
    let mut database = migrated();
    let (mut one, mut other) = (connect(&database), connect(&database));
    let batch = one.writer.begin().expect("begin");
    let slot = batch.begun_at().slot();
    let second = other.writer.begin().expect("begin");
    assert_ne!(second.begun_at().slot(), slot);
    drop((batch, second));
    one.writer.keep_lease().expect("renewed");
    one.writer.close().expect("closed");
    assert_eq!(database.value(&format!("SELECT leased_until FROM slot WHERE slot = {slot}")), "0");
    let mut third = connect(&database);
    assert_eq!(third.writer.begin().expect("begin").begun_at().slot(), slot);
}

#[test]
fn when_every_slot_is_leased_a_writer_is_told_so() {
    let mut database = migrated();
    let mut node = connect(&database);
    database.run("UPDATE slot SET leased_until = 9223372036854775807");
    let Err(refused) = node.writer.begin() else { panic!("a slot was free") };
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused}");
    database.run("UPDATE slot SET leased_until = 0 WHERE slot = 9");
    assert_eq!(node.writer.begin().expect("begin").begun_at().slot(), 9);
}

#[test]
fn a_change_of_the_configuration_is_seen_by_the_next_batch_of_every_node_and_blocks_none() {
    let database = migrated();
    let (mut one, mut other) = (connect(&database), connect(&database));
    let mut changing = one.writer.begin().expect("begin");
    let before = changing.config_epoch().expect("read");
    assert_eq!(changing.bump_config_epoch().expect("bumped"), before + 1);
    let batch = other.writer.begin().expect("nobody waits for the change");
    assert_eq!(batch.config_epoch().expect("read"), before);
    batch.commit().expect("commit");
    changing.commit().expect("commit");
    assert_eq!(other.writer.begin().expect("begin").config_epoch().expect("read"), before + 1);
    assert_eq!(other.keeper.observe().expect("observed").config_epoch, before + 1);
}
