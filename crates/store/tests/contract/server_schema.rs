//! The schema and the settings of a server: what a node refuses to work on.

use crate::databases::Kind;
use crate::home::{Hand, Home, migrations, refusal};
use crate::world::Account;
use purser_store::{Store, StoreError, migrate_server};

fn connect(home: &Home) -> StoreError {
    refusal(Store::connect(&home.target(), &home.options, 1))
}

fn a_database_without_a_schema_is_refused_and_left_alone(kind: Kind) {
    let home = Home::empty(kind);
    let refused = connect(&home);
    assert!(matches!(&refused, StoreError::Older { found, .. } if found == "no schema"), "{refused}");
    assert!(refused.to_string().contains("purser migrate"), "{refused}");
    assert!(matches!(refusal(Store::open_reader(&home.url())), StoreError::Older { .. }));
    let tables = "SELECT COUNT(*) FROM information_schema.tables WHERE table_name IN ('wallet', 'refinery_schema_history') AND table_schema IN ('public', ";
    let database = if kind == Kind::Mysql { "DATABASE())" } else { "current_schema())" };
    assert_eq!(home.hand().number(&format!("{tables}{database}")), 0);
}

fn an_older_schema_is_refused_until_it_is_migrated(kind: Kind) {
    let home = Home::new(kind);
    home.hand().must("DELETE FROM refinery_schema_history WHERE version > 2");
    let refused = connect(&home);
    assert!(matches!(&refused, StoreError::Older { found, .. } if found == "schema 2"), "{refused}");
}

fn a_schema_from_the_future_is_refused_by_everybody(kind: Kind) {
    let home = Home::new(kind);
    home.hand().must("UPDATE refinery_schema_history SET version = 99 WHERE version = 2");
    assert!(matches!(connect(&home), StoreError::Newer { found: 99, .. }));
    assert!(matches!(refusal(Store::open_reader(&home.url())), StoreError::Newer { found: 99, .. }));
    assert!(matches!(refusal(migrate_server(&home.target())), StoreError::Newer { found: 99, .. }));
}

fn ten_nodes_that_migrate_at_once_migrate_once(kind: Kind) {
    let home = Home::empty(kind);
    let target = home.target();
    let applied: Vec<Vec<u32>> = std::thread::scope(|scope| {
        let nodes: Vec<_> = (0..10).map(|_| scope.spawn(|| migrate_server(&target))).collect();
        nodes.into_iter().map(|node| node.join().expect("no panic").expect("migrated")).collect()
    });
    let mut some: Vec<_> = applied.iter().filter(|applied| !applied.is_empty()).collect();
    assert_eq!(some.pop(), Some(&migrations()), "{applied:?}");
    assert!(some.is_empty(), "{applied:?}");
    let (_, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    let mut account = Account::open(&mut batch, 1, 1);
    let grant = [account.grant(1, 5)];
    account.record_and_save(&mut batch, &grant);
    batch.commit().expect("commit");
    assert_eq!(migrate_server(&target).expect("nothing to do"), Vec::<u32>::new());
}

/// A migration that stopped half-way is done again, and what failed leaves the lock free.
fn a_migration_that_fails_leaves_nothing_in_the_way_of_the_next(kind: Kind) {
    let home = Home::empty(kind);
    let mut hand = home.hand();
    hand.must("CREATE TABLE wallet (somebody_elses BIGINT)");
    let failed = migrate_server(&home.target());
    if kind == Kind::Mysql {
        // There a change of the schema is repeated over what is there, as each is committed by itself.
        assert!(failed.is_err() || hand.number("SELECT COUNT(*) FROM refinery_schema_history") > 0);
    } else {
        assert!(matches!(failed, Err(StoreError::Other(_))), "{failed:?}");
    }
    hand.must("DROP TABLE wallet");
    if kind == Kind::Postgres {
        assert_eq!(migrate_server(&home.target()).expect("migrated"), migrations());
    }
}

on_every_server! {
    a_database_without_a_schema_is_refused_and_left_alone,
    an_older_schema_is_refused_until_it_is_migrated,
    a_schema_from_the_future_is_refused_by_everybody,
    ten_nodes_that_migrate_at_once_migrate_once,
    a_migration_that_fails_leaves_nothing_in_the_way_of_the_next,
}

/// Settings of MySQL that decide about durability are the whole server's, which other tests use meanwhile.
#[test]
fn commits_that_a_role_does_not_wait_for_are_refused() {
    let home = Home::new(Kind::Postgres);
    let name = home.url_text().rsplit_once('/').expect("a database").1.to_owned();
    let mut hand: Hand = home.hand();
    hand.must(&format!("ALTER ROLE CURRENT_USER IN DATABASE {name} SET synchronous_commit = off"));
    let refused = connect(&home);
    assert!(
        matches!(&refused, StoreError::Unfit { what } if what.contains("synchronous_commit is off")),
        "{refused}"
    );
    hand.must(&format!("ALTER ROLE CURRENT_USER IN DATABASE {name} RESET ALL"));
    home.open();
}
