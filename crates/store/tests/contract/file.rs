//! The file of an embedded database: what is refused, with which error, and what survives.

use crate::databases::Kind;
use crate::home::Home;
use crate::lifecycle::filled;
use crate::world::{Account, lot};
use purser_store::{Store, StoreError};
use std::fs;
use std::io::{Seek, SeekFrom, Write};

fn refusal(home: &Home) -> StoreError {
    match Store::open(&home.path(), &home.options) {
        Ok(_) => panic!("the database was opened"),
        Err(error) => error,
    }
}

#[test]
fn a_second_open_is_refused_until_the_first_is_gone() {
    let home = Home::new(Kind::Sqlite);
    let (_, writer) = home.open();
    let refused = refusal(&home);
    assert!(matches!(&refused, StoreError::Locked { .. }), "{refused}");
    assert!(refused.to_string().contains("purser.db.lock"), "{refused}");
    drop(writer);
    home.open();
}

#[test]
fn a_read_cannot_write() {
    let home = Home::new(Kind::Sqlite);
    let (_, writer) = home.open();
    drop(writer);
    let offline = Store::open_reader(&home.url()).expect("open");
    let before = fs::read(home.path()).expect("bytes");
    offline.read(|reader| reader.config()).expect("read");
    assert_eq!(fs::read(home.path()).expect("bytes"), before);
}

#[test]
fn a_read_only_file_is_refused() {
    let home = filled(Kind::Sqlite);
    let mut permissions = fs::metadata(home.path()).expect("metadata").permissions();
    permissions.set_readonly(true);
    fs::set_permissions(home.path(), permissions).expect("permissions");
    assert!(matches!(refusal(&home), StoreError::ReadOnly));
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    for content in [&b"hello"[..], &[0; 4096], b"%PDF-1.7 something much longer than sixteen bytes"] {
        let home = Home::new(Kind::Sqlite);
        fs::write(home.path(), content).expect("written");
        let refused = refusal(&home);
        assert!(matches!(&refused, StoreError::Corrupt { .. }), "{refused}");
        assert_eq!(fs::read(home.path()).expect("read"), content);
        assert!(matches!(Store::open_reader(&home.url()), Err(StoreError::Corrupt { .. })));
    }
}

#[test]
fn the_database_of_another_program_is_refused() {
    let home = Home::new(Kind::Sqlite);
    let file = rusqlite::Connection::open(home.path()).expect("made by hand");
    file.execute_batch("CREATE TABLE songs (title TEXT)").expect("made by hand");
    drop(file);
    let refused = refusal(&home);
    assert!(refused.to_string().contains("another program"), "{refused}");
}

#[test]
fn a_truncated_file_is_refused() {
    let home = filled(Kind::Sqlite);
    let length = fs::metadata(home.path()).expect("metadata").len();
    let file = fs::File::options().write(true).open(home.path()).expect("open");
    file.set_len(length / 2 / 4096 * 4096).expect("cut");
    drop(file);
    let refused = refusal(&home);
    assert!(matches!(&refused, StoreError::Corrupt { .. }), "{refused}");
}

#[test]
fn a_file_damaged_in_the_middle_is_refused_after_an_unclean_end() {
    let home = filled(Kind::Sqlite);
    // The process that opens it now does not end in order.
    drop(home.open());
    // A leaf of the index by subject, which nothing reads at the start: only a look through the whole file finds it.
    let (leaf_of_an_index, many_cells) = (0x0a, 60);
    let bytes = fs::read(home.path()).expect("bytes");
    let is_leaf =
        |page: &[u8]| page[0] == leaf_of_an_index && u16::from_be_bytes([page[3], page[4]]) > many_cells;
    let leaf = bytes.chunks(4096).position(is_leaf).expect("the index has leaves") as u64;
    let mut file = fs::File::options().write(true).open(home.path()).expect("open");
    file.seek(SeekFrom::Start(leaf * 4096)).expect("seek");
    file.write_all(&[0xa5; 512]).expect("damaged");
    drop(file);
    let refused = refusal(&home);
    assert!(matches!(&refused, StoreError::Corrupt { .. }), "{refused}");
}

#[test]
fn a_damaged_root_page_is_refused_even_after_a_clean_end() {
    let home = filled(Kind::Sqlite);
    let file = rusqlite::Connection::open(home.path()).expect("open by hand");
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'entry'";
    let root: u64 = file.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("root page") as u64;
    drop(file);
    let mut file = fs::File::options().write(true).open(home.path()).expect("open");
    file.seek(SeekFrom::Start((root - 1) * 4096)).expect("seek");
    file.write_all(&[0xa5; 512]).expect("damaged");
    drop(file);
    let refused = refusal(&home);
    assert!(matches!(&refused, StoreError::Corrupt { .. }), "{refused}");
}

#[test]
fn a_schema_from_the_future_is_refused_and_left_alone() {
    let home = filled(Kind::Sqlite);
    let file = rusqlite::Connection::open(home.path()).expect("open by hand");
    file.execute("UPDATE refinery_schema_history SET version = 99 WHERE version = 2", []).expect("changed");
    drop(file);
    assert!(matches!(refusal(&home), StoreError::Newer { found: 99, .. }));
    assert!(matches!(Store::open_reader(&home.url()), Err(StoreError::Newer { found: 99, .. })));
}

#[test]
fn a_folder_that_is_absent_is_a_clear_error() {
    let home = Home::new(Kind::Sqlite);
    let path = home.path().join("nowhere").join("purser.db");
    let Err(refused) = Store::open(&path, &home.options) else { panic!("it was opened") };
    assert!(matches!(&refused, StoreError::Other(_)), "{refused}");
}

#[test]
fn a_writer_that_lost_its_slot_is_stopped() {
    let home = Home::new(Kind::Sqlite);
    let (_, mut writer) = home.open();
    let file = rusqlite::Connection::open(home.path()).expect("open by hand");
    file.execute("UPDATE slot SET epoch = epoch + 1 WHERE slot = 1", []).expect("taken over");
    assert!(matches!(writer.begin(), Err(StoreError::Locked { .. })));
}

#[test]
fn a_begin_behind_another_writer_is_busy_and_leaves_the_connection_usable() {
    let home = Home::new(Kind::Sqlite);
    let (_, mut writer) = home.open();
    let other = rusqlite::Connection::open(home.path()).expect("open by hand");
    other.execute_batch("BEGIN IMMEDIATE").expect("begin by hand");
    assert!(matches!(writer.begin(), Err(StoreError::Busy)));
    other.execute_batch("ROLLBACK").expect("rollback by hand");
    writer.begin().expect("the lock is free").commit().expect("commit");
}

#[test]
fn a_checkpoint_beside_the_writer_moves_the_log_into_the_file_and_changes_nothing_else() {
    let home = Home::new(Kind::Sqlite);
    let (store, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    let mut account = Account::open(&mut batch, 1, 1);
    let mut entries = vec![account.grant(1, 1_000)];
    entries.extend((0..200).map(|number| account.debit(number + 2, lot(1), 1)));
    account.record(&mut batch, &entries);
    batch.commit().expect("commit");
    let before = fs::metadata(home.path()).expect("metadata").len();
    let copier = store.log_copier().expect("a connection").expect("an embedded database");
    assert!(copier.copy().expect("copied") > 0);
    copier.flush().expect("flushed");
    assert!(fs::metadata(home.path()).expect("metadata").len() > before + 60_000);
    let batch = writer.begin().expect("begin");
    assert!(!batch.changed_outside(), "a checkpoint is no change");
    assert_eq!(batch.history(account.tenant(), purser_core::Id::new(9, 2)).expect("read").len(), 1);
}

#[test]
fn the_rendered_schemas_are_the_committed_ones() {
    let committed = [
        ("sqlite", include_str!("schema.sqlite.sql")),
        ("postgres", include_str!("schema.postgres.sql")),
        ("mysql", include_str!("schema.mysql.sql")),
    ];
    for (system, schema) in committed {
        // After a change that is meant: `cargo run -p purser-store --example schema -- SYSTEM > FILE`.
        assert_eq!(purser_store::rendered_schema(system).as_deref(), Some(schema), "{system}");
    }
}
