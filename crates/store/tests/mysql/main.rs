//! The store on MariaDB: what the engine and every read may rely on, and what several nodes may rely on at once.
//!
//! Needs a server: `PURSER_TEST_MYSQL_URL`, as `cargo xtask services` prints it.

mod behind;
mod faults;
mod ledger;
mod nodes;
mod schema;
mod server;
#[path = "../contract/world.rs"]
#[allow(dead_code, reason = "the suite of the embedded database uses the rest of it")]
mod world;

use purser_core::WalletKey;
use purser_store::{Batch, DatabaseUrl, Keeper, OpenOptions, Store, Target, Wanted, Writer, migrate_server};
use server::Database;
use world::Account;

/// A migrated database and what is connected to it.
pub(crate) struct Node {
    pub(crate) store: Store,
    pub(crate) writer: Writer,
    pub(crate) keeper: Keeper,
}

pub(crate) fn target(database: &Database) -> Target {
    match DatabaseUrl::parse(&database.url()).expect("a URL") {
        DatabaseUrl::Server(target) => target,
        DatabaseUrl::Sqlite(path) => panic!("{path:?} is a file"),
    }
}

pub(crate) fn migrated() -> Database {
    let database = Database::new();
    migrate_server(&target(&database)).expect("migrated");
    database
}

pub(crate) fn connect(database: &Database) -> Node {
    let (store, mut writers, keeper) =
        Store::connect(&target(database), &OpenOptions::default(), 1).expect("connected");
    Node { store, writer: writers.remove(0), keeper }
}

/// A batch in which these wallets are wanted.
pub(crate) fn begin<'w>(writer: &'w mut Writer, wallets: &[WalletKey]) -> Batch<'w> {
    writer.begin_for(&Wanted { wallets: wallets.to_vec(), ..Wanted::default() }).expect("begin")
}

/// An account with one grant of this many credits, committed. The grant, and so its lot, has the number of the user.
pub(crate) fn funded(writer: &mut Writer, tenant: u64, user: u64, credits: i64) -> Account {
    let mut batch = writer.begin().expect("begin");
    let mut account = Account::open(&mut batch, tenant, user);
    let grant = [account.grant(user, credits)];
    account.record(&mut batch, &grant);
    account.save(&mut batch);
    batch.commit().expect("commit");
    account
}

/// What the database has of an account.
pub(crate) fn stored(store: &Store, key: WalletKey) -> Option<purser_store::LoadedWallet> {
    store.read(|reader| reader.wallet(key)).expect("read").map(|stored| stored.loaded)
}
