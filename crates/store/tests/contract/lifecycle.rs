//! Opening and closing, reads and what they see: on any database.

use crate::databases::Kind;
use crate::home::Home;
use crate::world::{Account, lot};
use purser_store::{Position, Store};

/// A database with some pages of entries, closed in order.
pub(crate) fn filled(kind: Kind) -> Home {
    let home = Home::new(kind);
    let (_, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    let mut account = Account::open(&mut batch, 1, 1);
    let mut entries = vec![account.grant(1, 1_000)];
    entries.extend((0..200).map(|number| account.debit(number + 2, lot(1), 1)));
    account.record_and_save(&mut batch, &entries);
    batch.commit().expect("commit");
    writer.close().expect("close");
    home
}

fn a_reader_needs_no_lock_and_sees_what_was_committed(kind: Kind) {
    let home = Home::new(kind);
    let (_, mut writer) = home.open();
    let reader = Store::open_reader(&home.url()).expect("beside the writer");
    assert_eq!(reader.read(|reader| reader.counts()).expect("read").entries, 0);
    let mut batch = writer.begin().expect("begin");
    let mut account = Account::open(&mut batch, 1, 1);
    let grant = [account.grant(1, 5)];
    account.record_and_save(&mut batch, &grant);
    assert_eq!(reader.read(|reader| reader.counts()).expect("read").entries, 0, "not committed yet");
    batch.commit().expect("commit");
    assert_eq!(reader.read(|reader| reader.counts()).expect("read").entries, 1);
}

fn one_read_is_one_snapshot(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    store
        .read(|reader| {
            assert_eq!(reader.counts()?.wallets, 0);
            let mut batch = writer.begin()?;
            Account::open(&mut batch, 1, 1).save(&mut batch);
            batch.commit().expect("commit");
            assert_eq!(reader.counts()?.wallets, 0, "what was committed since is not seen");
            Ok(())
        })
        .expect("read");
    assert_eq!(store.read(|reader| reader.counts()).expect("read").wallets, 1);
}

fn a_read_that_panics_gives_its_connection_back(kind: Kind) {
    let home = Home::with_one_reader(kind);
    let (store, _writer) = home.open();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        store.read::<()>(|_| panic!("a bug in a read"))
    }));
    assert!(panicked.is_err());
    assert_eq!(store.read(|reader| reader.counts()).expect("the only connection is free").entries, 0);
}

fn positions_go_on_where_the_last_process_stopped(kind: Kind) {
    let home = filled(kind);
    let (store, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    assert_eq!(batch.begun_at().seq(), 201);
    let mut account = Account::open(&mut batch, 1, 9);
    let grant = [account.grant(7, 5)];
    assert_eq!(account.record_and_save(&mut batch, &grant).seq(), 202);
    batch.commit().expect("commit");
    let last =
        store.read(|reader| reader.entries_in_order(Position(writer.position().0 - 1), 10)).expect("read");
    assert_eq!(last.len(), 1);
}

fn a_second_close_and_open_change_nothing(kind: Kind) {
    let home = filled(kind);
    let (store, writer) = home.open();
    let before = store.read(|reader| reader.counts()).expect("read");
    writer.close().expect("close");
    let (store, writer) = home.open();
    assert_eq!(store.read(|reader| reader.counts()).expect("read"), before);
    writer.close().expect("close");
}

on_every_database! {
    a_reader_needs_no_lock_and_sees_what_was_committed,
    one_read_is_one_snapshot,
    a_read_that_panics_gives_its_connection_back,
    positions_go_on_where_the_last_process_stopped,
    a_second_close_and_open_change_nothing,
}
