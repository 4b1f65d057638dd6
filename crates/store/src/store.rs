//! The handle for reads, and how a database is opened or connected to.
//!
//! A read is one snapshot on a connection out of a bounded pool, whichever the database.

use crate::driver::{DatabaseUrl, Link, Session, Target};
use crate::error::StoreError;
use crate::hot::Writer;
use crate::hot::server::{Keeper, ServerWriter, begin_reading};
use crate::inspect;
use crate::migrate::{refuse_other, schema_found};
use crate::query::Reader;
use crate::sqlite::{self, LogCopier, MainFile};
use crate::transport;
use parking_lot::{Condvar, Mutex};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a read waits for a free connection, and a statement for a lock.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How to open a store.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// How many connections read at the same time.
    pub readers: usize,
    /// How many answers an embedded database finds through memory before they become a sorted run.
    pub answers_per_run: usize,
    /// How many entries the folder of an embedded database sorts at a time.
    pub fold_window: usize,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions { readers: 4, answers_per_run: 65_536, fold_window: 65_536 }
    }
}

/// A handle for reads; cheap to clone. Writing is the [`Writer`]'s alone.
#[derive(Clone)]
pub struct Store {
    pool: Arc<Pool>,
}

struct Pool {
    source: Source,
    idle: Mutex<Idle>,
    returned: Condvar,
}

/// Where connections come from.
enum Source {
    /// The main file is absent where nothing is written.
    File {
        path: PathBuf,
        main_file: Option<MainFile>,
    },
    Server(Target),
}

/// A connection that reads.
enum Connection {
    File(rusqlite::Connection),
    Server(Link),
}

/// Connections that nobody reads with, and how many more may be opened.
struct Idle {
    connections: Vec<Connection>,
    unopened: usize,
}

impl Store {
    /// Opens the embedded database for this process alone, making and migrating it where needed.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<(Store, Writer), StoreError> {
        let (writer, main_file) = sqlite::open(path, options)?;
        let source = Source::File { path: path.to_owned(), main_file: Some(main_file) };
        Ok((Store::of(source, options.readers), writer.into()))
    }

    /// Connects to a server whose schema is the one this program knows and whose commits are durable: so many writers, and
    /// the worker behind them. Says aloud what the user could do to history.
    pub fn connect(
        target: &Target,
        options: &OpenOptions,
        writers: usize,
    ) -> Result<(Store, Vec<Writer>, Keeper), StoreError> {
        if target.is_readable_by_others() {
            tracing::warn!(
                "the password and all balances cross the network to {target} in plain text; sslmode=verify-full encrypts it"
            );
        }
        inspect::refuse_lost_statements(target)?;
        let link = Link::connect(target)?;
        inspect::refuse_unfit(link.session())?;
        refuse_other(schema_found(link.session())?)?;
        transport::refuse_unfinished(link.session())?;
        inspect::warn_of_rights(link.session())?;
        let store = Store::of(Source::Server(target.clone()), options.readers);
        let writers = (0..writers.max(1)).map(|_| ServerWriter::new(target.clone()).into()).collect();
        Ok((store, writers, Keeper::new(target.clone())))
    }

    /// Opens a database for reading only, without the lock that a serving process holds on an embedded one.
    pub fn open_reader(url: &DatabaseUrl) -> Result<Store, StoreError> {
        let source = match url {
            DatabaseUrl::Sqlite(path) => {
                sqlite::check_readable(path)?;
                Source::File { path: path.clone(), main_file: None }
            }
            DatabaseUrl::Server(target) => {
                inspect::refuse_lost_statements(target)?;
                Source::Server(target.clone())
            }
        };
        let store = Store::of(source, 1);
        store.read(|reader| refuse_other(schema_found(reader.session)?))?;
        Ok(store)
    }

    /// A connection of its own that copies the log of an embedded database, for a thread beside the writer; none on a server.
    pub fn log_copier(&self) -> Result<Option<LogCopier>, StoreError> {
        match &self.pool.source {
            Source::File { path, main_file: Some(main_file) } => {
                sqlite::log_copier(path, main_file.clone()).map(Some)
            }
            Source::File { main_file: None, .. } | Source::Server(_) => Ok(None),
        }
    }

    fn of(source: Source, readers: usize) -> Store {
        let idle = Mutex::new(Idle { connections: Vec::new(), unopened: readers.max(1) });
        Store { pool: Arc::new(Pool { source, idle, returned: Condvar::new() }) }
    }

    /// Runs `ask` in one snapshot of the database; waits for a free connection, [`StoreError::Busy`] when none comes
    /// free. Blocks: call it where blocking is allowed.
    pub fn read<T>(&self, ask: impl FnOnce(&Reader<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let lent = self.pool.lend()?;
        let link = match lent.connection() {
            Connection::File(connection) => {
                // Deferred: the first read takes the snapshot. Dropped at the end, also when `ask` panics.
                let snapshot = connection.unchecked_transaction()?;
                return ask(&Reader { session: Session::Sqlite(&snapshot) });
            }
            Connection::Server(link) => link,
        };
        match begin_reading(link) {
            Ok(()) => lent.ask(ask),
            // It was idle while the server went away: those beside it are no better.
            Err(StoreError::Unavailable { .. }) => {
                drop(lent.broken());
                self.pool.close_idle();
                let fresh = self.pool.lend()?;
                begin_reading(fresh.link())?;
                fresh.ask(ask)
            }
            Err(error) => Err(error),
        }
    }
}

/// A connection out of the pool; goes back when dropped.
struct Lent<'p> {
    pool: &'p Pool,
    connection: Option<Connection>,
}

impl Lent<'_> {
    fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("taken on drop only")
    }

    fn link(&self) -> &Link {
        match self.connection() {
            Connection::Server(link) => link,
            Connection::File(_) => unreachable!("the pool of a server holds links"),
        }
    }

    /// Asks in the transaction that was begun, and ends it.
    fn ask<T>(self, ask: impl FnOnce(&Reader<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let session = self.link().session();
        let answer = ask(&Reader { session });
        // A connection that cannot even end its snapshot is not given back.
        if session.script("ROLLBACK").is_err() {
            drop(self.broken());
        }
        answer
    }

    /// Gives its place back without the connection.
    fn broken(mut self) -> Option<Connection> {
        self.connection.take()
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut idle = self.pool.idle.lock();
        let sound = |connection: &Connection| match connection {
            Connection::File(connection) => connection.is_autocommit(),
            // After a panic its transaction is still open.
            Connection::Server(link) => link.is_sound() && !std::thread::panicking(),
        };
        match self.connection.take().filter(sound) {
            Some(connection) => idle.connections.push(connection),
            // One that is beyond use is closed, and another may be opened in its place.
            None => idle.unopened += 1,
        }
        drop(idle);
        self.pool.returned.notify_one();
    }
}

impl Pool {
    fn lend(&self) -> Result<Lent<'_>, StoreError> {
        let mut idle = self.idle.lock();
        loop {
            if let Some(connection) = idle.connections.pop() {
                return Ok(Lent { pool: self, connection: Some(connection) });
            }
            if idle.unopened > 0 {
                idle.unopened -= 1;
                drop(idle);
                // Made first, so that a failure to open gives the place back.
                let mut lent = Lent { pool: self, connection: None };
                lent.connection = Some(self.connect()?);
                return Ok(lent);
            }
            if self.returned.wait_for(&mut idle, PATIENCE).timed_out() {
                return Err(StoreError::Busy);
            }
        }
    }

    fn connect(&self) -> Result<Connection, StoreError> {
        match &self.source {
            Source::File { path, .. } => sqlite::open_for_reading(path).map(Connection::File),
            Source::Server(target) => Link::connect(target).map(Connection::Server),
        }
    }

    /// Closes every connection that nobody reads with.
    fn close_idle(&self) {
        let mut idle = self.idle.lock();
        idle.unopened += idle.connections.len();
        let closed = std::mem::take(&mut idle.connections);
        drop(idle);
        drop(closed);
    }
}
