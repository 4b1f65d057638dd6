//! What only a real server can tell of the statements: that each runs, by which index it finds its rows, and that what is
//! guarded is. Needs `PURSER_TEST_MYSQL_URL`, as `cargo xtask services` prints it.

use super::lease::Seal;
use super::loaded::Wanted;
use super::pending::{Pending, WalletRow};
use super::remembered::Remembered;
use super::{mysql, mysql_write};
use crate::ScratchDatabase;
use crate::driver::mysql::MysqlLink;
use crate::driver::{Columns, DatabaseUrl, Link, Session, Target, Value};
use crate::error::{CommitError, StoreError};
use crate::position::Position;
use purser_core::catalogue::Unit;
use purser_core::wallet::Owner;
use purser_core::{TenantNo, Timestamp, UserNo, Wallet};

fn migrated() -> (ScratchDatabase, Target) {
    const VARIABLE: &str = "PURSER_TEST_MYSQL_URL";
    let url = std::env::var(VARIABLE).unwrap_or_else(|_| {
        panic!("{VARIABLE} is not set: run `cargo xtask test`, or `cargo xtask services` and export what it prints")
    });
    let scratch = ScratchDatabase::migrated(&url).expect("migrated");
    let DatabaseUrl::Server(target) = DatabaseUrl::parse(scratch.url()).expect("a URL") else {
        panic!("{url} is a file")
    };
    (scratch, target)
}

fn connect(target: &Target) -> Link {
    Link::connect(target).expect("connected")
}

fn mysql_link(link: &Link) -> &MysqlLink {
    match link {
        Link::Mysql(link) => link,
        Link::Postgres(_) => panic!("it is another server's"),
    }
}

#[test]
fn every_cold_statement_runs_on_the_server() {
    let (_database, target) = migrated();
    let link = connect(&target);
    let session = link.session();
    let lists = [crate::hot::load::STATEMENTS, super::KEEPER, super::LEASE];
    let lists = lists.into_iter().chain([crate::migrate::STATEMENTS]).chain(crate::transport::ALL);
    let mut ran = 0;
    for (name, sql) in lists.chain(crate::table::ALL).chain(crate::query::ALL).flatten() {
        // Those of refinery's own table are asked for by every connection.
        run(session, sql).unwrap_or_else(|error| panic!("{name}: {error}"));
        ran += 1;
    }
    assert!(ran > 60, "only {ran} statements are listed");
}

/// Runs a statement with numbers for all of its values, or with texts where it compares none with a number, and undoes it.
fn run(session: Session<'_>, sql: &'static str) -> Result<(), StoreError> {
    let places = crate::dialect::Dialect::Mysql.statement(sql).order.iter().max().map_or(0, |last| last + 1);
    session.script("START TRANSACTION")?;
    let with = |value: Value<'static>| session.all(sql, &vec![value; places], |_| Ok(())).map(|_| ());
    let outcome = with(Value::Int(1)).or_else(|error| with(Value::Text("1")).map_err(|_| error));
    session.script("ROLLBACK")?;
    outcome
}

/// The statement with two rows of literals.
fn with_rows(sql: &str) -> String {
    let (_, columns) = sql.split_once(" (").expect("the columns of the table are named");
    let (columns, _) = columns.trim_start_matches("WITH given (").split_once(')').expect("and end");
    let columns = columns.rsplit('(').next().expect("one at least").split(',').map(str::trim);
    let bytes = [
        "of_wallet",
        "of_lot",
        "of_hold",
        "of_key",
        "of_event",
        "of_subject",
        "new_head",
        "new_terms",
        "new_pins",
    ];
    let row: Vec<&str> = columns.map(|column| if bytes.contains(&column) { "x'01'" } else { "1" }).collect();
    let row = row.join(", ");
    sql.replace("{table}", &format!("VALUES ({row}), ({row})"))
}

/// The lines of a statement's plan: kind, table, how it is read, the indexes that would do, and the one that is used.
fn plan(session: Session<'_>, sql: &str) -> Vec<Vec<String>> {
    let text: &'static str = format!("EXPLAIN {sql}").leak();
    let line = |row: &dyn Columns| {
        let column = |column| Ok(row.text(column)?.unwrap_or_default().to_owned());
        // Behind the number of the line.
        (1..6).map(column).collect::<Result<Vec<String>, StoreError>>()
    };
    session.all(text, &[], line).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

#[test]
fn rows_are_found_and_locked_by_their_keys_however_few_there_are() {
    let (_database, target) = migrated();
    let link = connect(&target);
    let writes = mysql_write::JOINS.map(|sql| (sql, "PRIMARY"));
    for (sql, index) in mysql::JOINS.into_iter().chain(writes) {
        let plan = plan(link.session(), &with_rows(sql));
        let by_index: Vec<_> = plan.iter().filter(|line| line[4] == index).collect();
        assert_eq!(by_index.len(), 1, "{sql}: {plan:?}");
        assert!(["eq_ref", "ref"].contains(&by_index[0][2].as_str()), "{sql}: {plan:?}");
        // The literals come first, so the rows are visited in their order.
        let outer: Vec<_> = plan.iter().filter(|line| line[0] == "PRIMARY").collect();
        assert!(outer[0][1].starts_with("<derived"), "{sql}: {plan:?}");
    }
}

#[test]
fn pages_of_wallets_are_found_by_their_keys() {
    let (_database, target) = migrated();
    let link = connect(&target);
    let mut rows: Vec<String> = Vec::new();
    for number in 0..2_000 {
        rows.push(format!(
            "({number}, x'{number:032x}', 1, 1, 'credit', 6, 1, x'00', 1, 1, 0, 0, 0, 0, 0, 0)"
        ));
    }
    link.session().script(&format!("INSERT INTO wallet VALUES {}", rows.join(", "))).expect("inserted");
    let statements =
        crate::query::ALL.into_iter().flatten().filter(|(_, sql)| sql.contains("(tenant_no, wallet_id) >"));
    let mut checked = 0;
    for (name, sql) in statements {
        let statement = crate::dialect::Dialect::Mysql.statement(sql);
        let numbers = statement.text.replace('?', "1500");
        let plan = plan(link.session(), &numbers);
        assert_eq!(plan[0][2], "range", "{name}: {plan:?}");
        checked += 1;
    }
    assert!(checked >= 4, "only {checked} statements compare rows");
}

/// A wallet of seq 3 as a batch would save it, that believes to have loaded it with seq `before`.
fn changed(before: Option<u64>, seq: u64) -> Pending {
    let mut wallet = Wallet::new(TenantNo(1), Owner::User(UserNo(2)), Unit::credit());
    wallet.seq = seq;
    let mut pending = Pending::default();
    pending.wallets.push(WalletRow { wallet, head: Position::new(1, 1), before, created_at: Timestamp(1) });
    pending
}

#[test]
fn a_wallet_that_is_not_what_was_loaded_undoes_the_batch() {
    let (_database, target) = migrated();
    let link = connect(&target);
    let number =
        |sql: &'static str| link.session().one(sql, &[], |row| crate::hot::rows::int(row, 0)).expect("read");
    let record = |before, seq, sealed| {
        mysql::open(mysql_link(&link), 1, &Wanted::default(), &mut Remembered::default()).expect("opened");
        let seal = Seal { slot: 1, epoch: 0, seq: sealed, leased_until: 5 };
        let outcome = mysql_write::record(mysql_link(&link), &changed(before, seq), &seal);
        link.session().script("ROLLBACK").expect("rolled back");
        outcome
    };
    record(None, 3, 1).expect("a new one");
    let refused = record(Some(2), 4, 2).expect_err("it has seq 3");
    assert!(matches!(refused, CommitError::Failed(StoreError::Other(_))), "{refused}");
    assert_eq!(number("SELECT seq FROM wallet"), 3);
    assert_eq!(number("SELECT seq FROM slot WHERE slot = 1"), 1);
    record(Some(3), 4, 2).expect("as it was loaded");
    record(Some(4), 4, 3).expect("one that did not change");
    assert_eq!(number("SELECT seq FROM wallet"), 4);
    assert_eq!(number("SELECT seq FROM slot WHERE slot = 1"), 3);
}

#[test]
fn a_session_is_set_up_so_that_neither_zone_nor_mode_of_the_server_plays_a_part() {
    let (_database, target) = migrated();
    let link = connect(&target);
    let ask = |sql: &'static str| {
        link.session().one(sql, &[], |row| Ok(row.text(0)?.unwrap_or_default().to_owned())).expect("read")
    };
    assert_eq!(ask("SELECT @@session.time_zone"), "+00:00");
    assert!(ask("SELECT @@session.sql_mode").contains("STRICT_ALL_TABLES"));
    assert_eq!(ask("SELECT CAST(@@session.innodb_lock_wait_timeout AS CHAR(9))"), "5");
    assert_eq!(ask("SELECT CAST(@@session.max_statement_time AS CHAR(20))"), "15.000000");
    assert_eq!(ask("SELECT CAST(@@session.idle_write_transaction_timeout AS CHAR(9))"), "15");
}
