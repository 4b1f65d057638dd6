//! MariaDB and MySQL: a connection that is driven by the thread that asks, and its errors sorted.
//!
//! The driver keeps statements prepared by itself. There is no pipelining: a question costs a round trip. The server undoes
//! a whole transaction at a deadlock, and only the one statement when a lock does not come free; both end the batch here.

use super::mysql_errors::{classify, is_done_before, refuses_triggers, unavailable};
use super::mysql_session::{BE_PATIENT, Facts, connect, options};
use super::target::{Target, Tls};
use super::{ANSWER_MAX, CONNECT_MAX, Columns, Value, tls, unreadable};
use crate::dialect::{Dialect, Statement};
use crate::error::StoreError;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, Row};
use rustc_hash::FxHashMap;
use std::cell::{Cell, RefCell};
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};

/// How long a server may take to hear that a connection ends.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// A connection to MariaDB or MySQL.
pub(crate) struct MysqlLink {
    /// Taken when dropped, so that it can be given up without waiting.
    runtime: Option<Runtime>,
    /// Taken when dropped, within the runtime that it belongs to.
    conn: RefCell<Option<Conn>>,
    /// Texts as MySQL wants them, by the address of ours.
    texts: RefCell<FxHashMap<usize, Statement>>,
    facts: Facts,
    /// An answer did not come in time, the connection broke, or the server is not the one to talk to any more.
    lost: Cell<bool>,
    /// A statement failed since a transaction last began or ended. What came before it may be undone, and what would follow
    /// would be committed by itself, so nothing may follow.
    undone: Cell<bool>,
}

/// A text of several statements that was not carried out to its end.
pub(crate) struct Stopped {
    /// How many statements were carried out before one failed; none where the server did not say that one failed.
    pub(crate) done: Option<usize>,
    pub(crate) error: StoreError,
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
            let connecting = connect(options(target, host, *port));
            let connected = runtime.block_on(async { tokio::time::timeout(CONNECT_MAX, connecting).await });
            last = match connected {
                // Another one may have succeeded it.
                Ok(Ok((_, facts))) if facts.read_only && target.hosts.len() > 1 => StoreError::ReadOnly,
                Ok(Ok((conn, facts))) => {
                    return Ok(MysqlLink {
                        runtime: Some(runtime),
                        conn: RefCell::new(Some(conn)),
                        texts: RefCell::default(),
                        facts,
                        lost: Cell::new(false),
                        undone: Cell::new(false),
                    });
                }
                Ok(Err(error)) => match classify(&error) {
                    // The next host may be there; one that answers and refuses is not passed over.
                    StoreError::Unavailable { what } => {
                        StoreError::Unavailable { what: format!("{host}:{port}: {what}") }
                    }
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

    /// Whether the transaction is not what it was begun as: see [`MysqlLink::undone`].
    pub(crate) fn is_undone(&self) -> bool {
        self.undone.get()
    }

    /// The longest text that the server takes, in bytes.
    pub(crate) fn packet_max(&self) -> usize {
        self.facts.packet_max
    }

    /// Whether the server is one of several that take writes.
    pub(crate) fn is_in_cluster(&self) -> bool {
        self.facts.in_cluster
    }

    /// MariaDB, not MySQL.
    pub(crate) fn is_mariadb(&self) -> bool {
        self.facts.is_mariadb
    }

    /// Drives the connection until a question is answered. What breaks, does not answer in time or has no place for us counts
    /// as lost.
    fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&mut Conn) -> Result<T, mysql_async::Error>,
    ) -> Result<T, StoreError> {
        let runtime = self.runtime.as_ref().expect("taken when dropped only");
        let mut conn = self.conn.borrow_mut();
        let conn = conn.as_mut().expect("taken when dropped only");
        let answered = runtime.block_on(async { tokio::time::timeout(ANSWER_MAX, question(conn)).await });
        let error = match answered {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => classify(&error),
            Err(_) => unavailable("it did not answer in time"),
        };
        self.undone.set(true);
        if matches!(error, StoreError::Unavailable { .. } | StoreError::ReadOnly) {
            self.lost.set(true);
        }
        Err(error)
    }

    /// The text as MySQL wants it, and the order in which it wants the values.
    fn text(&self, sql: &'static str) -> Statement {
        *self.texts.borrow_mut().entry(sql.as_ptr() as usize).or_insert_with(|| Dialect::Mysql.statement(sql))
    }

    /// Inserts the rows that these values make up, with a text of MySQL's own.
    pub(super) fn insert(&self, text: &str, values: Vec<mysql_async::Value>) -> Result<(), StoreError> {
        self.ask(async |conn| conn.exec_drop(text, Params::Positional(values)).await)
    }

    pub(super) fn query(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        let statement = self.text(sql);
        self.ask(async |conn| conn.exec(statement.text, ordered(statement, values)).await)
    }

    pub(super) fn execute(&self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        let statement = self.text(sql);
        self.ask(async |conn| {
            conn.exec_drop(statement.text, ordered(statement, values)).await?;
            Ok(conn.affected_rows())
        })
    }

    /// Sends so many statements as one text and answers the rows of each. The server stops at the first that fails.
    pub(crate) fn several(&self, text: &[u8], statements: usize) -> Result<Vec<Vec<Row>>, Stopped> {
        let (done, said) = (Cell::new(0), Cell::new(false));
        let answered = self.ask(async |conn| {
            let collected = async {
                let mut result = conn.query_iter(text).await?;
                let mut answers = Vec::with_capacity(statements);
                for _ in 0..statements {
                    answers.push(result.collect::<Row>().await?);
                    done.set(done.get() + 1);
                }
                Ok(answers)
            };
            collected.await.inspect_err(|error| said.set(matches!(error, mysql_async::Error::Server(_))))
        });
        answered.map_err(|error| Stopped { done: said.get().then_some(done.get()), error })
    }

    /// Runs the words around a transaction, or others of which nothing is answered; one that fails leaves the connection in
    /// an unknown state. Short words go as one text.
    pub(super) fn script(&self, sql: &str) -> Result<(), StoreError> {
        let texts: Vec<&str> = if sql.len() < 4_096 { vec![sql] } else { statements(sql).collect() };
        let ask = |text| self.ask(async |conn| conn.query_drop(text).await);
        let outcome = texts.into_iter().try_for_each(ask);
        match &outcome {
            Ok(()) => self.undone.set(false),
            Err(_) => self.lost.set(true),
        }
        outcome
    }

    /// Runs the statements of a migration one by one, each of which ends with its line, for as long as it takes.
    pub(super) fn migrate(&self, sql: &str) -> Result<(), StoreError> {
        let runtime = self.runtime.as_ref().expect("taken when dropped only");
        let mut conn = self.conn.borrow_mut();
        let conn = conn.as_mut().expect("taken when dropped only");
        for statement in std::iter::once(BE_PATIENT).chain(statements(sql)) {
            match runtime.block_on(conn.query_drop(statement)) {
                Ok(()) => {}
                Err(mysql_async::Error::Server(error)) if is_done_before(&error) => {}
                Err(mysql_async::Error::Server(error)) if refuses_triggers(statement, &error) => {
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
        let (Some(runtime), Some(conn)) = (self.runtime.take(), self.conn.borrow_mut().take()) else {
            return;
        };
        // A connection may be dropped on a thread that must not block; the server then finds out by itself that it is gone.
        if self.lost.get() || Handle::try_current().is_ok() || std::thread::panicking() {
            let guard = runtime.enter();
            drop(conn);
            drop(guard);
        } else {
            let goodbye = async { tokio::time::timeout(GOODBYE_MAX, conn.disconnect()).await };
            drop(runtime.block_on(goodbye));
        }
        runtime.shutdown_background();
    }
}

fn statements(sql: &str) -> impl Iterator<Item = &str> {
    let statements = sql.split(";\n").map(|statement| statement.trim().trim_end_matches(';'));
    statements.filter(|statement| !is_comment(statement))
}

fn is_comment(statement: &str) -> bool {
    statement.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with("--"))
}

fn ordered(statement: Statement, values: &[Value<'_>]) -> Params {
    match statement.order {
        [] => Params::Empty,
        order => Params::Positional(order.iter().map(|place| (&values[*place]).into()).collect()),
    }
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
