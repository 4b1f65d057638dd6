//! PostgreSQL: a connection that is driven by the thread that asks, its statements kept prepared, its errors sorted.
//!
//! Behind a pooler that hands each transaction another connection (`prepared=off` in the URL) every statement is sent
//! unnamed, with the types of its values, so that nothing of a transaction outlives it. Timeouts are set within each
//! transaction for the same reason.

use super::target::{Target, Tls};
use super::{ANSWER_MAX, CONNECT_MAX, Columns, LOCK_MAX, STATEMENT_MAX, Value, tls, unreadable};
use crate::dialect::Dialect;
use crate::error::StoreError;
use bytes::BytesMut;
use rustc_hash::FxHashMap;
use std::cell::{Cell, RefCell};
use std::future::Future;
use tokio::runtime::Runtime;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Config, NoTls, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

/// What to do where a pooler hands each transaction another connection.
pub(crate) const PREPARED_OFF: &str = "a pooler in front of PostgreSQL hands each transaction another connection, so that statements do not stay prepared: \
     add ?prepared=off to the URL (&prepared=off behind other words), or have it pool sessions";

/// A value with the type it is sent as.
type Typed<'a> = (&'a (dyn ToSql + Sync), Type);

/// A connection to PostgreSQL.
pub(crate) struct PostgresLink {
    /// Taken when dropped, so that it can be given up without waiting.
    runtime: Option<Runtime>,
    client: Client,
    keep_prepared: bool,
    /// Texts as PostgreSQL wants them, by the address of ours.
    texts: RefCell<FxHashMap<usize, &'static str>>,
    prepared: RefCell<FxHashMap<usize, Statement>>,
    /// What a transaction that writes needs is set for the session.
    set_for_writing: Cell<bool>,
    /// How often its statements were about to be carried out.
    used: Cell<u64>,
    /// An answer did not come in time: what is under way on this connection is not known.
    lost: Cell<bool>,
}

impl PostgresLink {
    pub(super) fn connect(target: &Target) -> Result<PostgresLink, StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| StoreError::Other(format!("no runtime: {error}")))?;
        let config = config_of(target);
        let tls = tls::client_config(target)?;
        let client = runtime.block_on(async {
            let connected = async {
                match tls {
                    None => {
                        let (client, connection) = config.connect(NoTls).await?;
                        tokio::spawn(connection);
                        Ok(client)
                    }
                    Some(tls) => {
                        let (client, connection) = config.connect(MakeRustlsConnect::new(tls)).await?;
                        tokio::spawn(connection);
                        Ok(client)
                    }
                }
            };
            let hosts = u32::try_from(target.hosts.len()).unwrap_or(1);
            let answered = tokio::time::timeout(CONNECT_MAX * hosts, connected).await;
            answered.map_err(|_| unavailable("it did not answer in time"))?.map_err(|error| classify(&error))
        })?;
        Ok(PostgresLink {
            runtime: Some(runtime),
            client,
            keep_prepared: target.keep_prepared,
            texts: RefCell::default(),
            prepared: RefCell::default(),
            set_for_writing: Cell::new(false),
            used: Cell::new(0),
            lost: Cell::new(false),
        })
    }

    pub(super) fn is_sound(&self) -> bool {
        !self.lost.get() && !self.client.is_closed()
    }

    /// Drives the connection until the future is done. What does not answer in time counts as lost.
    pub(crate) fn drive<T>(
        &self,
        future: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, StoreError> {
        let runtime = self.runtime.as_ref().expect("taken when dropped only");
        match runtime.block_on(async { tokio::time::timeout(ANSWER_MAX, future).await }) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(classify(&error)),
            Err(_) => {
                self.lost.set(true);
                Err(unavailable("it did not answer in time"))
            }
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The statement, prepared on this connection; none where nothing is kept prepared.
    pub(crate) fn prepared(
        &self,
        sql: &'static str,
        types: &[Type],
    ) -> Result<Option<Statement>, StoreError> {
        if !self.keep_prepared {
            return Ok(None);
        }
        if let Some(statement) = self.prepared.borrow().get(&address(sql)) {
            return Ok(Some(statement.clone()));
        }
        let statement = self.drive(self.client.prepare_typed(self.text(sql), types))?;
        self.prepared.borrow_mut().insert(address(sql), statement.clone());
        Ok(Some(statement))
    }

    /// The text as PostgreSQL wants it. Each is made once for the life of the process and connection: there are a few dozen.
    pub(crate) fn text(&self, sql: &'static str) -> &'static str {
        self.texts.borrow_mut().entry(address(sql)).or_insert_with(|| Dialect::Postgres.statement(sql).text)
    }

    /// The words that begin one of many transactions that write. Where the session is this connection's own, what they need is set
    /// once.
    pub(crate) fn begin_writing(&self) -> Result<String, StoreError> {
        if !self.keep_prepared {
            return Ok(begin_writing());
        }
        if !self.set_for_writing.get() {
            self.script(&settings_for_writing("SET"))?;
            self.set_for_writing.set(true);
        }
        Ok(BEGIN_WRITING.to_string())
    }

    /// Has the statements of this connection planned anew whenever they were used twice as often as when they last were.
    pub(crate) fn plan_as_it_grows(&self) -> Result<(), StoreError> {
        self.used.set(self.used.get() + 1);
        if self.keep_prepared && self.used.get().is_power_of_two() { self.script(PLAN_ANEW) } else { Ok(()) }
    }

    pub(super) fn query(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        let types: Vec<Type> = values.iter().map(Value::postgres_type).collect();
        match self.prepared(sql, &types)? {
            Some(statement) => {
                let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
                self.drive(self.client.query(&statement, &values))
            }
            None => self.drive(self.client.query_typed(self.text(sql), &typed(values))),
        }
    }

    pub(super) fn execute(&self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        let types: Vec<Type> = values.iter().map(Value::postgres_type).collect();
        match self.prepared(sql, &types)? {
            Some(statement) => {
                let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
                self.drive(self.client.execute(&statement, &values))
            }
            None => self.drive(self.client.execute_typed(self.text(sql), &typed(values))),
        }
    }

    pub(super) fn script(&self, sql: &str) -> Result<(), StoreError> {
        self.drive(self.client.batch_execute(sql))
    }

    /// The same for as long as it takes.
    pub(super) fn script_patiently(&self, sql: &str) -> Result<(), StoreError> {
        let runtime = self.runtime.as_ref().expect("taken when dropped only");
        runtime.block_on(self.client.batch_execute(sql)).map_err(|error| classify(&error))
    }
}

impl Drop for PostgresLink {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A connection may be dropped on a thread that must not block; what it waits for is of no use any more.
            runtime.shutdown_background();
        }
    }
}

const BEGIN_WRITING: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// A plan is kept for as long as a connection lasts or until PostgreSQL counts rows again, which takes a minute or more. One that was
/// made while tables were empty goes through all of what comes into them, an UPDATE's above all: its table cannot be made to come
/// second. How large a table is, the planner sees by itself.
const PLAN_ANEW: &str = "DISCARD PLANS";

/// Every statement of a transaction that writes finds its rows by a key. Where a table is younger than its statistics the
/// planner does not know that, and keeps a plan that reads all of it; a plan for these arrays does not depend on their values.
/// Nor is any of them worth compiling.
fn settings_for_writing(set: &str) -> String {
    let (statement, lock) = (STATEMENT_MAX.as_millis(), LOCK_MAX.as_millis());
    format!(
        "{set} statement_timeout = {statement}; {set} lock_timeout = {lock}; \
         {set} idle_in_transaction_session_timeout = {statement}; {set} enable_seqscan = off; {set} enable_bitmapscan = off; {set} enable_hashjoin = off; \
         {set} enable_mergejoin = off; {set} jit = off; \
         {set} plan_cache_mode = force_generic_plan"
    )
}

/// The words that begin a transaction that writes and leaves nothing behind in the session.
pub(crate) fn begin_writing() -> String {
    format!("{BEGIN_WRITING}; {}", settings_for_writing("SET LOCAL"))
}

/// The words that begin a transaction that reads one snapshot.
pub(crate) fn begin_reading() -> String {
    let (statement, idle) = (STATEMENT_MAX.as_millis(), STATEMENT_MAX.as_millis());
    format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {statement}; \
         SET LOCAL idle_in_transaction_session_timeout = {}",
        // Somebody may verify a large ledger: between two of its questions it computes.
        idle * 4
    )
}

fn config_of(target: &Target) -> Config {
    let mut config = Config::new();
    for (host, port) in &target.hosts {
        config.host(host).port(*port);
    }
    config.user(&target.user).dbname(&target.database).application_name("purser");
    if let Some(password) = &target.password {
        config.password(password);
    }
    config.ssl_mode(if target.tls == Tls::Off { SslMode::Disable } else { SslMode::Require });
    // After a fail-over the old server may still answer, as a reader.
    config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    config.connect_timeout(CONNECT_MAX).tcp_user_timeout(ANSWER_MAX);
    config
}

fn address(sql: &'static str) -> usize {
    sql.as_ptr() as usize
}

fn typed<'a>(values: &'a [Value<'a>]) -> Vec<Typed<'a>> {
    values.iter().map(|value| (value as &(dyn ToSql + Sync), value.postgres_type())).collect()
}

impl Value<'_> {
    fn postgres_type(&self) -> Type {
        match self {
            Value::Int(_) => Type::INT8,
            Value::Bytes(_) => Type::BYTEA,
            Value::Text(_) => Type::TEXT,
            // The database finds out what belongs there.
            Value::Null => Type::UNKNOWN,
        }
    }
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Value::Int(value) => value.to_sql(ty, out),
            Value::Bytes(value) => value.to_sql(ty, out),
            Value::Text(value) => value.to_sql(ty, out),
            Value::Null => Ok(IsNull::Yes),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl Columns for Row {
    fn int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        // Ours are all of 64 bits; a table of somebody else's may have others.
        let found = match self.columns().get(column).map(|column| column.type_()) {
            Some(&Type::INT4) => self.try_get::<_, Option<i32>>(column).map(|found| found.map(i64::from)),
            _ => self.try_get(column),
        };
        found.map_err(|_| unreadable(column, "no integer"))
    }

    fn bytes(&self, column: usize) -> Result<Option<&[u8]>, StoreError> {
        self.try_get(column).map_err(|_| unreadable(column, "no bytes"))
    }

    fn text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        self.try_get(column).map_err(|_| unreadable(column, "no text"))
    }
}

fn unavailable(what: &str) -> StoreError {
    StoreError::Unavailable { what: format!("PostgreSQL: {what}") }
}

/// Sorts an error of the driver or the server into the classes that callers treat differently.
pub(crate) fn classify(error: &tokio_postgres::Error) -> StoreError {
    let Some(db) = error.as_db_error() else {
        let chain = std::iter::successors(std::error::Error::source(error), |error| error.source());
        let causes: Vec<String> = chain.map(ToString::to_string).collect();
        return unavailable(&format!("{error} {}", causes.join(": ")));
    };
    let said = format!("PostgreSQL: {} ({})", db.message(), db.code().code());
    match db.code() {
        &SqlState::T_R_SERIALIZATION_FAILURE
        | &SqlState::T_R_DEADLOCK_DETECTED
        | &SqlState::LOCK_NOT_AVAILABLE
        | &SqlState::QUERY_CANCELED
        | &SqlState::UNIQUE_VIOLATION => StoreError::Conflict { what: said },
        // Each was named on another connection than the one that was handed to this transaction.
        &SqlState::INVALID_SQL_STATEMENT_NAME | &SqlState::DUPLICATE_PSTATEMENT => {
            StoreError::Unfit { what: format!("{PREPARED_OFF} ({said})") }
        }
        &SqlState::DISK_FULL => StoreError::Full,
        &SqlState::READ_ONLY_SQL_TRANSACTION => StoreError::ReadOnly,
        &SqlState::DATA_CORRUPTED | &SqlState::INDEX_CORRUPTED => StoreError::Corrupt { what: said },
        &SqlState::INVALID_PASSWORD
        | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION
        | &SqlState::INVALID_CATALOG_NAME
        | &SqlState::INSUFFICIENT_PRIVILEGE => StoreError::Denied { what: said },
        code if ["08", "57P", "53", "25P"].iter().any(|class| code.code().starts_with(class)) => {
            StoreError::Unavailable { what: said }
        }
        // How a batch that is not what was loaded undoes itself; it says nothing of a value.
        &SqlState::DIVISION_BY_ZERO => StoreError::Other(said),
        code if ["22", "23"].iter().any(|class| code.code().starts_with(class)) => {
            StoreError::Refused { what: said }
        }
        _ => StoreError::Other(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_transaction_sets_ends_with_it() {
        for words in [begin_writing(), begin_reading()] {
            let mut statements = words.split(';').map(str::trim);
            assert!(statements.next().is_some_and(|first| first.starts_with("BEGIN ")), "{words}");
            assert!(statements.all(|further| further.starts_with("SET LOCAL ")), "{words}");
            assert!(words.contains("statement_timeout"), "{words}");
        }
        assert!(begin_writing().contains("lock_timeout"));
    }
}
