//! Brings the schema up to what this program knows; never down, and never past a schema it does not know.
//!
//! Migrations are one numbered set of texts, rendered per database by `dialect.rs`, and applied by refinery, which keeps
//! the checksum of each. A released migration never changes; a test compares the rendered text with a committed one. On a
//! server one node migrates at a time: the others wait for the row that it locks.

use crate::dialect::{Dialect, statements};
use crate::driver::mysql_session::STAY_IDLE;
use crate::driver::{Columns, LOCK_MAX, Link, Session, Target};
use crate::error::StoreError;
use crate::hot::rows::{int, small, text};
use crate::hot::server::begin_writing;
use crate::store::{OpenOptions, Store};
use crate::{inspect, rights, sqlite};
use refinery_core::traits::sync::{Migrate, Query, Transaction};
use refinery_core::{Migration, Runner};
use std::path::Path;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

statements! {
    SCHEMA_FOUND = "SELECT CAST(MAX(version) AS CHAR(9)) FROM refinery_schema_history";
    APPLIED = "SELECT version, name, applied_on, checksum FROM refinery_schema_history ORDER BY version";
    LOCK = "SELECT one FROM migration_lock WHERE one = 1 FOR UPDATE";
}

/// How often somebody else's migration is waited for; each wait is as long as the database waits for a lock.
const WAITS_MAX: usize = 24;

/// Number, name and text of each migration of a database.
fn texts(dialect: Dialect) -> [(u32, &'static str, &'static str); 9] {
    let append_only = match dialect {
        Dialect::Sqlite => include_str!("../migrations/0002_append_only.sqlite.sql"),
        Dialect::Postgres => include_str!("../migrations/0002_append_only.postgres.sql"),
        Dialect::Mysql => include_str!("../migrations/0002_append_only.mysql.sql"),
    };
    [
        (1, "ledger", include_str!("../migrations/0001_ledger.sql")),
        (2, "append_only", append_only),
        (3, "overrides", include_str!("../migrations/0003_overrides.sql")),
        (4, "quotes", include_str!("../migrations/0004_quotes.sql")),
        (5, "usage_events", include_str!("../migrations/0005_usage_events.sql")),
        (6, "gate", include_str!("../migrations/0006_gate.sql")),
        (7, "limits", include_str!("../migrations/0007_limits.sql")),
        (8, "confirmation", include_str!("../migrations/0008_confirmation.sql")),
        (9, "discounts_and_alerts", include_str!("../migrations/0009_discounts_and_alerts.sql")),
    ]
}

/// The newest schema this program knows.
pub(crate) fn schema_known() -> u32 {
    texts(Dialect::Sqlite).iter().map(|(number, ..)| *number).max().unwrap_or(0)
}

/// The schema of the database; none when it is empty.
pub(crate) fn schema_found(session: Session<'_>) -> Result<Option<u32>, StoreError> {
    if exists(session, "refinery_schema_history")? {
        let newest = session
            .one(SCHEMA_FOUND, &[], |row| Ok(row.text(0)?.and_then(|text| text.trim().parse().ok())))?;
        return Ok(newest);
    }
    if session.dialect() == Dialect::Sqlite {
        let tables =
            session.one("SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table'", &[], |row| int(row, 0))?;
        if tables > 0 {
            return Err(StoreError::Corrupt { what: "it is the database of another program".into() });
        }
    }
    Ok(None)
}

fn exists(session: Session<'_>, table: &str) -> Result<bool, StoreError> {
    let sql = match session.dialect() {
        Dialect::Sqlite => "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1",
        Dialect::Postgres => "SELECT COUNT(*) FROM pg_catalog.pg_class WHERE oid = to_regclass(?1)",
        Dialect::Mysql => {
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?1"
        }
    };
    Ok(session.one(sql, &[table.into()], |row| int(row, 0))? > 0)
}

/// Refuses a schema from the future.
pub(crate) fn refuse_newer(found: Option<u32>) -> Result<(), StoreError> {
    let known = schema_known();
    match found {
        Some(found) if found > known => Err(StoreError::Newer { found, known }),
        Some(_) | None => Ok(()),
    }
}

/// Refuses a schema that is not the one this program knows.
pub(crate) fn refuse_other(found: Option<u32>) -> Result<(), StoreError> {
    refuse_newer(found)?;
    let known = schema_known();
    match found {
        Some(found) if found == known => Ok(()),
        Some(found) => Err(StoreError::Older { found: format!("schema {found}"), known }),
        None => Err(StoreError::Older { found: "no schema".into(), known }),
    }
}

/// Applies what is missing; the numbers of what was applied.
pub(crate) fn migrate(session: Session<'_>) -> Result<Vec<u32>, StoreError> {
    refuse_newer(schema_found(session)?)?;
    let migrations: Vec<Migration> = rendered(session.dialect())
        .into_iter()
        .map(|(number, name, text)| {
            Migration::unapplied(&format!("V{number}__{name}"), &text)
                .expect("the names of migrations are well-formed")
        })
        .collect();
    let mut migrating = Migrating { session, fault: None };
    let report = Runner::new(&migrations).set_grouped(true).run(&mut migrating).map_err(|error| {
        migrating.fault.take().unwrap_or_else(|| StoreError::Other(format!("migration: {error}")))
    })?;
    Ok(report.applied_migrations().iter().filter_map(|done| u32::try_from(done.version()).ok()).collect())
}

/// What a migration did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Migrated {
    /// The numbers of the migrations that were applied.
    pub applied: Vec<u32>,
    /// The schema that is there now.
    pub schema: u32,
    /// The runtime role that was granted what it lacked.
    pub granted: Option<String>,
}

/// Brings an embedded database up to the schema this program knows, making it where it is absent.
///
/// # Errors
/// Another process serves it, or a newer program wrote it.
pub fn migrate_file(path: &Path) -> Result<Migrated, StoreError> {
    let before = if path.exists() { found_in_file(path)? } else { None };
    refuse_newer(before)?;
    let schema = schema_known();
    let mut applied = Vec::new();
    if before != Some(schema) {
        let (_, writer) = Store::open(path, &OpenOptions::default())?;
        writer.close()?;
        applied.extend(before.unwrap_or(0) + 1..=schema);
    }
    Ok(Migrated { applied, schema, granted: None })
}

fn found_in_file(path: &Path) -> Result<Option<u32>, StoreError> {
    if path.metadata().is_ok_and(|file| file.len() == 0) {
        return Ok(None);
    }
    sqlite::check_readable(path)?;
    schema_found(Session::Sqlite(&sqlite::open_for_reading(path)?))
}

/// Brings a server database up to the schema this program knows; the numbers of the migrations that were applied. Safe to
/// start on many nodes at once.
///
/// # Errors
/// The user may not change the schema, or a newer program already did.
pub fn migrate_server(target: &Target) -> Result<Vec<u32>, StoreError> {
    migrate_server_for(target, None).map(|migrated| migrated.applied)
}

/// The same, and grants the user that serves (`runtime`) what it lacks on the tables.
///
/// # Errors
/// As [`migrate_server`]; a runtime user that cannot be found or granted anything is only told of in the log.
pub fn migrate_server_for(owner: &Target, runtime: Option<&Target>) -> Result<Migrated, StoreError> {
    // A pooler may hand each transaction another connection: nothing is kept prepared, and the lock is one transaction.
    let owner = &Target { keep_prepared: false, ..owner.clone() };
    let (guard, worker) = (Link::connect(owner)?, Link::connect(owner)?);
    inspect::refuse_unfit(worker.session())?;
    refuse_newer(schema_found(worker.session())?)?;
    let (lock, work) = (guard.session(), worker.session());
    let mut waits = Waits::default();
    waits.until(lock, || take_lock(lock))?;
    let applied = waits.until(work, || migrate(work))?;
    let granted = runtime.and_then(|runtime| grant(work, owner, runtime));
    lock.script("COMMIT")?;
    Ok(Migrated { applied, schema: schema_known(), granted })
}

/// Waiting for somebody who is in the way, a bounded number of times.
#[derive(Default)]
struct Waits {
    waited: usize,
}

impl Waits {
    fn until<T>(
        &mut self,
        session: Session<'_>,
        attempt: impl Fn() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        loop {
            match attempt() {
                Err(error @ StoreError::Conflict { .. }) if self.waited < WAITS_MAX => {
                    tracing::info!(%error, "somebody holds what the migration needs; waiting for it");
                    self.waited += 1;
                    session.script("ROLLBACK")?;
                }
                outcome => return outcome,
            }
        }
    }
}

/// Grants the runtime user what it lacks. What comes in between leaves the migration as it is.
fn grant(work: Session<'_>, owner: &Target, runtime: &Target) -> Option<String> {
    if owner.user == runtime.user {
        return None;
    }
    let link = Link::connect(&Target { keep_prepared: false, ..runtime.clone() });
    match link.and_then(|link| rights::grant_missing(work, link.session())) {
        Ok(granted) => granted,
        Err(error) => {
            tracing::warn!(
                %error,
                "the role that serves was granted nothing; `purser migrate --print-roles` prints what it needs"
            );
            None
        }
    }
}

fn take_lock(session: Session<'_>) -> Result<(), StoreError> {
    if !exists(session, "migration_lock")? {
        let made =
            session.script("CREATE TABLE IF NOT EXISTS migration_lock (one BIGINT NOT NULL PRIMARY KEY)");
        if made.is_err() && !exists(session, "migration_lock")? {
            // Of several who make it at once PostgreSQL refuses some, although it is there by then.
            return made;
        }
    }
    session.execute(
        "INSERT INTO migration_lock (one) VALUES (?1) ON CONFLICT (one) DO NOTHING",
        &[1_i64.into()],
    )?;
    begin_writing(session)?;
    // The lock is held for as long as the migration takes, by a connection that says nothing meanwhile.
    match session.dialect() {
        Dialect::Postgres => session.script("SET LOCAL idle_in_transaction_session_timeout = 0")?,
        Dialect::Mysql => session.script(STAY_IDLE)?,
        Dialect::Sqlite => {}
    }
    session.one(LOCK, &[], |row| int(row, 0)).map(|_| ())
}

/// What a migration's transaction begins with. It takes as long as it takes, but does not queue for a table behind somebody
/// else for long: everybody who comes after would wait behind it.
fn begin_migrating(session: Session<'_>) -> Result<(), StoreError> {
    match session.dialect() {
        Dialect::Postgres => {
            let lock = LOCK_MAX.as_millis();
            session
                .script(&format!("BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = {lock}"))
        }
        // The session of a connection says the same on MySQL.
        Dialect::Mysql | Dialect::Sqlite => session.script("BEGIN"),
    }
}

/// All migrations as this database gets them.
pub(crate) fn rendered(dialect: Dialect) -> Vec<(u32, &'static str, String)> {
    texts(dialect).iter().map(|(number, name, text)| (*number, *name, dialect.render(text))).collect()
}

/// The schema as this program writes it into an empty database, `sqlite`, `postgres` or `mysql`: what an operator may read,
/// and a test compares. None for other names.
pub fn rendered_schema(system: &str) -> Option<String> {
    let dialect = match system {
        "sqlite" => Dialect::Sqlite,
        "postgres" => Dialect::Postgres,
        "mysql" => Dialect::Mysql,
        _ => return None,
    };
    let texts =
        rendered(dialect).into_iter().map(|(number, name, text)| format!("-- {number:04} {name}\n{text}"));
    Some(texts.collect::<Vec<_>>().join("\n"))
}

/// What refinery asks of a database, on a session of ours.
struct Migrating<'s> {
    session: Session<'s>,
    /// What failed, in the store's own classes, which refinery does not hand on.
    fault: Option<StoreError>,
}

/// The fault is kept in [`Migrating`].
#[derive(Debug, thiserror::Error)]
#[error("the database failed")]
struct Kept;

impl Migrating<'_> {
    fn keep<T>(&mut self, outcome: Result<T, StoreError>) -> Result<T, Kept> {
        outcome.map_err(|error| {
            self.fault = Some(error);
            Kept
        })
    }

    fn all_or_nothing<'a>(&self, queries: impl Iterator<Item = &'a str>) -> Result<usize, StoreError> {
        let mut count = 0;
        begin_migrating(self.session)?;
        for query in queries {
            if let Err(error) = self.session.migrate(query) {
                self.session.script("ROLLBACK")?;
                return Err(error);
            }
            count += 1;
        }
        self.session.script("COMMIT")?;
        Ok(count)
    }
}

impl Transaction for Migrating<'_> {
    type Error = Kept;

    fn execute<'a, T: Iterator<Item = &'a str>>(&mut self, queries: T) -> Result<usize, Kept> {
        let outcome = self.all_or_nothing(queries);
        self.keep(outcome)
    }
}

impl Query<Vec<Migration>> for Migrating<'_> {
    fn query(&mut self, _: &str) -> Result<Vec<Migration>, Kept> {
        let read = |row: &dyn Columns| -> Result<Migration, StoreError> {
            let damaged = || StoreError::Corrupt { what: "the history of migrations cannot be read".into() };
            let applied_on = OffsetDateTime::parse(&text(row, 2)?, &Rfc3339).map_err(|_| damaged())?;
            let checksum = text(row, 3)?.parse().map_err(|_| damaged())?;
            Ok(Migration::applied(small(row, 0)?, text(row, 1)?, applied_on, checksum))
        };
        let outcome = self.session.all(APPLIED, &[], read);
        self.keep(outcome)
    }
}

impl Migrate for Migrating<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    #[test]
    fn every_statement_of_the_crate_prepares_against_the_current_schema() {
        let connection = Connection::open_in_memory().expect("memory");
        migrate(Session::Sqlite(&connection)).expect("the migrations apply");
        let lists = [crate::hot::load::STATEMENTS].into_iter().chain(crate::hot::sqlite::ALL);
        let lists = lists.chain(crate::table::ALL).chain(crate::query::ALL).chain(crate::transport::ALL);
        let mut prepared = 0;
        for (name, sql) in lists.flatten() {
            connection.prepare(sql).unwrap_or_else(|error| panic!("{name}: {error}"));
            prepared += 1;
        }
        assert!(prepared > 70, "only {prepared} statements are listed");
    }

    #[test]
    fn every_statement_that_servers_hear_prepares_on_postgres() {
        prepare_all("PURSER_TEST_POSTGRES_URL", |text, number| format!("PREPARE p{number} AS {text}"));
    }

    #[test]
    fn every_statement_that_servers_hear_prepares_on_mariadb() {
        prepare_all("PURSER_TEST_MYSQL_URL", |text, number| {
            format!("PREPARE p{number} FROM '{}'", text.replace('\'', "''"))
        });
    }

    /// Has the server prepare each cold statement, as it is sent there.
    fn prepare_all(variable: &str, words: impl Fn(&str, usize) -> String) {
        let url = std::env::var(variable).unwrap_or_else(|_| {
            panic!("{variable} is not set: run `cargo xtask test`, or `cargo xtask services` and export what it prints")
        });
        let scratch = crate::ScratchDatabase::migrated(&url).expect("a database");
        let crate::DatabaseUrl::Server(target) = crate::DatabaseUrl::parse(scratch.url()).expect("a URL")
        else {
            panic!("{} is a file", scratch.url())
        };
        let link = Link::connect(&target).expect("it answers");
        let lists =
            [crate::hot::load::STATEMENTS, crate::hot::server::KEEPER, crate::hot::server::LEASE, STATEMENTS];
        let lists = lists.into_iter().chain(crate::table::ALL).chain(crate::query::ALL);
        let mut prepared = 0;
        for (name, sql) in lists.flatten() {
            let text = link.session().dialect().statement(sql).text;
            let done = link.session().script(&words(text.trim(), prepared));
            done.unwrap_or_else(|error| panic!("{name}: {error}"));
            prepared += 1;
        }
        assert!(prepared > 50, "only {prepared} statements are listed");
    }

    #[test]
    fn no_token_of_a_migration_is_left_unrendered() {
        for system in ["sqlite", "postgres", "mysql"] {
            let schema = rendered_schema(system).expect("a known system");
            assert!(!schema.contains('{'), "an unknown token for {system}");
        }
        assert_eq!(rendered_schema("oracle"), None);
    }
}
