//! Answers that were stored before embedded databases kept the leads of keys go on answering on a server and back.
//!
//! What else a copy has to be is tested in `crates/app/tests/copy`.

#[path = "shared/databases.rs"]
#[allow(unused_macros, reason = "these tests are of several databases each")]
mod databases;

use databases::Kind;
use purser_core::{EntryKind, TenantNo, Timestamp};
use purser_store::{
    CopySource, CopyTarget, DatabaseUrl, Keeper, KeyDigest, NewAnswer, OpenOptions, Recording,
    ScratchDatabase, Store, Wanted, Writer,
};
use std::path::Path;

const TENANT: TenantNo = TenantNo(u64::MAX - 7);
const KEYS: u64 = 90;
/// Of every three keys the first is old.
const OLD: &str = "UPDATE answer SET key_digest = substr(key_digest, 13) WHERE position % 3 = 1";

fn key(number: u64) -> KeyDigest {
    // As clients are told to (their beginning is the time), and as they like.
    let text =
        if number.is_multiple_of(2) { format!("018f3c2a-77{number:02x}") } else { format!("{number}") };
    KeyDigest::of(TENANT, &text)
}

/// Answers without entries, as of a command that moved nothing.
fn answer(writer: &mut Writer, numbers: std::ops::Range<u64>) {
    let mut batch = writer.begin().expect("a transaction");
    for number in numbers {
        let answer = NewAnswer {
            tenant: TENANT,
            key: key(number),
            request_digest: &[7; 32],
            receipt: &number.to_be_bytes(),
            created_at: Timestamp(1_000 + number as i64),
        };
        let recording =
            Recording { entries: &[], event: EntryKind::Debit, falls: &[], text: None, answer: Some(answer) };
        batch.append(&recording, &mut []).expect("an answer");
    }
    batch.commit().expect("it is kept");
}

fn open(url: &DatabaseUrl) -> (Writer, Option<Keeper>) {
    // Small, so that some answers are in runs.
    let options = OpenOptions { answers_per_run: 16, ..OpenOptions::default() };
    match url {
        DatabaseUrl::Sqlite(path) => (Store::open(path, &options).expect("it opens").1, None),
        DatabaseUrl::Server(target) => {
            let (_, mut writers, keeper) = Store::connect(target, &options, 1).expect("it answers");
            (writers.remove(0), Some(keeper))
        }
    }
}

/// Every answer is found, announced and not, and no other.
fn found(writer: &mut Writer, known: u64) {
    let keys: Vec<KeyDigest> = (0..known + 10).map(key).collect();
    for wanted in [Wanted { keys: keys.clone(), ..Wanted::default() }, Wanted::default()] {
        let batch = writer.begin_for(&wanted).expect("a transaction");
        for (number, key) in keys.iter().enumerate() {
            let receipt = batch.answer(*key).expect("read").map(|answer| answer.receipt);
            let expected = ((number as u64) < known).then(|| number.to_be_bytes().to_vec());
            assert_eq!(receipt, expected, "key {number} of {known}");
        }
    }
}

fn copy(from: &DatabaseUrl, to: &DatabaseUrl) {
    let source = CopySource::claim(from).expect("a source");
    let target = CopyTarget::claim(to, &source).expect("a target");
    target.take(&source, &mut |_, _| ()).expect("it is copied");
    source.is_unchanged().expect("nobody wrote");
    target.finish().expect("it is done");
}

fn old_answers_answer_everywhere(kind: Kind, folder: &Path) {
    let file = |name: &str| DatabaseUrl::Sqlite(folder.join(format!("{kind:?}-{name}.db")));
    let (first, last) = (file("first"), file("last"));
    let (mut writer, _) = open(&first);
    answer(&mut writer, 0..KEYS);
    writer.close().expect("closed");
    let DatabaseUrl::Sqlite(path) = &first else { unreachable!("a file") };
    let by_hand = rusqlite::Connection::open(path).expect("it opens");
    assert_eq!(by_hand.execute(OLD, []).expect("the leads go"), 30);
    drop(by_hand);
    let (mut writer, _) = open(&first);
    found(&mut writer, KEYS);
    writer.close().expect("closed");

    let home = ScratchDatabase::empty(&kind.server_url()).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
    let server = DatabaseUrl::parse(home.url()).expect("a URL");
    copy(&first, &server);
    let (mut writer, _) = open(&server);
    found(&mut writer, KEYS);
    answer(&mut writer, KEYS..KEYS + 20);
    found(&mut writer, KEYS + 20);
    writer.close().expect("closed");

    copy(&server, &last);
    let (mut writer, _) = open(&last);
    found(&mut writer, KEYS + 20);
    writer.close().expect("closed");

    // Once the last old answer is forgotten, the newer ones are found by the whole key alone.
    let (mut writer, keeper) = open(&server);
    let mut keeper = keeper.expect("a server has one");
    while keeper.prune_answers(Timestamp(1_000 + KEYS as i64), 16).expect("forgotten") {}
    let again = |writer: &mut Writer, number: u64| {
        let batch = writer.begin().expect("a transaction");
        batch.answer(key(number)).expect("read").map(|answer| answer.receipt)
    };
    assert_eq!(again(&mut writer, KEYS - 1), None);
    writer.close().expect("closed");
    let (mut writer, _) = open(&server);
    assert_eq!(again(&mut writer, KEYS - 3), None);
    assert_eq!(again(&mut writer, KEYS + 3), Some((KEYS + 3).to_be_bytes().to_vec()));
    writer.close().expect("closed");
}

#[test]
fn answers_from_before_keys_had_leads_answer_on_every_server_and_back() {
    let folder = tempfile::tempdir().expect("a folder");
    for kind in [Kind::Postgres, Kind::Mysql] {
        old_answers_answer_everywhere(kind, folder.path());
    }
}
