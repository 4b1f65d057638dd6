//! A key that was answered is found in the tail, in runs, in merged runs and after a restart; a new key never is.

use crate::databases::Kind;
use crate::home::Home;
use crate::world::{Account, Request, lot};
use proptest::prelude::*;
use purser_core::{TenantNo, Timestamp};
use purser_store::{Batch, KeyDigest, Writer};

/// The text of a key: some begin with their time, as UUIDv7 keys do, some as other UUIDs, some as nothing known.
fn text(key: u32) -> String {
    match key % 3 {
        0 => key.to_string(),
        1 => timely(key),
        _ => format!("{:08x}-{:03x}0-4000-8000-{key:012x}", key.wrapping_mul(0x9e37_79b9), key % 0x1000),
    }
}

/// The text of a key that begins with its time.
fn timely(key: u32) -> String {
    format!("0190{:04x}-{:03x}0-7000-8000-{key:012x}", key >> 12, key & 0xfff)
}

/// Records one debit under each key; the receipt is the key's own text.
fn answer_keys(batch: &mut Batch<'_>, account: &mut Account, keys: std::ops::Range<u32>) {
    answer_texts(batch, account, keys, text);
}

fn answer_texts(
    batch: &mut Batch<'_>,
    account: &mut Account,
    keys: std::ops::Range<u32>,
    text: fn(u32) -> String,
) {
    for key in keys {
        let entry = [account.debit(u64::from(key) + 10, lot(1), 1)];
        let key = text(key);
        account.record_request(batch, &entry, None, Some(Request { key: &key, receipt: key.as_bytes() }));
    }
    account.save(batch);
}

fn account(writer: &mut Writer) -> Account {
    let mut batch = writer.begin().expect("begin");
    let mut account = Account::open(&mut batch, 1, 1);
    let grant = [account.grant(1, 10_000_000)];
    account.record_and_save(&mut batch, &grant);
    batch.commit().expect("commit");
    account
}

fn answered(batch: &Batch<'_>, key: u32) -> Option<Vec<u8>> {
    received(batch, &text(key))
}

fn received(batch: &Batch<'_>, key: &str) -> Option<Vec<u8>> {
    let found = batch.answer(KeyDigest::of(TenantNo(1), key)).expect("read")?;
    assert_eq!(found.request_digest, [7; 32]);
    Some(found.receipt)
}

fn assert_answers(writer: &mut Writer, known: std::ops::Range<u32>) {
    let batch = writer.begin().expect("begin");
    for key in known.clone() {
        assert_eq!(answered(&batch, key), Some(text(key).into_bytes()), "key {key} of {known:?}");
    }
    for key in known.end..known.end + 100 {
        assert_eq!(answered(&batch, key), None, "key {key} was never used");
    }
}

fn every_answer_is_found_whatever_became_of_it(kind: Kind) {
    let cases = if kind.is_server() { 5 } else { 16 };
    let any = prop::collection::vec((0_u32..40, 0_usize..60, 0_u8..10), 1..20);
    proptest!(ProptestConfig { cases, ..ProptestConfig::default() }, |(steps in any)| {
        let home = Home::small(kind);
        let (_, mut writer) = home.open();
        let mut account = account(&mut writer);
        let mut used = 0;
        for (count, budget, event) in steps {
            let mut batch = writer.begin().expect("begin");
            let mut attempt = account.clone();
            answer_keys(&mut batch, &mut attempt, used..used + count);
            if budget > 0 {
                batch.fold_step(budget).expect("fold");
            }
            // Some batches are given up, and sometimes the process dies.
            if event == 0 {
                drop(batch);
            } else {
                batch.commit().expect("commit");
                (account, used) = (attempt, used + count);
            }
            if event == 1 {
                drop(writer);
                (_, writer) = home.open();
            }
            assert_answers(&mut writer, 0..used);
        }
    });
}

#[test]
fn hundreds_of_runs_are_merged_into_few_and_lose_no_key() {
    let home = Home::small(Kind::Sqlite);
    let (_, mut writer) = home.open();
    let mut account = account(&mut writer);
    // 16 answers make a run, 8 runs one of the next level: 1,500 keys reach the third level.
    for start in (0..1_500).step_by(50) {
        let mut batch = writer.begin().expect("begin");
        answer_keys(&mut batch, &mut account, start..start + 50);
        while batch.fold_step(20).expect("fold").remaining > 0 {}
        batch.commit().expect("commit");
    }
    assert_answers(&mut writer, 0..1_500);
    drop(writer);
    let (_, mut writer) = home.open();
    assert_answers(&mut writer, 0..1_500);
    drop(writer);
    let file = rusqlite::Connection::open(home.path()).expect("open by hand");
    let heads: i64 =
        file.query_row("SELECT COUNT(*) FROM answer_run_head", [], |row| row.get(0)).expect("count");
    assert!((2..=16).contains(&heads), "{heads} runs");
    let orphans = "SELECT COUNT(*) FROM answer_run WHERE run NOT IN (SELECT run FROM answer_run_head)";
    assert_eq!(file.query_row(orphans, [], |row| row.get::<_, i64>(0)).expect("count"), 0);
}

#[test]
fn runs_of_keys_that_begin_with_their_time_are_told_apart_and_merged_less_often() {
    let home = Home::small(Kind::Sqlite);
    let (_, mut writer) = home.open();
    let mut account = account(&mut writer);
    let heads = || -> Vec<(i64, i64)> {
        let file = rusqlite::Connection::open(home.path()).expect("open by hand");
        let mut heads =
            file.prepare("SELECT level, answers FROM answer_run_head ORDER BY run").expect("prepare");
        let rows = heads.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("query");
        rows.map(|row| row.expect("a head")).collect()
    };
    for (keys, expected) in [(0..31 * 16, vec![(0, 16); 31]), (31 * 16..32 * 16, vec![(1, 32 * 16)])] {
        for start in keys.step_by(16) {
            let mut batch = writer.begin().expect("begin");
            answer_texts(&mut batch, &mut account, start..start + 16, timely);
            while batch.fold_step(100).expect("fold").remaining > 0 {}
            batch.commit().expect("commit");
        }
        assert_eq!(heads(), expected);
    }
    let all_are_found = |writer: &mut Writer| {
        let batch = writer.begin().expect("begin");
        assert!((0..512).all(|key| received(&batch, &timely(key)) == Some(timely(key).into_bytes())));
        assert!((512..600).all(|key| received(&batch, &timely(key)).is_none()));
    };
    all_are_found(&mut writer);
    drop(writer);
    // As the first versions stored it: the filter alone.
    let file = rusqlite::Connection::open(home.path()).expect("open by hand");
    let cut = "UPDATE answer_run_head SET filter = substr(filter, 1, length(filter) - 17)";
    assert_eq!(file.execute(cut, []).expect("cut"), 1);
    let (_, mut writer) = home.open();
    all_are_found(&mut writer);
}

#[test]
fn the_same_key_of_two_tenants_is_two_keys() {
    assert_ne!(KeyDigest::of(TenantNo(1), "k"), KeyDigest::of(TenantNo(2), "k"));
    // The tenant has a fixed width in front: no key of one can be spelled as a key of another.
    assert_ne!(KeyDigest::of(TenantNo(0x61), "b"), KeyDigest::of(TenantNo(0), "ab"));
}

#[test]
fn answers_older_than_they_are_kept_are_forgotten_in_steps_and_newer_ones_stay() {
    let home = Home::small(Kind::Sqlite);
    let (_, mut writer) = home.open();
    let mut account = account(&mut writer);
    let mut cut = Timestamp::ZERO;
    for start in [0, 16, 32] {
        let mut batch = writer.begin().expect("begin");
        answer_keys(&mut batch, &mut account, start..start + 16);
        while batch.fold_step(1_000).expect("fold").remaining > 0 {}
        batch.commit().expect("commit");
        if start == 16 {
            cut = account.wallet.recorded_at.plus(1);
        }
    }
    let mut steps = 0;
    loop {
        let mut batch = writer.begin().expect("begin");
        let more = batch.prune_answers(cut, 10).expect("prune");
        batch.fold_step(10).expect("fold");
        batch.commit().expect("commit");
        steps += 1;
        if !more {
            break;
        }
    }
    assert!((4..10).contains(&steps), "{steps} steps of ten rows for 32 answers");
    let batch = writer.begin().expect("begin");
    assert!((0..32).all(|key| answered(&batch, key).is_none()));
    assert!((32..48).all(|key| answered(&batch, key).is_some()));
    drop(batch);
    drop(writer);
    let (_, mut writer) = home.open();
    let batch = writer.begin().expect("begin");
    assert!((0..32).all(|key| answered(&batch, key).is_none()));
    assert!((32..48).all(|key| answered(&batch, key).is_some()));
}

#[test]
fn an_answer_from_a_wallet_whose_time_is_ahead_is_kept_as_long_as_it_says() {
    let home = Home::small(Kind::Sqlite);
    let (_, mut writer) = home.open();
    let mut ahead = account(&mut writer);
    let mut batch = writer.begin().expect("begin");
    for grant in 2..50 {
        let grant = [ahead.grant(grant, 1)];
        ahead.record(&mut batch, &grant);
    }
    let cut = ahead.wallet.recorded_at;
    answer_keys(&mut batch, &mut ahead, 0..8);
    // The run ends with answers that are older than its first ones.
    let mut behind = Account::open(&mut batch, 2, 1);
    let grant = [behind.grant(1, 100)];
    behind.record(&mut batch, &grant);
    answer_keys(&mut batch, &mut behind, 8..16);
    assert!(behind.wallet.recorded_at < cut);
    while batch.fold_step(1_000).expect("fold").remaining > 0 {}
    batch.commit().expect("commit");
    let mut batch = writer.begin().expect("begin");
    while batch.prune_answers(cut, 100).expect("prune") {}
    batch.commit().expect("commit");
    assert!((0..8).all(|key| answered(&writer.begin().expect("begin"), key).is_some()));
}

fn a_forgotten_key_can_be_answered_anew(kind: Kind) {
    let home = Home::small(kind);
    let (_, mut writer) = home.open();
    let mut account = account(&mut writer);
    let mut batch = writer.begin().expect("begin");
    answer_keys(&mut batch, &mut account, 0..16);
    batch.commit().expect("commit");
    assert_answers(&mut writer, 0..16);
    home.fold(&mut writer);
    home.prune(&mut writer, Timestamp::NEVER);
    let mut batch = writer.begin().expect("begin");
    assert!((0..16).all(|key| answered(&batch, key).is_none()));
    answer_keys(&mut batch, &mut account, 3..4);
    assert_eq!(answered(&batch, 3), Some(text(3).into_bytes()));
    batch.commit().expect("commit");
    assert_eq!(answered(&writer.begin().expect("begin"), 3), Some(text(3).into_bytes()));
}

fn only_answers_older_than_they_are_kept_are_forgotten(kind: Kind) {
    let home = Home::small(kind);
    let (_, mut writer) = home.open();
    let mut account = account(&mut writer);
    let mut cuts = Vec::new();
    for start in [0, 16, 32] {
        let mut batch = writer.begin().expect("begin");
        answer_keys(&mut batch, &mut account, start..start + 16);
        batch.commit().expect("commit");
        home.fold(&mut writer);
        cuts.push(account.wallet.recorded_at.plus(1));
    }
    for (kept_from, cut) in [(0, Timestamp(1)), (16, cuts[0]), (32, cuts[1])] {
        home.prune(&mut writer, cut);
        let batch = writer.begin().expect("begin");
        let kept: Vec<u32> = (0..48).filter(|key| answered(&batch, *key).is_some()).collect();
        assert_eq!(kept, (kept_from..48).collect::<Vec<_>>());
    }
}

on_every_database! {
    every_answer_is_found_whatever_became_of_it,
    a_forgotten_key_can_be_answered_anew,
    only_answers_older_than_they_are_kept_are_forgotten,
}
