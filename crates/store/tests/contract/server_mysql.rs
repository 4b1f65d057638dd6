//! What only MariaDB can get wrong: it commits each change of a schema by itself, it goes on after a statement that failed, and
//! it takes texts up to a length.

use crate::databases::Kind;
use crate::home::{Home, refusal, target};
use crate::world::{Account, Request, lot, text};
use purser_core::{Amount, WalletKey};
use purser_store::{
    Batch, CommitError, EntryText, OpenOptions, Store, StoreError, Wanted, Writer, migrate_server,
};
use std::sync::Barrier;
use std::thread;

fn begin<'w>(writer: &'w mut Writer, wallets: &[WalletKey]) -> Batch<'w> {
    writer.begin_for(&Wanted { wallets: wallets.to_vec(), ..Wanted::default() }).expect("begin")
}

/// An account with one grant of this many credits, committed. The grant, and so its lot, has the number of the user.
fn funded(writer: &mut Writer, user: u64, credits: i64) -> Account {
    let mut batch = writer.begin().expect("begin");
    let mut account = Account::open(&mut batch, 1, user);
    let grant = [account.grant(user, credits)];
    account.record_and_save(&mut batch, &grant);
    batch.commit().expect("commit");
    account
}

fn seq(store: &Store, key: WalletKey) -> u64 {
    store.read(|reader| reader.wallet(key)).expect("read").expect("there").loaded.wallet.seq
}

#[test]
fn a_migration_that_was_interrupted_is_taken_up_again() {
    let home = Home::new(Kind::Mysql);
    let mut hand = home.hand();
    // As if the server had stopped in the middle of the first: its tables come one by one.
    for change in [
        "DELETE FROM refinery_schema_history",
        "DROP TABLE entry_reference",
        "DROP TABLE wallet_history",
        "DELETE FROM slot WHERE slot >= 0",
        "DROP TRIGGER audit_is_not_deleted",
    ] {
        hand.must(change);
    }
    let applied = migrate_server(&target(&home.url_text())).expect("migrated");
    assert_eq!(applied[..2], [1, 2]);
    let nothing = migrate_server(&target(&home.url_text())).expect("nothing is missing");
    assert_eq!(nothing, Vec::<u32>::new());
    assert_eq!(hand.number("SELECT COUNT(*) FROM slot"), 64);
    let triggers = "SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_schema = DATABASE()";
    assert_eq!(hand.number(triggers), 5);
    funded(&mut home.open().1, 1, 5);
}

#[test]
fn a_database_or_user_that_is_wrong_is_told_from_a_server_that_is_away() {
    let home = Home::empty(Kind::Mysql);
    let url = home.url_text();
    let refused = |url: &str| refusal(Store::connect(&target(url), &OpenOptions::default(), 1));
    let absent = refused(&format!("{url}_absent"));
    assert!(matches!(absent, StoreError::Denied { .. }), "{absent}");
    let (_, address) = url.split_once('@').expect("an address");
    let stranger = refused(&format!("mysql://stranger:secret@{address}"));
    assert!(matches!(stranger, StoreError::Denied { .. }), "{stranger}");
    let away = refused("mysql://purser@127.0.0.1:1/purser");
    assert!(matches!(away, StoreError::Unavailable { .. }), "{away}");
    // Nobody listens at the first of these hosts; the second one is taken.
    let second = refused(&url.replacen('@', "@127.0.0.1:1,", 1));
    assert!(matches!(second, StoreError::Older { .. }), "{second}");
}

#[test]
fn a_batch_too_long_for_one_text_is_kept_whole_or_not_at_all() {
    const ENTRIES: u64 = 2_500;
    let home = Home::new(Kind::Mysql);
    let (_, mut writer) = home.open();
    let mut account = funded(&mut writer, 1, 1_000_000);
    let key = account.wallet.key;
    let long = EntryText { metadata: Some("m".repeat(4_000)), ..text("long") };
    // Together 20 MB in hexadecimal: three texts, of which the last one commits.
    let mut spend = |account: &mut Account, round: u64, request: &str| {
        let mut batch = begin(&mut writer, &[key]);
        for id in 0..ENTRIES {
            let debit = [account.debit_with_text(round * ENTRIES + id + 2, lot(1), 1, Some(&long))];
            let request = (id + 1 == ENTRIES).then_some(Request { key: request, receipt: b"spent" });
            account.record_request(&mut batch, &debit, Some(&long), request);
        }
        account.save(&mut batch);
        batch.commit()
    };
    spend(&mut account, 0, "k").expect("committed");
    // It meets its key in the last of its texts.
    let refused = spend(&mut account.clone(), 1, "k").expect_err("the key is taken");
    assert!(matches!(refused, CommitError::Failed(StoreError::Conflict { .. })), "{refused}");
    spend(&mut account, 2, "other").expect("committed");
    let mut hand = home.hand();
    assert_eq!(hand.number("SELECT COUNT(*) FROM entry"), 2 * ENTRIES as i64 + 1);
    assert_eq!(hand.number("SELECT COUNT(*) FROM entry_text"), 2 * ENTRIES as i64);
    let loaded = begin(&mut writer, &[key]).wallet(key).expect("read").expect("there").wallet;
    assert_eq!(loaded.settled, Amount(1_000_000 - 2 * ENTRIES as i64));
}

#[test]
fn a_row_that_the_database_refuses_undoes_the_whole_batch() {
    let home = Home::new(Kind::Mysql);
    let (store, mut writer) = home.open();
    let mut account = funded(&mut writer, 1, 50);
    let key = account.wallet.key;
    let mut hand = home.hand();
    hand.must("CREATE TRIGGER no_outbox BEFORE INSERT ON outbox FOR EACH ROW SIGNAL SQLSTATE '45000'");
    let mut spend = |account: &mut Account| {
        let mut batch = begin(&mut writer, &[key]);
        let debit = [account.debit(2, lot(1), 1)];
        account.record_and_save(&mut batch, &debit);
        batch.commit()
    };
    let refused = spend(&mut account.clone()).expect_err("the trigger");
    assert!(matches!(refused, CommitError::Failed(StoreError::Other(_))), "{refused}");
    assert_eq!((seq(&store, key), hand.number("SELECT COUNT(*) FROM entry")), (1, 1));
    hand.must("DROP TRIGGER no_outbox");
    spend(&mut account).expect("committed");
    assert_eq!(seq(&store, key), 2);
}

#[test]
fn after_a_deadlock_nothing_of_the_batch_can_be_committed_and_the_next_one_goes_well() {
    let home = Home::new(Kind::Mysql);
    let ((store, mut one), (_, mut other)) = (home.open(), home.open());
    let mut left = funded(&mut one, 1, 50);
    let (left_key, right_key) = (left.wallet.key, funded(&mut one, 2, 50).wallet.key);
    let locked = Barrier::new(2);
    let mut recorded = begin(&mut one, &[left_key]);
    let debit = [left.debit(2, lot(1), 1)];
    left.record_and_save(&mut recorded, &debit);
    let lost = thread::scope(|scope| {
        let second = scope.spawn(|| {
            let batch = begin(&mut other, &[right_key]);
            locked.wait();
            let met = batch.wallet(left_key).map(|_| ());
            (met.is_err(), batch.commit())
        });
        locked.wait();
        let lost = recorded.wallet(right_key).is_err();
        let committed = recorded.commit();
        let (second_lost, second_committed) = second.join().expect("no panic");
        assert_ne!(lost, second_lost, "one of the two is the victim");
        let (victim, winner) =
            if lost { (committed, second_committed) } else { (second_committed, committed) };
        winner.expect("committed");
        // A caller that does not heed the error would otherwise have the rest committed, each statement by itself.
        let refused = victim.expect_err("its transaction was undone");
        assert!(matches!(refused, CommitError::Failed(_)), "{refused}");
        lost
    });
    let expected = if lost { 1 } else { 2 };
    assert_eq!(seq(&store, left_key), expected);
    for writer in [&mut one, &mut other] {
        let batch = begin(writer, &[left_key, right_key]);
        assert_eq!(batch.wallet(left_key).expect("read").expect("there").wallet.seq, expected);
        batch.commit().expect("commit");
    }
}
