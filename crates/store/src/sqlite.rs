//! The embedded database: opening its file safely.
//!
//! Opening refuses what it cannot serve: a file that another process serves, that is read-only, that is no database or
//! a damaged one, or that was written by a newer program. Durability settings are read back after they were set: a
//! commit that is acknowledged must be on disk (law 5). Readers never block the writer, and the writer never blocks them.

use crate::driver::Session;
use crate::error::StoreError;
use crate::hot::sqlite::SqliteWriter;
use crate::migrate::{migrate, refuse_newer, schema_found};
use crate::store::{OpenOptions, PATIENCE};
use crate::transport;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Page size and log before anything else: they cannot be changed in a file that has tables or readers. The automatic
/// checkpoint is rare, as each one writes every page that changed to a random place.
const WRITER_PRAGMAS: &str = "
    PRAGMA page_size = 4096;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = OFF;
    PRAGMA wal_autocheckpoint = 10000;
    PRAGMA cache_size = -262144;
    PRAGMA temp_store = MEMORY;
";
const READER_PRAGMAS: &str = "
    PRAGMA query_only = ON;
    PRAGMA cache_size = -32768;
    PRAGMA temp_store = MEMORY;
";
const CHECKPOINT: &str = "PRAGMA wal_checkpoint(PASSIVE)";
const COPIER_PRAGMAS: &str = "PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -64;";
const CLEAN_SHUTDOWN: &str = "SELECT value FROM meta WHERE name = 'clean_shutdown'";
const TABLES: &str = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";

/// The first bytes of every SQLite file.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Statements that a connection keeps prepared.
const STATEMENTS_KEPT: usize = 128;

/// The main file, opened beside SQLite so that it can be flushed without the writer. To close any handle of a file ends
/// all locks that this process has on it, SQLite's among them: this one is shared by everything that has a connection,
/// as a field behind the connections, and so closes last.
#[derive(Clone)]
pub(crate) struct MainFile(Arc<File>);

/// Opens the database for this process alone, making and migrating it where needed; refuses one that is being copied into.
pub(crate) fn open(path: &Path, options: &OpenOptions) -> Result<(SqliteWriter, MainFile), StoreError> {
    let (connection, lock) = open_to_write(path)?;
    transport::refuse_unfinished(Session::Sqlite(&connection))?;
    let main_file = MainFile(Arc::new(File::options().write(true).open(path).map_err(|error| io(&error))?));
    let writer = SqliteWriter::take(connection, lock, main_file.clone(), options)?;
    Ok((writer, main_file))
}

/// The one connection that may write, to a current schema, and what keeps others away.
pub(crate) fn open_to_write(path: &Path) -> Result<(Connection, File), StoreError> {
    let lock = lock(path)?;
    check_file(path)?;
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    let found = schema_found(Session::Sqlite(&connection))?;
    refuse_newer(found)?;
    connection.execute_batch(WRITER_PRAGMAS)?;
    check_durability(&connection)?;
    if found.is_some() {
        check_soundness(&connection)?;
    }
    migrate(Session::Sqlite(&connection))?;
    Ok((connection, lock))
}

/// Refuses what is no database to read.
pub(crate) fn check_readable(path: &Path) -> Result<(), StoreError> {
    // Looked at, not opened: the server may run in this process (see `MainFile`).
    let length = path.metadata().map_err(|error| io(&error))?.len();
    if length < MAGIC.len() as u64 { Err(too_short(path)) } else { Ok(()) }
}

/// A connection of its own that copies the log.
pub(crate) fn log_copier(path: &Path, main_file: MainFile) -> Result<LogCopier, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.execute_batch(COPIER_PRAGMAS)?;
    Ok(LogCopier { connection, main_file })
}

/// Copies the write-ahead log into the main file beside the writer.
pub struct LogCopier {
    connection: Connection,
    main_file: MainFile,
}

impl LogCopier {
    /// Copies what is committed from the log into the main file, as far as readers allow, without stopping the writer;
    /// answers the pages in the log. What is copied may still be in the system's memory: the log counts until
    /// [`crate::Writer::end_log`].
    pub fn copy(&self) -> Result<u64, StoreError> {
        copy_log(&self.connection)
    }

    /// Puts on disk what was copied. Blocks for as long as the disk takes, which [`crate::Writer::end_log`] then does not.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.main_file.0.sync_data().map_err(|error| io(&error))
    }
}

/// Copies as much of the log as can be copied without waiting for anybody; answers the pages in the log.
pub(crate) fn copy_log(connection: &Connection) -> Result<u64, StoreError> {
    let pages: i64 = connection.prepare_cached(CHECKPOINT)?.query_row([], |row| row.get(1))?;
    // -1 when somebody else is copying.
    Ok(pages.max(0) as u64)
}

/// A connection that only reads.
pub(crate) fn open_for_reading(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    connection.execute_batch(READER_PRAGMAS)?;
    Ok(connection)
}

/// Takes the operating system's lock beside the file; it goes with the process, however that ends.
pub(crate) fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file =
        File::options().create(true).truncate(false).write(true).open(&name).map_err(|error| io(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked {
            what: format!("{} is locked; stop the other `purser serve` first", PathBuf::from(name).display()),
        }),
        Err(TryLockError::Error(error)) => Err(io(&error)),
    }
}

/// Refuses a file that cannot be written or is no database. A file that is absent or empty will be made.
fn check_file(path: &Path) -> Result<(), StoreError> {
    match path.metadata() {
        Ok(metadata) if metadata.permissions().readonly() => Err(StoreError::ReadOnly),
        Ok(metadata) if metadata.len() > 0 => {
            // Asked of the system too: a mount or an access list may forbid what the permission bits allow.
            File::options().write(true).open(path).map_err(|error| io(&error))?;
            check_header(path)
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io(&error)),
    }
}

fn check_header(path: &Path) -> Result<(), StoreError> {
    let mut head = [0; MAGIC.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    match read {
        Ok(()) if head == *MAGIC => Ok(()),
        Ok(()) => Err(StoreError::Corrupt { what: format!("{} is no SQLite database", path.display()) }),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(too_short(path)),
        Err(error) => Err(io(&error)),
    }
}

fn too_short(path: &Path) -> StoreError {
    StoreError::Corrupt { what: format!("{} is too short to be a database", path.display()) }
}

/// Reads back what decides whether an acknowledged commit survives a loss of power.
fn check_durability(connection: &Connection) -> Result<(), StoreError> {
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    let synchronous: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
    if mode == "wal" && synchronous == 2 {
        Ok(())
    } else {
        let what = format!("journal_mode is {mode}, synchronous {synchronous}; commits would not be durable");
        Err(StoreError::Other(what))
    }
}

/// Looks into every table, and through the whole file if the last process did not end in order.
fn check_soundness(connection: &Connection) -> Result<(), StoreError> {
    let clean: Option<i64> = connection.query_row(CLEAN_SHUTDOWN, [], |row| row.get(0)).optional()?;
    if clean != Some(1) {
        let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        return if verdict == "ok" { Ok(()) } else { Err(StoreError::Corrupt { what: verdict }) };
    }
    let mut statement = connection.prepare(TABLES)?;
    let tables = statement.query_map([], |row| row.get::<_, String>(0))?;
    for table in tables {
        let first = format!("SELECT * FROM \"{}\" LIMIT 1", table?);
        connection.prepare(&first)?.query([])?.next()?;
    }
    Ok(())
}

fn io(error: &std::io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly,
        ErrorKind::StorageFull => StoreError::Full,
        _ => StoreError::Other(error.to_string()),
    }
}
