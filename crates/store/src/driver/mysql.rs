//! MariaDB and MySQL: a connection that is driven by the thread that asks, and its errors sorted.
//!
//! The driver keeps statements prepared by itself. There is no pipelining: a question costs a round trip. The server undoes
//! a whole transaction at a deadlock, and only the one statement when a lock does not come free; both end the batch here.

use super::target::{Target, Tls};
use super::{ANSWER_MAX, CONNECT_MAX, Columns, LOCK_MAX, STATEMENT_MAX, Value, tls, unreadable};
use crate::dialect::{Dialect, Statement};
use crate::error::StoreError;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Params, Row, SslOpts};
use rustc_hash::FxHashMap;
use std::cell::{Cell, RefCell};
use std::future::Future;
use tokio::runtime::Runtime;

/// Statements that a connection keeps prepared: the cold ones, and the hot ones in each of their lengths.
const STATEMENTS_KEPT: usize = 512;

/// A connection to MariaDB or MySQL.
pub(crate) struct MysqlLink {
    /// Taken when dropped, so that it can be given up without waiting.
    runtime: Option<Runtime>,
    /// Taken when dropped, within the runtime that it belongs to.
    conn: RefCell<Option<Conn>>,
    /// Texts as MySQL wants them, by the address of ours.
    texts: RefCell<FxHashMap<usize, Statement>>,
    /// An answer did not come in time, or the connection broke.
    lost: Cell<bool>,
}

impl MysqlLink {
    pub(super) fn connect(target: &Target) -> Result<MysqlLink, StoreError> {
        if target.tls != Tls::Off {
            tls::install_provider();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| StoreError::Other(format!("no runtime: {error}")))?;
        let mut last = unavailable("no host is named");
        for (host, port) in &target.hosts {
            let opts = options(target, host, *port);
            let connected =
                runtime.block_on(async { tokio::time::timeout(CONNECT_MAX, Conn::new(opts)).await });
            last = match connected {
                Ok(Ok(conn)) => {
                    let (texts, lost) = (RefCell::default(), Cell::new(false));
                    return Ok(MysqlLink {
                        runtime: Some(runtime),
                        conn: RefCell::new(Some(conn)),
                        texts,
                        lost,
                    });
                }
                Ok(Err(error)) => match classify(&error) {
                    // The next host may be there; one that answers and refuses is not passed over.
                    StoreError::Unavailable { what } => unavailable(&format!("{host}:{port}: {what}")),
                    error => return Err(error),
                },
                Err(_) => unavailable(&format!("{host}:{port} did not answer in time")),
            };
        }
        Err(last)
    }

    pub(super) fn is_sound(&self) -> bool {
        !self.lost.get()
    }

    /// Drives the connection until the future is done. What breaks, or does not answer in time, counts as lost.
    fn drive<T>(&self, future: impl Future<Output = Result<T, mysql_async::Error>>) -> Result<T, StoreError> {
        let runtime = self.runtime.as_ref().expect("taken when dropped only");
        match runtime.block_on(async { tokio::time::timeout(ANSWER_MAX, future).await }) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                if error.is_fatal() {
                    self.lost.set(true);
                }
                Err(classify(&error))
            }
            Err(_) => {
                self.lost.set(true);
                Err(unavailable("it did not answer in time"))
            }
        }
    }

    /// The text as MySQL wants it, and the order in which it wants the values.
    fn text(&self, sql: &'static str) -> Statement {
        *self.texts.borrow_mut().entry(sql.as_ptr() as usize).or_insert_with(|| Dialect::Mysql.statement(sql))
    }

    pub(super) fn query(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        let statement = self.text(sql);
        self.query_text(statement.text, ordered(statement, values))
    }

    pub(super) fn execute(&self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        let statement = self.text(sql);
        self.execute_text(statement.text, ordered(statement, values))
    }

    /// The rows of a statement whose text is MySQL's own.
    pub(crate) fn query_text(
        &self,
        text: &str,
        values: Vec<mysql_async::Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let mut conn = self.conn.borrow_mut();
        let conn = conn.as_mut().expect("taken when dropped only");
        self.drive(conn.exec(text, positional(values)))
    }

    /// Runs a statement whose text is MySQL's own; how many rows it changed.
    pub(crate) fn execute_text(
        &self,
        text: &str,
        values: Vec<mysql_async::Value>,
    ) -> Result<u64, StoreError> {
        let mut conn = self.conn.borrow_mut();
        let conn = conn.as_mut().expect("taken when dropped only");
        self.drive(async {
            conn.exec_drop(text, positional(values)).await?;
            Ok(conn.affected_rows())
        })
    }

    /// Runs statements one by one, each of which ends with its line.
    pub(super) fn script(&self, sql: &str) -> Result<(), StoreError> {
        for statement in statements(sql) {
            let mut conn = self.conn.borrow_mut();
            let conn = conn.as_mut().expect("taken when dropped only");
            self.drive(conn.query_drop(statement))?;
        }
        Ok(())
    }

    /// The same for as long as it takes, passing over what was done before: MySQL commits each change of a schema by itself,
    /// so a migration that was interrupted is repeated from its beginning.
    pub(super) fn migrate(&self, sql: &str) -> Result<(), StoreError> {
        let runtime = self.runtime.as_ref().expect("taken when dropped only");
        for statement in statements(sql) {
            let mut conn = self.conn.borrow_mut();
            let conn = conn.as_mut().expect("taken when dropped only");
            match runtime.block_on(conn.query_drop(statement)) {
                Ok(()) => {}
                Err(mysql_async::Error::Server(error)) if DONE_BEFORE.contains(&error.code) => {}
                Err(mysql_async::Error::Server(error)) if error.code == NO_TRIGGERS => {
                    // The rights of the role are the first line; `doctor` tells that the second is missing.
                    tracing::warn!("the server allows no triggers to this user: {}", error.message);
                }
                Err(error) => return Err(classify(&error)),
            }
        }
        Ok(())
    }
}

impl Drop for MysqlLink {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // The connection closes its socket when it goes; it wants its runtime for that.
            let guard = runtime.enter();
            drop(self.conn.borrow_mut().take());
            drop(guard);
            runtime.shutdown_background();
        }
    }
}

/// The words that begin a transaction that writes.
pub(crate) const BEGIN_WRITING: &str = "START TRANSACTION READ WRITE";
/// The words that begin a transaction that reads one snapshot.
pub(crate) const BEGIN_READING: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;\nSTART TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY;\n";

fn options(target: &Target, host: &str, port: u16) -> Opts {
    let (lock, statement) = (LOCK_MAX.as_secs(), STATEMENT_MAX.as_secs());
    let session = [
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".to_string(),
        format!("SET SESSION innodb_lock_wait_timeout = {lock}, wait_timeout = 28800"),
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ONLY_FULL_GROUP_BY'".to_string(),
        // MariaDB limits every statement, MySQL those that read; neither knows the other's name for it.
        format!("/*M! SET SESSION max_statement_time = {statement} */"),
    ];
    let mut options = OptsBuilder::default()
        .user(Some(&target.user))
        .pass(target.password.as_deref())
        .db_name(Some(&target.database))
        .setup(session.to_vec())
        .stmt_cache_size(STATEMENTS_KEPT)
        .prefer_socket(false)
        .tcp_nodelay(true);
    options = if host.starts_with('/') {
        options.socket(Some(host))
    } else {
        options.ip_or_hostname(host).tcp_port(port)
    };
    let encrypted = match (target.tls, &target.root_certificates) {
        (Tls::Off, _) => None,
        (Tls::Required, _) => Some(
            SslOpts::default()
                .with_danger_accept_invalid_certs(true)
                .with_danger_skip_domain_validation(true),
        ),
        (Tls::Verified, Some(file)) => Some(
            SslOpts::default().with_root_certs(vec![file.clone().into()]).with_disable_built_in_roots(true),
        ),
        (Tls::Verified, None) => Some(SslOpts::default()),
    };
    options.ssl_opts(encrypted).into()
}

/// A table, an index, a row, a trigger that is there already.
const DONE_BEFORE: [u16; 4] = [1050, 1061, 1062, 1359];
/// Under binary logging triggers need a right that owners of a schema do not have.
const NO_TRIGGERS: u16 = 1419;

fn statements(sql: &str) -> impl Iterator<Item = &str> {
    let statements = sql.split(";\n").map(|statement| statement.trim().trim_end_matches(';'));
    statements.filter(|statement| !is_comment(statement))
}

fn is_comment(statement: &str) -> bool {
    statement.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with("--"))
}

fn ordered(statement: Statement, values: &[Value<'_>]) -> Vec<mysql_async::Value> {
    statement.order.iter().map(|place| (&values[*place]).into()).collect()
}

fn positional(values: Vec<mysql_async::Value>) -> Params {
    if values.is_empty() { Params::Empty } else { Params::Positional(values) }
}

impl From<&Value<'_>> for mysql_async::Value {
    fn from(value: &Value<'_>) -> mysql_async::Value {
        match value {
            Value::Int(value) => mysql_async::Value::Int(*value),
            Value::Bytes(value) => mysql_async::Value::Bytes(value.to_vec()),
            Value::Text(value) => mysql_async::Value::Bytes(value.as_bytes().to_vec()),
            Value::Null => mysql_async::Value::NULL,
        }
    }
}

impl Columns for Row {
    fn int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        match self.as_ref(column) {
            Some(mysql_async::Value::Int(value)) => Ok(Some(*value)),
            Some(mysql_async::Value::UInt(value)) => {
                i64::try_from(*value).map(Some).map_err(|_| unreadable(column, "too large an integer"))
            }
            Some(mysql_async::Value::NULL) => Ok(None),
            // Statements that are not prepared are answered in text.
            Some(mysql_async::Value::Bytes(text)) => {
                let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
                number.map(Some).ok_or_else(|| unreadable(column, "no integer"))
            }
            Some(_) | None => Err(unreadable(column, "no integer")),
        }
    }

    fn bytes(&self, column: usize) -> Result<Option<&[u8]>, StoreError> {
        match self.as_ref(column) {
            Some(mysql_async::Value::Bytes(value)) => Ok(Some(value)),
            Some(mysql_async::Value::NULL) => Ok(None),
            Some(_) | None => Err(unreadable(column, "no bytes")),
        }
    }

    fn text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        let bytes = Columns::bytes(self, column)?;
        bytes.map(std::str::from_utf8).transpose().map_err(|_| unreadable(column, "no text"))
    }
}

fn unavailable(what: &str) -> StoreError {
    StoreError::Unavailable { what: format!("MySQL: {what}") }
}

/// Sorts an error of the driver or the server into the classes that callers treat differently.
fn classify(error: &mysql_async::Error) -> StoreError {
    let mysql_async::Error::Server(server) = error else { return unavailable(&error.to_string()) };
    let said = format!("MySQL: {} ({})", server.message, server.code);
    match server.code {
        // A lock did not come free; a deadlock, or a conflict between the nodes of a cluster; a key that was taken meanwhile;
        // a statement that took too long.
        1205 | 1213 | 1062 | 1969 | 3024 | 1317 => StoreError::Conflict { what: said },
        // Too many connections; the server stops; the node has left its cluster; the table is being changed.
        1040 | 1053 | 1077 | 1079 | 1047 | 1203 | 1226 | 1927 | 1412 | 2006 | 2013 => {
            StoreError::Unavailable { what: said }
        }
        1044 | 1045 | 1049 | 1142 | 1143 | 1227 | 1370 => StoreError::Denied { what: said },
        1114 | 1021 => StoreError::Full,
        1290 | 1792 | 1836 => StoreError::ReadOnly,
        1712 | 1034 | 1194 => StoreError::Corrupt { what: said },
        _ => StoreError::Other(said),
    }
}
