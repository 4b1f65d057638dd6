//! Who may do what: every route of the document is tried without a key, with a wrong one and with one that only reads.

use crate::server::Server;
use purser_app::caller::Scope;
use purser_app::usecase::api_key;
use purser_server::http::router;
use serde_json::json;

/// Method and path of every operation, with something in place of each variable.
fn operations() -> Vec<(String, String)> {
    let document = serde_json::to_value(router::document()).expect("a document");
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let path = path.replace("{id}", "x").replace("{key}", "x");
        for method in item.as_object().expect("operations").keys() {
            found.push((method.to_uppercase(), path.clone()));
        }
    }
    assert!(found.len() > 25, "{found:?}");
    found
}

/// Operations that move or make nothing although they are posts.
const QUESTIONS: [&str; 1] = ["/v1/preflight"];
/// Operations that charge although they get: a proxy asks the gate so.
const GATES: [&str; 2] = ["/v1/gate", "/v1/gate/nginx"];

#[tokio::test]
async fn without_a_key_nothing_but_the_open_routes_answers() {
    let server = Server::start().await;
    for (method, path) in operations() {
        let answer = server.raw(&method, &path, &[], b"").await;
        if router::OPEN.contains(&path.as_str()) {
            assert_eq!(answer.status, 200, "{path}");
        } else if path == GATES[0] {
            // Its answers go to a proxy's clients, who are not asked for the proxy's key.
            answer.problem(503, "unauthenticated");
        } else {
            answer.problem(401, "unauthenticated");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{path}");
        }
    }
}

#[tokio::test]
async fn a_key_that_is_wrong_in_any_part_opens_nothing() {
    let server = Server::start().await;
    let mut changed = server.key.clone();
    let last = changed.pop().expect("not empty");
    changed.push(if last == '0' { '1' } else { '0' });
    for key in ["", "psk_", &changed, &server.key[..20], &server.key.to_uppercase()] {
        let answer =
            server.raw("GET", "/v1/units", &[("Authorization", &format!("Bearer {key}"))], b"").await;
        answer.problem(401, "unauthenticated");
    }
    let basic = format!("Basic {}", server.key);
    server.raw("GET", "/v1/units", &[("Authorization", &basic)], b"").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_key_that_reads_changes_nothing() {
    let server = Server::start().await;
    let reading = api_key::create(&server.app, "reader", Scope::Read, None).await.expect("a key");
    let authorization = format!("Bearer {reading}");
    for (method, path) in operations() {
        let answer = server.raw(&method, &path, &[("Authorization", &authorization)], b"").await;
        if (method == "GET" && !GATES.contains(&path.as_str())) || QUESTIONS.contains(&path.as_str()) {
            assert!(![401, 403].contains(&answer.status), "{path} {}", answer.text);
        } else {
            answer.problem(if path == GATES[0] { 503 } else { 403 }, "scope_missing");
        }
    }
}

#[tokio::test]
async fn a_revoked_key_opens_nothing_any_more() {
    let server = Server::start().await;
    server.get("/v1/units").await.expect(200);
    api_key::revoke(&server.app, &server.key[..16]).await.expect("revoked");
    server.get("/v1/units").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_tenants_key_sees_and_moves_only_what_is_its_own() {
    let mut server = Server::start().await;
    server.action("scan", json!({"model": "flat", "amount": "1"})).await;
    let give = |tenant: &str| json!({"tenant": tenant, "user": "ann", "amount": "9", "kind": "promotional", "reason": "x"});
    let theirs = server.post("/v1/grants", give("other")).await.expect(201);
    server.key = api_key::create(&server.app, "acme", Scope::Write, Some("acme")).await.expect("a key");
    server.post("/v1/grants", give("acme")).await.expect(201);
    server.post("/v1/grants", give("other")).await.problem(422, "invalid_request");
    server
        .post("/v1/debits", json!({"user": "ann", "action": "scan"}))
        .await
        .invalid("/tenant", "tenant_required");
    let wallet = theirs["wallet_id"].as_str().expect("text");
    for tail in ["", "/entries", "/lots", "/holds", "/stream", "/at?time=2026-01-01T00:00:00Z"] {
        server.get(&format!("/v1/wallets/{wallet}{tail}")).await.problem(404, "wallet_not_found");
    }
    let grant = theirs["id"].as_str().expect("text");
    server.get(&format!("/v1/grants/{grant}")).await.problem(404, "grant_not_found");
    server
        .post(&format!("/v1/grants/{grant}/revoke"), json!({"reason": "x"}))
        .await
        .problem(404, "grant_not_found");
    let all = server.get("/v1/wallets?tenant=acme").await.expect(200);
    assert!(all["data"].as_array().expect("a list").iter().all(|wallet| wallet["tenant"] == "acme"));
    server
        .post("/v1/actions", json!({"key": "b", "name": "B", "price": {"model": "free"}}))
        .await
        .problem(403, "platform_key_required");
    server
        .post("/v1/discounts", json!({"tenant": "acme", "percent": "99"}))
        .await
        .problem(403, "platform_key_required");
    server.get("/v1/discounts?tenant=other").await.invalid("?tenant", "tenant_required");
    assert_eq!(server.get("/v1/discounts?tenant=acme").await.expect(200)["data"], json!([]));
}
