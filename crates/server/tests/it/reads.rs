//! Reading: balances, wallets, the statement, lots, holds, a past instant, pages.

use crate::server::Server;
use purser_core::time::SECOND;
use serde_json::{Value, json};

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not text"))
}

#[tokio::test]
async fn a_balance_lists_the_wallets_of_a_user_by_unit() {
    let server = Server::with_scan().await;
    server.post("/v1/units", json!({"code": "sms", "scale": 0, "name": "Messages"})).await.expect(201);
    let grant = json!({"user": "ann", "unit": "sms", "amount": 3, "kind": "promotional", "reason": "gift"});
    server.post("/v1/grants", grant).await.expect(201);
    let all = server.get("/v1/balance?user=ann").await.expect(200);
    assert_eq!(all["wallets"].as_array().expect("a list").len(), 2);
    let one = server.get("/v1/balance?user=ann&unit=sms").await.expect(200);
    let wallet = &one["wallets"][0];
    assert_eq!(
        (&wallet["unit"], &wallet["name"], &wallet["kind"]),
        (&json!("sms"), &json!("Messages"), &json!("personal"))
    );
    assert_eq!(wallet["balance"]["available"], "3");
    assert_eq!(server.get("/v1/balance?user=ann&tenant=acme").await.expect(200), json!({"wallets": []}));
}

#[tokio::test]
async fn wallets_are_searched_and_read() {
    let server = Server::with_scan().await;
    server.grant("bob", "1").await;
    let all = server.get("/v1/wallets").await.expect(200);
    assert_eq!(all["data"].as_array().expect("a list").len(), 2);
    let found = server.get("/v1/wallets?user=bob").await.expect(200);
    let wallet = &found["data"][0];
    assert_eq!(
        (&wallet["user"], &wallet["tenant"], &wallet["balance"]["settled"]),
        (&json!("bob"), &json!(null), &json!("1"))
    );
    let read = server.get(&format!("/v1/wallets/{}", text(&wallet["id"]))).await.expect(200);
    assert_eq!((&read["id"], &read["created_at"]), (&wallet["id"], &wallet["created_at"]));
}

#[tokio::test]
async fn the_grants_of_a_wallet_that_is_not_there_are_not_found() {
    let server = Server::with_scan().await;
    let wallet = server.grant("ann", "1").await["wallet_id"].clone();
    let mut other = text(&wallet).to_string();
    let last = if other.ends_with('0') { 'g' } else { '0' };
    other.replace_range(other.len() - 5.., &format!("0000{last}"));
    for list in [format!("/v1/grants?wallet_id={other}"), format!("/v1/wallets/{other}/entries")] {
        server.get(&list).await.problem(404, "wallet_not_found");
    }
}

#[tokio::test]
async fn pages_follow_one_another_to_the_end() {
    let server = Server::with_scan().await;
    for _ in 0..4 {
        server.post("/v1/debits", json!({"user": "ann", "action": "scan"})).await.expect(201);
    }
    let wallet = server.get("/v1/balance?user=ann").await.expect(200)["wallets"][0]["wallet_id"].clone();
    let path = format!("/v1/wallets/{}/entries?limit=2", text(&wallet));
    let (mut cursor, mut seen) = (String::new(), Vec::new());
    for _ in 0..5 {
        let page = server.get(&format!("{path}{cursor}")).await.expect(200);
        seen.extend(
            page["data"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|entry| entry["seq"].as_u64().expect("a number")),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn a_statement_says_what_happened_and_who_did_it() {
    let server = Server::with_scan().await;
    let body = json!({"user": "ann", "action": "scan", "reference": "job-7", "metadata": {"k": "v"}});
    server.post("/v1/debits", body).await.expect(201);
    let wallet = server.get("/v1/balance?user=ann").await.expect(200)["wallets"][0]["wallet_id"].clone();
    let path = format!("/v1/wallets/{}/entries", text(&wallet));
    let entries = server.get(&path).await.expect(200)["data"].clone();
    let (debit, grant) = (&entries[0], &entries[1]);
    assert_eq!(
        (&debit["kind"], &debit["amount"], &debit["settled_after"]),
        (&json!("debit"), &json!("-5"), &json!("95"))
    );
    assert_eq!(
        (&debit["title"], &debit["action"], &debit["user"]),
        (&json!("scan"), &json!("scan"), &json!("ann"))
    );
    assert_eq!((&debit["reference"], &debit["metadata"]), (&json!("job-7"), &json!({"k": "v"})));
    assert_eq!(
        (&grant["kind"], &grant["title"], &grant["reason"]),
        (&json!("grant"), &json!("Credits added"), &json!("a test"))
    );
    assert_eq!(debit["actor"]["kind"], "api_key");
    assert_eq!(text(&debit["hash"]).len(), 64);
    assert_ne!(debit["hash"], grant["hash"]);
    let found = server.get(&format!("{path}?reference=job-7")).await.expect(200);
    assert_eq!(found["data"].as_array().expect("a list").len(), 1);
    assert_eq!(server.get(&format!("{path}?reference=other")).await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn lots_and_holds_of_a_wallet_are_listed() {
    let server = Server::with_scan().await;
    server.post("/v1/holds", json!({"user": "ann", "action": "scan"})).await.expect(201);
    let wallet = server.get("/v1/balance?user=ann").await.expect(200)["wallets"][0]["wallet_id"].clone();
    let lots = server.get(&format!("/v1/wallets/{}/lots", text(&wallet))).await.expect(200);
    let lot = &lots["data"][0];
    assert_eq!(
        (&lot["granted"], &lot["remaining"], &lot["held"], &lot["kind"]),
        (&json!("100"), &json!("100"), &json!("5"), &json!("promotional"))
    );
    let holds = server.get(&format!("/v1/wallets/{}/holds", text(&wallet))).await.expect(200);
    assert_eq!((&holds["data"][0]["held"], &holds["data"][0]["action"]), (&json!("5"), &json!("scan")));
}

#[tokio::test]
async fn a_wallet_is_read_as_it_was() {
    let server = Server::with_scan().await;
    server.clock.advance(60 * SECOND);
    server.post("/v1/debits", json!({"user": "ann", "action": "scan"})).await.expect(201);
    let wallet = server.get("/v1/balance?user=ann").await.expect(200)["wallets"][0]["wallet_id"].clone();
    let path = format!("/v1/wallets/{}/at?time=", text(&wallet));
    let before = server.get(&format!("{path}2026-01-01T00:00:30Z")).await.expect(200);
    assert_eq!(
        (&before["balance"]["available"], &before["as_of"]),
        (&json!("100"), &json!("2026-01-01T00:00:30Z"))
    );
    let after = server.get(&format!("{path}2026-01-01T00:01:00%2B00:00")).await.expect(200);
    assert_eq!(after["balance"]["available"], "95");
    server.get(&format!("{path}yesterday")).await.invalid("?time", "malformed");
}
