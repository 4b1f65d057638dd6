//! Credits move: grants, debits, refunds, holds, transfers, each with what it answers.

use crate::server::Server;
use purser_core::time::{DAY, SECOND};
use serde_json::json;

#[tokio::test]
async fn a_grant_answers_with_its_lot_and_the_balance() {
    let server = Server::start().await;
    let body = json!({"user": "ann", "amount": 100, "kind": "paid", "reason": "bought",
        "paid": {"amount": "50.00", "currency": "MYR"}, "expires_at": "2026-06-01T00:00:00Z", "reference": "inv-1"});
    let grant = server.post("/v1/grants", body).await.expect(201);
    assert!(grant["id"].as_str().expect("text").starts_with("gra_"), "{grant}");
    assert!(grant["lot_id"].as_str().expect("text").starts_with("lot_"));
    assert!(grant["wallet_id"].as_str().expect("text").starts_with("wal_"));
    assert_eq!(
        (&grant["amount"], &grant["unit"], &grant["kind"]),
        (&json!("100"), &json!("credit"), &json!("paid"))
    );
    assert_eq!(grant["expires_at"], "2026-06-01T00:00:00Z");
    assert_eq!(
        grant["balance"],
        json!({"settled": "100", "held": "0", "available": "100", "pending": "0", "frozen": "0", "debt": "0",
            "last_topup": "100", "share_of_last_topup": "1", "health": "healthy", "auto_topup": null})
    );
    let read = server.get(&format!("/v1/grants/{}", grant["id"].as_str().expect("text"))).await.expect(200);
    assert_eq!(read["paid"], json!({"amount": "50.00", "currency": "MYR"}));
    assert_eq!(
        (&read["remaining"], &read["reason"], &read["reference"]),
        (&json!("100"), &json!("bought"), &json!("inv-1"))
    );
    let list = format!("/v1/grants?wallet_id={}", grant["wallet_id"].as_str().expect("text"));
    let list = server.get(&list).await.expect(200);
    assert_eq!(list["data"], json!([read]));
    assert_eq!(list["next_cursor"], json!(null));
}

#[tokio::test]
async fn a_debit_takes_its_price_and_is_read_back() {
    let server = Server::with_scan().await;
    let body = json!({"user": "ann", "action": "scan", "reference": "r 1", "metadata": {"a": [1, 2.50, "x y"]},
        "occurred_at": "2025-12-31T23:59:00Z"});
    server
        .post("/v1/debits", json!({"user": "ann", "action": "scan", "quantity": 2}))
        .await
        .problem(422, "usage_invalid");
    let early = server.post("/v1/debits", body.clone()).await;
    early.problem(404, "action_not_found");
    server.clock.advance(600 * SECOND);
    let mut body = body;
    body["occurred_at"] = json!("2026-01-01T00:01:00.5+00:00");
    let debit = server.post("/v1/debits", body).await.expect(201);
    assert!(debit["id"].as_str().expect("text").starts_with("deb_"));
    assert!(debit["entry_id"].as_str().expect("text").starts_with("ent_"));
    assert!(debit["price_id"].as_str().expect("text").starts_with("pri_"));
    assert_eq!((&debit["amount"], &debit["quantity"]), (&json!("5"), &json!("1")));
    assert_eq!(
        (&debit["tenant"], &debit["user"], &debit["action"]),
        (&json!(null), &json!("ann"), &json!("scan"))
    );
    assert_eq!(
        (&debit["balance"]["available"], &debit["created_at"]),
        (&json!("95"), &json!("2026-01-01T00:10:00Z"))
    );
    let read = server.get(&format!("/v1/debits/{}", debit["id"].as_str().expect("text"))).await.expect(200);
    for name in ["id", "entry_id", "wallet_id", "amount", "quantity", "price_id", "unit", "created_at"] {
        assert_eq!(read[name], debit[name], "{name}");
    }
    assert_eq!((&read["reference"], &read["mode"]), (&json!("r 1"), &json!("strict")));
    assert_eq!(read["metadata"].to_string(), r#"{"a":[1,2.50,"x y"]}"#.replace("2.50", "2.5"));
    assert_eq!((&read["refunded"], &read["occurred_at"]), (&json!("0"), &json!("2026-01-01T00:01:00.5Z")));
}

#[tokio::test]
async fn the_same_key_answers_the_same_and_moves_once() {
    let server = Server::with_scan().await;
    let body = json!({"user": "ann", "action": "scan"});
    let first = server.post_as("/v1/debits", body.clone(), "once").await;
    let again = server.post_as("/v1/debits", body, "once").await;
    assert_eq!((first.expect(201), first.header("idempotent-replayed")), (again.expect(201), None));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    let other = server
        .post_as("/v1/debits", json!({"user": "ann", "action": "scan", "reference": "b"}), "once")
        .await;
    other.problem(422, "idempotency_conflict");
    let balance = server.get("/v1/balance?user=ann").await.expect(200);
    assert_eq!(balance["wallets"][0]["balance"]["available"], "95");
}

#[tokio::test]
async fn a_debit_that_happened_too_long_ago_still_has_the_answer_it_got() {
    let server = Server::with_scan().await;
    let at = |time: &str| json!({"user": "ann", "action": "scan", "occurred_at": time});
    server.clock.advance(60 * SECOND);
    let body = at("2026-01-01T00:00:30Z");
    let first = server.post_as("/v1/debits", body.clone(), "late").await;
    let hold = server.post("/v1/holds", json!({"user": "ann", "action": "scan"})).await.expect(201);
    let capture = format!("/v1/holds/{}/capture", hold["id"].as_str().expect("text"));
    let when = json!({"occurred_at": "2026-01-01T00:00:30Z"});
    let captured = server.post_as(&capture, when.clone(), "capture").await;
    server.clock.advance(40 * DAY);
    for (path, body, key, before) in
        [("/v1/debits", body.clone(), "late", &first), (capture.as_str(), when.clone(), "capture", &captured)]
    {
        let again = server.post_as(path, body, key).await;
        assert_eq!((again.status, &again.text), (before.status, &before.text));
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
    }
    server
        .post_as("/v1/debits", at("2026-01-01T00:00:31Z"), "late")
        .await
        .problem(422, "idempotency_conflict");
    server.post_as("/v1/debits", body.clone(), "new").await.invalid("/occurred_at", "out_of_range");
    server.post_as(&capture, when, "new").await.invalid("/occurred_at", "out_of_range");
    let nobody = json!({"user": "nobody", "action": "scan", "occurred_at": "2026-01-01T00:00:30Z"});
    server.post("/v1/debits", nobody).await.invalid("/occurred_at", "out_of_range");
    let batch = json!({"debits": [{"idempotency_key": "late", "user": "ann", "action": "scan",
        "occurred_at": "2026-01-01T00:00:30Z"}]});
    let batch = server.send("POST", "/v1/debits/batch", &[], &batch.to_string()).await.expect(200);
    assert_eq!(batch["results"][0]["problem"]["code"], "idempotency_conflict");
}

#[tokio::test]
async fn spending_more_than_is_there_says_what_is_missing() {
    let server = Server::with_scan().await;
    server.action("dear", json!({"model": "flat", "amount": "100.5"})).await;
    let refused = server.post("/v1/debits", json!({"user": "ann", "action": "dear"})).await;
    let problem = refused.problem(402, "insufficient_credits");
    assert_eq!(
        (
            &problem["required"],
            &problem["available"],
            &problem["shortfall"],
            &problem["unit"],
            &problem["packages"]
        ),
        (&json!("100.5"), &json!("100"), &json!("0.5"), &json!("credit"), &json!([]))
    );
    assert!(problem["topup_url"].as_str().is_some_and(|url| url.contains("/topup/")));
    let settled = server.post("/v1/debits", json!({"user": "ann", "action": "dear", "mode": "settle"})).await;
    let balance = &settled.expect(201)["balance"];
    assert_eq!(
        (&balance["debt"], &balance["available"], &balance["health"]),
        (&json!("0.5"), &json!("-0.5"), &json!("debt"))
    );
}

#[tokio::test]
async fn a_refund_gives_back_all_or_part_and_no_more() {
    let server = Server::with_scan().await;
    let debit = server.post("/v1/debits", json!({"user": "ann", "action": "scan"})).await.expect(201);
    let path = format!("/v1/debits/{}/refund", debit["id"].as_str().expect("text"));
    let refund = server.post(&path, json!({"amount": "2", "reason": "half"})).await.expect(200);
    assert!(refund["id"].as_str().expect("text").starts_with("ref_"));
    assert_eq!(
        (&refund["debit_id"], &refund["amount"], &refund["refunded"]),
        (&debit["id"], &json!("2"), &json!("2"))
    );
    let rest = server.post(&path, json!({"reason": "the rest"})).await.expect(200);
    assert_eq!(
        (&rest["amount"], &rest["refunded"], &rest["balance"]["available"]),
        (&json!("3"), &json!("5"), &json!("100"))
    );
    let more = server.post(&path, json!({"amount": 1, "reason": "more"})).await;
    let more = more.problem(409, "refund_exceeds_debit");
    assert_eq!((&more["refundable"], &more["unit"]), (&json!("0"), &json!("credit")));
    server.post(&path, json!({"amount": 1})).await.invalid("/reason", "required");
}

#[tokio::test]
async fn a_revoke_takes_back_what_is_unspent() {
    let server = Server::with_scan().await;
    let grant = server.grant("ann", "10").await;
    let path = format!("/v1/grants/{}/revoke", grant["id"].as_str().expect("text"));
    let revoked = server.post(&path, json!({"amount": "4", "reason": "mistake"})).await.expect(200);
    assert!(revoked["id"].as_str().expect("text").starts_with("rev_"));
    assert_eq!(
        (&revoked["grant_id"], &revoked["amount"], &revoked["balance"]["available"]),
        (&grant["id"], &json!("4"), &json!("106"))
    );
    let more = server.post(&path, json!({"amount": "7", "reason": "too much"})).await;
    let more = more.problem(409, "revoke_exceeds_unspent");
    assert_eq!((&more["revocable"], &more["unit"]), (&json!("6"), &json!("credit")));
}

#[tokio::test]
async fn a_hold_is_placed_extended_and_captured() {
    let server = Server::start().await;
    let rates = json!({"input_tokens": {"rate": "3", "per": 1000000}, "output_tokens": {"rate": "15", "per": 1000000}});
    server.action("chat", json!({"model": "per_dimension", "rates": rates})).await;
    server.grant("ann", "1").await;
    let body = json!({"user": "ann", "action": "chat", "dimensions": {"input_tokens": 1000, "output_tokens": "1000"}});
    let hold = server.post("/v1/holds", body).await.expect(201);
    assert_eq!(
        (&hold["state"], &hold["held"], &hold["captured"]),
        (&json!("active"), &json!("0.018"), &json!("0"))
    );
    assert_eq!(
        (&hold["balance"]["available"], &hold["expires_at"]),
        (&json!("0.982"), &json!("2026-01-01T00:15:00Z"))
    );
    assert!(hold.get("debit").is_none());
    let path = format!("/v1/holds/{}", hold["id"].as_str().expect("text"));
    let longer = server.post(&format!("{path}/extend"), json!({"expires_in": 3600})).await.expect(200);
    assert_eq!((&longer["id"], &longer["expires_at"]), (&hold["id"], &json!("2026-01-01T01:00:00Z")));
    assert_eq!(server.get(&path).await.expect(200)["state"], "active");
    let truth = json!({"dimensions": {"input_tokens": 1000, "output_tokens": 100}, "reference": "chat-1"});
    let done = server.post(&format!("{path}/capture"), truth).await.expect(200);
    assert_eq!(
        (&done["state"], &done["captured"], &done["balance"]["available"]),
        (&json!("captured"), &json!("0.0045"), &json!("0.9955"))
    );
    let debit = &done["debit"];
    assert_eq!((&debit["amount"], &debit["dimensions"]["output_tokens"]), (&json!("0.0045"), &json!("100")));
    let read = server.get(&format!("/v1/debits/{}", debit["id"].as_str().expect("text"))).await.expect(200);
    assert_eq!(
        (&read["amount"], &read["reference"], &read["action"]),
        (&json!("0.0045"), &json!("chat-1"), &json!("chat"))
    );
    server.post(&format!("{path}/capture"), json!({})).await.problem(409, "hold_closed");
}

#[tokio::test]
async fn a_hold_is_released_with_or_without_a_body() {
    let server = Server::with_scan().await;
    for body in ["", "{}", "null"] {
        let hold = server.post("/v1/holds", json!({"user": "ann", "action": "scan"})).await.expect(201);
        let path = format!("/v1/holds/{}/release", hold["id"].as_str().expect("text"));
        let key = server.fresh_key();
        let released = server.send("POST", &path, &[("Idempotency-Key", &key)], body).await.expect(200);
        assert_eq!(
            (&released["state"], &released["balance"]["available"]),
            (&json!("released"), &json!("100"))
        );
        let again = server.send("POST", &path, &[("Idempotency-Key", &key)], body).await;
        assert_eq!((again.expect(200), again.header("idempotent-replayed")), (released, Some("true")));
    }
}

#[tokio::test]
async fn a_hold_that_ran_out_is_captured_only_to_settle() {
    let server = Server::with_scan().await;
    let body = json!({"user": "ann", "action": "scan", "expires_in": 60});
    let hold = server.post("/v1/holds", body).await.expect(201);
    let path = format!("/v1/holds/{}", hold["id"].as_str().expect("text"));
    server.clock.advance(61 * SECOND);
    assert_eq!(server.get(&path).await.expect(200)["state"], "expired");
    server.post(&format!("{path}/capture"), json!({})).await.problem(409, "hold_expired");
    let late = server.post(&format!("{path}/capture"), json!({"mode": "settle"})).await.expect(200);
    assert_eq!(
        (&late["captured"], &late["debit"]["amount"], &late["balance"]["available"]),
        (&json!("5"), &json!("5"), &json!("95"))
    );
}

#[tokio::test]
async fn a_capture_beyond_the_hold_follows_the_rule_of_the_action() {
    let server = Server::with_scan().await;
    server.action("pages", json!({"model": "per_quantity", "rate": "1"})).await;
    let hold =
        server.post("/v1/holds", json!({"user": "ann", "action": "pages", "quantity": 3})).await.expect(201);
    let path = format!("/v1/holds/{}/capture", hold["id"].as_str().expect("text"));
    let more = server.post(&path, json!({"quantity": 4})).await.problem(409, "capture_exceeds_hold");
    assert_eq!(
        (&more["held"], &more["required"], &more["capturable"], &more["unit"]),
        (&json!("3"), &json!("4"), &json!("3"), &json!("credit"))
    );
    assert_eq!(server.post(&path, json!({"quantity": 2})).await.expect(200)["captured"], "2");
    server
        .post(&format!("/v1/holds/{}/extend", hold["id"].as_str().expect("text")), json!({"quantity": 9}))
        .await
        .problem(409, "hold_closed");
}

#[tokio::test]
async fn a_capture_beyond_the_allowed_share_is_told_how_much_it_may_take() {
    let server = Server::with_scan().await;
    let body = json!({"key": "pages", "name": "Pages", "overage": "allow", "overage_percent": 15,
        "price": {"model": "per_quantity", "rate": "1"}});
    server.post("/v1/actions", body).await.expect(201);
    let hold = json!({"user": "ann", "action": "pages", "quantity": 3});
    let hold = server.post("/v1/holds", hold).await.expect(201);
    let path = format!("/v1/holds/{}/capture", hold["id"].as_str().expect("text"));
    let more = server.post(&path, json!({"quantity": 4})).await.problem(409, "capture_exceeds_hold");
    assert_eq!((&more["held"], &more["capturable"]), (&json!("3"), &json!("3.45")));
    server.post(&path, json!({"amount": "3.450001"})).await.problem(409, "capture_exceeds_hold");
    let most = more["capturable"].clone();
    assert_eq!(server.post(&path, json!({"amount": most})).await.expect(200)["captured"], "3.45");
}

#[tokio::test]
async fn a_transfer_moves_credits_inside_a_tenant() {
    let server = Server::start().await;
    let grant =
        json!({"tenant": "acme", "user": "ann", "amount": "10", "kind": "promotional", "reason": "start"});
    let grant = server.post("/v1/grants", grant).await.expect(201);
    let body = json!({"tenant": "acme", "from": {"user": "ann"}, "to": {"user": "bob"}, "amount": "2.5", "reason": "share"});
    let transfer = server.post("/v1/transfers", body).await.expect(201);
    assert!(transfer["id"].as_str().expect("text").starts_with("tra_"));
    assert_eq!((&transfer["amount"], &transfer["unit"]), (&json!("2.5"), &json!("credit")));
    assert_eq!(
        (&transfer["from"]["wallet_id"], &transfer["from"]["balance"]["settled"]),
        (&grant["wallet_id"], &json!("7.5"))
    );
    assert_eq!(transfer["to"]["balance"]["settled"], "2.5");
    let same = json!({"tenant": "acme", "from": {"user": "ann"}, "to": {"user": "ann"}, "amount": 1});
    server.post("/v1/transfers", same).await.problem(422, "same_wallet");
}

#[tokio::test]
async fn a_preflight_moves_and_makes_nothing() {
    let server = Server::with_scan().await;
    let ask = async |user: &str| {
        let body = json!({"user": user, "action": "scan"}).to_string();
        server.send("POST", "/v1/preflight", &[], &body).await.expect(200)
    };
    let yes = ask("ann").await;
    assert_eq!(
        (&yes["allowed"], &yes["cost"], &yes["balance_after"]),
        (&json!(true), &json!("5"), &json!("95"))
    );
    assert_eq!(
        (&yes["quote"]["expires_at"], &yes["packages"], &yes["confirmation_required"]),
        (&json!("2026-01-01T00:05:00Z"), &json!([]), &json!(false))
    );
    assert!(yes.get("code").is_none() && yes.get("shortfall").is_none(), "{yes}");
    assert!(yes["wallet_id"].as_str().expect("text").starts_with("wal_"), "{yes}");
    let no = ask("nobody").await;
    assert_eq!(no["wallet_id"], json!(null), "there is no such wallet yet");
    assert_eq!(
        (&no["allowed"], &no["code"], &no["shortfall"]),
        (&json!(false), &json!("insufficient_credits"), &json!("5"))
    );
    assert_eq!(server.get("/v1/balance?user=nobody").await.expect(200), json!({"wallets": []}));
    assert_eq!(
        server.get("/v1/balance?user=ann").await.expect(200)["wallets"][0]["balance"]["available"],
        "100"
    );
}

#[tokio::test]
async fn each_debit_of_a_batch_stands_alone() {
    let server = Server::with_scan().await;
    server.action("dear", json!({"model": "flat", "amount": "1000"})).await;
    let body = json!({"debits": [
        {"idempotency_key": "a", "user": "ann", "action": "scan"},
        {"idempotency_key": "b", "user": "ann", "action": "dear"},
        {"idempotency_key": "c", "user": "ann", "action": "none"},
        {"idempotency_key": "d", "user": "ann", "action": "scan", "quantity": "1"},
    ]})
    .to_string();
    let first = server.send("POST", "/v1/debits/batch", &[], &body).await;
    let results = first.expect(200)["results"].clone();
    let statuses: Vec<_> =
        results.as_array().expect("a list").iter().map(|result| result["status"].clone()).collect();
    assert_eq!(statuses, [201, 402, 404, 201]);
    assert_eq!((&results[0]["debit"]["amount"], &results[0]["replayed"]), (&json!("5"), &json!(false)));
    assert_eq!(results[1]["problem"]["code"], "insufficient_credits");
    assert_eq!(results[1]["problem"]["request_id"].as_str(), first.header("x-request-id"));
    assert_eq!(results[2]["problem"]["code"], "action_not_found");
    let odd = json!({"debits": [{"idempotency_key": "e", "user": "ann", "action": "scan"},
        {"idempotency_key": "f", "user": "ann", "action": "scan", "quantity": -1},
        {"idempotency_key": "g", "user": "ann", "action": "scan", "quantity": 2}]});
    let odd = server.send("POST", "/v1/debits/batch", &[], &odd.to_string()).await.expect(200);
    assert_eq!(odd["results"][1]["problem"]["errors"][0]["pointer"], "/debits/1/quantity");
    assert_eq!(odd["results"][2]["problem"]["errors"][0]["pointer"], "/debits/2/quantity");
    assert_eq!(results[3]["debit"]["balance"]["available"], "90");
    let again = server.send("POST", "/v1/debits/batch", &[], &body).await.expect(200);
    assert_eq!(
        (&again["results"][0]["debit"], &again["results"][0]["replayed"]),
        (&results[0]["debit"], &json!(true))
    );
    assert_eq!(
        server.get("/v1/balance?user=ann").await.expect(200)["wallets"][0]["balance"]["available"],
        "85"
    );
}

#[tokio::test]
async fn a_debit_of_a_batch_is_the_same_however_it_is_written() {
    let server = Server::with_scan().await;
    let texts = [
        r#"{"idempotency_key":"a","user":"ann","action":"scan","quantity":1,"metadata":{"b":1,"a":"x y"}}"#,
        r#"{"metadata": {"b": 1, "a": "x y"}, "quantity": "1", "action": "scan", "user": "ann", "idempotency_key": "a"}"#,
    ];
    for (text, replayed) in texts.into_iter().zip([false, true]) {
        let body = format!(r#"{{"debits":[{text}]}}"#);
        let answer = server.send("POST", "/v1/debits/batch", &[], &body).await.expect(200);
        let result = &answer["results"][0];
        assert_eq!((&result["status"], &result["replayed"]), (&json!(201), &json!(replayed)), "{result}");
    }
}

#[tokio::test]
async fn many_clients_spend_one_wallet_exactly_once_each() {
    let server = std::sync::Arc::new(Server::with_scan().await);
    let mut clients = Vec::new();
    for _ in 0..8 {
        let server = server.clone();
        clients.push(tokio::spawn(async move {
            let mut spent = 0;
            for _ in 0..5 {
                let answer = server.post("/v1/debits", json!({"user": "ann", "action": "scan"})).await;
                match answer.status {
                    201 => spent += 1,
                    _ => drop(answer.problem(402, "insufficient_credits")),
                }
            }
            spent
        }));
    }
    let mut spent = 0;
    for client in clients {
        spent += client.await.expect("no panic");
    }
    assert_eq!(spent, 20);
}
