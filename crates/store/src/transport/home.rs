//! A connection that a copy has to one of its databases, and what keeps others away from it meanwhile.
//!
//! An embedded database is kept by its lock. On a server every writer needs the row of a slot: as long as all of them are locked,
//! no node can start, and one that runs has leased one, which is seen.

use super::refused;
use crate::dialect::Dialect;
use crate::driver::{DatabaseUrl, Link, Session, Target, mysql_session, postgres};
use crate::error::StoreError;
use crate::hot::rows::int;
use crate::hot::server::database_now;
use crate::sqlite;
use rusqlite::Connection;
use std::fs::File;

/// Waited for: the connection of a process that was killed may live for a moment longer.
const LOCK_SLOTS: &str = "SELECT leased_until FROM slot WHERE slot > 0 ORDER BY slot FOR UPDATE";
const LOCK_COPIER: &str = "SELECT position FROM fold WHERE name = 'folder' AND slot = 0 FOR UPDATE";

/// A connection that writes.
pub(super) enum Home {
    /// With the lock that goes with the process.
    File {
        connection: Connection,
        _lock: File,
    },
    Server(Link),
}

impl Home {
    /// A connection to a server that may say nothing for as long as the rest of a copy takes.
    pub(super) fn connect(target: &Target) -> Result<Home, StoreError> {
        let link = Link::connect(target)?;
        stay_idle(link.session())?;
        Ok(Home::Server(link))
    }

    pub(super) fn session(&self) -> Session<'_> {
        match self {
            Home::File { connection, .. } => Session::Sqlite(connection),
            Home::Server(link) => link.session(),
        }
    }

    /// Does something as one transaction.
    pub(super) fn in_transaction<T>(
        &self,
        work: impl FnOnce(Session<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let session = self.session();
        begin(session)?;
        let outcome = work(session).and_then(|done| {
            session.script("COMMIT")?;
            Ok(done)
        });
        if outcome.is_err() {
            // The error that is told is the one that came first; the transaction ends with its connection in any case.
            let _ = session.script("ROLLBACK");
        }
        outcome
    }
}

/// Keeps others from writing to a database for as long as it lives.
pub(super) enum Guard {
    /// The lock beside the file, which ends with its handle.
    File { _lock: File },
    /// A transaction that holds rows, which ends with its connection.
    Server(Link),
}

impl Guard {
    pub(super) fn of_file(path: &std::path::Path) -> Result<Guard, StoreError> {
        Ok(Guard::File { _lock: sqlite::lock(path)? })
    }

    /// Locks every writer's slot of a server.
    pub(super) fn of_slots(target: &Target) -> Result<Guard, StoreError> {
        let link = Link::connect(target)?;
        begin_guarding(link.session())?;
        lock_slots(link.session(), &DatabaseUrl::Server(target.clone()))?;
        Ok(Guard::Server(link))
    }

    /// Locks what a second copy into the same server would lock.
    pub(super) fn of_copier(target: &Target) -> Result<Guard, StoreError> {
        let link = Link::connect(target)?;
        begin_guarding(link.session())?;
        let locked = link.session().one(LOCK_COPIER, &[], |_| Ok(()));
        locked.map_err(|error| match error {
            StoreError::Conflict { .. } => refused(format!("another `purser copy` writes to {target}")),
            error => error,
        })?;
        Ok(Guard::Server(link))
    }

    /// Whether it still keeps others away.
    pub(super) fn holds(&self) -> Result<(), StoreError> {
        match self {
            Guard::File { .. } => Ok(()),
            Guard::Server(link) => link.session().one("SELECT 1 FROM config_epoch", &[], |_| Ok(())),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Guard::Server(link) = self {
            // It ends with its connection in any case; the server need not be told of a broken one.
            let _ = link.session().script("ROLLBACK");
        }
    }
}

/// Begins a transaction that writes.
pub(super) fn begin(session: Session<'_>) -> Result<(), StoreError> {
    match session.dialect() {
        Dialect::Sqlite => session.script("BEGIN IMMEDIATE"),
        Dialect::Postgres => session.script(&postgres::begin_writing()),
        Dialect::Mysql => session.script(mysql_session::BEGIN_WRITING),
    }
}

/// Begins a transaction that lasts as long as the copy does, and says nothing meanwhile.
fn begin_guarding(session: Session<'_>) -> Result<(), StoreError> {
    stay_idle(session)?;
    begin(session)?;
    if session.dialect() == Dialect::Postgres {
        session.script("SET LOCAL idle_in_transaction_session_timeout = 0")?;
    }
    Ok(())
}

fn stay_idle(session: Session<'_>) -> Result<(), StoreError> {
    match session.dialect() {
        Dialect::Mysql => session.script(mysql_session::STAY_IDLE),
        Dialect::Sqlite | Dialect::Postgres => Ok(()),
    }
}

/// Locks the slots of all writers, within a transaction on a server; refuses where one is leased.
pub(super) fn lock_slots(session: Session<'_>, url: &DatabaseUrl) -> Result<(), StoreError> {
    let leases = session.all(LOCK_SLOTS, &[], |row| int(row, 0)).map_err(|error| match error {
        StoreError::Conflict { .. } => refused(format!("another `purser copy` works on {url}")),
        error => error,
    })?;
    let now = database_now(session)?;
    match leases.iter().filter(|until| **until >= now).count() {
        0 => Ok(()),
        leased => Err(refused(format!(
            "{url} is being served: {leased} of its writers' places are taken. Stop every node of it and try again; a node \
             that did not end in order keeps its places for a minute"
        ))),
    }
}
