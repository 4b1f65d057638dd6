//! Facts going out: each is told once below a cursor, in the order of its wallet, to those it is about.

use crate::databases::Kind;
use crate::nodes::{run, scan, two};
use crate::server::{Home, Server};
use purser_app::caller::Scope;
use purser_app::usecase::api_key;
use purser_app::usecase::copy::copy;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Everything behind a cursor, a few at a time, and the last cursor.
async fn told(server: &Server, query: &str, cursor: Option<&str>) -> (Vec<Value>, String) {
    let mut all = Vec::new();
    let mut cursor = cursor.map(str::to_string);
    loop {
        let behind = cursor.as_ref().map_or(String::new(), |cursor| format!("&cursor={cursor}"));
        let page = server.get(&format!("/v1/events?limit=3{query}{behind}")).await.expect(200);
        let data = page["data"].as_array().expect("events");
        all.extend(data.iter().cloned());
        let next = page["next_cursor"].as_str().expect("there is always one").to_string();
        if page["has_more"] == false {
            return (all, next);
        }
        cursor = Some(next);
    }
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().expect("a type")).collect()
}

async fn top_up(server: &Server, tenant: Option<&str>, user: &str, amount: &str) {
    let body = json!({"tenant": tenant, "user": user, "amount": amount, "kind": "paid", "reason": "a test",
        "paid": {"amount": "10.00", "currency": "MYR"}});
    server.post("/v1/grants", body).await.expect(201);
}

#[tokio::test]
async fn a_wallet_that_gets_low_and_empty_is_told_of_once_beside_what_did_it() {
    let server = Server::start().await;
    server.action("scan", json!({"model": "flat", "amount": "5"})).await;
    top_up(&server, None, "ann", "40").await;
    for _ in 0..8 {
        server.post("/v1/debits", scan("ann")).await.expect(201);
    }
    server.post("/v1/debits", scan("ann")).await.problem(402, "insufficient_credits");
    let (events, cursor) = told(&server, "", None).await;
    let debit = "wallet.debit";
    assert_eq!(
        types(&events),
        [&["wallet.grant"][..], &[debit; 7], &["wallet.low", debit, "wallet.depleted"],].concat()
    );
    let low = &events[8];
    assert_eq!((&low["user"], &low["tenant"], &low["first_seq"]), (&json!("ann"), &json!(null), &json!(8)));
    assert_eq!(low["wallet_id"], events[0]["wallet_id"]);
    // Going on where it ended tells what came since, and nothing twice.
    assert_eq!(told(&server, "", Some(&cursor)).await.0.len(), 0);
    top_up(&server, None, "ann", "20").await;
    let settle = json!({"user": "ann", "action": "scan", "mode": "settle"});
    for _ in 0..6 {
        server.post("/v1/debits", settle.clone()).await.expect(201);
    }
    let (events, _) = told(&server, "", Some(&cursor)).await;
    let falls: Vec<&str> = types(&events).into_iter().filter(|kind| *kind != debit).collect();
    assert_eq!(falls, ["wallet.grant", "wallet.low", "wallet.depleted"], "from 5 of 20 to nothing");
    assert_eq!(types(&told(&server, "&type=wallet.depleted", None).await.0), ["wallet.depleted"; 2]);
}

#[tokio::test]
async fn a_fall_through_both_thresholds_is_told_as_both() {
    let server = Server::start().await;
    server.action("page", json!({"model": "per_quantity", "rate": "1"})).await;
    top_up(&server, Some("acme"), "ann", "10").await;
    let all = json!({"tenant": "acme", "user": "ann", "action": "page", "quantity": 10});
    server.post("/v1/debits", all).await.expect(201);
    let (events, _) = told(&server, "", None).await;
    assert_eq!(types(&events), ["wallet.grant", "wallet.debit", "wallet.low", "wallet.depleted"]);
    assert!(events.iter().all(|event| event["tenant"] == "acme"));
}

#[tokio::test]
async fn events_are_chosen_by_tenant_and_type_and_begin_where_one_wants() {
    let mut server = Server::with_scan().await;
    for tenant in ["acme", "umbrella", "acme"] {
        top_up(&server, Some(tenant), "bob", "10").await;
    }
    assert_eq!(types(&told(&server, "&tenant=acme", None).await.0), ["wallet.grant"; 2]);
    assert_eq!(told(&server, "&type=wallet.grant", None).await.0.len(), 4);
    assert_eq!(told(&server, "&type=wallet.refund", None).await.0.len(), 0);
    let newest = server.get("/v1/events?start=newest").await.expect(200);
    assert_eq!((&newest["data"], &newest["has_more"]), (&json!([]), &json!(false)));
    let behind = newest["next_cursor"].as_str().expect("a cursor").to_string();
    server.post("/v1/debits", scan("ann")).await.expect(201);
    assert_eq!(types(&told(&server, "", Some(&behind)).await.0), ["wallet.debit"]);
    server.get("/v1/events?type=wallet.new").await.invalid("?type", "unknown_value");
    server.get("/v1/events?cursor=x").await.invalid("?cursor", "malformed");
    server.get("/v1/events?cursor=1-3a4f").await.invalid("?cursor", "malformed");
    server.get("/v1/events?start=soon").await.invalid("?start", "unknown_value");
    server.get("/v1/events?start=newest&cursor=-").await.invalid("?start", "ambiguous");
    server.get("/v1/events?start=newest&tenant=nobody").await.expect(200);
    let (none, nobodys) = told(&server, "&tenant=nobody", None).await;
    assert!(none.is_empty() && told(&server, "&tenant=nobody", Some(&nobodys)).await.0.is_empty());
    server.key = api_key::create(&server.app, "acme", Scope::Read, Some("acme")).await.expect("a key");
    server.get(&format!("/v1/events?tenant=acme&cursor={behind}")).await.invalid("?cursor", "malformed");
    server.get("/v1/events").await.invalid("?tenant", "tenant_required");
    let (own, _) = told(&server, "&tenant=acme", None).await;
    assert!(own.len() == 2 && own.iter().all(|event| event["tenant"] == "acme"));
}

/// The cursor of a tenant's key is the same length whatever others write, differs each time, and is of use to this tenant alone.
#[tokio::test]
async fn a_cursor_shows_a_tenant_nothing_of_what_others_write() {
    let mut server = Server::with_scan().await;
    let platform = server.key.clone();
    let acme = api_key::create(&server.app, "acme", Scope::Read, Some("acme")).await.expect("a key");
    let other = api_key::create(&server.app, "other", Scope::Read, Some("other")).await.expect("a key");
    top_up(&server, Some("acme"), "bob", "10").await;
    server.key.clone_from(&acme);
    let (_, before) = told(&server, "&tenant=acme", None).await;
    let (_, again) = told(&server, "&tenant=acme", Some(&before)).await;
    server.key = platform;
    for _ in 0..20 {
        server.post("/v1/debits", scan("ann")).await.expect(201);
    }
    server.key = acme;
    let (events, after) = told(&server, "&tenant=acme", Some(&before)).await;
    assert!(events.is_empty());
    assert_eq!((before.len(), before.len()), (again.len(), after.len()));
    // Whether anything was written meanwhile cannot be seen: two cursors of one place have as little in common as of two.
    let alike = |one: &str, two: &str| one.bytes().zip(two.bytes()).filter(|(a, b)| a == b).count();
    for (one, two) in [(&before, &again), (&before, &after), (&again, &after)] {
        assert!(alike(one, two) < 20, "{one} {two}");
    }
    server.key = other;
    let foreign = format!("/v1/events?tenant=other&cursor={before}");
    server.get(&foreign).await.invalid("?cursor", "malformed");
}

/// Where nearly all is somebody else's, a page looks at so much and says that more is there.
#[tokio::test]
async fn a_page_looks_at_so_much_and_says_whether_there_is_more() {
    let server = Server::with_scan().await;
    let scans: Vec<Value> = (0..1_000)
        .map(|number| {
            json!({"user": format!("u{}", number % 7), "action": "scan", "mode": "settle", "idempotency_key": format!("k{number}")})
        })
        .collect();
    for batch in 0..6 {
        let keyed = scans.iter().cloned().map(|mut scan| {
            scan["idempotency_key"] = json!(format!("{batch}-{}", scan["idempotency_key"]));
            scan
        });
        let body = json!({"debits": keyed.collect::<Vec<_>>()}).to_string();
        server.send("POST", "/v1/debits/batch", &[], &body).await.expect(200);
    }
    top_up(&server, Some("acme"), "bob", "10").await;
    let first = server.get("/v1/events?tenant=acme&limit=1").await.expect(200);
    assert_eq!((&first["data"], &first["has_more"]), (&json!([]), &json!(true)));
    let cursor = first["next_cursor"].as_str().expect("a cursor").to_string();
    let second = server.get(&format!("/v1/events?tenant=acme&limit=1&cursor={cursor}")).await.expect(200);
    assert_eq!((&second["data"][0]["type"], &second["has_more"]), (&json!("wallet.grant"), &json!(false)));
    // Of a kind that is rare, one page has all there are.
    assert_eq!(types(&told(&server, "&type=wallet.grant", None).await.0), ["wallet.grant"; 2]);
}

/// A copy of the file has the same secret and another past: what a cursor of it says is not true here.
#[tokio::test]
async fn a_cursor_of_another_database_or_ahead_of_a_restored_one_is_refused() {
    let home = Home::new(Kind::Sqlite);
    let database = home.path();
    let mut server = Server::start_on(home.clone(), home.settings()).await;
    server.action("scan", json!({"model": "flat", "amount": "5"})).await;
    server.grant("ann", "100").await;
    let (_, early) = told(&server, "", None).await;
    server.stop().await;
    let backup = std::fs::read(&database).expect("the file");
    let mut server = server.beside().await;
    server.post("/v1/debits", scan("ann")).await.expect(201);
    let (events, late) = told(&server, "", Some(&early)).await;
    assert_eq!(types(&events), ["wallet.debit"]);
    server.stop().await;
    for more in ["-wal", "-shm"] {
        let beside = format!("{}{more}", database.display());
        drop(std::fs::remove_file(beside));
    }
    std::fs::write(&database, backup).expect("the file");
    let restored = server.beside().await;
    restored.get(&format!("/v1/events?cursor={late}")).await.problem(410, "cursor_unknown");
    assert!(told(&restored, "", Some(&early)).await.0.is_empty(), "one that is not ahead is good");
}

/// A copy is another database, whatever its positions: they may mean other entries there.
#[tokio::test]
async fn a_cursor_does_not_move_with_a_copy() {
    let (from, to) = (Home::new(Kind::Sqlite), Home::new(Kind::Sqlite));
    let mut server = Server::start_on(from.clone(), from.settings()).await;
    server.grant("ann", "100").await;
    let (_, cursor) = told(&server, "", None).await;
    server.stop().await;
    let (source, target) = (from.url(), to.url());
    let copied = tokio::task::spawn_blocking(move || copy(&source, &target, |_, _, _| ())).await;
    copied.expect("no panic").expect("a copy");
    let secret = |home: &Home| home.path().with_extension("db.secret");
    std::fs::copy(secret(&from), secret(&to)).expect("the secret");
    let mut again = Server::run(to.clone(), to.settings(), server.clock.clone()).await;
    again.key.clone_from(&server.key);
    again.get(&format!("/v1/events?cursor={cursor}")).await.problem(410, "cursor_unknown");
    let (all, anew) = told(&again, "", None).await;
    assert_eq!(types(&all), ["wallet.grant"]);
    assert!(told(&again, "", Some(&anew)).await.0.is_empty());
    // The database it was copied from has not changed.
    let source = server.beside().await;
    assert!(told(&source, "", Some(&cursor)).await.0.is_empty());
}

/// While two nodes write, a reader of one of them follows both.
fn what_two_nodes_write_is_told_once_and_by_wallet_in_order(kind: Kind) {
    run(async {
        let nodes = two(kind, "100").await;
        let mut seen: Vec<Value> = Vec::new();
        let mut cursor: Option<String> = None;
        for round in 0..30 {
            let named = |user: String| json!({"user": user, "action": "scan", "mode": "settle"});
            let users = [format!("u{}", round % 4), format!("u{}", round % 3), "ann".to_string()];
            let [one, two, three] = users.map(named);
            let made = tokio::join!(
                nodes[0].post("/v1/debits", one),
                nodes[1].post("/v1/debits", two),
                nodes[round % 2].post("/v1/debits", three)
            );
            [made.0, made.1, made.2].iter().for_each(|made| drop(made.expect(201)));
            let (more, next) = told(&nodes[0], "", cursor.as_deref()).await;
            seen.extend(more);
            cursor = Some(next);
        }
        let all = told(&nodes[1], "", None).await.0;
        let debits = |events: &[Value]| types(events).iter().filter(|kind| **kind == "wallet.debit").count();
        assert_eq!((debits(&seen), debits(&all)), (90, 90));
        for events in [&seen, &all] {
            let mut last: BTreeMap<&str, u64> = BTreeMap::new();
            for event in events.iter().filter(|event| event["type"] == "wallet.debit") {
                let (wallet, seq) =
                    (event["wallet_id"].as_str().expect("an id"), event["first_seq"].as_u64());
                let before = last.insert(wallet, seq.expect("a number"));
                assert!(before < seq, "{event} after {before:?}");
            }
        }
    });
}

mod on_postgres {
    #[test]
    fn what_two_nodes_write_is_told_once_and_by_wallet_in_order() {
        super::what_two_nodes_write_is_told_once_and_by_wallet_in_order(super::Kind::Postgres);
    }
}

mod on_mariadb {
    #[test]
    fn what_two_nodes_write_is_told_once_and_by_wallet_in_order() {
        super::what_two_nodes_write_is_told_once_and_by_wallet_in_order(super::Kind::Mysql);
    }
}
