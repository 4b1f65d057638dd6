//! Where a copy goes: empty at first, marked until everything is there and was found right.
//!
//! Each chunk is a transaction that ends with how far it came. Tables say that themselves, by their last key: what is read from
//! the source in the order of keys is written in that order.

use super::home::{Guard, Home, lock_slots};
use super::ledger::{RANGE, Span, copied, set_copied};
use super::renumber::{Merge, at_seq, last};
use super::source::CopySource;
use super::table::{ANSWER, COLD, ENTRY, OUTBOX, Pages, STATE, TEXT, Table, column};
use super::{mark, refuse_unfinished, refused, remove_mark, set_mark};
use crate::dialect::{Dialect, statements};
use crate::driver::bulk::{Cell, Row};
use crate::driver::{DatabaseUrl, Session, Target, values};
use crate::error::StoreError;
use crate::hot::WRITER_SLOT;
use crate::hot::rows::{int, number, text};
use crate::hot::sqlite::Answers;
use crate::inspect;
use crate::migrate::{migrate_server, refuse_newer, refuse_other, schema_found};
use crate::position::{Heads, Position, SLOTS};
use crate::query::Reader;
use crate::sqlite;
use crate::store::OpenOptions;

statements! {
    WRITTEN = "SELECT COUNT(*) FROM slot WHERE seq > 0";
    NO_UNITS = "DELETE FROM unit";
    CLOSED_UNTIL = "SELECT MAX(closed_until) FROM slot";
    COLD_SEQ = "SELECT seq FROM slot WHERE slot = 0";
    SET_SLOT = "UPDATE slot SET seq = ?2, closed_until = ?3 WHERE slot = ?1";
    SET_CONFIG_EPOCH = "UPDATE config_epoch SET epoch = ?1 WHERE one = 1";
    SET_FOLD = "
        INSERT INTO fold (name, slot, position) VALUES (?1, ?2, ?3)
        ON CONFLICT (name, slot) DO UPDATE SET position = excluded.position";
    END_PROGRESS = "DELETE FROM fold WHERE name = ?1";
    META = "SELECT name, value FROM meta";
    SET_META = "
        INSERT INTO meta (name, value) VALUES (?1, ?2)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    WITHOUT_LEAD_UNTIL = "SELECT MAX(created_at) FROM answer WHERE key_digest < ?1";
}

/// Rows of a table that are read and written at a time.
const PAGE: usize = 5_000;
/// Facts that a database knows of itself alone.
const OWN_FACTS: [&str; 4] = ["clean_shutdown", "copy_source", "ledger_id", WITHOUT_LEAD];
/// Until when answers were given whose keys are stored without their lead.
const WITHOUT_LEAD: &str = "answers_without_lead";

/// A database that is copied into.
pub struct CopyTarget {
    home: Home,
    _guard: Option<Guard>,
    resumed: bool,
}

/// How far a copy is.
struct Progress<'h> {
    done: u64,
    total: u64,
    heard: &'h mut dyn FnMut(u64, u64),
}

impl Progress<'_> {
    fn advance(&mut self, by: u64) {
        self.done += by;
        (self.heard)(self.done, self.total);
    }
}

impl CopyTarget {
    /// Takes it for a copy of this source: makes it or brings its schema up where that is needed, and marks it.
    ///
    /// # Errors
    /// It holds something else than the beginning of a copy of this source in this state, or somebody serves it.
    pub fn claim(url: &DatabaseUrl, source: &CopySource) -> Result<CopyTarget, StoreError> {
        let (home, guard) = match url {
            DatabaseUrl::Sqlite(path) => {
                let (connection, _lock) = sqlite::open_to_write(path).map_err(|error| match error {
                    StoreError::Locked { .. } => refused(format!("{url} is in use; stop what uses it first")),
                    error => error,
                })?;
                (Home::File { connection, _lock }, None)
            }
            DatabaseUrl::Server(target) => connect(target)?,
        };
        let resumed = home.in_transaction(|session| begin_copy(session, url, source.mark()))?;
        Ok(CopyTarget { home, _guard: guard, resumed })
    }

    /// Whether a copy that did not end goes on.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Copies everything that is not there yet, in one snapshot of the source. `heard` hears how many of how many steps are done.
    pub fn take(&self, source: &CopySource, heard: &mut dyn FnMut(u64, u64)) -> Result<(), StoreError> {
        let session = self.home.session();
        source.read(|reader| {
            let heads = reader.heads()?;
            let done = copied(session)?.total() + rows_of_tables(session)?;
            let total = heads.total() + rows_of_tables(reader.session)?;
            let mut progress = Progress { done, total, heard };
            progress.advance(0);
            for table in &COLD {
                self.copy_table(reader, table, &mut progress)?;
            }
            match session.dialect() {
                Dialect::Sqlite => self.copy_merged(reader, &heads, &mut progress)?,
                Dialect::Postgres | Dialect::Mysql => self.copy_ranges(reader, &heads, &mut progress)?,
            }
            for table in &STATE {
                self.copy_table(reader, table, &mut progress)?;
            }
            self.home.in_transaction(|target| settle(reader, target, &heads))
        })?;
        match &self.home {
            Home::File { connection, .. } => {
                let answers_per_run = OpenOptions::default().answers_per_run;
                while self.home.in_transaction(|_| Answers::make_run(connection, answers_per_run))? {}
                Ok(())
            }
            // Else the first questions are planned for empty tables.
            Home::Server(_) if session.dialect() == Dialect::Postgres => session.migrate("ANALYZE"),
            Home::Server(_) => Ok(()),
        }
    }

    /// Says that everything is there and right: from now on it may be served.
    pub fn finish(self) -> Result<(), StoreError> {
        self.home.in_transaction(|session| {
            session.execute(END_PROGRESS, values!["copied"])?;
            session.execute(END_PROGRESS, values!["copied_as"])?;
            remove_mark(session)
        })?;
        match &self.home {
            Home::File { .. } => self.home.session().script("PRAGMA wal_checkpoint(TRUNCATE)"),
            Home::Server(_) => Ok(()),
        }
    }

    fn copy_table(
        &self,
        source: &Reader<'_>,
        table: &'static Table,
        progress: &mut Progress<'_>,
    ) -> Result<(), StoreError> {
        let session = self.home.session();
        let moves_heads = table.shape.table == "wallet" && session.dialect() == Dialect::Sqlite;
        let here = Pages::of(table, PAGE, session.dialect());
        let there = Pages::of(table, PAGE, source.session.dialect());
        let mut newest = here.newest(session)?;
        loop {
            let mut rows = there.read(source.session, newest.as_ref())?;
            let Some(last) = rows.last().cloned() else { return Ok(()) };
            if moves_heads {
                rows.iter_mut().try_for_each(|wallet| move_head(session, wallet))?;
            }
            self.home.in_transaction(|target| target.insert_rows(&table.shape, &rows))?;
            progress.advance(rows.len() as u64);
            newest = Some(last);
        }
    }

    /// Copies the ledger of each slot as it is.
    fn copy_ranges(
        &self,
        source: &Reader<'_>,
        heads: &Heads,
        progress: &mut Progress<'_>,
    ) -> Result<(), StoreError> {
        let done = copied(self.home.session())?;
        for head in heads.written() {
            let mut after = done.of(head.slot());
            while after < head {
                let upto = head.at(head.seq().min(after.seq() + RANGE));
                let span = Span::read(source.session, after, upto)?;
                self.home.in_transaction(|target| {
                    span.write(target)?;
                    set_copied(target, upto)
                })?;
                progress.advance(upto.seq() - after.seq());
                after = upto;
            }
        }
        Ok(())
    }

    /// Copies the ledgers of all slots into one.
    fn copy_merged(
        &self,
        source: &Reader<'_>,
        heads: &Heads,
        progress: &mut Progress<'_>,
    ) -> Result<(), StoreError> {
        let done = copied(self.home.session())?;
        let (mut merge, mut before) = (Merge::of(heads, &done), done.total());
        while let Some(now) = self.home.in_transaction(|target| merge.step(source.session, target))? {
            progress.advance(now - before);
            before = now;
        }
        Ok(())
    }
}

/// A connection to a server with a current schema, and what keeps another copy away.
fn connect(target: &Target) -> Result<(Home, Option<Guard>), StoreError> {
    let home = Home::connect(target)?;
    let found = schema_found(home.session())?;
    refuse_newer(found)?;
    if refuse_other(found).is_err() {
        migrate_server(target)?;
    }
    inspect::refuse_unfit(home.session())?;
    Ok((home, Some(Guard::of_copier(target)?)))
}

/// Marks an empty database; whether it was marked by an earlier beginning of the same copy.
fn begin_copy(session: Session<'_>, url: &DatabaseUrl, source: i64) -> Result<bool, StoreError> {
    if session.dialect() != Dialect::Sqlite {
        lock_slots(session, url)?;
    }
    match mark(session)? {
        Some(found) if found == source => return Ok(true),
        Some(_) => {
            return Err(refused(format!(
                "{url} holds the beginning of a copy of another database, or of this one before it was served again; drop \
                 it and begin anew"
            )));
        }
        None => {}
    }
    refuse_unfinished(session)?;
    // The one unit that every schema begins with is copied as well: its name may have been changed.
    let keyed = COLD.iter().chain(&STATE).map(|table| table.shape.table).filter(|table| *table != "unit");
    for table in keyed.chain([ENTRY, TEXT, OUTBOX, ANSWER].map(|shape| shape.table)) {
        let sql: &'static str = format!("SELECT 1 FROM {table} LIMIT 1").leak();
        if session.first(sql, &[], |_| Ok(()))?.is_some() {
            return Err(refused(format!("{url} is not empty (table {table}); copy into a new database")));
        }
    }
    if session.one(WRITTEN, &[], |row| int(row, 0))? > 0 {
        return Err(refused(format!("{url} was written to before; copy into a new database")));
    }
    session.execute(NO_UNITS, &[])?;
    set_mark(session, source)?;
    Ok(false)
}

/// How many rows there are of the tables that are copied by key.
fn rows_of_tables(session: Session<'_>) -> Result<u64, StoreError> {
    let count = |table: &Table| {
        let sql: &'static str = format!("SELECT COUNT(*) FROM {}", table.shape.table).leak();
        session.one(sql, &[], |row| number(row, 0))
    };
    COLD.iter().chain(&STATE).map(count).sum()
}

/// Makes a wallet's row name its last entry at the new position.
fn move_head(target: Session<'_>, wallet: &mut Row) -> Result<(), StoreError> {
    let seq = wallet[column::WALLET_SEQ].int()?;
    let (tenant, id) = (wallet[column::WALLET_TENANT].int()?, wallet[column::WALLET_ID].bytes()?);
    let head = match seq {
        0 => Position::NONE,
        seq => at_seq(target, tenant, id, seq)?
            .ok_or_else(|| StoreError::inconsistent("wallet", tenant, "its last entry is missing"))?,
    };
    wallet[column::WALLET_HEAD_POSITION] = Cell::Int(head.to_sql());
    Ok(())
}

/// Writes what a database knows of itself, so that the next start is right.
fn settle(source: &Reader<'_>, target: Session<'_>, heads: &Heads) -> Result<(), StoreError> {
    let embedded = target.dialect() == Dialect::Sqlite;
    let mut reached = Heads::default();
    if embedded {
        reached.set(last(target)?);
        let wallet_rows = values!["wallet_rows", WRITER_SLOT, reached.of(WRITER_SLOT).to_sql()];
        target.execute(SET_FOLD, wallet_rows)?;
    } else {
        heads.written().for_each(|head| reached.set(head));
    }
    for head in reached.written() {
        target.execute(SET_FOLD, values!["wallet_history", head.slot(), head.to_sql()])?;
    }
    let closed_until = source.session.one(CLOSED_UNTIL, &[], |row| int(row, 0))?;
    let cold = source.session.one(COLD_SEQ, &[], |row| int(row, 0))?;
    for slot in 0..SLOTS {
        let seq = if slot == 0 { cold } else { reached.of(slot).seq() as i64 };
        target.execute(SET_SLOT, values![slot, seq, closed_until])?;
    }
    target.execute(SET_CONFIG_EPOCH, values![source.config_epoch()?])?;
    let facts = source.session.all(META, &[], |row| Ok((text(row, 0)?, int(row, 1)?)))?;
    for (name, value) in &facts {
        if !OWN_FACTS.contains(&name.as_str()) {
            target.execute(SET_META, values![name, *value])?;
        }
    }
    if embedded {
        return Ok(());
    }
    // What begins with a zero byte, as no key does.
    let until = target.one(WITHOUT_LEAD_UNTIL, values![&[1_u8]], |row| row.int(0))?;
    until.map_or(Ok(()), |until| target.execute(SET_META, values![WITHOUT_LEAD, until]).map(|_| ()))
}
