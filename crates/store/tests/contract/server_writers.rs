//! Several writers of one server database: what one does, the others see or wait for.

use crate::databases::Kind;
use crate::home::Home;
use crate::world::{Account, Request, lot};
use purser_core::{Key, TenantNo, Timestamp, WalletKey, chain};
use purser_store::{
    Batch, CommitError, Keeper, KeyDigest, NewApiKey, Position, Store, StoreError, Wanted, Writer,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// An account as a batch finds it.
fn loaded(batch: &Batch<'_>, key: WalletKey) -> Account {
    let found = batch.wallet(key).expect("read").expect("the wallet is there");
    Account { wallet: found.wallet, head: found.head, unsaved: Default::default() }
}

fn want(wallets: &[WalletKey]) -> Wanted {
    Wanted { wallets: wallets.to_vec(), ..Wanted::default() }
}

/// An account with this much in the lot of its user's number.
fn granted(writer: &mut Writer, user: u64, amount: i64) -> WalletKey {
    let mut batch = writer.begin().expect("begin");
    let mut account = Account::open(&mut batch, 1, user);
    let grant = [account.grant(user, amount)];
    account.record_and_save(&mut batch, &grant);
    batch.commit().expect("commit");
    account.wallet.key
}

/// Every wallet's entries follow one another without a gap, whoever wrote them.
fn assert_chains(store: &Store) {
    let mut entries = store.read(|reader| reader.entries_in_order(Position::NONE, 100_000)).expect("read");
    entries.sort_by_key(|row| (row.entry.wallet, row.entry.seq));
    let mut heads: BTreeMap<WalletKey, (u64, [u8; 32], Position)> = BTreeMap::new();
    for row in entries {
        let genesis = || (0, Account::new(row.entry.wallet.tenant.0, 0).wallet.head, Position::NONE);
        let (seq, hash, position) = heads.get(&row.entry.wallet).copied().unwrap_or_else(genesis);
        assert_eq!((row.entry.seq, row.previous), (seq + 1, position));
        if seq > 0 {
            assert_eq!(chain::hash(&hash, &row.entry), row.entry.hash);
        }
        heads.insert(row.entry.wallet, (row.entry.seq, row.entry.hash, row.position));
    }
}

fn two_writers_on_one_wallet_take_turns(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writers, _) = home.node(2);
    let key = granted(&mut writers[0], 1, 10);
    let [first, second] = &mut writers[..] else { unreachable!("two were asked for") };
    let mut batch = first.begin_for(&want(&[key])).expect("begin");
    let mut account = loaded(&batch, key);
    let take = [account.debit(2, lot(1), 4)];
    account.record_and_save(&mut batch, &take);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut batch = second.begin_for(&want(&[key])).expect("begin");
            let mut account = loaded(&batch, key);
            assert_eq!(account.wallet.settled.0, 6, "it saw what the first had committed");
            let take = [account.debit(3, lot(1), 5)];
            account.record_and_save(&mut batch, &take);
            batch.commit().expect("commit");
        });
        home.hand().wait_for_somebody_who_waits();
        batch.commit().expect("commit");
        other.join().expect("the other took its turn");
    });
    let stored = store.read(|reader| reader.wallet(key)).expect("read").expect("there");
    assert_eq!((stored.loaded.wallet.settled.0, stored.loaded.wallet.seq), (1, 3));
    assert_chains(&store);
}

fn many_writers_spend_one_wallet_to_the_last_credit(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writers, _) = home.node(8);
    let key = granted(&mut writers[0], 1, 100);
    let spent: i64 = std::thread::scope(|scope| {
        let spending: Vec<_> = writers
            .iter_mut()
            .enumerate()
            .map(|(no, writer)| scope.spawn(move || spend_all(writer, key, 1_000 * (no as u64 + 1))))
            .collect();
        spending.into_iter().map(|thread| thread.join().expect("it spends")).sum()
    });
    assert_eq!(spent, 100);
    let stored = store.read(|reader| reader.wallet(key)).expect("read").expect("there");
    assert_eq!((stored.loaded.wallet.settled.0, stored.loaded.wallet.seq), (0, 101));
    assert_chains(&store);
}

/// One thing that happens to a wallet.
type Happening = fn(&mut Account) -> Vec<purser_core::Entry>;

const HAPPENINGS: [Happening; 9] = [
    |account| vec![account.debit(2, lot(1), 4)],
    |account| vec![account.hold(3, lot(1), 2)],
    |account| vec![account.grant(4, 7)],
    |account| vec![account.freeze(5, lot(4), 3, 3)],
    |account| vec![account.release(3, lot(1), 2)],
    |account| vec![account.debit(6, lot(1), 6)],
    |account| vec![account.debit_into_debt(7, lot(4), 4, 2)],
    |account| vec![account.grant(8, 5), account.repay(8, 2)],
    |account| vec![account.debit(9, lot(8), 1)],
];

/// A writer keeps wallets as it left them. Whoever wrote last, and whatever it was, each finds what is stored.
fn what_a_writer_remembers_of_a_wallet_is_what_is_stored(kind: Kind) {
    // Which writer carries them out, bit by bit: the same one, by turns, and in other orders.
    for turns in [0b0_0000_0000, 0b0_1010_1010, 0b1_1100_1100_usize] {
        let home = Home::new(kind);
        let (store, mut writers, _) = home.node(2);
        let key = granted(&mut writers[0], 1, 10);
        for (index, happening) in HAPPENINGS.iter().enumerate() {
            let happen = |writer: &mut Writer, commit: bool| {
                let stored = store.read(|reader| reader.wallet(key)).expect("read").expect("there").loaded;
                let mut batch = writer.begin_for(&want(&[key])).expect("begin");
                assert_eq!(
                    batch.wallet(key).expect("read").as_ref(),
                    Some(&stored),
                    "{turns:b}, before {index}"
                );
                let mut account = loaded(&batch, key);
                let made = happening(&mut account);
                account.record_and_save(&mut batch, &made);
                if commit {
                    batch.commit().expect("commit");
                }
            };
            let turn = (turns >> index) & 1;
            // Nobody remembers what was not committed.
            happen(&mut writers[1 - turn], false);
            happen(&mut writers[turn], true);
        }
        assert_chains(&store);
    }
}

/// Takes one after the other while there is something; how many it took.
fn spend_all(writer: &mut Writer, key: WalletKey, ids_from: u64) -> i64 {
    for taken in 0.. {
        let mut batch = writer.begin_for(&want(&[key])).expect("begin");
        let mut account = loaded(&batch, key);
        if account.wallet.settled.0 == 0 {
            return taken;
        }
        let take = [account.debit(ids_from + taken as u64, lot(1), 1)];
        account.record_and_save(&mut batch, &take);
        batch.commit().expect("commit");
    }
    unreachable!("it ends when there is nothing left")
}

/// Records a debit under a key.
fn debit_under(batch: &mut Batch<'_>, wallet: WalletKey, user: u64, key: &str, receipt: &[u8]) {
    let mut account = loaded(batch, wallet);
    let take = [account.debit(100 + user, lot(user), 1)];
    account.record_request(batch, &take, None, Some(Request { key, receipt }));
    account.save(batch);
}

fn one_key_in_two_writers_is_answered_once_and_found_on_the_second_try(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writers, _) = home.node(2);
    // Two wallets of one tenant, so that nothing but the key is in the way.
    let wallets = [granted(&mut writers[0], 1, 10), granted(&mut writers[0], 2, 10)];
    let key = KeyDigest::of(TenantNo(1), "k");
    let wanted = |wallet| Wanted { keys: vec![key], ..want(&[wallet]) };
    let [first, second] = &mut writers[..] else { unreachable!("two were asked for") };
    let mut one = first.begin_for(&wanted(wallets[0])).expect("begin");
    let mut other = second.begin_for(&wanted(wallets[1])).expect("begin");
    for batch in [&one, &other] {
        assert_eq!(batch.answer(key).expect("read"), None);
    }
    debit_under(&mut one, wallets[0], 1, "k", b"one");
    debit_under(&mut other, wallets[1], 2, "k", b"other");
    one.commit().expect("the first is kept");
    let refused = other.commit().expect_err("the second is not");
    assert!(matches!(&refused, CommitError::Failed(StoreError::Conflict { .. })), "{refused}");
    let again = second.begin_for(&wanted(wallets[1])).expect("begin");
    assert_eq!(again.answer(key).expect("read").expect("known").receipt, b"one");
    drop(again);
    let settled = wallets.map(|key| {
        store.read(|reader| reader.wallet(key)).expect("read").expect("there").loaded.wallet.settled.0
    });
    assert_eq!(settled, [9, 10]);
}

/// Whatever the order in which they are announced, the lock of the first in the order of keys is taken before any other.
fn wallets_are_locked_in_the_order_of_their_keys(kind: Kind) {
    let home = Home::new(kind);
    let (_, mut writers, _) = home.node(1);
    // The last in the order of keys is the first in the table.
    let mut users = [1, 2];
    users.sort_by_key(|user| std::cmp::Reverse(Account::new(1, *user).wallet.key));
    let [last, first] = users.map(|user| granted(&mut writers[0], user, 10));
    let wallets = [first, last];
    let lock = |key: WalletKey| {
        let digits: String = key.id.0.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let id = if kind == Kind::Mysql { format!("X'{digits}'") } else { format!("'\\x{digits}'::bytea") };
        format!("SELECT 1 FROM wallet WHERE tenant_no = 1 AND wallet_id = {id} FOR UPDATE NOWAIT")
    };
    for order in [wallets, [wallets[1], wallets[0]]] {
        let (mut first, mut second) = (home.hand(), home.hand());
        first.must("BEGIN");
        first.must(&lock(wallets[0]));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| writers[0].begin_for(&want(&order)).map(drop));
            second.wait_for_somebody_who_waits();
            second.must(&lock(wallets[1]));
            first.must("ROLLBACK");
            waiting.join().expect("no panic").expect("it has both");
        });
    }
}

fn wallets_that_are_announced_never_meet_in_a_deadlock(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writers, _) = home.node(2);
    let wallets = [granted(&mut writers[0], 1, 1_000), granted(&mut writers[0], 2, 1_000)];
    std::thread::scope(|scope| {
        for (no, writer) in writers.iter_mut().enumerate() {
            let mut order = wallets;
            if no == 1 {
                order.reverse();
            }
            scope.spawn(move || {
                for round in 0..40 {
                    let mut batch = writer.begin_for(&want(&order)).expect("nobody is in the way for long");
                    for key in order {
                        let mut account = loaded(&batch, key);
                        let lot = account.wallet.lots[0].terms.id;
                        let take = [account.debit(100 * (no as u64 + 1) + round, lot, 1)];
                        account.record_and_save(&mut batch, &take);
                    }
                    batch.commit().expect("commit");
                }
            });
        }
    });
    for key in wallets {
        let stored = store.read(|reader| reader.wallet(key)).expect("read").expect("there");
        assert_eq!(stored.loaded.wallet.settled.0, 920);
    }
    assert_chains(&store);
}

fn a_deadlock_is_a_conflict_for_one_and_nothing_of_it_is_kept(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writers, _) = home.node(2);
    let wallets = [granted(&mut writers[0], 1, 10), granted(&mut writers[0], 2, 10)];
    let outcomes: Vec<Result<(), StoreError>> = std::thread::scope(|scope| {
        let (one, other) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
        let ways = [(one.0, other.1), (other.0, one.1)];
        let threads: Vec<_> = writers
            .iter_mut()
            .zip(ways)
            .enumerate()
            .map(|(no, (writer, (mine, theirs)))| {
                scope.spawn(move || {
                    let mut batch = writer.begin().expect("begin");
                    let mut account = loaded(&batch, wallets[no]);
                    mine.send(()).expect("the other waits for it");
                    theirs.recv().expect("the other has its lock");
                    // Not announced, and in the other order.
                    batch.wallet(wallets[1 - no])?;
                    let lot = account.wallet.lots[0].terms.id;
                    let take = [account.debit(100 + no as u64, lot, 1)];
                    account.record_and_save(&mut batch, &take);
                    batch.commit().expect("the one that is left commits");
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let conflicts = outcomes.iter().filter(|outcome| matches!(outcome, Err(StoreError::Conflict { .. })));
    assert_eq!(
        (conflicts.count(), outcomes.iter().filter(|outcome| outcome.is_ok()).count()),
        (1, 1),
        "{outcomes:?}"
    );
    assert_eq!(store.read(|reader| reader.counts()).expect("read").entries, 3);
    // The writer that gave way goes on.
    for writer in &mut writers {
        writer.begin_for(&want(&wallets)).expect("begin").commit().expect("commit");
    }
}

fn a_lock_that_does_not_come_free_is_a_conflict(kind: Kind) {
    let home = Home::new(kind);
    let (_, mut writers, _) = home.node(1);
    let key = granted(&mut writers[0], 1, 10);
    let mut hand = home.hand();
    hand.must("BEGIN");
    hand.must("UPDATE wallet SET created_at = created_at + 1");
    let refused = match writers[0].begin_for(&want(&[key])) {
        Ok(_) => panic!("somebody else has the lock"),
        Err(error) => error,
    };
    assert!(matches!(&refused, StoreError::Conflict { .. }), "{refused}");
    hand.must("ROLLBACK");
    writers[0].begin_for(&want(&[key])).expect("the lock is free").commit().expect("commit");
}

fn what_one_node_configures_counts_in_the_next_batch_of_another(kind: Kind) {
    let home = Home::new(kind);
    let (_, mut writers, mut keeper) = home.node(2);
    let [one, other] = &mut writers[..] else { unreachable!("two were asked for") };
    let before = other.begin().expect("begin").config_epoch().expect("read");
    let key = NewApiKey { no: 5, name: "k".into(), hash: [5; 32], scope: "write".into(), tenant: None };
    let mut batch = one.begin().expect("begin");
    batch.insert_api_key(&key, Timestamp(1)).expect("inserted");
    batch.bump_config_epoch().expect("bumped");
    // It holds up nobody, and is not seen before it is committed.
    let meanwhile = other.begin().expect("begin");
    assert_eq!(meanwhile.config_epoch().expect("read"), before);
    assert_eq!(meanwhile.config().expect("read").api_keys.len(), 0);
    meanwhile.commit().expect("commit");
    batch.commit().expect("commit");
    let after = other.begin().expect("begin");
    assert_eq!(after.config_epoch().expect("read"), before + 1);
    assert_eq!(after.config().expect("read").api_keys.len(), 1);
    drop(after);
    assert_eq!(keeper.observe().expect("observed").config_epoch, before + 1);
    let mut batch = other.begin().expect("begin");
    assert!(batch.revoke_api_key(5, Timestamp(2)).expect("revoked"));
    batch.bump_config_epoch().expect("bumped");
    batch.commit().expect("commit");
    assert_eq!(one.begin().expect("begin").config().expect("read").api_keys.len(), 0);
}

fn a_name_first_used_on_two_nodes_gets_one_number(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writers, _) = home.node(4);
    let (acme, ann) = (Key::parse("acme").expect("a key"), Key::parse("ann").expect("a key"));
    let numbers: Vec<_> = std::thread::scope(|scope| {
        let meeting: Vec<_> = writers
            .iter_mut()
            .enumerate()
            .map(|(no, writer)| {
                let (acme, ann) = (&acme, &ann);
                scope.spawn(move || meet(writer, acme, ann, 10 * (no as u64 + 1)))
            })
            .collect();
        meeting.into_iter().map(|thread| thread.join().expect("they meet")).collect()
    });
    assert!(numbers.iter().all(|found| *found == numbers[0]), "{numbers:?}");
    let resolved = store.read(|reader| reader.resolve_user(Some(&acme), &ann)).expect("read");
    assert_eq!(resolved, Some(numbers[0]));
    let counts = store.read(|reader| reader.counts()).expect("read");
    assert_eq!((counts.tenants, counts.users), (1, 1));
}

/// Makes tenant and user, or finds them; once more where another was in the way, as every caller does.
fn meet(writer: &mut Writer, tenant: &Key, user: &Key, fresh: u64) -> (TenantNo, purser_core::UserNo) {
    for _ in 0..8 {
        let mut batch = writer.begin().expect("begin");
        let fresh =
            purser_store::FreshNumbers { tenant: TenantNo(fresh), user: purser_core::UserNo(fresh + 1) };
        let made = match batch.ensure_user(Some(tenant), user, fresh, Timestamp(1)) {
            Ok(made) => made,
            Err(StoreError::Conflict { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        match batch.commit() {
            Ok(()) => return made,
            Err(CommitError::Failed(StoreError::Conflict { .. })) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("others were in the way eight times")
}

fn two_folders_at_once_fold_everything_once(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writers, keeper) = home.node(2);
    let wallets = [granted(&mut writers[0], 1, 1_000), granted(&mut writers[1], 2, 1_000)];
    let (ended, keepers) = (AtomicBool::new(false), [keeper, home.node(1).2]);
    let folded: u64 = std::thread::scope(|scope| {
        let folding = keepers.map(|keeper| scope.spawn(|| fold_until(keeper, &ended)));
        let writing: Vec<_> = writers
            .iter_mut()
            .enumerate()
            .map(|(no, writer)| scope.spawn(move || spend_both(writer, wallets, 1_000 * (no as u64 + 1))))
            .collect();
        writing.into_iter().for_each(|thread| thread.join().expect("it writes"));
        ended.store(true, Ordering::SeqCst);
        folding.into_iter().map(|thread| thread.join().expect("it folds")).sum()
    });
    // One may have left its last turn to the other.
    let folded = folded + home.node(1).2.fold().expect("fold");
    assert_eq!(folded, 2 + 2 * 2 * 60);
    assert_eq!(store.read(|reader| reader.counts()).expect("read").tail, 0);
    assert_eq!(home.hand().number("SELECT COUNT(*) FROM wallet_history"), 242);
    for key in wallets {
        let head = store.read(|reader| reader.wallet(key)).expect("read").expect("there").loaded.head;
        let entries = store.read(|reader| reader.entries_from(key, head, 0, 1_000)).expect("read");
        assert!(entries.iter().map(|entry| entry.seq).eq(1..=121));
    }
}

fn fold_until(mut keeper: Keeper, ended: &AtomicBool) -> u64 {
    let mut folded = 0;
    while !ended.load(Ordering::SeqCst) {
        folded += keeper.fold().expect("fold");
    }
    folded
}

fn spend_both(writer: &mut Writer, wallets: [WalletKey; 2], ids_from: u64) {
    for round in 0..60 {
        let mut batch = writer.begin_for(&want(&wallets)).expect("begin");
        for (key, no) in wallets.into_iter().zip(0..) {
            let mut account = loaded(&batch, key);
            let take = [account.debit(ids_from + 2 * round + no, lot(1 + no), 1)];
            account.record_and_save(&mut batch, &take);
        }
        batch.commit().expect("commit");
    }
}

fn a_folder_that_finds_another_at_work_leaves(kind: Kind) {
    let home = Home::new(kind);
    let (_, mut writers, mut keeper) = home.node(1);
    granted(&mut writers[0], 1, 10);
    let mut hand = home.hand();
    hand.must("BEGIN");
    hand.must("UPDATE fold SET position = position + 1 WHERE name = 'folder'");
    assert_eq!(keeper.fold().expect("it does not wait"), 0);
    hand.must("ROLLBACK");
    assert_eq!(keeper.fold().expect("fold"), 1);
    assert_eq!(keeper.fold().expect("fold"), 0);
}

on_every_server! {
    two_writers_on_one_wallet_take_turns,
    many_writers_spend_one_wallet_to_the_last_credit,
    what_a_writer_remembers_of_a_wallet_is_what_is_stored,
    one_key_in_two_writers_is_answered_once_and_found_on_the_second_try,
    wallets_are_locked_in_the_order_of_their_keys,
    wallets_that_are_announced_never_meet_in_a_deadlock,
    a_deadlock_is_a_conflict_for_one_and_nothing_of_it_is_kept,
    a_lock_that_does_not_come_free_is_a_conflict,
    what_one_node_configures_counts_in_the_next_batch_of_another,
    a_name_first_used_on_two_nodes_gets_one_number,
    two_folders_at_once_fold_everything_once,
    a_folder_that_finds_another_at_work_leaves,
}
