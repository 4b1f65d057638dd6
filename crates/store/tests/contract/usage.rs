//! What was charged since an instant is found by halving, and read in pieces.

use crate::databases::Kind;
use crate::home::Home;
use crate::world::{Account, lot};
use purser_core::time::SECOND;
use purser_core::{EntryKind, Terms, Timestamp};
use purser_store::Position;

/// By how much what a time is looked for may stand behind what was recorded later.
const SLACK: i64 = 120 * SECOND;

fn a_time_is_found_in_the_order_of_the_ledger(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    let mut account = Account::open(&mut batch, 1, 2);
    let mut entries = vec![account.grant(1, 1_000)];
    for step in 1..=40 {
        // An hour and then two at once, so that several were recorded at nearly one time.
        account.wallet.recorded_at = Timestamp((step / 2) * 3_600 * SECOND);
        entries.push(account.debit(step as u64 + 1, lot(1), step));
    }
    account.record_and_save(&mut batch, &entries);
    batch.commit().expect("commit");
    let (all, head) = store
        .read(|reader| Ok((reader.entries_in_order(Position::NONE, 100)?, reader.heads()?)))
        .expect("read");
    let head = head.written().next().expect("one writer has written");
    let times =
        [0, 1, SLACK, 3_600 * SECOND, 7_200 * SECOND + SLACK, 36_000 * SECOND, 80_000 * SECOND, i64::MAX];
    for since in times {
        let place = store.read(|reader| reader.before_time(head, Timestamp(since))).expect("read");
        for row in &all {
            let older = row.entry.recorded_at.0 < since - SLACK;
            assert_eq!(row.position <= place, older, "{:?} of {since}", row.entry.recorded_at);
        }
    }
}

fn only_debits_and_captures_are_read_whatever_the_piece(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    let mut account = Account::open(&mut batch, u64::MAX - 8, 5);
    let entries = vec![
        account.grant(1, 100),
        account.debit(2, lot(1), 3),
        account.hold(3, lot(1), 20),
        account.release(3, lot(1), 20),
        account.debit(4, lot(1), 5),
    ];
    account.record_and_save(&mut batch, &entries);
    batch.commit().expect("commit");
    let wanted: Vec<_> = entries.iter().filter(|entry| entry.kind == EntryKind::Debit).collect();
    for piece in 1..=6 {
        let charged = store.read(|reader| {
            let head = reader.heads()?.written().next().expect("one writer has written");
            let (mut after, mut charged) = (Some(Position::new(head.slot(), 0)), Vec::new());
            while let Some(place) = after {
                let page = reader.charged(place, head, piece)?;
                assert!(page.charged.len() <= piece);
                charged.extend(page.charged);
                after = page.last;
            }
            Ok(charged)
        });
        let charged = charged.expect("read");
        let newest = store.read(|reader| {
            let mut until = reader.heads()?.written().next();
            let mut charged = Vec::new();
            while let Some(place) = until {
                let page = reader.newest_charged(place, piece)?;
                charged.extend(page.charged);
                until = page.last.and_then(Position::before);
            }
            charged.reverse();
            Ok(charged)
        });
        assert_eq!(newest.expect("read"), charged, "backwards it is the same");
        assert_eq!(charged.len(), wanted.len(), "in pieces of {piece}");
        for (charged, entry) in charged.iter().zip(&wanted) {
            assert_eq!((charged.tenant, charged.user), (entry.wallet.tenant, entry.user));
            assert_eq!(charged.recorded_at, entry.recorded_at);
            assert_eq!(Terms::Charge(charged.charge.clone()), entry.terms);
        }
    }
}

on_every_database!(
    a_time_is_found_in_the_order_of_the_ledger,
    only_debits_and_captures_are_read_whatever_the_piece,
);
