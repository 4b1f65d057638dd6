//! Commits that fail, connections that break, and what is known afterwards.

use crate::world::{Account, lot};
use crate::{begin, connect, funded, migrated, stored};
use purser_store::{Batch, CommitError, CommitFault, StoreError};

/// Records a debit of one credit.
fn debit(batch: &mut Batch<'_>, account: &mut Account) {
    let debit = [account.debit(account.wallet.seq + 1, lot(1), 1)];
    account.record(batch, &debit);
    account.save(batch);
}

#[test]
fn a_commit_that_fails_keeps_nothing_and_one_that_is_lost_is_found_out() {
    let database = migrated();
    let mut node = connect(&database);
    let mut account = funded(&mut node.writer, 1, 1, 50);
    let key = account.wallet.key;
    for fault in [CommitFault::Before, CommitFault::Full, CommitFault::Lost, CommitFault::After] {
        node.writer.fail_next_commit(fault);
        let mut attempt = account.clone();
        let mut batch = begin(&mut node.writer, &[key]);
        let before = batch.begun_at();
        debit(&mut batch, &mut attempt);
        let refused = batch.commit().expect_err("the fault");
        let known = matches!(fault, CommitFault::Before | CommitFault::Full);
        assert_eq!(matches!(refused, CommitError::Failed(_)), known, "{fault:?}: {refused}");
        assert_eq!(matches!(refused, CommitError::Failed(StoreError::Full)), fault == CommitFault::Full);
        // What the engine looks at: whether the position moved.
        let kept = fault == CommitFault::After;
        assert_eq!(node.writer.begin().expect("begin").begun_at() != before, kept, "{fault:?}");
        if kept {
            account = attempt;
        }
        assert_eq!(stored(&node.store, key).expect("there").wallet, account.wallet, "{fault:?}");
    }
    let mut batch = begin(&mut node.writer, &[key]);
    debit(&mut batch, &mut account);
    batch.commit().expect("commit");
    assert_eq!(stored(&node.store, key).expect("there").wallet, account.wallet);
}

/// Ends every other connection to the database.
fn kill_connections(database: &mut crate::server::Database) {
    let others =
        "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()";
    for row in database.run(others) {
        // It may have ended by itself.
        drop(database.try_run(&format!("KILL {}", row[0])));
    }
}

#[test]
fn after_its_connection_broke_a_batch_is_in_doubt_and_the_next_one_has_a_new_connection() {
    let mut database = migrated();
    let mut node = connect(&database);
    let mut account = funded(&mut node.writer, 1, 1, 50);
    let key = account.wallet.key;
    let mut attempt = account.clone();
    let mut batch = begin(&mut node.writer, &[key]);
    let before = batch.begun_at();
    debit(&mut batch, &mut attempt);
    kill_connections(&mut database);
    let refused = batch.commit().expect_err("the connection is gone");
    assert!(matches!(refused, CommitError::Unknown(StoreError::Unavailable { .. })), "{refused}");
    assert_eq!(node.writer.begin().expect("a new connection").begun_at(), before, "nothing was kept");
    let mut batch = begin(&mut node.writer, &[key]);
    debit(&mut batch, &mut account);
    batch.commit().expect("commit");
    node.keeper.observe().expect("observed");
    // Readers find their connections broken, too, and replace them.
    kill_connections(&mut database);
    assert_eq!(stored(&node.store, key).expect("there").wallet, account.wallet);
    node.keeper.observe().expect_err("its connection is gone");
    node.keeper.observe().expect("a new one");
}

#[test]
fn a_connection_that_broke_between_two_batches_is_replaced_unnoticed() {
    let mut database = migrated();
    let mut node = connect(&database);
    let mut account = funded(&mut node.writer, 1, 1, 50);
    kill_connections(&mut database);
    let mut batch = begin(&mut node.writer, &[account.wallet.key]);
    debit(&mut batch, &mut account);
    batch.commit().expect("commit");
}

#[test]
fn a_row_that_the_database_refuses_undoes_the_whole_batch() {
    let mut database = migrated();
    let mut node = connect(&database);
    let mut account = funded(&mut node.writer, 1, 1, 50);
    let key = account.wallet.key;
    database.run("CREATE TRIGGER no_outbox BEFORE INSERT ON outbox FOR EACH ROW SIGNAL SQLSTATE '45000'");
    let mut attempt = account.clone();
    let mut batch = begin(&mut node.writer, &[key]);
    debit(&mut batch, &mut attempt);
    let refused = batch.commit().expect_err("the trigger");
    assert!(matches!(refused, CommitError::Failed(StoreError::Other(_))), "{refused}");
    assert_eq!(stored(&node.store, key).expect("there").wallet, account.wallet);
    assert_eq!(database.value("SELECT COUNT(*) FROM entry"), "1");
    database.run("DROP TRIGGER no_outbox");
    let mut batch = begin(&mut node.writer, &[key]);
    debit(&mut batch, &mut account);
    batch.commit().expect("commit");
}

#[test]
fn a_wallet_whose_rows_do_not_add_up_is_refused_by_name() {
    let mut database = migrated();
    let mut node = connect(&database);
    let account = funded(&mut node.writer, 1, 1, 50);
    database.run("UPDATE lot SET remaining = remaining + 1");
    let batch = node.writer.begin().expect("begin");
    let refused = batch.wallet(account.wallet.key).expect_err("the equation is broken");
    assert!(matches!(refused, StoreError::Inconsistent { table: "wallet", .. }), "{refused}");
}
