//! Through PgBouncer in transaction mode, set to hand every transaction another connection.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;

use crate::database::{Database, console, server, with_database};
use crate::flow::Flow;
use crate::program::{Program, migrations};

/// Clients that charge at the same time, and what each charges.
const CLIENTS: u32 = 32;
const DEBITS: u32 = 12;

/// A database's URL through the pooler.
fn through(database: &Database, words: &str) -> String {
    format!("{}{words}", with_database(&server("PGBOUNCER"), &database.name))
}

#[test]
fn everything_works_through_a_pooler_of_transactions_with_prepared_off() {
    let database = Database::postgres();
    let program = Program::on(&through(&database, "?prepared=off"));
    assert_eq!(program.json(&["migrate"])["applied"], json!(migrations()));
    assert_eq!(program.json(&["migrate"])["applied"], json!([]));
    let (verdict, detail) = program.doctor("pooling");
    assert!(verdict == "ok" && detail.contains("prepared=off"), "{verdict} {detail}");
    let key = program.key();
    let serving = program.serve();
    let mut flow = Flow::new(serving.address, &key, "pooled");
    flow.all();
    load(&serving, &key);
    let entries = program.verify();
    assert!(entries > u64::from(CLIENTS * DEBITS / 2), "{entries}");
    serving.stop();
    assert_eq!(program.verify(), entries);
    let left = "SELECT CAST(COUNT(*) AS TEXT) FROM pg_prepared_statements";
    assert_eq!(console(&through(&database, "")).texts(left).expect("counted"), ["0"]);
}

/// Many clients charge one wallet at the same time: what is left is exact.
fn load(serving: &crate::program::Serving, key: &str) {
    let mut owner = serving.client(key);
    let action =
        json!({"key": "load", "name": "Load", "price": {"model": "flat", "unit": "credit", "amount": "1"}});
    assert_eq!(owner.post("/v1/actions", "unused", &action.to_string()).expect("an answer").status, 201);
    let enough = CLIENTS * DEBITS / 2;
    let grant = json!({"user": "hot", "amount": enough.to_string(), "kind": "promotional", "reason": "load"});
    assert_eq!(owner.post("/v1/grants", "load", &grant.to_string()).expect("an answer").status, 201);
    let (charged, refused) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (charged, refused) = (&charged, &refused);
            scope.spawn(move || {
                let mut client = serving.client(key);
                for debit in 0..DEBITS {
                    let body = json!({"user": "hot", "action": "load"}).to_string();
                    let key = format!("load-{number}-{debit}");
                    let answer = client.post("/v1/debits", &key, &body).expect("an answer");
                    match answer.status {
                        201 => charged.fetch_add(1, Ordering::Relaxed),
                        402 => refused.fetch_add(1, Ordering::Relaxed),
                        _ => panic!("{answer:?}"),
                    };
                }
            });
        }
    });
    assert_eq!((charged.into_inner(), refused.into_inner()), (enough, enough));
    let balance = owner.get("/v1/balance?user=hot").expect("an answer");
    assert_eq!(balance.text("/wallets/0/balance/available"), "0");
}

#[test]
fn a_url_through_a_pooler_without_prepared_off_is_noticed_and_refused_with_what_to_do() {
    let database = Database::postgres();
    let program = Program::on(&through(&database, ""));
    // A migration keeps nothing prepared, whatever the URL says.
    assert_eq!(program.json(&["migrate"])["applied"], json!(migrations()));
    let (verdict, detail) = program.doctor("pooling");
    assert!(verdict == "WRONG" && detail.contains("?prepared=off"), "{verdict} {detail}");
    for arguments in [&["serve", "--listen", "127.0.0.1:0"][..], &["verify"], &["key", "list"]] {
        let told = program.refused(arguments);
        assert!(told.contains("?prepared=off"), "{arguments:?}: {told}");
    }
    // Nothing was left behind by trying.
    let direct = Program::on(&database.url);
    assert!(direct.doctor("writers").1.starts_with("0 of 63"));
    assert_eq!(direct.doctor("pooling").0, "ok");
}

#[test]
fn a_session_keeps_nothing_that_a_pooler_would_hand_to_somebody_else() {
    let database = Database::postgres();
    let program = Program::on(&database.url);
    program.said(&["migrate"]);
    let key = program.key();
    let serving = program.serve();
    Flow::new(serving.address, &key, "one").all();
    let console = console(&database.url);
    let ask = |sql: &str| console.texts(sql).expect("answered").join(" ");
    let locks = "SELECT CAST(COUNT(*) AS TEXT) FROM pg_locks WHERE locktype = 'advisory'";
    assert_eq!(ask(locks), "0", "locks of a session");
    let listening = "SELECT CAST(COUNT(*) AS TEXT) FROM pg_stat_activity
                      WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    assert_eq!(ask(listening), "0");
    serving.stop();
}
