//! How PostgreSQL finds the rows of a batch: by their keys, even when it planned the statements while their tables were empty and
//! its statistics said so. It keeps such a plan, and one that goes through a whole table made 99 debits a second of 15,000.

use crate::databases::Kind;
use crate::home::{Hand, Home};
use crate::world::{Account, Request, lot};
use purser_store::{KeyDigest, Wanted, Writer};

const WALLETS: u64 = 1_500;
const BATCHES: u64 = 40;
const DEBITS: u64 = 5;

#[test]
fn a_batch_reads_the_rows_of_its_wallets_and_no_others() {
    let home = Home::new(Kind::Postgres);
    let mut hand = home.hand();
    hand.must("VACUUM (ANALYZE)");
    let (_, mut writers, _) = home.node(2);
    let [granting, spending] = &mut writers[..] else { unreachable!("two were asked for") };
    plan_while_all_is_empty(spending);
    let mut accounts = granted(granting);
    for batch in 0..BATCHES {
        spend(spending, &mut accounts, batch * DEBITS);
    }
    // What a connection did is counted at its end at the latest.
    drop(writers);
    let (updated, read) = counted(&mut hand, (BATCHES * DEBITS) as i64);
    // A wallet and its lot are read to be loaded and to be written.
    let most = 2 * 4 * (BATCHES * DEBITS) as i64;
    assert!(read < most, "{read} rows of wallets, lots and answers were read to change {updated} wallets");
}

/// A writer that has renewed its lease for a long time, and was asked once about a wallet that is not there.
fn plan_while_all_is_empty(writer: &mut Writer) {
    for _ in 0..70 {
        writer.begin().expect("begin").commit().expect("commit");
    }
    let nobody = Account::new(1, 0);
    let keys = vec![KeyDigest::of(nobody.tenant(), "unheard of")];
    let wanted = Wanted { wallets: vec![nobody.wallet.key], keys, ..Wanted::default() };
    writer.begin_for(&wanted).expect("begin").commit().expect("commit");
}

/// An account for each of [`WALLETS`] users, with a lot of the user's number, in one batch.
fn granted(writer: &mut Writer) -> Vec<Account> {
    let mut batch = writer.begin().expect("begin");
    let mut accounts = Vec::new();
    for user in 1..=WALLETS {
        let mut account = Account::open(&mut batch, 1, user);
        let grant = [account.grant(user, 100)];
        account.record_and_save(&mut batch, &grant);
        accounts.push(account);
    }
    batch.commit().expect("commit");
    accounts
}

/// A batch of debits of the accounts from this place on, announced as the engine announces it.
fn spend(writer: &mut Writer, accounts: &mut [Account], from: u64) {
    let accounts = &mut accounts[from as usize..][..DEBITS as usize];
    let keys: Vec<String> = (from..from + DEBITS).map(|place| format!("debit {place}")).collect();
    let wanted = Wanted {
        wallets: accounts.iter().map(|account| account.wallet.key).collect(),
        keys: accounts.iter().zip(&keys).map(|(account, key)| KeyDigest::of(account.tenant(), key)).collect(),
        ..Wanted::default()
    };
    let mut batch = writer.begin_for(&wanted).expect("begin");
    for ((account, key), place) in accounts.iter_mut().zip(&keys).zip(from..) {
        let debit = [account.debit(WALLETS + 1 + place, lot(place + 1), 1)];
        account.record_request(&mut batch, &debit, None, Some(Request { key, receipt: b"spent" }));
        account.save(&mut batch);
    }
    batch.commit().expect("commit");
}

/// Wallets that were updated, once they are so many, and rows that were read of what a batch looks up.
fn counted(hand: &mut Hand, updated: i64) -> (i64, i64) {
    let of_wallets = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'wallet'";
    let found = (0..20_000).map(|_| hand.number(of_wallets)).find(|found| *found >= updated);
    let read = hand.number(
        "SELECT (SELECT SUM(idx_tup_read) FROM pg_stat_user_indexes WHERE relname IN ('wallet', 'lot', 'answer'))
              + (SELECT SUM(seq_tup_read) FROM pg_stat_user_tables WHERE relname IN ('wallet', 'lot', 'answer'))",
    );
    (found.expect("what the writer did is counted"), read)
}
