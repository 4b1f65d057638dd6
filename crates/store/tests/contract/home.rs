//! A database of a test's own, and a hand at it beside the program.

use crate::databases::Kind;
use mysql_async::prelude::Queryable;
use purser_core::Timestamp;
use purser_store::{DatabaseUrl, Keeper, OpenOptions, ScratchDatabase, Store, StoreError, Target, Writer};
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A database that is gone with the test.
pub(crate) struct Home {
    place: Place,
    pub(crate) options: OpenOptions,
}

enum Place {
    Folder(TempDir),
    Server(Kind, ScratchDatabase),
}

impl Home {
    pub(crate) fn new(kind: Kind) -> Home {
        let place = match kind {
            Kind::Sqlite => Place::Folder(tempfile::tempdir().expect("a temporary folder")),
            Kind::Postgres | Kind::Mysql => {
                let made = ScratchDatabase::migrated(&kind.server_url());
                Place::Server(kind, made.unwrap_or_else(|error| panic!("{kind:?}: {error}")))
            }
        };
        Home { place, options: OpenOptions::default() }
    }

    /// Small runs and windows, so that a test fills them.
    pub(crate) fn small(kind: Kind) -> Home {
        let options = OpenOptions { readers: 2, answers_per_run: 16, fold_window: 24 };
        Home { options, ..Home::new(kind) }
    }

    pub(crate) fn with_one_reader(kind: Kind) -> Home {
        Home { options: OpenOptions { readers: 1, ..OpenOptions::default() }, ..Home::new(kind) }
    }

    /// A server's database without a schema.
    pub(crate) fn empty(kind: Kind) -> Home {
        let made = ScratchDatabase::empty(&kind.server_url());
        let place = Place::Server(kind, made.unwrap_or_else(|error| panic!("{kind:?}: {error}")));
        Home { place, options: OpenOptions::default() }
    }

    /// The file of an embedded database.
    pub(crate) fn path(&self) -> PathBuf {
        match &self.place {
            Place::Folder(folder) => folder.path().join("purser.db"),
            Place::Server(kind, _) => panic!("a database on {kind:?} has no file"),
        }
    }

    /// Its URL as a user writes it.
    pub(crate) fn url_text(&self) -> String {
        match &self.place {
            Place::Folder(_) => format!("sqlite:{}", self.path().display()),
            Place::Server(_, database) => database.url().to_owned(),
        }
    }

    pub(crate) fn url(&self) -> DatabaseUrl {
        DatabaseUrl::parse(&self.url_text()).expect("a URL")
    }

    pub(crate) fn target(&self) -> Target {
        target(&self.url_text())
    }

    /// The store and a writer.
    pub(crate) fn open(&self) -> (Store, Writer) {
        match &self.place {
            Place::Folder(_) => Store::open(&self.path(), &self.options).expect("the database opens"),
            Place::Server(..) => {
                let (store, mut writers, _) = self.node(1);
                (store, writers.remove(0))
            }
        }
    }

    /// A node of a server with so many writers.
    pub(crate) fn node(&self, writers: usize) -> (Store, Vec<Writer>, Keeper) {
        Store::connect(&self.target(), &self.options, writers).expect("the server answers")
    }

    /// Folds everything there is.
    pub(crate) fn fold(&self, writer: &mut Writer) {
        if let Place::Server(..) = self.place {
            self.node(1).2.fold().expect("fold");
            return;
        }
        self.fold_some(writer, usize::MAX >> 1);
    }

    /// Folds so many rows where folding goes by rows, everything elsewhere.
    pub(crate) fn fold_some(&self, writer: &mut Writer, budget: usize) {
        if let Place::Server(..) = self.place {
            return self.fold(writer);
        }
        let mut batch = writer.begin().expect("begin");
        batch.fold_step(budget).expect("fold");
        batch.commit().expect("commit");
    }

    /// Forgets all used quotes whose time was over before `before`, a few at a time, as the work behind the funnel does.
    pub(crate) fn prune_quotes(&self, writer: &mut Writer, before: Timestamp) {
        if let Place::Server(..) = self.place {
            let mut keeper = self.node(1).2;
            while keeper.prune_quotes(before, 2).expect("prune") {}
            return;
        }
        let mut batch = writer.begin().expect("begin");
        while batch.prune_quotes(before, 2).expect("prune") {}
        batch.commit().expect("commit");
    }

    /// Forgets all answers before this instant.
    pub(crate) fn prune(&self, writer: &mut Writer, before: Timestamp) {
        if let Place::Server(..) = self.place {
            let mut keeper = self.node(1).2;
            while keeper.prune_answers(before, 5).expect("prune") {}
            return;
        }
        let mut batch = writer.begin().expect("begin");
        while batch.prune_answers(before, 5).expect("prune") {}
        batch.commit().expect("commit");
    }

    /// Somebody with a client of the database, and no program of ours.
    pub(crate) fn hand(&self) -> Hand {
        match &self.place {
            Place::Folder(_) => Hand::File(rusqlite::Connection::open(self.path()).expect("open by hand")),
            Place::Server(kind, database) => Hand::on(*kind, database.url()),
        }
    }
}

/// A server's database from the text of its URL.
pub(crate) fn target(url: &str) -> Target {
    match DatabaseUrl::parse(url).expect("a URL") {
        DatabaseUrl::Server(target) => target,
        DatabaseUrl::Sqlite(path) => panic!("{} is a file", path.display()),
    }
}

/// What opening said that must not open.
pub(crate) fn refusal<T>(opened: Result<T, StoreError>) -> StoreError {
    match opened {
        Ok(_) => panic!("the database was opened"),
        Err(error) => error,
    }
}

/// Every migration that there is, by its number, in order: what is in the folder, so that a new one is no edit here.
pub(crate) fn migrations() -> Vec<u32> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let files = std::fs::read_dir(folder).expect("the folder of migrations");
    let number = |file: std::io::Result<std::fs::DirEntry>| {
        let name = file.expect("a file").file_name().into_string().expect("a plain name");
        name.split('_').next().and_then(|number| number.parse().ok()).expect("NNNN_what.sql")
    };
    let numbers: std::collections::BTreeSet<u32> = files.map(number).collect();
    numbers.into_iter().collect()
}

/// A connection of the database's own client.
pub(crate) enum Hand {
    File(rusqlite::Connection),
    Postgres(Runtime, tokio_postgres::Client),
    Mysql(Runtime, Box<mysql_async::Conn>),
}

impl Hand {
    /// A hand at the database of this URL.
    pub(crate) fn on(kind: Kind, url: &str) -> Hand {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        if kind == Kind::Mysql {
            let url = url.replacen("mariadb:", "mysql:", 1);
            let conn = runtime.block_on(mysql_async::Conn::from_url(url)).expect("connect by hand");
            return Hand::Mysql(runtime, Box::new(conn));
        }
        let connected = runtime.block_on(tokio_postgres::connect(url, tokio_postgres::NoTls));
        let (client, connection) = connected.expect("connect by hand");
        runtime.spawn(connection);
        Hand::Postgres(runtime, client)
    }

    /// Runs statements; what the database says against them.
    pub(crate) fn run(&mut self, sql: &str) -> Result<(), String> {
        match self {
            Hand::File(file) => file.execute_batch(sql).map_err(|error| error.to_string()),
            Hand::Postgres(runtime, client) => {
                let said = |error: tokio_postgres::Error| match error.as_db_error() {
                    Some(db) => db.message().to_owned(),
                    None => error.to_string(),
                };
                runtime.block_on(client.batch_execute(sql)).map_err(said)
            }
            Hand::Mysql(runtime, conn) => {
                runtime.block_on(conn.query_drop(sql)).map_err(|error| error.to_string())
            }
        }
    }

    /// Runs statements that the database does not object to.
    pub(crate) fn must(&mut self, sql: &str) {
        self.run(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The one number that a question answers.
    pub(crate) fn number(&mut self, sql: &str) -> i64 {
        let numbers = self.numbers(sql);
        assert_eq!(numbers.len(), 1, "{sql}");
        numbers[0]
    }

    /// The numbers that a question answers, one in each row.
    fn numbers(&mut self, sql: &str) -> Vec<i64> {
        match self {
            Hand::File(file) => vec![file.query_row(sql, [], |row| row.get(0)).expect("a number")],
            Hand::Postgres(runtime, client) => {
                let answer = runtime.block_on(client.simple_query(sql)).expect("numbers");
                let number = |message: tokio_postgres::SimpleQueryMessage| match message {
                    tokio_postgres::SimpleQueryMessage::Row(row) => {
                        Some(row.get(0).expect("not null").parse().expect("a number"))
                    }
                    _ => None,
                };
                answer.into_iter().filter_map(number).collect()
            }
            Hand::Mysql(runtime, conn) => runtime.block_on(conn.query(sql)).expect("numbers"),
        }
    }

    /// Comes back when somebody waits for a lock of this database.
    pub(crate) fn wait_for_somebody_who_waits(&mut self) {
        let asked = (0..20_000).find(|_| !self.waiting().is_empty());
        assert!(asked.is_some(), "nobody waits for a lock");
    }

    /// Ends the connections that wait for a lock of this database; how many there were.
    pub(crate) fn kill_those_who_wait(&mut self) -> usize {
        let waiting = self.waiting();
        self.kill(&waiting)
    }

    /// Ends every other connection to the database, as an administrator does; how many there were.
    pub(crate) fn kill_others(&mut self) -> usize {
        let others = match self {
            Hand::Mysql(..) => {
                "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            }
            _ => {
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            }
        };
        let others = self.numbers(others);
        self.kill(&others)
    }

    /// The connections that wait for a lock of this database.
    fn waiting(&mut self) -> Vec<i64> {
        let Hand::Mysql(runtime, conn) = self else {
            return self.numbers(
                "SELECT pid FROM pg_stat_activity
                  WHERE datname = current_database() AND wait_event_type = 'Lock'",
            );
        };
        // The table of transactions is a copy that is not renewed while somebody keeps looking at it; this is not.
        let status: Option<(String, String, String)> =
            runtime.block_on(conn.query_first("SHOW ENGINE INNODB STATUS")).expect("the status");
        let waiting = threads_that_wait(&status.expect("a row").2);
        let here = "SELECT id FROM information_schema.processlist WHERE db = DATABASE()";
        self.numbers(here).into_iter().filter(|connection| waiting.contains(connection)).collect()
    }

    fn kill(&mut self, connections: &[i64]) -> usize {
        for connection in connections {
            // One may have gone by itself.
            match self {
                Hand::Mysql(..) => drop(self.run(&format!("KILL {connection}"))),
                _ => drop(self.numbers(&format!("SELECT pg_terminate_backend({connection}, 5000)::int"))),
            }
        }
        connections.len()
    }
}

/// The threads of those transactions of which InnoDB says that they wait.
fn threads_that_wait(status: &str) -> Vec<i64> {
    let transactions = status.split("---TRANSACTION ").skip(1).filter(|told| told.contains("LOCK WAIT"));
    let thread = |told: &str| {
        let (_, rest) = told.split_once("thread id ")?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    transactions.filter_map(thread).collect()
}
