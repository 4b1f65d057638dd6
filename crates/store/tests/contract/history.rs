//! Lists of entries are the same wherever the folder stands.

use crate::databases::Kind;
use crate::home::Home;
use crate::world::{Account, text};
use proptest::prelude::*;
use purser_core::Entry;
use purser_store::{Position, Reader, Store, StoreError, StoredEntry, Writer};

/// A step of a test: debits by one of three accounts, or some folding.
#[derive(Clone, Debug)]
enum Step {
    Debits { account: usize, count: usize },
    Fold { budget: usize },
    Reopen,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_usize..3, 1_usize..20).prop_map(|(account, count)| Step::Debits { account, count }),
        4 => (1_usize..30).prop_map(|budget| Step::Fold { budget }),
        1 => Just(Step::Reopen),
    ]
}

/// Three accounts of two tenants, each with one large grant.
fn accounts(writer: &mut Writer) -> Vec<(Account, Vec<Entry>)> {
    let mut batch = writer.begin().expect("begin");
    let made = [(1, 1), (1, 2), (2, 1)].map(|(tenant, user)| {
        let mut account = Account::open(&mut batch, tenant, user);
        let grant = [account.grant(user, 1_000_000)];
        account.record_and_save(&mut batch, &grant);
        (account, grant.to_vec())
    });
    batch.commit().expect("commit");
    made.into()
}

fn debit(writer: &mut Writer, (account, entries): &mut (Account, Vec<Entry>), count: usize) {
    let mut batch = writer.begin().expect("begin");
    for _ in 0..count {
        let text = text(["red", "green", "blue"][entries.len() % 3]);
        let entry = account.debit_with_text(
            entries.len() as u64 + 10,
            account.wallet.lots[0].terms.id,
            1,
            Some(&text),
        );
        account.record_request(&mut batch, std::slice::from_ref(&entry), Some(&text), None);
        entries.push(entry);
    }
    account.save(&mut batch);
    batch.commit().expect("commit");
}

fn bare(stored: &[StoredEntry]) -> Vec<Entry> {
    stored.iter().map(|stored| stored.entry.clone()).collect()
}

/// Fewer cases where each has a database to make.
fn cases(kind: Kind, most: u32) -> ProptestConfig {
    ProptestConfig { cases: if kind.is_server() { 6 } else { most }, ..ProptestConfig::default() }
}

fn any_pattern_of_folding_gives_the_same_lists(kind: Kind) {
    let any = (prop::collection::vec(any_step(), 1..24), 1_usize..40);
    proptest!(cases(kind, 24), |((steps, page) in any)| {
        let home = Home::small(kind);
        let (mut store, mut writer) = home.open();
        let mut accounts = accounts(&mut writer);
        for step in steps {
            match step {
                Step::Debits { account, count } => debit(&mut writer, &mut accounts[account], count),
                Step::Fold { budget } => home.fold_some(&mut writer, budget),
                Step::Reopen => {
                    drop(writer);
                    (store, writer) = home.open();
                }
            }
            assert_lists(&store, &accounts, page);
        }
    });
}

fn assert_lists(store: &Store, accounts: &[(Account, Vec<Entry>)], page: usize) {
    let look = |reader: &Reader<'_>| {
        for (account, entries) in accounts {
            let (key, head) = (account.wallet.key, account.head);
            let newest: Vec<Entry> = entries.iter().rev().cloned().collect();
            assert_eq!(bare(&reader.entries(key, head, None, 1_000)?), newest);
            assert_eq!(reader.entries_from(key, head, 0, 1_000)?, *entries);
            let middle = entries.len() as u64 / 2;
            let older = reader.entries(key, head, Some(middle + 1), page)?;
            let wanted: Vec<Entry> =
                newest[newest.len() - middle as usize..].iter().take(page).cloned().collect();
            assert_eq!(bare(&older), wanted);
            let later = reader.entries_from(key, head, middle, page)?;
            let wanted: Vec<Entry> = entries[middle as usize..].iter().take(page).cloned().collect();
            assert_eq!(later, wanted);
        }
        Ok(())
    };
    store.read(look).expect("read");
}

fn a_reference_finds_the_same_entries_wherever_the_folder_stands(kind: Kind) {
    proptest!(cases(kind, 24), |(folds in prop::collection::vec(1_usize..40, 0..12))| {
        let home = Home::small(kind);
        let (store, mut writer) = home.open();
        let mut accounts = accounts(&mut writer);
        for (index, budget) in folds.into_iter().enumerate() {
            debit(&mut writer, &mut accounts[index % 3], 7);
            // Now and then something is left behind the folder.
            if budget % 4 > 0 {
                home.fold_some(&mut writer, budget);
            }
        }
        assert_references(&store, &accounts);
    });
}

fn assert_references(store: &Store, accounts: &[(Account, Vec<Entry>)]) {
    let wanted =
        |account: &(Account, Vec<Entry>)| account.1[1..].iter().filter(|entry| entry.seq % 3 == 2).count();
    let look = |reader: &Reader<'_>| {
        for account in accounts {
            let key = account.0.wallet.key;
            let found = reader.entries_by_reference(key, "green", None, 1_000)?;
            assert_eq!(found.len(), wanted(account));
            assert!(found.is_sorted_by(|left, right| left.entry.seq > right.entry.seq));
            assert!(found.iter().all(|stored| stored.entry.wallet == key));
            if let [first, rest @ ..] = &found[..] {
                assert_eq!(reader.entries_by_reference(key, "green", Some(first.entry.seq), 1_000)?, rest);
                assert_eq!(reader.entries_by_reference(key, "green", None, 1)?, found[..1]);
            }
        }
        Ok(())
    };
    store.read(look).expect("read");
}

fn folding_leaves_no_tail_and_changes_no_list(kind: Kind) {
    let home = Home::small(kind);
    let (store, mut writer) = home.open();
    let mut accounts = accounts(&mut writer);
    debit(&mut writer, &mut accounts[0], 60);
    assert_eq!(store.read(|reader| reader.counts()).expect("read").tail, 63);
    home.fold(&mut writer);
    home.fold(&mut writer);
    assert_eq!(store.read(|reader| reader.counts()).expect("read").tail, 0);
    assert_lists(&store, &accounts, 9);
    assert_references(&store, &accounts);
}

#[test]
fn folding_ends_and_leaves_no_tail() {
    let home = Home::small(Kind::Sqlite);
    let (_, mut writer) = home.open();
    let mut accounts = accounts(&mut writer);
    debit(&mut writer, &mut accounts[0], 60);
    assert_eq!(writer.tail_len(), 63);
    let mut steps = 0;
    loop {
        let mut batch = writer.begin().expect("begin");
        let left = batch.fold_step(10).expect("fold").remaining;
        batch.commit().expect("commit");
        steps += 1;
        if left == 0 {
            break;
        }
        assert!(steps < 100, "{left} rows are left after {steps} steps");
    }
    assert_eq!(writer.tail_len(), 0);
    drop(writer);
    let (_, writer) = home.open();
    assert_eq!(writer.tail_len(), 0);
}

/// Few rows at a time cost more than their number: see the step's size in the store.
#[test]
fn beside_a_load_many_rows_are_folded_at_a_time_and_the_tail_stays_short() {
    const WINDOW: u64 = 24;
    let home = Home::small(Kind::Sqlite);
    let (store, mut writer) = home.open();
    let mut accounts = accounts(&mut writer);
    let mut steps = 0;
    for debits in 1..=300 {
        debit(&mut writer, &mut accounts[debits % 3], 1);
        let before = writer.tail_len();
        let mut batch = writer.begin().expect("begin");
        batch.fold_along(1).expect("fold");
        batch.commit().expect("commit");
        steps += u64::from(writer.tail_len() < before);
        assert!(writer.tail_len() <= 3 * WINDOW, "{} after {debits}", writer.tail_len());
    }
    assert!((5..=300 / WINDOW).contains(&steps), "{steps} steps");
    assert_lists(&store, &accounts, 9);
}

#[test]
fn a_fold_that_was_rolled_back_is_done_again() {
    let home = Home::small(Kind::Sqlite);
    let (store, mut writer) = home.open();
    let mut accounts = accounts(&mut writer);
    debit(&mut writer, &mut accounts[0], 60);
    let mut batch = writer.begin().expect("begin");
    while batch.fold_step(1_000).expect("fold").remaining > 0 {}
    drop(batch);
    drop(writer.begin().expect("begin"));
    assert_eq!(writer.tail_len(), 63);
    let mut batch = writer.begin().expect("begin");
    while batch.fold_step(1_000).expect("fold").remaining > 0 {}
    batch.commit().expect("commit");
    let (account, entries) = &accounts[0];
    let found =
        store.read(|reader| reader.entries_from(account.wallet.key, account.head, 0, 1_000)).expect("read");
    assert_eq!(found, *entries);
}

/// 255 characters are what a caller may send, whatever they are.
fn a_reference_of_any_characters_is_kept_and_found(kind: Kind) {
    let home = Home::small(kind);
    let (store, mut writer) = home.open();
    let [reference, other] = ["\u{1f600}", "\u{6f22}"].map(|letter| letter.repeat(255));
    let (mut account, _) = accounts(&mut writer).remove(0);
    let mut batch = writer.begin().expect("begin");
    for (id, reference) in [(10, &reference), (11, &other)] {
        let text = text(reference);
        let entry = account.debit_with_text(id, account.wallet.lots[0].terms.id, 1, Some(&text));
        account.record_request(&mut batch, &[entry], Some(&text), None);
    }
    account.save(&mut batch);
    batch.commit().expect("commit");
    for _ in 0..2 {
        let look = |reader: &Reader<'_>| {
            let found = reader.entries_by_reference(account.wallet.key, &reference, None, 9)?;
            assert_eq!(found.iter().map(|stored| stored.entry.seq).collect::<Vec<_>>(), [2]);
            Ok(())
        };
        store.read(look).expect("read");
        home.fold(&mut writer);
    }
}

fn a_head_that_belongs_to_another_wallet_is_damage(kind: Kind) {
    let home = Home::small(kind);
    let (store, mut writer) = home.open();
    let accounts = accounts(&mut writer);
    let refused = store.read(|reader| reader.entries(accounts[0].0.wallet.key, accounts[1].0.head, None, 10));
    assert!(matches!(refused, Err(StoreError::Inconsistent { table: "entry", .. })));
    let beyond = Position(accounts[2].0.head.0 + 1);
    let refused = store.read(|reader| reader.entries(accounts[0].0.wallet.key, beyond, None, 10));
    assert!(matches!(refused, Err(StoreError::Inconsistent { table: "entry", .. })));
}

on_every_database! {
    a_reference_of_any_characters_is_kept_and_found,
    any_pattern_of_folding_gives_the_same_lists,
    a_reference_finds_the_same_entries_wherever_the_folder_stands,
    folding_leaves_no_tail_and_changes_no_list,
    a_head_that_belongs_to_another_wallet_is_damage,
}
