//! Refusals that are counted: which, by whom and when, and who sees the counts.

use crate::databases::Kind;
use crate::nodes::{run, two};
use crate::server::Server;
use purser_app::caller::Scope;
use purser_app::usecase::api_key;
use purser_core::time::SECOND;
use serde_json::{Value, json};

/// A debit that nobody has credit for.
fn poor(tenant: Option<&str>, user: &str) -> Value {
    json!({"tenant": tenant, "user": user, "action": "scan"})
}

/// The rows as `from tenant/user action code refused`.
async fn counted(server: &Server, query: &str) -> Vec<String> {
    server.app.write_refusals().await;
    let page = server.get(&format!("/v1/reports/refusals{query}")).await.expect(200);
    let row = |row: &Value| {
        let text = |name: &str| row[name].as_str().unwrap_or("-").to_string();
        let from = text("from").split_off(11);
        format!(
            "{from} {}/{} {} {} {}",
            text("tenant"),
            text("user"),
            text("action"),
            text("code"),
            row["refused"]
        )
    };
    page["data"].as_array().expect("rows").iter().map(row).collect()
}

#[tokio::test]
async fn refused_strict_debits_and_holds_are_counted_and_nothing_else_is() {
    let server = Server::with_scan().await;
    server.action("chat", json!({"model": "per_quantity", "rate": "1"})).await;
    for _ in 0..3 {
        server.post("/v1/debits", poor(Some("acme"), "bob")).await.problem(402, "insufficient_credits");
    }
    server.post("/v1/holds", poor(Some("acme"), "bob")).await.problem(402, "insufficient_credits");
    let keyed = |number: u8, mut body: Value| {
        body["idempotency_key"] = json!(format!("k{number}"));
        body
    };
    let debits =
        [keyed(1, poor(None, "ann")), keyed(2, poor(None, "zoe")), keyed(3, poor(Some("acme"), "eve"))];
    server.send("POST", "/v1/debits/batch", &[], &json!({"debits": debits}).to_string()).await.expect(200);
    let two = json!({"tenant": "acme", "user": "bob", "action": "scan", "quantity": 2});
    server.post("/v1/debits", two).await.problem(422, "usage_invalid");
    let key = [("Idempotency-Key", "used")];
    let keyed = |quantity: u8| {
        json!({"tenant": "acme", "user": "kim", "action": "chat", "quantity": quantity, "mode": "settle"})
            .to_string()
    };
    server.send("POST", "/v1/debits", &key, &keyed(1)).await.expect(201);
    let strict = json!({"tenant": "acme", "user": "kim", "action": "chat", "quantity": 2}).to_string();
    server.send("POST", "/v1/debits", &key, &strict).await.problem(422, "idempotency_conflict");
    // What asks only, settles, is malformed or succeeds leaves no count.
    server.send("POST", "/v1/preflight", &[], &poor(Some("acme"), "bob").to_string()).await.expect(200);
    let mut settled = poor(Some("debtors"), "bob");
    settled["mode"] = json!("settle");
    server.post("/v1/debits", settled).await.expect(201);
    server.post("/v1/debits", json!({"user": "bob"})).await.problem(422, "invalid_request");
    server
        .post("/v1/debits", json!({"user": "bob", "action": "none"}))
        .await
        .problem(404, "action_not_found");
    server.clock.advance(20 * 60 * SECOND);
    let dear = json!({"tenant": "acme", "user": "bob", "action": "chat", "quantity": 7});
    server.post("/v1/debits", dear).await.problem(402, "insufficient_credits");
    server.clock.advance(15 * 60 * SECOND);
    let mut rows = counted(&server, "").await;
    // Numbers of tenants are random, and so is their order within a quarter.
    rows.sort();
    assert_eq!(
        rows,
        [
            "00:00:00Z -/zoe scan insufficient_credits 1",
            "00:00:00Z acme/- scan insufficient_credits 5",
            "00:15:00Z acme/- chat insufficient_credits 1",
        ]
    );
    let of_chat = ["00:15:00Z acme/- chat insufficient_credits 1"];
    assert_eq!(counted(&server, "?action=chat").await, of_chat);
    assert_eq!(counted(&server, "?from=2026-01-01T00:29:59Z").await, of_chat, "the quarter it lies in");
    assert_eq!(counted(&server, "?from=2026-01-01T00:30:00Z").await.len(), 0);
    assert_eq!(counted(&server, "?to=2026-01-01T00:15:00Z").await.len(), 2);
    assert_eq!(counted(&server, "?tenant=acme").await.len(), 2);
    assert_eq!(counted(&server, "?tenant=nobody").await.len(), 0);
    // What was written is added to.
    server.post("/v1/debits", poor(Some("acme"), "bob")).await.problem(402, "insufficient_credits");
    server.clock.advance(15 * 60 * SECOND);
    let added = counted(&server, "?tenant=acme&from=2026-01-01T00:30:00Z").await;
    assert_eq!(added, ["00:30:00Z acme/- scan insufficient_credits 1"]);
}

#[tokio::test]
async fn counts_come_in_pages_and_only_to_those_they_are_about() {
    let mut server = Server::with_scan().await;
    server.action("copy", json!({"model": "flat", "amount": "5"})).await;
    for tenant in ["acme", "umbrella", "other"] {
        server.post("/v1/debits", poor(Some(tenant), "bob")).await.problem(402, "insufficient_credits");
        server
            .post("/v1/holds", json!({"tenant": tenant, "user": "bob", "action": "copy"}))
            .await
            .problem(402, "insufficient_credits");
    }
    server.clock.advance(SECOND);
    let whole = counted(&server, "").await;
    assert_eq!(whole.len(), 6);
    for query in ["", "&tenant=acme"] {
        let mut found = 0;
        let mut cursor = String::new();
        loop {
            let page = server.get(&format!("/v1/reports/refusals?limit=1{query}{cursor}")).await.expect(200);
            found += page["data"].as_array().expect("rows").len();
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(found, if query.is_empty() { 6 } else { 2 });
    }
    for bad in ["?cursor=x", "?cursor=1.2.3", "?cursor=1.zz.3.x"] {
        server.get(&format!("/v1/reports/refusals{bad}")).await.invalid("?cursor", "malformed");
    }
    server.get("/v1/reports/refusals?from=now").await.invalid("?from", "malformed");
    server.get("/v1/reports/refusals?from=2026-01-02T00:00:00Z").await.invalid("?from", "out_of_range");
    server.get("/v1/reports/refusals?limit=501").await.invalid("?limit", "out_of_range");
    server.key = api_key::create(&server.app, "acme", Scope::Read, Some("acme")).await.expect("a key");
    let own = server.get("/v1/reports/refusals?tenant=acme").await.expect(200);
    assert!(own["data"].as_array().expect("rows").iter().all(|row| row["tenant"] == "acme"), "{own}");
    server.get("/v1/reports/refusals").await.invalid("?tenant", "tenant_required");
    server.get("/v1/reports/refusals?tenant=other").await.invalid("?tenant", "tenant_required");
}

#[tokio::test]
async fn what_was_counted_is_written_when_the_service_stops() {
    let mut server = Server::with_scan().await;
    server.post("/v1/debits", poor(Some("acme"), "bob")).await.problem(402, "insufficient_credits");
    server.stop().await;
    let again = server.beside().await;
    again.clock.advance(SECOND);
    assert_eq!(counted(&again, "").await, ["00:00:00Z acme/- scan insufficient_credits 1"]);
}

fn two_nodes_add_to_the_same_counts(kind: Kind) {
    run(async {
        let nodes = two(kind, "1").await;
        for node in &nodes {
            while node.post("/v1/debits", poor(Some("acme"), "bob")).await.status != 402 {}
        }
        nodes[0].app.write_refusals().await;
        nodes[1].app.write_refusals().await;
        for _ in 0..20 {
            for node in &nodes {
                node.post("/v1/debits", poor(Some("acme"), "bob")).await.problem(402, "insufficient_credits");
                node.post("/v1/holds", poor(Some("umbrella"), "bob"))
                    .await
                    .problem(402, "insufficient_credits");
            }
            tokio::join!(nodes[0].app.write_refusals(), nodes[1].app.write_refusals());
        }
        nodes[0].clock.advance(SECOND);
        let rows = counted(&nodes[0], "?tenant=umbrella").await;
        assert_eq!(rows, ["00:00:00Z umbrella/- scan insufficient_credits 40"]);
        let rows = counted(&nodes[0], "?tenant=acme").await;
        assert_eq!(rows, ["00:00:00Z acme/- scan insufficient_credits 42"]);
    });
}

mod on_postgres {
    #[test]
    fn two_nodes_add_to_the_same_counts() {
        super::two_nodes_add_to_the_same_counts(super::Kind::Postgres);
    }
}

mod on_mariadb {
    #[test]
    fn two_nodes_add_to_the_same_counts() {
        super::two_nodes_add_to_the_same_counts(super::Kind::Mysql);
    }
}
