//! How PostgreSQL finds the rows of a batch: by their keys, even when it planned the statements while their tables were empty and
//! its statistics said so. It keeps such a plan, and one that goes through a whole table made 1,200 debits a second of 16,000.

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
    let (_, mut writers, _) = home.node(1);
    let mut accounts = granted(&mut writers[0]);
    for batch in 0..BATCHES {
        spend(&mut writers[0], &mut accounts, batch * DEBITS);
    }
    // What a connection did is counted at its end at the latest.
    drop(writers);
    let (updated, read) = counted(&mut hand, (BATCHES * DEBITS) as i64);
    // Each wallet is looked up to be locked, with its lots, and to be written; all of it twice, once when it was granted to.
    let most = 10 * (WALLETS + BATCHES * DEBITS);
    assert!(
        read < most as i64,
        "{read} rows of wallets, lots and answers were read to change {updated} wallets"
    );
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
