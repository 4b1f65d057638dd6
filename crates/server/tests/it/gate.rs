//! The gate as a proxy sees it: rules, both faces, once for each request, and what is refused.

use crate::nodes::available;
use crate::server::{Answer, Server};
use purser_app::caller::Scope;
use purser_app::usecase::api_key;
use purser_core::time::SECOND;
use serde_json::{Value, json};

/// A name for a request, as nginx makes them.
fn name(no: u64) -> String {
    format!("{no:032x}")
}

/// A service with `scan` at 5, 100 credits for ann, a rule that charges below `/scan`, and a key of a proxy.
async fn gated() -> (Server, String) {
    let server = Server::with_scan().await;
    rule(&server, "scans", json!({"path": "/scan/**", "action": "scan"})).await;
    let key = api_key::create(&server.app, "proxy", Scope::Gate, None).await.expect("a key");
    (server, key)
}

async fn rule(server: &Server, key: &str, said: Value) -> Value {
    server.send("PUT", &format!("/v1/gate/rules/{key}"), &[], &said.to_string()).await.expect(200)
}

/// What a proxy asks of ann's request.
async fn asked(server: &Server, proxy: &str, uri: &str, request: &str) -> Answer {
    asked_with(server, proxy, "/v1/gate", &[("X-Forwarded-Uri", uri), ("X-Purser-Request-Id", request)]).await
}

async fn asked_with(server: &Server, proxy: &str, face: &str, headers: &[(&str, &str)]) -> Answer {
    let authorization = format!("Bearer {proxy}");
    let mut all = vec![("Authorization", authorization.as_str())];
    for (name, value) in [
        ("X-Forwarded-Host", "app.example.com"),
        ("X-Forwarded-Method", "GET"),
        ("X-Purser-User", "ann"),
        ("X-Forwarded-Uri", "/scan/1"),
    ] {
        if !headers.iter().any(|(given, _)| *given == name) {
            all.push((name, value));
        }
    }
    all.extend(headers.iter().filter(|(_, value)| !value.is_empty()));
    server.raw("GET", face, &all, b"").await
}

#[tokio::test]
async fn a_request_is_charged_once_under_its_name_and_told_what_it_cost() {
    let (server, proxy) = gated().await;
    let first = asked(&server, &proxy, "/scan/1?x=1", &name(1)).await;
    assert_eq!((first.status, first.header("cache-control")), (204, Some("no-store")), "{first:?}");
    let told = |answer: &Answer, header: &str| answer.header(header).map(str::to_string);
    assert_eq!(told(&first, "x-purser-rule").as_deref(), Some("scans"));
    assert_eq!(told(&first, "x-purser-cost").as_deref(), Some("5"));
    assert_eq!(told(&first, "x-purser-balance").as_deref(), Some("95"));
    assert_eq!(told(&first, "x-purser-unit").as_deref(), Some("credit"));
    let again = asked(&server, &proxy, "/scan/1?x=1", &name(1)).await;
    assert_eq!((again.status, told(&again, "x-purser-debit")), (204, told(&first, "x-purser-debit")));
    assert_eq!(available(&server, "ann").await, "95");
    let debit = told(&first, "x-purser-debit").expect("a debit");
    let debit = server.get(&format!("/v1/debits/{debit}")).await.expect(200);
    assert_eq!(
        (&debit["action"], &debit["amount"], &debit["user"]),
        (&json!("scan"), &json!("5"), &json!("ann"))
    );
    assert_eq!(debit["reference"], json!(name(1)));
    assert_eq!(debit["metadata"], json!({"gate": "scans", "method": "GET", "path": "/scan/1"}));
    assert_eq!(asked(&server, &proxy, "/scan/1", &name(2)).await.status, 204);
    assert_eq!(available(&server, "ann").await, "90");
    // A proxy that cannot name requests asks once for each.
    for left in ["85", "80"] {
        let once = asked(&server, &proxy, "/scan/1", "once").await;
        assert_eq!(once.header("x-purser-balance"), Some(left));
    }
}

#[tokio::test]
async fn a_name_is_good_for_one_request_and_for_a_minute() {
    let (server, proxy) = gated().await;
    assert_eq!(asked(&server, &proxy, "/scan/1", &name(1)).await.status, 204);
    let of = |header: &'static str, value: &'static str| {
        let (server, proxy) = (&server, &proxy);
        async move {
            let headers = [(header, value), ("X-Purser-Request-Id", &name(1))];
            asked_with(server, proxy, "/v1/gate", &headers).await
        }
    };
    for (header, value) in [
        ("X-Forwarded-Uri", "/scan/2"),
        ("X-Forwarded-Method", "POST"),
        ("X-Forwarded-Host", "b.example.com"),
    ] {
        of(header, value).await.problem(422, "idempotency_conflict");
    }
    // Another user has wallets of its own, and nothing in them.
    server.grant("bob", "0.5").await;
    of("X-Purser-User", "bob").await.problem(402, "insufficient_credits");
    server.clock.advance(60 * SECOND);
    assert_eq!(asked(&server, &proxy, "/scan/1", &name(1)).await.status, 204);
    server.clock.advance(1);
    asked(&server, &proxy, "/scan/1", &name(1)).await.problem(409, "gate_request_repeated");
    let nginx = asked_with(&server, &proxy, "/v1/gate/nginx", &[("X-Purser-Request-Id", &name(1))]).await;
    nginx.problem(403, "gate_request_repeated");
    assert_eq!(nginx.header("x-purser-status"), Some("409"));
    assert_eq!(available(&server, "ann").await, "95");
}

#[tokio::test]
async fn without_credit_both_faces_say_where_to_buy_and_nothing_is_moved() {
    let (server, proxy) = gated().await;
    for no in 0..20 {
        assert_eq!(asked(&server, &proxy, "/scan/1", &name(no)).await.status, 204);
    }
    let refused = asked(&server, &proxy, "/scan/1", &name(99)).await;
    let document = refused.problem(402, "insufficient_credits");
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    assert_eq!((&document["required"], &document["available"]), (&json!("5"), &json!("0")));
    assert_eq!(refused.header("x-purser-code"), Some("insufficient_credits"));
    let url = refused.header("x-purser-topup-url").expect("where to buy").to_string();
    assert_eq!(document["topup_url"], json!(url));
    let page = url.split_once("//").and_then(|(_, rest)| rest.split_once('/')).expect("an address").1;
    assert_eq!(server.raw("GET", &format!("/{page}"), &[], b"").await.status, 200);
    let nginx = asked_with(&server, &proxy, "/v1/gate/nginx", &[("X-Purser-Request-Id", &name(99))]).await;
    assert_eq!((nginx.status, nginx.header("x-purser-status")), (403, Some("402")));
    assert_eq!(nginx.header("x-purser-code"), Some("insufficient_credits"));
    assert!(nginx.header("x-purser-topup-url").is_some());
    // A refusal leaves the name free.
    server.grant("ann", "5").await;
    assert_eq!(asked(&server, &proxy, "/scan/1", &name(99)).await.status, 204);
}

#[tokio::test]
async fn a_stranger_is_refused_without_being_made() {
    let (server, proxy) = gated().await;
    let before = server.get("/v1/wallets").await.expect(200);
    for face in ["/v1/gate", "/v1/gate/nginx"] {
        let headers = [("X-Purser-User", "nobody"), ("X-Purser-Request-Id", &*name(1))];
        let answer = asked_with(&server, &proxy, face, &headers).await;
        assert!(answer.header("x-purser-topup-url").is_some(), "{answer:?}");
        assert_eq!(answer.header("x-purser-code"), Some("insufficient_credits"));
    }
    assert_eq!(server.get("/v1/wallets").await.expect(200), before);
    // Where it costs nothing there is no reason to refuse.
    server.action("look", json!({"model": "free"})).await;
    rule(&server, "looks", json!({"path": "/look", "action": "look"})).await;
    let headers =
        [("X-Purser-User", "nobody"), ("X-Forwarded-Uri", "/look"), ("X-Purser-Request-Id", &*name(2))];
    let answer = asked_with(&server, &proxy, "/v1/gate", &headers).await;
    assert_eq!((answer.status, answer.header("x-purser-cost")), (204, Some("0")));
}

#[tokio::test]
async fn what_no_rule_is_for_passes_free_and_a_rule_may_close_the_rest() {
    let (server, proxy) = gated().await;
    let free = asked(&server, &proxy, "/other", "").await;
    assert_eq!((free.status, free.header("x-purser-rule")), (204, None));
    rule(&server, "rest", json!({"path": "/**", "effect": "deny"})).await;
    rule(&server, "assets", json!({"path": "/assets/**", "effect": "free", "host": "*.example.com"})).await;
    asked(&server, &proxy, "/other", "").await.problem(403, "gate_denied");
    assert_eq!(asked(&server, &proxy, "/assets/a.css", "").await.header("x-purser-rule"), Some("assets"));
    rule(&server, "rest", json!({"path": "/**", "effect": "deny", "active": false})).await;
    assert_eq!(asked(&server, &proxy, "/other", "").await.status, 204);
    assert_eq!(server.send("DELETE", "/v1/gate/rules/scans", &[], "").await.status, 204);
    let after = asked(&server, &proxy, "/scan/1", &name(1)).await;
    assert_eq!((after.status, after.header("x-purser-cost")), (204, None));
    server.get("/v1/gate/rules/scans").await.problem(404, "gate_rule_not_found");
    assert_eq!(available(&server, "ann").await, "100");
}

#[tokio::test]
async fn a_request_that_cannot_be_read_named_or_ascribed_does_not_pass() {
    let (server, proxy) = gated().await;
    let long = format!("/scan/{}", "x".repeat(3_000));
    let nothing = "";
    let cases: [(&str, &str, u16, &str); 10] = [
        ("X-Forwarded-Uri", "/scan/%zz", 400, "gate_request_unreadable"),
        ("X-Forwarded-Uri", &long, 400, "gate_request_unreadable"),
        ("X-Forwarded-Host", "a b", 400, "gate_request_unreadable"),
        ("X-Forwarded-Method", "get", 400, "gate_request_unreadable"),
        ("X-Forwarded-Uri", nothing, 422, "invalid_request"),
        ("X-Purser-User", nothing, 401, "gate_user_required"),
        ("X-Purser-User", "ann smith", 422, "invalid_request"),
        ("X-Purser-Request-Id", nothing, 400, "gate_request_id_required"),
        ("X-Purser-Request-Id", "short", 422, "invalid_request"),
        ("X-Purser-Request-Id", "0123456789abcde/", 422, "invalid_request"),
    ];
    let good = name(1);
    for (header, value, status, code) in cases {
        let mut headers = vec![(header, value)];
        if header != "X-Purser-Request-Id" {
            headers.push(("X-Purser-Request-Id", &good));
        }
        asked_with(&server, &proxy, "/v1/gate", &headers).await.problem(status, code);
        let nginx = asked_with(&server, &proxy, "/v1/gate/nginx", &headers).await;
        assert_eq!(nginx.status, if status == 401 { 401 } else { 403 }, "{header} {value}");
        assert_eq!(nginx.header("x-purser-status"), Some(&*status.to_string()));
    }
    let twice = [("X-Purser-User", "ann"), ("X-Purser-User", "bob"), ("X-Purser-Request-Id", &*good)];
    asked_with(&server, &proxy, "/v1/gate", &twice).await.problem(401, "gate_user_required");
    assert_eq!(available(&server, "ann").await, "100");
}

#[tokio::test]
async fn tenants_and_users_come_from_where_the_rule_says() {
    let (server, proxy) = gated().await;
    let give = |user: &str| json!({"tenant": "acme", "user": user, "amount": "9", "kind": "promotional", "reason": "x"});
    server.post("/v1/grants", give("ann")).await.expect(201);
    let fixed = json!({"path": "/fixed", "action": "scan", "tenant": "acme", "user_header": "X-Purser-Who"});
    rule(&server, "fixed", fixed).await;
    let headers =
        [("X-Forwarded-Uri", "/fixed"), ("X-Purser-Who", "ann"), ("X-Purser-Request-Id", &*name(1))];
    let paid = asked_with(&server, &proxy, "/v1/gate", &headers).await;
    assert_eq!(paid.header("x-purser-balance"), Some("4"), "{paid:?}");
    rule(&server, "named", json!({"path": "/named", "action": "scan", "tenant_header": "X-Purser-Org"}))
        .await;
    let headers =
        [("X-Forwarded-Uri", "/named"), ("X-Purser-Org", "acme"), ("X-Purser-Request-Id", &*name(2))];
    let poor = asked_with(&server, &proxy, "/v1/gate", &headers).await;
    assert_eq!(poor.problem(402, "insufficient_credits")["available"], "4");
    asked_with(&server, &proxy, "/v1/gate", &headers[..1]).await.problem(400, "gate_request_id_required");
    let without = [("X-Forwarded-Uri", "/named"), ("X-Purser-Request-Id", &*name(3))];
    asked_with(&server, &proxy, "/v1/gate", &without).await.invalid("X-Purser-Org", "required");
    // The secret itself is kept nowhere; with or without its scheme it is the same.
    let secret =
        json!({"path": "/secret", "action": "scan", "user_header": "X-Api-Key", "user_is": "credential"});
    rule(&server, "secret", secret).await;
    server.grant(&user_of("hunter2"), "12").await;
    for (no, sent, left) in [(4, "hunter2", "7"), (5, "Bearer hunter2", "2")] {
        let id = name(no);
        let headers = [("X-Forwarded-Uri", "/secret"), ("X-Api-Key", sent), ("X-Purser-Request-Id", &id)];
        let paid = asked_with(&server, &proxy, "/v1/gate", &headers).await;
        assert_eq!(paid.header("x-purser-balance"), Some(left), "{paid:?}");
    }
}

/// As `printf %s SECRET | b3sum` says it.
fn user_of(secret: &str) -> String {
    format!("key_{}", &blake3::hash(secret.as_bytes()).to_hex()[..32])
}

#[tokio::test]
async fn a_proxys_key_asks_at_the_gate_and_does_nothing_else() {
    let (mut server, proxy) = gated().await;
    server.key = proxy;
    for path in ["/v1/wallets", "/v1/gate/rules", "/v1/actions"] {
        server.get(path).await.problem(403, "scope_missing");
    }
    server.post("/v1/debits", json!({"user": "ann", "action": "scan"})).await.problem(403, "scope_missing");
    server.send("DELETE", "/v1/gate/rules/scans", &[], "").await.problem(403, "scope_missing");
    let reading = api_key::create(&server.app, "reader", Scope::Read, None).await.expect("a key");
    asked(&server, &reading, "/scan/1", &name(1)).await.problem(503, "scope_missing");
    asked(&server, "psk_wrong", "/scan/1", &name(1)).await.problem(503, "unauthenticated");
    let nginx = asked_with(&server, &reading, "/v1/gate/nginx", &[]).await;
    // What is wrong with the proxy itself is not told to its clients as theirs.
    assert_eq!((nginx.status, nginx.header("x-purser-status")), (403, None));
    // Rules tell of all tenants.
    server.key = api_key::create(&server.app, "acme", Scope::Write, Some("acme")).await.expect("a key");
    for path in ["/v1/gate/rules", "/v1/gate/rules/scans"] {
        server.get(path).await.problem(403, "platform_key_required");
    }
    // A tenant's proxy charges that tenant alone.
    let theirs = api_key::create(&server.app, "acme", Scope::Gate, Some("acme")).await.expect("a key");
    asked(&server, &theirs, "/scan/1", &name(1)).await.invalid("/tenant", "tenant_required");
}

#[tokio::test]
async fn a_rule_is_kept_as_it_was_said_and_wrong_ones_are_named_by_field() {
    let (server, _) = gated().await;
    let said = json!({
        "key": "all", "host": "*.Example.com", "path": "/a/*/b/**", "methods": ["GET", "POST"], "priority": -3,
        "action": "scan", "quantity": "1", "tenant": "acme", "user_is": "credential", "fail": "open",
    });
    let made = server.post("/v1/gate/rules", said.clone()).await.expect(201);
    assert_eq!(server.post("/v1/gate/rules", said.clone()).await.expect(201), made);
    assert_eq!(server.get("/v1/gate/rules/all").await.expect(200), made);
    for (field, value) in said.as_object().expect("an object") {
        assert_eq!(&made[field], value, "{field}");
    }
    assert_eq!((&made["user_header"], &made["active"]), (&json!("X-Purser-User"), &json!(true)));
    let mut other = said.clone();
    other["priority"] = json!(1);
    server.post("/v1/gate/rules", other.clone()).await.problem(409, "gate_rule_exists");
    let put = server.send("PUT", "/v1/gate/rules/all", &[], &other.to_string()).await.expect(200);
    assert_eq!((&put["priority"], &put["created_at"]), (&json!(1), &made["created_at"]));
    assert_eq!(made["changed_at"], made["created_at"]);
    server.clock.advance(SECOND);
    let put = server.send("PUT", "/v1/gate/rules/all", &[], &other.to_string()).await.expect(200);
    assert_eq!(put["changed_at"], made["changed_at"], "to say the same again changes nothing");
    other["priority"] = json!(2);
    let put = server.send("PUT", "/v1/gate/rules/all", &[], &other.to_string()).await.expect(200);
    assert_eq!(put["created_at"], made["created_at"]);
    assert_ne!(put["changed_at"], made["changed_at"]);
    let list = server.get("/v1/gate/rules?limit=1").await.expect(200);
    assert_eq!((&list["data"][0]["key"], &list["next_cursor"]), (&json!("all"), &json!("all")));
    let rest = server.get("/v1/gate/rules?cursor=all").await.expect(200);
    assert_eq!((&rest["data"][0]["key"], &rest["next_cursor"]), (&json!("scans"), &json!(null)));
    for (field, value, code) in [
        ("host", json!("a b"), "malformed"),
        ("path", json!("scan"), "malformed"),
        ("path", json!("/**/x"), "malformed"),
        ("methods", json!(["get"]), "malformed"),
        ("effect", json!("maybe"), "unknown_value"),
        ("quantity", json!("-1"), "out_of_range"),
        ("tenant", json!("a/b"), "invalid_key"),
        ("tenant_header", json!("X-Purser-Org"), "not_allowed"),
        ("path", json!("/paid*"), "malformed"),
        ("path", json!("/*.pdf"), "malformed"),
        ("path", json!("/a/../b"), "malformed"),
        ("host", json!("a.example.com:8080"), "malformed"),
        ("user_header", json!("X User"), "malformed"),
        ("user_header", json!("Authorization"), "not_allowed"),
        ("colour", json!("red"), "unknown_field"),
    ] {
        let mut wrong = said.clone();
        wrong["key"] = json!("wrong");
        wrong[field] = value;
        server.post("/v1/gate/rules", wrong).await.invalid(&format!("/{field}"), code);
    }
    let rule = |body: Value| server.post("/v1/gate/rules", body);
    // Only what begins so is never a client's own header; a credential proves itself.
    rule(json!({"key": "x", "path": "/", "action": "scan", "user_header": "X-Login"}))
        .await
        .invalid("/user_header", "not_allowed");
    rule(json!({"key": "x", "path": "/", "action": "scan", "tenant_header": "X-Org"}))
        .await
        .invalid("/tenant_header", "not_allowed");
    rule(json!({"path": "/"})).await.invalid("/key", "required");
    rule(json!({"key": "x", "path": "/"})).await.invalid("/action", "required");
    rule(json!({"key": "x", "path": "/", "action": "none"})).await.problem(404, "action_not_found");
    rule(json!({"key": "x", "path": "/", "effect": "free", "fail": "open"}))
        .await
        .invalid("/fail", "not_allowed");
    let named = json!({"key": "other", "path": "/", "effect": "free"}).to_string();
    server.send("PUT", "/v1/gate/rules/x", &[], &named).await.invalid("/key", "not_allowed");
    server.send("DELETE", "/v1/gate/rules/x", &[], "").await.problem(404, "gate_rule_not_found");
}

#[tokio::test]
async fn what_failed_behind_the_gate_is_given_back_once_by_the_proxy_that_took_it() {
    let (server, proxy) = gated().await;
    let debit = |answer: &Answer| answer.header("x-purser-debit").expect("a debit").to_string();
    let (kept, failed) = (
        asked(&server, &proxy, "/scan/1", &name(1)).await,
        asked(&server, &proxy, "/scan/2", &name(2)).await,
    );
    let told = async |key: &str, uri: &str, no: u64, status: u16, debit: Option<String>| {
        let body = json!({
            "request_id": name(no), "host": "app.example.com", "method": "GET", "uri": uri, "user": "ann",
            "status": status, "debit": debit,
        });
        let authorization = format!("Bearer {key}");
        let headers = [("Authorization", &*authorization), ("Content-Type", "application/json")];
        server.raw("POST", "/v1/gate/outcomes", &headers, body.to_string().as_bytes()).await
    };
    let answer = told(&proxy, "/scan/1", 1, 200, Some(debit(&kept))).await.expect(200);
    assert_eq!(answer, json!({"done": "nothing", "debit_id": null, "amount": null, "unit": null}));
    for _ in 0..2 {
        let answer = told(&proxy, "/scan/2", 2, 502, Some(debit(&failed))).await.expect(200);
        let given = json!({"done": "refunded", "debit_id": debit(&failed), "amount": "5", "unit": "credit"});
        assert_eq!(answer, given);
    }
    assert_eq!(available(&server, "ann").await, "95");
    // What was served is not given back for another request that failed, whoever says that it is the same debit.
    told(&proxy, "/scan/2", 2, 502, Some(debit(&kept))).await.problem(404, "debit_not_found");
    // Neither another proxy's debit nor one of the product itself, be its reference what it may.
    let other = api_key::create(&server.app, "other", Scope::Gate, None).await.expect("a key");
    told(&other, "/scan/1", 1, 500, Some(debit(&kept))).await.problem(404, "debit_not_found");
    let own = json!({"user": "ann", "action": "scan", "reference": name(1)});
    let own = server.post("/v1/debits", own).await.expect(201);
    let own = own["id"].as_str().map(str::to_string);
    told(&server.key, "/scan/1", 1, 500, own.clone()).await.problem(404, "debit_not_found");
    told(&proxy, "/scan/1", 1, 500, own).await.problem(404, "debit_not_found");
    told(&proxy, "/scan/1", 1, 600, None).await.invalid("/status", "out_of_range");
    // What the product gave back itself is not given back again.
    let path = format!("/v1/debits/{}/refund", debit(&kept));
    server.post(&path, json!({"reason": "a gift"})).await.expect(200);
    assert_eq!(told(&proxy, "/scan/1", 1, 500, Some(debit(&kept))).await.expect(200)["done"], "nothing");
    assert_eq!(available(&server, "ann").await, "95");
}

/// Tells what became of a request of ann's, half an hour after midnight.
async fn told(server: &Server, proxy: &str, said: Value) -> Answer {
    let mut body = json!({
        "host": "app.example.com", "method": "GET", "user": "ann", "tenant": "", "debit": "",
        "status": 200, "occurred_at": "2026-01-01T00:30:00Z",
    });
    for (field, value) in said.as_object().expect("an object") {
        body[field] = value.clone();
    }
    let authorization = format!("Bearer {proxy}");
    let headers = [("Authorization", &*authorization), ("Content-Type", "application/json")];
    server.raw("POST", "/v1/gate/outcomes", &headers, body.to_string().as_bytes()).await
}

#[tokio::test]
async fn what_passed_unpaid_is_charged_once_after_all_into_debt_if_need_be() {
    let (server, proxy) = gated().await;
    rule(&server, "scans", json!({"path": "/scan/**", "action": "scan", "fail": "open"})).await;
    let told = async |uri: &str, no: u64, status: u16, user: &str| {
        let said = json!({"request_id": name(no), "uri": uri, "status": status, "user": user});
        told(&server, &proxy, said).await.expect(200)["done"].clone()
    };
    server.clock.advance(7_200 * SECOND);
    for status in [402, 403, 404, 503] {
        assert_eq!(told("/scan/1", 1, status, "ann").await, "nothing", "{status}");
    }
    assert_eq!(told("/other", 1, 200, "ann").await, "nothing");
    assert_eq!(available(&server, "ann").await, "100");
    // The proxy heard no answer, but Purser had charged it: it stays charged once.
    assert_eq!(asked(&server, &proxy, "/scan/1", &name(1)).await.status, 204);
    assert_eq!(available(&server, "ann").await, "95");
    assert_eq!(told("/scan/1", 1, 200, "ann").await, "settled");
    assert_eq!(available(&server, "ann").await, "95");
    // Somebody who was never seen had it, and owes it.
    for _ in 0..2 {
        assert_eq!(told("/scan/1", 2, 304, "new").await, "settled");
        assert_eq!(available(&server, "new").await, "-5");
    }
    let wallets = server.get("/v1/balance?user=new").await.expect(200);
    let wallet = wallets["wallets"][0]["wallet_id"].as_str().expect("an id");
    let entries = server.get(&format!("/v1/wallets/{wallet}/entries")).await.expect(200);
    assert_eq!(entries["data"][0]["occurred_at"], "2026-01-01T00:30:00Z");
    assert_eq!(entries["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_late_charge_is_made_once_whatever_became_of_its_rule_and_of_its_key() {
    let (server, proxy) = gated().await;
    let open = json!({"path": "/scan/**", "action": "scan", "fail": "open"});
    rule(&server, "scans", open.clone()).await;
    server.clock.advance(3_600 * SECOND);
    assert_eq!(asked(&server, &proxy, "/scan/1", &name(1)).await.status, 204);
    let first = json!({"request_id": name(1), "uri": "/scan/1", "occurred_at": null});
    assert_eq!(told(&server, &proxy, first.clone()).await.expect(200)["done"], "settled");
    let unpaid = json!({"request_id": name(2), "uri": "/scan/1"});
    assert_eq!(told(&server, &proxy, unpaid.clone()).await.expect(200)["done"], "settled");
    assert_eq!(available(&server, "ann").await, "90");
    // Another rule is there for the same requests: what was charged by the first is not charged again.
    let mut edited = open.clone();
    edited["priority"] = json!(7);
    rule(&server, "scans", edited).await;
    server.send("DELETE", "/v1/gate/rules/scans", &[], "").await;
    rule(&server, "other", open).await;
    assert_eq!(told(&server, &proxy, first).await.expect(200)["done"], "settled");
    // What it was not there for is reported.
    told(&server, &proxy, unpaid).await.invalid("/occurred_at", "out_of_range");
    let new = json!({"request_id": name(3), "uri": "/scan/1"});
    told(&server, &proxy, new).await.invalid("/occurred_at", "out_of_range");
    assert_eq!(available(&server, "ann").await, "90");
    // Keys are forgotten after 90 days; that it was charged is not.
    server.clock.advance(100 * 86_400 * SECOND);
    let again = json!({"request_id": name(1), "uri": "/scan/1", "occurred_at": null});
    assert_eq!(told(&server, &proxy, again).await.expect(200)["done"], "settled");
    asked(&server, &proxy, "/scan/1", &name(1)).await.problem(409, "gate_request_repeated");
    assert_eq!(available(&server, "ann").await, "90");
}

#[tokio::test]
async fn with_a_proxys_key_nobody_gets_into_debt_where_a_rule_lets_nothing_pass_unpaid() {
    let (server, proxy) = gated().await;
    server.clock.advance(7_200 * SECOND);
    let unpaid = json!({"request_id": name(1), "uri": "/scan/1"});
    told(&server, &proxy, unpaid).await.invalid("/debit", "required");
    // A request that has no name would be charged each time that it is told of.
    rule(&server, "scans", json!({"path": "/scan/**", "action": "scan", "fail": "open"})).await;
    for status in [200, 500] {
        let nameless = json!({"request_id": "once", "uri": "/scan/1", "status": status, "occurred_at": null});
        told(&server, &proxy, nameless).await.invalid("/request_id", "not_allowed");
    }
    assert_eq!(available(&server, "ann").await, "100");
}

#[tokio::test]
async fn when_the_ledger_cannot_be_asked_only_a_rule_that_is_open_lets_pass() {
    let (server, proxy) = gated().await;
    rule(&server, "open", json!({"path": "/open", "action": "scan", "fail": "open"})).await;
    assert_eq!(asked(&server, &proxy, "/open", &name(1)).await.header("x-purser-cost"), Some("5"));
    // The service still answers, and nothing is booked any more.
    server.app.shutdown().await;
    asked(&server, &proxy, "/scan/1", &name(2)).await.problem(503, "shutting_down");
    let headers = [("X-Purser-Request-Id", &*name(2))];
    let nginx = asked_with(&server, &proxy, "/v1/gate/nginx", &headers).await;
    assert_eq!((nginx.status, nginx.header("x-purser-status")), (503, None));
    let open = asked(&server, &proxy, "/open", &name(3)).await;
    assert_eq!((open.status, open.header("x-purser-unpaid")), (204, Some("shutting_down")), "{open:?}");
    assert_eq!((open.header("x-purser-rule"), open.header("x-purser-debit")), (Some("open"), None));
    assert_eq!(asked(&server, &proxy, "/other", "").await.status, 204);
}
