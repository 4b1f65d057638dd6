//! How often a key may call: what is refused, how it is told, and when it goes on.

use crate::server::Server;
use purser_app::caller::Scope;
use purser_app::rate::Rate;
use purser_app::usecase::api_key;
use purser_core::time::SECOND;
use serde_json::json;

/// A service where a key may call three times at once and twice a second.
async fn limited() -> Server {
    Server::start_with(|settings| settings.rate_limit = Rate::new(2, 3)).await
}

#[tokio::test]
async fn a_key_that_calls_too_often_is_refused_and_told_when_to_come_back() {
    let server = limited().await;
    for _ in 0..3 {
        server.get("/v1/units").await.expect(200);
    }
    let refused = server.get("/v1/units").await;
    refused.problem(429, "rate_limited");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("ratelimit-limit"), Some("3"));
    assert_eq!(refused.header("ratelimit-remaining"), Some("0"));
    assert_eq!(refused.header("ratelimit-reset"), Some("2"));
    server.clock.advance(SECOND / 2);
    server.get("/v1/units").await.expect(200);
    server.get("/v1/units").await.problem(429, "rate_limited");
    server.clock.advance(60 * SECOND);
    for _ in 0..3 {
        server.get("/v1/units").await.expect(200);
    }
    server.get("/v1/units").await.problem(429, "rate_limited");
}

#[tokio::test]
async fn a_refused_movement_moves_nothing_and_may_be_repeated() {
    let server = limited().await;
    let action = json!({"key": "scan", "name": "Scan", "price": {"model": "flat", "amount": "5"}});
    server.post("/v1/actions", action).await.expect(201);
    let grant = json!({"user": "ann", "amount": "12", "kind": "promotional", "reason": "a test"});
    server.post("/v1/grants", grant).await.expect(201);
    let debit = json!({"user": "ann", "action": "scan"});
    server.post_as("/v1/debits", debit.clone(), "one").await.expect(201);
    server.post_as("/v1/debits", debit.clone(), "two").await.problem(429, "rate_limited");
    server.clock.advance(SECOND);
    let answer = server.post_as("/v1/debits", debit, "two").await;
    assert_eq!(answer.expect(201)["balance"]["available"], "2");
    assert_eq!(answer.header("idempotent-replayed"), None, "the refusal was not an answer");
}

#[tokio::test]
async fn each_key_has_calls_of_its_own_and_a_wrong_one_has_none() {
    let mut server = limited().await;
    for _ in 0..3 {
        server.get("/v1/units").await.expect(200);
    }
    server.get("/v1/units").await.problem(429, "rate_limited");
    let wrong = server.raw("GET", "/v1/units", &[("Authorization", "Bearer psk_wrong")], b"").await;
    wrong.problem(401, "unauthenticated");
    let first = std::mem::take(&mut server.key);
    server.key = api_key::create(&server.app, "other", Scope::Read, None).await.expect("a key");
    server.get("/v1/units").await.expect(200);
    // A call that is refused for another reason counts, too: it was work.
    server.post("/v1/units", json!({})).await.problem(403, "scope_missing");
    server.get("/v1/wallets/none").await.problem(404, "wallet_not_found");
    server.get("/v1/units").await.problem(429, "rate_limited");
    server.key = first;
    server.get("/v1/units").await.problem(429, "rate_limited");
    // Whoever watches over the service is not counted.
    for _ in 0..9 {
        server.raw("GET", "/readyz", &[], b"").await.expect(200);
    }
}

#[tokio::test]
async fn without_a_rate_nobody_is_counted() {
    let server = Server::start().await;
    for _ in 0..200 {
        let answer = server.get("/v1/units").await;
        answer.expect(200);
        assert_eq!(answer.header("ratelimit-limit"), None);
    }
}
